"""A data set with planted defects, for docs/clean.md: `python -m benchmarks.messy 20000 FILE`.

Rows of the nano grammar; 2 % of them with a defect of `defects.py`, 5 % repeated, 10 % asked again
with other words around, 1 % with another answer. Seeded: the same number gives the same file. It
prints how many of each were planted.
"""

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

from benchmarks import defects, defects_marks
from localinstruct.nano.grammar import make_task
from localinstruct.records import Instance
from localinstruct.store.durable import write_text

SHARES = {"defect": 0.02, "repeated": 0.05, "reworded": 0.10, "answered again": 0.01}

POLITE = ("Please {}", "Could you {}", "I want you to {}", "Now {} Thank you.", "Hello! {}")


def rows(count: int, seed: int = 7) -> list[tuple[str, Instance]]:
    """(what was planted, row) of a messy data set, in order."""
    rng = Random(seed)
    made = [_good(rng) for _ in range(count)]
    result = [("", row) for row in made]
    planted = rng.sample(range(1, count), int(count * sum(SHARES.values())))
    for kind, share in SHARES.items():
        for _ in range(int(count * share)):
            number = planted.pop()
            before = made[rng.randrange(number)]
            result[number] = (kind, _planted(kind, rng, before, made[number]))
    return result


def _good(rng: Random) -> Instance:
    task = make_task(rng)
    output = task.output if len(task.output) > 2 else f"The answer is {task.output}."
    return Instance(task.instruction, task.input, output)


def _planted(kind: str, rng: Random, before: Instance, own: Instance) -> Instance:
    if kind == "repeated":
        return before
    if kind == "answered again":
        return replace(before, output=f"{before.output.rstrip('.')}, as far as I can tell.")
    if kind == "reworded":
        first = before.instruction[:1].lower() + before.instruction[1:]
        return replace(before, instruction=rng.choice(POLITE).format(first))
    defect = rng.choice(list(defects.CLASSES))
    name = rng.choice(list(defects.CLASSES[defect]))
    return defects.CLASSES[defect][name](rng, own, before)


def main() -> int:
    """Write the file and count what was planted."""
    count, path = int(sys.argv[1]), Path(sys.argv[2])
    made = rows(count)
    lines = (
        json.dumps({"instruction": row.instruction, "input": row.input, "output": row.output})
        for _, row in made
    )
    write_text(path, "".join(f"{line}\n" for line in lines))
    print(dict(Counter(kind or "good" for kind, _ in made)))
    print(f"{path}: {count:,} rows")
    return 0


assert defects_marks  # its import adds classes to CLASSES

if __name__ == "__main__":
    sys.exit(main())
