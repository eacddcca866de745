"""The documentation cannot lie.

Generated pages equal the code, the tree equals the folders, commands exist.
"""

import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from docs.generate import COMMANDS, PAGES
from localinstruct import __version__
from localinstruct.cli.app import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES_TEXT = "\n".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))
TREE = re.search(r"```text\n(localinstruct/\n.*?)```", README, re.DOTALL)


TESTED_APART = {"chat-templates.md"}
"""tests/templates/test_trl_templates.py has their table already."""


@pytest.mark.parametrize("name", sorted(PAGES.keys() - TESTED_APART))
def test_generated_pages_are_up_to_date(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == PAGES[name](), "run `make docs`"


def test_every_command_is_in_the_reference() -> None:
    listed = {command.split()[0] for command in COMMANDS}
    shown = CliRunner().invoke(app, ["--help"]).output
    names = set(re.findall(r"^│ ([a-z]+(?:-[a-z]+)*)  ", shown, re.MULTILINE)) - {"--help"}
    assert names == listed
    assert len(names) >= 14


def tree_entries() -> list[tuple[str, str]]:
    """(path, annotation) of every line of the README's tree; a line of file names has none."""
    assert TREE
    found, inside = list[tuple[str, str]](), False
    for line in TREE[1].splitlines()[1:]:
        inside = line.startswith(("├── ", "└── "))
        words = line.removeprefix("├── ").removeprefix("└── ")
        names = [word for word in words.split() if word.endswith(".py")]
        name, _, text = words.partition(" ")
        entries = (
            [(one, "a line of names") for one in names]
            if len(names) > 1
            else [(name, text.strip())]
        )
        found += [(f"localinstruct/{one}" if inside else one, text) for one, text in entries]
    return found


def test_the_readme_tree_is_the_real_one() -> None:
    entries = [path for path, _ in tree_entries()]
    assert [path for path in entries if not (ROOT / path).exists()] == []
    package = {
        f"localinstruct/{path.name}{'/' if path.is_dir() else ''}"
        for path in (ROOT / "localinstruct").iterdir()
        if not path.name.startswith("__") and path.name != "py.typed"
    }
    assert package == {entry for entry in entries if entry.startswith("localinstruct/")}
    assert len(entries) > 30


def test_every_line_of_the_tree_says_something() -> None:
    assert [path for path, text in tree_entries() if not text] == []


def shell_lines(text: str) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [
        line.split("#")[0].strip()
        for block in blocks
        for line in block.replace("\\\n", "").splitlines()
        if line.strip()
    ]


@cache
def help_of(*command: str) -> str:
    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, command
    return shown.output


def test_the_commands_of_the_pages_exist() -> None:
    looked_at = 0
    for line in shell_lines(README + PAGES_TEXT):
        for command in line.split("&&"):
            words = shlex.split(command)
            if not words:
                continue  # a comment in a block
            if words[0] == "make":
                targets = subprocess.run(
                    ["make", "-n", "-C", str(ROOT), *words[1:]], capture_output=True, text=True
                )
                assert targets.returncode == 0, targets.stderr
            elif words[0] == "localinstruct":
                path = words[1:3] if " ".join(words[1:3]) in COMMANDS else words[1:2]
                options = [word for word in words if word.startswith("--")]
                shown = help_of(*path)
                assert all(option in shown for option in options), command
            looked_at += 1
    assert looked_at >= 100


def test_the_refusals_of_the_page_are_ones_that_the_program_says() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\*\*`(.+?)`\*\*", page, re.MULTILINE)
    assert len(shown) == 10
    said = " ".join(
        re.sub(r'"\s+f?"', "", path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / "localinstruct").rglob("*.py"))
    )
    fixed = (
        "looked for a directory with the model at ",
        ": unknown key; ",
        ": was begun with another recipe. Changed keys:",
        " does not fit: ",
        " rows cannot be used: ",
        ": in use by process ",
        " candidates were new (generate.stop_below is ",
        " are needed to go on. ",
        ": it knows few of their letters, ",
        "stale",
    )
    for message, words in zip(shown, fixed, strict=True):
        assert words in message
        assert words in said


def test_the_readme_is_read_in_one_go() -> None:
    assert README.count("\n") <= 180


def test_links_lead_somewhere() -> None:
    pages = [
        ROOT / name
        for name in (
            "README.md",
            "CONTRIBUTING.md",
            "CHANGELOG.md",
            "seeds/README.md",
            "benchmarks/README.md",
        )
    ]
    pages += sorted((ROOT / "docs").glob("*.md"))
    links = [
        (page, link) for page in pages for link in re.findall(r"\]\(([^)#]+)\)", page.read_text())
    ]
    broken = [
        (page.name, link)
        for page, link in links
        if "://" not in link and not (page.parent / link).exists()
    ]
    assert broken == []
    assert len(links) >= 12


def test_every_page_is_in_the_sites_navigation() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

    def pages(entries: list[dict[str, str | list[Any]]]) -> Iterator[str]:
        for entry in entries:
            for value in entry.values():
                yield from [value] if isinstance(value, str) else pages(value)

    named = list(pages(site["nav"]))
    assert sorted(named) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def test_the_site_loads_nothing_from_elsewhere() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert site["theme"]["font"] is False
    for script in site["extra"]["polyfills"]:
        assert (ROOT / "docs" / script).is_file()


def test_the_changelog_knows_this_version() -> None:
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_nothing_is_left_to_fill_in() -> None:
    for path in [
        *ROOT.glob("*.md"),
        *ROOT.glob("recipes/*.yaml"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("benchmarks/*.md"),
    ]:
        assert not re.search(
            r"\b(TODO|FIXME|MEASURED|XXX|[A-Z]+_[A-Z]+_?(TIME|TABLE|CAPTURE|LINES|NUMBERS))\b",
            path.read_text(),
        ), path


def test_reading_order_counts_its_lines() -> None:
    section = README.split("## Where to read next")[1]
    files = re.findall(r"\]\(((?:recipes|localinstruct)/[^)]+)\)", section)
    lines = sum((ROOT / name).read_text().count("\n") for name in files)
    found = re.search(r"store, (?:about )?([\d,]+) lines", section)
    assert found
    stated = int(found[1].replace(",", ""))
    assert len(files) == 7
    assert abs(lines - stated) <= 60, lines
    assert f"after\nabout {stated:,} lines" in (ROOT / "CONTRIBUTING.md").read_text()
