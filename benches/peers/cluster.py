"""The processes of one system in this network namespace, what they say, and the network's rules.

Owns every process it starts and ends each by its process id. One thread reads what the nodes say
and stamps it; the time of an event is the time at which it was read.
"""

import collections
import json
import os
import selectors
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from systems import HALVES, PORT, UIDS, Node

# Lines of a node that are kept to explain why it ended.
TAIL_LINES = 15
POLL_SECONDS = 0.02
BIND_SECONDS = 10

RULES = """
flush ruleset
table ip bench {
    counter udp_sent {}
    counter tcp_sent {}
    chain marks { type filter hook output priority -10; }
    chain sent { type filter hook output priority 0;
        ip protocol udp counter name udp_sent
        ip protocol tcp counter name tcp_sent
    }
    chain received { type filter hook input priority 0; }
}
"""


class NodeEnded(Exception):
    """A node ended that nobody had killed."""


@dataclass(frozen=True)
class Event:
    time: float
    observer: Node
    kind: str
    member: Node


@dataclass(frozen=True)
class Traffic:
    """Datagrams and segments sent so far, with their IP headers."""

    udp_packets: int
    udp_bytes: int
    tcp_packets: int
    tcp_bytes: int

    def __sub__(self, other):
        return Traffic(*(a - b for a, b in zip(vars(self).values(), vars(other).values())))


@dataclass
class Goal:
    """Every observer is to know every member. `missing` counts the pairs that are left."""

    observers: frozenset
    members: frozenset
    missing: int = 0
    reached_at: float | None = None


@dataclass
class Process:
    child: subprocess.Popen
    view: set = field(default_factory=set)
    rest: bytes = b""
    is_readable: bool = True
    tail: collections.deque = field(default_factory=lambda: collections.deque(maxlen=TAIL_LINES))


class Cluster:
    """Use as a context: at its end no process of it is left."""

    def __init__(self, system, size, directory):
        self.system = system
        self.size = size
        self.directory = Path(directory)
        self.processes = {}
        # Whoever may be named, the late ones too: a node is spoken of before we are told it runs.
        self.by_id = {}
        for node in map(Node, range(size + 1)):
            self.by_id[node.name] = self.by_id[node.ip] = node
        self.events = []
        self.goal = None
        self.lock = threading.Lock()
        self.selector = selectors.DefaultSelector()
        self.is_ending = False
        self.program = self.directory / "program"
        shutil.copy(system.program(), self.program)
        self.program.chmod(0o755)
        nft(RULES)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for node in list(self.processes):
            self.kill(node)
        self.is_ending = True
        self.reader.join()
        self.selector.close()

    def nodes(self):
        """All nodes that run, paused ones too."""
        return frozenset(self.processes)

    def spawn(self, node):
        directory = self.directory / node.name
        directory.mkdir()
        seed = Node(0) if node.number > 0 else None
        command = self.system.command(self.program, node, seed, self.size, directory)
        for path in (directory, *directory.iterdir()):
            os.chown(path, node.uid, node.uid)
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env={"PATH": os.environ["PATH"], **self.system.environment()},
            user=node.uid,
            group=node.uid,
            extra_groups=[],
            # Ctrl-C is for us alone.
            start_new_session=True,
        )
        os.set_blocking(child.stdout.fileno(), False)
        with self.lock:
            self.processes[node] = Process(child)
            self.selector.register(child.stdout, selectors.EVENT_READ, node)

    def spawn_first(self):
        """Starts the seed and waits until it can be called."""
        seed = Node(0)
        self.spawn(seed)
        wanted = "{:02X}{:02X}{:02X}{:02X}:{:04X}".format(
            *reversed([int(part) for part in seed.ip.split(".")]), PORT
        )
        give_up = time.monotonic() + BIND_SECONDS
        while wanted not in Path("/proc/net/udp").read_text():
            self.check()
            if time.monotonic() > give_up:
                raise NodeEnded(f"{seed.name} did not bind {seed.address}")
            time.sleep(POLL_SECONDS)

    def kill(self, node):
        """Ends a node as a power cut would, and returns when."""
        with self.lock:
            process = self.processes.pop(node)
            if process.is_readable:
                self.selector.unregister(process.child.stdout)
        at = time.monotonic()
        process.child.kill()
        process.child.wait()
        process.child.stdout.close()
        return at

    def signal(self, nodes, number):
        for node in nodes:
            self.processes[node].child.send_signal(number)

    def pause(self, nodes):
        self.signal(nodes, signal.SIGSTOP)

    def resume(self, nodes):
        self.signal(nodes, signal.SIGCONT)

    def check(self):
        """Fails if a node ended by itself."""
        for node, process in self.processes.items():
            if process.child.poll() is not None:
                time.sleep(0.2)
                tail = "\n".join(process.tail)
                code = process.child.returncode
                raise NodeEnded(f"{node.name} ended with {code}; it said:\n{tail}")

    def sleep(self, seconds):
        """Waits while all nodes run."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, 0.5))

    # What the nodes know.

    def set_goal(self, observers, members):
        with self.lock:
            goal = Goal(frozenset(observers), frozenset(members))
            for observer in goal.observers:
                goal.missing += len(goal.members - {observer} - self.processes[observer].view)
            if goal.missing == 0:
                goal.reached_at = time.monotonic()
            self.goal = goal
            return goal

    def wait_for(self, goal, seconds):
        """Waits until the goal is reached, at most so long. Whether it was."""
        until = time.monotonic() + seconds
        while goal.reached_at is None and time.monotonic() < until:
            self.check()
            time.sleep(POLL_SECONDS)
        return goal.reached_at is not None

    def knowing(self, member):
        """How many running nodes hold this member to be alive."""
        with self.lock:
            return sum(member in process.view for process in self.processes.values())

    def wait_until_gone(self, members, seconds):
        """Waits until no running node knows any of these members, at most so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.check()
            if not any(self.knowing(member) for member in members):
                return
            time.sleep(POLL_SECONDS)

    def _read(self):
        # Stamps must not wait behind the nodes when the processors are busy.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -10)
        while not self.is_ending:
            for key, _ in self.selector.select(timeout=0.2):
                with self.lock:
                    process = self.processes.get(key.data)
                    if process is not None:
                        self._take(key.data, process)

    def _take(self, node, process):
        try:
            chunk = os.read(process.child.stdout.fileno(), 65536)
        except (BlockingIOError, ValueError):
            return
        now = time.monotonic()
        if not chunk:
            # It has ended; `check` says so. Nothing more is to be read.
            self.selector.unregister(process.child.stdout)
            process.is_readable = False
            return
        *lines, process.rest = (process.rest + chunk).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace")
            known = self.system.read(text)
            if known is None:
                process.tail.append(text)
            else:
                self._note(now, node, process, *known)

    def _note(self, now, observer, process, kind, member_id):
        member = self.by_id.get(member_id)
        if member is None or member == observer or (kind == "UP") == (member in process.view):
            return
        change = -1 if kind == "UP" else 1
        (process.view.add if kind == "UP" else process.view.remove)(member)
        self.events.append(Event(now, observer, kind, member))
        goal = self.goal
        if goal and observer in goal.observers and member in goal.members:
            goal.missing += change
            if goal.missing == 0 and goal.reached_at is None:
                goal.reached_at = now

    # What it costs.

    def cpu_seconds(self):
        """Processor time of all nodes so far, user and system, all threads, ended ones too."""
        # A process's clock by its id, as clock_getcpuclockid(3) makes it.
        clocks = (~process.child.pid << 3 | 2 for process in self.processes.values())
        return sum(time.clock_gettime(clock) for clock in clocks)

    def memory(self):
        """KiB per node: resident, proportional and private."""
        sums = collections.Counter()
        for process in self.processes.values():
            text = Path(f"/proc/{process.child.pid}/smaps_rollup").read_text()
            for line in text.splitlines()[1:]:
                key, value, *_ = line.split()
                sums[key.rstrip(":")] += int(value)
        private = sums["Private_Clean"] + sums["Private_Dirty"]
        count = len(self.processes)
        return {
            "rss_kib": sums["Rss"] / count,
            "pss_kib": sums["Pss"] / count,
            "private_kib": private / count,
        }

    def traffic(self):
        listing = subprocess.run(
            ["nft", "-j", "list", "counters"], check=True, capture_output=True, text=True
        )
        found = {}
        for item in json.loads(listing.stdout)["nftables"]:
            if counter := item.get("counter"):
                found[counter["name"]] = (counter["packets"], counter["bytes"])
        return Traffic(*found["udp_sent"], *found["tcp_sent"])


def nft(rules):
    subprocess.run(["nft", "-f", "-"], input=rules, check=True, text=True)


def lose_udp(percent):
    """Drops this share of the datagrams where they arrive."""
    nft(f"add rule ip bench received meta l4proto udp numgen random mod 100 < {percent} drop")


def cut_halves():
    """Nothing passes between the halves. Dropped on input: on output the sender would notice."""
    for half, uid in enumerate(UIDS):
        mark, other = half + 1, HALVES - half
        nft(f"add rule ip bench marks meta skuid {uid} meta mark set {mark}")
        nft(f"add rule ip bench received meta mark {mark} ip daddr 127.0.{other}.0/24 drop")


def heal():
    """No loss and no cut any more."""
    nft("flush chain ip bench received\nflush chain ip bench marks")
