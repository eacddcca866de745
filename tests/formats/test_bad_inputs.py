"""The kept corpus of bad files: each through its reader, which says the right line; the torture
runs the whole program on it."""

from pathlib import Path

import pytest

from localinstruct.config import load_yaml
from localinstruct.errors import RecipeError
from localinstruct.formats import read as read_module
from localinstruct.recipe import load_recipe
from tests.torture.inputs import CORPUS, LINE_BYTES, MADE, cases, read

KEPT = [case for case in cases() if case not in MADE]


def test_every_file_is_read_or_refused_as_its_index_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_module, "MAX_LINE_BYTES", LINE_BYTES)
    wrong = []
    for case in cases():
        path = tmp_path / case.called
        path.write_bytes(case.data)
        wrong += [f"{case.name}: {problem}" for problem in read(case, path)]
        path.unlink()
    assert wrong == []


def test_the_corpus_is_large_distinct_and_all_in_its_index() -> None:
    files = {
        path.relative_to(CORPUS).as_posix() for path in CORPUS.rglob("*") if path.is_file()
    } - {"index.yaml"}
    assert files == {case.name for case in KEPT}
    refused = [case for case in KEPT if case.exit]
    assert len({case.data for case in refused}) >= 300
    assert len([case for case in refused if case.line]) >= 300
    assert len(KEPT) - len(refused) >= 40, "files that must be read well"
    assert sum(len(case.data) for case in KEPT) < 2**20


def test_a_line_that_is_not_named_is_noticed(tmp_path: Path) -> None:
    case = next(case for case in KEPT if case.line == 3 and case.called == "seeds.jsonl")
    path = tmp_path / case.called
    path.write_bytes(b"\n" + case.data)
    assert "line 3 is not in" in read(case, path)[0]


def test_a_value_of_many_parts_is_shown_in_short(tmp_path: Path) -> None:
    lists = ["a: &a [x, x, x, x, x, x, x, x]", "b: &b [*a, *a, *a, *a, *a, *a, *a, *a]"]
    (tmp_path / "recipe.yaml").write_text("\n".join([*lists, "name: [*b, *b, *b, *b, *b, *b, *b]"]))
    assert len(str(load_yaml(tmp_path / "recipe.yaml")["name"])) > 2000
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "recipe.yaml")
    assert "found [[['x', 'x'" in caught.value.message
    assert caught.value.message.count("'x'") <= 6**3
