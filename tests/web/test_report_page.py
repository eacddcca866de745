"""The report and the page of `compare` in a real browser: by keyboard, without scripts, light and
dark, narrow and wide, and held against axe-core."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localinstruct.records import Reject
from localinstruct.report import side_by_side, stage
from localinstruct.report.facts import run_facts
from localinstruct.store.run import open_run, read_run
from tests.support import gated_run, sample_run
from tests.support.browser import chromium

AXE = Path(__file__).parents[1] / "vendored" / "axe.min.js"
SERIOUS = ("serious", "critical")
PAGES = ("report", "finished", "compare", "rounds")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """report.html (rows full of markup), finished.html, compare.html and rounds.html."""
    folder = tmp_path_factory.mktemp("pages")
    made = gated_run.make(folder / "gated", hostile=True)
    with read_run(folder / "gated") as run:
        html = stage.render(made, run, "runs/gated", gated_run.again(made))
    (folder / "report.html").write_text(html, encoding="utf-8")
    sample_run.make(folder / "nano")
    with open_run(folder / "nano") as run:
        entry = run.stage("evaluate")
        assert entry
        tasks = entry.result["tasks"]
        more = {f"family {n}": {"count": 9, "base": 0.1, "student": n / 20} for n in range(12)}
        tasks = {**tasks, "by_family": tasks["by_family"] | more}
        run.finish_stage("evaluate", {**entry.result, "tasks": tasks})
        leaked = Reject("decontaminate", "in the evaluation tasks", "t", "d")
        run.commit_episode(10_000, [], [leaked], 0)
        html = stage.render(sample_run.recipe(), run, "runs/nano")
        facts = [run_facts(run, sample_run.recipe()) | {"remarks": []}] * 3
    (folder / "finished.html").write_text(html, encoding="utf-8")
    for name, rounds in (("compare", False), ("rounds", True)):
        page = side_by_side.page(["a", "b", "c"], {"seed": [1, 2, 3]}, facts, rounds=rounds)
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return folder


def opened(browser: Any, path: Path, **options: Any) -> tuple[Any, list[str]]:
    """The page with nothing asked of a network, and what it says on its console."""
    page = browser.new_context(**options).new_page()
    said = list[str]()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: said.append(request.url) if request.url[:4] == "http" else 0)
    page.goto(path.as_uri())
    return page, said


def test_axe_is_what_its_manifest_says() -> None:
    facts = json.loads((AXE.parent / "manifest.json").read_text())[AXE.name]
    assert hashlib.sha256(AXE.read_bytes()).hexdigest() == facts["sha256"]
    assert all((AXE.parent / name).is_file() for name in facts["licence_files"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(browser: Any, pages: Path, name: str, scheme: str) -> None:
    page, _ = opened(browser, pages / f"{name}.html", color_scheme=scheme, bypass_csp=True)
    if name == "report":
        page.locator(".mapbox").press("ArrowRight")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.add_script_tag(path=str(AXE))
    found = page.evaluate("async () => (await axe.run()).violations")
    serious = [
        (one["id"], one["help"], [node["html"][:200] for node in one["nodes"][:3]])
        for one in found
        if one["impact"] in SERIOUS
    ]
    assert serious == []
    assert page.evaluate("async () => (await axe.run()).passes.length") > 10
    page.context.close()


def test_the_slider_says_by_keyboard_what_the_list_says_without_scripts(
    browser: Any, pages: Path
) -> None:
    page, said = opened(browser, pages / "report.html")
    bare, _ = opened(browser, pages / "report.html", java_script_enabled=False)
    listed = [text.strip() for text in bare.locator(".threshold > summary").all_inner_texts()]
    assert len(listed) == 20
    assert bare.locator("input[type=range]").count() == 0
    assert bare.locator(".threshold > summary").nth(3).is_visible()
    slider = page.locator(".thresholds input[type=range]")
    slider.press("Home")
    seen = []
    for _ in listed:
        [shown] = [one for one in page.locator(".threshold").all() if one.is_visible()]
        assert shown.locator("tbody tr").count() >= 1
        seen.append(shown.locator("summary").inner_text().strip())
        assert slider.get_attribute("aria-valuetext") == seen[-1].replace("\n", " ")
        slider.press("ArrowRight")
    assert [" ".join(text.split()) for text in seen] == [" ".join(text.split()) for text in listed]
    line = page.locator("svg .other")
    assert float(line.get_attribute("x1")) > 400
    slider.press("Home")
    assert float(line.get_attribute("x1")) < 300
    assert said == []


def test_a_row_of_the_map_is_chosen_by_click_by_key_and_by_word(browser: Any, pages: Path) -> None:
    page, said = opened(browser, pages / "report.html")
    data = json.loads(page.locator("#map-rows").text_content())["rows"]
    panel, box = page.locator(".mapbox + .onerow"), page.locator(".mapbox")
    for number in (0, 50, len(data) - 1):
        x, y = data[number][6:]
        size = page.locator("svg.rowmap").bounding_box()
        scale = size["width"] / row_width(page)
        page.locator("svg.rowmap").click(position={"x": x * scale, "y": y * scale})
        here = [row[0] for row in data if row[6:] == [x, y]]
        assert panel.locator(".text").first.inner_text() in here
    box.press("Home")
    assert panel.get_by_text("Row 1 of").count() == 1
    before = page.locator("svg .here").get_attribute("cx")
    box.press("ArrowRight")
    box.press("ArrowLeft")
    box.press("ArrowRight")
    assert float(page.locator("svg .here").get_attribute("cx")) >= float(before)
    field = page.get_by_label("Find rows")
    field.fill("alert(1)")
    field.press("Enter")
    assert "</script><script>alert(1)</script>" in panel.inner_text()
    assert page.locator(".rowmap .hit").count() == sum("alert(1)" in row[0] for row in data)
    assert "⟨U+202E⟩" in panel.inner_text()
    page.get_by_label("its topic").check()
    colours = page.evaluate(
        "[...document.querySelectorAll('.rowmap .k0')].map((one) => getComputedStyle(one).fill)"
    )
    assert len(set(colours)) >= 3
    assert said == []


def row_width(page: Any) -> float:
    return float(page.evaluate("document.querySelector('svg.rowmap').viewBox.baseVal.width"))


def test_tables_are_sorted_and_searched_by_keyboard(browser: Any, pages: Path) -> None:
    page, said = opened(browser, pages / "finished.html")
    table = page.locator("#rejects table")
    heading = table.locator("th", has_text="count")
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    counts = [int(text) for text in table.locator("tbody td:nth-child(3)").all_inner_texts()]
    assert counts == sorted(counts, reverse=True)
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    counts = [int(text) for text in table.locator("tbody td:nth-child(3)").all_inner_texts()]
    assert counts == sorted(counts)
    table.locator("th", has_text="reason").get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") is None
    groups = page.locator("details.group")
    assert [one.get_attribute("open") is not None for one in groups.all()] == [True, False, True]
    page.evaluate("document.querySelectorAll('details.group').forEach((one) => one.open = true)")
    between = groups.nth(1)
    field = between.get_by_label("Search")
    field.fill("family 1")
    shown = [row.inner_text() for row in between.locator("tbody tr").all() if row.is_visible()]
    assert shown
    assert all("family 1" in text for text in shown)
    assert f"{len(shown)} of 12 rows" in between.inner_text()
    assert said == []


@pytest.mark.parametrize("width", [1280, 820, 390])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_stands_beside_the_page(browser: Any, pages: Path, name: str, width: int) -> None:
    page, said = opened(browser, pages / f"{name}.html", viewport={"width": width, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    over = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(over) == 0
    assert said == []
    page.context.close()
