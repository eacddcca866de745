"""The whole product on real parts: vLLM, TRL, embeddings, SQLite and the nano models, in a network
namespace without a network.

One demo run (minutes) is shared by the tests of what it made; a second, smaller run is killed again
and again.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from localinstruct.errors import UsageError
from localinstruct.formats import read_instances
from localinstruct.store.run import read_run
from tests.test_docs import README

pytestmark = [pytest.mark.vllm, pytest.mark.slow]
COMMAND = [sys.executable, "-m", "localinstruct"]
ROOT = Path(__file__).parents[1]
FILES_OF_A_RUN = (ROOT / "docs" / "files.md").read_text("utf-8")


def without_network() -> list[str]:
    """`unshare -rn` where this system allows it: then a demo that ends well has proved that it
    needs no network."""
    probe = ["unshare", "-rn", "true"]
    allowed = shutil.which("unshare") and subprocess.run(probe, capture_output=True).returncode == 0
    return ["unshare", "-rn"] if allowed else []


def localinstruct(
    folder: Path, *words: str, timeout: float = 900
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [*without_network(), *COMMAND, *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout
    )


def servers_of(folder: Path) -> list[int]:
    """Pids of vLLM processes and supervisors that were started for runs below `folder`."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes()
            home = str((path / "cwd").readlink())
        except OSError:
            continue
        if home == str(folder) and (
            b"vllm" in command or b"VLLM" in command or b"supervisor" in command
        ):
            found.append(int(path.name))
    return found


@pytest.fixture(scope="session")
def demo(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, subprocess.CompletedProcess[str], float]:
    folder = tmp_path_factory.mktemp("demo")
    began = time.monotonic()
    shown = localinstruct(folder, "demo")
    return folder, shown, time.monotonic() - began


@pytest.fixture
def folder(demo: tuple[Path, subprocess.CompletedProcess[str], float]) -> Path:
    return demo[0]


def test_the_demo_ends_well_and_says_what_came_of_it(
    demo: tuple[Path, subprocess.CompletedProcess[str], float], capsys: pytest.CaptureFixture[str]
) -> None:
    _, shown, seconds = demo
    with capsys.disabled():
        print(
            f"\ndemo took {seconds:.0f} "
            f"s{' without a network' if without_network() else ''}\n{shown.stdout}"
        )
    assert shown.returncode == 0, shown.stderr
    for words in ("rows", "student", "runs/demo/report.html", "localinstruct show runs/demo"):
        assert words in shown.stdout
    rest = localinstruct(demo[0], "show", "demo").stdout
    for words in ("kept rows", "right answers", "held-out loss", "forgetting", "verdict"):
        assert words in rest
    assert "left" in shown.stderr  # estimates of the time left


def test_the_demo_keeps_its_numbers(folder: Path) -> None:
    """Their form and their sums, and that training has taught something: how much is another number
    each time."""
    shown = json.loads(localinstruct(folder, "show", "demo", "--json").stdout)
    results = {name: stage["result"] for name, stage in shown["stages"].items()}
    checked = results["generate"]["checked"]
    assert shown["kept"] >= 300
    assert results["generate"]["kept"] == shown["kept"]
    assert sum(checked.values()) == shown["kept"]
    assert checked["right"] > checked["wrong"]
    tasks = results["evaluate"]["tasks"]
    assert tasks["gain"] == pytest.approx(tasks["student"] - tasks["base"])
    assert -1 <= tasks["interval"][0] <= tasks["gain"] <= tasks["interval"][1] <= 1
    assert len(tasks["interval"]) == 2
    assert (
        results["evaluate"]["held_out"]["student"]["loss"]
        < results["evaluate"]["held_out"]["base"]["loss"]
    )
    assert results["train"]["steps"] > 0
    later = ("read", "mix", "decontaminate", "dataset")  # what the data set leaves out is shown too
    rejected = sum(entry["count"] for entry in shown["rejects"] if entry["stage"] not in later)
    assert rejected == results["generate"]["rejected"]


def test_a_second_demo_repeats_nothing(folder: Path) -> None:
    before = (folder / "runs/demo/report.html").read_bytes()
    again = localinstruct(folder, "demo")
    assert again.returncode == 0
    assert again.stderr.count("done before") == 5
    assert (folder / "runs/demo/report.html").read_bytes() == before


def test_the_run_directory_is_as_its_page_says(folder: Path) -> None:
    block = re.search(r"```text\nruns/demo/\n(.*?)```", FILES_OF_A_RUN, re.DOTALL)
    assert block
    names = re.findall(r"[├└]── (\S+)", block[1])
    assert len(names) == 13
    # of students served as one model, of edits by hand, of decisions on rows
    sometimes = {"merged/", "by_hand/", "review.sqlite"}
    assert [
        name
        for name in names
        if name not in sometimes and not (folder / "runs/demo" / name).exists()
    ] == []


def test_prompts_are_not_in_the_logs(folder: Path) -> None:
    logs = "".join(
        path.read_text("utf-8", "replace") for path in (folder / "runs/demo/logs").iterdir()
    )
    with read_run(folder / "runs/demo") as run:
        rows = list(run.kept())
    assert [
        row.instruction for row in rows if len(row.instruction) > 30 and row.instruction in logs
    ] == []
    assert logs


@pytest.mark.parametrize("format", ["alpaca", "jsonl", "messages", "sharegpt", "parquet"])
def test_exports_hold_every_kept_row(folder: Path, format: str) -> None:
    path = (
        folder
        / f"rows.{'json' if format == 'alpaca' else 'parquet' if format == 'parquet' else 'jsonl'}"
    )
    shown = localinstruct(folder, "export", "demo", "--format", format, "--output", str(path))
    assert shown.returncode == 0, shown.stderr
    with read_run(folder / "runs/demo") as run:
        kept = [(row.instruction, row.output) for row in run.kept()]
    read = read_instances(path)
    assert [row.output for row in read] == [output for _, output in kept]
    assert all(
        instruction in row.instruction for (instruction, _), row in zip(kept, read, strict=True)
    )


def test_the_readmes_commands_do_what_they_say(folder: Path) -> None:
    block = re.search(r"Then look around.*?```sh\n(.*?)```", README, re.DOTALL)
    assert block
    commands = [shlex.split(line.split(" #")[0]) for line in block[1].splitlines()]
    assert len(commands) >= 5
    with read_run(folder / "runs/demo") as run:
        kept = next(run.kept()).id
    pages = [words for words in commands if words[1] in ("watch", "review")]
    assert len(pages) == 2
    for words in pages:
        assert opened_and_ended(folder, *words[1:]) in (0, 130), words
    for words in commands:
        if words in pages:
            continue
        shown = localinstruct(folder, *(kept if word == "ID" else word for word in words[1:]))
        assert shown.returncode == 0, (words, shown.stderr)
        assert shown.stdout.strip(), words


def opened_and_ended(folder: Path, *words: str) -> int:
    """Exit code of a command that serves a page, ended by Ctrl-C once it has said where."""
    command = [sys.executable, "-m", "localinstruct", *words]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as page:
        assert page.stdout
        assert any("http://127.0.0.1:" in line for line in page.stdout)
        page.send_signal(signal.SIGINT)
        return page.wait(60)


@pytest.mark.exhaustive
def test_bring_your_own_model(tmp_path: Path) -> None:
    """The five lines of the README, with the nano models' directories in place of real ones."""
    block = re.search(r"## Bring your own model.*?```sh\n(.*?)```", README, re.DOTALL)
    assert block
    lines = [line.split(" #")[0].strip() for line in block[1].splitlines()]
    assert len(lines) == 5
    weights = ROOT / "localinstruct/nano/weights"
    lab = tmp_path / "lab"
    words = [shlex.split(line.split("&&")[0])[1:] for line in lines]
    assert localinstruct(tmp_path, *words[0]).returncode == 0
    for line, model in ((words[1], "teacher"), (words[2], "student")):
        here = [str(weights / model) if word.startswith("/data") else word for word in line]
        assert localinstruct(lab, *here).returncode == 0
    small = [
        "--set",
        "generate.target=5",
        "--set",
        "sampling.max_tokens=300",
        "--set",
        "serve.max_model_len=1024",
    ]
    nano = [
        "--set",
        "method.alpaca.prompt=alpaca_nano",
        "--set",
        "seeds=seeds/nano_seed_tasks.jsonl",
    ]
    shown = localinstruct(lab, *("generate" if w == "run" else w for w in words[3]), *small, *nano)
    assert shown.returncode == 0, shown.stderr
    assert localinstruct(lab, *words[4]).returncode == 0
    assert len(read_instances(lab / "first.json")) >= 5


def test_no_server_is_left(folder: Path) -> None:
    assert servers_of(folder) == []


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*COMMAND, *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def kept_rows(folder: Path) -> list[str]:
    path = folder / "runs/nano"
    try:
        with read_run(path) as run:
            return [row.id for row in run.kept()]
    except UsageError:  # not made yet
        return []


def wait_until_gone(folder: Path, seconds: float) -> list[int]:
    deadline = time.monotonic() + seconds
    while servers_of(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    return servers_of(folder)


@pytest.mark.exhaustive
def test_kills_against_the_real_vllm(tmp_path: Path) -> None:
    """SIGKILL five times, from the start of vLLM to the middle of generating: nothing lost, doubled
    or left behind."""
    words = ["generate", "nano", "--set", "generate.target=400"]
    seen: list[str] = []
    for after_rows in (-1, 0, 20, 60, 120):  # -1: while vLLM starts
        with start(tmp_path, *words) as process:
            if after_rows < 0:
                time.sleep(8)
            else:
                while (
                    len(kept_rows(tmp_path)) <= max(after_rows, len(seen))
                    and process.poll() is None
                ):
                    time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert wait_until_gone(tmp_path, 120) == []
        now = kept_rows(tmp_path)
        assert now[: len(seen)] == seen
        seen = now
    with start(tmp_path, *words) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait() == 0, said
    ids = kept_rows(tmp_path)
    assert ids[: len(seen)] == seen
    assert len(ids) == len(set(ids)) >= 400
    assert wait_until_gone(tmp_path, 120) == []


@pytest.mark.exhaustive
def test_ctrl_c_ends_soon_and_says_how_to_go_on(tmp_path: Path) -> None:
    """Ctrl-C while `run` generates; meanwhile a second process on the same run is refused.

    Alone on a machine it takes less than five seconds; a busy one is given two minutes.
    """
    with start(tmp_path, "run", "nano", "--set", "generate.target=5000") as process:
        said: list[str] = []
        assert process.stderr is not None
        reader = threading.Thread(target=lambda: said.extend(process.stderr or []))
        reader.start()
        while len(kept_rows(tmp_path)) < 20 and process.poll() is None:
            time.sleep(0.05)
        second = subprocess.run(
            [*COMMAND, "run", "nano"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert second.returncode == 75
        assert f"process {process.pid}" in second.stderr
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 130
        seconds = time.monotonic() - began
        reader.join()
    text = "".join(said)
    print(f"ended {seconds:.1f} s after Ctrl-C")
    assert "Traceback" not in text
    assert f"stopped: {len(kept_rows(tmp_path))} rows are kept in runs/nano" in text
    assert "localinstruct run runs/nano" in text
    assert wait_until_gone(tmp_path, 60) == []
