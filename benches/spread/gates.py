"""What is done to a mesh, and what is read off it: one function for each scenario.

Each gives a mapping of figures, and under `gates` what is asked: (name, asked, is, met).
"""

import json
import random
import subprocess
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import oracle
from mesh import IDEMPOTENT, PLAIN, Mesh, run_path
from processes import Failed, Processes, load

# The spread: each node is gateway and worker.
SPREAD_NODES = 16
SPREAD_SLOTS = 8
# Mean time of a request, in seconds.
SPREAD_CALLS = {"long": 1.0, "short": 0.1}
WAIT_RATIO_MAX = 1.5
WAIT_MORE_MAX_S = 0.005
IMBALANCE_RATIO_MAX = 1.2

# The others: gateways that stay, and workers.
GATEWAYS = 2
WORKERS = 4
KILL_CONNECTIONS = 64
KILL_WORK_SECONDS = 0.05
KILL_AFTER_SECONDS = 2
KILL_RUN_SECONDS = 6
ROLLING_CONNECTIONS = 32
# Open streams: events and milliseconds between two.
ROLLING_STREAM = (40, 50)
ROLLING_REST_SECONDS = 1
OVERLOAD_SLOTS = 8
OVERLOAD_QUEUE = 64
OVERLOAD_WORK_SECONDS = 0.05
OVERLOAD_FACTOR = 3
OVERLOAD_SECONDS = 10
REFUSED_SECONDS = 0.005
# A stream that waits longer than this for its end has been forgotten.
TIMEOUT_MS = 30_000


@dataclass(frozen=True)
class Options:
    seconds: float
    utilisation: float
    seed: int


@contextmanager
def mesh(gateways, workers, limits=""):
    with tempfile.TemporaryDirectory(prefix="spread-bench-") as text:
        with Processes(Path(text)) as processes:
            yield Mesh(processes, gateways, workers, limits)


class Client:
    """A closed loop in the background."""

    def __init__(self, *words):
        command = load("closed", *words, "--timeout-ms", TIMEOUT_MS)
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def finish(self):
        """Lets it end the requests it has, and reads its figures."""
        if self.child.poll() is None:
            self.child.terminate()
        return self.wait()

    def wait(self):
        output, _ = self.child.communicate()
        if self.child.returncode != 0:
            raise Failed(f"the load ended with {self.child.returncode}")
        return json.loads(output)


def replay(stage, drawn, nodes, agent):
    """Sends a plan to these nodes; the rows of what came of it."""
    plan = stage.directory / "plan"
    oracle.write_plan(plan, drawn)
    command = load(
        *("replay", "--plan", plan, "--target", stage.targets(nodes)),
        *("--method", "post", "--path", run_path(agent), "--timeout-ms", 120_000),
    )
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Failed(f"the load ended with {done.returncode}")
    stage.check()
    return [Row(line) for line in done.stdout.splitlines()]


class Row:
    def __init__(self, line):
        number, _, due, sent, done, status, outcome, self.node, retry_after = line.split(" ")
        self.number = int(number)
        self.due, self.sent, self.done = (int(word) / 1e6 for word in (due, sent, done))
        self.what = status if outcome == "ok" else outcome
        self.says_when = retry_after != "-"


# How near the choice of sixteen nodes is to that of one that knows all.


def spread(options, calls):
    with mesh(0, SPREAD_NODES, f"max_concurrent: {SPREAD_SLOTS}") as stage:
        drawn = oracle.arrivals(
            options.seed,
            options.seconds,
            SPREAD_CALLS[calls],
            SPREAD_NODES * SPREAD_SLOTS,
            options.utilisation,
            SPREAD_NODES,
        )
        rows = replay(stage, drawn, stage.nodes, PLAIN)
        executions, _ = stage.executions()
    workers = {node.upstream: number for number, node in enumerate(stage.workers())}
    where = {one.number: one for one in executions if one.is_finished}
    ran, others = [], Counter()
    for row in rows:
        one = where.get(row.number)
        if row.what == "200" and one is not None:
            work = one.ended - one.started
            ran.append(oracle.Ran(row.sent, workers[one.upstream], work, row.done))
        else:
            others[row.what] += 1
    if not ran:
        raise Failed(f"nothing was served: {dict(others)}")
    ours = oracle.figures(ran, SPREAD_NODES)
    rules = {"astromesh": ours}
    for name, rule in (("oracle", oracle.shortest_queue), ("random", oracle.at_random)):
        rng = random.Random(options.seed)
        rules[name] = oracle.figures(rule(ran, SPREAD_NODES, SPREAD_SLOTS, rng), SPREAD_NODES)
    best = rules["oracle"]
    wait_max = max(best["mean_wait_s"] * WAIT_RATIO_MAX, best["mean_wait_s"] + WAIT_MORE_MAX_S)
    imbalance_max = best["max_over_mean"] * IMBALANCE_RATIO_MAX
    late = sum(row.sent - row.due > 0.005 for row in rows)
    return {
        "rules": rules,
        "not_served": dict(others),
        "sent_late": late,
        "gates": [
            limit("mean wait, s", ours["mean_wait_s"], wait_max),
            limit("max/mean", ours["max_over_mean"], imbalance_max),
            limit("not served", sum(others.values()), 0),
        ],
    }


def limit(name, value, most):
    return name, f"at most {most:.4g}", f"{value:.4g}", value <= most


def spread_long(options):
    return spread(options, "long")


def spread_short(options):
    return spread(options, "short")


# The death of a worker.


KILLS = {
    "GET of the document": (PLAIN, "get", False),
    "idempotent agent": (IDEMPOTENT, "post", False),
    "with Idempotency-Key": (PLAIN, "post", True),
    "others": (PLAIN, "post", False),
}


def kill(options):
    figures, gates = {}, []
    with mesh(GATEWAYS, WORKERS) as stage:
        for (label, kind), worker in zip(KILLS.items(), stage.workers()):
            figures[label] = kill_one(stage, worker, label, *kind)
            seen = figures[label]
            if label == "others":
                gates.append(limit(f"{label}: errors of requests elsewhere", seen["elsewhere"], 0))
                gates.append(limit(f"{label}: in flight without an error", seen["untold"], 0))
                name, is_met = f"{label}: clear errors", set(seen["kinds"]) <= {"502", "503"}
                gates.append((name, "502 or 503", f"{seen['kinds']}", is_met))
            else:
                gates.append(limit(f"{label}: lost", seen["errors"], 0))
            if label == "with Idempotency-Key":
                heard = seen["finished_twice_heard"]
                unheard = seen["finished_twice"] - heard
                text = f"{heard}" + (f" ({unheard} more by a dead worker)" if unheard else "")
                gates.append((f"{label}: finished twice", "at most 0", text, heard == 0))
            stage.start(worker)
            stage.wait_until_whole()
    return {"kills": figures, "gates": gates}


def kill_one(stage, worker, label, agent, method, has_key):
    words = [
        *("--target", stage.targets(stage.gateways()), "--connections", KILL_CONNECTIONS),
        *("--seconds", KILL_RUN_SECONDS, "--method", method),
        # In step, the requests of all connections would end in the same moment.
        *("--ramp-ms", round(KILL_WORK_SECONDS * 1000)),
        *("--path", run_path(agent) if method == "post" else f"/v1/agents/{agent}"),
    ]
    if method == "post":
        words += ["--work-seconds", KILL_WORK_SECONDS]
    if has_key:
        words += ["--key-prefix", "kill"]
    client = Client(*words)
    time.sleep(KILL_AFTER_SECONDS)
    at = stage.kill(worker)
    seen = client.wait()
    executions, begun = stage.executions()
    start = seen["started_us"] / 1e6
    # The process behind the worker lives on. It saw the worker's connections end, or came to the
    # end of its work when nobody was there any more to hear of it.
    own = [one for one in executions if one.upstream == worker.upstream and one.started > start]
    cut = [one for one in own if not one.is_finished]
    unheard = [one for one in own if one.is_finished and one.ended >= at]
    finished = Counter(one.key for one in executions if one.is_finished and one.key != "-")
    twice = {key for key, count in finished.items() if count > 1}
    failures = seen["failures"]
    failed = {failure["id"] for failure in failures}
    others = {one.number for one in executions if one.started > start} - {
        one.number for one in own
    }
    return {
        "good": seen["good"],
        "errors": len(failures),
        # That ran on another worker and never on the dead one; and the other way round.
        "elsewhere": len(failed & others),
        "untold": len({one.number for one in [*cut, *unheard]} - failed),
        "kinds": dict(Counter(failure["what"] for failure in failures)),
        "in_flight": len(cut) + len(unheard),
        "unheard": len(unheard),
        "cut_after_s": max((one.ended - at for one in cut), default=None),
        "begun_twice": sum(n > 1 for key, n in begun.items() if key.startswith("kill-")),
        "finished_twice": len(twice),
        "finished_twice_heard": len(twice - {one.key for one in unheard}),
        # How long before the death the first of them came to its end.
        "heard_before_kill_s": [
            at - one.ended for one in own if one.key in twice and one.is_finished
        ],
        "last_error_after_s": max((f["done_us"] / 1e6 - at for f in failures), default=None),
        "latency_us": seen["latency_us"],
        "sample": failures[:2],
    }


# All workers restarted, one after the other.


def rolling(options):
    with mesh(GATEWAYS, WORKERS) as stage:
        target = ("--target", stage.targets(stage.gateways()), "--connections", ROLLING_CONNECTIONS)
        post = ("--method", "post", "--path", run_path(PLAIN), "--seconds", 600)
        events, gap_ms = ROLLING_STREAM
        requests = Client(*target, *post, "--work-seconds", 0.02)
        streams = Client(*target, *post, "--events", events, "--gap-ms", gap_ms)
        stops = []
        try:
            time.sleep(ROLLING_REST_SECONDS)
            for worker in stage.workers():
                in_order, seconds = stage.stop(worker)
                stops.append({"worker": worker.name, "in_order": in_order, "seconds": seconds})
                stage.start(worker)
                stage.wait_until_whole()
                time.sleep(ROLLING_REST_SECONDS)
        finally:
            seen = {"requests": requests.finish(), "streams": streams.finish()}
    figures = {"stops": stops}
    gates = [limit("stops that had to be forced", sum(not stop["in_order"] for stop in stops), 0)]
    for name, one in seen.items():
        kinds = Counter(failure["what"] for failure in one["failures"])
        cut = kinds["truncated"] + kinds["error_event"]
        figures[name] = {
            "good": one["good"],
            "kinds": dict(kinds),
            "latency_us": one["latency_us"],
            "sample": one["failures"][:2],
        }
        gates.append(limit(f"{name}: errors", sum(kinds.values()) - cut, 0))
        gates.append(limit(f"{name}: truncated", cut, 0))
    return {**figures, "gates": gates}


# Three times what the workers can do.


def overload(options):
    limits = f"max_concurrent: {OVERLOAD_SLOTS}, queue_max: {OVERLOAD_QUEUE}"
    with mesh(GATEWAYS, WORKERS, limits) as stage:
        slots = OVERLOAD_SLOTS * WORKERS
        rate = OVERLOAD_FACTOR * slots / OVERLOAD_WORK_SECONDS
        rng = random.Random(options.seed)
        drawn, at = [], 0.0
        while at < OVERLOAD_SECONDS:
            drawn.append(
                oracle.Arrival(len(drawn), at, rng.randrange(GATEWAYS), OVERLOAD_WORK_SECONDS)
            )
            at += rng.expovariate(rate)
        before = stage.rss_kib()
        rows = replay(stage, drawn, stage.gateways(), PLAIN)
        after = stage.rss_kib()
        executions, _ = stage.executions()
    finished = [one for one in executions if one.is_finished]
    if not finished:
        raise Failed(f"nothing was served: {dict(Counter(row.what for row in rows))}")
    # What the slots can do with work that takes as long as it really took.
    capacity = slots / (sum(one.ended - one.started for one in finished) / len(finished))
    due = [row.due for row in rows]
    begin, end = min(due) + 1, max(due)
    good = sum(row.what == "200" and begin <= row.done < end for row in rows)
    goodput = good / (end - begin) / capacity
    kinds = Counter(row.what for row in rows)
    refused = sorted(row.done - row.sent for row in rows if row.what == "429")
    others = sum(kinds.values()) - kinds["200"] - kinds["429"]
    silent = sum(row.what == "429" and not row.says_when for row in rows)
    refused_p50, refused_p99 = (
        refused[round(share * (len(refused) - 1))] if refused else 0 for share in (0.5, 0.99)
    )
    return {
        "capacity_per_s": capacity,
        "offered_per_s": rate,
        "goodput": goodput,
        "kinds": dict(kinds),
        "refused_p50_s": refused_p50,
        "refused_p99_s": refused_p99,
        "rss_before_kib": max(resident for resident, _ in before.values()),
        "rss_max_kib": max(most for _, most in after.values()),
        "gates": [
            ("goodput", "at least 0.95", f"{goodput:.3f}", goodput >= 0.95),
            limit("neither 200 nor 429", others, 0),
            limit("429 without Retry-After", silent, 0),
            limit("429 after, p50 s", refused_p50, REFUSED_SECONDS),
        ],
    }


SCENARIOS = {
    "spread-long": spread_long,
    "spread-short": spread_short,
    "kill": kill,
    "rolling": rolling,
    "overload": overload,
}
