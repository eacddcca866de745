"""The judge of a cleaning: a grade for every row that would stay, stored before it is used.

As many rows are at the server as keep it full. Whatever was answered is in the store before
anything follows from it, so that a judging that was killed asks only for what is missing. Not
covered: whether the judge can be believed (`localinstruct judge check`).
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from random import Random
from statistics import fmean

from localinstruct.cleaning.decisions import Decisions, Drop, Graded
from localinstruct.cleaning.settings import Judge
from localinstruct.cleaning.steps import TO_STAY
from localinstruct.interrupt import run_async
from localinstruct.judge.grading import Grade, Verdict, grade_prompt, verdict_of
from localinstruct.methods.judge import after_verdict
from localinstruct.progress import Progress
from localinstruct.records import Instance, JsonObject, Reject
from localinstruct.teacher import Sampling, Teacher
from localinstruct.teacher.serving import Connect

JUDGE = "judge"
FETCHED = 1000
"""Rows that are read from the store at once."""
UNGRADED = f"{TO_STAY} AND seq NOT IN (SELECT seq FROM grades)"
Serving = Callable[[], AbstractContextManager[Connect]]
"""What serves the judge for as long as its context lasts."""
OnGraded = Callable[[list[tuple[int, Verdict]]], object]
"""Told what has come, (key, verdict), as it comes."""


def grade_rows(store: Decisions, judge: Judge, serve: Serving, progress: Progress) -> None:
    """Have every row graded that would stay, and drop those below `at_least` or without a grade.

    The judge is started only where a grade is missing. TeacherError when it is gone for good.
    """
    if store.is_done(JUDGE):
        return
    missing, total = store.count(UNGRADED), store.count(TO_STAY)
    if missing:
        if missing < total:
            progress.say(f"going on after {total - missing:,} rows that were judged before")

        def keep(verdicts: list[tuple[int, Verdict]]) -> None:
            nonlocal missing
            store.add_grades(_graded(store, seq, verdict, judge) for seq, verdict in verdicts)
            missing -= len(verdicts)
            progress.update("judging", total - missing, total)

        with serve() as connect:
            run_async(grade_all(connect, _ungraded(store), judge, keep))
    found = store.select("SELECT seq, reason, detail, score FROM grades WHERE reason != ''")
    drops = [
        Drop(
            int(str(seq)),
            JUDGE,
            str(reason),
            str(detail),
            None if score is None else float(str(score)),
        )
        for seq, reason, detail, score in found
    ]
    store.end_step(JUDGE, drops, _facts(store, judge))


async def grade_all(
    connect: Connect, rows: Iterable[tuple[int, Instance]], judge: Judge, on_graded: OnGraded
) -> None:
    """Have rows graded, many at once, in order; `on_graded` is told before more are asked for."""
    client = connect(judge.model, Sampling(max_tokens=judge.grading.max_tokens))
    try:
        await _grade_all(client, iter(rows), judge, on_graded)
    finally:
        await client.close()


async def _grade_all(
    teacher: Teacher, rows: Iterator[tuple[int, Instance]], judge: Judge, on_graded: OnGraded
) -> None:
    asked, most = dict[asyncio.Task[Verdict], int](), 2 * judge.serve.max_num_seqs
    try:
        while True:
            for key, row in islice(rows, most - len(asked)):
                asked[asyncio.create_task(_verdict(teacher, row, judge))] = key
            if not asked:
                return
            done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            came = sorted((asked.pop(task), task) for task in done)
            on_graded([(key, task.result()) for key, task in came if not task.exception()])
            for _, task in came:
                task.result()  # raises what went wrong, after the others are stored
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def _verdict(teacher: Teacher, row: Instance, judge: Judge) -> Verdict:
    # no row can hold a mark that follows from all its words, and the same row is asked the same
    mark = f"--- {Random(row.id).getrandbits(32):08x} ---"
    replies = await teacher.complete(grade_prompt(row, judge.grading, mark))
    return verdict_of(replies, judge.grading.rubric)


def judged(
    rows: Sequence[Instance], judge: Judge, serve: Serving, progress: Progress
) -> list[tuple[Verdict, Instance | Reject]]:
    """What the judge says of each of these rows, and what follows; nothing is stored."""
    found = dict[int, Verdict]()

    def note(verdicts: list[tuple[int, Verdict]]) -> None:
        found.update(verdicts)
        progress.update("judging", len(found), len(rows))

    if rows:
        with serve() as connect:
            run_async(grade_all(connect, enumerate(rows), judge, note))
    return [(found[n], after_verdict(row, found[n], judge)) for n, row in enumerate(rows)]


def _ungraded(store: Decisions) -> Iterator[tuple[int, Instance]]:
    last = -1
    while rows := list(store.rows(f"{UNGRADED} AND seq > {last:d}", f"seq LIMIT {FETCHED}")):
        yield from ((one.seq, one.row) for one in rows)
        last = rows[-1].seq


def _graded(store: Decisions, seq: int, verdict: Verdict, judge: Judge) -> Graded:
    after = after_verdict(store.row(seq).row, verdict, judge)
    reason, detail = (after.reason, after.detail) if isinstance(after, Reject) else ("", "")
    if isinstance(verdict, Grade):
        return Graded(seq, verdict.score, verdict.scores, reason, detail)
    return Graded(seq, None, {}, reason, detail)


def _facts(store: Decisions, judge: Judge) -> JsonObject:
    """Facts of the judging: judge, rubric, number of rows, their mean grade."""
    scores = [
        float(str(score))
        for (score,) in store.select("SELECT score FROM grades WHERE score IS NOT NULL")
    ]
    [(asked,)] = store.select("SELECT COUNT(*) FROM grades")
    return {
        "model": judge.model,
        "rubric": judge.grading.rubric.name,
        "at_least": judge.at_least,
        "asked": asked,
        "graded": len(scores),
        "mean": fmean(scores) if scores else None,
    }
