"""The pages of `review` and `watch` under axe-core, light and dark, wide and narrow."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from localinstruct.store.reviews import Review, Reviews, place
from localinstruct.store.run import open_run
from tests.support import sample_run
from tests.support.browser import chromium, page_served
from tests.support.reviewed import make_run, rows_of_kinds

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Scheme = Literal["light", "dark"]
VENDOR = Path(__file__).parents[1] / "vendored"
REVIEW = {
    "list": "/rows",
    "nothing found": "/rows?q=nowhere",
    "rejects": "/rows?kind=rejects",
    "plain": "/row/1",
    "decided": "/row/3",
    "edited, breaks a rule": "/row/2",
    "mended now": "/row/2?edit=1",
    "grounded": "/row/21",
    "pair": "/row/22",
    "reject": "/row/24",
    "gone": "/row/99",
}
SERIOUS = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations
  .filter((one) => ['serious', 'critical'].includes(one.impact))
  .map((one) => one.id + ': ' + one.nodes.map((node) => node.html.slice(0, 120)).join(' | '))"""
WIDTHS = (1280, 390)
LAID_OUT_ANEW = ("list", "edited, breaks a rule", "pair", "watch")
"""Pages that axe also looks at when they are narrow."""


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with chromium() as opened:
        yield opened


def test_axe_is_the_one_that_the_manifest_says() -> None:
    manifest = json.loads((VENDOR / "manifest.json").read_text())
    for name, facts in manifest.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == facts["sha256"]
        assert all((VENDOR / file).is_file() for file in facts["licence_files"])


def findings(browser: "Browser", address: str, scheme: Scheme, paths: dict[str, str]) -> list[str]:
    """Serious and critical findings, and pages that are wider than their window."""
    axe, found = (VENDOR / "axe.min.js").read_text(), list[str]()
    base = address.partition("/?")[0]
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(address)
    for name, path in paths.items():
        page.goto(f"{base}{path}")
        page.evaluate(axe)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 844})
            if width > 400 or name in LAID_OUT_ANEW:
                found += (f"{name}, {width}: {one}" for one in page.evaluate(SERIOUS))
            if page.evaluate("document.documentElement.scrollWidth") > width:
                found.append(f"{name}: wider than {width}")
    context.close()
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_of_review_have_no_serious_finding(
    scheme: Scheme, browser: "Browser", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = make_run(tmp_path / "runs" / "small")
    rows = rows_of_kinds()
    said = [
        (rows[1], Review("keep", {"output": "What is 2 plus 2?"}, tags=("sums",))),
        (rows[2], Review("drop", scores={"grade": 2})),
    ]
    reviews = Reviews(place(folder))
    for row, review in said:
        reviews.decide((row.id, "row", row.to_dict()), review.verdict, review, "ada")
    reviews.close()
    with page_served("review", "small", "--as", "ada", where=tmp_path) as address:
        assert findings(browser, address, scheme, REVIEW) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_watch_has_no_serious_finding(
    scheme: Scheme, browser: "Browser", tmp_path: Path
) -> None:
    path = tmp_path / "runs" / "seen"
    sample_run.make(path)
    with open_run(path) as run:
        topics = {"topics": ["rivers", {"topic": "bread", "quota": 40}]}
        run.put("recipe", sample_run.recipe(coverage=topics).to_yaml())
    with page_served("watch", str(path), where=tmp_path) as address:
        assert findings(browser, address, scheme, {"watch": "/"}) == []
