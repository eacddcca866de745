"""`localinstruct judge`: the rubrics that are there, and what a judge is worth beside people's own
labels."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from localinstruct import console
from localinstruct.cli.options import Json, Sealed

if TYPE_CHECKING:
    from localinstruct.judge.rubric import Rubric

app = typer.Typer(no_args_is_help=True, help="Rubrics, and whether a judge can be believed.")
Model = Annotated[
    str, typer.Option("--judge", metavar="MODEL", help="The chat model to check, from models.yaml.")
]
RubricOption = Annotated[
    str,
    typer.Option(
        "--rubric", metavar="NAME|FILE", help="A packaged rubric, or a YAML file of your own."
    ),
]
Repeats = Annotated[
    int, typer.Option("--repeats", min=1, max=32, help="How often each answer is graded.")
]
Reason = Annotated[bool, typer.Option(help="Ask for one sentence before the grades.")]


@app.command("list")
def judge_list(json: Json = False) -> None:
    """Every rubric that came with the program: its criteria, its scale, what it is for."""
    from localinstruct.judge.rubric import packaged, rubric_names

    rubrics = [packaged(name) for name in rubric_names()]
    if json:
        console.as_json([rubric.model_dump(mode="json") for rubric in rubrics])
        return
    rows = [
        (
            one.name,
            f"{one.scale.lowest} to {one.scale.highest}",
            ", ".join(c.name for c in one.criteria),
            one.about,
        )
        for one in rubrics
    ]
    console.table(("rubric", "grades", "criteria", "what for"), rows)


@app.command("check")
def judge_check(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Labelled answers or pairs; see seeds/README.md.")
    ],
    judge: Model,
    rubric: RubricOption = "helpful-correct",
    repeats: Repeats = 3,
    reason: Reason = True,
    json: Json = False,
    sealed: Sealed = False,
) -> None:
    """Compare a judge with people's labels: agreement, self-consistency, position bias, replies not
    in form."""
    from localinstruct.evaluation.comparison import require_chat_model
    from localinstruct.judge.check import check
    from localinstruct.judge.grading import Grading
    from localinstruct.judge.labels import read_labels
    from localinstruct.models.catalog import load_catalog
    from localinstruct.recipe import find_workspace
    from localinstruct.teacher import Sampling
    from localinstruct.teacher.serving import ask_all

    grading = Grading(rubric=_rubric(rubric), reason=reason)
    labels = read_labels(file, grading.rubric.scale)
    spec = require_chat_model(load_catalog(find_workspace(Path.cwd())).get(judge))
    with console.progress() as progress:
        found = check(
            labels,
            grading,
            repeats,
            lambda asked: ask_all(spec, asked, Sampling(), progress, f"judging: {judge}"),
        )
    result = {"judge": judge, "file": str(file), **found}
    console.as_json(result) if json else _show(result)


def _rubric(name: str) -> "Rubric":
    """A packaged rubric by name, or the one in a file; UsageError or RecipeError with the nearest
    right one."""
    from localinstruct.cli.options import require_choice
    from localinstruct.config import load_yaml, parse
    from localinstruct.judge.rubric import Rubric, packaged, rubric_names

    if name.endswith((".yaml", ".yml")):
        return parse(Rubric, load_yaml(Path(name)), name)
    require_choice("--rubric", name, rubric_names())
    return packaged(name)


def _show(result: dict[str, Any]) -> None:
    answers, pairs = result["answers"], result["pairs"]
    console.heading(f"{result['judge']} by {result['rubric']}, on {result['file']}")
    if answers:
        console.pairs(_told_answers(answers, result["repeats"]))
        kappa = answers["weighted_kappa"]
        if kappa["low"] is None or kappa["low"] <= 0:
            console.note(
                "By this file its grades cannot be told from chance: use no threshold on them."
            )
    if pairs:
        console.line()
        console.pairs(_told_pairs(pairs))
    console.line(f"{result['constrained']} of {result['replies']} replies came under the schema")


def _told_answers(found: dict[str, Any], repeats: int) -> list[tuple[str, str]]:
    failures = ", ".join(
        f"{count} {reason}" for reason, count in found["failures"]["reasons"].items()
    )
    return [
        ("answers", f"{found['graded']} of {found['count']} graded, {repeats} times each"),
        ("same grade", _share(found["exact"])),
        ("within one", _share(found["within_one"])),
        ("weighted kappa", _measured(found["weighted_kappa"])),
        ("correlation", _measured(found["correlation"])),
        ("leniency", _leniency(found["leniency"])),
        ("with itself", f"{_share(found['self_consistency'])} got one and the same grade"),
        ("not in form", _share(found["failures"]) + (f": {failures}" if failures else "")),
    ]


def _leniency(difference: float | None) -> str:
    if difference is None:
        return "not known"
    return (
        f"{abs(difference):.2f} grades {'above' if difference >= 0 else 'below'} the people, "
        "on average"
    )


def _told_pairs(found: dict[str, Any]) -> list[tuple[str, str]]:
    bias = "not known" if found["position_bias"] is None else f"{found['position_bias']:+.2f}"
    return [
        ("pairs", f"{found['read']} of {found['count']} read in both orders"),
        ("agrees", f"{_share(found['agreed'])} with the people"),
        (
            "same seat",
            f"{_share(found['same_seat'])} in both orders: {found['first_seat']} first, "
            f"{found['second_seat']} second",
        ),
        ("position bias", f"{bias} (+1 always the first, -1 always the second)"),
        ("not in form", _share(found["failures"])),
    ]


def _share(found: dict[str, Any]) -> str:
    if found["value"] is None:
        return "none"
    return (
        f"{found['count']} of {found['of']}, {found['value']:.0%} ({found['low']:.0%} to "
        f"{found['high']:.0%})"
    )


def _measured(found: dict[str, Any]) -> str:
    if found["value"] is None:
        return "cannot be told: one side always gives the same grade"
    if found["low"] is None:
        return f"{found['value']:.2f} (no interval: too little varies)"
    return f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})"
