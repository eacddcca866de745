"""What the page of a cleaning says of the rows: diversity beside random rows, topics, groups."""

import re
from pathlib import Path

import numpy as np
import pytest

from localinstruct.cleaning import steps, survey
from localinstruct.cleaning.work import Job, Outcome
from localinstruct.report.cleaning import write_report
from tests.cleaning.test_cleaning import Encoder, done, rows, written


@pytest.fixture
def cleaned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Job, Outcome]:
    """108 rows, 40 of them repeated in other words, and 60 that the rules drop."""
    for module in (steps, survey):
        monkeypatch.setattr(module, "LocalEncoder", Encoder)
    given = rows(108)
    near = [{**row, "instruction": row["instruction"].rstrip(".") + " now."} for row in given[:40]]
    bad = [{**row, "instruction": row["instruction"].upper(), "output": ""} for row in given]
    bad[0] |= {"instruction": "<b>Explain</b> how rain changes in winter."}
    file = written(tmp_path / "rows.jsonl", [*given, *near, *bad[:60]])
    return done(file, tmp_path, similar=0.89)


def test_diversity_is_that_of_equal_sizes_and_grows(cleaned: tuple[Job, Outcome]) -> None:
    job, outcome = cleaned
    measured = outcome.facts["survey"]["diversity"]
    sizes = {name: one["rows"] for name, one in measured.items()}
    assert sizes == {"all": 208, "random": outcome.kept, "kept": outcome.kept}
    assert outcome.dropped["empty output"] == 60
    assert outcome.dropped["too similar"] >= 40
    assert measured["kept"]["score"] > measured["random"]["score"] > measured["all"]["score"]
    assert not {steps.VECTORS, steps.HEADS} & {path.name for path in job.folder.iterdir()}


def test_nearest_rows_lie_on_their_side_of_the_threshold(cleaned: tuple[Job, Outcome]) -> None:
    nearest = cleaned[1].facts["survey"]["nearest"]
    assert len(nearest["kept"]) == cleaned[1].kept
    assert max(nearest["kept"]) <= 0.89 < min(nearest["dropped"])
    vectors = Encoder(Path()).encode([row["instruction"] for row in rows(9)])
    among = np.arange(9) % 2 == 0
    found = survey._nearest_of(vectors, np.array([0, 3]), among)
    cosines = vectors @ vectors.T
    assert found == pytest.approx([cosines[0, 2::2].max(), cosines[3, ::2].max()])


def test_the_page_shows_groups_topics_and_how_to_make_it_again(
    cleaned: tuple[Job, Outcome],
) -> None:
    page = write_report(*cleaned).read_text()
    card = (cleaned[0].folder / "README.md").read_text()
    assert re.findall(r'<section id="(\w+)"', page) == [
        "reasons",
        "copies",
        "diversity",
        "topics",
        "lengths",
        "changes",
        "made",
    ]
    assert "threshold 0.89" in page
    assert "<b>Explain" not in page
    digest = re.search(r"rows\.jsonl` ([0-9a-f]{64})", card)
    assert digest
    assert digest[1] in page
    assert "localinstruct clean" in card
    assert "license: unknown" in card
    assert "| too similar |" in card
    topics = cleaned[1].facts["survey"]["topics"]
    assert sum(one["kept"] for one in topics) == pytest.approx(1)
    assert all(one["words"] for one in topics)
