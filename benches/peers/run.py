#!/usr/bin/env python3
"""Runs N astromeshd daemons, and N processes of each of its peers, and measures both alike.

    sudo benches/peers/run.py --nodes 100 --json peers.json

One system after the other, each in a network and process namespace of its own, which ends with
this script however it ends. Prints one table; installs nothing. What the figures mean and what
they cannot say: docs/peer-bench.md.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import report
from cluster import Cluster, NodeEnded
from scenarios import GROUPS, SCENARIOS, SETTLE_SECONDS, Options, describe, run_group
from systems import NODES_MAX, ROOT, SYSTEMS, SYSTEMS_DEFAULT

TOOLS = {"unshare": "util-linux", "ip": "iproute2", "nft": "nftables"}
# What starting and ending a cluster takes, about, by the number of nodes.
SECONDS_PER_CLUSTER_NODE = 0.05


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], epilog="Needs root and Linux."
    )
    names = ",".join
    parser.add_argument("--systems", default=names(SYSTEMS_DEFAULT), help=f"of {names(SYSTEMS)}")
    parser.add_argument("--nodes", type=int, default=100, help="processes of a system (100)")
    parser.add_argument("--scenarios", default=names(SCENARIOS), help=f"of {names(SCENARIOS)}")
    parser.add_argument(
        "--seconds", type=float, default=60, help="length of idle, loss, pause, partition (60)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures of all runs")
    parser.add_argument("--repeat", type=int, default=1, metavar="R", help="runs of each (1)")
    parser.add_argument("--seed", type=int, default=1, help="who is killed and paused (1)")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.systems = _choice(parser, given.systems, SYSTEMS)
    given.scenarios = _choice(parser, given.scenarios, SCENARIOS)
    if not 4 <= given.nodes < NODES_MAX:
        parser.error(f"--nodes must be 4 to {NODES_MAX - 1}")
    if given.repeat < 1 or given.seconds <= 0:
        parser.error("--repeat and --seconds must be positive")
    return given


def _choice(parser, text, known):
    chosen = [name for name in text.split(",") if name]
    for name in chosen:
        if name not in known:
            parser.error(f"{name} is none of {', '.join(known)}")
    return [name for name in known if name in chosen]


def missing(given):
    """What is not there, and how to get it."""
    faults = []
    if sys.platform != "linux":
        return ["Linux: namespaces and nft are needed"]
    if os.geteuid() != 0:
        faults.append("root: run it under sudo")
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            faults.append(f"{tool}: apt-get install {package}")
    for name in given.systems:
        system = SYSTEMS[name]
        if not system.program().exists():
            faults.append(f"{name}: {system.build}")
    return faults


def warn_of_old_builds(given):
    """A figure of yesterday's build is worse than none."""
    commit = subprocess.run(
        ["git", "-C", ROOT, "log", "-1", "--format=%ct"], capture_output=True, text=True
    ).stdout.strip()
    ours = SYSTEMS["astromesh"]
    if commit and ours.program().exists() and ours.program().stat().st_mtime < int(commit):
        say(f"warning: {ours.program()} is older than the last commit: {ours.build}")


def say(text):
    print(f"{datetime.datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


def expected_minutes(given):
    seconds = 0
    for group in GROUPS:
        wanted = [SCENARIOS[name] for name in group if name in given.scenarios]
        if wanted:
            seconds += given.nodes * SECONDS_PER_CLUSTER_NODE
            for scenario in wanted:
                seconds += scenario.seconds + SETTLE_SECONDS + scenario.window * given.seconds
    return seconds * len(given.systems) * given.repeat / 60


# Outside: one child for each system, in namespaces of its own.


def measure(given, name):
    """Runs one system in new namespaces; scenario -> figures, or why there are none."""
    with tempfile.TemporaryDirectory(prefix="peer-bench-") as directory:
        os.chmod(directory, 0o755)
        # With the process namespace the kernel ends whatever is left, when the child ends.
        command = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        command += [sys.executable, __file__, "--inside", directory, "--systems", name]
        command += ["--nodes", str(given.nodes), "--scenarios", ",".join(given.scenarios)]
        command += ["--seconds", str(given.seconds), "--seed", str(given.seed)]
        # The pipe to its input tells the child that we are there.
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            answer = child.stdout.read()
            child.wait()
        finally:
            child.kill()
            child.wait()
    if child.returncode != 0:
        return {"error": f"ended with {child.returncode}"}
    return json.loads(answer)


def outside(given):
    if faults := missing(given):
        print("missing:\n  " + "\n  ".join(faults), file=sys.stderr)
        return 2
    # Named, for a shell starts its background jobs with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    document = {
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "options": describe(Options(given.nodes, given.seconds, given.seed)),
        "versions": {name: SYSTEMS[name].version() for name in given.systems},
        "runs": [],
    }
    warn_of_old_builds(given)
    stopped = False
    say(f"{given.nodes} nodes, about {expected_minutes(given):.0f} minutes")
    try:
        for repeat in range(given.repeat):
            for name in given.systems:
                say(f"{name}: run {repeat + 1} of {given.repeat}")
                run = {"system": name, "repeat": repeat, "load_before": os.getloadavg()[0]}
                run["results"] = measure(given, name)
                document["runs"].append(run)
                write(given.json, document)
    except KeyboardInterrupt:
        say("stopped" + ("; what was measured:" if document["runs"] else ""))
        stopped = True
    if document["runs"]:
        print(report.table(document))
    if stopped:
        return 128 + signal.SIGINT
    return 1 if any("error" in run["results"] for run in document["runs"]) else 0


def write(path, document):
    """After each run: what is measured is not lost."""
    if path is not None:
        path.write_text(json.dumps(document, indent=1) + "\n")


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


# Inside: the first process of the namespaces. When it ends, all others do.


def inside(given):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=end_with_parent, daemon=True).start()
    subprocess.run(["ip", "link", "set", "lo", "mtu", "1500", "up"], check=True)
    [name] = given.systems
    options = Options(given.nodes, given.seconds, given.seed)
    results = {}
    try:
        for number, group in enumerate(GROUPS):
            wanted = [scenario for scenario in group if scenario in given.scenarios]
            if not wanted:
                continue
            directory = Path(given.inside) / str(number)
            directory.mkdir()
            with Cluster(SYSTEMS[name], given.nodes, directory) as cluster:
                run_group(wanted, cluster, options, lambda what: say(f"{name}: {what}"), results)
    except (NodeEnded, OSError, subprocess.SubprocessError) as error:
        # What was measured before stands.
        say(f"{name}: {error}")
        results["error"] = str(error)
    except KeyboardInterrupt:
        results["error"] = "interrupted"
    json.dump(results, sys.stdout)
    return 0


def end_with_parent():
    """The parent holds the other end of our input for as long as it lives."""
    os.read(sys.stdin.fileno(), 1)
    # An interrupt may have reached us too; let it end the nodes in order.
    time.sleep(1)
    os._exit(1)


def main():
    given = arguments()
    return inside(given) if given.inside else outside(given)


if __name__ == "__main__":
    sys.exit(main())
