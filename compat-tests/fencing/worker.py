"""One worker: it takes a kazoo lock and writes to the resource with its fencing token.

usage: worker.py ZOOKEEPER RESOURCE-PORT SESSION-TIMEOUT-S

The token is the czxid of the lock's own node: the number of the transaction that created it.
Commands come in on stdin, a line each, and each is answered with a line of JSON on stdout:

  lock           waits for the lock; answers with token and session
  write VALUE    writes to the resource; answers with what the resource said
  ask            reads the lock's node in ZooKeeper; answers with its state
  ask-again      the same, as the first request after a connection that broke
  unlock         gives the lock back

It ends when its stdin does.
"""

import json
import socket
import sys
import threading

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.protocol.states import KazooState

LOCK_PATH = "/fencing/lock"
LOCK_TIMEOUT_S = 60
RESOURCE_TIMEOUT_S = 10
REQUEST_TIMEOUT_S = 20


class Worker:
    def __init__(self, zookeeper, resource_port, session_timeout_s):
        self.resource_port = resource_port
        self.states = []
        self.broken = threading.Event()
        self.asked = threading.Event()
        self.client = KazooClient(zookeeper, timeout=session_timeout_s)
        self.client.add_listener(self._state_changed)
        self.client.start(timeout=REQUEST_TIMEOUT_S)
        self.lock = self.client.Lock(LOCK_PATH)
        self.token = None

    def _state_changed(self, state):
        """kazoo's connection thread calls this, and does not reconnect before it returns."""
        self.states.append(state)
        if state == KazooState.SUSPENDED:
            self.broken.set()
            # Normally a listener never waits. Here it does, so that `ask-again` is certain to be
            # in the queue when the connection is made again and the server has its say.
            self.asked.wait(REQUEST_TIMEOUT_S)

    @property
    def node(self):
        return f"{LOCK_PATH}/{self.lock.node}"

    def do_lock(self):
        if not self.lock.acquire(timeout=LOCK_TIMEOUT_S):
            raise RuntimeError("the lock was not free in time")
        stat = self.client.exists(self.node)
        session = self.client.client_id[0]
        # A node of an earlier session of ours would be a token that is no longer covered.
        if stat is None or stat.ephemeralOwner != session:
            raise RuntimeError("the lock's node is not of this session")
        self.token = stat.czxid
        return {"token": self.token, "session": session}

    def do_write(self, value):
        address = ("127.0.0.1", self.resource_port)
        with socket.create_connection(address, RESOURCE_TIMEOUT_S) as connection:
            connection.sendall(f"write {self.token} {value}\n".encode())
            return {"resource": connection.makefile().readline().strip()}

    def do_ask(self):
        stat = self.client.retry(self.client.exists, self.node)
        return {"held": stat is not None, "session": self.client.client_id[0]}

    def do_ask_again(self):
        if not self.broken.wait(REQUEST_TIMEOUT_S):
            raise RuntimeError("the connection never broke")
        request = self.client.get_async(self.node)
        self.asked.set()
        try:
            request.get(timeout=REQUEST_TIMEOUT_S)
            error = None
        except KazooException as refusal:
            error = type(refusal).__name__
        return {"error": error, "states": self.states, "kazoo_says_held": self.lock.is_acquired}

    def do_unlock(self):
        self.lock.release()
        return {}

    def obey(self, line):
        command, *arguments = line.split(maxsplit=1)
        answer = getattr(self, "do_" + command.replace("-", "_"))(*arguments)
        print(json.dumps({"did": command, **answer}), flush=True)


def main():
    worker = Worker(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
    print(json.dumps({"did": "connect", "session": worker.client.client_id[0]}), flush=True)
    for line in sys.stdin:
        worker.obey(line.strip())
    worker.asked.set()
    worker.client.stop()


if __name__ == "__main__":
    main()
