"""Lineage of one row: its parents back to the seeds, and its children (`show RUN --lineage ID`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from localinstruct.errors import UsageError
from localinstruct.records import Instance

SHOWN_MATCHES = 5


@dataclass(frozen=True, slots=True)
class Family:
    """The rows around one row: parents in generations, nearest first, each once; and children."""

    row: Instance
    ancestors: list[list[Instance]]
    children: list[Instance]
    unknown: list[str]
    """Parents that are neither kept rows nor seeds, for example a row that was itself dropped."""


def family(prefix: str, kept: Sequence[Instance], seeds: Sequence[Instance]) -> Family:
    """The family of the one row whose id begins with `prefix`; UsageError when it is not one."""
    known = {row.id: row for row in (*kept, *seeds)}
    row = _only_match(prefix, known)
    children = [child for child in kept if row.id in child.lineage.parents]
    ancestors, unknown = _ancestors(row, known)
    return Family(row, ancestors, children, unknown)


def _only_match(prefix: str, known: Mapping[str, Instance]) -> Instance:
    matches = [row for row_id, row in known.items() if prefix and row_id.startswith(prefix)]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise UsageError(
            f"{prefix}: no kept row or seed of this run has an id that begins so.",
            "Ids stand in the last line of every row that `localinstruct show RUN` shows; in a "
            "program every row has its id.",
        )
    lines = "\n".join(f"  {row.id}  {row.instruction[:60]}" for row in matches[:SHOWN_MATCHES])
    more = f"\n  … and {len(matches) - SHOWN_MATCHES} more" if len(matches) > SHOWN_MATCHES else ""
    raise UsageError(
        f"{prefix}: {len(matches)} rows have ids that begin so:\n{lines}{more}",
        "Give more of it.",
    )


def _ancestors(
    row: Instance, known: Mapping[str, Instance]
) -> tuple[list[list[Instance]], list[str]]:
    seen, unknown = {row.id}, []
    generations: list[list[Instance]] = []
    parents = list(row.lineage.parents)
    while parents:
        new = [name for name in dict.fromkeys(parents) if name not in seen]
        seen.update(new)
        unknown += [name for name in new if name not in known]
        generation = [known[name] for name in new if name in known]
        if generation:
            generations.append(generation)
        parents = [name for parent in generation for name in parent.lineage.parents]
    return generations, unknown
