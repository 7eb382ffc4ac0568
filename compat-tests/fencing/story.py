"""A worker sleeps through the end of its session, and its late write does no harm.

Every sentence that is printed with a tick was checked; the first that does not hold ends the story
with exit code 1. Servers and workers are real processes, and everything waits with a limit.
"""

import argparse
import json
import os
import pathlib
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from server import KINDS, Server

HERE = pathlib.Path(__file__).resolve().parent
TICK_MS = 1000
SESSION_TIMEOUT_S = 4  # Within 2 to 20 ticks, so that the server grants it.
ANSWER_TIMEOUT_S = 30
TAKEOVER_TIMEOUT_S = SESSION_TIMEOUT_S + 20
CLOCK_SLACK_S = 0.5


class Untrue(Exception):
    """A sentence of the story did not hold."""


class Story:
    def __init__(self):
        self.checked = 0

    def tell(self, sentence):
        print(f"\n{sentence}", flush=True)

    def check(self, sentence, holds, seen=""):
        if not holds:
            raise Untrue(f"{sentence} (seen: {seen})")
        self.checked += 1
        print(f"  ✓ {sentence}", flush=True)


class Process:
    """A child that is spoken to in lines."""

    def __init__(self, log, script, *arguments):
        self.script = script
        self.process = subprocess.Popen(
            [sys.executable, HERE / script, *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        self.lines = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def hear(self, timeout_s=ANSWER_TIMEOUT_S):
        try:
            line = self.lines.get(timeout=timeout_s)
        except queue.Empty:
            raise Untrue(f"{self.script} answers within {timeout_s} s") from None
        if line is None:
            raise Untrue(f"{self.script} keeps running")
        return json.loads(line)

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ask(self, line, timeout_s=ANSWER_TIMEOUT_S):
        self.say(line)
        return self.hear(timeout_s)

    def signal(self, number):
        self.process.send_signal(number)

    def state(self):
        """One letter, as in /proc: T is stopped."""
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0]

    def end(self):
        """Lets it finish by itself, which closes its session."""
        self.process.stdin.close()
        self.process.wait(ANSWER_TIMEOUT_S)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(ANSWER_TIMEOUT_S)


class Stage:
    """The server, the resource and the workers; gone when the story is over."""

    def __init__(self, kind, directory):
        self.server = Server(kind, directory / "server", {"tickTime": str(TICK_MS)})
        self.state_file = directory / "resource.json"
        self.log = open(directory / "processes.log", "w", encoding="utf-8")
        self.processes = []

    def resource(self):
        process = self._start("resource.py", self.state_file)
        return process, process.hear()

    def worker(self, resource_port):
        process = self._start("worker.py", self.server.address, resource_port, SESSION_TIMEOUT_S)
        process.hear()
        return process

    def _start(self, *arguments):
        process = Process(self.log, *arguments)
        self.processes.append(process)
        return process

    def clear(self):
        for process in self.processes:
            process.kill()
        self.server.stop()
        self.log.close()


def read_resource(port):
    """The highest token and the value that the resource has."""
    with socket.create_connection(("127.0.0.1", port), ANSWER_TIMEOUT_S) as connection:
        connection.sendall(b"read\n")
        token, _, value = connection.makefile().readline().strip().partition(" ")
    return int(token), value


def hexadecimal(token):
    return f"0x{token:x}"


def late_writer(story, stage, port):
    """Returns the token of the one that fell asleep, and the one that took over with its token."""
    story.tell("Anna takes the lock and writes.")
    anna = stage.worker(port)
    anna_lock = anna.ask("lock")
    answer = anna.ask("write from-anna")["resource"]
    story.check(
        f"her fencing token is {hexadecimal(anna_lock['token'])}, the czxid of her lock's node",
        anna_lock["token"] > 0, anna_lock,
    )  # fmt: skip
    story.check("the resource takes her write", answer == "ok", answer)

    story.tell(f"Bert queues for the lock; Anna is paused, for longer than {SESSION_TIMEOUT_S} s.")
    bert = stage.worker(port)
    bert.say("lock")
    story.check("the lock is hers when it happens", anna.ask("ask")["held"])
    paused = time.monotonic()
    anna.signal(signal.SIGSTOP)
    while anna.state() != "T":
        if time.monotonic() > paused + ANSWER_TIMEOUT_S:
            raise Untrue("a process stops on SIGSTOP")
        time.sleep(0.01)
    # What she was about to do when she was paused; she still believes that she has the lock.
    anna.say("write from-anna-too-late")
    bert_lock = bert.hear(TAKEOVER_TIMEOUT_S)
    waited_s = time.monotonic() - paused
    story.check(
        f"Bert gets the lock after {waited_s:.1f} s, not before her session had run out",
        waited_s > SESSION_TIMEOUT_S - CLOCK_SLACK_S, waited_s,
    )  # fmt: skip
    story.check(
        f"his token {hexadecimal(bert_lock['token'])} is higher",
        bert_lock["token"] > anna_lock["token"], bert_lock,
    )  # fmt: skip
    answer = bert.ask("write from-bert")["resource"]
    story.check("the resource takes his write", answer == "ok", answer)
    story.check("Anna is still asleep", anna.state() == "T", anna.state())

    story.tell("Anna wakes up and goes on with her write, as if nothing had been.")
    anna.signal(signal.SIGCONT)
    answer = anna.hear()["resource"]
    story.check(
        f"the resource refuses: it has seen {hexadecimal(bert_lock['token'])}",
        answer == f"refused {bert_lock['token']}", answer,
    )  # fmt: skip
    token, value = read_resource(port)
    story.check(
        "Bert's value is untouched", (token, value) == (bert_lock["token"], "from-bert"), value
    )
    answer = anna.ask("ask-again")
    story.check(
        "her next request to ZooKeeper is answered: session expired",
        answer["error"] == "SessionExpiredError", answer,
    )  # fmt: skip
    story.check("and kazoo has told her: LOST", answer["states"][-1] == "LOST", answer["states"])
    anna.end()
    return anna_lock["token"], bert, bert_lock["token"]


def restart(story, stage, port, anna_token, bert, bert_token):
    story.tell("The server is restarted, while Bert holds the lock.")
    before = bert.ask("ask")
    stage.server.stop()
    stage.server.start()
    answer = bert.ask("ask-again")
    story.check("his next request is answered as ever", answer["error"] is None, answer)
    after = bert.ask("ask")
    story.check("session and lock are still his", after == before and after["held"], after)
    answer = bert.ask("write from-bert-again")["resource"]
    story.check("his token is still good", answer == "ok", answer)

    story.tell("Bert gives the lock back, and Cleo takes it from the restarted server.")
    bert.ask("unlock")
    cleo = stage.worker(port)
    cleo_lock = cleo.ask("lock")
    story.check(
        f"her token {hexadecimal(cleo_lock['token'])} is higher than all before the restart",
        cleo_lock["token"] > bert_token > anna_token, cleo_lock,
    )  # fmt: skip
    answer = cleo.ask("write from-cleo")["resource"]
    story.check("the resource takes her write", answer == "ok", answer)
    answer = bert.ask("write from-bert-too-late")["resource"]
    story.check("and refuses Bert's from now on", answer == f"refused {cleo_lock['token']}", answer)
    bert.end()
    return cleo, cleo_lock["token"]


def main():
    parser = argparse.ArgumentParser(prog="run", description=__doc__.splitlines()[0])
    parser.add_argument("--server", choices=KINDS, required=True)
    kind = parser.parse_args().server
    directory = pathlib.Path(tempfile.mkdtemp(prefix="fencing-"))
    story = Story()
    stage = Stage(kind, directory)
    try:
        stage.server.start()
        resource, port = stage.resource()
        anna_token, bert, bert_token = late_writer(story, stage, port)
        cleo, cleo_token = restart(story, stage, port, anna_token, bert, bert_token)
        cleo.end()

        story.tell("The resource is restarted too.")
        resource.end()
        _, port = stage.resource()
        token, value = read_resource(port)
        story.check(
            "it remembers the highest token", (token, value) == (cleo_token, "from-cleo"), value
        )
    except Untrue as untrue:
        print(f"  ✗ {untrue}\n\nlogs: {stage.log.name} and {stage.server.directory}/log")
        print(f"{story.checked} passed, 1 failed")
        raise SystemExit(1) from None
    finally:
        stage.clear()
    print(f"\n{story.checked} passed, 0 failed")
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
