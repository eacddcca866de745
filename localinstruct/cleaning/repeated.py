"""Rows that ask what another row asks: by keys, which lie on the disk.

Few rows are sorted by SQLite, in the store of decisions itself. Of MANY the keys (question, answer,
length, grade) are written to a Parquet file in one pass, and DuckDB decides over that, where it is
installed (extra `many`): SQLite would look each row up by a seek of its own. Both ways decide
alike.
"""

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

from localinstruct.cleaning.decisions import Decisions, Drop
from localinstruct.cleaning.keys import AGAIN, MORE, THERE, Keys
from localinstruct.cleaning.settings import Clean

if TYPE_CHECKING:
    import numpy as np

REPEATED = "repeated"
ANSWERS = "answers"
"""The second half of REPEATED, where grades decide which answers stay."""
GRADE = "(SELECT score FROM grades WHERE grades.seq = rows.seq)"
MANY = 200_000
"""Rows from which DuckDB decides."""
FIRST = {"first": "", "longest": "length DESC, ", "best": "grade DESC NULLS LAST, "}
"""`keep` -> SQL by which rows of one question are sorted, before their numbers."""


def find_repeated(store: Decisions, settings: Clean) -> None:
    """Drop rows that repeat question and answer, and answers over `answers_per_prompt`."""
    most = None if settings.keep == "best" else settings.answers_per_prompt
    if not store.is_done(REPEATED):
        _end(store, REPEATED, settings, most)


def find_worse_answers(store: Decisions, settings: Clean) -> None:
    """Drop answers over `answers_per_prompt`, the best graded ones first: after the judge."""
    if not store.is_done(ANSWERS) and settings.keep == "best":
        _end(store, ANSWERS, settings, settings.answers_per_prompt)


def heads(store: Decisions, settings: Clean) -> "np.ndarray":
    """(n,) int64 numbers of the rows that are compared, one for each question, references first."""
    import numpy as np

    most = {"first": "", "longest": "MAX(length) DESC, ", "best": "MAX({}) DESC NULLS LAST, "}
    order = f"MAX(is_reference) DESC, {most[settings.keep]}head"
    if _by_duckdb(store):
        with Keys(store, _grade(settings)) as keys:
            return keys.heads(order.format("grade"))
    found = store.select(
        "SELECT MIN(seq) AS head FROM rows WHERE reason IS NULL GROUP BY question "
        f"ORDER BY {order.format(GRADE)}"
    )
    return np.fromiter((int(str(seq)) for (seq,) in found), np.int64)


def _grade(settings: Clean) -> str:
    return GRADE if settings.keep == "best" else "NULL"


def _by_duckdb(store: Decisions) -> bool:
    return find_spec("duckdb") is not None and store.count() >= MANY


def _end(store: Decisions, step: str, settings: Clean, most: int | None) -> None:
    if _by_duckdb(store):
        with Keys(store, _grade(settings)) as keys:
            store.end_step(step, keys.repeated(FIRST[settings.keep], most, REPEATED))
        return
    found = store.select(
        f"SELECT seq, question, answer, is_reference, {_grade(settings)} AS grade FROM rows "
        f"WHERE reason IS NULL ORDER BY question, is_reference DESC, {FIRST[settings.keep]}seq"
    )
    store.end_step(step, _repeated(found, most))


def _repeated(found: Iterable[tuple[object, ...]], most: int | None) -> Iterator[Drop]:
    asked, answers = None, dict[object, int]()
    for number, question, answer, is_reference, _ in found:
        seq = int(str(number))
        if question != asked:
            asked, answers, is_there = question, dict[object, int](), bool(is_reference)
        first = next(iter(answers.values()), seq)
        if is_reference:
            pass
        elif is_there:
            yield Drop(seq, REPEATED, THERE, "", 1.0, first)
            continue
        elif answer in answers:
            yield Drop(seq, REPEATED, AGAIN, "", 1.0, answers[answer])
            continue
        elif most is not None and len(answers) >= most:
            yield Drop(seq, REPEATED, MORE, "", 1.0, first)
            continue
        answers.setdefault(answer, seq)
