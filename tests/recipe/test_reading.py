"""A recipe from text and overrides: what was written is what a stage runs with, nulls too."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from rich.cells import cell_len

from localinstruct.config import Section, inner_section, yaml_mapping
from localinstruct.errors import DataError, RecipeError
from localinstruct.generation.inputs import seeds_of
from localinstruct.lines import wrap
from localinstruct.pipeline import recipe_of, settle_recipe
from localinstruct.recipe import (
    Recipe,
    find_recipe,
    load_recipe,
    packaged_workspace,
    reading,
    recipe_from_text,
    with_overrides,
)
from localinstruct.store.run import open_run
from tests.support.tiny_student import Recorded

SHIPPED = sorted((packaged_workspace() / "recipes").glob("*.yaml"))


def optional_keys(section: Section, before: str = "") -> Iterator[str]:
    """Every key that may be null in a section and in those that are set in it."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if type(None) in get_args(field.annotation) and not inner_section(field.annotation):
            yield f"{before}{name}"
        if isinstance(value, Section):
            yield from optional_keys(value, f"{before}{name}.")


def test_a_null_of_any_optional_key_reaches_the_stage(tmp_path: Path) -> None:
    nulls, refused = set[str](), set[str]()
    for path in SHIPPED:
        recipe = load_recipe(path)
        for key in optional_keys(recipe):
            try:
                without = with_overrides(recipe, (f"{key}=null",), path.name)
            except RecipeError:
                refused.add(key)
                continue
            stored = recipe_from_text(without.to_yaml(), "stored")
            assert stored == without, key
            *parents, last = key.split(".")
            at: Any = stored
            for parent in parents:
                at = getattr(at, parent)
            assert getattr(at, last) is None, key
            nulls.add(key)
    assert {"dataset.similar", "method.grounded.per_source", "generate.checker"} <= nulls
    assert len(nulls) > 15
    assert refused <= {key for key in refused if key.startswith(("method.", "models.", "then."))}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_recipe_comes_back_from_its_own_text(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe_from_text(recipe.to_yaml(), "stored") == recipe


def test_what_is_null_by_default_is_not_written() -> None:
    text = load_recipe(find_recipe("nano")).to_yaml()
    assert "null" not in text


def test_a_text_of_the_last_release_is_read_as_it_ran_then() -> None:
    """It lacks the keys that were null, and its stages ran with their defaults."""
    recipe = load_recipe(find_recipe("nano"))
    lines = with_overrides(recipe, ("dataset.similar=null",), "x").to_yaml().splitlines()
    before = "\n".join(line for line in lines if line.strip() != "similar: null")
    assert recipe_from_text(before, "stored").dataset.similar == recipe.dataset.similar


def test_a_process_reads_a_stored_recipe_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    validate = Recipe.model_validate.__func__  # type: ignore[attr-defined]

    def counted(cls: type[Recipe], data: object) -> Recipe:
        read.append(data)
        return validate(cls, data)  # type: ignore[no-any-return]

    recipe = load_recipe(find_recipe("nano"))
    reading._stored_recipe.cache_clear()
    with open_run(tmp_path / "run") as run:
        settle_recipe(run, recipe, tmp_path)
        monkeypatch.setattr(Recipe, "model_validate", classmethod(counted))
        first, _ = recipe_of(run)
        settle_recipe(run, with_overrides(first, (), "run"), tmp_path)
        again, _ = recipe_of(run)
    assert again is first
    assert len(read) == 1


def test_an_override_of_a_run_names_the_key_and_the_run() -> None:
    recipe = load_recipe(find_recipe("nano"))
    with pytest.raises(RecipeError, match=r"runs/x: generate\.target: .*found 'abc'"):
        with_overrides(recipe, ("generate.target=abc",), "runs/x")


def test_an_override_finds_a_file_of_the_workspace(tmp_path: Path) -> None:
    template = "{instruction}\n{input}\nA: \n---\n{instruction}\nA: "
    (tmp_path / "short.txt").write_text(template, "utf-8")
    recipe = load_recipe(find_recipe("nano"))
    changed = with_overrides(recipe, ("train.template=short.txt",), "runs/x", tmp_path)
    assert changed.train.template == template
    with pytest.raises(RecipeError, match=r"train\.template: gone\.txt: no such file"):
        with_overrides(recipe, ("train.template=gone.txt",), "runs/x", tmp_path)


def test_a_key_from_the_command_line_is_blamed_on_it_and_not_on_a_line() -> None:
    place = find_recipe("nano")
    for override in (
        "serve.pipeline_parallel_size=2",
        "generate.target=abc",
        "models.judge.name=x",
    ):
        with pytest.raises(RecipeError, match=rf"\(from --set {override}\)"):
            load_recipe(place, (override,))
    with pytest.raises(RecipeError) as caught:
        load_recipe(place, ("serve.port=80", "train.epoch=1"))
    assert "line" not in caught.value.message


def test_recipes_of_the_workspace_are_offered_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models.yaml").write_text("{}")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "bike.yaml").write_text("name: bike")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match="Recipes of this workspace: bike") as caught:
        find_recipe("bkie")
    assert caught.value.hint == "Did you mean bike?"


def test_seeds_may_say_how_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("asked;said\nName a tree.;Oak\nName a bird.;Owl\n;x\n")
    columns = "columns: {instruction: asked, output: said}"
    seeds = f"seeds={{path: s.csv, {columns}, on_bad_row: skip}}"
    recipe = with_overrides(load_recipe(SHIPPED[0]), (seeds,), "r")
    assert (recipe.seeds, recipe.seed_reading.on_bad_row) == ("s.csv", "skip")
    assert recipe_from_text(recipe.to_yaml(), "stored") == recipe
    told = Recorded()
    assert [row.output for row in seeds_of(recipe, tmp_path, told)] == ["Oak", "Owl"]
    assert told.said == ["s.csv: rows skipped: no task (1)"]
    named = with_overrides(load_recipe(SHIPPED[0]), ("seeds=s.csv",), "r")
    with pytest.raises(DataError) as caught:
        seeds_of(named, tmp_path)
    assert f"--set 'seeds={{path: s.csv, {columns}}}'" in caught.value.hint


BAD_YAML = {
    "about: one: two\n": ("a.yaml:1", "mapping values", 'key: "one: two"'),
    "a: 1\n  b: 2\n": ("a.yaml:2", "mapping values", "same number of blanks"),
    "a:\n\tb: 1\n": ("a.yaml:2", "cannot start any token", "Indent with blanks"),
    "name: x\nabout: 'x\nb: 1\n": ("a.yaml:2", "quoted scalar", "Close the quotation mark"),
    "a: [1, 2\nb: 3\n": ("a.yaml:2", "begins on line 1", "comma between the parts"),
    "a: {b: 1\n": ("a.yaml:1", "flow mapping", "comma between the parts"),
    "a: @x\n": ("a.yaml:1", "'@'", 'quotation marks: "@x"'),
    "a: *all\n": ("a.yaml:1", "undefined alias", 'key: "*all"'),
    "a: !python/x 1\n": ("a.yaml:1", "constructor for the tag", 'key: "!x"'),
    "a: 1\nb\nc: 1\n": ("a.yaml:3", "could not find", "key: value"),
    "- a\nb: 1\n": ("a.yaml:2", "block collection", "same number of blanks"),
    "a: 2001-13-01\n": ("a.yaml", "month must be", '"2001-13-01"'),
    "a: \x01\n": ("a.yaml:1", "U+0001", "Delete this character"),
    "a: " + "[" * 3000: ("a.yaml", "too deeply", "fewer brackets"),
    "about: " + "long words " * 900 + ": y: z\n": ("a.yaml:1", "mapping values", "one: two"),
    "値段: 百円: 消費税\n": ("a.yaml:1", "mapping values", "one: two"),
}


@pytest.mark.parametrize("text", BAD_YAML)
def test_bad_yaml_is_said_in_six_lines_with_its_place_and_what_to_type(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, said, typed = BAD_YAML[text]
    (tmp_path / "a.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError) as caught:
        load_recipe(Path("a.yaml"))
    assert caught.value.message.startswith(f"{place}: not valid YAML: ")
    assert said in caught.value.message
    assert typed in caught.value.hint
    top, *excerpt = caught.value.message.split("\n")
    lines = [*wrap(f"error: {top}", 80), *excerpt, *wrap(f"next: {caught.value.hint}", 80)]
    assert len(lines) <= 6
    assert max(map(cell_len, lines)) <= 80
    if excerpt:
        line, mark = excerpt
        assert mark.strip() == "^"
        assert cell_len(mark) <= cell_len(line) + 1


def test_the_mark_stands_below_the_place_also_in_wide_letters() -> None:
    with pytest.raises(RecipeError) as caught:
        yaml_mapping("値段: 百円: 消費税\n", "a.yaml")
    _, line, mark = caught.value.message.split("\n")
    assert cell_len(mark) - 1 == cell_len(line.rpartition(": ")[0])


@pytest.mark.parametrize("value", ["[1", "2001-13-01", "[" * 3000, "a: b: c"])
def test_a_value_of_set_that_is_no_yaml_is_said(value: str) -> None:
    with pytest.raises(RecipeError, match="is not a YAML value") as caught:
        load_recipe(find_recipe("nano"), (f"about={value}",))
    assert "quotation marks" in caught.value.hint
