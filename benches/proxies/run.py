#!/usr/bin/env python3
"""Runs astromeshd beside HAProxy and nginx, one thread each, and measures them alike.

    benches/proxies/run.py --json proxies.json

The same two backends behind all of them, their turns interleaved, the median of several repeats.
Prints one table; installs nothing. What the figures mean and what they cannot say:
docs/routing-bench.md.
"""

import argparse
import datetime
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import report
from processes import (
    DAEMON_BUILD,
    DAEMON_SOURCES,
    LOAD,
    LOAD_BUILD,
    LOAD_SOURCES,
    Failed,
    machine,
    say,
    warn_of_old_builds,
    write_json,
)
from proxies import PROXIES
from scenarios import SCENARIOS, SCENARIOS_DEFAULT, Options, describe, expected_minutes


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], epilog="Needs Linux.")
    names = ",".join
    parser.add_argument("--systems", default=names(PROXIES), help=f"of {names(PROXIES)}")
    parser.add_argument(
        "--scenarios", default=names(SCENARIOS_DEFAULT), help=f"of {names(SCENARIOS)}"
    )
    parser.add_argument("--seconds", type=int, default=5, help="length of a load (5)")
    parser.add_argument("--repeat", type=int, default=5, metavar="R", help="of each load (5)")
    parser.add_argument("--seed", type=int, default=1, help="arrivals of the overload (1)")
    parser.add_argument(
        "--instructions", action="store_true", help="also count instructions, under valgrind"
    )
    parser.add_argument(
        "--access-logs", action="store_true", help="HAProxy and nginx write theirs too"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures of all repeats")
    given = parser.parse_args()
    given.systems = _choice(parser, given.systems, PROXIES)
    given.scenarios = _choice(parser, given.scenarios, SCENARIOS)
    if given.instructions and "instructions" not in given.scenarios:
        given.scenarios.append("instructions")
    if given.repeat < 1 or given.seconds < 1:
        parser.error("--repeat and --seconds must be at least 1")
    return given


def _choice(parser, text, known):
    chosen = [name for name in text.split(",") if name]
    for name in chosen:
        if name not in known:
            parser.error(f"{name} is none of {', '.join(known)}")
    return [name for name in known if name in chosen]


def missing(given):
    """What is not there, and how to get it."""
    if sys.platform != "linux":
        return ["Linux: /proc and process clocks are needed"]
    faults = []
    if not LOAD.exists():
        faults.append(f"bench-load: {LOAD_BUILD}")
    if "throughput" in given.scenarios and shutil.which("wrk") is None:
        faults.append("wrk: apt-get install wrk")
    if "instructions" in given.scenarios and shutil.which("valgrind") is None:
        faults.append("valgrind: apt-get install valgrind")
    for name in given.systems:
        if PROXIES[name].program() is None:
            faults.append(f"{name}: {PROXIES[name].get}")
    return list(dict.fromkeys(faults))


def measure(given, options, document):
    """Adds the records of all scenarios, and what went wrong."""
    for scenario in given.scenarios:
        # A system that fails spoils its scenario; what was measured before stands.
        try:
            for load, system, repeat, figures in SCENARIOS[scenario](options, say):
                record = {"load": load, "system": system, "repeat": repeat}
                record |= {"load_average": os.getloadavg()[0], "figures": figures}
                document["records"].append(record)
                write_json(given.json, document)
        except (Failed, OSError, subprocess.SubprocessError) as error:
            say(f"{scenario}: {error}")
            document["errors"].append({"scenario": scenario, "error": str(error)})
            write_json(given.json, document)


def main():
    given = arguments()
    if faults := missing(given):
        print("missing:\n  " + "\n  ".join(faults), file=sys.stderr)
        return 2
    # Named, for a shell starts its background jobs with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    options = Options(
        tuple(given.systems), given.seconds, given.repeat, given.seed, given.access_logs
    )
    document = {
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "options": describe(options),
        "versions": {name: PROXIES[name].version() for name in given.systems},
        "records": [],
        "errors": [],
    }
    programs = [(LOAD, LOAD_BUILD, *LOAD_SOURCES)]
    if "astromesh" in given.systems:
        programs.append((PROXIES["astromesh"].program(), DAEMON_BUILD, *DAEMON_SOURCES))
    warn_of_old_builds(programs)
    say(f"about {expected_minutes(given.scenarios, options):.0f} minutes")
    stopped = False
    try:
        measure(given, options, document)
    except KeyboardInterrupt:
        say("stopped" + ("; what was measured:" if document["records"] else ""))
        stopped = True
    if document["records"]:
        print(report.table(document))
    if stopped:
        return 128 + signal.SIGINT
    return 1 if document["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
