"""Decontamination: rows that also stand in the evaluation tasks leave the training data.

A row asks what a task asks when the words of system, earlier turns, instruction and input are the
same, whatever their case, punctuation, a polite beginning, and the place between instruction and
input. `Tasks` also finds tasks of which half stands in a row, by runs of eight words (13 of GPT-3,
8 of Tülu 3, arXiv 2411.15124). Not covered here: paraphrases, which only embeddings see.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from localinstruct.records import Instance, Reject

STAGE, REASON = "decontaminate", "in the evaluation tasks"
RUN = 8
"""Words that must follow each other in both."""
SHORTEST = 5
"""Words of a task that is looked for as a part of a row; shorter ones only as a whole."""
SHARE = 0.5
"""Share of a task's runs of words that must stand in a row."""
_WORD = re.compile(r"\w+(?:[.,]\d+)*")
_POLITE = re.compile(
    r"(?:(?:hi|hello|hey|dear \w+|please|kindly|now|so|ok|okay|thanks)\b"
    r"|(?:question|task|instruction|q)\b"
    r"|(?:can|could|would|will) you(?: please| kindly)?\b"
    r"|i(?: would|['’]d)? (?:want|like|need)(?: you)? to\b"
    r"|(?:i need you|your task is|you are asked|help me) to\b|help me\b)[\s,:.!-]*",
    re.IGNORECASE,
)


class Tasks:
    """Evaluation tasks, to be found in rows; of equal ones the first is named."""

    def __init__(self, tasks: Mapping[str, Instance]) -> None:
        self._whole = dict[tuple[str, ...], str]()
        self._runs = dict[tuple[str, ...], list[str]]()
        self._sizes = dict[str, int]()
        for name, task in tasks.items():
            words = _question_words(task)
            self._whole.setdefault(words, name)
            runs = set(_runs(words, min(RUN, len(words)))) if len(words) >= SHORTEST else set()
            self._sizes[name] = len(runs)
            for run in runs:
                self._runs.setdefault(run, []).append(name)
        self._lengths = sorted({len(run) for run in self._runs})
        self._begins = {run[:2] for run in self._runs}
        """First two words of the runs: elsewhere no run is looked up."""

    def same(self, row: Instance) -> str | None:
        """Name of the task that asks what a row asks."""
        return self._whole.get(_question_words(row))

    def within(self, row: Instance) -> tuple[str, float] | None:
        """Name of the task of which most stands in a row's question or answer, and the share."""
        seen = Counter[str]()
        for words in (_question_words(row), _words(row.output)):
            at = [n for n, pair in enumerate(pairwise(words)) if pair in self._begins]
            runs = {words[n : n + length] for length in self._lengths for n in at}
            seen |= Counter(name for run in runs for name in self._runs.get(run, ()))
        shares = ((name, count / self._sizes[name]) for name, count in seen.items())
        best = max(shares, key=lambda one: one[1], default=("", 0.0))
        return best if best[1] >= SHARE else None


def decontaminate(
    rows: Sequence[Instance], tasks: Mapping[str, Instance]
) -> tuple[list[Instance], list[Reject]]:
    """(rows left, in order; rejects whose detail names the task).

    `tasks` maps a task's id to its content; of equal tasks the first is named.
    """
    known, left, rejects = Tasks(tasks), list[Instance](), list[Reject]()
    for row in rows:
        name = known.same(row)
        if name is None:
            left.append(row)
        else:
            rejects.append(Reject(STAGE, REASON, row.instruction, name))
    return left, rejects


def unique(
    rows: Iterable[Instance], several: Collection[str] = ()
) -> tuple[list[Instance], list[Reject]]:
    """(first row of each question, rejects for the others).

    Of the rows whose ids are in `several` (those of files) every different answer is kept; a split
    keeps equal questions on one side.
    """
    first: dict[tuple[object, ...], Instance] = {}
    rejects: list[Reject] = []
    for row in rows:
        answer = answers(row) if row.id in several else ()
        kept = first.setdefault((*question(row), *answer), row)
        if kept is not row:
            rejects.append(Reject(STAGE, "duplicate", row.instruction, f"row {kept.id}"))
    return list(first.values()), rejects


def question(row: Instance) -> tuple[object, ...]:
    """Question of a row: equal for two rows whose answers answer the same."""
    return (row.system, row.history, *fingerprint(row))


def answers(row: Instance) -> tuple[object, ...]:
    """Answer of a row, in all its parts."""
    return (row.output, row.rejected, row.thinking, row.tool_calls, row.steps)


def fingerprint(row: Instance) -> tuple[str, str]:
    """(instruction, input), folded: equal for two rows that ask the same."""
    return _folded(row.instruction), _folded(row.input)


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _question_words(row: Instance) -> tuple[str, ...]:
    """Words of all that is asked, in order, without a polite beginning."""
    instruction = row.instruction.strip()
    while match := _POLITE.match(instruction):
        instruction = instruction[match.end() :]
    turns = [turn.content for turn in row.history]
    return _words("\n".join([row.system, *turns, instruction or row.instruction, row.input]))


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def _runs(words: Sequence[str], length: int) -> Iterator[tuple[str, ...]]:
    for start in range(len(words) - length + 1):
        yield tuple(words[start : start + length])
