"""What is done to each system, and what is read off it.

Every scenario yields records `(load, system, repeat, figures)`, one system after the other within
each repeat, so that whatever else the machine does hits all of them alike.
"""

import json
import random
import re
import subprocess
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from processes import Failed, Processes, closed, free_ports, load, wait_for
from proxies import DOCUMENT, PROXIES, RUN, SLOTS, Setup

BACKENDS = 2
WARM_SECONDS = 1
POST_BYTES = 4096
CONNECTIONS = (1, 64, 256)
# Connections, events of a stream, milliseconds between two.
STREAMS = ((1, 5, 5), (1, 20, 20), (64, 20, 20), (256, 20, 20))
# The death of a backend: when, for how long the load goes on, and what a request takes.
KILL_AFTER_SECONDS = 2
KILL_RUN_SECONDS = 6
KILL_CONNECTIONS = 64
WORK_SECONDS = 0.02
# Set aside on both sides of the death when rates are compared.
KILL_EDGE_SECONDS = 0.3
OVERLOAD_FACTOR = 3
OVERLOAD_SECONDS = 6
CAPACITY_SECONDS = 2
# Requests of the two runs whose difference is the instruction count.
INSTRUCTION_REQUESTS = (500, 2500)


@dataclass(frozen=True)
class Options:
    systems: tuple
    seconds: float
    repeat: int
    seed: int
    access_logs: bool


class Bench:
    """Backends and proxies of one scenario, running."""

    def __init__(self, directory, processes):
        self.directory = directory
        self.processes = processes
        self.backends = []
        self.addresses = []
        self.running = {}

    def start_backends(self, count, *words):
        for port in free_ports(count):
            address = f"127.0.0.1:{port}"
            command = load("backend", "--bind", address, *words)
            self.backends.append(self.processes.start(f"backend-{port}", command))
            self.addresses.append(address)
        for address, process in zip(self.addresses, self.backends):
            wait_for(address, DOCUMENT, [process])

    def start(self, name, wrapper=(), **choices):
        """Starts one system; the address at which it is asked."""
        if name == "direct":
            return self.addresses[0]
        directory = self.directory / name
        directory.mkdir()
        [port] = free_ports(1)
        setup = Setup(directory, port, tuple(self.addresses), **choices)
        command = [*wrapper, *PROXIES[name].command(setup)]
        process = self.processes.start(name, command, PROXIES[name].environment())
        self.running[name] = process
        wait_for(setup.address, DOCUMENT, [process, *self.backends])
        return setup.address


@contextmanager
def bench():
    with tempfile.TemporaryDirectory(prefix="proxy-bench-") as text:
        directory = Path(text)
        directory.chmod(0o755)
        with Processes(directory) as processes:
            yield Bench(directory, processes)


def logging(options, name):
    """Ours always writes its access log, the others when asked to."""
    return {"writes_access_log": options.access_logs or name == "astromesh"}


def in_turn(systems, repeat):
    """Each repeat begins with another one."""
    shift = repeat % len(systems)
    return [*systems[shift:], *systems[:shift]]


# Requests as fast as they go.


def throughput(options, say):
    with bench() as stage:
        stage.start_backends(BACKENDS)
        systems = [name for name in options.systems if name != "haproxy-tuned"]
        addresses = {name: stage.start(name, **logging(options, name)) for name in systems}
        for method in ("get", "post"):
            for connections in CONNECTIONS:
                say(f"{method} c{connections}")
                for repeat in range(options.repeat):
                    for name in in_turn(systems, repeat):
                        wrk(addresses[name], method, connections, WARM_SECONDS)
                        process = stage.running.get(name, stage.backends[0])
                        before = process.cpu_seconds()
                        figures = wrk(addresses[name], method, connections, options.seconds)
                        used = process.cpu_seconds() - before
                        figures["cpu_us"] = used / figures["requests"] * 1e6
                        figures["rss_kib"], figures["rss_max_kib"] = process.memory_kib()
                        yield f"{method} c{connections}", name, repeat, figures


def wrk(address, method, connections, seconds):
    path = RUN if method == "post" else DOCUMENT
    words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "5s"]
    words += ["-s", Path(__file__).with_name("request.lua"), f"http://{address}{path}"]
    words += ["--", method, str(POST_BYTES)]
    done = subprocess.run(words, capture_output=True, text=True)
    found = re.search(r"^JSON (.*)$", done.stdout, re.MULTILINE)
    if done.returncode != 0 or found is None:
        raise Failed(f"wrk ended with {done.returncode}: {done.stdout}{done.stderr}")
    figures = json.loads(found[1])
    if figures["requests"] == 0:
        raise Failed(f"wrk got no answer from {address}")
    figures["rps"] = figures["requests"] / figures["duration_us"] * 1e6
    return figures


# Streams of events.


def streams(options, say):
    with bench() as stage:
        stage.start_backends(BACKENDS)
        systems = [name for name in options.systems if name != "haproxy-tuned"]
        addresses = {name: stage.start(name, **logging(options, name)) for name in systems}
        for connections, events, gap_ms in STREAMS:
            label = f"sse c{connections} {events} x {gap_ms} ms"
            say(label)
            for repeat in range(options.repeat):
                for name in in_turn(systems, repeat):
                    figures = closed(
                        *("--target", addresses[name], "--connections", connections),
                        *("--seconds", options.seconds, "--method", "post", "--path", RUN),
                        *("--events", events, "--gap-ms", gap_ms),
                    )
                    yield label, name, repeat, stream_figures(figures)


def stream_figures(figures):
    if figures["first_event_us"] is None:
        raise Failed(f"no stream was whole: {figures['statuses']} {figures['faults']}")
    return {
        "first_p50_us": figures["first_event_us"]["p50"],
        "first_p99_us": figures["first_event_us"]["p99"],
        "age_p50_us": figures["age_us"]["p50"],
        "age_p99_us": figures["age_us"]["p99"],
        "streams": figures["good"],
        "events": figures["events"],
        "coalesced": figures["merged_chunks"],
        "split": figures["partial_chunks"],
        "failed": len(figures["failures"]),
    }


# The death of one of two backends.


def failover(options, say):
    systems = [name for name in options.systems if name != "direct"]
    for method in ("get", "post"):
        label = f"kill -9 {method}"
        say(label)
        for repeat in range(options.repeat):
            for name in in_turn(systems, repeat):
                yield label, name, repeat, kill_one(options, name, method)


def kill_one(options, name, method):
    with bench() as stage:
        log = stage.directory / "executions"
        delay_ms = round(WORK_SECONDS * 1000)
        stage.start_backends(BACKENDS, "--delay-ms", delay_ms, "--log", log)
        address = stage.start(name, **logging(options, name))
        command = load(
            *("closed", "--target", address, "--connections", KILL_CONNECTIONS),
            *("--seconds", KILL_RUN_SECONDS, "--method", method, "--ramp-ms", delay_ms),
            *("--path", RUN if method == "post" else DOCUMENT),
        )
        client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        time.sleep(KILL_AFTER_SECONDS)
        at = stage.backends[0].kill()
        output, _ = client.communicate()
        if client.returncode != 0:
            raise Failed(f"the load ended with {client.returncode}")
        figures = kill_figures(json.loads(output), at)
        figures["begun_twice"] = begun_twice(log) if method == "post" else None
        return figures


def kill_figures(seen, at):
    """Rates are of good answers; what lies within an edge of the death is in neither."""
    failures = seen["failures"]
    bin_seconds = 0.1
    start = seen["started_us"] / 1e6
    before = after = before_bins = after_bins = 0
    # The last bin is not whole.
    for number, count in enumerate(seen["good_per_100_ms"][:-1]):
        begin, end = start + number * bin_seconds, start + (number + 1) * bin_seconds
        if begin > start + KILL_EDGE_SECONDS and end < at:
            before, before_bins = before + count, before_bins + 1
        elif begin > at + KILL_EDGE_SECONDS:
            after, after_bins = after + count, after_bins + 1
    kinds = Counter(failure["what"] for failure in failures)
    return {
        "errors": sum(kinds.values()),
        "kinds": dict(kinds),
        "good": seen["good"],
        "throughput_kept": (after / after_bins) / (before / before_bins),
        "p99_us": seen["latency_us"]["p99"],
        "max_us": seen["latency_us"]["max"],
        "last_error_after_s": max((f["done_us"] / 1e6 - at for f in failures), default=None),
        "sample": failures[:1],
    }


def begun_twice(log):
    """Requests that more than one backend began, by the numbers they carry; the others have `-`."""
    begun = Counter()
    for line in log.read_text().splitlines():
        _, number, _, _, _, how = line.split(" ")
        begun[number] += how == "started" and number != "-"
    return sum(count > 1 for count in begun.values())


# More than there is room for.


def overload(options, say):
    systems = [name for name in options.systems if name not in ("direct", "haproxy-tuned")]
    say("overload")
    for repeat in range(options.repeat):
        for name in in_turn(systems, repeat):
            yield f"{OVERLOAD_FACTOR} x overload", name, repeat, overload_one(options, name, repeat)


def overload_one(options, name, repeat):
    with bench() as stage:
        stage.start_backends(1, "--slots", SLOTS, "--delay-ms", round(WORK_SECONDS * 1000))
        # Timers are late: what it really does is a little less than slots by time.
        seen = closed(
            *("--target", stage.addresses[0], "--connections", 2 * SLOTS),
            *("--seconds", CAPACITY_SECONDS, "--method", "post", "--path", RUN),
        )
        capacity = round(seen["good"] / (seen["ended_us"] - seen["started_us"]) * 1e6)
        address = stage.start(
            name, is_limited=True, capacity=capacity, **logging(options, name)
        )
        plan = stage.directory / "plan"
        rng = random.Random(f"{options.seed}-{repeat}")
        at = 0.0
        with plan.open("w") as file:
            number = 0
            while at < OVERLOAD_SECONDS:
                file.write(f"{at * 1e6:.0f} 0 - {number} -\n")
                at += rng.expovariate(capacity * OVERLOAD_FACTOR)
                number += 1
        process = stage.running[name]
        rss_before, _ = process.memory_kib()
        command = load(
            "replay", "--plan", plan, "--target", address, "--method", "post", "--path", RUN
        )
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        process.check()
        rss_after, rss_max = process.memory_kib()
    return {
        **overload_figures(done.stdout, capacity),
        "rss_before_kib": rss_before,
        "rss_after_kib": rss_after,
        "rss_max_kib": rss_max,
    }


def overload_figures(lines, capacity):
    """Goodput counts good answers that came while the load lasted, without its first second."""
    rows = [line.split(" ") for line in lines.splitlines()]
    due = [int(row[2]) for row in rows]
    begin, end = min(due) + 1_000_000, max(due)
    good = refused = 0
    kinds, took_good, took_refused = Counter(), [], []
    without_retry_after = 0
    for _, _, due_us, _, done_us, status, outcome, _, retry_after in rows:
        kinds[status if outcome == "ok" else outcome] += 1
        took = int(done_us) - int(due_us)
        if status == "200" and outcome == "ok":
            took_good.append(took)
            good += begin <= int(done_us) < end
        elif outcome == "ok":
            took_refused.append(took)
            refused += 1
            without_retry_after += retry_after == "-"
    return {
        "capacity_per_s": capacity,
        "goodput": good / ((end - begin) / 1e6) / capacity,
        "kinds": dict(kinds),
        "good_p50_us": at_share(took_good, 0.5),
        "good_p99_us": at_share(took_good, 0.99),
        "refused": refused,
        "refused_p50_us": at_share(took_refused, 0.5),
        "refused_p99_us": at_share(took_refused, 0.99),
        "refused_without_retry_after": without_retry_after,
        "faults": sum(row[6] != "ok" for row in rows),
    }


def at_share(values, share):
    values = sorted(values)
    return values[round(share * (len(values) - 1))] if values else None


# Instructions a request, which no other load on the machine changes.


def instructions(options, say):
    systems = [name for name in options.systems if name not in ("direct", "haproxy-tuned")]
    for method in ("get", "post"):
        for name in systems:
            say(f"instructions {method} {name}")
            few, many = (count_instructions(options, name, method, n) for n in INSTRUCTION_REQUESTS)
            each = (many - few) / (INSTRUCTION_REQUESTS[1] - INSTRUCTION_REQUESTS[0])
            yield f"instructions {method}", name, 0, {"instructions": each}


def count_instructions(options, name, method, requests):
    with bench() as stage:
        stage.start_backends(BACKENDS)
        output = stage.directory / "callgrind"
        wrapper = ("valgrind", "--tool=callgrind", f"--callgrind-out-file={output}")
        address = stage.start(name, wrapper, is_single_process=True, **logging(options, name))
        words = ["--body-bytes", POST_BYTES] if method == "post" else []
        seen = closed(
            *("--target", address, "--connections", 1, "--requests", requests),
            *("--method", method, "--path", RUN if method == "post" else DOCUMENT, *words),
            *("--timeout-ms", 30_000),
        )
        if seen["failures"]:
            raise Failed(f"{name} failed under valgrind: {seen['failures'][0]}")
        process = stage.running[name]
        process.stop(60)
        found = re.search(r"^(?:summary|totals): (\d+)", output.read_text(), re.MULTILINE)
        if found is None:
            raise Failed(f"no instruction count of {name}: {process.tail()}")
        return int(found[1])


SCENARIOS = {
    "throughput": throughput,
    "streams": streams,
    "failover": failover,
    "overload": overload,
    "instructions": instructions,
}
SCENARIOS_DEFAULT = ("throughput", "streams", "failover", "overload")


def expected_minutes(scenarios, options):
    loads = 2 * len(CONNECTIONS) * (options.seconds + WARM_SECONDS + 0.2)
    seconds = {
        "throughput": loads * options.repeat,
        "streams": len(STREAMS) * (options.seconds + 0.5) * options.repeat,
        "failover": 2 * (KILL_RUN_SECONDS + 0.5) * options.repeat,
        "overload": (OVERLOAD_SECONDS + CAPACITY_SECONDS + 1.5) * options.repeat,
        "instructions": 30,
    }
    return sum(seconds[name] for name in scenarios) * len(options.systems) / 60


def describe(options):
    """The constants above, for whoever reads the figures later."""
    return {
        **asdict(options),
        "post_bytes": POST_BYTES,
        "kill_connections": KILL_CONNECTIONS,
        "work_s": WORK_SECONDS,
        "slots": SLOTS,
        "overload_s": OVERLOAD_SECONDS,
    }
