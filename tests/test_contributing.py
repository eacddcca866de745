"""CONTRIBUTING's "Adding a method", done step by step in a copy of the house with a toy method,
which then runs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (
    (ROOT / "CONTRIBUTING.md")
    .read_text(encoding="utf-8")
    .partition("## Adding a method\n")[2]
    .partition("\n## ")[0]
)
PLAY = """
import asyncio
from pathlib import Path
from localinstruct.formats import read_instances
from localinstruct.progress import Silent
from localinstruct.recipe import load_recipe
from localinstruct.store.run import open_run
from localinstruct.generation.stage import converse, make_job
from tests.support.scripted import PLACES, THINGS, VERBS, HashEncoder, ScriptedTeacher

recipe = load_recipe(Path("recipes/toy.yaml"))
seeds = read_instances(Path(recipe.seeds), first_instance_only=True)
def words(rng):
    return f"{rng.choice(VERBS)} {rng.randint(2, 99)} {rng.choice(THINGS)} {rng.choice(PLACES)}"
teacher = ScriptedTeacher(words)
with open_run(Path("run")) as run:
    asyncio.run(converse(make_job(recipe, seeds, "digest"), run, teacher, HashEncoder(), Silent()))
    rows = list(run.kept())
assert len(rows) == recipe.generate.target == 12
assert {row.lineage.method for row in rows} == {"toy"}
assert {parent for row in rows for parent in row.lineage.parents} <= {seed.id for seed in seeds}
"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    for name in ("localinstruct", "seeds", "docs", "recipes"):
        shutil.copytree(
            ROOT / name,
            tmp_path / name,
            ignore=shutil.ignore_patterns("weights", "__pycache__", "*.png"),
        )
    (tmp_path / "tests" / "support").mkdir(parents=True)
    for name in ("models.yaml", "README.md", "tests/__init__.py", "tests/support/scripted.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def put(file: Path, after: str, line: str) -> None:
    """Insert a line after the first match of a pattern."""
    text = file.read_text(encoding="utf-8")
    found = re.search(after, text, re.MULTILINE | re.DOTALL)
    assert found, after
    file.write_text(f"{text[: found.end()]}{line}\n{text[found.end() :]}", encoding="utf-8")


def python(house: Path, *words: str) -> None:
    own = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(house), "HOME": str(house)}
    result = subprocess.run(
        [sys.executable, *words], cwd=house, env=own, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_steps_are_short_and_name_what_is_done_here() -> None:
    steps = re.findall(r"^\d\. .*?(?=^\d\. |^\n|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert len(steps) == 5
    assert sum(step.count("\n") for step in steps) < 20
    for step, words in zip(
        steps,
        (
            ("methods/NAME.py", "Section"),
            ("prompts/NAME/",),
            ("METHODS", "MethodSection", "import"),
            ("golden",),
            ("recipes/NAME.yaml", "make docs", "README"),
        ),
        strict=True,
    ):
        assert all(word in step for word in words), step


def test_a_method_added_as_it_says_runs(house: Path) -> None:
    package = house / "localinstruct" / "methods"
    shutil.copy(ROOT / "tests" / "data" / "toy_method.py", package / "toy.py")
    (package / "prompts" / "toy").mkdir()
    (package / "prompts" / "toy" / "another.txt").write_text(
        "Task: {task}\nA new task of the same kind:\n", "utf-8"
    )
    table = package / "__init__.py"
    put(
        table,
        r"^from localinstruct\.methods\.self_instruct.*?\n",
        "from localinstruct.methods.toy import ToyOptions, toy",
    )
    put(table, r"^METHODS: .*?\{\n", '    "toy": toy,')
    put(
        table,
        r"^class MethodSection\(Section\):.*?\n\n",
        '    toy: ToyOptions | None = None\n    """Another task like a seed."""',
    )
    recipe = re.sub(
        r"(?ms)^method:\n.*?\n\n",
        "method:\n  toy:\n    longest: 70\n\n",
        (house / "recipes" / "nano.yaml").read_text("utf-8"),
    )
    recipe = re.sub(
        r"(?m)^  target: \d+", "  target: 12", recipe.replace("name: nano\n", "name: toy\n")
    )
    (house / "recipes" / "toy.yaml").write_text(recipe, "utf-8")
    python(house, "-c", PLAY)
    python(house, "-m", "docs.generate")
    assert (
        "| `method.toy.longest` | whole number | `80` | Characters of a new task, at most. |"
        in (house / "docs/recipe.md").read_text("utf-8")
    )
