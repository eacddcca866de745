"""The shell of pages: what its policy allows is what stands in it, data never ends its element,
every number is there without scripts, and a page stays small."""

import hashlib
import json
import re
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from localinstruct.records import Instance, Kept, Lineage, Neighbour
from localinstruct.report import row_map, side_by_side, stage
from localinstruct.report.candidates import Candidate
from localinstruct.report.facts import run_facts
from localinstruct.report.page import HIDDEN, data_block, policy
from localinstruct.report.stage import Again
from localinstruct.store.run import open_run, read_run
from tests.support import gated_run, sample_run
from tests.support.scripted import HashEncoder

MIB = 2**20


class Elements(HTMLParser):
    """The texts of script and style elements, as a browser cuts them, and what else is there."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[tuple[str, dict[str, str | None], str]] = []
        self.shown, self.policy = "", ""
        self._open: tuple[str, dict[str, str | None]] | None = None
        self.tags: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = dict(attrs)
        self.tags.append(tag)
        assert not any(name.startswith("on") or name == "style" for name in own), own
        if own.get("http-equiv") == "Content-Security-Policy":
            self.policy = own["content"] or ""
        if tag in ("script", "style"):
            self._open = (tag, own)
            self.texts.append((tag, own, ""))

    def handle_endtag(self, tag: str) -> None:
        self._open = None

    def handle_data(self, data: str) -> None:
        if self._open:
            tag, own, text = self.texts[-1]
            self.texts[-1] = (tag, own, text + data)
        else:
            self.shown += data


def report_of(path: Path, *, hostile: bool = False, **changes: object) -> str:
    made = gated_run.make(path, hostile=hostile, **changes)
    with read_run(path) as run:
        return stage.render(made, run, "runs/r", gated_run.again(made))


def compared_pages(path: Path) -> list[str]:
    sample_run.make(path)
    with read_run(path) as run:
        facts = [run_facts(run, sample_run.recipe()) | {"remarks": []}] * 2
    return [
        side_by_side.page(["one", "two"], {"seed": [1, 2]}, facts, rounds=rounds)
        for rounds in (False, True)
    ]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pages")
    compare, rounds = compared_pages(folder / "sample")
    return {
        "report": report_of(folder / "gated"),
        "hostile": report_of(folder / "hostile", hostile=True),
        "compare": compare,
        "rounds": rounds,
    }


@pytest.mark.parametrize("name", ["report", "hostile", "compare", "rounds"])
def test_the_policy_allows_the_scripts_and_styles_that_stand_there_and_no_others(
    pages: dict[str, str], name: str
) -> None:
    found = Elements(pages[name])
    assert found.policy.startswith("default-src 'none';")
    assert "unsafe" not in found.policy
    allowed = set(re.findall(r"'sha256-([^']+)'", found.policy))
    run = [text for _, own, text in found.texts if own.get("type") is None]
    digests = {b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in run}
    assert digests == allowed
    assert len(run) == len(allowed) >= 2
    styles = [text for tag, _, text in found.texts if tag == "style"]
    assert policy(styles, run[1:]) == found.policy
    data = [own for _, own, _ in found.texts if own.get("type")]
    assert [own["type"] for own in data] == ["application/json"] * len(data)


def test_rows_full_of_markup_stay_text_and_end_no_element(pages: dict[str, str]) -> None:
    found = Elements(pages["hostile"])
    assert "img" not in found.tags
    assert found.tags.count("script") == len(stage.SCRIPTS) + 1
    assert not HIDDEN.search(pages["hostile"])
    [block] = [text for _, own, text in found.texts if own.get("type")]
    assert not set("<>&") & set(block)
    rows = json.loads(block)["rows"]
    assert sum("</script><script>alert(1)</script>" in row[0] for row in rows) > 20
    assert any("⟨U+202E⟩evil ⟨U+001B⟩[31m <!--" in row[0] for row in rows)
    assert "</script><script>alert(1)</script>" in found.shown


@pytest.mark.parametrize(
    "text",
    ["</script>", "<!--", "]]>", "\u2028\u2029", "\x00\x1b\x7f", "\ud800", "&amp;", "é 中 👩‍💻"],
)
def test_data_in_a_page_is_what_it_was(text: str) -> None:
    block = str(data_block({"a": [text, 1.5, None]}))
    assert json.loads(block) == {"a": [text, 1.5, None]}
    assert not set("<>&") & set(block)
    assert not HIDDEN.search(block)


def test_without_scripts_every_number_is_there(pages: dict[str, str]) -> None:
    found = Elements(pages["report"])
    words = " ".join(found.shown.split())
    said = re.findall(r"At ([\d.]+): ([\d,]+) of ([\d,]+) kept", words)
    assert len(said) == 20
    [block] = [text for _, own, text in found.texts if own.get("type")]
    data = json.loads(block)
    for kind, name in enumerate(data["kinds"]):
        count = sum(row[5] == kind for row in data["rows"])
        assert count
        assert f"{name}: {count}" in words
    for topic in gated_run.TOPICS:
        assert f"{topic}: {sum(row[4] == topic for row in data['rows'])}" in words
    assert len(re.findall('class="k[012] t', pages["report"])) == len(data["rows"])
    assert "hidden" not in found.tags
    assert not re.search(r"<(?!script|style)\w+[^>]* hidden", pages["report"])


def test_clusters_stand_in_for_topics_that_nobody_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(8, dtype=np.float32)[:3]
    words = ("rivers flow", "kettles boil", "ferns grow")
    rows, vectors = [], []
    for n in range(150):
        rows.append(Candidate(f"{words[n % 3]} {n}", True, n, 0.5, ["x"], "", "an answer"))
        vectors.append(centres[n % 3] + rng.normal(0, 0.02, 8))
    made = row_map.row_map(rows, np.array(vectors, np.float32), 0.85, 150)
    assert made
    assert made.clustered
    names = {name for _, name, _ in made.topics}
    assert any("kettles" in name for name in names)
    assert sum(count for _, _, count in made.topics) == 150
    assert 0.5 < made.spread <= 1


@pytest.mark.parametrize("vectors", [np.ones((9, 4)), np.zeros((9, 4)), np.zeros((9, 0))])
def test_rows_that_are_all_in_one_place_have_no_map(vectors: np.ndarray) -> None:
    rows = [Candidate("a", True, 0, None, [], "a")] * 9
    assert row_map.row_map(rows, vectors.astype(np.float32), 0.85, 9) is None
    two = np.eye(2, dtype=np.float32)
    assert row_map.row_map(rows[:2], two, 0.85, 2) is None


def test_a_map_is_the_same_again_and_keeps_what_is_near(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    flat = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 16))
    places, spread = row_map.plane(flat.astype(np.float32))
    assert spread == pytest.approx(1)
    assert places.min() == 0
    assert places.max() == 1
    again, _ = row_map.plane(flat.astype(np.float32))
    assert np.array_equal(places, again)
    near = np.argsort(np.linalg.norm(flat - flat[0], axis=1))[:2]
    assert np.linalg.norm(places[near[1]] - places[0]) < 0.3


@pytest.mark.parametrize("text", ["中文" * 600, "<&>" * 500])
def test_a_page_of_many_long_rows_stays_below_five_megabytes(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = HashEncoder()
    vectors = encoder.encode([f"{n} {n * 7} {n % 13}" for n in range(6000)])
    rows = [
        Kept(
            Instance(f"{n} {text}", text, text, lineage=Lineage("alpaca", 0)).with_scores(
                novelty_max=0.7
            ),
            (Neighbour("s", text, 0.7),),
            vector,
        )
        for n, vector in enumerate(vectors)
    ]
    with open_run(tmp_path / "r") as run:
        run.put("comparison", "2")
        run.start_stage("generate", "i")
        run.commit_episode(0, rows, [], 5)
        run.finish_stage("generate", {})
        html = stage.render(gated_run.recipe(), run, "r", Again("There is none."))
    found = Elements(html)
    assert "A sample of 5,000 of 6,000 candidates" in " ".join(found.shown.split())
    assert len(html.encode()) < 5 * MIB
    assert len(json.loads(found.texts[-4][2])["rows"]) == row_map.MOST
