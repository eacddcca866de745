"""`localinstruct judge`: the rubrics, and a judge's agreement with people's labels."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localinstruct import console
from localinstruct.cli.options import AllowHost, Json, Sealed
from localinstruct.progress import percent
from localinstruct.records import JsonObject

if TYPE_CHECKING:
    from localinstruct.judge.labels import Labelled
    from localinstruct.judge.rubric import Rubric
    from localinstruct.records import Completion, Prompt

app = typer.Typer(no_args_is_help=True, help="Rubrics, and whether a judge can be believed.")
LabelFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE|RUN",
        help="Labelled answers or pairs (seeds/README.md), or what was labelled in `review`.",
    ),
]
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
    """List the rubrics that came with the program: scale, criteria and purpose."""
    from localinstruct.judge.rubric import packaged, rubric_names

    rubrics = [packaged(name) for name in rubric_names()]
    if json:
        console.as_json([rubric.model_dump(mode="json") for rubric in rubrics])
        return
    console.table(("rubric", "grades", "criteria", "what for"), map(_rubric_row, rubrics))


def _rubric_row(rubric: "Rubric") -> tuple[str, str, str, str]:
    grades = f"{rubric.scale.lowest} to {rubric.scale.highest}"
    criteria = ", ".join(criterion.name for criterion in rubric.criteria)
    return rubric.name, grades, criteria, rubric.about


@app.command("check")
def judge_check(
    file: LabelFile,
    judge: Model,
    rubric: RubricOption = "helpful-correct",
    repeats: Repeats = 3,
    reason: Reason = True,
    json: Json = False,
    allow_host: AllowHost = None,
    sealed: Sealed = False,
) -> None:
    """Compare a judge with people's labels.

    Agreement, self-consistency, position bias, and replies that are not in form.
    """
    from localinstruct.evaluation.comparison import require_chat_model
    from localinstruct.judge.check import check
    from localinstruct.judge.grading import Grading
    from localinstruct.models.catalog import load_catalog
    from localinstruct.recipe import find_workspace
    from localinstruct.teacher import Sampling
    from localinstruct.teacher.serving import ask_all

    grading = Grading(rubric=rubric_of(rubric), reason=reason)
    labels = _labels(file, grading.rubric)
    spec = require_chat_model(load_catalog(find_workspace(Path.cwd())).get(judge))
    with console.progress() as progress:

        def ask(prompts: "list[Prompt]") -> "list[Completion]":
            return ask_all(spec, prompts, Sampling(), progress, f"judging: {judge}")

        agreement = check(labels, grading, repeats, ask)
    result = {"judge": judge, "file": str(file), **agreement}
    console.as_json(result) if json else _show(result)


def _labels(target: Path, rubric: "Rubric") -> "list[Labelled]":
    """Labels of a file, or those that people gave a run's or a file's rows in `review`."""
    from localinstruct.errors import DataError
    from localinstruct.judge.labels import labels_of, read_labels
    from localinstruct.store.reviews import Reviews, place
    from localinstruct.workspace import run_path

    source = target if target.is_file() else run_path(str(target))
    reviewed = place(source)
    if source.is_file() and not reviewed.is_file():
        return read_labels(source, rubric.scale)
    labels = labels_of(Reviews(reviewed).since(0), rubric)
    if not labels:
        raise DataError(
            f"{target}: nobody has given grades or better answers there yet.",
            f"Label rows first: localinstruct review {target} --sample 100",
        )
    return labels


def rubric_of(name: str) -> "Rubric":
    """A packaged rubric by name, or the one in a file.

    UsageError or RecipeError, with the nearest right name, for one that is none.
    """
    from localinstruct.cli.options import require_choice
    from localinstruct.config import load_yaml, parse
    from localinstruct.judge.rubric import Rubric, packaged, rubric_names

    if name.endswith((".yaml", ".yml")):
        return parse(Rubric, load_yaml(Path(name)), name)
    require_choice("--rubric", name, rubric_names())
    return packaged(name)


def _show(result: JsonObject) -> None:
    answers, pairs = result["answers"], result["pairs"]
    console.heading(f"{result['judge']} by {result['rubric']}, on {result['file']}")
    if answers:
        console.pairs(_answer_rows(answers, result["repeats"]))
        kappa = answers["weighted_kappa"]
        if kappa["low"] is None or kappa["low"] <= 0:
            console.note(
                "By this file its grades cannot be told from chance: use no threshold on them."
            )
    if pairs:
        console.line()
        console.pairs(_pair_rows(pairs))
    console.line(f"{result['constrained']} of {result['replies']} replies came under the schema")


def _answer_rows(answers: JsonObject, repeats: int) -> list[tuple[str, str]]:
    counts = answers["failures"]["reasons"].items()
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts)
    return [
        ("answers", f"{answers['graded']} of {answers['count']} graded, {repeats} times each"),
        ("same grade", _share(answers["exact"])),
        ("within one", _share(answers["within_one"])),
        ("weighted kappa", _statistic(answers["weighted_kappa"])),
        ("correlation", _statistic(answers["correlation"])),
        ("leniency", _leniency(answers["leniency"])),
        ("with itself", f"{_share(answers['self_consistency'])} got one and the same grade"),
        ("not in form", _share(answers["failures"]) + (f": {reasons}" if reasons else "")),
    ]


def _leniency(difference: float | None) -> str:
    if difference is None:
        return "not known"
    side = "above" if difference >= 0 else "below"
    return f"{abs(difference):.2f} grades {side} the people, on average"


def _pair_rows(pairs: JsonObject) -> list[tuple[str, str]]:
    bias = "not known" if pairs["position_bias"] is None else f"{pairs['position_bias']:+.2f}"
    seats = f"{pairs['first_seat']} first, {pairs['second_seat']} second"
    return [
        ("pairs", f"{pairs['read']} of {pairs['count']} read in both orders"),
        ("agrees", f"{_share(pairs['agreed'])} with the people"),
        ("same seat", f"{_share(pairs['same_seat'])} in both orders: {seats}"),
        ("position bias", f"{bias} (+1 always the first, -1 always the second)"),
        ("not in form", _share(pairs["failures"])),
    ]


def _share(share: JsonObject) -> str:
    if share["value"] is None:
        return "none"
    interval = f"({percent(share['low'])} to {percent(share['high'])})"
    return f"{share['count']:,} of {share['of']:,}, {percent(share['value'])} {interval}"


def _statistic(statistic: JsonObject) -> str:
    value, low, high = (statistic[key] for key in ("value", "low", "high"))
    if value is None:
        return "cannot be told: one side always gives the same grade"
    if low is None:
        return f"{value:.2f} (no interval: too little varies)"
    return f"{value:.2f} ({low:.2f} to {high:.2f})"
