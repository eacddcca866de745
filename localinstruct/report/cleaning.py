"""The report of a cleaning: report.html and README.md in the folder of its decisions.

Reads the store of decisions alone, and shows texts as the report of a run does: clipped, escaped,
nothing hidden. Not covered: which of two rows that are alike is the better one.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from localinstruct.cleaning.decisions import Decisions, Stored, opened
from localinstruct.cleaning.work import TO_STAY, Job, Outcome, shape_of
from localinstruct.curate.languages import language
from localinstruct.records import Instance, JsonObject
from localinstruct.report import charts
from localinstruct.report.stage import environment
from localinstruct.store.durable import write_text

EXAMPLES, GROUPS, SAMPLED = 5, 12, 4000
"""Rows shown of a reason, groups of near-copies, and rows whose language is looked at."""
ABOUT = {
    "rules": "rules",
    "tasks": "tasks",
    "repeated": "equality",
    "alike": "likeness",
}


def write_report(job: Job, outcome: Outcome) -> Path:
    """Write the page and the card; the page's place."""
    with opened(job.folder, shape_of(job)) as store:
        values = content(store, job, outcome)
    page = job.folder / "report.html"
    write_text(page, environment().get_template("cleaning.html.j2").render(values) + "\n")
    write_text(job.folder / "README.md", card(job, outcome, values))
    return page


def content(store: Decisions, job: Job, outcome: Outcome) -> JsonObject:
    """The template's values."""
    total = outcome.read + outcome.unread
    return {
        "name": job.output.name,
        "files": [*map(str, job.files), *(str(one.path) for one in job.sources or ())],
        "total": total,
        "outcome": outcome,
        "share": outcome.kept / total if total else 0.0,
        "reasons": _reasons(store, total),
        "unread": _unread(store),
        "groups": _groups(store),
        "cosines": _cosines(store, job.settings.similar),
        "lengths": _lengths(store),
        "languages": _languages(store),
        "diversity": outcome.facts.get("alike", {}).get("diversity", {}),
        "settings": job.settings,
        "ignored": outcome.facts.get("reading", {}).get("ignored_keys", {}),
        "holds": outcome.facts.get("reading", {}).get("holds", {}),
        "bar": charts.bar,
    }


def _reasons(store: Decisions, total: int) -> list[JsonObject]:
    found = store.select(
        "SELECT step, reason, COUNT(*) FROM rows WHERE reason IS NOT NULL GROUP BY step, reason "
        "ORDER BY CASE step WHEN 'rules' THEN 0 WHEN 'tasks' THEN 1 WHEN 'repeated' THEN 2 "
        "ELSE 3 END, 3 DESC"
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
        "score": one.score if one.step == "alike" else None,
        "like": _text(like.row) if like else "",
        "like_place": f"{Path(like.file).name}:{like.line}" if like else "",
    }


def _unread(store: Decisions) -> list[JsonObject]:
    found = store.select("SELECT reason, COUNT(*), MIN(detail) FROM unread GROUP BY reason")
    return [
        {"reason": reason, "count": int(str(count)), "first": first}
        for reason, count, first in list(found)
    ]


def _groups(store: Decisions) -> list[JsonObject]:
    """Rows that stay in the place of most others."""
    found = store.select(
        "SELECT like, COUNT(*) FROM rows WHERE like IS NOT NULL AND step IN ('alike', 'repeated') "
        f"GROUP BY like ORDER BY 2 DESC LIMIT {GROUPS}"
    )
    groups = []
    for like, count in list(found):
        others = list(store.rows(f"like = {int(str(like))}"))[:3]
        groups.append(
            {
                "text": _text(store.row(int(str(like))).row),
                "count": int(str(count)),
                "others": [_text(one.row) for one in others],
            }
        )
    return groups


def _cosines(store: Decisions, threshold: float | None) -> object:
    """Histogram of the cosines for which rows were dropped."""
    found = store.select("SELECT score FROM rows WHERE step = 'alike' AND score IS NOT NULL")
    scores = [float(str(score)) for (score,) in found]
    if not scores or threshold is None:
        return ""
    return _histogram(
        "Cosine with the row that stays", [("dropped", scores, "accent")], threshold, 1.0, "cosine"
    )


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


def card(job: Job, outcome: Outcome, values: JsonObject) -> str:
    """A card of the data set that was written, as hubs read it."""
    total = outcome.read + outcome.unread
    lines = [
        "---",
        "license: unknown",
        f"size_categories: [{_size(outcome.kept)}]",
        "tags: [localinstruct, cleaned]",
        "---",
        "",
        f"# {job.output.stem}",
        "",
        f"{outcome.kept:,} of {total:,} rows of {', '.join(values['files'])}, cleaned on the "
        "owner's machine. The licence above is `unknown`: it is that of the files.",
        "",
        "| dropped because | rows |",
        "|---|---|",
        *(f"| {reason} | {count:,} |" for reason, count in outcome.dropped.items()),
    ]
    if outcome.repaired:
        lines += ["", "| repaired | rows |", "|---|---|"]
        lines += [f"| {name} | {count:,} |" for name, count in outcome.repaired.items()]
    settings = job.settings
    lines += [
        "",
        f"Rules: {settings.filters.set} (version {settings.filters.version}). Rows are alike above "
        f"a cosine of {settings.similar} ({settings.encoder})."
        if settings.similar
        else "",
        "Not looked at: whether an answer is right.",
        "",
    ]
    return "\n".join(lines)


def _size(count: int) -> str:
    for limit, name in (
        (1_000, "n<1K"),
        (10_000, "1K<n<10K"),
        (100_000, "10K<n<100K"),
        (1_000_000, "100K<n<1M"),
    ):
        if count < limit:
            return name
    return "1M<n<10M"
