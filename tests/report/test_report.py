"""The report as a reader gets it: complete, true to the store, safe against what a teacher may
write, never failing.

Run: pytest tests/report/test_report.py. How it looks is checked by eye; a picture is in docs/.
"""

import hashlib
import json
import re
import time
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from localinstruct.progress import Silent
from localinstruct.records import Completion, Instance, Kept, Lineage, Neighbour, Reject
from localinstruct.report import data as data
from localinstruct.report import evaluation as about
from localinstruct.report import stage
from localinstruct.report.page import HIDDEN, visible
from localinstruct.store.run import open_run, read_run
from tests.support import sample_run

VOID = {"meta", "br", "link", "img", "input", "hr"}
SELF_CLOSED = {"rect", "line", "circle", "path"}
SECTIONS = [
    "funnel",
    "rejects",
    "similarity",
    "map",
    "sources",
    "lengths",
    "speed",
    "training",
    "evaluation",
    "compared",
    "forgetting",
    "weakest",
    "rows",
    "made",
]
HOSTILE = (
    "<script>alert(1)</script> <img src=x onerror=alert(1)> {{ 7*7 }} &amp; \"'> "
    "\u202egnp.exe\u202c \x1b[31m \x00"
)


class Page(HTMLParser):
    """Checks nesting while it reads, and collects tags, attributes, ids and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        assert tag in SELF_CLOSED, tag
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text += data + " "

    def values(self, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for _, attrs in self.tags if attribute in attrs]


def sections_of(page: Page) -> list[str]:
    return [attrs["id"] or "" for tag, attrs in page.tags if tag == "section"]


def write(path: Path, **changes: object) -> tuple[str, Page]:
    with read_run(path) as run:
        result = stage.run(
            sample_run.recipe(**changes), run, Silent(), workspace=path.parent.parent
        )
    raw = (path / "report.html").read_bytes()
    assert result == {
        "path": "report.html",
        "bytes": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(),
    }
    html = raw.decode("utf-8")
    page = Page(html)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    shown = sections_of(page)
    assert shown == [name for name in SECTIONS if name in shown]
    assert "made" in shown
    assert page.values("href") == [f"#{name}" for name in shown]
    assert not re.search(
        r"\bnan\b|\binf\b", " ".join(page.values("d") + page.values("x") + page.values("y"))
    ), "path"
    return html, page


def commit(
    path: Path, kept: Sequence[Kept], rejects: Sequence[Reject] = (), finish: bool = True
) -> None:
    with open_run(path) as run:
        run.start_stage("generate", "i")
        run.record(0, 0, 0, {"text": "p"}, "d", [Completion("t", "stop", 5)])
        run.commit_episode(0, kept, rejects, 5)
        if finish:
            run.finish_stage("generate", {})


def row(text: str, score: float | None = 0.5, output: str = "yes", near: str = "a seed") -> Kept:
    instance = Instance(text, "", output, lineage=Lineage("alpaca", 0))
    instance = instance.with_scores(novelty_max=score) if score is not None else instance
    neighbours = (Neighbour("s", near, score),) if score is not None else ()
    return Kept(instance, neighbours, np.ones(4, np.float32))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("workspace") / "runs" / "nano"
    sample_run.make(path)
    return path


def test_nothing_is_loaded_from_anywhere(full: Path) -> None:
    html, page = write(full)
    for forbidden in (
        "http:",
        "https:",
        "//",
        "src=",
        "url(",
        "@import",
        "<link",
        "<iframe",
    ):
        assert forbidden not in html, forbidden
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    policy = next(a["content"] or "" for t, a in page.tags if t == "meta" and a.get("http-equiv"))
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert not any("style" in attrs for _, attrs in page.tags)


def test_numbers_are_those_of_the_store(full: Path) -> None:
    html, page = write(full)
    with read_run(full) as run:
        kept, counts = run.count_kept(), run.reject_counts()
    by_stage = {stage: sum(n for s, _, n in counts if s == stage) for stage in data.STAGES}
    candidates = kept + sum(by_stage.values())
    parsed = candidates - by_stage["parse"]
    assert (
        f"<h1>{kept} rows kept of {candidates} candidates; the student answers 60.8% of 240 "
        "held-out tasks" in html
    )
    assert "its base 4.2%." in html
    steps = dict(
        re.findall(
            r'scope="row">([a-z ]+)(?:<span[^<]*</span>)?</th><td class="num">([\d,]+)</td>', html
        )
    )
    expected = {
        "prompts": 60,
        "completions": 60,
        "candidates": candidates,
        "parsed": parsed,
        "new": kept,
        "kept": kept,
        "passed the filters": parsed - by_stage["filter"],
        "trained on": 400,
    }
    assert expected == {label: int(steps[label].replace(",", "")) for label in expected}
    rejected = re.findall(
        r'scope="row">([a-z ]+)</th><td class="stage">.*?</i>(\w+)</td><td '
        r'class="num">([\d,]+)</td>',
        html,
    )
    assert [(stage, reason, count) for stage, reason, count in counts] == [
        (s, r, int(n)) for r, s, n in rejected
    ]
    for shown in (
        "97.0%",
        "of 403 that can be checked",
        "+56.7",
        "95 % interval +50.0 to +62.9",
        "5.670",
        "1.640",
        "290.0",
        "518",
    ):
        assert shown in page.text, shown
    assert page.text.count("✓ right") == 1  # older versions marked held-out rows letter by letter
    assert page.text.count("✗ wrong") == 3
    assert page.text.count(" · cut") == 1


def test_each_version_is_said_once(full: Path) -> None:
    html, _ = write(full)
    assert html.count("2.13.0") == html.count("0.21.2") == 1
    assert "versions." not in html


def test_charts_carry_all_values_and_a_description(full: Path) -> None:
    html, page = write(full)
    with read_run(full) as run:
        kept, rejected = run.count_kept(), len(list(run.rejects("too similar")))
    label = next(text for text in page.values("aria-label") if "cosine" in text)
    assert label.endswith(f"{kept} kept; {rejected} rejected as not new")
    bars = [
        (int(n), what)
        for n, what in re.findall(
            r"<title>[^<]*: ([\d,]+) (kept|rejected as not new)</title>", html
        )
    ]
    assert sum(n for n, what in bars if what == "kept") == kept
    assert sum(n for n, what in bars if what != "kept") == rejected
    assert all(a.get("aria-label") or a.get("aria-hidden") for t, a in page.tags if t == "svg")
    assert all(a.get("scope") for t, a in page.tags if t == "th")
    assert [t for t, _ in page.tags if t in ("h1", "h2")] == ["h1"] + ["h2"] * len(
        sections_of(page)
    )


def test_borderline_pairs_meet_at_the_threshold(full: Path) -> None:
    html, _ = write(full)
    body = html[html.index("Nearest to the threshold") : html.index('id="sources"')]
    above, below = body.split('<tr class="cut">')
    scores = [
        [float(s) for s in re.findall(r'class="num">(0\.\d+)</th>', side)]
        for side in (above, below)
    ]
    with read_run(full) as run:
        rejected = sorted(r.score for _, r in run.rejects("too similar") if r.score is not None)[:5]
        kept = sorted((i.lineage.scores["novelty_max"] for i in run.kept()), reverse=True)[:5]
    assert scores == [[round(s, 3) for s in rejected[::-1]], [round(s, 3) for s in kept]]


@pytest.mark.parametrize("upto", sample_run.STAGES)
def test_a_run_that_stopped_early_says_how_to_go_on(tmp_path: Path, upto: str) -> None:
    sample_run.make(tmp_path / "runs" / "nano", upto)
    html, _ = write(tmp_path / "runs" / "nano")
    owed = re.findall(r"Make it with <code>localinstruct (\w+) runs/nano</code>", html)
    left = sample_run.STAGES[sample_run.STAGES.index(upto) + 1 :]
    assert owed == [name for name in ("train", "evaluate") if name in left]
    assert ("ready to train on" in html) == (upto == "dataset")


def test_an_empty_run_is_a_report_of_what_to_type(tmp_path: Path) -> None:
    with open_run(tmp_path / "runs" / "new"):
        pass
    html, page = write(tmp_path / "runs" / "new")
    assert "There are no rows yet." in html
    assert page.text.count("localinstruct generate runs/new") == 1
    assert page.text.count("localinstruct train runs/new") == 1
    assert sections_of(page) == ["made"]


def test_no_row_kept(tmp_path: Path) -> None:
    commit(
        tmp_path / "runs" / "r",
        [],
        [Reject("parse", "truncated", "x"), Reject("judge", "bad", "y", "grade 1", 1.0)],
    )
    html, page = write(tmp_path / "runs" / "r")
    assert "<h1>0 rows kept of 2 candidates.</h1>" in html
    assert page.text.count("No row was kept.") == 1
    assert sections_of(page) == ["funnel", "rejects", "speed", "made"]
    assert "−1 rejected later" in html


def test_one_row_without_a_neighbour(tmp_path: Path) -> None:
    commit(tmp_path / "runs" / "r", [row("Say yes.", None)], finish=False)
    html, _ = write(tmp_path / "runs" / "r")
    assert "<h1>1 row kept of 1 candidate.</h1>" in html
    assert "No candidate was rejected." in html
    assert "Continue with <code>localinstruct generate runs/r</code>" in html


@pytest.mark.parametrize("score", [-0.2, 0.0, 0.85, 1.0])
def test_all_rows_equally_similar(tmp_path: Path, score: float) -> None:
    commit(tmp_path / "runs" / "r", [row(f"Say {n}.", score) for n in range(30)])
    html, page = write(tmp_path / "runs" / "r")
    assert any(
        text.endswith(": 30 kept; 0 rejected as not new") for text in page.values("aria-label")
    )
    assert len(re.findall(r"<title>[^<]*: 30 kept</title>", html)) == 1


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    rejects = [
        Reject("filter", HOSTILE, HOSTILE, HOSTILE),
        Reject("novelty", "too similar", HOSTILE, HOSTILE, 0.9),
    ]
    commit(tmp_path / "runs" / "r", [row(HOSTILE, output=HOSTILE, near=HOSTILE)], rejects)
    item = dict.fromkeys(("instruction", "input", "expected", "base", "student", "from"), HOSTILE)
    with open_run(tmp_path / "runs" / "r") as run:
        run.start_stage("evaluate", "i")
        family = {HOSTILE: {"count": 1, "base": 0, "student": 1}}
        tasks = {
            "count": 1,
            "base": 0.0,
            "student": 1.0,
            "gain": 1.0,
            "by_family": family,
            "file": HOSTILE,
        }
        run.finish_stage("evaluate", {"side_by_side": [item], "tasks": tasks})
    html, page = write(tmp_path / "runs" / "r", about=HOSTILE)
    tags = {tag for tag, _ in page.tags}
    assert "img" not in tags
    assert (
        html.count("&lt;script&gt;alert(1)&lt;/script&gt;")
        == page.text.count("<script>alert(1)</script>")
        >= 15
    )
    assert "{{ 7*7 }}" in page.text
    assert not HIDDEN.search(html)
    assert page.text.count("⟨U+202E⟩") >= 15
    assert page.text.count("⟨U+001B⟩") >= 15
    assert all("alert" not in value for _, attrs in page.tags for value in attrs.values() if value)


def test_persian_and_emoji_keep_their_joiners() -> None:
    text = "می\u200cخواهم 👩\u200d💻\tx\n"
    assert visible(text) == text
    assert visible("\ud800\r\n\rx") == "⟨U+D800⟩\n⟨U+000D⟩x"


@pytest.mark.parametrize(
    ("times", "counted"),
    [
        pytest.param(1, "5,200 rows kept of 10,920 candidates", id="once"),
        pytest.param(
            10,
            "52,000 rows kept of 109,200 candidates",
            marks=pytest.mark.exhaustive,
            id="ten times",
        ),
    ],
)
def test_a_big_run_stays_small_and_quick(tmp_path: Path, times: int, counted: str) -> None:
    sample_run.big(tmp_path / "runs" / "big", times)
    began = time.process_time()
    html, _ = write(tmp_path / "runs" / "big")
    assert time.process_time() - began < 60  # 2 s alone; a busy machine computes slower
    assert len(html) < 1_000_000
    assert counted in html
    assert "And 62 rarer reasons" in html
    assert "(300,000 characters in all)" in html


def test_the_same_store_gives_the_same_bytes(full: Path) -> None:
    assert write(full)[0] == write(full)[0]
    assert write(full)[0] != write(full, seed=43)[0]


def test_a_run_elsewhere_is_named_without_the_way_to_it(tmp_path: Path) -> None:
    with open_run(tmp_path / "far" / "away" / "r") as run:
        stage.run(sample_run.recipe(), run, Silent(), workspace=tmp_path / "here")
    html = (tmp_path / "far" / "away" / "r" / "report.html").read_text(encoding="utf-8")
    assert "localinstruct chat away/r" in html
    assert str(tmp_path) not in html


def test_pauses_take_no_time_but_slow_teachers_do() -> None:
    resumed = data.clock([0, 1, 2, 3, 1000, 1001])
    assert resumed.pauses == ((3, 1000),)
    assert [resumed.at(t) for t in (0, 3, 500, 1000, 1001)] == [0, 3, 3, 3, 4]
    bursts = [float(minute * 120 + n) / 1 for minute in range(20) for n in (0, 0.1, 0.2)]
    assert data.clock(bursts).pauses == ()
    assert data.clock([]).at(5.0) == 5.0


def test_a_run_whose_answers_came_at_once_has_no_speed_of_millions(tmp_path: Path) -> None:
    """Seen: 27 answers within a millisecond, drawn as 4,000,000 tokens a second."""
    with open_run(tmp_path / "run") as run:
        run.start_stage("generate", "i")
        for call in range(27):
            run.record(0, call, 0, {"text": "p"}, "d", [Completion("t", "stop", 600)])
        run.commit_episode(0, [row("Name a river.")], [], 16_200)
        timing = stage._timing(run, {})
    assert timing
    assert timing["tokens"] == 27 * 600
    assert timing["speed"] == ""  # a second is too short to draw a speed of


def test_metrics_survive_torn_lines_and_repeated_steps(tmp_path: Path) -> None:
    lines = [
        {"step": 1, "loss": 3.0},
        {"step": 2, "loss": float("nan")},
        {"step": 2, "loss": 2.0},
        [1],
        {"loss": 1.0},
        {"step": 1, "loss": 2.5},
        {"step": 2, "held_out_loss": 2.2},
    ]
    path = tmp_path / "metrics.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines) + '\n{"step": 3, "lo')
    metrics = data.read_metrics(path)
    assert data.curve(metrics, "loss") == [(1, 2.5), (2, 2.0)]
    assert data.curve(metrics, "held_out_loss") == [(2, 2.2)]
    assert data.read_metrics(tmp_path / "none") == []


def test_the_verdict_forgetting_and_weak_kinds_are_said(full: Path) -> None:
    _, page = write(full)
    words = " ".join(page.text.split())
    assert (
        "The student is better than its base: +56.7 points on 240 tasks (95% sure of +50.0 to "
        "+62.9). "
        "Cost: 2 min 16 s from generate to evaluate, 34,671 output tokens of the teacher, 400 rows "
        "to train on."
    ) in words
    for said in (
        "student 81.5",
        "Which comes last: saddle, ribbon?",
        "harbours 300 67.4%",
        "reverse a list 24 0% 38.0%",
    ):
        assert said in words, said
    assert (
        "localinstruct generate runs/nano/recipe.yaml --name nano-addition --set "
        "method.alpaca.domain=addition" in words
    )


def test_constraints_are_shown_by_group_and_family_with_their_intervals(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "nano"
    sample_run.make(path)
    side = {"base": 0.2, "student": 0.45, "gain": 0.25, "interval": [0.13, 0.36]}
    part = {"count": 125, "strict": side, "loose": side | {"student": 0.5}}
    groups = {name: part for name in ("all", "held-out kinds", "seen kinds")}
    with open_run(path) as run:
        entry = run.stage("evaluate")
        assert entry is not None
        form = {"groups": groups, "families": {"start and end": part}, "kinds": {}}
        run.finish_stage("evaluate", entry.result | {"form": form})
    _, page = write(path)
    words = " ".join(page.text.split())
    gain = "125 20.0% 45.0% +25.0 (+13.0 to +36.0) 20.0% → 50.0%"
    for name in ("held-out kinds", "seen kinds", "start and end"):
        assert f"{name} {gain}" in words


def test_weak_topics_are_said_with_the_command_against_them(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "nano"
    sample_run.make(path)
    with open_run(path) as run:
        entry = run.stage("evaluate")
        assert entry is not None
        weak = [{"topic": "herbs & <b>spices</b>", "rows": 9, "base": 5.5, "student": 2.25}]
        run.finish_stage("evaluate", entry.result | {"weakest": [], "weakest_topics": weak})
    topics = [{"topic": "herbs & <b>spices</b>", "quota": 40}, {"topic": "sums"}]
    html, page = write(path, coverage={"topics": topics})
    words = " ".join(page.text.split())
    assert "herbs & <b>spices</b> 9 5.500 2.250" in words
    assert (
        "localinstruct generate runs/nano/recipe.yaml --name nano-herbs-b-spices-b --set "
        "generate.target=40" in words
    )
    assert "No kind with enough checkable tasks is weak" not in words
    assert "<b>spices" not in html


def test_comparisons_are_listed_and_damaged_ones_left_out(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "nano"
    sample_run.make(path)
    folder = path / "evaluation" / "comparisons"
    folder.mkdir(parents=True)
    pairwise = {
        "judge": "nano-chat",
        "rate": 0.61,
        "interval": [0.55, 0.67],
        "pairs": 240,
        "position_bias": -0.12,
        "tally": {"student": 120, "base": 60, "same_seat": 40, "tied": 20},
        "unreadable": 3,
        "verdicts": 486,
    }
    (folder / "one.json").write_text(
        json.dumps({"against": "base", "tasks": None, "pairwise": pairwise})
    )
    (folder / "two.json").write_text("{torn")
    _, page = write(path)
    words = " ".join(page.text.split())
    assert (
        "its answers are preferred to its base’s by nano-chat: wins 61.0% (55.0% to 67.0%) of 240 "
        "questions" in words
    )
    assert "prefers the first seat by −12%" in words
    assert "verdicts not in form 3 of 486" in words
    assert words.count("Against ") == 2  # the section's own words, and one comparison


def test_rows_are_counted_by_topic_and_source_where_a_stage_has_counted_them() -> None:
    covered = {
        "coverage": [
            {"topic": "boats", "kept": 3, "quota": 4},
            {"topic": "knots", "kept": 9, "quota": None},
        ]
    }
    topics, sources = about.count_tables(
        {"generate": covered, "dataset": {"by_source": {"own": 8, "theirs": 2}}, "train": None}
    )
    assert topics == {
        "name": "topic",
        "asked": True,
        "rows": [("boats", 3, 4, 0.25), ("knots", 9, None, 0.75)],
        "left": 0,
    }
    assert sources == {
        "name": "source",
        "asked": False,
        "rows": [("own", 8, None, 0.8), ("theirs", 2, None, 0.2)],
        "left": 0,
    }
    many = [{"topic": f"t{n}", "kept": n, "quota": 100} for n in range(50)]
    [table] = about.count_tables({"generate": {"coverage": many}})
    assert [row[0] for row in table["rows"]] == [f"t{n}" for n in range(20)]
    assert table["left"] == 30
    assert about.count_tables({"generate": {"coverage": [], "topics": {"a": "many"}}}) == []


def test_topics_are_shown_with_what_was_asked_and_what_is_missing_most_first(
    tmp_path: Path,
) -> None:
    path = tmp_path / "runs" / "nano"
    sample_run.make(path)
    with open_run(path) as run:
        entry = run.stage("generate")
        assert entry is not None
        covered = [
            {"topic": "boats", "kept": 40, "quota": 40},
            {"topic": "<i>", "kept": 9, "quota": 1200},
        ]
        run.finish_stage("generate", entry.result | {"coverage": covered})
    html, page = write(path)
    words = " ".join(page.text.split())
    assert "topic rows asked, at most share of kept rows <i> 9 1,200 18" in words
    assert "boats 40 40 81.6%" in words
    assert "<i>" not in html
