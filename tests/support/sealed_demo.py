"""The whole demo in the seal, watched from outside by strace: `make sealed-demo`, or `python -m
tests.support.sealed_demo --help`.

Three verdicts must agree: strace's log of every network call of every process, the signed egress
report, and a positive control, in which the same two watchers see packets leave where there is a
way out. What follows `--` goes to `localinstruct run`.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from localinstruct.offline import audit_hook
from tests.support.strace_log import verdict

ROOT = Path(__file__).parents[2]
NAME = "sealed-demo"
STRACE = ("strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=%network", "-o")
"""With --seccomp-bpf only the network calls stop at strace; without it every call of every thread
does."""


def watched(log: Path, folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    """A command in `folder`, with every network call of it and its children in `log`."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("LOCALINSTRUCT_")
    }
    environment = {**inherited, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    return subprocess.run(
        [*STRACE, str(log), sys.executable, *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def control(folder: Path) -> list[str]:
    """What is wrong with the watchers: packets that leave on purpose must be seen by both."""
    log, noted = folder / "control.strace", folder / "control.jsonl"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        audit_hook.FILE: str(noted),
        "TMPDIR": str(folder),
    }
    done = subprocess.run(
        [*STRACE, str(log), sys.executable, "-m", "tests.leaks", "control", "control"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    well, lines = verdict(log)
    left = [json.loads(line) for line in done.stdout.splitlines()]
    wrong = (
        ["strace did not see the packets that left"]
        if well or sum(line.startswith("OUT") for line in lines) < 3
        else []
    )
    return wrong + (
        []
        if [entry["sent"] for entry in left] == [1, 1, 1]
        else ["the kernel's counters did not see them"]
    )


def demo(folder: Path, command: str, settings: list[str]) -> tuple[list[str], list[str]]:
    """(what to say, what is wrong) after `localinstruct COMMAND nano --sealed` under strace."""
    log, began = folder / "demo.strace", time.monotonic()
    words = ["-m", "localinstruct", command, "nano", "--name", NAME, "--sealed", *settings]
    done = watched(log, folder, words)
    said = [
        f"{' '.join(words[1:])}: exit {done.returncode} in {time.monotonic() - began:.0f} s "
        "under strace"
    ]
    if done.returncode:
        return said, [f"it failed: {(done.stdout + done.stderr)[-1500:]}"]
    well, lines = verdict(log)
    wrong = [] if well else ["strace saw something get out, or nothing at all"]
    report = folder / "runs" / NAME / "egress.json"
    body = json.loads(report.read_text())["body"]
    said += [f"strace: {line}" for line in lines]
    said += [
        f"egress report: {line}"
        for line in report.with_suffix(".txt").read_text().splitlines()
        if "Verdict" in line
    ]
    said += [
        f"egress report: {len(body['attempts'])} attempts, {len(body['processes'])} processes "
        "and programs noted"
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    verify = [sys.executable, "-m", "localinstruct", "verify-report"]
    own = subprocess.run(
        [*verify, "--own-key"], cwd=folder, env=environment, capture_output=True, text=True
    )
    checked = subprocess.run(
        [*verify, str(report), "--key", own.stdout.strip()],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    said += [
        f"verify-report: {line.replace(str(folder), '')}" for line in checked.stdout.splitlines()
    ]
    wrong += [] if checked.returncode == 0 else ["the report does not verify"]
    wrong += (
        []
        if all(stage["sealed"] for stage in body["stages"].values())
        else ["a stage was not sealed"]
    )
    return said, wrong + ([] if body["stages"] else ["no stage has finished"])


def main() -> int:
    """0 when all three verdicts agree that nothing left."""
    parser = argparse.ArgumentParser(
        prog="make sealed-demo", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("folder", type=Path, help="a new folder for the run and the logs")
    parser.add_argument("--command", default="run", help="run, or generate for a short look")
    given, settings = parser.parse_known_args()
    given.folder.mkdir(parents=True)
    folder = given.folder.resolve()
    said, wrong = demo(folder, given.command, [word for word in settings if word != "--"])
    unseeing = control(folder)
    print("\n".join([*said, *(f"WRONG: {line}" for line in [*wrong, *unseeing])]))
    print(
        "positive control: packets that left on purpose were seen by strace and by the counters"
        if not unseeing
        else ""
    )
    print("nothing left this machine" if not wrong and not unseeing else "not shown")
    return 1 if wrong or unseeing else 0


if __name__ == "__main__":
    sys.exit(main())
