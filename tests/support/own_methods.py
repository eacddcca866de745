"""A workspace with a method of its own, `echo`, for tests; and what is wrong with broken ones."""

import shutil
from pathlib import Path

import yaml

from tests.support.nano_server import ROOT

ECHO = '''"""Echo: another task like a seed, and its answer."""

from random import Random

import localinstruct as li


class Options(li.Section):
    """Options of echo."""

    longest: int = 80
    """Characters of a task, at most."""


def echo(pool: li.PoolView, options: Options, rng: Random) -> li.Episode:
    """One seed, one task, one answer."""
    seed = rng.choice(pool.seeds)
    number = rng.randrange(10_000)
    asked = f"Task: {seed.instruction}\\nAnother task, number {number}:"
    [[task]] = yield [li.Prompt(asked, stop=("\\n",))]
    text = task.text.strip()
    if len(text) > options.longest:
        return [li.Reject("parse", "too long", text)]
    [[answer]] = yield [li.Prompt(f"Task: {text}\\nAnswer:", stop=("\\n",))]
    return [li.Instance(text, output=answer.text, lineage=li.Lineage(parents=(seed.id,)))]
'''


def own_workspace(folder: Path, method: str = ECHO, **options: object) -> Path:
    """A workspace whose recipe `mine` names the method `echo`; the recipe's path."""
    for name in ("recipes", "methods"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "seeds", folder / "seeds", dirs_exist_ok=True)
    shutil.copy(ROOT / "models.yaml", folder)
    (folder / "methods" / "echo.py").write_text(method, "utf-8")
    recipe = yaml.safe_load((ROOT / "recipes" / "nano.yaml").read_text("utf-8"))
    recipe |= {"name": "mine", "method": {"echo": options}}
    path = folder / "recipes" / "mine.yaml"
    path.write_text(yaml.safe_dump(recipe), "utf-8")
    return path
