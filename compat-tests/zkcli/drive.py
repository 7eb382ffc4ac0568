"""Plays the scripts to zkCli and compares what it prints.

A script is a transcript:

    # A comment.
    1> create /a data          a command for the first zkCli; 2> is a second one, with its own session
    Created /a                 what it printed
    1! NodeCreated /a Z4       an event that it printed, here or a little later
    $ ls /none                 zkCli with the command as its arguments
    exit 1                     what that one returned

Events are printed by another thread. So the next command is not sent before all events that the
script expects here have been printed, and they are listed after what the commands printed.

What differs from run to run is replaced: zxids by their rank in the script (Z1 < Z2 < ...), so that
it still counts which are equal and which is later; session ids, times, the address, the version.
"""

import difflib
import itertools
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

PATIENCE_S = 30  # Bounds every wait for something that must be printed.
SILENCE_S = 0.3  # How long a script's end waits for something that must not be printed.

HERE = pathlib.Path(__file__).parent
ZOOKEEPER = HERE.parent / "upstream" / "zookeeper"
PORT = os.environ["COMPAT_PORT"]

PROMPT = re.compile(r"\[zk: [^\]]*\(\w+\) (\d+)\] ")
EVENT = re.compile(r"WatchedEvent state:(\w+) type:(\w+) path:(\S+) zxid: (-?\d+)")
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \[myid:")
COMMAND = re.compile(r"([12]>|\$) (.*)")


class Cli:
    """A zkCli that takes commands one by one."""

    def __init__(self):
        self.process = subprocess.Popen(
            [ZOOKEEPER, "cli", PORT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.printed = ""
        self.changed = threading.Condition()
        self.commands = 0
        threading.Thread(target=self.read, daemon=True).start()
        # Its greeting is of no interest.
        self.wait(lambda: PROMPT.search(self.printed) and EVENT.search(self.printed), "a session")
        self.printed = ""

    def read(self):
        while chunk := os.read(self.process.stdout.fileno(), 1 << 16):
            with self.changed:
                self.printed += chunk.decode()
                self.changed.notify_all()

    def wait(self, holds, what):
        with self.changed:
            if not self.changed.wait_for(holds, PATIENCE_S):
                raise TimeoutError(f"waited in vain for {what} in: {self.printed[-1000:]}")

    def send(self, command):
        self.commands += 1
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        prompt = f") {self.commands}] "
        self.wait(lambda: prompt in self.printed, f"the prompt after '{command}'")

    def await_events(self, count):
        self.wait(lambda: len(EVENT.findall(self.printed)) >= count, f"{count} events")

    def take(self):
        """What was printed since the last call: the lines, and the events."""
        with self.changed:
            text, self.printed = PROMPT.sub("", self.printed), ""
        events = [tuple(event) for event in EVENT.findall(text)]
        lines = [line for line in EVENT.sub("", text).splitlines() if line != "WATCHER::"]
        return [line for line in lines if line.strip() and not LOG_LINE.match(line)], events

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()


def once(arguments):
    """What zkCli prints and returns that gets its command as arguments."""
    done = subprocess.run(
        [ZOOKEEPER, "cli", PORT, *arguments.split()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE_S,
        text=True,
    )
    lines = EVENT.sub("", done.stdout).splitlines()
    boring = ("Connecting to ", "WATCHER::")
    kept = [l for l in lines if l.strip() and not l.startswith(boring) and not LOG_LINE.match(l)]
    return [*kept, f"exit {done.returncode}"]


def without_order(command, lines):
    """Sorts what the server may list in any order."""
    if command.startswith("getEphemerals"):
        return [", ".join(sorted(line.strip("[]").split(", "))).join("[]") for line in lines]
    if command == "whoami" or command.startswith("ls -R"):
        return sorted(lines)
    return lines


def play(script):
    """Runs a script; returns it with what was printed in place of what it says, and if it ended well."""
    clients, played, whole = {}, [], True
    steps = []
    for line in script:
        if COMMAND.match(line):
            steps.append((line, []))
        elif line.startswith("#") or not line:
            steps.append((line, None))
        else:
            steps[-1][1].append(line)
    try:
        for line, expected in steps:
            played.append(line)
            if expected is None:
                continue
            who, command = COMMAND.match(line).groups()
            if who == "$":
                played += once(command)
                continue
            if who not in clients:
                clients[who] = Cli()
            clients[who].send(command.replace("SERVER", f"127.0.0.1:{PORT}"))
            collect(clients, who, command, expected, played)
        time.sleep(SILENCE_S)
        for who, client in clients.items():
            lines, events = client.take()
            played += [f"unexpected from {who} {what}" for what in [*lines, *events]]
    except (TimeoutError, BrokenPipeError, subprocess.TimeoutExpired) as error:
        played.append(str(error))
        whole = False
    finally:
        for client in clients.values():
            client.end()
    return normalise(played), whole


def collect(clients, who, command, expected, played):
    """Adds what a command has made all clients print."""
    events = {}
    for name, client in clients.items():
        mark = name.replace(">", "!")
        client.await_events(sum(line.startswith(mark) for line in expected))
        lines, events[mark] = client.take()
        if name == who:
            played += without_order(command, lines)
        else:
            played += [f"unexpected from {name} {line}" for line in lines]
    for mark, seen in events.items():
        # The nodes of one transaction may go in any order.
        for _, same in itertools.groupby(seen, lambda event: (event[1], event[3])):
            for state, kind, path, zxid in sorted(same):
                what = state if kind == "None" else path
                played.append(f"{mark} {kind} {what}" + (f" zxid:{zxid}" if zxid != "-1" else ""))


def normalise(lines):
    text = "\n".join(lines)
    text = re.sub(r"(?m)^([cm]time = ).*", r"\1TIME", text)
    text = re.sub(r"(?m)^(ephemeralOwner = 0x)[1-9a-f][0-9a-f]*$", r"\1SESSION", text)
    text = re.sub(r"(?m)^(ZooKeeper CLI version: ).*", r"\1VERSION", text)
    text = text.replace(f"127.0.0.1:{PORT}", "SERVER")
    # The numbers are hexadecimal in a Stat and decimal in an event.
    zxid = re.compile(r"(Zxid = 0x)([0-9a-f]+)|(zxid:)(\d+)")
    value = lambda match: int(match[2], 16) if match[2] else int(match[4])
    known = sorted({value(match) for match in zxid.finditer(text)} - {0})
    rank = {0: "0", **{number: f"Z{place}" for place, number in enumerate(known, 1)}}
    text = zxid.sub(lambda match: (match[1] or match[3]) + rank[value(match)], text)
    return text.replace("Zxid = 0xZ", "Zxid = Z").replace(" zxid:Z", " Z").splitlines()


def main(arguments):
    record = "--record" in arguments
    names = [name for name in arguments if name != "--record"]
    passed = failed = 0
    for path in sorted((HERE / "scripts").glob("*.txt")):
        if names and path.stem not in names:
            continue
        start = time.monotonic()
        script = path.read_text().splitlines()
        played, whole = play(script)
        took_s = time.monotonic() - start
        if record and whole:
            path.write_text("\n".join(played) + "\n")
            script = played
        difference = list(
            difflib.unified_diff(script, played, "expected", "printed", lineterm="", n=4)
        )
        print(f"{'FAILED' if difference else 'ok'} {path.stem} ({took_s:.1f} s)")
        print("".join(f"    {line}\n" for line in difference), end="", flush=True)
        failed += bool(difference)
        passed += not difference
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
