"""Pages of a review: what they show, what is decided there, and what becomes of it."""

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from localinstruct.cli.app import app
from localinstruct.errors import StoreError
from localinstruct.judge.labels import LabelledAnswer, LabelledPair, labels_of
from localinstruct.judge.people import agreements
from localinstruct.judge.rubric import packaged
from localinstruct.progress import Silent
from localinstruct.recipe import packaged_workspace
from localinstruct.states import states_of
from localinstruct.store.reviews import Review, Reviews, place
from localinstruct.store.run import Run, open_run, read_run
from localinstruct.web.review.desk import Desk
from localinstruct.web.review.look import difference, quoted
from localinstruct.web.review.query import Query, searched
from tests.support.reviewed import REJECTS, Window, dataset_rows, desk, make_run, rows_of_kinds

ROWS = rows_of_kinds()
GROUNDED, PAIR, MARKUP = 21, 22, 23
FIRST_REJECT = 24
AREA_END = "</textarea></label>"


class Attributes(HTMLParser):
    """Names of all attributes and tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.names, self.tags = set[str](), set[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}


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


def test_the_list_and_every_row_can_be_looked_at(ours: Desk) -> None:
    window = Window(ours)
    assert "23 rows" in window.get("/rows").text
    for n in range(1, 26):
        page = window.get(f"/row/{n}")
        assert page.status_code == 200
        assert len(re.findall("<h1|<main", page.text)) == 1
    assert window.get("/row/99").status_code == 404
    assert window.get("/row/-1").status_code == 404


def test_what_rows_hold_is_shown_as_text(ours: Desk) -> None:
    window = Window(ours)
    for path in ("/rows", f"/row/{MARKUP}", f"/row/{MARKUP}?edit=1", "/rows?q=<script>"):
        page = window.get(path).text
        assert not re.search("<script>|<img|<b>bold|</textarea><", page.replace(AREA_END, ""))
        if "edit" not in path:  # a field that is mended holds the letters themselves
            assert not re.search("[\x1b\u202e\x00]", page)
    page = window.get(f"/row/{MARKUP}").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "⟨U+001B⟩" in page
    assert "⟨U+202E⟩" in page
    parser = Attributes()
    parser.feed(page)
    assert {"href", "class"} <= parser.names
    assert not [name for name in parser.names if name == "style" or name.startswith("on")]
    assert parser.tags.isdisjoint({"img", "iframe", "object"})


def test_a_text_with_hidden_letters_is_not_changed_by_an_edit_beside_it(ours: Desk) -> None:
    window = Window(ours)
    page = window.get(f"/row/{MARKUP}?edit=1").text
    areas = dict(re.findall(r'(?s)<textarea name="(\w+)".*?>\n(.*?)</textarea>', page))
    texts = {name: unescape(text) for name, text in areas.items()}
    texts["output"] = "mended"
    window.decide(MARKUP, "edit", **texts)  # type: ignore[arg-type]
    assert ours.reviews.state(ROWS[22].id)[0].edited == {"output": "mended"}


def test_keep_drop_edit_and_undo_are_lines_of_a_log(ours: Desk) -> None:
    window = Window(ours)
    assert "What is 2 plus 2?" in window.decide(1, "keep")  # the next row
    window.decide(2, "drop")
    window.decide(3, "edit", instruction="What is 3 plus 3?", input="", output="six")
    page = window.get("/row/3").text
    assert "<ins>six</ins>" in page
    assert "<del>6</del>" in page
    window.post("/undo")
    window.post("/undo")
    states = [ours.reviews.state(ROWS[n].id)[0] for n in range(3)]
    assert states == [Review(verdict="keep"), Review(), Review()]
    log = ours.reviews.log()
    assert [one.action for one in log] == ["keep", "drop", "edit", "undo", "undo"]
    assert {one.who for one in log} == {"ada"}
    assert [one.undoes for one in log] == [None, None, None, 3, 2]
    assert log[1].before == Review()
    assert log[4].before == Review(verdict="drop")
    window.post("/undo")
    assert "nothing to undo" in window.post("/undo").text
    assert not ours.decided


def test_labels_tags_and_pairs(ours: Desk) -> None:
    window = Window(ours)
    blind = window.get(f"/row/{PAIR}").text
    assert "by the run" not in blind
    assert "An oak." in blind
    first = blind.index("An oak.") < blind.index("A rock.")
    page = window.decide(PAIR, "better", better="a" if first else "b")
    assert "chosen by the run · your choice" in page
    assert ours.reviews.state(ROWS[21].id)[0].better == "first"
    window.decide(1, "grade", grade="4")
    window.decide(1, "tags", seen=2, tags="sums, <easy>,, sums")
    assert ours.reviews.state(ROWS[0].id)[0].tags == ("<easy>", "sums")
    window.decide(2, "grade", correct="5", helpful="3")
    window.decide(2, "grade", seen=4, grade="99")
    assert "1 row of" in window.get("/rows?tag=sums").text
    beside = window.get("/row/2").text.split("You and the judge")[1]
    assert re.findall(r"<tr.*?</tr>", beside.split("</table>")[0])[1:] == [
        '<tr><th scope="row">correct</th><td class="num">5</td><td class="num">5</td></tr>'
    ]
    assert '<tr class="strong"><th scope="row">the whole</th>' in window.get("/row/1").text
    assert "3 rows of" in window.get("/rows?state=labelled").text
    assert "1 row of" in window.get("/rows?state=judge+differs").text  # 4 by a person, 2 by it
    rubric = packaged("helpful-correct")
    labels = labels_of(ours.reviews.since(0), rubric)
    answers = [one.label for one in labels if isinstance(one, LabelledAnswer)]
    assert answers == [4, 4]
    assert [one.better for one in labels if isinstance(one, LabelledPair)] == ["first"]


def test_pairs_stand_in_a_drawn_order(ours: Desk) -> None:
    from localinstruct.web.review.look import pair_of

    found = ours.index.at(PAIR)
    assert found is not None
    orders = {pair_of(found, Review(), seed).a_is_first for seed in range(20)}  # type: ignore[union-attr]
    assert orders == {True, False}


def test_a_decision_on_an_older_state_is_refused(run: Run, ours: Desk) -> None:
    one, other = Window(ours), Window(desk(run, "bob"))
    one.decide(1, "keep")
    page = other.decide(1, "drop")  # bob still saw no decision
    assert "another window" in page
    assert ours.reviews.state(ROWS[0].id)[0].verdict == "keep"
    page = other.decide(1, "drop", seen=1)
    assert "another window" not in page
    assert "Somebody else has decided" in one.post("/undo").text
    assert ours.reviews.state(ROWS[0].id)[0].verdict == "drop"


@pytest.mark.parametrize(
    ("address", "count"),
    [
        ("q=plus", 20),
        ("q=pl", 20),
        ('q="4 plus"', 1),
        ("q=plus nothing", 0),
        ("q=NEAR(oak) OR *:", 0),
        ("q=%00 - ^", 23),
        ("score_from=4.5", 4),
        ("likeness_from=0.75", 2),
        ("likeness_to=0.09", 2),
        ("words_from=2&words_to=2", 1),
        ("topic=sums", 1),
        ("source=a.txt", 1),
        ("state=undecided", 23),
        ("state=none&order=none&kind=none&words_from=x", 23),
        ("kind=rejects", 2),
        ("kind=rejects&reason=too similar", 1),
        ("kind=rejects&q=tea", 1),
        ("kind=rejects&likeness_from=0.9", 1),
    ],
)
def test_filters(ours: Desk, address: str, count: int) -> None:
    page = Window(ours).get(f"/rows?{address}").text
    found = re.search(r"([\d,]+) (?:row|reject)s?", page.split('<div class="found">')[1])
    assert found
    assert int(found[1]) == count


@pytest.mark.parametrize("order", ["", "likeness", "score", "length"])
@pytest.mark.parametrize("filters", ["", "q=plus&"])
def test_steps_go_through_a_query_in_its_order_both_ways(
    ours: Desk, order: str, filters: str
) -> None:
    query = Query.of({"order": order, "q": "plus" if filters else ""})
    listed = [one.n for one in ours.index.page(query, 0, 100)]
    there, back = list[int](), list[int]()
    here = None
    while (here := ours.index.step(query, here)) is not None:
        there.append(here.n)
    here = ours.index.at(listed[-1])
    while here is not None:
        back.append(here.n)
        here = ours.index.step(query, here, back=True)
    assert there == listed == back[::-1]
    assert len(listed) == (20 if filters else 23)


def test_words_without_blanks_between_them_are_found() -> None:
    assert searched("大きな犬") == '"大" "き" "な" "犬"*'
    assert searched(' "a b" c') == '"a b" "c"*'
    assert searched("--") == ""


def test_a_quotation_is_marked_in_its_passage_and_relatives_stand_beside(ours: Desk) -> None:
    window = Window(ours)
    assert "<mark>lantern\n is green</mark>" in window.get(f"/row/{GROUNDED}").text
    assert "Made from" in window.get(f"/row/{MARKUP}").text
    assert 'href="/row/1"' in window.get(f"/row/{MARKUP}").text
    assert "Made of it" in window.get("/row/1").text
    assert quoted("abc", ["b", "zz", ""]) == [("same", "a"), ("quote", "b"), ("same", "c")]


def test_differences_are_words() -> None:
    assert difference("a b c", "a x c") == [
        ("same", "a"),
        ("gone", " b"),
        ("new", " x"),
        ("same", " c"),
    ]
    long = "word " * 6000
    assert difference(long, f"{long}end") == [
        ("same", long[:-1]),
        ("gone", " "),
        ("new", " end"),
    ]
    assert difference("", "new") == [("new", "new")]


def test_a_text_that_is_another_one_is_not_marked_word_by_word() -> None:
    """Seen: two sentences that share a full stop, plaited."""
    old, new = "Give the sum of the two numbers.", "Say what print(5 + 2) writes in Python."
    assert difference(old, new) == [("gone", old), ("new", new)]
    assert [kind for kind, _ in difference("Give it.", f"Give it. {new}")] == ["same", "new"]


LONG = [f"In the year {n} the town had {n * n} trees and one well." for n in range(400)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a " * 2400, "b a " * 1200),  # took longer than ten minutes
        ("the cat " * 1200, "a cat " + "the cat " * 1199),
        ("x" * 100_000, "x" * 99_999 + "y"),
        ("." * 5000, ".!" * 2500),
        (" ".join(LONG), " ".join([*LONG[:20], "All is new.", *LONG[21:300], *LONG[301:]])),
    ],
)
def test_differences_of_long_texts_take_no_time_and_lose_nothing(before: str, after: str) -> None:
    began = time.process_time()
    pieces = difference(before, after)
    assert time.process_time() - began < 5  # 0.3 s on a quiet machine
    assert "".join(text for kind, text in pieces if kind != "gone") == after
    assert "".join(text for kind, text in pieces if kind != "new") == before


def test_two_changes_far_apart_in_a_long_text_are_marked_where_they_are() -> None:
    after = [*LONG[:20], LONG[20].replace("well", "pond"), *LONG[21:300], *LONG[301:]]
    changed = [piece for piece in difference(" ".join(LONG), " ".join(after)) if piece[0] != "same"]
    assert changed[:2] == [("gone", " well"), ("new", " pond")]
    assert [kind for kind, _ in changed[2:]] == ["gone"]


def test_rejects_are_taken_back_and_the_data_set_takes_what_was_decided(
    folder: Path, run: Run, ours: Desk
) -> None:
    window = Window(ours)
    window.decide(1, "drop")
    window.decide(2, "edit", instruction="What is 2 plus 2?", input="", output="four")
    window.decide(3, "keep")
    page = window.decide(FIRST_REJECT, "keep", query="?kind=rejects")
    assert "What is 1 plus 1." in page
    made = CliRunner().invoke(app, ["dataset", str(folder)])
    assert made.exit_code == 0, made.output
    assert "3 of 23 rows reviewed: 1 kept, 1 dropped, 1 edited; 1 reject taken back" in made.output
    rows = {row.instruction: row for row in dataset_rows(folder)}
    assert "What is 1 plus 1?" not in rows
    child = rows["What is 2 plus 2?"]
    assert (child.output, child.lineage.method) == ("four", "review")
    assert child.lineage.parents == (ROWS[1].id,)
    assert child.lineage.original == "4"
    back = rows["Now say no."]
    assert (back.input, back.output) == ("to tea", "I cannot.\nEver.")
    assert back.lineage.changes == ("taken back: refusal",)
    assert [row.id for row in run.kept()] == [row.id for row in ROWS]  # the teacher's, as they were
    rejects = (folder / "dataset" / "rejects.jsonl").read_text()
    assert "dropped by a person" in rejects
    assert REJECTS[0].reason not in rejects


def test_a_data_set_is_stale_once_people_decided(folder: Path, ours: Desk) -> None:
    assert CliRunner().invoke(app, ["dataset", str(folder)]).exit_code == 0
    window = Window(ours)
    window.decide(1, "grade", grade="5")  # labels make no other data set
    shown = CliRunner().invoke(app, ["show", str(folder)]).output
    assert "STALE" not in shown
    window.decide(2, "drop")
    shown = " ".join(CliRunner().invoke(app, ["show", str(folder)]).output.split())
    assert "people had decided on 0 rows then, on 1 now" in shown
    assert "2 of 23 rows reviewed: 1 dropped" in shown
    window.post("/undo")
    assert "STALE" not in CliRunner().invoke(app, ["show", str(folder)]).output


def test_a_mended_row_has_a_lineage_and_a_new_start_keeps_decisions(
    folder: Path, ours: Desk
) -> None:
    from localinstruct.dataset.rows import RunRows
    from localinstruct.store.folder import empty_run

    Window(ours).decide(2, "edit", instruction="What is 2 plus 2?", input="", output="four")
    with read_run(folder) as run:
        [child] = RunRows(run).by_people()
    shown = CliRunner().invoke(app, ["show", str(folder), "--lineage", child.id])
    assert "edited: output" in str(child.lineage.changes)
    assert ROWS[1].id in shown.output, shown.output
    empty_run(folder)
    assert not place(folder).exists()
    assert [one.action for one in Reviews(folder / "review.before.sqlite").log()] == ["edit"]


def test_two_processes_share_an_index(folder: Path, run: Run, ours: Desk) -> None:
    with open_run(folder) as writer, read_run(folder) as again:
        theirs = desk(again, "bob")
        writer.commit_episode(1, [], REJECTS, 1)
        for one in (ours, theirs):
            one._looked = -10
            one.refresh()
        assert ours.index.count(Query(kind="rejects")) == 4
        assert theirs.index.count(Query(kind="rejects")) == 4


def test_exports_have_the_rows_as_people_left_them(folder: Path, ours: Desk) -> None:
    Window(ours).decide(1, "drop")
    output = folder.parent / "rows.jsonl"
    words = ["export", str(folder), "--format", "jsonl", "--output", str(output)]
    made = CliRunner().invoke(app, words)
    assert made.exit_code == 0, made.output
    assert len(output.read_text().splitlines()) == 22
    card = (folder.parent / "rows.jsonl.card.md").read_text()
    assert "People looked at some: 1 of 23 rows reviewed: 1 dropped." in card
    for stage in ("dataset", "report"):
        assert CliRunner().invoke(app, [stage, str(folder)]).exit_code == 0
    assert "1 of 23 rows reviewed: 1 dropped." in (folder / "report.html").read_text()


def test_rows_come_while_a_run_generates_and_decisions_need_no_lock(folder: Path) -> None:
    with open_run(folder) as writer, read_run(folder) as run:
        ours = desk(run)
        window = Window(ours)
        window.decide(1, "keep")
        writer.commit_episode(1, [], [REJECTS[1], REJECTS[0]], 1)
        ours._looked = -10
        assert "4 rejects" in window.get("/rows?kind=rejects").text
    assert Reviews(place(folder)).last() == 1


def test_a_busy_file_of_decisions_is_said(folder: Path, ours: Desk) -> None:
    window = Window(ours)
    window.decide(1, "keep")
    other = sqlite3.connect(place(folder))
    other.execute("BEGIN IMMEDIATE")
    assert ours.reviews._db
    ours.reviews._db.execute("PRAGMA busy_timeout = 50")
    assert "another program holds the store" in window.decide(2, "keep")
    assert window.get("/rows").status_code == 200
    other.rollback()
    other.close()
    assert "Not decided" not in window.decide(2, "keep")


def test_altered_decisions_are_found(folder: Path, ours: Desk) -> None:
    Window(ours).decide(1, "keep")
    database = sqlite3.connect(place(folder))
    database.execute("UPDATE decisions SET who = 'eve'")
    database.commit()
    database.close()
    with pytest.raises(StoreError, match="not as they were written"):
        Reviews(place(folder)).last()


def test_an_empty_file_of_decisions_is_none_and_two_make_one(folder: Path) -> None:
    path = place(folder)
    path.touch()
    assert Reviews(path).last() == 0
    row = ("key", "row", {"id": "key"})
    for number, reviews in enumerate((Reviews(path), Reviews(path)), 1):
        said = reviews.decide(row, "keep", Review(verdict="keep"), "ada")  # type: ignore[arg-type]
        assert said == number


def test_looking_makes_no_file_of_decisions(folder: Path, ours: Desk) -> None:
    Window(ours).get("/rows")
    assert not place(folder).exists()


def test_an_index_that_is_no_index_is_made_anew(folder: Path) -> None:
    (folder / "review.index.sqlite").write_bytes(b"not a database at all" * 100)
    with read_run(folder) as run:
        assert desk(run).index.count(Query()) == 23


def test_decisions_travel_as_lines(tmp_path: Path, folder: Path, ours: Desk) -> None:
    window = Window(ours)
    window.decide(1, "drop")
    window.decide(FIRST_REJECT, "keep")
    lines = tmp_path / "decisions.jsonl"
    call = CliRunner().invoke
    assert "2 decisions" in call(app, ["review", str(folder), "--export", str(lines)]).output
    other = make_run(tmp_path / "runs" / "other")
    foreign = json.loads(lines.read_text().splitlines()[0]) | {"row": "0" * 16}
    lines.write_text(lines.read_text() + json.dumps(foreign) + "\n")
    for new in (2, 0):
        shown = call(app, ["review", str(other), "--import", str(lines)])
        assert f"{new} new decisions" in shown.output, shown.output
        assert "1 are of rows that are not here" in shown.output
    theirs = Reviews(place(other))
    assert [one.review.verdict for one in theirs.since(0)] == ["drop", "keep"]
    bad = [{"row": "x"}, [], foreign | {"after": {"edited": {"lineage": "x"}}}]
    lines.write_text("".join(f"{json.dumps(one)}\n" for one in bad))
    shown = call(app, ["review", str(other), "--import", str(lines)])
    assert shown.exit_code != 0
    assert str(shown.exception).count("expected a decision") == 3
    assert theirs.last() == 2


def test_a_file_is_reviewed_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from localinstruct.formats import Reading
    from localinstruct.web.review.desk import desk_of_file

    monkeypatch.chdir(tmp_path)
    rows = tmp_path / "rows.jsonl"
    lines = [{"instruction": f"Say {n}.", "output": str(n)} for n in range(5)]
    rows.write_text("".join(f"{json.dumps(line)}\n" for line in lines) + "{broken\n")
    before = rows.read_bytes()
    ours = desk_of_file(rows, Reading(), "ada", packaged("helpful-correct"), "")
    ours.fill(Silent())
    window = Window(ours)
    assert "1 reject" in window.get("/rows?kind=rejects").text
    window.decide(1, "drop")
    window.decide(2, "edit", instruction="Say 1.", input="", output="one")
    window.decide(3, "grade", grade="2")
    made = CliRunner().invoke(app, ["review", "rows.jsonl", "--rows", "out.jsonl"])
    assert made.exit_code == 0, made.output
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["output"] for row in written] == ["one", "2", "3", "4"]
    assert rows.read_bytes() == before
    assert place(rows).name == "rows.jsonl.review.sqlite"


def test_two_people_agree_beyond_chance_or_not(folder: Path, run: Run, ours: Desk) -> None:
    ada, bob = Window(ours), Window(desk(run, "bob"))
    for n in range(1, 11):
        ada.decide(n, "drop" if n < 4 else "keep")
    for n in range(1, 11):
        bob.decide(n, "drop" if n in (1, 2, 9) else "keep", seen=n)
    [two] = agreements(ours.reviews.opinions())
    assert two.people == ("ada", "bob")
    assert (two.same.count, two.same.of) == (8, 10)
    assert two.by_chance == pytest.approx(0.58)
    assert two.kappa.value == pytest.approx((0.8 - 0.58) / (1 - 0.58))
    assert set(two.differ) == {ROWS[2].id, ROWS[8].id}
    ours.refresh()
    assert "2 rows of" in ada.get("/rows?state=people+differ").text
    shown = CliRunner().invoke(app, ["review", str(folder), "--agreement"])
    assert "8 of 10, 80.0%; by chance 58.0%" in shown.output, shown.output


def test_a_sample_is_spread_and_tells_the_share_of_good_rows(ours: Desk) -> None:
    from localinstruct.web.review.sample import good_share, propose

    drawn = propose(ours.index, 10, seed=1)
    assert len(drawn) == len({key for key, *_ in drawn}) == 10
    assert {stratum for _, stratum, _ in drawn} == {"borderline", "others"}
    assert drawn == propose(ours.index, 10, seed=1)
    assert len(propose(ours.index, 500, seed=1)) == 23
    ours.reviews.propose(drawn)
    window = Window(ours)
    first = window.get("/").text
    assert "sample: 0 of 10 decided" in first
    for place_, (key, *_) in enumerate(drawn):
        found = ours.index.by_key(key)
        assert found is not None
        window.decide(found.n, "drop" if place_ == 3 else "keep", query="?sample=1")
    good = good_share(ours.reviews.sample(), ours.decided)
    assert good.share is not None
    assert 0.5 < good.low < good.share < good.high < 1
    assert "of all rows are good" in window.get("/rows").text
    assert "No row is left" in window.get("/next?sample=1&state=undecided").text


def test_a_run_of_the_last_release_is_reviewed_and_its_store_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    release = Path(__file__).parents[1] / "data" / "releases" / "0.1.0" / "run"
    folder = tmp_path / "runs" / "old"
    shutil.copytree(release, folder)
    monkeypatch.chdir(tmp_path)
    store = (folder / "run.sqlite").read_bytes()
    with read_run(folder) as run:
        ours = desk(run)
        Window(ours).decide(1, "drop")
    assert (folder / "run.sqlite").read_bytes() == store
    with open_run(folder) as run:
        run.put("workspace", str(packaged_workspace()))
        from localinstruct.pipeline import recipe_of

        state = states_of(recipe_of(run)[0], run)["dataset"]
    assert state.state == "stale"
    assert state.why == ("people had decided on 0 rows then, on 1 now",)


def test_an_edit_that_is_refused_is_not_lost(ours: Desk) -> None:
    """Seen: a second window's answer was gone, as the row had been kept in the first."""
    window = Window(ours)
    window.decide(1, "keep")
    form = {"action": "edit", "seen": "0", "instruction": "What is 1 plus 1?", "output": "Two <b>."}
    answer = window.post("/row/1/decide?kind=", data=form)
    assert answer.status_code == 409
    assert answer.headers["HX-Push-Url"] == "/row/1?edit=1"
    page = answer.text
    assert "Not decided: This row was decided on in another window" in page
    assert "What you wrote stands below, unsaved" in page
    assert "Two &lt;b&gt;.</textarea>" in page
    assert 'name="seen" value="1"' in page
    assert "data-unsaved" in page
    window.decide(1, "edit", seen=1, instruction="What is 1 plus 1?", output="Two <b>.")
    assert ours.reviews.state(next(iter(ours.decided)))[0].edited == {"output": "Two <b>."}
