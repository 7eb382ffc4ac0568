"""The thing worth protecting: a tiny service that refuses whoever comes with an old token.

usage: resource.py STATE-FILE

It knows nothing of ZooKeeper. It remembers the highest token that ever wrote, on disk, because a
resource that forgets it in a restart would let a late writer in. It listens on a loopback port of
its own choice, prints that port, and ends when its stdin does.

One request a connection, one line each way: `write TOKEN VALUE` is answered with `ok` or with
`refused HIGHEST-TOKEN`; `read` with `TOKEN VALUE`.
"""

import json
import os
import pathlib
import socketserver
import sys
import threading

LINE_BYTES_MAX = 1024
REQUEST_TIMEOUT_S = 5


class Resource:
    """The value, and the highest token that wrote."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.token, self.value = 0, ""
        if path.exists():
            self.token, self.value = json.loads(path.read_text())

    def write(self, token, value):
        """Compares and writes as one step: between the two nobody else may come in."""
        with self.lock:
            if token < self.token:
                return f"refused {self.token}"
            self._save(token, value)
            self.token, self.value = token, value
            return "ok"

    def read(self):
        with self.lock:
            return f"{self.token} {self.value}"

    def _save(self, token, value):
        part = self.path.with_suffix(".part")
        with open(part, "w", encoding="utf-8") as file:
            json.dump([token, value], file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path)


class Request(socketserver.StreamRequestHandler):
    timeout = REQUEST_TIMEOUT_S

    def handle(self):
        words = self.rfile.readline(LINE_BYTES_MAX).decode().split(maxsplit=2)
        match words:
            case ["write", token, value] if token.isdecimal():
                answer = self.server.resource.write(int(token), value.strip())
            case ["read"]:
                answer = self.server.resource.read()
            case _:
                answer = "error"
        self.wfile.write(f"{answer}\n".encode())


class Service(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, resource):
        super().__init__(("127.0.0.1", 0), Request)
        self.resource = resource


def main():
    service = Service(Resource(pathlib.Path(sys.argv[1])))
    threading.Thread(target=service.serve_forever, daemon=True).start()
    print(service.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
