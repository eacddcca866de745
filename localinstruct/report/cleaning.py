"""The report of a cleaning: report.html and README.md in the folder of its decisions.

Reads the store of decisions alone, and shows texts as the report of a run does: clipped, escaped,
nothing hidden. Not covered: the words of README.md (cleaning_card.py).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from localinstruct.cleaning.decisions import Decisions, Stored, opened
from localinstruct.cleaning.judging import JUDGE
from localinstruct.cleaning.repeated import GRADE
from localinstruct.cleaning.steps import ALIKE
from localinstruct.cleaning.survey import SURVEY
from localinstruct.cleaning.work import IN_ORDER, TO_STAY, Job, Outcome
from localinstruct.curate.languages import language
from localinstruct.records import Instance, JsonObject
from localinstruct.report import charts, data
from localinstruct.report.cleaning_card import command, dataset_card, inputs
from localinstruct.report.page import rendered
from localinstruct.report.stage import similarities
from localinstruct.store.durable import write_text

EXAMPLES, GROUPS, SHOWN, SAMPLED = 5, 12, 4, 4000
"""Rows shown of a reason, groups shown, rows shown of a group, and rows whose language is looked
at."""
SIZES = ((2, "2 rows"), (3, "3 rows"), (5, "4 or 5"), (10, "6 to 10"), (2**63, "more than 10"))
"""Rows in a group, at most, and in words."""
ABOUT = {
    "rules": "rules",
    "tasks": "tasks",
    "repeated": "equality",
    "alike": "likeness",
    "judge": "judge",
}


def write_report(job: Job, outcome: Outcome) -> Path:
    """Write the page and the card; the page's place."""
    with opened(job.folder, None) as store:
        values = content(store, job, outcome)
    page = job.folder / "report.html"
    write_text(page, rendered("cleaning.html.j2", values, ("tables",)))
    write_text(job.folder / "README.md", dataset_card(job, outcome, values["inputs"]))
    return page


def content(store: Decisions, job: Job, outcome: Outcome) -> JsonObject:
    """The template's values."""
    total = outcome.read + outcome.unread
    survey, judged = outcome.facts.get(SURVEY, {}), outcome.facts.get(JUDGE, {})
    return {
        "name": job.output.name,
        "files": [*map(str, job.files), *(str(one.path) for one in job.sources or ())],
        "inputs": inputs(store),
        "command": command(job),
        "total": total,
        "outcome": outcome,
        "share": outcome.kept / total if total else 0.0,
        "reasons": _reasons(store, total),
        "unread": _unread(store),
        "groups": _groups(store),
        "sizes": _sizes(store),
        "cosines": _cosines(survey.get("nearest", {}), job.settings.similar),
        "judge": {**judged, **_judged(store, job)} if judged else {},
        "lengths": _lengths(store),
        "languages": _languages(store),
        "diversity": survey.get("diversity", {}),
        "topics": [
            {**one, "text": _text(store.row(one["row"]).row)} for one in survey.get("topics", ())
        ],
        "settings": job.settings,
        "ignored": outcome.facts.get("reading", {}).get("ignored_keys", {}),
        "holds": outcome.facts.get("reading", {}).get("holds", {}),
        "bar": charts.bar,
    }


def _reasons(store: Decisions, total: int) -> list[JsonObject]:
    found = store.select(
        "SELECT step, reason, COUNT(*) FROM rows WHERE reason IS NOT NULL GROUP BY step, reason "
        f"ORDER BY {IN_ORDER}, 3 DESC"
    )
    made = []
    for step, reason, count in list(found):
        where = f"step = {_quoted(step)} AND reason = {_quoted(reason)}"
        query = f"SELECT seq FROM rows WHERE {where} ORDER BY seq"
        numbers = [int(str(seq)) for (seq,) in store.select(query)]
        chosen = numbers[:: max(1, len(numbers) // EXAMPLES)][:EXAMPLES]
        made.append(
            {
                "step": ABOUT[str(step)],
                "reason": reason,
                "count": int(str(count)),
                "share": int(str(count)) / total,
                "examples": [_example(store, store.row(number)) for number in chosen],
            }
        )
    return made


def _example(store: Decisions, one: Stored) -> JsonObject:
    like = store.row(one.like) if one.like is not None else None
    return {
        "place": f"{Path(one.file).name}:{one.line}",
        "text": _text(one.row),
        "detail": one.detail,
        "score": one.score if one.step == ALIKE else None,
        "like": _text(like.row) if like else "",
        "like_place": f"{Path(like.file).name}:{like.line}" if like else "",
        "like_gone": like.reason if like else "",
    }


def _unread(store: Decisions) -> list[JsonObject]:
    found = store.select("SELECT reason, COUNT(*), MIN(detail) FROM unread GROUP BY reason")
    return [
        {"reason": reason, "count": int(str(count)), "first": first}
        for reason, count, first in list(found)
    ]


LIKE_ANOTHER = "like IS NOT NULL AND step IN ('alike', 'repeated')"


def _groups(store: Decisions) -> list[JsonObject]:
    """The largest groups: the row for which the others went, and some of them."""
    found = store.select(
        f"SELECT like, COUNT(*) FROM rows WHERE {LIKE_ANOTHER} "
        f"GROUP BY like ORDER BY 2 DESC, like LIMIT {GROUPS}"
    )
    groups = []
    for like, count in list(found):
        first = store.row(int(str(like)))
        members = list(store.rows(f"like = {first.seq:d} AND {LIKE_ANOTHER}", f"seq LIMIT {SHOWN}"))
        groups.append(
            {
                "text": _text(first.row),
                "place": f"{Path(first.file).name}:{first.line}",
                "gone": first.reason,
                "count": int(str(count)) + 1,
                "members": [_example(store, one) for one in members],
            }
        )
    return groups


def _sizes(store: Decisions) -> list[tuple[str, int, int]]:
    """(rows in a group, groups, rows that went) by size, smallest first."""
    found = store.select(
        f"SELECT n, COUNT(*) FROM (SELECT COUNT(*) + 1 AS n FROM rows WHERE {LIKE_ANOTHER} "
        "GROUP BY like) GROUP BY n ORDER BY n"
    )
    groups, rows = Counter[str](), Counter[str]()
    for size, count in ((int(str(size)), int(str(count))) for size, count in found):
        name = next(name for most, name in SIZES if size <= most)
        groups[name] += count
        rows[name] += count * (size - 1)
    return [(name, count, rows[name]) for name, count in groups.items()]


def _cosines(nearest: JsonObject, threshold: float | None) -> object:
    """Histogram of a sample of compared rows by the cosine with the nearest row that stays."""
    kept, dropped = nearest.get("kept", []), nearest.get("dropped", [])
    if threshold is None or not kept + dropped:
        return ""
    title = f"{len(kept) + len(dropped):,} compared rows by their nearest row that stays"
    return similarities(title, {"stay": kept, "dropped": dropped}, threshold, "cosine")


def _judged(store: Decisions, job: Job) -> JsonObject:
    """Histogram of the grades, and the rows with the lowest grades that stay."""
    judge = job.settings.judge
    if judge is None:
        return {}
    scale = judge.grading.rubric.scale
    grades: dict[str, list[float]] = {"stay": [], "dropped": []}
    for score, reason in store.select(
        "SELECT grades.score, rows.reason FROM grades JOIN rows ON rows.seq = grades.seq "
        "WHERE grades.score IS NOT NULL"
    ):
        grades["dropped" if reason else "stay"].append(float(str(score)))
    steps = scale.highest - scale.lowest
    is_whole = judge.grading.samples == len(judge.grading.rubric.criteria) == 1
    bins = 1 if is_whole or steps > 20 else 2  # of one grade
    count = steps * bins + 1
    edges = [scale.lowest - (0.5 - n) / bins for n in range(count + 1)]
    bars = [
        charts.Bars("stay", data.bins(grades["stay"], edges)),
        charts.Bars("dropped", data.bins(grades["dropped"], edges), "hollow"),
    ]
    least = judge.at_least
    marks = []
    if least is not None:
        on_bin = (least * bins).is_integer()
        marks = [charts.Mark(least - on_bin * 0.5 / bins, f"at least {least:g}")]
    lowest = store.rows(f"{TO_STAY} AND {GRADE} IS NOT NULL", f"{GRADE}, seq LIMIT {SHOWN}")
    name = judge.grading.rubric.name
    return {
        "chart": charts.histogram("Rows by grade", edges, bars, "grade", marks),
        "highest": scale.highest,
        "lowest": [
            {**_example(store, one), "grade": one.row.lineage.scores[name]} for one in list(lowest)
        ],
        "before": job.settings.keep == "best",
    }


def _lengths(store: Decisions) -> list[object]:
    made = []
    for title, of in (
        ("Words of the instruction", lambda row: len(row.instruction.split())),
        ("Words of the answer", lambda row: len(row.output.split())),
    ):
        kept, dropped = (_sampled(store, where, of) for where in (TO_STAY, "reason IS NOT NULL"))
        ordered = sorted([*kept, *dropped])
        high = float(ordered[int(0.98 * (len(ordered) - 1))] + 1) if ordered else 1.0
        groups = [("stay", kept, "accent"), ("dropped", dropped, "hollow")]
        made.append(_histogram(title, groups, 0.0, high, "words"))
    return made


def _sampled(store: Decisions, where: str, of: Callable[[Instance], float]) -> list[float]:
    step = max(1, store.count(where) // SAMPLED)
    return [of(one.row) for one in store.rows(f"{where} AND seq % {step} = 0")]


def _histogram(
    title: str,
    groups: Sequence[tuple[str, Sequence[float], str]],
    low: float,
    high: float,
    label: str,
    bins: int = 24,
) -> object:
    edges = [low + (high - low) * n / bins for n in range(bins + 1)]
    bars = []
    for name, values, style in groups:
        places = Counter(
            min(bins - 1, max(0, int((value - low) / (high - low) * bins))) for value in values
        )
        bars.append(charts.Bars(name, [places[n] for n in range(bins)], style))
    return charts.histogram(title, edges, bars, label)


def _languages(store: Decisions) -> list[tuple[str, float]]:
    """(language, share) of a sample of the rows that stay, most frequent first."""
    names = Counter(_sampled_languages(store, max(1, store.count(TO_STAY) // SAMPLED)))
    total = names.total()
    return [(name, count / total) for name, count in names.most_common(8)]


def _sampled_languages(store: Decisions, step: int) -> list[str]:
    rows = store.rows(f"{TO_STAY} AND seq % {step} = 0")
    return [language(f"{one.row.instruction}\n{one.row.output}") or "unsure" for one in rows]


def _text(row: Instance) -> str:
    turns = [f"{turn.role}: {turn.content}" for turn in row.history]
    parts = [row.system, *turns, row.instruction, row.input]
    return "\n".join(filter(None, parts)) + f"\n→ {row.output}"


def _quoted(text: object) -> str:
    return "'" + str(text).replace("'", "''") + "'"
