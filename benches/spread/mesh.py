"""A mesh of daemons on addresses of this machine, and the process behind their agents.

Each node has an address 127.0.42.N and directories of its own. All workers serve the same agents;
each asks an address of its own of one `bench-load backend`, whose log therefore says where and when
every request ran.
"""

import json
import time
from collections import Counter
from dataclasses import dataclass

from processes import ROOT, Failed, free_ports, get, load, wait_for

DAEMON = ROOT / "target" / "release" / "astromeshd"

WHOLE_SECONDS = 60
POLL_SECONDS = 0.05
# Longest graceful end: the daemon's own limit is 30 s.
STOP_SECONDS = 40

RUNTIME = """\
apiVersion: astromesh/v1
kind: RuntimeConfig
spec:
  data_dir: {directory}/data
  log_level: warning
  api: {{host: {ip}, port: {port}, workers: 1, {limits}}}
  services: {{agents: {is_worker}}}
  mesh:
    enabled: true
    node_name: {name}
    cluster: bench
    seeds: [{seeds}]
"""
AGENT = """\
apiVersion: astromesh/v1
kind: Agent
metadata:
  name: {name}
spec:
  idempotent: {is_idempotent}
  upstream:
    url: http://{upstream}/run
"""
# What stands behind both is the same; running the second one twice does no harm, says its file.
PLAIN, IDEMPOTENT = "slow", "slow-idempotent"


def run_path(agent):
    return f"/v1/agents/{agent}/run"


@dataclass(frozen=True)
class Node:
    name: str
    address: str
    upstream: str | None

    @property
    def is_worker(self):
        return self.upstream is not None


@dataclass(frozen=True)
class Execution:
    """A request at the process behind a worker."""

    upstream: str
    number: int
    key: str
    started: float
    ended: float
    is_finished: bool


class Mesh:
    """Nodes are named by their order: gateways without agents first, then the workers."""

    def __init__(self, processes, gateways, workers, limits=""):
        self.processes = processes
        self.directory = processes.directory
        self.limits = limits
        self.log = self.directory / "executions"
        self.running = {}
        upstreams = [f"127.0.0.1:{port}" for port in free_ports(workers)]
        command = load("backend", "--bind", ",".join(upstreams), "--log", self.log)
        self.agents = processes.start("agents", command)
        self.nodes = []
        for number, upstream in enumerate([None] * gateways + upstreams):
            ip = f"127.0.42.{number + 1}"
            [port] = free_ports(1, ip)
            name = f"node-{number:02}"
            self.nodes.append(Node(name, f"{ip}:{port}", upstream))
        for node in self.nodes:
            self._configure(node)
            self.start(node)
        self.wait_until_whole()

    def gateways(self):
        return [node for node in self.nodes if not node.is_worker]

    def workers(self):
        return [node for node in self.nodes if node.is_worker]

    def targets(self, nodes):
        return ",".join(node.address for node in nodes)

    def _configure(self, node):
        directory = self.directory / node.name
        (directory / "agents").mkdir(parents=True)
        ip, _, port = node.address.partition(":")
        seed = self.nodes[0]
        text = RUNTIME.format(
            directory=directory,
            ip=ip,
            port=port,
            name=node.name,
            limits=self.limits if node.is_worker else "",
            is_worker=str(node.is_worker).lower(),
            seeds="" if node is seed else f"http://{seed.address}",
        )
        (directory / "runtime.yaml").write_text(text)
        for name, is_idempotent in ((PLAIN, "false"), (IDEMPOTENT, "true")):
            if node.is_worker:
                text = AGENT.format(name=name, is_idempotent=is_idempotent, upstream=node.upstream)
                (directory / "agents" / f"{name}.agent.yaml").write_text(text)

    def start(self, node):
        command = [DAEMON, "--config", self.directory / node.name]
        self.running[node] = self.processes.start(node.name, command)
        wait_for(node.address, "/v1/health", [self.running[node]])

    def stop(self, node):
        """Ends it as an operator would; whether it did by itself, and how long it took."""
        begin = time.monotonic()
        in_order = self.running.pop(node).stop(STOP_SECONDS)
        return in_order, time.monotonic() - begin

    def kill(self, node):
        """Ends it as a power cut would, and returns when."""
        return self.running.pop(node).kill()

    def check(self):
        for process in self.running.values():
            process.check()

    def wait_until_whole(self, seconds=WHOLE_SECONDS):
        """Until every node knows that every worker that runs has the agents and is alive."""
        workers = {node.name for node in self.workers() if node in self.running}
        give_up = time.monotonic() + seconds
        missing = list(self.running)
        while missing:
            self.check()
            missing = [node for node in missing if not self._knows(node, workers)]
            if time.monotonic() > give_up:
                names = ", ".join(node.name for node in missing)
                raise Failed(f"{names} did not see all of {', '.join(sorted(workers))}")
            time.sleep(POLL_SECONDS if missing else 0)

    def _knows(self, node, workers):
        state, agents = get(node.address, "/v1/mesh/state"), get(node.address, "/v1/agents")
        if state is None or agents is None or {state[0], agents[0]} != {200}:
            return False
        members = json.loads(state[2])["nodes"]
        alive = {member["name"] for member in members if member["status"] == "alive"}
        serving = {
            agent["name"]: set(agent["nodes"]) for agent in json.loads(agents[2])["agents"]
        }
        return workers <= alive and all(
            workers <= serving.get(name, set()) for name in (PLAIN, IDEMPOTENT)
        )

    def rss_kib(self):
        """Resident at present and at most, of each node."""
        return {node.name: process.memory_kib() for node, process in self.running.items()}

    def executions(self):
        """What ran, from the agents' own log; and how often each key was begun."""
        ended, begun = [], Counter()
        for line in self.log.read_text().splitlines():
            upstream, number, key, started, until, how = line.split(" ")
            if how == "started":
                begun[key] += 1
                continue
            # Questions that are none of the bench's, such as for the agent's document.
            if number == "-":
                continue
            times = int(started) / 1e6, int(until) / 1e6
            ended.append(Execution(upstream, int(number), key, *times, how == "finished"))
        return ended, begun
