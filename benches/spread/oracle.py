"""Requests drawn from a seed, and what an oracle would have done with them.

The oracle knows at each moment how many requests every worker has, and gives the next one to the
worker that has the fewest (join the shortest queue; ties at random). It does not know how long a
request will take. No time passes between it and the workers.
"""

import heapq
import random
import statistics
from dataclasses import dataclass

# Times of a language model: log-normal, median 2 s and mean 4 s, cut to 0.1 to 60 s; here scaled.
SIGMA = 1.2
MEAN_OF_MEDIAN = 2.0
CUT = (0.05, 30)
# The first requests only fill the mesh.
WARM_UP_SHARE = 0.1


@dataclass(frozen=True)
class Arrival:
    number: int
    at: float
    gateway: int
    seconds: float


@dataclass(frozen=True)
class Ran:
    """A request that was served: when it was sent, where it ran, and when it was over."""

    sent: float
    worker: int
    work: float
    done: float


def arrivals(seed, seconds, mean_seconds, slots, utilisation, gateways):
    """Poisson arrivals over all gateways that keep so much of the slots busy."""
    rng = random.Random(seed)
    median = mean_seconds / MEAN_OF_MEDIAN

    def work():
        drawn = median * rng.lognormvariate(0, SIGMA)
        return min(max(drawn, median * CUT[0]), median * CUT[1])

    mean = statistics.fmean(work() for _ in range(100_000))
    rate = utilisation * slots / mean
    drawn, at = [], rng.expovariate(rate)
    while at < seconds:
        drawn.append(Arrival(len(drawn), at, rng.randrange(gateways), work()))
        at += rng.expovariate(rate)
    return drawn


def write_plan(path, drawn, key="-"):
    with path.open("w") as file:
        for one in drawn:
            file.write(f"{one.at * 1e6:.0f} {one.gateway} {one.seconds:.6f} {one.number} {key}\n")


def shortest_queue(ran, workers, slots, rng):
    """The same requests with the oracle's choice of worker."""
    queues = [Queue(slots) for _ in range(workers)]
    for one in sorted(ran, key=lambda one: one.sent):
        lengths = [queue.length(one.sent) for queue in queues]
        least = min(lengths)
        chosen = rng.choice([worker for worker, length in enumerate(lengths) if length == least])
        done = queues[chosen].add(one.sent, one.work)
        yield Ran(one.sent, chosen, one.work, done)


def at_random(ran, workers, slots, rng):
    """The same requests, thrown."""
    queues = [Queue(slots) for _ in range(workers)]
    for one in sorted(ran, key=lambda one: one.sent):
        chosen = rng.randrange(workers)
        done = queues[chosen].add(one.sent, one.work)
        yield Ran(one.sent, chosen, one.work, done)


class Queue:
    """A worker with slots; those for whom there is none wait in their order."""

    def __init__(self, slots):
        # When each slot is free again, and when each request here is over.
        self.free = [0.0] * slots
        self.ends = []

    def length(self, now):
        while self.ends and self.ends[0] <= now:
            heapq.heappop(self.ends)
        return len(self.ends)

    def add(self, now, work):
        done = max(now, self.free[0]) + work
        heapq.heapreplace(self.free, done)
        heapq.heappush(self.ends, done)
        return done


def figures(ran, workers):
    """Latency, wait and imbalance, without the warm-up. The imbalance is that of the simulator: the
    requests of the busiest worker over those of the average one, both averaged over the moments
    before each arrival."""
    ran = sorted(ran, key=lambda one: one.sent)
    counted = ran[int(len(ran) * WARM_UP_SHARE) :]
    latencies = sorted(one.done - one.sent for one in counted)
    waits = sorted(one.done - one.sent - one.work for one in counted)
    ends, active = [], [0] * workers
    greatest = total = 0
    for number, one in enumerate(ran):
        while ends and ends[0][0] <= one.sent:
            active[heapq.heappop(ends)[1]] -= 1
        if number >= len(ran) - len(counted):
            greatest += max(active)
            total += sum(active)
        active[one.worker] += 1
        heapq.heappush(ends, (one.done, one.worker))
    return {
        "requests": len(counted),
        "p50_s": _at(latencies, 0.5),
        "p99_s": _at(latencies, 0.99),
        "mean_wait_s": statistics.fmean(waits),
        "p50_wait_s": _at(waits, 0.5),
        "p99_wait_s": _at(waits, 0.99),
        "max_over_mean": greatest / (total / workers),
    }


def _at(ordered, share):
    return ordered[round(share * (len(ordered) - 1))]
