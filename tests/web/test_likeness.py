"""A row that a person wrote is compared with the others while the page goes on."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localinstruct.dataset import review_gate
from localinstruct.errors import ModelError
from localinstruct.recipe import load_recipe, packaged_workspace
from localinstruct.records import Instance, JsonObject, Kept
from localinstruct.store.run import Run, open_run, read_run
from localinstruct.web.review.desk import Desk
from localinstruct.web.review.likeness import Comparer, Comparing, Process, comparing_beside
from tests.support.reviewed import Window, desk, make_run
from tests.web.test_review_gate import Letters

TEXTS = ["Bake a flat bread.", "Find the coldest moon.", "Hide an odd number in a poem."]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of TEXTS with vectors of their letters, in a workspace without seeds."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "runs" / "small"
    settings = ("filters.rules=2", "novelty.threshold=0.97", "novelty.against=kept")
    recipe = load_recipe(packaged_workspace() / "recipes" / "nano.yaml", settings)
    with open_run(path) as run:
        run.put("recipe", recipe.to_yaml())
        run.put("workspace", str(packaged_workspace()))
        rows = [Instance(text, output="Yes, that is so.") for text in TEXTS]
        kept = [Kept(row, (), vector) for row, vector in zip(rows, encoded(TEXTS), strict=True)]
        run.commit_episode(0, kept, [], 10)
        run.start_stage("generate", "inputs")
        run.finish_stage("generate", {"kept": len(rows), "candidates": len(rows)})
    return path


def encoded(texts: Sequence[str]) -> np.ndarray:
    return Letters().encode(list(texts))


@pytest.fixture
def run(folder: Path) -> Iterator[Run]:
    with read_run(folder) as opened:
        yield opened


@pytest.fixture
def by_letters(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., JsonObject]:
    """The process' part, in this process, with letters for an encoder."""
    monkeypatch.setattr(review_gate, "LocalEncoder", Letters)
    monkeypatch.setattr(review_gate, "checked", lambda spec: Path())
    return Comparer(folder)


def with_comparing(run: Run, ask: Callable[..., JsonObject], who: str = "ada") -> Desk:
    made, recipe = desk(run, who), load_recipe(packaged_workspace() / "recipes" / "nano.yaml")
    novelty = recipe.novelty.model_copy(update={"threshold": 0.97, "against": "kept"})
    made.comparing = Comparing(novelty, ask)
    return made


def edit(window: Window, n: int, instruction: str, seen: int = 0, **more: str) -> str:
    texts = {"instruction": instruction, "input": "", "output": "Yes, that is so.", **more}
    return window.decide(n, "edit", seen=seen, **texts)


def standing(window: Window, n: int, seen: int = 1) -> str:
    return " ".join(window.get(f"/row/{n}/standing?seen={seen}").text.split())


def test_a_mended_row_that_is_like_another_is_said_with_that_row(
    run: Run, by_letters: Comparer
) -> None:
    window = Window(with_comparing(run, by_letters))
    page = edit(window, 1, "Find the coldest moons.")
    assert 'id="standing"' in page
    part = standing(window, 1)
    assert 'too similar</b>: <span dir="auto">Find the coldest moon.</span>' in part
    assert "Most like it, cosine 1.000" in part
    assert "above 0.97" in part
    assert 'href="/row/2"' in part
    assert "keep it all the same" in part
    assert "hx-get" not in part
    assert "1 row of" in window.get("/rows?state=left+out").text
    window.decide(1, "insist", seen=1)
    part = standing(window, 1, 2)
    assert "leaves this row out" not in part
    assert "Most like it, cosine 1.000" in part
    assert 'class="said"' not in window.get("/rows").text
    assert "No row meets all of this" in window.get("/rows?state=left+out").text


def test_a_mended_row_that_is_new_is_said_with_its_nearest_row(
    run: Run, by_letters: Comparer
) -> None:
    window = Window(with_comparing(run, by_letters))
    edit(window, 1, "Bake the flat bread.")  # like its own old text only
    part = standing(window, 1)
    assert "up to 0.97 counts as new" in part
    assert 'href="/row/' in part
    assert "leaves this row out" not in part


def test_an_answer_mended_alone_compares_nothing(run: Run) -> None:
    def never(key: str, hidden: Sequence[str]) -> JsonObject:
        raise AssertionError(key)

    window = Window(with_comparing(run, never))
    page = edit(window, 1, TEXTS[0], output="No, it is not so.")
    assert "Comparing" not in page
    assert "Most like it, " not in page


def test_rows_that_people_wrote_are_compared_with_each_other_until_one_goes(
    run: Run, by_letters: Comparer
) -> None:
    window = Window(with_comparing(run, by_letters))
    edit(window, 1, "Sing of a green field of hops.")
    standing(window, 1)
    edit(window, 2, "Sing of the green field of hops.")
    part = standing(window, 2, 2)
    assert "too similar</b>" in part
    assert 'href="/row/1"' in part  # the row that was mended, not its child
    window.decide(1, "drop", seen=1)
    assert "too similar</b>" not in standing(window, 2, 2)


def test_what_another_person_wrote_unseen_is_not_compared(run: Run, by_letters: Comparer) -> None:
    edit(Window(desk(run, "bob")), 1, "Sing of a green field of hops.")
    window = Window(with_comparing(run, by_letters))
    edit(window, 2, "Sing of the green field of hops.")
    part = standing(window, 2, 2)
    assert "hops" not in part
    assert "Most like it" in part


def test_without_the_encoder_the_page_says_so_and_what_to_type(
    run: Run, by_letters: Comparer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(spec: object) -> Path:
        raise ModelError("all-minilm-l6-v2: expected its weights, found none.", "Type this.")

    monkeypatch.setattr(review_gate, "checked", missing)
    window = Window(with_comparing(run, by_letters))
    edit(window, 1, "Find the coldest moons.")
    part = standing(window, 1)
    assert "likeness to the other rows is not known: all-minilm-l6-v2: expected" in part
    assert "found none. Type this." in part
    assert "leaves this row out" not in part


def test_a_slow_comparison_holds_up_nothing_and_is_said_on_a_later_page(
    run: Run, by_letters: Comparer
) -> None:
    may_go_on = list[bool]()

    def slow(key: str, hidden: Sequence[str]) -> JsonObject:
        while not may_go_on:
            time.sleep(0.01)
        return by_letters(key, hidden)

    ours = with_comparing(run, slow)
    window = Window(ours)
    page = edit(window, 1, "Find the coldest moons.")
    assert "Comparing what was written" in page
    assert 'hx-get="/row/1/standing?seen=1"' in page.replace("&amp;", "&")
    assert "look again" in page
    assert 'class="said"' not in window.get("/rows").text
    may_go_on.append(True)
    one = ours.decided[next(iter(ours.decided))]
    assert ours.comparing
    looked = ours.comparing.looked(one)
    assert looked
    assert looked.done.wait(20)
    until_news(ours)
    page = window.get("/rows").text
    assert "What you wrote is left out as it stands, too similar" in page
    assert 'href="/row/1"' in page.split("</div>")[0]
    window.get("/row/1")
    assert "What you wrote is left out" not in window.get("/rows").text


def until_news(ours: Desk) -> None:
    deadline = time.monotonic() + 20
    while not ours.late and time.monotonic() < deadline:
        ours.refresh()
        time.sleep(0.01)
    assert ours.late


def test_a_process_that_dies_is_started_again_once_and_then_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from localinstruct.web.review import likeness

    monkeypatch.setattr(likeness, "COMMAND", ("-c", "import sys; sys.stdin.readline()"))
    answer = Process(folder)("key", [])
    assert answer == {"problem": "The process that compares rows ended twice without an answer."}


def test_the_process_with_the_real_encoder_answers_and_ends_with_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = make_run(tmp_path / "runs" / "small")
    recipe = load_recipe(packaged_workspace() / "recipes" / "nano.yaml")
    with read_run(path) as run:
        ours = desk(run)
        window = Window(ours)
        with comparing_beside(path, recipe.novelty) as ours.comparing:
            edit(window, 2, "Name the opposite of the word hot, please.")
            part = standing(window, 2)
            process = ours.comparing._ask._process  # type: ignore[attr-defined]
            assert "is not the encoder that the run was made with" in part  # vectors of 4 numbers
        assert process.poll() is not None


def test_lines_of_the_process_are_whole_json(folder: Path, by_letters: Comparer) -> None:
    with read_run(folder) as run:
        ours = desk(run)
        edit(Window(ours), 1, "Find the coldest\u2028 moons.")
    [key] = ours.decided
    found: Any = json.loads(json.dumps(by_letters(key, [])))
    assert found["reject"]["reason"] == "too similar"
    assert by_letters("none", []) == {}
