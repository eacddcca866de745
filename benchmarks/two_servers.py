"""Output tokens a second of `generate` with two real vLLM of one thread each, against one.

    python -m benchmarks.two_servers [--quick] [--set KEY=VALUE]

The nano teacher, the scheduler with its store and client, vectors given (`throughput.py`), the
same number of episodes each time, in turns. On two cores client, API servers and engines share what
two engines alone would take, so that the ratio is below 2 by what they need. Not covered: GPUs.
"""

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.results import load_average
from benchmarks.setting import Setting, load, note
from benchmarks.throughput import EPISODES, QUICK_EPISODES, RandomEncoder, played
from localinstruct.progress import Silent
from localinstruct.records import JsonObject
from localinstruct.teacher.serving import serving

REPETITIONS = 3
NAMES = {1: "one server", 2: "two servers"}


def of_copies(setting: Setting, copies: int) -> Setting:
    """The setting with so many servers of one thread each, and a folder of their own."""
    more = {"data_parallel_size": copies, "data_parallel": "servers"}
    serve = setting.recipe.serve.model_copy(update=more)
    in_flight = 2 * serve.max_num_seqs * copies
    generate = setting.recipe.generate.model_copy(update={"in_flight": in_flight})
    recipe = setting.recipe.model_copy(update={"serve": serve, "generate": generate})
    home = setting.home / str(copies)
    home.mkdir()
    return replace(setting, recipe=recipe, home=home)


def measure(setting: Setting) -> JsonObject:
    """Tokens a second of both in each repetition, and the ratios."""
    one, two = (of_copies(setting, copies) for copies in NAMES)
    count = QUICK_EPISODES if setting.quick else EPISODES
    speeds: dict[str, list[float]] = {name: [] for name in NAMES.values()}
    loads = [load_average()]
    with (
        serving(one.teacher, one.recipe.serve, one.home, Silent()) as single,
        serving(two.teacher, two.recipe.serve, two.home, Silent()) as double,
    ):
        ways = [(NAMES[1], one, single), (NAMES[2], two, double)]
        for repetition in range(-1, 1 if setting.quick else REPETITIONS):
            for name, at, connect in ways[:: -1 if repetition % 2 else 1]:
                found, _ = played(at, connect, RandomEncoder(), count, name)
                note(f"{name}: {found['tokens_per_second']:,.0f} tokens/s")
                if repetition >= 0:  # before it, both are warmed up
                    speeds[name].append(found["tokens_per_second"])
            loads.append(load_average())
    ratios = [b / a for a, b in zip(*speeds.values(), strict=True)]
    return {
        "episodes": count,
        "tokens_per_second": speeds,
        "ratio": [min(ratios), statistics.median(ratios), max(ratios)],
        "load": loads,
    }


def main() -> None:
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--quick", action="store_true")
    words.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = words.parse_args()
    runs = Path("runs")
    runs.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=runs, prefix=".bench-") as home:
        setting = load("nano", given.set, Path(home).absolute(), given.quick)
        print(json.dumps(measure(setting), indent=1))


if __name__ == "__main__":
    main()
