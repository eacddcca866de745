"""Rows as people left them: dropped, mended, or taken back from the rejects.

The teacher's row stays as it was; what a person wrote is a child of it, with the method "review".
A reject that is taken back has no parent, and its text was often all there was of it. Both pass a
gate where one is given (`review_gate`). Not covered: rows mixed in that `dataset.phrasing` puts in
other words.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from localinstruct.records import Instance, Json, JsonObject, Lineage, Reject, digest
from localinstruct.store.reviews import FILE, Review, Reviewed, Reviews, mended

METHOD = "review"
DROPPED = "dropped by a person"
Verdicts = Callable[[Instance, Reviewed, Instance], Instance | Reject]
"""(row as a person wrote it, what people said, row as it was) -> the row to keep, or a reject."""


@dataclass(frozen=True)
class Applied:
    """Rows after people's decisions, rejects for those dropped, and what became of each id."""

    rows: list[Instance]
    rejects: list[Reject] = field(default_factory=list)
    child_of: dict[str, str] = field(default_factory=dict)
    """Id of a mended row -> id of the row that it was."""


def decisions(folder: Path) -> dict[str, Reviewed]:
    """Key -> every row of a run that people have said something of, as it stands."""
    reviews = Reviews(folder / FILE)
    try:
        return {one.key: one for one in reviews.since(0) if one.review.decided}
    finally:
        reviews.close()


def apply(
    rows: Sequence[Instance], decided: Mapping[str, Reviewed], gate: Verdicts | None = None
) -> Applied:
    """Rows without those that were dropped, and mended ones in the place of what they were.

    Mended ones that the gate does not let through are rejects.
    """
    applied = Applied([])
    for row in rows:
        one = decided.get(row.id)
        if one is None or one.kind != "row":
            applied.rows.append(row)
        elif one.review.verdict == "drop":
            applied.rejects.append(Reject(METHOD, DROPPED, row.instruction, f"row {row.id}"))
        elif one.review.edited:
            child = child_of(row, one.review.edited)
            passed = gate(child, one, row) if gate else child
            if isinstance(passed, Reject):
                applied.rejects.append(passed)
            else:
                applied.rows.append(passed)
                applied.child_of[passed.id] = row.id
        else:
            applied.rows.append(row)
    return applied


def taken_back(decided: Iterable[Reviewed], gate: Verdicts | None = None) -> Applied:
    """Rejects that a person keeps, as rows, in the order of the decisions, through the gate."""
    applied = Applied([])
    for one in decided:
        if one.kind == "reject" and one.review.verdict == "keep":
            row = row_of_reject(one)
            passed = gate(row, one, before(one)) if gate else row
            side = applied.rejects if isinstance(passed, Reject) else applied.rows
            side.append(passed)  # type: ignore[arg-type]
    return applied


def written(one: Reviewed) -> Instance:
    """A row as a person wrote it, a reject as it was taken back."""
    if one.kind == "reject":
        return row_of_reject(one)
    return child_of(before(one), one.review.edited)


def is_written(one: Reviewed) -> bool:
    """True for a row that stays with a person's texts, and for a reject that was taken back."""
    if one.review.verdict == "drop":
        return False
    return bool(one.review.edited) if one.kind == "row" else one.review.verdict == "keep"


def before(one: Reviewed) -> Instance:
    """The row, or the reject as one, before people said anything."""
    if one.kind == "reject":
        return row_of_reject(as_it_was(one))
    return Instance.from_dict(one.original)


def as_it_was(one: Reviewed) -> Reviewed:
    """A row without what people said of it."""
    return replace(one, review=Review())


def child_of(row: Instance, edited: Mapping[str, str]) -> Instance:
    """The row with a person's texts, as a child of it."""
    changed = tuple(f"edited: {name}" for name in edited)
    kept = row.lineage.evidence if "output" not in edited else ()
    lineage = replace(
        row.lineage,
        method=METHOD,
        parents=(row.id,),
        scores={},
        original=row.output if "output" in edited else "",
        evidence=kept,
        changes=(*row.lineage.changes, *changed),
    )
    return replace(mended(row, edited), lineage=lineage)


def row_of_reject(one: Reviewed) -> Instance:
    """A reject as a row: a person's texts, or its own text cut at its labels."""
    parts = {**parts_of(str(one.original.get("text", ""))), **one.review.edited}
    lineage = Lineage(METHOD, changes=(f"taken back: {one.original.get('reason', '')}",))
    return mended(Instance("", lineage=lineage), parts)


_LABELS = {"Instruction: ": "instruction", "Input: ": "input", "Output: ": "output"}


def parts_of(text: str) -> dict[str, str]:
    """The fields of a reject's text, as filters write it; all of it where it has no labels."""
    if not text.startswith("Instruction: "):
        return {"instruction": text}
    parts, name = dict[str, str](), "instruction"
    for line in text.split("\n"):
        label = next((label for label in _LABELS if line.startswith(label)), "")
        if label and _LABELS[label] not in parts:
            name = _LABELS[label]
            parts[name] = line.removeprefix(label)
        else:
            parts[name] = f"{parts[name]}\n{line}"
    return parts


def state_of_reviews(folder: Path) -> list[Json] | None:
    """[count, digest] of the decisions that shape a data set; None without any."""
    shaping = [one for one in decisions(folder).values() if one.review.shapes]
    if not shaping:
        return None
    facts: list[Json] = []
    for one in sorted(shaping, key=lambda one: one.key):
        insisted: list[Json] = [list(one.review.despite)] if one.review.despite else []
        facts.append([one.key, one.review.verdict, dict(one.review.edited), *insisted])
    return [len(facts), digest(facts)]


def counts(decided: Iterable[Reviewed]) -> JsonObject:
    """Rows reviewed, by what people said of them; {} where nobody said anything."""
    found = Counter[str]()
    for one in decided:
        found["reviewed"] += one.kind == "row"
        found[_state(one)] += 1
        found["labelled"] += bool(one.review.scores or one.review.better)
    return {name: count for name, count in found.items() if name and count}


def _state(one: Reviewed) -> str:
    if one.kind == "reject":
        return "taken_back" if one.review.verdict == "keep" else ""
    if one.review.verdict == "drop":
        return "dropped"
    if one.review.edited:
        return "edited"
    return "kept" if one.review.verdict == "keep" else ""


def words(found: Mapping[str, int], rows: int) -> str:
    """'120 of 403 rows reviewed: 100 kept, 15 dropped, 5 edited; 2 rejects taken back'."""
    parts = [f"{found[name]:,} {name}" for name in ("kept", "dropped", "edited") if found.get(name)]
    said = f"{found.get('reviewed', 0):,} of {rows:,} rows reviewed"
    said += f": {', '.join(parts)}" if parts else ""
    back = found.get("taken_back", 0)
    return said + (f"; {back:,} reject{'' if back == 1 else 's'} taken back" if back else "")
