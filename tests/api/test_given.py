"""What a program gives is checked, and errors speak its words."""
# ruff: noqa: E501 (tables: one case per line)

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import localinstruct as li
from localinstruct.api.given import in_python
from localinstruct.errors import RecipeError, UsageError

API: Any = li
"""The package without its types, as programs use it that are not checked."""
ROWS = [{"instruction": "Say a.", "output": "a"}]
NANO = Path(__file__).parents[2] / "recipes" / "nano.yaml"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Use another --name, or start over with --fresh.", "Use another name=, or start over with fresh=True."),
        ("  - another run: --name NEW-NAME\n  - x: add --redo", '  - another run: name="NEW-NAME"\n  - x: add redo=True'),
        ("take what is there: --set generate.target=5", 'take what is there: settings={"generate.target": 5}'),
        ("x: bad (from --set dataset.from=[1, 2])", 'x: bad (from settings={"dataset.from": [1, 2]})'),
        ("x: bad (from --set a.b=null)", 'x: bad (from settings={"a.b": None})'),
        ("Look: localinstruct show runs/x --rejects --name y", "Look: localinstruct show runs/x --rejects --name y"),
        ("Look: localinstruct run R --set a=1. Then: --fresh", "Look: localinstruct run R --set a=1. Then: fresh=True"),
        ("--named, --refresh and a-name", "--named, --refresh and a-name"),
    ],
)  # fmt: skip
def test_options_become_parameters_and_commands_stay(text: str, words: str) -> None:
    assert in_python(text) == words


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: API.load_recipe(5), "name"),
        (lambda: API.load_recipe(NANO, 5), "settings"),
        (lambda: API.load_recipe(NANO, ["seed=1"]), "settings"),
        (lambda: API.load_recipe(NANO, {5: 1}), "settings"),
        (lambda: API.load_recipe(NANO, {"seed": object()}), "settings"),
        (lambda: API.open_run(None), "run"),
        (lambda: API.read_rows(5), "path"),
        (lambda: API.read_rows("x.jsonl", columns=["a"]), "columns"),
        (lambda: API.read_rows("x.jsonl", on_report=5), "on_report"),
        (lambda: API.write_rows(ROWS, 5), "path"),
        (lambda: API.write_rows(5, "o.jsonl"), "rows"),
        (lambda: API.write_rows(ROWS, "o.jsonl", 5), "format"),
        (lambda: API.clean(None), "rows"),
        (lambda: API.clean(ROWS, 5), "rules"),
        (lambda: API.clean(ROWS, ["a"]), "rules"),
        (lambda: API.clean(ROWS, keep=5), "keep"),
        (lambda: API.deduplicate(5), "rows"),
        (lambda: API.deduplicate(ROWS, encoder=5), "encoder"),
        (lambda: API.deduplicate(ROWS, progress=5), "progress"),
        (lambda: API.generate(None), "recipe or run"),
        (lambda: API.generate(NANO, name=5), "name"),
        (lambda: API.generate(NANO, settings=5), "settings"),
        (lambda: API.generate(NANO, method=lambda p, o, r: None, options=5), "options"),
        (lambda: API.generate(NANO, progress=5), "progress"),
        (lambda: API.train(5), "recipe or run"),
        (lambda: API.evaluate(None), "recipe or run"),
    ],
)
def test_a_wrong_type_is_our_error_and_names_its_parameter(
    call: Callable[[], object], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        call()
    assert caught.value.message.startswith(f"{name}: expected")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dataset.from": None}, "dataset.from: input should be a valid list"),
        ({"dataset.from": [{"pth": "x"}]}, "dataset.from.0.pth: unknown key; did you mean 'path'?"),
        ({"dataset.sources": None}, "dataset.sources: input should be a valid list"),
    ],
)
def test_a_key_is_named_as_it_was_written(settings: dict[str, object], words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        li.load_recipe(NANO, settings)
    assert words in caught.value.message
    assert "settings=" in caught.value.message
    assert "--set" not in caught.value.message
