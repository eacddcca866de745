"""Rows that people wrote pass the rules, and a second person decides unseen by the first."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from localinstruct.cli.app import app
from localinstruct.curate.filters import Filters
from localinstruct.dataset import review_gate
from localinstruct.dataset.review_gate import objections
from localinstruct.dataset.rows import RunRows
from localinstruct.models.catalog import ModelSpec
from localinstruct.records import Instance, Kept
from localinstruct.store.reviews import Decision, Review
from localinstruct.store.run import Run, open_run, read_run
from localinstruct.web.review.blind import joined, own_part, view
from localinstruct.web.review.desk import Desk
from tests.support.reviewed import Window, dataset_rows, desk, make_run, rows_of_kinds

ROWS = rows_of_kinds()
KEPT: dict[str, Any] = {"instruction": "What is 2 plus 2?", "input": ""}
ECHO = "What is 2 plus 2?"
FIRST_REJECT = 24


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_run(tmp_path / "runs" / "small")


@pytest.fixture
def run(folder: Path) -> Iterator[Run]:
    with read_run(folder) as opened:
        yield opened


@pytest.fixture
def ours(run: Run) -> Desk:
    return desk(run)


def made(folder: Path) -> tuple[str, dict[str, Instance]]:
    """What `dataset` says, and its rows by their instruction."""
    done = CliRunner().invoke(app, ["dataset", str(folder)])
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split()), {row.instruction: row for row in dataset_rows(folder)}


def test_a_mended_row_that_breaks_a_rule_is_said_at_once_and_left_out(
    folder: Path, ours: Desk
) -> None:
    window = Window(ours)
    page = window.decide(2, "edit", output=ECHO, **KEPT)
    assert "the data set leaves it out as it stands: echo" in page
    assert "<b>echo</b>" in page
    assert "the output is the instruction" in page
    assert "1 row of" in window.get("/rows?state=left+out").text
    said, rows = made(folder)
    assert ECHO not in rows
    assert "Left out of the rows that people wrote: 1 echo" in said
    assert "State: left out" in said
    lines = (folder / "dataset" / "rejects.jsonl").read_text().splitlines()
    [reject] = [one for one in map(json.loads, lines) if one["reason"] == "echo"]
    assert (reject["stage"], ROWS[1].id in reject["detail"]) == ("review", True)


def test_a_person_may_insist_and_that_is_recorded_until_the_text_changes(
    folder: Path, run: Run, ours: Desk
) -> None:
    window = Window(ours)
    window.decide(2, "edit", output=ECHO, **KEPT)
    window.decide(2, "insist", seen=1)
    review = ours.reviews.state(ROWS[1].id)[0]
    assert (review.verdict, review.despite) == ("keep", ("echo",))
    assert "although: echo" in window.get("/row/2").text
    assert "leaves this row out" not in window.get("/row/2").text
    assert made(folder)[1][ECHO].output == ECHO
    assert [row.output for row in RunRows(run).as_reviewed() if row.instruction == ECHO] == [ECHO]
    window.decide(2, "edit", seen=2, output="", **KEPT)  # what was confirmed was another text
    assert ours.reviews.state(ROWS[1].id)[0].despite == ()
    assert "leaves this row out" in window.get("/row/2").text
    stale = CliRunner().invoke(app, ["show", str(folder)]).output
    assert "STALE" in stale
    assert ECHO not in made(folder)[1]
    assert [row for row in RunRows(run).as_reviewed() if row.instruction == ECHO] == []


def test_taking_a_reject_back_confirms_its_own_reason_alone(folder: Path, ours: Desk) -> None:
    window = Window(ours)
    window.decide(FIRST_REJECT, "keep", query="?kind=rejects")  # a refusal: the person has read it
    page = window.decide(FIRST_REJECT + 1, "keep", query="?kind=rejects")  # has no answer
    assert "leaves it out as it stands" in page
    _, rows = made(folder)
    assert "Now say no." in rows
    assert "What is 1 plus 1." not in rows


def test_a_reject_taken_back_in_the_list_says_at_once_what_it_lacks(ours: Desk) -> None:
    window = Window(ours)
    page = window.decide(FIRST_REJECT + 1, "keep", query="?kind=rejects", back="list")
    assert "leaves it out as it stands: empty output. Open it: e mends it." in page
    assert page.count('class="said"') == 1


def test_mended_rows_are_repaired_and_secrets_masked_as_all_others(
    folder: Path, ours: Desk
) -> None:
    key = "Pay with 4539 1488 0343 6467."
    Window(ours).decide(2, "edit", output=f"It is four.\u200b {key}", **KEPT)
    row = made(folder)[1][ECHO]
    assert "\u200b" not in row.output
    assert "4539 1488" not in row.output
    assert row.lineage.parents == (ROWS[1].id,)
    shown = CliRunner().invoke(app, ["show", str(folder), "--lineage", row.id])
    assert ROWS[1].id in shown.output, shown.output


def test_all_that_is_wrong_is_named_and_confirmed_reasons_are_passed_over() -> None:
    bad = Instance("Hi.", output="Hi.", system="")
    reasons = [one.reason for one in objections(bad, Filters())[1]]
    assert "too short" in reasons
    left = [one.reason for one in objections(bad, Filters(), ["too short"])[1]]
    assert left == [reason for reason in reasons if reason != "too short"]
    assert objections(bad, Filters(), reasons)[1] == []


def test_a_rule_for_teachers_alone_is_not_asked_of_people() -> None:
    row = Instance(
        "Where is the library's catalogue?", output="At https://www.city-library.net/books/7."
    )
    assert objections(row, Filters())[1] == []
    assert objections(row, Filters(enable=["invented_url"]))[1] != []


class Letters:
    """Texts as counts of their letters: what has equal letters is alike."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def encode(self, texts: list[str]) -> np.ndarray:
        rows = np.array([[1 + t.lower().count(c) for c in "abcdefghijklmnop"] for t in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def run_of_letters(path: Path, texts: list[str]) -> None:
    """The small run with rows of these texts and vectors of their letters, seeds left aside."""
    with open_run(path) as run:
        vectors = Letters().encode(texts)
        rows = [Instance(text, output="Yes, that is so.") for text in texts]
        run.commit_episode(
            0, [Kept(row, (), vector) for row, vector in zip(rows, vectors, strict=True)], [], 1
        )


def test_a_mended_row_is_compared_with_rows_that_stay_and_not_with_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from localinstruct.progress import Silent
    from localinstruct.recipe import load_recipe, packaged_workspace
    from localinstruct.store.reviews import Reviewed

    monkeypatch.setattr(review_gate, "LocalEncoder", Letters)
    monkeypatch.setattr(review_gate, "checked", lambda spec: Path())
    texts = ["Bake a flat bread.", "Find the coldest moon.", "Hide an odd number in a poem."]
    run_of_letters(tmp_path / "run", texts)
    recipe = load_recipe(packaged_workspace() / "recipes" / "nano.yaml")
    novelty = recipe.novelty.model_copy(update={"against": "kept", "threshold": 0.97})
    recipe = recipe.model_copy(update={"novelty": novelty})

    def verdict(place: int, text: str, **more: object) -> str:
        with read_run(tmp_path / "run") as run:
            before = run.kept_row(place)
            review = Review(edited={"instruction": text}, **more)  # type: ignore[arg-type]
            one = Reviewed(before.id, "row", before.to_dict(), review, 1)
            gate = review_gate.ReviewGate(
                Filters(),
                review_gate.Likeness(recipe, run, packaged_workspace(), {before.id: one}, Silent()),
            )
            found = gate(Instance(text, output=before.output), one, before)
            return found.reason if not isinstance(found, Instance) else ""

    assert verdict(0, "Bake the flat bread.") == ""  # like its own old text only
    assert verdict(0, "Find the coldest moons.") == "too similar"
    assert verdict(0, texts[1]) == "exact repetition"
    assert verdict(0, "Find the coldest moons.", despite=("too similar",)) == ""
    assert verdict(0, texts[0]) == ""  # its text is as it was compared already


def test_without_the_encoder_it_is_said_that_rows_are_not_compared(
    folder: Path, ours: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from localinstruct.errors import ModelError

    def missing(spec: ModelSpec) -> Path:
        raise ModelError(f"{spec.name}: is not here.")

    monkeypatch.setattr(review_gate, "checked", missing)
    Window(ours).decide(2, "edit", instruction="What is twice two, then?", input="", output="4")
    from localinstruct.dataset.stage import run as make
    from localinstruct.pipeline import recipe_of

    said = list[str]()

    class Heard:
        def say(self, text: str) -> None:
            said.append(text)

        def update(self, label: str, done: float, total: float, note: str = "") -> None:
            pass

    with open_run(folder) as writable:
        recipe, workspace = recipe_of(writable)
        make(recipe, writable, Heard(), workspace=workspace)
    assert any("not compared with the others" in words for words in said)
    assert "What is twice two, then?" in {row.instruction for row in dataset_rows(folder)}


def test_the_search_finds_the_words_of_an_edit_until_it_is_undone(ours: Desk) -> None:
    window = Window(ours)

    def found(words: str) -> bool:
        return 'href="/row/2' in window.get(f"/rows?q={words}").text

    assert not found("quadruple")
    window.decide(2, "edit", output="A quadruple of ones.", **KEPT)
    assert found("quadruple")
    assert found("quadr")
    assert found("quadruple plus")  # a word of the edit and one that stayed
    window.decide(2, "edit", seen=1, output="A quartet of ones.", **KEPT)
    assert not found("quadruple")
    assert found("quartet")
    window.post("/undo")
    window.post("/undo")
    assert not found("quartet")
    assert found("plus")


def test_the_search_finds_an_edit_made_elsewhere_and_in_a_reject(run: Run, ours: Desk) -> None:
    theirs = Window(desk(run))
    form = {"instruction": "Refuse the biscuit.", "input": "", "output": "No, thank you kindly."}
    theirs.decide(FIRST_REJECT, "edit", query="?kind=rejects", **form)  # type: ignore[arg-type]
    ours._looked = -10
    assert "1 reject of" in Window(ours).get("/rows?kind=rejects&q=biscuit").text
    assert "1 reject of" in Window(desk(run)).get("/rows?kind=rejects&q=biscuit").text


def test_a_second_person_sees_nothing_of_the_first_ones_verdict_before_the_own(
    run: Run, ours: Desk
) -> None:
    ada = Window(ours)
    ada.decide(1, "drop")
    ada.decide(2, "edit", output="An octopus has more.", **KEPT)
    ada.decide(3, "grade", grade="2")
    ada.decide(3, "tags", seen=3, tags="wrongish")
    bobs = desk(run, "bob")
    bob = Window(bobs)
    assert "Others have decided on 3 rows" in bob.get("/rows").text
    for path in ("/rows", "/row/1", "/row/2", "/row/3", "/rows?q=octopus", "/rows?tag=wrongish"):
        page = bob.get(path).text.split("</header>")[1].replace('name="q" value="octopus"', "")
        assert "octopus" not in page.replace('value="octopus"', "")
        assert '<b class="verdict-mark">' not in page
        assert "dropped</span>" not in page
        assert "wrongish" not in page.replace("tag=wrongish", "")
        assert 'aria-pressed="true"' not in page
        assert "What was decided" not in page
    for state in ("kept", "dropped", "edited", "labelled", "decided", "people differ"):
        assert "No row meets all of this" in bob.get("/rows", params={"state": state}).text
    assert "23 rows of" in bob.get("/rows?state=undecided").text
    assert "20 rows of" in bob.get("/rows?state=decided+by+nobody").text
    bob.decide(1, "keep", seen=1)
    bob.decide(2, "keep", seen=2)
    page = bob.get("/row/2").text
    assert "octopus" in page
    assert "What was decided (2)" in page
    assert bobs.reviews.opinions() == {
        "ada": {ROWS[0].id: "drop", ROWS[1].id: "keep"},
        "bob": {ROWS[0].id: "keep", ROWS[1].id: "keep"},
    }
    assert "1 row of" in bob.get("/rows?state=people+differ").text
    bob.post("/undo")
    assert "octopus" not in bob.get("/row/2").text
    alone = Window(desk(run, "ada"))
    assert "octopus" in alone.get("/row/2").text
    bobs.show_all()
    assert "octopus" in bob.get("/row/2").text


def test_labels_of_two_people_stand_beside_each_other_unseen(run: Run, ours: Desk) -> None:
    Window(ours).decide(3, "tags", tags="first")
    bob = Window(desk(run, "bob"))
    bob.decide(3, "tags", seen=1, tags="second")
    assert ours.reviews.state(ROWS[2].id)[0].tags == ("first", "second")
    assert "first" not in bob.get("/row/3").text.split('class="tags"')[1].split("</form>")[0]
    bob.decide(3, "clear", seen=2)
    assert ours.reviews.state(ROWS[2].id)[0].tags == ("first",)


def test_the_part_of_one_person_in_a_log_of_several() -> None:
    states = [
        Review(),
        Review(scores={"grade": 4}, tags=("a",)),
        Review(scores={"grade": 4, "correct": 2}, tags=("a", "b")),
        Review(scores={"grade": 1, "correct": 2}, tags=("b",)),
    ]
    people = ("bob", "ada", "bob")
    log = [
        Decision(n, "row", "grade", before, after, who, 0.0)
        for n, (before, after, who) in enumerate(
            zip(states, states[1:], people, strict=False), start=1
        )
    ]
    assert own_part(log, "bob") == Review(scores={"grade": 1})
    assert own_part(log, "ada") == Review(scores={"correct": 2}, tags=("b",))
    assert view(log, "carol") == (Review(), True)
    assert view(log[:1], "bob") == (states[1], False)
    assert view([], "bob") == (Review(), False)
    shared = Review(verdict="drop", tags=("a", "b"), better="first")
    after = joined(shared, Review(tags=("b",)), Review(verdict="keep", tags=("c",)))
    assert after == Review(verdict="keep", tags=("a", "c"), better="first")
