"""Runs side by side: the rows that `compare` shows on a terminal, and its page.

The page is one file like the report's. With rounds, the runs are taken as rounds in their order, as
when each trains on what the one before was weak at: how the score, the rows and the cost went from
round to round, and the comparison of each student with the one before, where there is one. Not
covered: opening the runs and the words of the command (cli/compare.py).
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localinstruct.evaluation import wording
from localinstruct.progress import duration, loss, per_second, percent, similarity
from localinstruct.records import JsonObject
from localinstruct.report import charts
from localinstruct.report.page import rendered

LONGEST = 44
"""Characters of a recipe's value in the terminal's table; the page and --json have all of it."""
ABSENT = "–"
"""Stands for a key that a recipe leaves empty."""
Group = tuple[str, list[list[str]]]
"""(title, rows of (label, a text for each run))."""


def _value(value: object, longest: int) -> str:
    if value is None or value == "":
        return ABSENT
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    flat = " ".join(text.split())
    return flat if len(flat) <= longest else f"{flat[: longest - 1]}…"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: its label, the stage that measures it, and its value in the facts."""

    label: str
    stage: str
    path: str
    """Keys that lead to the value, joined by dots."""
    format: Callable[[Any], str]

    def text(self, facts: JsonObject) -> str:
        """The value as text; without one, the reason."""
        value: object = facts
        for key in self.path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is None or value == []:
            return MISSING[facts["stages"].get(self.stage, "done")]
        return self.format(value)


MISSING = {
    "done": "not measured",
    "begun": "not finished",
    "not run": "not run",
    "stale": "stale",
}
"""State of the stage that measures a value -> the text where there is none."""


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _rejected(counts: Mapping[str, int]) -> str:
    return " · ".join(f"{count:,} {stage}" for stage, count in counts.items()) or "none"


def _checked(counts: Mapping[str, int]) -> str:
    return wording.checked(counts) or "none can be checked"


def _diversity(measured: JsonObject) -> str:
    return f"{measured['score']:.3f} of {measured['rows']:,} rows"


def _losses(pair: Mapping[str, float]) -> str:
    return f"{loss(pair['base'])} → {loss(pair['student'])}"


def _perplexities(pair: Mapping[str, float]) -> str:
    return f"{wording.perplexity(pair['base'])} → {wording.perplexity(pair['student'])}"


def _right(tasks: JsonObject) -> str:
    return f"{percent(tasks['base'])} → {percent(tasks['student'])} of {tasks['count']:,}"


def _cut(counts: Mapping[str, int]) -> str:
    return f"{counts['base']:,} → {counts['student']:,} of {counts['of']:,} each"


def _gain(tasks: JsonObject) -> str:
    gain, low, high = map(wording.signed, (tasks["gain"], *tasks["interval"]))
    return f"{gain} ({low} to {high})"


def _wins(judged: Sequence[JsonObject]) -> str:
    return "; ".join(map(_win, judged))


def _win(judged: JsonObject) -> str:
    against = f"against {judged['against']}, by {judged['judge']}"
    return f"{wording.wins(judged)} of {judged['pairs']:,}, {against}"


ROWS: dict[str, tuple[Row, ...]] = {
    "data": (
        Row("rows asked for", "", "data.asked", _count),
        Row("rows kept", "generate", "data.kept", _count),
        Row("rows mixed in", "dataset", "data.mixed", _count),
        Row("rows rejected", "generate", "data.rejected", _count),
        Row("  where", "generate", "data.rejected_by_stage", _rejected),
        Row("share kept", "generate", "data.share_kept", percent),
        Row("similarity to nearest row, median", "generate", "data.median_similarity", similarity),
        Row("diversity (DCScore, a share)", "generate", "data.diversity", _diversity),
        Row("kept answers right", "generate", "data.checked", _checked),
        Row("rows to train on", "dataset", "data.train", _count),
        Row("rows held out", "dataset", "data.held_out", _count),
    ),
    "cost": (
        Row("generate", "generate", "cost.seconds.generate", duration),
        Row("dataset", "dataset", "cost.seconds.dataset", duration),
        Row("train", "train", "cost.seconds.train", duration),
        Row("evaluate", "evaluate", "cost.seconds.evaluate", duration),
        Row("together", "generate", "cost.total_seconds", duration),
        Row("teacher's output tokens", "generate", "cost.teacher_tokens", _count),
        Row("  a second", "generate", "cost.teacher_tokens_per_second", per_second),
        Row("training tokens", "train", "cost.training_tokens", _count),
        Row("  a second", "train", "cost.training_tokens_per_second", per_second),
        Row("peak memory of training, GiB", "train", "cost.peak_memory_gib", "{:.1f}".format),
    ),
    "scores, base → student": (
        Row("held-out loss", "evaluate", "scores.held_out_loss", _losses),
        Row("right answers", "evaluate", "scores.tasks", _right),
        Row("gain in points, 95 %", "evaluate", "scores.tasks", _gain),
        Row("wins before a judge", "evaluate", "scores.judged", _wins),
        Row("perplexity of general text", "evaluate", "scores.text_perplexity", _perplexities),
        Row("right before, wrong now", "evaluate", "scores.lost_answers", _count),
        Row("cut answers", "evaluate", "scores.cut_answers", _cut),
    ),
}
"""Title -> rows, in the order they are shown."""


def cautions(names: Sequence[str], facts: Sequence[JsonObject]) -> list[str]:
    """Reasons not to take one column for better than another."""
    lines = [
        f"{name}: {words}"
        for name, own in zip(names, facts, strict=True)
        for words in own["remarks"]
    ]
    measured = [own["data"]["diversity"] for own in facts if own["data"]["diversity"]]
    if len({own["rows"] for own in measured}) > 1:
        lines.append("Diversity falls as a set grows: that of sets of different sizes says little.")
    scores = [own["scores"] for own in facts if own["stages"]["evaluate"] == "done"]
    tasks = [own["tasks"] for own in scores if own["tasks"]]
    if len({(own["file"], own["count"]) for own in tasks}) > 1:
        lines.append(
            "The runs were asked different tasks: their right answers cannot be held against "
            "each other."
        )
    if len(scores) > 1:
        lines.append(
            "Held-out losses are each on the run's own rows. The same questions to both students, "
            f"with an interval: localinstruct evaluate {names[0]} --against {names[1]}"
        )
    return lines


def groups(
    differing: Mapping[str, Sequence[object]], facts: Sequence[JsonObject], longest: int = LONGEST
) -> list[Group]:
    """The whole table: keys of the recipes that differ, then data, cost and scores."""
    recipe = [[key, *(_value(one, longest) for one in values)] for key, values in differing.items()]
    recipe = recipe or [["no key differs", *("" for _ in facts)]]
    return [
        ("recipe, keys that differ", recipe),
        *(
            (title, [[row.label, *map(row.text, facts)] for row in rows])
            for title, rows in ROWS.items()
        ),
    ]


def verdicts(names: Sequence[str], facts: Sequence[JsonObject]) -> list[tuple[str, str]]:
    """(run, its verdict, or why it has none)."""
    return [
        (
            name,
            own["scores"]["verdict"]
            or ("stale" if own["stages"]["evaluate"] == "stale" else "not evaluated"),
        )
        for name, own in zip(names, facts, strict=True)
    ]


def page(
    names: Sequence[str],
    differing: Mapping[str, Sequence[object]],
    facts: Sequence[JsonObject],
    *,
    rounds: bool = False,
) -> str:
    """The page of these runs; with `rounds` they are rounds, the first one first."""
    return rendered(
        "compare.html.j2",
        {
            "names": names,
            "rounds": list(_rounds(names, facts)) if rounds else [],
            "charts": _charts(names, facts, rounds=rounds),
            "groups": groups(differing, facts, longest=2_000),
            "verdicts": verdicts(names, facts),
            "cautions": cautions(names, facts),
        },
        ("tables",),
    )


def _rounds(names: Sequence[str], facts: Sequence[JsonObject]) -> Iterator[JsonObject]:
    """Each round in words: its rows, its score, and what changed against the round before."""
    before: str | None = None
    for number, (name, own) in enumerate(zip(names, facts, strict=True), 1):
        tasks, data = own["scores"]["tasks"], own["data"]
        against = [one for one in own["scores"]["against"] if one["against"] == before]
        yield {
            "number": number,
            "name": name,
            "facts": filter(
                None,
                [
                    ("rows to train on", _count(data["train"]) if data["train"] else "not made"),
                    ("rows kept", _count(data["kept"] or 0)),
                    ("mixed in", _count(data["mixed"])) if data["mixed"] else None,
                    ("right answers, base → student", _right(tasks) if tasks else "not measured"),
                    ("gain over the base", wording.gain(tasks) if tasks else "not measured"),
                    *((f"gain over {before}", wording.gain(one)) for one in against),
                    ("time", duration(own["cost"]["total_seconds"] or 0.0)),
                ],
            ),
            "owed": f"localinstruct evaluate {name} --against {before}"
            if before and not against
            else "",
        }
        before = name


def _charts(names: Sequence[str], facts: Sequence[JsonObject], *, rounds: bool) -> list[object]:
    """Shares of right answers with the interval of the gain, and rows to train on, by run.

    Empty where fewer than two runs were measured on the same tasks, or have rows.
    """
    label = "round" if rounds else "run, from left to right"
    places = range(1, len(names) + 1)
    tasks = [own["scores"]["tasks"] for own in facts]
    rows = [own["data"]["train"] for own in facts]
    made: list[object] = []
    asked = {(one["file"], one["count"]) for one in tasks if one}
    if sum(map(bool, tasks)) > 1 and len(asked) == 1:
        share = [
            (who, [(float(n), 100 * one[who]) for n, one in zip(places, tasks, strict=True) if one])
            for who in ("student", "base")
        ]
        lines = [
            charts.Series(who, points, "accent" if who == "student" else "ink")
            for who, points in share
        ]
        made.append(charts.line_chart("Right answers, percent", lines, label, whole_x=True))
    if sum(map(bool, rows)) > 1:
        points = [(float(n), float(count)) for n, count in zip(places, rows, strict=True) if count]
        one = [charts.Series("rows", points, "ink")]
        made.append(charts.line_chart("Rows to train on", one, label, whole=True, whole_x=True))
    return made
