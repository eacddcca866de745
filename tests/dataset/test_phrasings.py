"""Self-Instruct's thirteen forms of a task as a dataset option."""

from localinstruct.dataset import stage
from localinstruct.dataset.phrasings import WITH_INPUT, WITHOUT_INPUT, rephrase
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe
from localinstruct.records import Instance, Lineage, Message
from localinstruct.store.run import Run
from tests.dataset.test_dataset import prepare, sides, store
from tests.support.tiny_student import recipe_data, rows

__all__ = ["store"]

ROWS = [Instance(f"Do {n}.", f"Text: a {n}\n\nb" if n % 2 else "", f"out {n}") for n in range(400)]


def test_all_thirteen_forms_are_drawn_and_by_the_row_alone() -> None:
    written = rephrase(ROWS)
    assert rephrase(ROWS[7:8])[0] == written[7]
    shapes = {
        row.instruction.replace(old.instruction, "{instruction}").replace(given, "{input}")
        for old, row in zip(ROWS, written, strict=True)
        for given in [next((g for g in forms(old.input) if g and g in row.instruction), "\0")]
    }
    assert shapes == {*WITH_INPUT, *WITHOUT_INPUT}
    assert (len(WITH_INPUT), len(WITHOUT_INPUT)) == (7, 6)


def forms(given: str) -> list[str]:
    return [given, given.removeprefix("Text: ").replace("\n\n", "\n")]


def test_answers_lineage_and_talks_stay() -> None:
    talk = Instance(
        "And then?", output="x", history=(Message("user", "a"), Message("assistant", "b"))
    )
    row = Instance("Say it.", "{instruction}", "y", lineage=Lineage(method="m", parents=("p",)))
    kept, changed = rephrase([talk, row])
    assert kept is talk
    assert (changed.output, changed.input, changed.lineage.parents, changed.lineage.method) == (
        "y",
        "",
        (row.id,),
        "m",
    )
    assert "Say it." in changed.instruction
    assert "{instruction}" in changed.instruction


def test_half_of_the_inputs_lose_their_only_field_name() -> None:
    odd = [row for row in rephrase(ROWS) if "b" in row.instruction]
    named = sum("Text:" in row.instruction for row in odd)
    assert len(odd) == 200
    assert 70 < named < 130
    two = rephrase([Instance(f"Do {n}.", "Text: a\nKind: b", "c") for n in range(50)])
    assert all("Text: a\nKind: b" in row.instruction for row in two)


def test_the_dataset_is_the_same_rows_on_the_same_sides_in_other_forms(store: Run) -> None:
    made = rows(60)
    plain = prepare(store, made)
    before = [[row.id for row in side] for side in sides(store)]
    recipe = Recipe.model_validate(recipe_data(dataset={"phrasing": "self-instruct"}))
    result = stage.run(recipe, store, Silent(), workspace=store.path.parent.parent)
    after = [[row.lineage.parents[0] for row in side] for side in sides(store)]
    assert after == before
    assert result["with_input"] == plain["with_input"] > 0
    assert not any(row.input for side in sides(store) for row in side)
    assert result["product"] != plain["product"]
