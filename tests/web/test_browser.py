"""A review in a real browser, by keyboard alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from localinstruct.cli.app import app
from localinstruct.report.live import Watch
from localinstruct.store.reviews import Reviews, place
from tests.report.test_live import at_work, until
from tests.support.browser import chromium, page_served
from tests.support.reviewed import dataset_rows, make_run


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_run(tmp_path / "runs" / "small", more=20)


def test_twenty_rows_by_keyboard_are_in_the_data_set(
    browser: object, folder: Path, tmp_path: Path
) -> None:
    with page_served("review", "small", where=tmp_path) as address:
        page = browser.new_page()  # type: ignore[attr-defined]
        problems = list[str]()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(address)
        page.keyboard.press("n")
        for number in range(1, 21):
            page.wait_for_url(f"**/row/{number}*")
            page.get_by_text(f"What is {number} plus {number}?", exact=True).first.wait_for()
            page.keyboard.press("d" if number % 5 == 0 else "k")
        page.wait_for_url("**/row/21*")
        page.keyboard.press("u")
        page.get_by_text("Undone: drop.").wait_for()
        page.wait_for_url("**/row/20*")
        page.keyboard.press("e")
        page.locator("textarea[name=output]:focus").wait_for()
        page.keyboard.press("Control+A")
        page.keyboard.type("forty")
        page.keyboard.press("Control+Enter")
        page.locator("ins", has_text="forty").wait_for()
        page.keyboard.press("4")
        page.locator("button[aria-pressed=true]", has_text="4").wait_for()
        page.keyboard.press("t")
        page.locator("input[name=tags]:focus").wait_for()
        page.keyboard.type("sums")
        page.keyboard.press("Enter")
        page.locator("summary", has_text="What was decided (5)").wait_for()
        assert problems == []
        page.close()
    made = CliRunner().invoke(app, ["dataset", str(folder)])
    assert "20 of 43 rows reviewed: 16 kept, 3 dropped, 1 edited" in made.output, made.output
    rows = {row.instruction: row.output for row in dataset_rows(folder)}
    assert not {f"What is {n} plus {n}?" for n in (5, 10, 15)} & set(rows)
    assert rows["What is 20 plus 20?"] == "forty"


def test_keys_that_come_faster_than_pages_are_not_lost(
    browser: object, folder: Path, tmp_path: Path
) -> None:
    with page_served("review", "small", where=tmp_path) as address:
        page = browser.new_page()  # type: ignore[attr-defined]
        page.goto(address)
        page.keyboard.press("n")
        page.wait_for_url("**/row/1*")
        page.keyboard.type("kkkdkkkkkd")
        page.wait_for_url("**/row/11*")
        assert page.get_by_text("10 of 43 rows reviewed: 8 kept, 2 dropped").count() == 1
        page.close()


def test_a_reject_is_taken_back_and_a_pair_labelled_by_keyboard(
    browser: object, folder: Path, tmp_path: Path
) -> None:
    with page_served("review", "small", where=tmp_path) as address:
        page = browser.new_page(viewport={"width": 390, "height": 844})  # type: ignore[attr-defined]
        page.goto(address)
        base = address.partition("/?")[0]
        page.goto(f"{base}/rows?kind=rejects")
        page.keyboard.press("j")
        page.locator("li:focus-within", has_text="Now say no.").wait_for()
        page.keyboard.press("k")
        page.get_by_text("taken back", exact=True).wait_for()
        page.locator("li:focus-within", has_text="What is 1 plus 1.").wait_for()
        page.goto(f"{base}/rows")
        page.keyboard.press("/")
        page.keyboard.type("tree")
        page.keyboard.press("Enter")
        page.get_by_text("1 row of these filters").wait_for()
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url("**/row/22*")
        page.keyboard.press("a")
        page.get_by_text("your choice").wait_for()
        page.close()
    said = {one.key: one.review for one in Reviews(place(folder)).since(0)}
    assert sorted(one.verdict for one in said.values()) == ["", "keep"]
    assert {one.better for one in said.values()} & {"first", "second"}
    CliRunner().invoke(app, ["dataset", str(folder)])
    assert "Now say no." in {row.instruction for row in dataset_rows(folder)}


def test_what_was_written_is_not_lost_by_a_wrong_key_or_a_page_that_is_gone(
    browser: object, folder: Path, tmp_path: Path
) -> None:
    page = browser.new_page()  # type: ignore[attr-defined]
    asked, answers = list[str](), [False, False, True]
    page.on(
        "dialog",
        lambda one: (
            asked.append(one.message),
            one.accept() if answers.pop(0) else one.dismiss(),
        ),
    )
    text = page.locator("textarea[name=output]")
    with page_served("review", "small", where=tmp_path) as address:
        page.goto(address)
        page.keyboard.press("n")
        page.wait_for_url("**/row/1*")
        page.keyboard.press("e")
        page.locator("textarea[name=output]:focus").wait_for()
        page.keyboard.press("Escape")
        page.locator("textarea").first.wait_for(state="detached")
        assert asked == []  # nothing was written
        page.keyboard.press("e")
        page.locator("textarea[name=output]:focus").wait_for()
        page.keyboard.type("Words: ")
        page.keyboard.press("Escape")
        assert text.input_value().startswith("Words: ")
        edited = page.url
        with page.expect_event("dialog"):
            page.evaluate("history.back()")
        page.wait_for_function("address => location.href == address", arg=edited)
        assert text.input_value().startswith("Words: ")
        page.keyboard.press("Escape")
        page.locator("textarea").first.wait_for(state="detached")
        assert asked == ["Leave what you wrote here? It is not saved."] * 3
        page.keyboard.press("e")
        page.locator("textarea[name=output]:focus").wait_for()
        page.keyboard.type("Words: ")
    page.keyboard.press("Control+Enter")
    page.get_by_text("The page no longer answers, and nothing was saved").wait_for()
    assert text.input_value().startswith("Words: ")
    page.close(run_before_unload=False)


def test_what_rows_hold_runs_nothing_and_a_page_from_elsewhere_learns_nothing(
    browser: object, folder: Path, tmp_path: Path
) -> None:
    with page_served("review", "small", where=tmp_path) as address:
        context = browser.new_context()  # type: ignore[attr-defined]
        page = context.new_page()
        alerts = list[object]()
        page.on("dialog", lambda dialog: (alerts.append(dialog), dialog.dismiss()))
        page.goto(address)
        base = address.partition("/?")[0]
        page.goto(f"{base}/row/23")
        assert page.get_by_text("<script>alert(1)</script>").count() >= 1
        assert page.evaluate("document.cookie") == ""
        assert alerts == []
        other = context.new_page()  # a page of another origin that has the person's cookies
        other.route("http://evil.test/*", lambda route: route.fulfill(body="<p>hello"))
        other.goto("http://evil.test/")
        step = """async (url) => { try { const answer = await fetch(url, {method: 'POST',
            mode: 'no-cors', credentials: 'include', body: 'action=drop&seen=0'});
            return answer.type; } catch (error) { return 'refused'; } }"""
        assert other.evaluate(step, f"{base}/row/1/decide") in ("opaque", "refused")
        read = "async (url) => { try { return (await fetch(url)).status } catch { return 0 } }"
        assert other.evaluate(read, f"{base}/rows") == 0
        framed = "(url) => { const f = document.createElement('iframe'); f.src = url; "
        other.evaluate(framed + "document.body.append(f) }", f"{base}/rows")
        other.wait_for_timeout(500)
        assert all("What is" not in frame.content() for frame in other.frames)
        context.close()
    assert not place(folder).exists()


def test_watch_plays_on_through_a_kill_and_a_resume(browser: object, tmp_path: Path) -> None:
    path = tmp_path / "runs" / "seen"
    with at_work(path, 100_000) as child:
        until(Watch(path), 20)
        with page_served("watch", str(path), where=tmp_path) as address:
            page = browser.new_page(viewport={"width": 390, "height": 844})  # type: ignore[attr-defined]
            problems = list[str]()
            page.on("console", lambda message: problems.append(message.text))
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.goto(address)
            page.get_by_text("generate: the teacher writes rows").wait_for()
            page.get_by_role("img", name="Rows kept").wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") == 390
            child.kill()
            page.get_by_text("killed in generate: no process works in it").wait_for()
            page.get_by_text(f"localinstruct run {path}").wait_for()
            with at_work(path, 100_000):
                page.get_by_text("generate: the teacher writes rows").wait_for()
            assert problems == []
        page.get_by_text("The page no longer answers").wait_for()
        page.close()
