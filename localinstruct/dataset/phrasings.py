"""Self-Instruct's thirteen ways to put a task to a model (its step 4).

They keep a student from learning one form by heart. Seven forms for a task with an input, six
without: with or without the words "Task", "Input" and "Output", one line break or two. Half of the
inputs also lose their only field name ("Sentence: ...") or their blank lines. A row becomes a row
whose instruction holds all of it; the training template goes around that as around any other, so
training and evaluation still agree. The form of a row depends on the row alone. Not covered: talks
of several turns, which stay as they are.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from localinstruct.records import Instance

WITH_INPUT = (
    "{instruction}\nInput: {input}\nOutput:",
    "{instruction}\n\nInput: {input}\n\nOutput:",
    "Task: {instruction}\nInput: {input}\nOutput:",
    "{instruction}\n\n{input}\n\nOutput:",
    "{instruction}\n\n{input}\n",
    "{instruction}\n{input}\n\n",
    "Task: {instruction}\n\n{input}\n\n",
)
WITHOUT_INPUT = (
    "{instruction} Output:",
    "{instruction}\nOutput:",
    "{instruction}\n\nOutput:",
    "{instruction}\n",
    "{instruction}\n\n",
    "Task: {instruction}\n\n",
)
_FIELD = re.compile(r"(?m)^[ \t]*(\w+):[ \t]*")


def rephrase(rows: Sequence[Instance]) -> list[Instance]:
    """Every row in the form it draws; its former id becomes its parent."""
    return [row if row.history else _rephrase_row(row, Random(row.id)) for row in rows]


def _rephrase_row(row: Instance, rng: Random) -> Instance:
    forms = WITH_INPUT if row.input else WITHOUT_INPUT
    given = _varied(row.input, rng)
    text = rng.choice(forms).replace("{instruction}", row.instruction.strip(), 1)
    before, _, after = text.rpartition("{input}")
    whole = f"{before}{given}{after}" if row.input else text
    lineage = replace(row.lineage, parents=(row.id,))
    return replace(row, instruction=whole.rstrip(" "), input="", lineage=lineage)


def _varied(given: str, rng: Random) -> str:
    """The input, in half of the cases without its only field name and without blank lines."""
    if rng.random() < 0.5:
        return given
    names = {match[1].casefold() for match in _FIELD.finditer(given)}
    shorter = _FIELD.sub("", given) if len(names) == 1 else given
    return shorter.replace("\n\n", "\n")
