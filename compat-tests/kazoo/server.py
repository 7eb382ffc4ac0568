"""One server on loopback that a test may start, stop and start again: ours or a real ZooKeeper.

Both get the same zoo.cfg. A server belongs to the `Server` that started it and is only ever ended
by its own process id; nothing here waits without a limit.
"""

import os
import pathlib
import random
import shutil
import socket
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
UPSTREAM = HERE.parent / "upstream" / "zookeeper"

KINDS = ("rookeeper", "zookeeper")
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
PORT_MIN = 12_000
PORT_TRIES_MAX = 100


def free_port():
    """A port that nobody listens on, below those that the kernel hands to outgoing connections.

    From the kernel's range a client that keeps dialling a stopped server may be given the very
    port it dials as its own, and then it talks to itself.
    """
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        port_end = int(file.read().split()[0])
    for _ in range(PORT_TRIES_MAX):
        port = random.randrange(PORT_MIN, port_end)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise RuntimeError(f"no free port after {PORT_TRIES_MAX} tries")


def ask(port, word, timeout_s=2):
    """What the server on `port` answers to a four-letter word; empty when it does not."""
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(word.encode())
            while chunk := connection.recv(65536):
                answer += chunk
    except OSError:
        pass
    return answer.decode()


class Server:
    """A server with its configuration, data and log in a directory of its own."""

    def __init__(self, kind, directory, settings=None, port=None):
        """`settings` are lines of zoo.cfg by key; they win over the ones here."""
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is none of {KINDS}")
        self.kind = kind
        self.directory = pathlib.Path(directory).resolve()
        self.port = port or free_port()
        self.settings = {
            "tickTime": "2000",
            "dataDir": str(self.directory / "data"),
            "clientPort": str(self.port),
            "clientPortAddress": "127.0.0.1",
            # ZooKeeper's other factory never answers a client that connects while its database is
            # not there yet; a test that waits for a reconnect then waits in vain. kazoo sets it too.
            "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "*",
            **(settings or {}),
        }
        self._process = None
        self._running = False

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def running(self):
        return self._running

    def start(self):
        """Returns when the server answers `srvr`."""
        if self._running:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.kind == "zookeeper":
            self._start_zookeeper()
        else:
            self._start_rookeeper()
        self._running = True

    def stop(self):
        """Ends it with SIGTERM; data stays."""
        if not self._running:
            return
        self._running = False
        if self.kind == "zookeeper":
            self._rig("stop", self.directory)
            return
        process, self._process = self._process, None
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_TIMEOUT_S)
            raise RuntimeError(f"the server did not end within {STOP_TIMEOUT_S} s of SIGTERM")
        finally:
            (self.directory / "pid").unlink(missing_ok=True)

    def wipe(self):
        """Stops it and removes its data, so that the next start is the first."""
        self.stop()
        shutil.rmtree(self.directory / "data", ignore_errors=True)

    def log_tail(self, lines_max=100):
        try:
            with open(self.directory / "log", encoding="utf-8", errors="replace") as file:
                return file.readlines()[-lines_max:]
        except FileNotFoundError:
            return []

    def _start_zookeeper(self):
        lines = [f"{key}={value}" for key, value in self.settings.items()]
        self._rig("start", self.directory, str(self.port), *lines)

    def _rig(self, *arguments):
        done = subprocess.run(
            [UPSTREAM, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=START_TIMEOUT_S * 2,
            check=False,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"zookeeper {arguments[0]} failed: {done.stderr}")

    def _start_rookeeper(self):
        binary = os.environ.get("ROOKEEPER_BIN")
        if not binary:
            raise RuntimeError("ROOKEEPER_BIN does not name the server's binary")
        config = self.directory / "zoo.cfg"
        config.write_text("".join(f"{key}={value}\n" for key, value in self.settings.items()))
        with open(self.directory / "log", "ab") as log:
            self._process = subprocess.Popen(
                [binary, "--config", config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        (self.directory / "pid").write_text(f"{self._process.pid}\n")
        deadline = time.monotonic() + START_TIMEOUT_S
        while not ask(self.port, "srvr").startswith("Zookeeper version:"):
            code = self._process.poll()
            if code is None and time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            if code is None:
                self._process.kill()
                self._process.wait(STOP_TIMEOUT_S)
            (self.directory / "pid").unlink(missing_ok=True)
            why = "it did not answer in time" if code is None else f"it ended with {code}"
            raise RuntimeError(f"the server is not up, {why}:\n{''.join(self.log_tail(20))}")
