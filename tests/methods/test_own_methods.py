"""Own methods: in a recipe without being imported, played like ours, and wrong with a line."""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from localinstruct import readiness
from localinstruct.bundle.contents import Selection, collect
from localinstruct.bundle.pack import pack
from localinstruct.bundle.unpack import import_bundle
from localinstruct.cli.app import app
from localinstruct.errors import BundleError, RecipeError, RunConflict, UsageError
from localinstruct.generation.inputs import completed
from localinstruct.generation.stage import converse, make_job
from localinstruct.methods import MethodSection
from localinstruct.methods.own import OwnMethod, loaded, own
from localinstruct.own_code import digest_of, holding, name_of
from localinstruct.pipeline import STAGES, inputs_of, settle_recipe
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe, load_recipe, recipe_from_text
from localinstruct.records import (
    Completion,
    Episode,
    Instance,
    JsonObject,
    Lineage,
    PoolView,
    Prompt,
    Reject,
)
from localinstruct.store.run import open_run, read_run
from tests.generation.test_scheduler import SEEDS
from tests.support.episodes import play
from tests.support.nano_server import nano_workspace
from tests.support.openai_server import Reply, completion, serving_script
from tests.support.own_methods import ECHO, own_workspace
from tests.support.scripted import HashEncoder, ScriptedTeacher, few

TOUCHES = "from pathlib import Path\nPath(__file__).with_suffix('.imported').touch()\n"
TASKS = ("List", "Compare", "Rank"), ("rivers", "ferns", "kettles"), ("in Peru", "at sea")


def task(rng: Random) -> str:
    verb, thing, place = (rng.choice(words) for words in TASKS)
    return f"{verb} {few(rng)} {thing} {place}"


def rows_of(recipe: Recipe, workspace: Path, folder: Path) -> list[Instance]:
    """The kept rows of a run in which a scripted teacher answers."""
    method = completed(recipe, None, SEEDS, workspace)  # type: ignore[arg-type]
    few_rows = recipe.generate.model_copy(update={"target": 12, "in_flight": 3})
    chosen = recipe.model_copy(update={"method": method, "generate": few_rows})
    with open_run(folder) as run:
        teacher = ScriptedTeacher(task)
        job = make_job(chosen, SEEDS, "digest")
        asyncio.run(converse(job, run, teacher, HashEncoder(), Silent()))
        return list(run.kept())


def test_a_recipe_names_it_with_its_options_and_it_is_played(tmp_path: Path) -> None:
    recipe = load_recipe(own_workspace(tmp_path, longest=60))
    assert recipe.method.name == "echo"
    rows = rows_of(recipe, tmp_path, tmp_path / "run")
    assert len(rows) >= 12
    assert {row.lineage.method for row in rows} == {"echo"}
    assert {row.lineage.parents[0] for row in rows} <= {seed.id for seed in SEEDS}
    again = rows_of(recipe, tmp_path, tmp_path / "again")
    assert [row.id for row in again] == [row.id for row in rows]


def test_the_run_keeps_its_name_place_and_digest(tmp_path: Path) -> None:
    recipe = load_recipe(own_workspace(tmp_path, longest=60))
    digest = hashlib.sha256(ECHO.encode()).hexdigest()
    kept = yaml.safe_load(recipe.to_yaml())["method"]
    assert kept == {
        "own": {
            "name": "echo",
            "file": "methods/echo.py",
            "sha256": digest,
            "options": {"longest": 60},
        }
    }
    assert recipe_from_text(recipe.to_yaml(), "stored") == recipe


def test_nothing_but_the_stage_imports_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = own_workspace(tmp_path, TOUCHES + ECHO)
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(path)
    stages = [stage.name for stage in STAGES]
    readiness.require(recipe, stages, tmp_path, Silent())
    for words in (["recipes", "list"], ["fit", "mine"]):
        result = CliRunner().invoke(app, words)
        assert result.exit_code in (0, 7), result.output
    assert "mine" in CliRunner().invoke(app, ["recipes", "list"]).output
    assert not (tmp_path / "methods" / "echo.imported").exists()
    completed(recipe, None, (), tmp_path)  # type: ignore[arg-type]
    assert (tmp_path / "methods" / "echo.imported").exists()


def test_an_unknown_name_is_compared_with_own_methods_too(tmp_path: Path) -> None:
    path = own_workspace(tmp_path)
    path.write_text(path.read_text().replace("echo:", "ehco:"))
    with pytest.raises(RecipeError, match=r"method\.ehco: unknown key; did you mean 'echo'"):
        load_recipe(path)
    path.write_text(path.read_text().replace("ehco:", "alpacca:"))
    with pytest.raises(RecipeError, match="did you mean 'alpaca'"):
        load_recipe(path)


def test_a_recipe_cannot_name_code_elsewhere(tmp_path: Path) -> None:
    path = own_workspace(tmp_path)
    data = yaml.safe_load(path.read_text())
    data["method"] = {"own": {"name": "echo", "file": "seeds/echo.py"}}
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(RecipeError, match=r"expected file: methods/echo\.py; found seeds/echo\.py"):
        load_recipe(path)


@pytest.mark.parametrize("name", ["alpaca", "self_instruct", "own"])
def test_an_own_file_with_one_of_our_names_is_refused_where_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = own_workspace(tmp_path)
    ours = "method={%s: {}}" % (name if name != "own" else "alpaca")
    text = load_recipe(path, (ours,)).to_yaml()
    (tmp_path / "methods" / f"{name}.py").write_text(ECHO.replace("def echo", f"def {name}"))
    assert load_recipe(path).method.name == "echo"  # another method may be used beside it
    monkeypatch.chdir(tmp_path)
    recipe_from_text(text, "stored")  # what a run keeps is read as it is
    path.write_text(path.read_text().replace("echo:", f"{name}:"))
    words = rf"method\.{name}: .* ours and .*methods/{name}\.py"
    with pytest.raises(RecipeError, match=words) as refused:
        load_recipe(path)
    assert f"as in my_{name}" in f"{refused.value.message} {refused.value.hint}"


@pytest.mark.parametrize("more", [{}, {"sha256": ""}, {"options": {"longest": 9}}])
def test_an_entry_written_by_hand_is_given_the_digest_of_its_file(
    tmp_path: Path, more: JsonObject
) -> None:
    path = own_workspace(tmp_path)
    data = yaml.safe_load(path.read_text())
    data["method"] = {"own": {"name": "echo", "file": "methods/echo.py", **more}}
    path.write_text(yaml.safe_dump(data))
    recipe = load_recipe(path)
    assert recipe.method.own
    assert recipe.method.own.sha256 == hashlib.sha256(ECHO.encode()).hexdigest()
    (tmp_path / "methods" / "echo.py").write_text(ECHO + "# changed\n")
    with pytest.raises(RunConflict, match="has changed since"):
        completed(recipe, None, (), tmp_path)  # type: ignore[arg-type]
    stored = recipe.to_yaml().replace(recipe.method.own.sha256, "''")
    old = recipe_from_text(stored, "stored").method.own  # a run keeps what it began with
    assert old
    assert old.sha256 == ""


def test_runs_made_before_there_were_own_methods_are_as_fresh_as_before(tmp_path: Path) -> None:
    recipe = load_recipe(own_workspace(tmp_path))
    plain = recipe.model_copy(update={"method": MethodSection.model_validate({"alpaca": {}})})
    assert "own" not in plain.method.model_dump(mode="json")
    assert "own" not in plain.filters.model_dump(mode="json")


def test_changed_code_is_a_changed_recipe(tmp_path: Path) -> None:
    path = own_workspace(tmp_path)
    first = load_recipe(path)
    with open_run(tmp_path / "runs" / "mine") as run:
        settle_recipe(run, first, tmp_path)
        before = inputs_of(STAGES[0], first, run)
        run.record(0, 0, 0, {}, "", [Completion("x")])
        (tmp_path / "methods" / "echo.py").write_text(ECHO + "# another thought\n")
        changed = load_recipe(path)
        assert inputs_of(STAGES[0], changed, run) != before
        with pytest.raises(RunConflict, match=r"method\.own\.sha256") as refused:
            settle_recipe(run, changed, tmp_path)
    assert "--fresh" in refused.value.hint
    assert "--set method" not in refused.value.hint
    with pytest.raises(RunConflict, match=r"echo\.py: has changed since"):
        completed(first, None, (), tmp_path)  # type: ignore[arg-type]
    with pytest.raises(RunConflict, match=r"echo\.py: has changed since"):
        readiness.require(first, ["generate"], tmp_path, Silent())


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def echo(pool, options, rng)\n", r"echo\.py:1: expected a file .*SyntaxError"),
        ("import json\n1 / 0\n", r"echo\.py:2: expected a file .*ZeroDivisionError"),
        ("import nowhere_at_all\n", r"echo\.py:1: .*No module named 'nowhere_at_all'"),
        ("raise SystemExit(3)\n", r"echo\.py:1: .*SystemExit: 3"),
        ("def ehco(pool, options, rng): ...\n", r"expected a function echo\(pool.*mean 'ehco'"),
        ("echo = 3\n", "none of that name; it defines no function"),
        ("\ndef echo(pool): ...\n", r"echo\.py:2: expected echo\(pool, options, rng\), found echo"),
        (
            "def echo(pool, options: 'Nobody', rng): ...\n",
            r"echo\.py:1: expected annotations that can be read, found NameError",
        ),
        (
            ECHO.replace("longest", "shortest"),
            r"method\.echo: longest: unknown key; known: shortest",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(
    tmp_path: Path, source: str, words: str
) -> None:
    recipe = load_recipe(own_workspace(tmp_path, source, longest=60))
    assert recipe.method.own
    with pytest.raises(RecipeError, match=words):
        loaded(recipe.method.own, tmp_path)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    recipe = load_recipe(own_workspace(tmp_path))
    (tmp_path / "methods" / "echo.py").unlink()
    with pytest.raises(RecipeError, match=r"methods/echo\.py: expected the file of the own method"):
        readiness.require(recipe, ["generate"], tmp_path, Silent())


def no_generator(pool: PoolView, options: object, rng: Random) -> Any:
    return []


def yields_text(pool: PoolView, options: object, rng: Random) -> Any:
    yield "Name a river."
    return []


def yields_one(pool: PoolView, options: object, rng: Random) -> Any:
    yield Prompt("Name a river.")
    return []


def returns_nothing(pool: PoolView, options: object, rng: Random) -> Any:
    yield [Prompt("Name a river.")]


def returns_text(pool: PoolView, options: object, rng: Random) -> Any:
    yield [Prompt("Name a river.")]
    return ["Nile"]


def row_without_text(pool: PoolView, options: object, rng: Random) -> Any:
    yield [Prompt("Name a river.")]
    return [Instance("Name a river.", output=None)]  # type: ignore[arg-type]


def raises(pool: PoolView, options: object, rng: Random) -> Any:
    [[reply]] = yield [Prompt("Name a river.")]
    return [Instance(reply.text.split(":")[1])]


def given(function: Callable[..., Any], **options: Any) -> OwnMethod:
    """An own method as it is after a Python program gave it."""
    entry = {"name": name_of(function), "sha256": digest_of(function), "options": options}
    return loaded(holding(OwnMethod.model_validate(entry), function), Path())


@pytest.mark.parametrize(
    ("function", "line", "words"),
    [
        (no_generator, 0, "expected a generator (use yield), found that no_generator returned"),
        (yields_text, 1, "yielded str 'Name a river.'"),
        (yields_one, 1, "expected a list of Prompt, as in yield [Prompt('…')], found"),
        (returns_nothing, 0, "expected a list of rows and rejects, found"),
        (returns_text, 0, "returned str 'Nile' in its list"),
        (row_without_text, 0, "expected text, found that a row's output is NoneType None"),
        (raises, 2, "raises raised IndexError: list index out of range"),
    ],
)
def test_what_a_method_does_wrong_is_said_with_file_and_line(
    function: Callable[..., Any], line: int, words: str
) -> None:
    with pytest.raises(UsageError) as refused:
        play(own(PoolView(SEEDS), given(function), Random(1)), lambda prompt: "no colon")
    place = f"{__file__}:{function.__code__.co_firstlineno + line}: "
    assert refused.value.message.startswith(place), refused.value.message
    assert words in refused.value.message
    assert "--fresh" in refused.value.hint


def test_a_method_may_end_take_a_mapping_and_name_its_rows() -> None:
    class Twice:
        """Each seed once more, as often as there are seeds."""

        def __call__(self, pool: PoolView, options: JsonObject, rng: Random) -> Episode:
            yield [Prompt("x")]
            seed = pool.seeds[pool.number]
            text = f"{seed.instruction}, {options['please']}"
            return [Instance(text, lineage=Lineage(method="polite")), Reject("parse", "mine", "")]

        def episodes(self, seeds: list[Instance], options: JsonObject) -> int:
            return len(seeds)

    method = given(Twice(), please="please")
    assert method.name == "Twice"
    assert MethodSection(own=method).episodes(SEEDS) == len(SEEDS)
    _, [row, reject] = play(own(PoolView(SEEDS), method, Random(1)), lambda prompt: "")
    assert isinstance(row, Instance)
    assert isinstance(reject, Reject)
    assert (row.instruction[-6:], row.lineage.method) == ("please", "polite")


def test_a_digest_covers_what_a_function_uses_of_its_module(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        names: dict[str, Any] = {"__name__": "somewhere"}
        path = tmp_path / f"{hashlib.sha256(text.encode()).hexdigest()}.py"
        path.write_text(text)
        exec(compile(text, str(path), "exec"), names)
        return digest_of(names["method"])

    base = "LIMIT = 3\ndef helper(): return 1\ndef method(): return helper() + LIMIT\n"
    assert digest(base) == digest("# a comment elsewhere\n" + base + "def other(): return 5\n")
    assert digest(base) != digest(base.replace("return 1", "return 2"))
    assert digest(base) != digest(base.replace("LIMIT = 3", "LIMIT = 4"))
    assert digest(base) != digest(base.replace("+ LIMIT", "- LIMIT"))


USES = """
import functools, re
from dataclasses import dataclass
BAD = frozenset({"alpha", "beta", "gamma", "delta"})
NEST = (1, frozenset({"x", "y", "z"}), (str.lower, {"k", "l"}))
PROMPTS = ["Name a river.", {"more": ["Name a lake."]}]
PATTERN = re.compile("rivers?")
def helper(word): return len(word) > 3
def noticed(function):
    @functools.wraps(function)
    def inner(*args): return function(*args)
    return inner
class Base:
    def rule(self): return helper("deep")
@dataclass
class K(Base):
    limit: int = 3
    def a(self, row, tone="plain"): return BAD
    def b(self, row): return NEST
def nested(row): return all(helper(word) for word in row)
def keyword(row, *, least=4): return least
def lists(row): return PROMPTS, PATTERN.search(row)
def method(row): return K(), nested, NEST, BAD
@noticed
def wrapped(row): return "inside"
@functools.lru_cache
def cached(row): return helper(row)
def two(row, limit): return limit
part = functools.partial(two, limit=5)
names = ["K().a", "K().b", "K(7).a", "nested", "keyword", "lists", "method", "wrapped", "cached",
         "part", "K(7).rule", "K"]
"""
DIGESTS = """
import json, sys
from localinstruct.own_code import digest_of
sys.path.insert(0, sys.argv[1])
import uses
print(json.dumps({name: digest_of(eval(name, vars(uses))) for name in uses.names}))
"""


def digests(folder: Path, source: str, seed: int = 0) -> dict[str, str]:
    """Name -> digest of the functions of a module, in a process with this hash seed."""
    folder.mkdir(exist_ok=True)
    (folder / "uses.py").write_text(source)
    # another hash seed orders sets otherwise
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", DIGESTS, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_a_digest_is_the_same_in_every_process(tmp_path: Path) -> None:
    compiled = f"exec({USES!r}, globals())"  # without a source: constants of compiled code
    for source in (USES, compiled):
        first = digests(tmp_path, source, 1)
        assert all(digests(tmp_path, source, seed) == first for seed in (2, 3))
    moved = digests(tmp_path, f"# a comment\n\n{USES}\ndef other(): ...\n")
    assert moved == digests(tmp_path, USES)
    assert len({*moved.values()}) == len(moved)  # no two functions have one digest


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("> 3", "> 4", "K().a K().b K(7).a K(7).rule K nested method cached"),
        ('"delta"', '"delia"', "K().a K().b K(7).a K(7).rule K method"),
        ('"z"', '"zz"', "K().a K().b K(7).a K(7).rule K method"),
        ("a lake", "a pond", "lists"),
        ("rivers?", "lakes?", "lists"),
        ("least=4", "least=5", "keyword"),
        ("inside", "within", "wrapped"),
        ("limit=5", "limit=6", "part"),
        ("return limit", "return -limit", "part"),
        ("return function(*args)", "return function(*args) or 1", "wrapped"),
    ],
)
def test_a_change_of_what_a_function_uses_changes_its_digest(
    tmp_path: Path, old: str, new: str, changed: str
) -> None:
    before, after = digests(tmp_path, USES), digests(tmp_path, USES.replace(old, new))
    assert {name for name in before if before[name] != after[name]} == {*changed.split()}


# -- over the air gap


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    contents = collect(
        Selection(recipes=[str(own_workspace(tmp_path / "here"))]), tmp_path / "here"
    )
    assert [item.kind for item in contents.items if item.path == "methods/echo.py"] == ["method"]
    pack(contents, tmp_path / "bundle", Silent(), 2**20, None)
    return tmp_path / "bundle"


def test_a_bundle_with_a_method_is_imported_only_with_leave(packed: Path, tmp_path: Path) -> None:
    there, digest = tmp_path / "there", hashlib.sha256(ECHO.encode()).hexdigest()
    with pytest.raises(BundleError, match=f"methods/echo.py, SHA-256 {digest}") as refused:
        import_bundle(packed, there, Silent())
    assert "--allow-code" in refused.value.hint
    assert not (there / "methods").exists()
    words = ["bundle", "import", str(packed), str(there)]
    result = CliRunner().invoke(app, words, input="yes\n")  # a pipe is no person
    assert isinstance(result.exception, BundleError)
    assert CliRunner().invoke(app, [*words, "--allow-code"]).exit_code == 0
    assert (there / "methods" / "echo.py").read_text() == ECHO
    assert load_recipe(there / "recipes" / "mine.yaml").method.name == "echo"
    import_bundle(packed, there, Silent())  # what is there already is not asked about again


@pytest.mark.parametrize(("typed", "taken"), [("yes", True), ("y", False), (None, False)])
def test_at_a_terminal_it_asks_with_the_digest(
    packed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: str | None,
    taken: bool,
) -> None:
    from localinstruct import console

    monkeypatch.setattr(console, "is_typed", lambda: True)
    monkeypatch.setattr(console, "ask", lambda prompt: typed)
    words = ["bundle", "import", str(packed), str(tmp_path / "there")]
    result = CliRunner().invoke(app, words)
    assert (result.exit_code == 0) == taken
    assert (tmp_path / "there" / "methods" / "echo.py").exists() == taken
    assert hashlib.sha256(ECHO.encode()).hexdigest() in result.stderr


def test_a_method_of_a_python_program_cannot_be_packed(tmp_path: Path) -> None:
    path = own_workspace(tmp_path)
    data = yaml.safe_load(path.read_text())
    data["method"] = json.loads(MethodSection(own=given(raises)).model_dump_json())
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(BundleError, match="came from a Python program"):
        collect(Selection(recipes=[str(path)]), tmp_path)
    with pytest.raises(RunConflict, match="a function of the Python program"):
        completed(load_recipe(path), None, (), tmp_path)  # type: ignore[arg-type]


# -- from the command line


def test_a_broken_file_ends_the_command_before_a_teacher_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own_workspace(tmp_path, "import json\n1 / 0\n")
    result = CliRunner().invoke(app, ["generate", "mine"])
    assert isinstance(result.exception, RecipeError)
    assert f"{tmp_path}/methods/echo.py:2: expected a file" in result.exception.message
    assert result.exception.exit_code == 2


@pytest.mark.slow
def test_the_command_line_generates_with_it_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reply(path: str, request: dict[str, Any], count: int) -> Reply:
        return 200, completion(task(Random(request["prompt"])))

    socket = Path(tempfile.mkdtemp(dir="/tmp"), "s")
    with serving_script(socket, reply):
        monkeypatch.chdir(nano_workspace(tmp_path / "here", f"unix://{socket}"))
        own_workspace(tmp_path / "there", longest=60)
        for name in ("recipes/mine.yaml", "methods/echo.py"):
            Path(name).parent.mkdir(exist_ok=True)
            shutil.copy(tmp_path / "there" / name, name)
        few_rows = ["--set", "generate.checker=null", "--set", "filters.set=none", "--json"]
        first = CliRunner().invoke(
            app, ["generate", "mine", *few_rows, "--set", "generate.target=5"]
        )
        assert first.exit_code == 0, first.output
        told = json.loads(first.stdout)
        assert told["result"]["kept"] >= 5
        more = CliRunner().invoke(app, ["generate", "runs/mine", "--set", "generate.target=9"])
        assert more.exit_code == 0, more.output
        shown = CliRunner().invoke(app, ["preview", "mine", *few_rows, "--rows", "2"])
        assert {row["lineage"]["method"] for row in _kept(shown.stdout)} == {"echo"}
    with read_run(Path("runs/mine")) as run:
        rows = list(run.kept())
    assert len(rows) >= 9
    assert {row.lineage.method for row in rows} == {"echo"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "code", "words"),
    [
        ('import os\nprint("loaded")\nos.write(1, b"raw")\n' + ECHO, 0, "loaded"),
        (
            ECHO.replace("    seed = ", "    raise SystemExit(0)\n    seed = "),
            2,
            "raised SystemExit",
        ),
    ],
    ids=["prints", "exits"],
)
def test_an_own_method_has_no_say_in_stdout_and_exit_code(
    method: str, code: int, words: str, tmp_path: Path
) -> None:
    def reply(path: str, request: dict[str, Any], count: int) -> Reply:
        return 200, completion(task(Random(request["prompt"])))

    socket = Path(tempfile.mkdtemp(dir="/tmp"), "s")
    with serving_script(socket, reply):
        home = nano_workspace(tmp_path / "here", f"unix://{socket}")
        own_workspace(tmp_path / "there", method, longest=60)
        for name in ("recipes/mine.yaml", "methods/echo.py"):
            (home / name).parent.mkdir(exist_ok=True)
            shutil.copy(tmp_path / "there" / name, home / name)
        settings = ("generate.checker=null", "filters.set=none", "generate.target=3")
        words_of_settings = [word for setting in settings for word in ("--set", setting)]
        ended = subprocess.run(
            [
                sys.executable,
                "-m",
                "localinstruct",
                "generate",
                "mine",
                *words_of_settings,
                "--json",
            ],
            cwd=home,
            capture_output=True,
            text=True,
        )
    assert ended.returncode == code, ended.stderr
    assert words in ended.stderr
    if code:
        assert ended.stdout == ""
    else:
        assert json.loads(ended.stdout)["result"]["kept"] >= 3


def _kept(told: str) -> list[JsonObject]:
    return [row for episode in json.loads(told)["episodes"] for row in episode["kept"]]


@pytest.mark.parametrize(
    ("beside", "line", "words"),
    [
        ("words.py", "import words", "words lies beside it"),
        ("words.py", "from words import some", "words lies beside it"),
        ("parts/__init__.py", "from parts.more import some", "parts lies beside it"),
        ("", "import no_such_package_here", "pip install no_such_package_here"),
        ("", "from random import no_such_name", "look at it alone"),
        ("", "1 / 0", "look at it alone"),
    ],
)
def test_an_import_that_fails_has_a_way_out_that_leads_out(
    tmp_path: Path, beside: str, line: str, words: str
) -> None:
    recipe = load_recipe(own_workspace(tmp_path, f"{line}\n{ECHO}", longest=60))
    if beside:
        (tmp_path / "methods" / beside).parent.mkdir(exist_ok=True)
        (tmp_path / "methods" / beside).touch()
    with pytest.raises(RecipeError) as caught:
        completed(recipe, None, SEEDS, tmp_path)  # type: ignore[arg-type]
    assert words in caught.value.hint
