"""What one person may see of others' decisions: nothing of a row until that person's own verdict.

Agreement of two people means something only where the second did not know the first one's verdict.
Until a person has kept, dropped or edited a row, its page shows that person's own grades and tags
alone, whatever others said of it; afterwards it shows the last word. Not covered: decisions that
one person makes under two names.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from localinstruct.store.reviews import VERDICTS, Decision, Review


def view(log: Sequence[Decision], who: str) -> tuple[Review, bool]:
    """(what a person may see of all decisions on a row, True where others' are hidden)."""
    if not log or all(one.who == who for one in log):
        return (log[-1].after if log else Review()), False
    undone = {one.undoes for one in log}
    for one in log:
        if one.who == who and one.action in VERDICTS and one.number not in undone:
            return log[-1].after, False
    return own_part(log, who), True


def own_part(log: Sequence[Decision], who: str) -> Review:
    """Review of a row by one person, without what others said of it."""
    own = Review()
    for one in log:
        if one.who != who:
            continue
        for part in fields(Review):
            values = [getattr(one.before, part.name), getattr(one.after, part.name)]
            if values[0] != values[1]:
                said = _of_one(getattr(own, part.name), *values)
                changed: dict[str, Any] = {part.name: said}
                own = replace(own, **changed)
    return own


def _of_one(own: object, before: object, after: object) -> object:
    """A person's part of a value after one more decision: of grades and tags, the own ones."""
    if isinstance(own, dict) and isinstance(before, dict) and isinstance(after, dict):
        names = [name for name in after if name in own or before.get(name) != after[name]]
        return {name: after[name] for name in names}
    if isinstance(own, tuple) and isinstance(before, tuple) and isinstance(after, tuple):
        return tuple(value for value in after if value in own or value not in before)
    return after


def joined(shared: Review, own: Review, after: Review) -> Review:
    """The state of a row after a decision that was made on `own`, the person's part of it.

    What others said stays where the decision says nothing of it.
    """
    tags = {*shared.tags} - {*own.tags} | {*after.tags}
    scores = {name: grade for name, grade in shared.scores.items() if name not in own.scores}
    return Review(
        verdict=after.verdict or shared.verdict,
        edited=after.edited or shared.edited,
        scores=scores | after.scores,
        better=after.better or ("" if own.better else shared.better),
        tags=tuple(sorted(tags)),
        despite=after.despite if after.edited else shared.despite,
    )
