"""Processes of a bench: started, waited for, measured and ended by their process id.

Owns what it starts: at the end of a `Processes` context none is left.
"""

import datetime
import http.client
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LOAD = HERE / "load" / "target" / "release" / "bench-load"
LOAD_BUILD = "cargo build --release --manifest-path benches/proxies/load/Cargo.toml"
LOAD_SOURCES = ("benches/proxies/load",)
DAEMON_BUILD = "cargo build --release --bin astromeshd"
DAEMON_SOURCES = ("Cargo.toml", "Cargo.lock", "src", "swim", "wire")

READY_SECONDS = 60
POLL_SECONDS = 0.02
# Of what a process said, shown when it fails.
TAIL_BYTES = 2000


class Failed(Exception):
    """Something under test did not start, ended by itself, or did not answer as it must."""


class Processes:
    """Use as a context. Output of each process goes to a file of its name in `directory`."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.running):
            process.kill()

    def start(self, name, command, environment=None):
        process = Process(name, command, self.directory / f"{name}.out", environment or {})
        self.running.append(process)
        return process


class Process:
    def __init__(self, name, command, output, environment):
        self.name = name
        self.output = output
        with open(output, "ab") as file:
            self.child = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], **environment},
                # Ctrl-C is for the script alone.
                start_new_session=True,
            )

    @property
    def pid(self):
        return self.child.pid

    def pids(self):
        """Its own id, and those of its children."""
        try:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except OSError:
            children = []
        return [self.pid, *map(int, children)]

    def check(self):
        if self.child.poll() is not None:
            raise Failed(f"{self.name} ended with {self.child.returncode}; it said:\n{self.tail()}")

    def tail(self):
        return self.output.read_bytes()[-TAIL_BYTES:].decode(errors="replace")

    def kill(self):
        """Ends it as a power cut would, and returns when."""
        at = time.monotonic()
        if self.child.poll() is None:
            # A master that is killed leaves its workers behind.
            for pid in self.pids()[1:]:
                _send(pid, signal.SIGKILL)
            self.child.kill()
        self.child.wait()
        return at

    def stop(self, seconds, number=signal.SIGTERM):
        """Asks it to end and waits; whether it did in time."""
        self.child.send_signal(number)
        try:
            self.child.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            self.kill()
            return False

    def cpu_seconds(self):
        """User and system time of all its threads and children, ended threads too."""
        # The clock of a process by its id, as clock_getcpuclockid(3) makes it: the same time as in
        # /proc/PID/stat, without its ticks of 10 ms.
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in self.pids())

    def memory_kib(self):
        """Resident now, and at most so far, with its children."""
        sums = {"VmRSS": 0, "VmHWM": 0}
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                key, _, value = line.partition(":")
                if key in sums:
                    sums[key] += int(value.split()[0])
        return sums["VmRSS"], sums["VmHWM"]


def _send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def free_ports(count, ip="127.0.0.1"):
    """Ports nobody listens on now, by TCP; all different."""
    sockets = []
    for _ in range(count):
        probe = socket.socket()
        probe.bind((ip, 0))
        sockets.append(probe)
    ports = [probe.getsockname()[1] for probe in sockets]
    for probe in sockets:
        probe.close()
    return ports


def get(address, path, seconds=2.0):
    """Status, headers and body of one GET; None when there is no answer."""
    host, _, port = address.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=seconds)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def wait_for(address, path, processes, seconds=READY_SECONDS):
    """Waits until GET is answered with 200 while all these processes run."""
    give_up = time.monotonic() + seconds
    while True:
        answer = get(address, path)
        if answer is not None and answer[0] == 200:
            return
        for process in processes:
            process.check()
        if time.monotonic() > give_up:
            said = answer and answer[2][:300]
            tails = "\n".join(process.tail() for process in processes)
            raise Failed(f"no answer from {address}{path}: {said}\n{tails}")
        time.sleep(POLL_SECONDS)


def load(part, *words):
    """The command of a load generator."""
    return [str(LOAD), part, *map(str, words)]


def closed(*words):
    """Runs a closed loop to its end; its figures."""
    command = load("closed", *words)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}")
    return json.loads(done.stdout)


def say(text):
    print(f"{datetime.datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


def machine():
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
        "kernel": platform.release(),
    }


def output_of(*command):
    """What a command says, on either stream; empty when it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return ""
    return (done.stdout + done.stderr).strip() if done.returncode == 0 else ""


def tree_version():
    return output_of("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12")


def warn_of_old_builds(programs):
    """A figure of yesterday's build is worse than none."""
    for program, build, *sources in programs:
        commit = output_of("git", "-C", str(ROOT), "log", "-1", "--format=%ct", "--", *sources)
        if commit and program.exists() and program.stat().st_mtime < int(commit):
            say(f"warning: {program} is older than its last commit: {build}")


def write_json(path, document):
    """After each run: what is measured is not lost."""
    if path is not None:
        path.write_text(json.dumps(document, indent=1) + "\n")
