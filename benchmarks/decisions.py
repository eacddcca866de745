"""Decisions of the rules of two checkouts on the same rows, and where they differ.

`python -m benchmarks.decisions --before CHECKOUT --data FILE`: the rows of the file and of every
set of defects go through both. Compared are the reason with its words, the repairs, the secrets,
the row as it would be kept, and what each rule says alone. Ends with 1 where any differ.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from localinstruct.records import Instance

HERE = Path(__file__).parents[1]


def rows(data: Path | None) -> Iterator[Instance]:
    """Rows of the file, then those of the sets of defects."""
    from benchmarks import defect_sets, defects, defects_marks
    from localinstruct.formats import read_instances

    assert defects_marks  # registers its classes
    yield from read_instances(data) if data else ()
    for pairs in defects.made(defects.seed_rows(), 200).values():
        yield from (row for _, row in pairs)
    unseen = (one.rows_of(name, 240) for one in defect_sets.SETS for name in one.first_look)
    for row in chain.from_iterable(unseen):
        yield Instance(row["instruction"], row["input"], row["output"])


def decide(file: Path) -> None:
    """Print what the rules that can be imported say of each row of a file, a line each."""
    from localinstruct.curate.filters import KINDS, Filters, examine
    from localinstruct.curate.rules import FILTERS, STRICTER_SINCE_2

    filters = Filters(secret_kinds=list(KINDS))
    names = filters.active
    for line in file.read_text("utf-8").splitlines():
        verdict = examine(Instance.from_dict(json.loads(line)), filters)
        alone = dict[str, object]()
        for name in names:
            asked = (FILTERS[name], STRICTER_SINCE_2.get(name))
            said = [rule(verdict.row, filters) for rule in asked if rule]
            alone |= {name: said} if any(said) else {}
        reject = verdict.reject and [verdict.reject.reason, verdict.reject.detail]
        kept = verdict.row.to_dict()
        print(json.dumps([reject, verdict.repairs, verdict.secrets, kept, alone], default=str))


def main(words: list[str] | None = None) -> int:
    """Compare, or with --of print the decisions on a file of rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decisions")
    parser.add_argument("--before", type=Path, help="another checkout of the package")
    parser.add_argument("--data", type=Path, help="a file of rows that people wrote")
    parser.add_argument("--of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.of:
        decide(options.of)
        return 0
    if options.before is None:
        parser.error("expected --before CHECKOUT")
    with tempfile.TemporaryDirectory() as folder:
        file, said = Path(folder) / "rows.jsonl", []
        given = [row.to_dict() for row in rows(options.data)]
        file.write_text("".join(json.dumps(row) + "\n" for row in given), "utf-8")
        for checkout in (options.before, HERE):
            command = [sys.executable, str(Path(__file__).resolve()), "--of", str(file)]
            env = {**os.environ, "PYTHONPATH": str(checkout.resolve())}
            done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
            said.append(done.stdout.splitlines())
    pairs = enumerate(zip(*said, strict=True))
    different = [number for number, (one, two) in pairs if one != two]
    for number in different[:20]:
        print(json.dumps(given[number])[:300], *(lines[number][:400] for lines in said), sep="\n  ")
    print(f"{len(given):,} rows, {len(different)} decisions differ")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
