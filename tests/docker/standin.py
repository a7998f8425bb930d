"""Stands in for a service of the recipes where its image cannot be had: answers as far as the tests
need it, and records what it receives.

    standin.py ollama       Ollama's API on 11434; models repeat what they are asked
    standin.py grafana      reads the provisioned files as Grafana would find them, port 3000
    standin.py collector    takes OTLP by gRPC on 4317 and over HTTP on 4318, Prometheus text on 8889

GET /received on each HTTP port tells what came in. It does not check protocols, and it is no proof
that the real service would accept what it was sent.
"""

import json
import pathlib
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = "llama3.1:8b"
RECEIVED = []


class Quiet(BaseHTTPRequestHandler):
    """JSON in and out; each subclass answers what it knows."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, document, status=200, kind="application/json"):
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def do_GET(self):
        if self.path == "/received":
            return self.reply(RECEIVED)
        answer = self.answer("GET", None)
        return self.reply(*answer) if answer else self.reply({"error": "not found"}, 404)

    def do_POST(self):
        body = self.body()
        RECEIVED.append({"path": self.path, "bytes": len(body), "text": body.decode("latin-1")})
        answer = self.answer("POST", body)
        return self.reply(*answer) if answer else self.reply({"error": "not found"}, 404)


class Ollama(Quiet):
    pulled = [MODEL]

    def answer(self, method, body):
        if method == "GET" and self.path == "/":
            return (b"Ollama is running", 200, "text/plain")
        if method == "GET" and self.path == "/api/tags":
            return ({"models": [{"name": name, "model": name} for name in self.pulled]},)
        if method == "GET" and self.path == "/v1/models":
            return ({"object": "list", "data": [{"id": name, "object": "model"} for name in self.pulled]},)
        if method == "POST" and self.path == "/api/pull":
            self.pulled.append(json.loads(body)["model"])
            return ({"status": "success"},)
        if method == "POST" and self.path == "/api/chat":
            said = json.loads(body)["messages"][-1]["content"]
            message = {"role": "assistant", "content": f"stand-in: {said}"}
            counts = {"prompt_eval_count": 3, "eval_count": 2}
            return ({"model": MODEL, "message": message, "done": True, **counts},)
        if method == "POST" and self.path == "/v1/chat/completions":
            asked = json.loads(body)
            said = asked["messages"][-1]["content"]
            message = {"role": "assistant", "content": f"stand-in: {said}"}
            return ({
                "id": "standin", "object": "chat.completion", "model": asked["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
            },)
        return None


class Grafana(Quiet):
    provisioning = pathlib.Path("/etc/grafana/provisioning")

    def answer(self, method, body):
        if method == "GET" and self.path == "/api/health":
            return ({"database": "ok"},)
        if method == "GET" and self.path == "/provisioned":
            dashboards = {}
            for file in sorted(self.provisioning.glob("dashboards/*.json")):
                dashboards[file.name] = json.loads(file.read_text())
            sources = [file.read_text() for file in self.provisioning.glob("datasources/*.yaml")]
            return ({"dashboards": dashboards, "datasources": sources},)
        return None


class Otlp(Quiet):
    def answer(self, method, body):
        # An `ExportTraceServiceResponse` with nothing to say.
        return (b"", 200, "application/x-protobuf") if method == "POST" else None


class Exported(Quiet):
    def answer(self, method, body):
        return (b"", 200, "text/plain; version=0.0.4") if self.path == "/metrics" else None


class Grpc(socketserver.StreamRequestHandler):
    """HTTP/2 as far as a call with one message and an empty answer needs it (RFC 9113). Heads are not
    read, so that every call counts as an export."""

    DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8
    PREFACE_BYTES = 24
    # `:status: 200` and `content-type: application/grpc`, then `grpc-status: 0`, as RFC 7541 writes them.
    HEAD = b"\x88\x0f\x10\x10application/grpc"
    TRAILERS = b"\x00\x0bgrpc-status\x010"

    def frame(self, kind, flags, stream, payload=b""):
        head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
        self.wfile.write(head + payload)

    def handle(self):
        self.rfile.read(self.PREFACE_BYTES)
        self.frame(self.SETTINGS, 0, 0)
        bodies = {}
        while len(head := self.rfile.read(9)) == 9:
            payload = self.rfile.read(int.from_bytes(head[:3], "big"))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            if kind in (self.SETTINGS, self.PING) and not flags & 1:
                self.frame(kind, 1, 0, payload if kind == self.PING else b"")
            if kind == self.DATA:
                bodies[stream] = bodies.get(stream, b"") + payload
                for window in (0, stream) if payload else ():
                    self.frame(self.WINDOW_UPDATE, 0, window, len(payload).to_bytes(4, "big"))
                if flags & 1:
                    self.answer(stream, bodies.pop(stream))

    def answer(self, stream, body):
        RECEIVED.append({"path": "grpc", "bytes": len(body), "text": body.decode("latin-1")})
        self.frame(self.HEADERS, 4, stream, self.HEAD)
        self.frame(self.DATA, 0, stream, b"\x00\x00\x00\x00\x00")
        self.frame(self.HEADERS, 5, stream, self.TRAILERS)


class Threads(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


SERVERS = {
    "ollama": [(11434, Ollama)],
    "grafana": [(3000, Grafana)],
    "collector": [(4317, Grpc), (4318, Otlp), (8889, Exported)],
}

for port, handler in SERVERS[sys.argv[1]]:
    kind = Threads if handler is Grpc else ThreadingHTTPServer
    threading.Thread(target=kind(("0.0.0.0", port), handler).serve_forever).start()
