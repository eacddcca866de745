"""localinstruct from Python: an import that changes nothing, rows, runs, and the child in which
models live."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

import localinstruct as li
from localinstruct import api
from localinstruct.curate.duplicates import duplicates
from localinstruct.curate.index import Index
from localinstruct.curate.novelty import Gate, Novelty
from localinstruct.errors import DataError, ModelError, RecipeError, UsageError
from localinstruct.formats import read_instances
from localinstruct.progress import Silent
from localinstruct.recipe import find_workspace
from localinstruct.records import Kept
from localinstruct.store.run import open_run
from tests.support import sample_run
from tests.support.nano_server import ROOT, nano_workspace
from tests.support.openai_server import Reply, completion, serving_script
from tests.support.scripted import PLACES, THINGS, VERBS, HashEncoder
from tests.support.sealing import needs_namespaces, output
from tests.support.strace_log import calls

ALONE = ("unshare", "-rn", "strace", "-f", "-qq", "-e", "trace=%network")
HEAVY = {"torch", "transformers", "vllm", "datasets", "numpy", "pydantic", "yaml", "cloudpickle"}
HOSTILE = {"HF_HUB_OFFLINE": "0", "HTTPS_PROXY": "http://192.0.2.7:3128", "OPENAI_API_KEY": "x"}


# -- the import


def test_an_import_changes_nothing_in_the_process_and_loads_no_library() -> None:
    code = """
import json, os, signal, sys, threading, warnings
def state():
    handlers = {int(s): repr(signal.getsignal(s)) for s in signal.valid_signals()}
    return [dict(os.environ), handlers, list(warnings.filters), len(threading.enumerate()),
            os.getcwd(), sys.path[:], sys.excepthook is sys.__excepthook__]
before, modules = state(), set(sys.modules)
import localinstruct as li
names = dir(li)
print(json.dumps([state() == before, sorted(set(sys.modules) - modules), len(names)]))
"""
    same, loaded, names = json.loads(output(code, env=HOSTILE))
    assert same
    assert {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names == {
        "localinstruct"
    }
    assert names == len(li.__all__)


def test_the_first_use_of_a_name_loads_no_heavy_library_and_changes_no_variable() -> None:
    code = f"""
import json, os, signal, sys
before = dict(os.environ), [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
import localinstruct as li
result = li.clean(["Name three rivers in Peru.", "Hi"], {{"disable": ["empty_output"]}})
after = dict(os.environ), [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
heavy = {HEAVY - {"pydantic", "yaml"}!r} & set(sys.modules)
print(json.dumps([before == after, sorted(heavy), len(result.kept)]))
"""
    assert json.loads(output(code, env=HOSTILE)) == [True, [], 1]


def test_an_import_costs_little_cpu() -> None:
    code = (
        "import time; a = time.process_time(); import localinstruct; print(time.process_time() - a)"
    )
    assert min(float(output(code)) for _ in range(5)) < 0.15


def test_every_name_is_there_documented_and_the_same_in_both_places() -> None:
    assert [name for name in li.__all__ if name != "__version__"] == api.__all__
    for name in api.__all__:
        value = getattr(li, name)
        assert value is getattr(api, name)
        assert name == "Episode" or value.__doc__, name
    assert sorted(li.__all__) == dir(li)
    assert len(li.__all__) < 30
    assert (ROOT / "localinstruct" / "py.typed").is_file()
    with pytest.raises(AttributeError, match="no attribute 'generat'"):
        getattr(li, "gene" + "rat")


# -- rows

ROWS = [
    li.Instance("Name three rivers in Peru.", output="Ucayali, Marañón, Huallaga."),
    li.Instance("Draw a picture of a cat.", output="Here it is."),
    li.Instance("Name three rivers of Peru.", output="Ucayali, Marañón, Huallaga."),
    li.Instance("Sort these numbers.", "3 1 2", "1 2 3"),
]


def test_rows_are_written_and_read_in_every_format(tmp_path: Path) -> None:
    for name, format in (("a.jsonl", None), ("b.parquet", None), ("c.json", "alpaca")):
        assert li.write_rows(ROWS, tmp_path / name, format) == len(ROWS)
        assert [row.id for row in li.read_rows(str(tmp_path / name))] == [row.id for row in ROWS]
    plain: list[Any] = [{"instruction": "Name a river.", "output": "Nile"}, "Name a lake."]
    li.write_rows(plain, tmp_path / "d.jsonl")
    assert [row.output for row in read_instances(tmp_path / "d.jsonl")] == ["Nile", ""]
    with pytest.raises(UsageError, match="alpacca: no such format; did you mean 'alpaca'"):
        li.write_rows(ROWS, tmp_path / "e.json", "alpacca")
    (tmp_path / "bad.jsonl").write_text('{"instruction": 3}\n')
    with pytest.raises(DataError, match=r"bad\.jsonl:1"):
        li.read_rows(tmp_path / "bad.jsonl")


def test_files_of_other_layouts_are_read_with_their_columns_named(tmp_path: Path) -> None:
    path, reports = tmp_path / "x.csv", list[Any]()
    path.write_bytes("asked,reply\nCaf\xe9?,Yes\n,No\n".encode("cp1252") + b"Tea?,No\n")
    columns = {"instruction": "asked", "output": "reply"}
    with pytest.raises(DataError, match=r"not UTF-8|bad row"):
        li.read_rows(path, columns=columns)
    rows = li.read_rows(
        path, columns=columns, encoding="cp1252", on_bad_row="skip", on_report=reports.append
    )
    assert [row.instruction for row in rows] == ["Caf\xe9?", "Tea?"]
    assert len(reports[0].rejects) == 1


def test_clean_keeps_the_rows_that_pass_and_says_why_others_do_not() -> None:
    found = li.clean(ROWS)
    assert found.kept == [ROWS[0], ROWS[2], ROWS[3]]
    assert [(one.row, one.reason) for one in found.dropped] == [(ROWS[1], "asks for media")]
    assert found.dropped[0].detail
    assert str(found) == "3 of 4 rows kept; dropped: 1 asks for media"
    own = li.clean(ROWS, keep=lambda row: "3" not in row.input or "numbers are dull")
    assert own.counts() == {"asks for media": 1, "own filter": 1}
    assert own.dropped[1].detail == "numbers are dull"
    assert li.clean(ROWS, "none").kept == ROWS
    assert li.clean(ROWS, {"min_words": 5}).counts()["too short"] == 1
    with pytest.raises(RecipeError, match="set"):
        li.clean(ROWS, "alpacca")
    with pytest.raises(UsageError, match=rf"{__file__}:\d+: the filter own raised ZeroDivision"):
        li.clean(ROWS, keep=lambda row: bool(1 / 0))
    with pytest.raises(UsageError, match="expected True, False or a reason"):
        li.clean(ROWS, keep=lambda row: None)  # type: ignore[arg-type,return-value]


def test_duplicates_are_those_that_the_gate_refuses() -> None:
    rng = Random(5)
    rows = [
        li.Instance(f"{rng.choice(VERBS)} {rng.choice(THINGS)} {rng.choice(PLACES)}")
        for _ in range(700)
    ]
    vectors = HashEncoder().encode([row.instruction for row in rows])
    novelty = Novelty(threshold=0.7, against="kept", remember=1)
    found = duplicates(rows, vectors, novelty)
    gate = Gate(novelty, Index(vectors.shape[1]), ())
    one_by_one = [gate.admit([r], v[None])[0] for r, v in zip(rows, vectors, strict=True)]
    refused = [n for n, verdict in enumerate(one_by_one) if not isinstance(verdict, Kept)]
    assert [one.row for one in found] == refused
    assert 100 < len(refused) < 650
    for one in found:
        assert one.like < one.row
        assert one.like not in refused
        cosine = float(np.dot(vectors[one.row], vectors[one.like]))
        assert one.score == pytest.approx(cosine, abs=1e-4)


def test_deduplicate_by_words_in_order_with_what_a_row_resembles() -> None:
    found = li.deduplicate(ROWS, 0.7, "rouge_l")
    assert found.kept == [ROWS[0], ROWS[1], ROWS[3]]
    [dropped] = found.dropped
    assert (dropped.row, dropped.like, dropped.reason) == (ROWS[2], ROWS[0], "too similar")
    assert dropped.score == pytest.approx(0.8)
    assert found.closest(3) == [dropped]
    assert found.threshold == 0.7
    assert li.deduplicate(["a b", "a b"], measure="rouge_l").counts() == {"exact repetition": 1}
    assert li.deduplicate([], measure="rouge_l").kept == []


@pytest.mark.parametrize(
    ("texts", "like"),
    [
        (["a b", "c d", "a b", "a b", "c d"], [0, 0, 1]),
        (["a b c d", "a b c d e", "a b c d", "a b c d e"], [0, 0, 0]),
        (["x y", "a b", "c d", "c d", "x y", "a b"], [2, 0, 1]),
    ],
)
def test_a_repetition_is_like_the_first_of_its_kind(texts: list[str], like: list[int]) -> None:
    found = li.deduplicate(texts, 0.7, "rouge_l")
    assert [one.like for one in found.dropped] == [texts[number] for number in like]


def test_errors_of_the_child_are_raised_here_with_their_words() -> None:
    with pytest.raises(RecipeError, match="threshold"):
        li.deduplicate(ROWS, 7)
    with pytest.raises(ModelError) as unknown:
        li.deduplicate(ROWS, encoder="nobody")
    assert unknown.value.exit_code == 3
    assert unknown.value.hint
    with pytest.raises(RecipeError, match="nanoo: no such recipe") as wrong:
        li.generate("nanoo")
    assert wrong.value.hint == "Did you mean nano?"
    with pytest.raises(li.LocalInstructError, match="no run of this name"):
        li.open_run("nowhere")
    with pytest.raises(UsageError, match="is the name of one of ours"):
        li.generate("nano", method=alpaca)
    with pytest.raises(UsageError, match="holds something that cannot"):
        li.generate("nano", keep=holding_a_lock())


def alpaca(pool: li.PoolView, options: dict[str, Any], rng: Random) -> li.Episode:
    yield []
    return []


def holding_a_lock() -> Any:
    lock = threading.Lock()
    return lambda row: lock.locked()


@needs_namespaces
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_deduplicate_makes_no_attempt_without_enforce_offline(tmp_path: Path) -> None:
    """In a network namespace with nothing in it, seen by strace, in a shell that lures outside."""
    code = """
import os
import localinstruct as li
found = li.deduplicate(["Name a river in Peru.", "Name one river in Peru.", "Boil an egg."])
print(len(found.kept), os.environ["HF_HUB_OFFLINE"])
"""
    shown, attempts = alone(code, tmp_path)
    assert shown.split() == ["2", "0"]
    assert attempts == []
    lookup = "import socket\ntry: socket.gethostbyname('phone-home.example')\nexcept OSError: pass"
    assert alone(lookup, tmp_path)[1]  # the control: one look-up is seen


def alone(code: str, folder: Path) -> tuple[str, list[str]]:
    """What a program prints without a network, and its calls for something outside of it.

    The name service's daemon is asked for the user's name as well, so it counts only for what
    comes after it: a name server.
    """
    log = folder / "strace"
    done = subprocess.run(
        [*ALONE, "-o", str(log), sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **HOSTILE, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    seen = [call for call in calls(log) if call.host or call.attempt]
    return done.stdout, [call.text for call in seen if "/nscd/" not in call.text]


# -- runs


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> li.RunReader:
    recipe = sample_run.make(tmp_path / "runs" / "sample")
    with open_run(tmp_path / "runs" / "sample") as run:
        run.put("recipe", recipe.to_yaml())
        run.put("workspace", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return li.open_run("sample")


def test_a_run_is_read_row_by_row(sample: li.RunReader) -> None:
    rows, rejects = list(sample.rows()), list(sample.rejects())
    assert len(rows) >= 400
    assert {type(one) for one in rows} == {li.Instance}
    assert {one.reason for one in rejects} > {"refusal"}
    assert {one.reason for one in sample.rejects("refusal")} == {"refusal"}
    assert sample.recipe.name == "nano"
    assert sample.recipe._workspace == ROOT
    found = sample.lineage(rows[-1].id)
    assert found.row == rows[-1]
    stages = sample.stages()
    assert list(stages) == ["generate", "dataset", "train", "evaluate", "report"]
    assert stages["generate"].result["checked"]["right"] == 391
    assert stages["report"].state == "not started"
    assert stages["generate"].state in ("finished", "stale")


def test_a_run_is_a_dataset_and_a_frame(
    sample: li.RunReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = list(sample.rows())
    dataset, frame = sample.to_dataset(), sample.to_pandas()
    assert dataset.num_rows == len(frame) == len(rows)
    assert dataset[3]["id"] == frame.iloc[3]["id"] == rows[3].id
    assert json.loads(dataset[3]["lineage"])["episode"] == rows[3].lineage.episode
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="expected pandas"):
        sample.to_pandas()


def test_a_recipe_knows_its_workspace_and_takes_settings(tmp_path: Path) -> None:
    recipe = li.load_recipe("nano", {"generate.target": 7, "models.rivals": ["nano-chat"]})
    assert (recipe.generate.target, recipe.models.rivals) == (7, ["nano-chat"])
    assert recipe._workspace == find_workspace(ROOT)
    with pytest.raises(RecipeError, match=r"generate\.targett: unknown key"):
        li.load_recipe("nano", {"generate.targett": 7})


# -- generating, with a server that answers as it is told

SCRIPT = """
import asyncio, json, os, signal, sys, threading
import localinstruct as li

BLUE = "blue"

def mine(pool, options, rng):
    seed = rng.choice(pool.seeds)
    [[reply]] = yield [li.Prompt(f"{options['words']}: {seed.instruction} {rng.random()}")]
    offline = li.Reject("parse", "offline", os.environ["HF_HUB_OFFLINE"] + str(os.getpid()))
    return [li.Instance(reply.text, output="An answer."), offline]

def keep(row):
    return BLUE not in row.instruction or "blue is out"

async def cell():
    events = []
    run = li.generate("recipes/nano.yaml", name="mine", settings=json.loads(sys.argv[1]),
                      method=mine, options={"words": "Another"}, keep=keep, progress=events.append)
    return run, events

before = dict(os.environ), signal.getsignal(signal.SIGINT), threading.active_count()
run, events = asyncio.run(cell())
after = dict(os.environ), signal.getsignal(signal.SIGINT), threading.active_count()
shown = [event for event in events if event.label == "kept rows"] or events[-1:]
told = {
    "same": before == after, "rows": [row.instruction for row in run.rows()],
    "methods": sorted({row.lineage.method for row in run.rows()}),
    "offline": sorted({reject.text for reject in run.rejects("offline")}), "pid": os.getpid(),
    "own": [reject.detail for reject in run.rejects("own filter")][:1],
    "shown": [[event.done, event.total] for event in shown][-1:],
    "said": any(not event.label for event in events),
    "recipe": run.recipe.model_dump(mode="json")["method"], "state": run.stages()["generate"].state,
}
print(json.dumps(told))
"""
"""A program as somebody writes it: functions of `__main__`, inside a running event loop."""
FEW = {
    "generate.target": 6,
    "generate.in_flight": 2,
    "filters.set": "none",
    "generate.checker": None,
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Path]:
    """A workspace whose teacher invents tasks of one line, some of them blue."""

    def reply(path: str, request: dict[str, Any], count: int) -> Reply:
        rng = Random(request["prompt"])
        colour = rng.choice(["red", "blue", "green"])
        words = f"{rng.choice(VERBS)} {rng.randint(2, 999)} {colour} {rng.choice(THINGS)}"
        return 200, completion(f"{words} {rng.choice(PLACES)}")

    socket = Path(tempfile.mkdtemp(dir="/tmp"), "s")
    with serving_script(socket, reply):
        yield nano_workspace(tmp_path / "here", f"unix://{socket}")


@pytest.mark.slow
def test_a_program_generates_with_its_own_functions_inside_an_event_loop(server: Path) -> None:
    (server / "program.py").write_text(SCRIPT)
    command = [sys.executable, "program.py", json.dumps(FEW)]
    environment = {**os.environ, **HOSTILE, "PYTHONPATH": str(ROOT)}

    def ran() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=server, env=environment, capture_output=True, text=True, timeout=300
        )

    done = ran()
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["same"]
    assert len(told["rows"]) >= 6
    assert not [row for row in told["rows"] if "blue" in row]
    assert (told["methods"], told["own"]) == (["mine"], ["blue is out"])
    [child] = told["offline"]
    assert child[0] == "1"
    assert child[1:] != str(told["pid"])
    [[done_rows, target]] = told["shown"]
    assert done_rows >= target == 6
    assert (told["said"], told["state"]) == (True, "finished")
    assert told["recipe"]["own"]["options"] == {"words": "Another"}
    # the same program goes on: all is there
    assert json.loads(ran().stdout)["rows"] == told["rows"]
    (server / "program.py").write_text(SCRIPT.replace('BLUE = "blue"', 'BLUE = "red"'))
    changed = ran()
    assert "RunConflict" in changed.stderr
    assert "filters.own.sha256" in changed.stderr
    continued = python_in(server, "generate", "runs/mine", "--set", "generate.target=9")
    assert continued.returncode == 2
    assert "a function of the Python program that began this run" in continued.stderr


def python_in(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "localinstruct", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(one) for one in text.split()]


@pytest.mark.slow
def test_what_progress_raises_stops_the_child(
    server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(server)

    def tired(event: li.ProgressEvent) -> None:
        if event.label == "kept rows":
            raise ValueError("enough")

    before = children_of(os.getpid())
    settings = {**FEW, "generate.target": 5000, "serve.max_num_seqs": 2}
    with pytest.raises(ValueError, match="enough"):
        li.generate("recipes/nano.yaml", name="half", settings=settings, progress=tired)
    assert children_of(os.getpid()) == before
    assert li.open_run("half").stages()["generate"].state == "begun"


@pytest.mark.slow
def test_ctrl_c_stops_the_child_and_what_is_kept_stays(server: Path) -> None:
    code = f"""
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
{SCRIPT.split("before =")[0]}
def show(event):
    if event.label == "kept rows":
        print(event.done, flush=True)
li.generate("recipes/nano.yaml", name="cut", settings={{**{FEW!r}, "generate.target": 5000}},
            method=mine, options={{"words": "Another"}}, progress=show)
"""
    (server / "program.py").write_text(code)
    with subprocess.Popen(
        [sys.executable, "program.py"],
        cwd=server,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        lines = iter(program.stdout)
        assert next(lines)
        [child] = children_of(program.pid)
        began = time.monotonic()
        program.send_signal(signal.SIGINT)
        shown = [float(line) for line in lines]
        assert "KeyboardInterrupt" in program.stderr.read()
        assert program.wait() == -signal.SIGINT
        assert time.monotonic() - began < 20
    assert not Path(f"/proc/{child}").exists()
    kept = sum(1 for _ in li.RunReader(server / "runs" / "cut").rows())
    assert kept >= (shown or [0])[-1]


def test_a_child_that_is_killed_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    from localinstruct.worker import DuplicatesJob

    monkeypatch.setattr(DuplicatesJob, "__reduce__", lambda self: (os.abort, ()))
    with pytest.raises(li.LocalInstructError, match="ended without a word"):
        li.deduplicate(ROWS, measure="rouge_l")


def test_a_mistake_of_ours_in_the_child_comes_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from localinstruct.worker import DuplicatesJob

    monkeypatch.setattr(DuplicatesJob, "__reduce__", lambda self: (int, ("x",)))
    with pytest.raises(li.LocalInstructError, match=r"Traceback.*\n(.*\n)*ValueError: invalid"):
        li.deduplicate(ROWS, measure="rouge_l")


@pytest.mark.parametrize("beginning", ['{"say": "ha', '{"result": {"dropped": []}}', "{", ""])
def test_a_child_killed_in_the_middle_of_a_line_is_said_to_be(
    monkeypatch: pytest.MonkeyPatch, beginning: str
) -> None:
    from localinstruct.worker import DuplicatesJob

    code = f"import os, sys; os.write(int(sys.argv[2]), {beginning.encode()!r}); os.abort()"
    monkeypatch.setattr(DuplicatesJob, "__reduce__", lambda self: (exec, (code,)))
    with pytest.raises(li.LocalInstructError, match=r"ended without a word \(SIGABRT\)"):
        li.deduplicate(ROWS, measure="rouge_l")


@pytest.mark.parametrize("code", ["print('loud')", "import os; os.write(1, b'loud')"])
def test_what_is_printed_in_the_child_is_not_the_output_of_the_program(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], code: str
) -> None:
    from localinstruct.worker import DuplicatesJob

    monkeypatch.setattr(DuplicatesJob, "__reduce__", lambda self: (exec, (code,)))
    with pytest.raises(li.LocalInstructError, match="NoneType"):  # exec gives no job
        li.deduplicate(ROWS, measure="rouge_l")
    shown = capfd.readouterr()
    assert (shown.out, "loud" in shown.err) == ("", True)


class Watched:
    """A function that notes when it is unpickled: then its module is imported."""

    def __call__(self, *given: object) -> bool:
        return True

    def __reduce__(self) -> Any:
        return unpickled, ()


NOTES: list[str] = []


def unpickled() -> Watched:
    NOTES.append("function")
    return Watched()


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("kind", ["method", "keep"])
def test_functions_are_unpickled_in_the_seal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, fresh: bool
) -> None:
    from localinstruct import pipeline, workspace
    from localinstruct.worker import Given, StageJob

    def begun(sealed: bool) -> None:
        NOTES.append(f"sealed {sealed}")

    def ran(stage: object, recipe: li.Recipe, *rest: object) -> None:
        own = recipe.method.own if kind == "method" else recipe.filters.own
        NOTES.append(f"ran {own is not None and own.function is not None}")

    monkeypatch.setattr(workspace.seal, "begin", begun)
    monkeypatch.setattr(pipeline, "run_stage", ran)
    monkeypatch.setattr(pipeline, "require_ready", lambda *rest: None)
    monkeypatch.chdir(tmp_path)
    text = li.load_recipe("nano", {"sealed": True}).to_yaml()
    function = Given({"name": "watched", "sha256": "0"}, pickle.dumps(Watched()))
    job = StageJob(("generate",), recipe=text, workspace=str(ROOT), name="x", fresh=fresh)
    job = replace(job, method=function) if kind == "method" else replace(job, keep=function)
    for _ in range(2):
        NOTES.clear()
        job.work(Silent())
        assert NOTES[0] == "sealed True"
        assert set(NOTES[1:-1]) == {"function"}
        assert NOTES[-1] == "ran True"


# -- careless callers


@pytest.mark.parametrize("name", ["../q", "a/b", "", ".hidden", "x" * 65, "a\n"])
def test_a_name_that_leads_elsewhere_is_refused_before_anything_starts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="name: expected"):
        li.generate("nano", name=name, fresh=True)
    assert list(tmp_path.iterdir()) == []


def test_options_need_a_method_and_functions_must_be_functions() -> None:
    with pytest.raises(UsageError, match="options: expected a method"):
        li.generate("nano", options={"a": 1})
    with pytest.raises(UsageError, match="method: expected a function, found str"):
        li.generate("nano", method="alpaca")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="keep: expected a function, found str"):
        li.clean(["Name a bird."], keep="long")  # type: ignore[arg-type]


@pytest.mark.parametrize("single", ["abc", {"instruction": "a", "output": "b"}])
def test_a_single_row_is_no_list_of_rows(single: Any, tmp_path: Path) -> None:
    place = tmp_path / "rows.jsonl"
    place.write_text("what was there")
    for call in (li.clean, li.deduplicate, lambda rows: li.write_rows(rows, place)):
        with pytest.raises(UsageError, match=r"expected a list of rows, found a single"):
            call(single)
    assert place.read_text() == "what was there"


@pytest.mark.parametrize(
    "bad",
    [{"instruction": "a", "output": None}, {}, {"instruction": "É \0", "output": "b"}, 5, None],
)
def test_a_bad_row_is_named_by_its_number(bad: Any) -> None:
    for call in (li.clean, li.deduplicate):
        with pytest.raises(DataError, match=r"^row 2: expected"):
            call(["Name a bird.", bad])
    with pytest.raises(DataError, match="row 1: expected Unicode"):
        li.deduplicate(["a\ud800 b c"])


def test_a_file_of_another_ending_needs_a_format(tmp_path: Path) -> None:
    for name in ("rows.csv", "rows.json", "rows"):
        with pytest.raises(UsageError, match="or a format"):
            li.write_rows(["Name a bird."], tmp_path / name)
    assert li.write_rows([li.Instance("a", output="b")], tmp_path / "rows.JSONL") == 1
    with pytest.raises(DataError, match="surrogate"):
        li.write_rows([li.Instance("a\ud800", output="b")], tmp_path / "x.jsonl")


def test_a_filter_that_exits_ends_nothing() -> None:
    with pytest.raises(UsageError, match="raised SystemExit"):
        li.clean(["Name a bird."], "none", keep=lambda row: sys.exit(0))
