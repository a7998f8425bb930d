#!/usr/bin/env python3
"""Runs a mesh of astromeshd with a slow agent, and compares where its requests ran with an oracle.

    benches/spread/run.py --json spread.json

Also kills workers, restarts them in turn, and asks three times as much as they can do. Prints what
is asked and what is; installs nothing. What the figures mean and what they cannot say:
docs/routing-bench.md.
"""

import argparse
import datetime
import os
import signal
import subprocess
import sys
from pathlib import Path

# What both scripts need is beside the first of them.
sys.path.append(str(Path(__file__).resolve().parent.parent / "proxies"))

from gates import SCENARIOS, Options
from mesh import DAEMON
from processes import (
    DAEMON_BUILD,
    DAEMON_SOURCES,
    LOAD,
    LOAD_BUILD,
    LOAD_SOURCES,
    Failed,
    machine,
    say,
    tree_version,
    warn_of_old_builds,
    write_json,
)
from report import layout


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], epilog="Needs Linux.")
    names = ",".join(SCENARIOS)
    parser.add_argument("--scenarios", default=names, help=f"of {names}")
    parser.add_argument("--seconds", type=float, default=120, help="length of a spread (120)")
    parser.add_argument(
        "--utilisation", type=float, default=0.8, help="of all slots, in a spread (0.8)"
    )
    parser.add_argument("--repeat", type=int, default=1, metavar="R", help="of each scenario (1)")
    parser.add_argument("--seed", type=int, default=1, help="arrivals, and how long they take (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures of all repeats")
    given = parser.parse_args()
    given.scenarios = given.scenarios.split(",")
    for name in given.scenarios:
        if name not in SCENARIOS:
            parser.error(f"{name} is none of {names}")
    if given.repeat < 1 or given.seconds <= 0 or not 0 < given.utilisation < 1:
        parser.error("--repeat, --seconds must be positive, --utilisation between 0 and 1")
    return given


def missing():
    """What is not there, and how to get it."""
    if sys.platform != "linux":
        return ["Linux: each address of 127.0.0.0/8 is needed"]
    programs = ((LOAD, "bench-load", LOAD_BUILD), (DAEMON, "astromeshd", DAEMON_BUILD))
    return [f"{name}: {build}" for path, name, build in programs if not path.exists()]


def measure(given, document):
    for repeat in range(given.repeat):
        # Each repeat draws anew.
        options = Options(given.seconds, given.utilisation, given.seed + repeat)
        for name in given.scenarios:
            say(f"{name}, {repeat + 1} of {given.repeat}")
            record = {"scenario": name, "repeat": repeat, "load_before": os.getloadavg()[0]}
            try:
                record["figures"] = SCENARIOS[name](options)
            except (Failed, OSError, subprocess.SubprocessError) as error:
                say(f"{name}: {error}")
                record["error"] = str(error)
            document["records"].append(record)
            write_json(given.json, document)


def tables(document):
    rules = [["spread", "rule", "requests", "p50 s", "p99 s"]]
    rules[0] += ["wait ms: mean", "p50", "p99", "max/mean"]
    gates = [["scenario", "gate", "asked", "is", "met"]]
    for record in document["records"]:
        name = f"{record['scenario']} {record['repeat'] + 1}"
        if "error" in record:
            gates.append([name, record["error"].splitlines()[0], "", "", "no"])
            continue
        for rule, one in record["figures"].get("rules", {}).items():
            cells = [f"{one['requests']:,}", f"{one['p50_s']:.3f}", f"{one['p99_s']:.2f}"]
            waits = ("mean_wait_s", "p50_wait_s", "p99_wait_s")
            cells += [f"{one[key] * 1000:.1f}" for key in waits]
            rules.append([name, rule, *cells, f"{one['max_over_mean']:.3f}"])
        for gate, asked, value, is_met in record["figures"]["gates"]:
            gates.append([name, gate, asked, value, "yes" if is_met else "no"])
    return "\n\n".join(layout(lines) for lines in (rules, gates) if len(lines) > 1)


def main():
    given = arguments()
    if faults := missing():
        print("missing:\n  " + "\n  ".join(faults), file=sys.stderr)
        return 2
    # Named, for a shell starts its background jobs with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    warn_of_old_builds(
        [(LOAD, LOAD_BUILD, *LOAD_SOURCES), (DAEMON, DAEMON_BUILD, *DAEMON_SOURCES)]
    )
    document = {
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "version": tree_version(),
        "options": {
            "seconds": given.seconds,
            "utilisation": given.utilisation,
            "seed": given.seed,
        },
        "records": [],
    }
    stopped = False
    try:
        measure(given, document)
    except KeyboardInterrupt:
        say("stopped")
        stopped = True
    if document["records"]:
        print(tables(document))
    if stopped:
        return 128 + signal.SIGINT
    return 1 if any("error" in record for record in document["records"]) else 0


if __name__ == "__main__":
    sys.exit(main())
