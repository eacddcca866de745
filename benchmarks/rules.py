"""Section r: defects that the rules catch, good rows that they hit by mistake, and their speed.

`python -m benchmarks.rules --data FILE` (`make bench DATA=FILE`). Caught is measured on
`defects.py`, `defects_marks.py` and the sets of `defect_sets.py`; false alarms on rows that people
wrote: yours, and the shipped seeds. Rows without an answer are left out. `--write` keeps the
figures for docs/rules.md.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks import defect_sets, defects, defects_marks
from benchmarks.results import grid
from localinstruct.curate.filters import Filters, examine
from localinstruct.formats import read_instances
from localinstruct.records import Instance, JsonObject
from localinstruct.store.durable import write_text

STORED = Path(__file__).parents[1] / "docs" / "rules.json"
LETTERS = 450
"""Letters of the rows whose speed is measured, about."""


def caught(count: int = 200) -> dict[str, list[int]]:
    """Class -> [caught, rows] of the variants held back while rules were made, then of all."""
    found = {}
    for defect, pairs in defects.made(defects.seed_rows(), count).items():
        verdicts = [
            (defects.is_held_out(defect, name), examine(row, Filters())) for name, row in pairs
        ]
        hits = [(held, bool(one.reject or one.repairs or one.secrets)) for held, one in verdicts]
        unseen = [hit for held, hit in hits if held]
        found[defect] = [sum(unseen), len(unseen), sum(hit for _, hit in hits), len(hits)]
    return found


def false_alarms(rows: Sequence[Instance]) -> tuple[Counter[str], Counter[str]]:
    """(rule, repair or kind of secret -> rows it hit; the same -> microseconds a row)."""
    hits, seconds = Counter[str](), Counter[str]()
    for row in rows:
        verdict = examine(row, Filters(), seconds)
        if verdict.reject:
            hits[verdict.reject.reason.replace(" ", "_")] += 1
        hits.update(verdict.row.lineage.changes)
    return hits, Counter({name: round(spent / len(rows) * 1e6) for name, spent in seconds.items()})


def work(rows: Sequence[Instance]) -> float:
    """CPU seconds that one process takes for these rows, its libraries loaded before."""
    filters = Filters()
    for row in rows[:50]:
        examine(row, filters)
    began = time.process_time()
    for row in rows:
        examine(row, filters)
    return time.process_time() - began


def rows_per_second(rows: Sequence[Instance], processes: int = 2) -> float:
    """Rows a second of this many processes that work at the same time, if each has a core."""
    parts = [rows[place::processes] for place in range(processes)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return sum(
            len(part) / spent for part, spent in zip(parts, pool.map(work, parts), strict=True)
        )


def of_length(rows: Sequence[Instance]) -> list[Instance]:
    """Rows of about LETTERS letters in instruction, input and answer."""
    return [
        row
        for row in rows
        if abs(len(row.instruction) + len(row.input) + len(row.output) - LETTERS) < LETTERS / 3
    ]


def measure(data: Path | None) -> JsonObject:
    """All figures; `data` is a file of rows that people wrote."""
    given = read_instances(data) if data else []
    answered = [row for row in given if row.output.strip()]
    rows = [*answered, *defects.seed_rows()]
    hits, cost = false_alarms(rows)
    typical = of_length(rows) * (1 if data else 40)
    return {
        "measured": time.strftime("%Y-%m-%d"),
        "rows": len(rows),
        "of_yours": len(answered),
        "without_answer": len(given) - len(answered),
        "caught": caught(),
        "unseen": defect_sets.looks(),
        "false_alarms": dict(hits.most_common()),
        "microseconds": dict(cost.most_common()),
        "rows_per_second": round(rows_per_second(typical[:20_000])),
    }


def markdown(found: JsonObject) -> str:
    """The figures as tables."""
    classes = [
        [name, f"{hit / max(of, 1):.1%}", f"{every / rows:.1%}", f"{rows}"]
        for name, (hit, of, every, rows) in found["caught"].items()
    ]
    names = dict.fromkeys([*found["microseconds"], *found["false_alarms"]])
    alarms = [
        [
            name,
            f"{found['false_alarms'].get(name, 0)}",
            f"{found['false_alarms'].get(name, 0) / found['rows']:.2%}",
            f"{found['microseconds'].get(name, '')}",
        ]
        for name in names
    ]
    return "\n\n".join(
        [
            f"**r. Rules** ({found['measured']}): {found['rows_per_second']:,} rows of about "
            f"{LETTERS} letters a second (CPU time) with two processes; {found['rows']:,} good "
            f"rows, {found['of_yours']:,} of them yours ({found['without_answer']:,} without an "
            "answer left out).",
            grid(["defect", "caught, held back", "caught, all", "rows"], classes),
            unseen_table(found["unseen"]),
            grid(["rule, repair or secret", "good rows hit", "share", "µs a row"], alarms),
        ]
    )


def unseen_table(found: dict[str, dict[str, list[float]]]) -> str:
    """What was caught of the sets that the rules were not made for: first look, then now."""
    names = [one.name for one in defect_sets.SETS]
    rows = [
        [
            name,
            *(
                f"{looks[one][0]:.1f} → {looks[one][1]:.1f}" if one in looks else ""
                for one in names
            ),
        ]
        for name, looks in found.items()
    ]
    return grid(["defect, % caught", *(f"{one} set" for one in names)], rows)


def main(words: list[str] | None = None) -> int:
    """Measure and print; with --write, keep the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rules")
    parser.add_argument("--data", type=Path, help="a file of rows that people wrote")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {STORED.name}")
    options = parser.parse_args(words)
    if options.data is None:
        print("No rows of yours: false alarms are those on the shipped seeds (DATA=FILE).")
    found = measure(options.data)
    print(markdown(found))
    if options.write:
        STORED.parent.mkdir(parents=True, exist_ok=True)
        write_text(STORED, json.dumps(found, indent=1) + "\n")
    return 0


assert defects_marks  # registers its classes

if __name__ == "__main__":
    sys.exit(main())
