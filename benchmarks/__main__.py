"""Measure, print the tables, and write them: `python -m benchmarks` (`make bench`).

A full run writes benchmarks/results/<machine>.json and .svg; `--write-readme` puts the same tables
into README.md. A quick or partial run only prints, unless `--output` names a folder, so that a
published number comes from one whole run; or unless `--add-to` names an earlier run, in which each
added section then bears its own date and load.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import (
    filled,
    kept,
    memory,
    novelty,
    picture,
    plain_client,
    results,
    throughput,
    training,
    unequal,
)
from benchmarks.setting import Setting, load, note
from localinstruct.errors import LocalInstructError, UsageError
from localinstruct.models.catalog import checked
from localinstruct.progress import Silent
from localinstruct.records import JsonObject
from localinstruct.store.durable import write_text
from localinstruct.teacher import Sampling
from localinstruct.teacher.client import Client
from localinstruct.teacher.serving import Connect
from localinstruct.teacher.vllm import Server, running

SECTIONS = {
    "a": "throughput",
    "b": "kept",
    "c": "novelty",
    "d": "training",
    "f": "memory",
    "g": "unequal",
}
PUBLISHED = ("throughput", "kept", "novelty")
"""Sections that a published run must have.

Training may be left out, because it needs a quiet machine for longest.
"""


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    sections = "a throughput, b kept rows, c novelty, d training, f memory, g slots"
    add("--only", default="a,b,c,d", help=f"sections: {sections} (default: a,b,c,d)")
    add(
        "--quick", action="store_true", help="a short look, at most two minutes; not for publishing"
    )
    add("--recipe", default="nano", help="recipe whose teacher is measured (default: nano)")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a value of the recipe",
    )
    add(
        "--output",
        type=Path,
        help="folder for the JSON and the picture (default: benchmarks/results)",
    )
    add("--write-readme", action="store_true", help="put the tables into benchmarks/README.md")
    add(
        "--render",
        type=Path,
        metavar="FILE",
        help="measure nothing; take the results from this JSON file",
    )
    add(
        "--add-to",
        type=Path,
        metavar="FILE",
        help="put what is measured into this JSON file of an earlier run on this machine",
    )
    return parser.parse_args(words)


def main() -> int:
    """Run the benchmark and return its exit code."""
    options = arguments()
    try:
        earlier = _read(options.add_to) if options.add_to else None  # before anything is measured
        result = _read(options.render) if options.render else measure(options)
        if earlier:
            result = results.added(earlier, result, SECTIONS.values())
        print(results.markdown(result))
        _write(result, options)
    except LocalInstructError as error:
        print(f"{error.message}\n{error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


def measure(options: argparse.Namespace) -> results.Document:
    """Measure the sections of `--only`; UsageError for an unknown one."""
    only = options.only.split(",")
    if unknown := set(only) - set(SECTIONS):
        raise UsageError(
            f"--only {options.only}: no section {', '.join(sorted(unknown))}.",
            "Sections: a,b,c,d,f,g",
        )
    began, load_before = time.monotonic(), results.load_average()
    runs = Path("runs")  # where the product's runs lie: its disk, its fsync
    runs.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=runs, prefix=".bench-") as home:
        setting = load(options.recipe, options.set, Path(home).absolute(), options.quick)
        job = {"recipe": options.recipe, "overrides": options.set}
        sections = _sections(setting, only, job)
        return results.document(setting, sections, time.monotonic() - began, load_before)


def _sections(setting: Setting, only: list[str], job: JsonObject) -> dict[str, JsonObject]:
    """Results by section; `job` goes to the loop's own process, see `kept.measure`."""
    sections: dict[str, JsonObject] = {}
    if {"a", "b"} & set(only):
        with _served(setting) as (url, connect):
            if "a" in only:
                sections["throughput"] = throughput.measure(setting, connect)
            if "b" in only:
                sections["kept"] = kept.measure(setting, connect, {**job, "url": url})
    if "c" in only:
        sections["novelty"] = novelty.measure(setting)
    if "d" in only:
        sections["training"] = training.measure(setting)
    if "f" in only:
        sections["memory"] = memory.measure(setting)
    if "g" in only:
        sections["unequal"] = unequal.measure(setting.quick)
        if not setting.quick:
            with _served(setting) as (_, connect):
                sections["unequal"]["real"] = plain_client.measure(setting, connect)
    return sections


def _read(file: Path) -> results.Document:
    """Read an earlier run's results; UsageError when the file holds none."""
    try:
        earlier: results.Document = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{file}: no results can be read there ({error}).",
            "Name a JSON file of benchmarks/results.",
        ) from None
    return earlier


@contextmanager
def _served(setting: Setting) -> Iterator[tuple[str, Connect]]:
    """Serve the recipe's teacher on our own vLLM: its address, and a maker of clients.

    It is put together as `teacher.serving` does it; the address is for other processes.
    """
    note(f"starting vLLM with {setting.teacher.name}")
    recipe, spec = setting.recipe, setting.teacher
    server = Server(checked(spec), spec.name, recipe.serve, setting.home, "vllm", Silent())

    def connect(name: str, sampling: Sampling) -> Client:
        timeout, recover = recipe.serve.request_timeout, server.recover
        return Client(
            server.url, name, chat=spec.chat, sampling=sampling, timeout=timeout, recover=recover
        )

    with running(server):
        yield server.url, connect


def _write(result: results.Document, options: argparse.Namespace) -> None:
    """Write the files; nothing for a quick or partial run that names no folder."""
    whole = not result["quick"] and all(section in result for section in PUBLISHED)
    if not whole and not options.output:
        note("not written: only a whole run is, or give --output FOLDER")
        return
    folder = options.output or results.HERE / "results"
    folder.mkdir(parents=True, exist_ok=True)
    name = results.slug(result)
    write_text(folder / f"{name}.json", json.dumps(result, indent=1) + "\n")
    if "novelty" in result:
        write_text(folder / f"{name}.svg", picture.svg(result["novelty"], _caption(result)))
    if "unequal" in result:
        write_text(folder / f"{name}.svg", filled.svg(result["unequal"], _place(result)))
    note(f"written: {folder / name}.json")
    if options.write_readme and whole:
        results.write_into(results.HERE / "README.md", result)
    if options.write_readme and "memory" in result and not result["quick"]:
        results.write_memory(results.HERE / "README.md", result)
    if options.write_readme and "unequal" in result and not result["quick"]:
        results.write_unequal(results.HERE / "README.md", result)


def _caption(result: results.Document) -> str:
    return f"{_place(result)}, {result['novelty']['texts']}"


def _place(result: results.Document) -> str:
    facts = result["machine"]
    return f"{result['measured']}, {facts['cores']} cores ({facts['cpu']})"


if __name__ == "__main__":
    sys.exit(main())
