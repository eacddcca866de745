"""The outline of a report: its sections that have something to say, and a line for each other one.

Not covered: what the sections say (sections.py, evaluation.py), and their layout (report.html.j2).
"""

from dataclasses import dataclass

from localinstruct.records import JsonObject

TITLES = {
    "funnel": "From prompts to rows",
    "rejects": "Rejects",
    "similarity": "Similarity",
    "map": "Map of the rows",
    "sources": "Sources",
    "lengths": "Lengths",
    "speed": "Speed",
    "training": "Training",
    "evaluation": "Base and student",
    "compared": "Other comparisons",
    "forgetting": "Forgetting",
    "weakest": "Where it is weakest",
    "rows": "Sample rows",
    "made": "How it was made",
}
"""Section -> its title in the list of sections, in their order."""
STAGES = {
    "generate": ("funnel", "rejects", "similarity", "map", "lengths", "speed", "rows"),
    "dataset": (),
    "train": ("training",),
    "evaluate": ("evaluation", "forgetting", "weakest"),
}
"""Stage -> sections that are empty while it has not run."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line in place of sections: their titles, a sentence, and the command to type."""

    titles: str
    words: str
    command: str = ""
    is_stale: bool = False


def outline(values: JsonObject) -> JsonObject:
    """{"sections": name -> title of those that say something, "lines": what stands for others}."""
    filled = _filled(values)
    shown = {name: title for name, title in TITLES.items() if filled[name]}
    return {"sections": shown, "lines": [*_stages(values, shown), *_others(values, shown)]}


def _filled(values: JsonObject) -> dict[str, bool]:
    trained, measured = values["training"], values["evaluation"]
    parts = {
        "funnel": values["candidates"],
        "rejects": values["reasons"],
        "similarity": values["similarity"],
        "map": values["row_map"],
        "sources": values["sources"] or values["counts"] or values["kept"].changes,
        "lengths": values["lengths"],
        "speed": values["timing"],
        "training": trained["loss"] or trained["rate"] or trained["facts"],
        "evaluation": any(measured[part] for part in ("losses", "tasks", "answers", "open", "cut"))
        or values["form"],
        "compared": values["comparisons"],
        "forgetting": values["forgetting"]["facts"] or values["forgetting"]["answers"],
        "weakest": values["weak"] or values["weak_topics"],
        "rows": values["kept"].samples,
        "made": True,
    }
    return {name: bool(part) for name, part in parts.items()}


def _stages(values: JsonObject, shown: dict[str, str]) -> list[Line]:
    """Stages that are stale or have not run, each once, with what they would fill."""
    lines = []
    for stage, parts in STAGES.items():
        if stage == "generate" and values["only_mixed"]:
            continue
        titles = ", ".join(TITLES[part] for part in parts if part not in shown)
        is_begun = stage == "generate" and "funnel" in shown
        if words := values["stale"].get(stage):
            lines.append(Line(titles or stage.capitalize(), words, is_stale=True))
        elif titles and not values["done"].get(stage) and not is_begun:
            command = f"localinstruct {stage} {values['where']}"
            lines.append(Line(titles, "Not there yet. Make it with", command))
    if values["only_mixed"] and "funnel" not in shown:
        command = f"localinstruct dataset {values['where']}"
        lines.insert(0, Line("Rows", "Not there yet. Make them with", command))
    return lines


def _others(values: JsonObject, shown: dict[str, str]) -> list[Line]:
    """Sections that could say something of a run that has come far enough, and do not."""
    lines, where = [], values["where"]
    if "funnel" in shown:
        if "rejects" not in shown:
            lines.append(Line("Rejects", "No candidate was rejected."))
        if "similarity" not in shown:
            words = "No candidate came as far as a comparison with something to compare it to."
            if values["only_mixed"]:
                words = (
                    "Rows of files are not compared with seeds and kept rows. Those like a row of "
                    "an earlier file are among the rejects."
                )
            lines.append(Line("Similarity", words))
        if "rows" not in shown:
            lines.append(Line("Lengths, Sample rows", "No row was kept."))
    if values["done"].get("evaluate"):
        if "weakest" not in shown:
            words = "No kind with enough checkable tasks is weak."
            lines.append(Line("Where it is weakest", words))
        if "compared" not in shown:
            command = f"localinstruct evaluate {where} --judge MODEL"
            lines.append(Line("Other comparisons", "None yet. Make one with", command))
    return lines
