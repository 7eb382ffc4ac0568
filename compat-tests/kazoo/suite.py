"""Runs kazoo's own tests against a server and holds the outcome against what ZooKeeper showed.

`reference.txt` has the outcome of every test on a real ZooKeeper. A test that passes there has to
pass here; where the reference says failed or skipped nothing is asked, and an unstable test is
reported only. `known-gaps.txt` names tests that our server does not pass yet, and is not allowed
to name one that it does.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

from server import HERE, KINDS, UPSTREAM, Server

REFERENCE = HERE / "reference.txt"
GAPS = HERE / "known-gaps.txt"

WORKERS = 4  # Most tests wait; four at a time keep two cores busy half of the time.
TEST_TIMEOUT_S = 180  # As in kazoo's own configuration.
SUITE_TIMEOUT_S = 900

# kazoo's tests act differently where these are set; the reference was made without.
ENVIRONMENT_DROPPED = ("CI", "KRB5_TEST_ENV", "ZOOKEEPER_JAAS_AUTH", "ZOOKEEPER_PATH")

REFERENCE_HEAD = """\
# The outcome of each of kazoo's tests on a real ZooKeeper: {version}, one server, kazoo {kazoo}.
# Made by `run --server zookeeper --write-reference`, which keeps what a hand wrote: the lines that
# say unstable, and the reason of an outcome that is still the same.
# Passed is a demand on our server; failed, skipped and unstable are not.
"""


def read_list(path):
    """Lines of `test outcome  # reason`, by test."""
    entries = {}
    for line in path.read_text().splitlines():
        line, _, reason = line.partition("  # ")
        if line and not line.startswith("#"):
            test, outcome = line.rsplit(" ", 1)
            if test in entries:
                raise ValueError(f"{path.name} names {test} twice")
            entries[test] = (outcome, reason)
    return entries


def run_tests(kind, workdir, pytest_arguments):
    """The outcome and reason of each test, by test, and pytest's own exit code."""
    site = pathlib.Path(__import__("kazoo").__file__).parent.parent
    outcomes = workdir / "outcomes.json"
    environment = {k: v for k, v in os.environ.items() if k not in ENVIRONMENT_DROPPED}
    environment |= {
        "PYTHONPATH": str(HERE),
        "KAZOO_SERVER_KIND": kind,
        "KAZOO_SERVERS": str(workdir / "servers"),
        "KAZOO_OUTCOMES": str(outcomes),
        "ZOOKEEPER_CLUSTER_SIZE": "1",
        "ZOOKEEPER_VERSION": upstream_version(),
    }
    (workdir / "servers").mkdir()
    (workdir / "pytest.ini").write_text("[pytest]\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-c", workdir / "pytest.ini", "--rootdir", site,
         "-p", "adapter", "-p", "no:cacheprovider", "-W", "ignore", "-rfE", "--tb=short",
         "--timeout", str(TEST_TIMEOUT_S), "--durations=10",
         "-n", str(WORKERS), "--dist", "loadscope", site / "kazoo" / "tests", *pytest_arguments],
        cwd=workdir, env=environment, stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        code = process.wait(SUITE_TIMEOUT_S)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if code not in (0, 1):
        raise SystemExit(f"pytest ended with {code}")
    return json.loads(outcomes.read_text())


def end_servers(kind, workdir):
    """Ends servers that a worker which was killed could not end itself."""
    for file in (workdir / "servers").glob("*/pid"):
        if kind == "zookeeper":
            subprocess.run([UPSTREAM, "stop", file.parent], check=False, timeout=60)
            continue
        pid = int(file.read_text())
        try:
            command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if str(file.parent / "zoo.cfg").encode() in command:
                os.kill(pid, signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            pass


def upstream_version():
    pom = (UPSTREAM.parent / "pom.xml").read_text()
    return re.search("<zookeeper.version>(.*)</zookeeper.version>", pom)[1]


def write_reference(outcomes):
    kept = read_list(REFERENCE) if REFERENCE.exists() else {}
    lines = []
    for test, (outcome, reason) in sorted(outcomes.items()):
        if kept.get(test, ("", ""))[0] in (outcome, "unstable"):
            outcome, reason = kept[test]
        lines.append(f"{test} {outcome}" + (f"  # {reason}" if reason else ""))
    head = REFERENCE_HEAD.format(
        version=upstream_version(), kazoo=__import__("kazoo").version.__version__
    )
    REFERENCE.write_text(head + "\n".join(lines) + "\n")


def compare(kind, outcomes, selected_only):
    """Prints where a run differs from the reference; returns how many tests let us down."""
    reference = read_list(REFERENCE)
    gaps = read_list(GAPS) if kind == "rookeeper" else {}
    wrong, remarks = [], []
    for test in sorted(reference.keys() | outcomes.keys() | gaps.keys()):
        outcome, reason = outcomes.get(test, ("missing", "did not run"))
        expected, why = reference.get(test, ("unknown", ""))
        if outcome == "missing" and selected_only:
            continue
        if expected == "unknown":
            wrong.append(f"{test}: {outcome}, and the reference does not know it")
        elif test in gaps and outcome == "passed":
            wrong.append(f"{test}: passed, so known-gaps.txt may not name it any more")
        elif test in gaps:
            remarks.append(f"{test}: {outcome}, a known gap: {gaps[test][1]}")
        elif expected == "unstable":
            remarks.append(f"{test}: {outcome}, unstable on ZooKeeper: {why}")
        elif expected == "passed" and outcome != "passed":
            wrong.append(f"{test}: {outcome}, passes on ZooKeeper: {reason}")
        elif outcome == "missing":
            wrong.append(f"{test}: did not run")
        elif expected != outcome:
            remarks.append(f"{test}: {outcome}, {expected} on ZooKeeper: {why}")
        elif outcome == "failed":
            remarks.append(f"{test}: failed as on ZooKeeper: {why}")
    for title, lines in (("Not asked of this server", remarks), ("Wrong", wrong)):
        if lines:
            print(f"\n{title}:", *lines, sep="\n  ")
    return len(wrong)


def main():
    parser = argparse.ArgumentParser(prog="run", description=__doc__.splitlines()[0])
    parser.add_argument("--server", choices=KINDS, required=True)
    parser.add_argument(
        "--write-reference", action="store_true", help="note the outcomes as the reference"
    )
    parser.add_argument(
        "pytest", nargs="*", metavar="-- PYTEST-ARGUMENT", help="then only what ran is compared"
    )
    arguments = parser.parse_args()
    if arguments.write_reference and (arguments.server != "zookeeper" or arguments.pytest):
        parser.error("the reference is a whole run on ZooKeeper")

    workdir = pathlib.Path(tempfile.mkdtemp(prefix="kazoo-"))
    try:
        # One start before all: a server that cannot come up is told once and not by every test.
        first = Server(arguments.server, workdir / "first")
        first.start()
        first.stop()
        outcomes = run_tests(arguments.server, workdir, arguments.pytest)
    finally:
        end_servers(arguments.server, workdir)
    if arguments.write_reference:
        write_reference(outcomes)
    wrong = compare(arguments.server, outcomes, bool(arguments.pytest))
    passed = [outcome for outcome, _ in outcomes.values()].count("passed")
    print("\nOf what ZooKeeper passes (skipped: what is not asked of this server):")
    print(f"{passed} passed, {wrong} failed, {max(0, len(outcomes) - passed - wrong)} skipped")
    if wrong:
        print(f"logs of the servers: {workdir}")
        raise SystemExit(1)
    shutil.rmtree(workdir)


if __name__ == "__main__":
    main()
