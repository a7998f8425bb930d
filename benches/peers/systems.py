"""The systems under test: how a node of each is started, and how its lines are read.

Owns everything that differs between the systems. A line of a node's output either says that a
member came up or went down for this node, or means nothing here.
"""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

PORT = 7946
SERF_RPC_PORT = 7373

# Odd and even nodes are two halves with addresses and users of their own: a partition tells them
# apart by both, since a TCP call leaves from 127.0.0.1 whatever its node is bound to.
HALVES = 2
UIDS = (61001, 61002)
NODES_MAX = HALVES * 254


@dataclass(frozen=True)
class Node:
    """One process: its number gives its address, its half and its name."""

    number: int

    @property
    def half(self):
        return self.number % HALVES

    @property
    def uid(self):
        return UIDS[self.half]

    @property
    def name(self):
        return f"node-{self.number:03}"

    @property
    def ip(self):
        return f"127.0.{self.half + 1}.{self.number // HALVES + 1}"

    @property
    def address(self):
        return f"{self.ip}:{PORT}"


class System:
    """What all systems have in common: besides these a `name`, and in `build` how to get it."""

    def program(self):
        """Where the program is; the file need not exist."""
        raise NotImplementedError

    def version(self):
        raise NotImplementedError

    def command(self, program, node, seed, size, directory):
        """The arguments of a node; `seed` is None for the first, `directory` its own."""
        raise NotImplementedError

    def environment(self):
        return {}

    def read(self, line):
        """("UP" or "DOWN", name or address) or None."""
        raise NotImplementedError


@dataclass(frozen=True)
class Crate(System):
    """A peer that is a library: the small program beside this file prints `UP id`, `DOWN id`."""

    name: str
    crate: str
    arguments: tuple = ()

    @property
    def build(self):
        return f"cargo build --release --manifest-path benches/peers/{self.crate}/Cargo.toml"

    def program(self):
        return HERE / self.crate / "target" / "release" / f"peer-{self.crate}"

    def version(self):
        lock = (HERE / self.crate / "Cargo.lock").read_text()
        found = re.search(rf'name = "{self.crate}"\nversion = "([^"]+)"', lock)
        return found.group(1) if found else "unknown"

    def command(self, program, node, seed, size, directory):
        words = [program, "--bind", node.address, "--name", node.name]
        if seed is not None:
            words += ["--seed", seed.address]
        return [*words, *(word.format(size=size) for word in self.arguments)]

    def read(self, line):
        kind, _, member = line.partition(" ")
        return (kind, member) if kind in ("UP", "DOWN") else None


class Serf(System):
    """Debian's serf: the log of its agent names each change once."""

    name = "serf"
    build = "apt-get install serf"
    EVENT = re.compile(r"serf: EventMember(Join|Failed|Leave|Reap): (\S+)")

    def program(self):
        return Path(shutil.which("serf") or "/usr/bin/serf")

    def version(self):
        return _output("dpkg-query", "-W", "-f", "${Version}", "serf") or "unknown"

    def command(self, program, node, seed, size, directory):
        words = [program, "agent", "-node", node.name, "-bind", node.address]
        words += ["-rpc-addr", f"{node.ip}:{SERF_RPC_PORT}", "-log-level", "info"]
        if seed is not None:
            words += ["-retry-join", seed.address, "-retry-interval", "1s"]
        return words

    def read(self, line):
        event = self.EVENT.search(line)
        if event is None:
            return None
        return ("UP" if event[1] == "Join" else "DOWN", event[2])


@dataclass(frozen=True)
class Astromesh(System):
    """Our daemon with its defaults. Its log names each change once, when the gossip learns it."""

    name: str
    detection: str = "default"

    build = "cargo build --release --bin astromeshd"
    EVENT = re.compile(r" member (joined|is alive|is dead|left) .*member\.name=(\S+)")
    CONFIG = """\
apiVersion: astromesh/v1
kind: RuntimeConfig
spec:
  data_dir: {directory}/data
  api: {{host: {ip}, port: {port}}}
  mesh:
    enabled: true
    node_name: {name}
    cluster: bench
    advertise: {ip}:{port}
    detection: {detection}
    seeds: [{seeds}]
"""

    def program(self):
        return ROOT / "target" / "release" / "astromeshd"

    def version(self):
        commit = _output("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12")
        return commit or "unknown"

    def command(self, program, node, seed, size, directory):
        seeds = "" if seed is None else f"http://{seed.address}"
        text = self.CONFIG.format(
            directory=directory,
            ip=node.ip,
            port=PORT,
            name=node.name,
            detection=self.detection,
            seeds=seeds,
        )
        (directory / "runtime.yaml").write_text(text)
        return [program, "--config", directory]

    def environment(self):
        return {"ASTROMESH_LOG": "warn,astromesh::gossip=info"}

    def read(self, line):
        event = self.EVENT.search(line)
        if event is None:
            return None
        return ("UP" if event[1] in ("joined", "is alive") else "DOWN", event[2])


def _output(*command):
    """What a command says; empty when it is not there or fails."""
    pipe = os.popen(" ".join(f"'{word}'" for word in command) + " 2>/dev/null")
    with pipe:
        return pipe.read().strip()


SYSTEMS = {
    system.name: system
    for system in (
        Astromesh("astromesh"),
        Astromesh("astromesh-fast", "fast"),
        Astromesh("astromesh-lifeguard", "lifeguard"),
        Crate("foca", "foca", ("--members", "{size}")),
        Crate("memberlist", "memberlist"),
        Crate("chitchat", "chitchat", ("--digest", "v1")),
        Crate("chitchat-v0", "chitchat", ("--digest", "v0")),
        Serf(),
    )
}
# One of each. chitchat's first digest is for those who have old nodes; new ones take the second.
SYSTEMS_DEFAULT = ["astromesh", "foca", "memberlist", "chitchat", "serf"]
