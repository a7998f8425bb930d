"""An agent that is a process of its own: counts the words of what it is asked.

Python's standard library is all it needs. Usage: python3 words.py [PORT], default 9000.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Agent(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            words = json.loads(body)["query"].split()
        except (ValueError, KeyError, TypeError, AttributeError):
            return self.answer(422, {"detail": "the body must be JSON with a text `query`"})
        if "text/event-stream" in self.headers.get("Accept", ""):
            return self.stream(words)
        self.answer(200, {"answer": f"{len(words)} words"})

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def stream(self, words):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for count, word in enumerate(words, 1):
            self.event({"count": count, "word": word})
        self.event({"answer": f"{len(words)} words"})
        self.wfile.write(b"0\r\n\r\n")

    def event(self, content):
        event = f"data: {json.dumps(content)}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))  # sent at once, one frame

    def log_message(self, *_):
        pass  # the node logs requests


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
    server = ThreadingHTTPServer(("127.0.0.1", port), Agent)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
