"""The systems under test: how each is set up in front of two backends, on one thread.

Owns everything that differs between them. What was chosen for HAProxy and nginx and why:
docs/routing-bench.md.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from processes import DAEMON_BUILD, ROOT, output_of, tree_version

AGENT = "bench"
DOCUMENT = f"/v1/agents/{AGENT}"
RUN = f"/v1/agents/{AGENT}/run"

# The overload: what one backend can do at a time, and how long anybody may wait for it.
SLOTS = 16
QUEUE_SECONDS = 1


@dataclass(frozen=True)
class Setup:
    """Where a proxy listens, what is behind it, and where it may write."""

    directory: Path
    port: int
    backends: tuple
    # At most `SLOTS` requests at the backend, the others wait or are refused.
    is_limited: bool = False
    # Requests a second of the backend, then: how many can wait follows from it.
    capacity: int = 0
    writes_access_log: bool = False
    # One process without children, for the instruction count.
    is_single_process: bool = False

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"


class Proxy:
    """What all have in common: besides these a `name`, and in `get` how to come by it."""

    def program(self):
        """Where the program is; None if it is not there."""
        raise NotImplementedError

    def version(self):
        raise NotImplementedError

    def command(self, setup):
        """Writes the configuration; the arguments that start it in the foreground."""
        raise NotImplementedError

    def environment(self):
        return {}


class Direct(Proxy):
    """No proxy: the load goes to the first backend."""

    name = "direct"
    get = ""

    def program(self):
        return Path("/")

    def version(self):
        return ""


@dataclass(frozen=True)
class HaProxy(Proxy):
    name: str
    is_tuned: bool = False

    get = "apt-get install haproxy"
    CONFIG = """\
global
    nbthread 1
    maxconn 8192
{log_target}
defaults
    mode http
    balance leastconn
    option http-no-delay
    http-reuse always
    timeout connect 1s
    timeout client 60s
    timeout server 60s
{log_lines}
frontend front
    bind {address}
    default_backend agents

backend agents
{backend_lines}
"""
    # Nothing is lost when a server goes, at the price that a POST may run twice.
    TUNED = """\
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response
"""
    TUNED_SERVER = " check inter 1s fall 1 observe layer4 error-limit 1 on-error mark-down"

    def program(self):
        found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
        return found and Path(found)

    def version(self):
        found = re.search(r"version (\S+)", output_of(str(self.program()), "-v"))
        return found[1] if found else "unknown"

    def command(self, setup):
        server = self.TUNED_SERVER if self.is_tuned else " check"
        lines = self.TUNED if self.is_tuned else ""
        if setup.is_limited:
            lines += f"    timeout queue {QUEUE_SECONDS}s\n"
            server += f" maxconn {SLOTS}"
        for number, backend in enumerate(setup.backends):
            lines += f"    server backend{number} {backend}{server}\n"
        text = self.CONFIG.format(
            address=setup.address,
            backend_lines=lines,
            log_target="    log stdout format raw local0\n" if setup.writes_access_log else "",
            log_lines="    log global\n    option httplog\n" if setup.writes_access_log else "",
        )
        path = setup.directory / "haproxy.cfg"
        path.write_text(text)
        return [self.program(), "-db", "-f", path]


class Nginx(Proxy):
    name = "nginx"
    get = "apt-get install nginx"
    CONFIG = """\
{processes}
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/nginx-error.log error;
events {{ worker_connections 8192; }}
http {{
    access_log {access_log};
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 100000000;
    upstream agents {{
        least_conn;
{servers}
        keepalive 512;
        keepalive_requests 100000000;
    }}
    server {{
        listen {address} backlog=4096;
        location / {{
            proxy_pass http://agents;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""

    def program(self):
        found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        return found and Path(found)

    def version(self):
        found = re.search(r"nginx/(\S+)", output_of(str(self.program()), "-v"))
        return found[1] if found else "unknown"

    def command(self, setup):
        # Its worker may be another user.
        setup.directory.chmod(0o777)
        limit = f" max_conns={SLOTS}" if setup.is_limited else ""
        log = f"{setup.directory}/access.log combined buffer=64k flush=1s"
        text = self.CONFIG.format(
            address=setup.address,
            directory=setup.directory,
            processes="master_process off;" if setup.is_single_process else "worker_processes 1;",
            access_log=log if setup.writes_access_log else "off",
            servers="\n".join(f"        server {backend}{limit};" for backend in setup.backends),
        )
        path = setup.directory / "nginx.conf"
        path.write_text(text)
        early = setup.directory / "nginx-early.log"
        return [self.program(), "-p", setup.directory, "-e", early, "-c", path]


class Astromesh(Proxy):
    """Our daemon with static peers; with the limit, its own agent is the backend."""

    name = "astromesh"
    get = DAEMON_BUILD
    CONFIG = """\
apiVersion: astromesh/v1
kind: RuntimeConfig
spec:
  data_dir: {directory}/data
  api:
    host: 127.0.0.1
    port: {port}
    workers: 1
    access_log: true
{limits}
{peers}
"""
    UPSTREAM = """\
apiVersion: astromesh/v1
kind: Agent
metadata:
  name: {name}
spec:
  max_concurrent: {slots}
  upstream:
    url: http://{backend}{path}
"""

    def program(self):
        program = ROOT / "target" / "release" / "astromeshd"
        return program if program.exists() else None

    def version(self):
        return tree_version() or "unknown"

    def command(self, setup):
        limits = peers = ""
        if setup.is_limited:
            limits = f"    queue_max: {setup.capacity * QUEUE_SECONDS}\n"
            [backend] = setup.backends
            agents = setup.directory / "agents"
            agents.mkdir()
            text = self.UPSTREAM.format(name=AGENT, slots=SLOTS, backend=backend, path=RUN)
            (agents / f"{AGENT}.agent.yaml").write_text(text)
        else:
            peers = "  peers:\n" + "\n".join(
                f"    - {{name: b{number}, url: 'http://{backend}', services: [agents]}}"
                for number, backend in enumerate(setup.backends)
            )
        text = self.CONFIG.format(
            directory=setup.directory, port=setup.port, limits=limits, peers=peers
        )
        (setup.directory / "runtime.yaml").write_text(text)
        return [self.program(), "--config", setup.directory]


PROXIES = {
    proxy.name: proxy
    for proxy in (
        Direct(),
        HaProxy("haproxy"),
        HaProxy("haproxy-tuned", is_tuned=True),
        Nginx(),
        Astromesh(),
    )
}
