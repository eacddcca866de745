"""The recording in the docs: `python -m benchmarks.recording PART`, in a workspace.

`watch` runs a recipe, or what a review has made stale, with the page of `watch` open in a headless
Chromium; `review` reviews rows of a run by keyboard, `report` looks at its report. Each writes its
pictures, with the key that was pressed, into a folder; `join` makes them one animated WebP. Time is
shortened: a frame of `watch` stands for many seconds. Needs Chromium ($CHROMIUM, or one on PATH)
and Playwright, and what a demo needs. Not covered: sound, pointer, other browsers.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.browser import TO_TYPE, chromium_path, launched
from localinstruct.nano.lexicon import opposites
from localinstruct.store.durable import atomic_write, write_text
from localinstruct.store.run import read_run

if TYPE_CHECKING:
    from PIL import Image, ImageFont
    from playwright.sync_api import Page

WIDTH, HEIGHT, BAND = 960, 600, 36
"""Pixels of a page, and of the words below it."""
LOOK_SECONDS, WATCHED = 4.0, 24
"""Seconds between two pictures of `watch`, and how many of them are kept."""
SECONDS = {"watch": 0.5, "key": 1.0, "read": 1.9}
"""How long a frame stands."""
INK, PAPER = "#f5f3ef", "#20343a"
PARTS = ("review", "watch", "report")
ROOT = Path(__file__).parents[1]


class Film:
    """Frames of one part in a folder: PNGs, and PART.json with the words and seconds of each."""

    def __init__(self, folder: Path, part: str) -> None:
        self._folder, self._part = folder, part
        self.frames: list[tuple[str, str, float]] = []
        """File, words below it, seconds."""

    def shoot(self, page: "Page", words: str, kind: str = "key") -> None:
        """Add the page as it stands."""
        name = f"{self._part}-{len(self.frames):03}.png"
        page.screenshot(path=self._folder / name)
        self.frames.append((name, words, SECONDS[kind]))

    def keep(self) -> None:
        """Write the list of the frames."""
        write_text(self._folder / f"{self._part}.json", json.dumps(self.frames, indent=1) + "\n")


def join(folder: Path, path: Path, quality: int) -> None:
    """Write the parts as an animated WebP that begins again at its end."""
    font = _font()
    lists = [json.loads((folder / f"{part}.json").read_text()) for part in PARTS]
    frames = [frame for part in lists for frame in part]
    first, *others = (_framed(folder / name, words, font) for name, words, _ in frames)
    with atomic_write(path) as file:
        first.save(
            file,
            "WEBP",
            save_all=True,
            append_images=others,
            duration=[round(1000 * seconds) for *_, seconds in frames],
            loop=0,
            quality=quality,
            method=4,
        )
    seconds = sum(seconds for *_, seconds in frames)
    print(f"{path}: {len(frames)} frames, {seconds:.0f} s, {path.stat().st_size:,} bytes")


def _font() -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    from PIL import ImageFont

    return ImageFont.load_default(size=18)


def _framed(
    png: Path, words: str, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont"
) -> "Image.Image":
    """The page with a band of words below it, (WIDTH, HEIGHT + BAND) pixels."""
    from PIL import Image, ImageDraw

    whole = Image.new("RGB", (WIDTH, HEIGHT + BAND), PAPER)
    with Image.open(png) as page:
        whole.paste(page.convert("RGB"), (0, 0))
    ImageDraw.Draw(whole).text((16, HEIGHT + 8), words, fill=INK, font=font)
    return whole


@contextmanager
def served(*words: str) -> Iterator[str]:
    """The address that a command prints; the command ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "localinstruct", *words], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    try:
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def watch(film: Film, page: "Page", run: str, settings: list[str]) -> None:
    """Run the recipe `nano`, or go on with a run; keep WATCHED pictures of its page.

    They are spread over the whole time.
    """
    changes = [word for one in settings for word in ("--set", one)]
    there = (Path("runs") / run).is_dir()
    command = [f"runs/{run}", "--redo"] if there else ["nano", "--name", run]
    command = [sys.executable, "-m", "localinstruct", "run", *command, *changes]
    with subprocess.Popen(command) as process:
        while not (Path("runs") / run / "run.sqlite").exists() and process.poll() is None:
            time.sleep(0.2)
        with served("watch", run) as address:
            page.goto(address)
            while process.poll() is None:
                film.shoot(page, f"localinstruct watch {run}", "watch")
                page.wait_for_timeout(1000 * LOOK_SECONDS)
            page.wait_for_timeout(2500)
            film.shoot(page, f"localinstruct watch {run}: the run is done", "read")
    if process.returncode:
        raise SystemExit(f"the run ended with {process.returncode}")
    *during, last = film.frames
    step = max(1.0, len(during) / WATCHED)
    film.frames = [*(during[int(n * step)] for n in range(int(len(during) / step))), last]


def review(film: Film, page: "Page", run: str) -> None:
    """Rows by keyboard: keep, drop, undo, search, edit, rejects with a filter."""
    with served("review", run) as address:
        page.goto(address)
        film.shoot(page, f"localinstruct review {run}: the list of its rows", "read")
        _press(page, "n", "**/row/1*")
        film.shoot(page, "n   one row after the other", "read")
        _press(page, "k", "**/row/2*")
        film.shoot(page, "k   keep; the next row comes")
        _press(page, "k", "**/row/3*")
        film.shoot(page, "k   keep")
        _press(page, "d", "**/row/4*")
        film.shoot(page, "d   drop")
        _press(page, "u", "**/row/3*")
        film.shoot(page, "u   undo: the row is undecided again", "read")
        _press(page, "k", "**/row/4*")
        film.shoot(page, "k   keep it after all")
        _edit(film, page, run)
        _filter(film, page, address.partition("/?")[0])


def _press(page: "Page", key: str, address: str) -> None:
    page.keyboard.press(key)
    page.wait_for_url(address)
    page.wait_for_timeout(150)


def _wrong_opposite(run: str) -> tuple[str, str]:
    """(word, its opposite) of a kept row that has another one; SystemExit where all are right."""
    right = opposites()
    with read_run(Path("runs") / run) as store:
        for row in store.kept():
            word = (row.input or row.instruction.rstrip(".?!").rpartition(" ")[2]).lower()
            if "opposite" in row.instruction and right.get(word, row.output) != row.output:
                return word, right[word]
    raise SystemExit("No row about an opposite is wrong: nothing to mend. Take another run.")


def _edit(film: Film, page: "Page", run: str) -> None:
    """Find a row about an opposite that is wrong, and mend its answer."""
    word, right = _wrong_opposite(run)
    _press(page, "l", "**/rows*")
    page.keyboard.press("/")
    page.keyboard.type(f"opposite {word}")
    film.shoot(page, f"/   search: opposite {word}")
    _press(page, "Enter", "**/rows?*q=opposite*")
    film.shoot(page, "Enter   rows with both words", "read")
    _press(page, "n", "**/row/*")
    film.shoot(page, "n   that answer is wrong", "read")
    page.keyboard.press("e")
    page.locator("textarea[name=output]:focus").wait_for()
    film.shoot(page, "e   edit")
    page.keyboard.press("Control+A")
    page.keyboard.type(right)
    film.shoot(page, "write what is right")
    page.keyboard.press("Control+Enter")
    page.locator("ins").first.wait_for()
    film.shoot(page, "Ctrl Enter   saved: the change is marked, the teacher's row stays", "read")
    if page.locator("form.breaks").count():
        page.keyboard.press("y")
        page.locator("form.breaks").wait_for(state="detached")
        film.shoot(
            page, "y   a rule objects, and a person knows better: keep it all the same", "read"
        )


def _filter(film: Film, page: "Page", base: str) -> None:
    """Rejects, those of one reason, and one taken back."""
    page.goto(f"{base}/rows?kind=rejects")
    film.shoot(page, "rejects are a list of their own, with the reason of each", "read")
    page.locator("details summary").first.click()
    page.locator("select[name=reason]").select_option("too similar")
    film.shoot(page, "filter   reason: too similar")
    page.locator("button", has_text="show").click()
    page.wait_for_url("**reason=too*")
    film.shoot(page, "show   those rejected as too similar", "read")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.get_by_text("taken back", exact=True).first.wait_for()
    film.shoot(page, "j k   one of them is taken back", "read")


def report(film: Film, page: "Page", run: str) -> None:
    """The report: its head, the slider of thresholds, the map, a row of it."""
    page.goto((Path("runs") / run / "report.html").resolve().as_uri())
    film.shoot(page, f"runs/{run}/report.html: one file, without a network", "read")
    slider = page.locator("input[type=range]").first
    slider.scroll_into_view_if_needed()
    page.evaluate("e => e.scrollIntoView({block: 'center'})", slider.element_handle())
    film.shoot(page, "what would another threshold have kept?", "read")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
        film.shoot(page, "Left   a lower threshold, and the pairs at its edge")
    drawing = page.locator("svg.rowmap")
    page.evaluate("e => e.scrollIntoView({block: 'center'})", drawing.element_handle())
    film.shoot(page, "a map of the rows: kept, near-copies, rejected", "read")
    drawing.locator("circle").nth(40).click(force=True)
    page.locator(".onerow").scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    film.shoot(page, "click a point to read its row", "read")


def main() -> None:
    """Record a part, or join them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=(*PARTS, "join"))
    parser.add_argument("--run", default="film")
    parser.add_argument("--set", action="append", default=[], help="a key of the recipe: KEY=VALUE")
    parser.add_argument("--frames", type=Path, default=Path("frames"))
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "recording.webp")
    parser.add_argument("--quality", type=int, default=60)
    given = parser.parse_args()
    if given.part == "join":
        join(given.frames, given.output, given.quality)
        return
    given.frames.mkdir(parents=True, exist_ok=True)
    film = Film(given.frames, given.part)
    path = chromium_path()
    if not path:
        raise SystemExit(f"There is no Chromium: {TO_TYPE}")
    with launched(path) as opened:
        page = opened.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        if given.part == "watch":
            watch(film, page, given.run, given.set)
        else:
            {"review": review, "report": report}[given.part](film, page, given.run)
    film.keep()


if __name__ == "__main__":
    main()
