"""What is done to a cluster, and what is measured.

Each scenario takes a cluster that is whole, or says that it was not, and returns plain figures:
seconds, bytes, counts. A figure that was not reached within its limit is None, and a count beside
it says how much was missing.
"""

import random
import time
from dataclasses import asdict, dataclass

import cluster as network
from systems import Node

SPAWN_LIMIT_SECONDS = 90
SETTLE_SECONDS = 10
LATE_LIMIT_SECONDS = 30
KILLS = 10
KILL_SPACING_SECONDS = 2
KILL_LIMIT_SECONDS = 45
LOSS_PERCENT = 20
PAUSED = 8
PAUSE_SECONDS = 8
RUN_SECONDS = 0.25
DRAIN_SECONDS = 15
WHOLE_LIMIT_SECONDS = 60
HEAL_LIMIT_SECONDS = 120


@dataclass(frozen=True)
class Options:
    nodes: int
    seconds: float
    seed: int

    def random(self):
        """The same choices for every system."""
        return random.Random(self.seed)

    def chosen(self, cluster, wanted):
        """Some nodes, never the seed: at most a quarter of all."""
        nodes = sorted(cluster.nodes() - {Node(0)}, key=lambda node: node.number)
        return self.random().sample(nodes, max(1, min(wanted, len(nodes) // 4)))


def join(cluster, options):
    """One seed, then all others at once."""
    cpu_start = time.monotonic()
    before = cluster.traffic()
    cluster.spawn_first()
    for number in range(1, options.nodes):
        cluster.spawn(Node(number))
    spawned_at = time.monotonic()
    goal = cluster.set_goal(cluster.nodes(), cluster.nodes())
    cluster.wait_for(goal, SPAWN_LIMIT_SECONDS)
    sent = cluster.traffic() - before
    return {
        "spawn_s": spawned_at - cpu_start,
        "whole_s": _since(goal.reached_at, spawned_at),
        "missing_pairs": goal.missing,
        "udp_bytes": sent.udp_bytes,
        "tcp_bytes": sent.tcp_bytes,
        "bytes_per_node": (sent.udp_bytes + sent.tcp_bytes) / options.nodes,
        "cpu_s": cluster.cpu_seconds(),
    }


def idle(cluster, options):
    """Nothing happens."""
    count, first_event = len(cluster.nodes()), len(cluster.events)
    cpu, traffic, start = cluster.cpu_seconds(), cluster.traffic(), time.monotonic()
    cluster.sleep(options.seconds)
    cpu, traffic = cluster.cpu_seconds() - cpu, cluster.traffic() - traffic
    took = time.monotonic() - start
    events = cluster.events[first_event:]
    return {
        **_rates(traffic, took, count),
        "datagrams_per_s_node": traffic.udp_packets / took / count,
        "cpu_ms_per_s_node": cpu * 1_000 / took / count,
        **cluster.memory(),
        "false_deaths": sum(event.kind == "DOWN" for event in events),
    }


def late(cluster, options):
    """One more node, once all know all."""
    others, newcomer = cluster.nodes(), Node(options.nodes)
    start = time.monotonic()
    cluster.spawn(newcomer)
    knows = cluster.set_goal({newcomer}, others)
    first_event = len(cluster.events)
    cluster.wait_for(knows, LATE_LIMIT_SECONDS)
    # Both directions run at once: the second is read from the events of the same time.
    known = cluster.set_goal(others, {newcomer})
    cluster.wait_for(known, max(0, start + LATE_LIMIT_SECONDS - time.monotonic()))
    heard = [
        event.time
        for event in cluster.events[first_event:]
        if event.member == newcomer and event.kind == "UP"
    ]
    return {
        "knows_all_s": _since(knows.reached_at, start),
        "knows_all_missing": knows.missing,
        "known_by_all_s": max(heard) - start if heard and not known.missing else None,
        "known_by_all_missing": known.missing,
    }


def kill(cluster, options):
    """kill -9 of some members, one after the other."""
    victims = options.chosen(cluster, KILLS)
    first_event = len(cluster.events)
    killed_at = {}
    for victim in victims:
        killed_at[victim] = cluster.kill(victim)
        cluster.sleep(KILL_SPACING_SECONDS)
    cluster.wait_until_gone(set(victims), KILL_LIMIT_SECONDS)
    learned = {victim: {} for victim in victims}
    false = 0
    for event in cluster.events[first_event:]:
        if event.kind != "DOWN":
            continue
        at = killed_at.get(event.member)
        if at is None or event.time < at:
            false += 1
        else:
            learned[event.member].setdefault(event.observer, event.time - at)
    observers = cluster.nodes()
    times = {
        victim: [by[observer] for observer in observers if observer in by]
        for victim, by in learned.items()
    }
    every = sorted(seconds for by in times.values() for seconds in by)
    # Who had not known the victim has nothing to learn.
    unaware = {victim: cluster.knowing(victim) for victim in victims}
    complete = [max(by) for victim, by in times.items() if by and not unaware[victim]]
    return {
        "killed": len(victims),
        "first_p50_s": percentile([min(by) for by in times.values() if by], 50),
        "everywhere_p50_s": percentile(complete, 50),
        "p50_s": percentile(every, 50),
        "p99_s": percentile(every, 99),
        "max_s": every[-1] if every else None,
        "spread_max_s": max((max(by) - min(by) for by in times.values() if by), default=None),
        "missing_pairs": sum(unaware.values()),
        "false_deaths": false,
    }


def loss(cluster, options):
    """A share of all datagrams is lost, TCP is not; nobody dies."""
    count, first_event = len(cluster.nodes()), len(cluster.events)
    network.lose_udp(LOSS_PERCENT)
    traffic, start = cluster.traffic(), time.monotonic()
    cluster.sleep(options.seconds)
    traffic, took = cluster.traffic() - traffic, time.monotonic() - start
    network.heal()
    nodes, healed_at = cluster.nodes(), time.monotonic()
    goal = cluster.set_goal(nodes, nodes)
    # Suspicions that the loss began may still become deaths.
    cluster.sleep(DRAIN_SECONDS)
    again = cluster.set_goal(nodes, nodes)
    if again.missing:
        goal = again
    cluster.wait_for(goal, WHOLE_LIMIT_SECONDS)
    deaths = [event for event in cluster.events[first_event:] if event.kind == "DOWN"]
    return {
        **_rates(traffic, took, count),
        "false_deaths": len(deaths),
        "victims": len({event.member for event in deaths}),
        **_whole(goal, healed_at),
    }


def pause(cluster, options):
    """Some members are stopped for seconds and run for moments, in step."""
    nodes, paused = cluster.nodes(), set(options.chosen(cluster, PAUSED))
    first_event = len(cluster.events)
    until = time.monotonic() + options.seconds
    while time.monotonic() < until:
        cluster.pause(paused)
        cluster.sleep(PAUSE_SECONDS)
        goal, resumed_at = cluster.set_goal(nodes, nodes), time.monotonic()
        cluster.resume(paused)
        cluster.sleep(RUN_SECONDS)
    cluster.wait_for(goal, WHOLE_LIMIT_SECONDS)
    cluster.sleep(max(0, DRAIN_SECONDS - (time.monotonic() - resumed_at)))
    deaths = [event for event in cluster.events[first_event:] if event.kind == "DOWN"]
    healthy = [event for event in deaths if event.member not in paused]
    return {
        "paused": len(paused),
        "false_deaths_seen_by_healthy": sum(event.observer not in paused for event in healthy),
        "false_deaths_seen_by_paused": sum(event.observer in paused for event in healthy),
        "healthy_victims": len({event.member for event in healthy}),
        "deaths_of_paused": len(deaths) - len(healthy),
        **_whole(goal, resumed_at),
    }


def partition(cluster, options):
    """Nothing passes between the halves for a while; then everything does."""
    nodes, first_event = cluster.nodes(), len(cluster.events)
    start = time.monotonic()
    network.cut_halves()
    try:
        cluster.sleep(options.seconds)
    finally:
        network.heal()
    healed_at, traffic = time.monotonic(), cluster.traffic()
    goal = cluster.set_goal(nodes, nodes)
    divided = goal.missing
    cluster.wait_for(goal, HEAL_LIMIT_SECONDS)
    traffic = cluster.traffic() - traffic
    deaths = [event for event in cluster.events[first_event:] if event.kind == "DOWN"]
    across = [event for event in deaths if event.observer.half != event.member.half]
    pairs = sum(a.half != b.half for a in nodes for b in nodes)
    during = {(event.observer, event.member): event.time for event in across}
    split = max(during.values()) - start if during else None
    return {
        "split_s": split if divided == pairs else None,
        "split_missing_pairs": pairs - divided,
        "heal_s": _since(goal.reached_at, healed_at),
        "heal_missing_pairs": goal.missing,
        "heal_bytes_per_node": (traffic.udp_bytes + traffic.tcp_bytes) / len(nodes),
        "false_deaths_in_own_half": len(deaths) - len(across),
    }


def percentile(values, percent):
    """Nearest rank; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def _since(at, start):
    return None if at is None else max(0.0, at - start)


def _rates(traffic, seconds, count):
    return {
        "udp_bytes_per_s_node": traffic.udp_bytes / seconds / count,
        "tcp_bytes_per_s_node": traffic.tcp_bytes / seconds / count,
    }


def _whole(goal, start):
    """How long after `start` all knew all again."""
    return {"whole_s": _since(goal.reached_at, start), "whole_missing_pairs": goal.missing}


@dataclass(frozen=True)
class Scenario:
    """`seconds` is about how long it takes besides the window that the user sets."""

    run: object
    title: str
    seconds: float
    window: bool


SCENARIOS = {
    "join": Scenario(join, "join", 5, False),
    "idle": Scenario(idle, "idle", 0, True),
    "late": Scenario(late, "late joiner", 5, False),
    "kill": Scenario(kill, "kill -9 of members", KILLS * KILL_SPACING_SECONDS + 12, False),
    "loss": Scenario(loss, f"{LOSS_PERCENT} % UDP loss", DRAIN_SECONDS, True),
    "pause": Scenario(pause, "members paused", DRAIN_SECONDS, True),
    "partition": Scenario(partition, "partition into halves", 60, True),
}

# Scenarios of one group run one after the other in one cluster; each group starts a new one.
GROUPS = (("join", "idle", "late", "kill"), ("loss",), ("pause",), ("partition",))


def run_group(wanted, cluster, options, say, results):
    """Starts the cluster, lets it settle, runs the wanted scenarios; adds name -> figures."""
    say("join" if "join" in wanted else "starting")
    figures = join(cluster, options)
    if "join" in wanted:
        results["join"] = figures
    for name in wanted:
        if name == "join":
            continue
        cluster.sleep(SETTLE_SECONDS if name != "late" else 0)
        missing = cluster.set_goal(cluster.nodes(), cluster.nodes()).missing
        say(SCENARIOS[name].title)
        figures = SCENARIOS[name].run(cluster, options)
        results[name] = {"missing_pairs_at_start": missing, **figures}


def describe(options):
    """The constants above, for whoever reads the figures later."""
    return {
        **asdict(options),
        "kills": KILLS,
        "kill_spacing_s": KILL_SPACING_SECONDS,
        "loss_percent": LOSS_PERCENT,
        "paused": PAUSED,
        "pause_s": PAUSE_SECONDS,
        "run_s": RUN_SECONDS,
    }
