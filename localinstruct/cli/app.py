"""The command line: one short function per command. Parse, call, render.

Nothing heavy is imported here (`localinstruct --help` stays under 0.4 s); a command imports what it
needs when it runs. All of our errors end in `main`, with the exit codes of errors.py.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from localinstruct import __version__, console
from localinstruct.cli import bundle, judge, models, recipes, runs, seeds, topics
from localinstruct.cli.clean import clean
from localinstruct.cli.compare import compare
from localinstruct.cli.evaluate import Against, Judge, Tasks, compare_student
from localinstruct.cli.export import chat, export, serve
from localinstruct.cli.fit import fit
from localinstruct.cli.improve import improve
from localinstruct.cli.options import (
    AllowHost,
    Fresh,
    Json,
    Name,
    RecipeArg,
    Redo,
    RunArg,
    Sealed,
    SealedAlone,
    Set,
    TargetArg,
    WatchIt,
    prepare_commands,
)
from localinstruct.cli.preview import preview
from localinstruct.cli.review import open_page, review
from localinstruct.cli.verify_report import verify_report
from localinstruct.cli.watch import watch, watched
from localinstruct.errors import Interrupted, LocalInstructError
from localinstruct.interrupt import reset_signals, stop_as_ctrl_c_does
from localinstruct.offline import switches
from localinstruct.store.integrity import plain_words
from localinstruct.supervisor import CHILD, die_with_parent

if TYPE_CHECKING:
    from localinstruct.recipe import Recipe
    from localinstruct.records import JsonObject
    from localinstruct.workspace import Check

app = typer.Typer(
    name="localinstruct",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Self-instruct on your own machine: seeds in; dataset, fine-tuned student and report "
    "out; nothing leaves.",
)
app.command()(preview)
app.command()(clean)
app.command()(fit)
app.command()(review)
app.command("open")(open_page)
app.command()(export)
app.command()(compare)
app.command()(improve)
app.command()(watch)
app.command()(serve)
app.command()(chat)
app.command("verify-report")(verify_report)
app.add_typer(runs.app, name="runs")
app.add_typer(models.app, name="models")
app.add_typer(seeds.app, name="seeds")
app.add_typer(topics.app, name="topics")
app.add_typer(recipes.app, name="recipes")
app.add_typer(judge.app, name="judge")
app.add_typer(bundle.app, name="bundle")


def _version(asked: bool) -> None:
    if asked:
        console.line(f"localinstruct {__version__}")
        raise typer.Exit


@app.callback()
def localinstruct(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Options before the command."""


@app.command()
def demo(
    name: Name = "demo",
    settings: Set = None,
    fresh: Fresh = False,
    json: Json = False,
    sealed: Sealed = False,
) -> None:
    """The whole product on the built-in nano models, in minutes on a CPU: `run nano` as demo."""
    _run_everything("nano", name, settings, fresh, redo=False, json=json)


@app.command()
def run(
    recipe: RecipeArg,
    name: Name = None,
    settings: Set = None,
    fresh: Fresh = False,
    redo: Redo = False,
    json: Json = False,
    watch: WatchIt = False,
    allow_host: AllowHost = None,
    sealed: Sealed = False,
) -> None:
    """Every stage of RECIPE in order, from generate to report. Continues what is there."""
    _run_everything(recipe, name, settings, fresh, redo, json, watch)


@app.command()
def generate(
    target: TargetArg,
    name: Name = None,
    settings: Set = None,
    fresh: Fresh = False,
    redo: Redo = False,
    json: Json = False,
    watch: WatchIt = False,
    allow_host: AllowHost = None,
    sealed: Sealed = False,
) -> None:
    """Have the teacher write rows and keep the new ones."""
    _run_stage("generate", target, name, settings, fresh, redo, json, watch)


@app.command()
def dataset(
    target: TargetArg,
    name: Name = None,
    settings: Set = None,
    redo: Redo = False,
    json: Json = False,
    sealed: SealedAlone = False,
) -> None:
    """Split the kept rows and write the training files."""
    _run_stage("dataset", target, name, settings, False, redo, json)


@app.command()
def train(
    target: TargetArg,
    name: Name = None,
    settings: Set = None,
    redo: Redo = False,
    json: Json = False,
    sealed: Sealed = False,
) -> None:
    """Fine-tune the student on the dataset: an adapter or all weights, on answers or on pairs."""
    _run_stage("train", target, name, settings, False, redo, json)


@app.command()
def evaluate(
    target: TargetArg,
    against: Against = None,
    tasks: Tasks = None,
    judge: Judge = None,
    name: Name = None,
    settings: Set = None,
    redo: Redo = False,
    json: Json = False,
    allow_host: AllowHost = None,
    sealed: Sealed = False,
) -> None:
    """Compare the student with its base; or with a run or model, on other tasks, by a judge."""
    if against or tasks or judge:
        compare_student(
            target, name, settings or [], redo, against or "base", tasks or [], judge, json
        )
        return
    _run_stage("evaluate", target, name, settings, False, redo, json)


@app.command()
def report(
    target: TargetArg,
    name: Name = None,
    settings: Set = None,
    redo: Redo = False,
    json: Json = False,
    sealed: SealedAlone = False,
) -> None:
    """Write report.html, one self-contained page."""
    _run_stage("report", target, name, settings, False, redo, json)


@app.command()
def show(
    target: RunArg,
    rejects: Annotated[
        bool, typer.Option("--rejects", help="Dropped rows by reason, with examples.")
    ] = False,
    borderline: Annotated[
        bool, typer.Option("--borderline", help="Pairs nearest to the novelty threshold.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", help="All rejects of this reason.")
    ] = None,
    lineage: Annotated[
        str | None,
        typer.Option(
            "--lineage", metavar="ID", help="A row, what it was made from, and what from it."
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many rows to show.")] = 10,
    json: Json = False,
    sealed: SealedAlone = False,
) -> None:
    """Show a run: stages, counts, kept rows, rejects."""
    from localinstruct.cli import display, display_rows
    from localinstruct.workspace import viewed_run

    with viewed_run(target, loopback=False) as run:
        if rejects or reason:
            display_rows.rejects(run, reason, limit, json)
        elif lineage is not None:
            display_rows.lineage(run, lineage, json)
        elif borderline:
            display_rows.borderline(run, limit, json)
        else:
            display.overview(run, limit, json)


@app.command()
def doctor(json: Json = False, allow_host: AllowHost = None) -> None:
    """Look at this machine: what it has, and what would not work and why."""
    from localinstruct.cli import display_models

    display_models.doctor(json)


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty directory.")],
    json: Json = False,
) -> None:
    """Make a workspace of your own: recipes, seeds, models.yaml, ready to edit."""
    from localinstruct.store.durable import step_into
    from localinstruct.workspace import init as make

    paths = make(directory)
    if json:
        console.as_json({"directory": str(directory), "made": [str(path) for path in paths]})
        return
    for path in paths:
        console.line(f"  {path}")
    console.note(f"Next: {step_into(directory)}localinstruct run recipes/nano.yaml")


def _run_everything(
    recipe: str,
    name: str | None,
    settings: list[str] | None,
    fresh: bool,
    redo: bool,
    json: bool,
    watch_it: bool = False,
) -> None:
    from localinstruct import pipeline
    from localinstruct.cli import display
    from localinstruct.fit.assess import shortfall
    from localinstruct.workspace import opened_run

    results: JsonObject = {}

    def finished(stage: pipeline.Stage, result: "JsonObject", skipped: bool) -> None:
        display.stage_done(stage, result, skipped)
        results[stage.name] = {"skipped": skipped, "result": result}

    check = _checks(pipeline.NAMES) if fresh else None
    look = pipeline.keeps_edits(pipeline.NAMES, redo=redo)
    with (
        opened_run(recipe, name, settings or [], redo=redo, fresh=check, look=look) as work,
        watched(work.run.path, wanted=watch_it),
        console.progress() as progress,
    ):
        due = pipeline.due_stages(work.recipe, work.run)
        pipeline.require_ready(work.recipe, due, work.workspace, progress)
        if words := shortfall(work.recipe, work.workspace, work.run.path):
            progress.say(words)
        pipeline.run_all(work.recipe, work.run, progress, finished)
        if json:
            console.as_json({"run": str(work.run.path), "stages": results})
        else:
            display.summary(work.run)
    display.egress_report(work.run.path)


def _run_stage(
    stage: str,
    target: str,
    name: str | None,
    settings: list[str] | None,
    fresh: bool,
    redo: bool,
    json: bool = False,
    watch_it: bool = False,
) -> "JsonObject":
    from localinstruct import pipeline
    from localinstruct.cli import display
    from localinstruct.workspace import opened_run

    started_by_run = CHILD in os.environ
    chosen = pipeline.STAGES[pipeline.NAMES.index(stage)]
    check = _checks([stage]) if fresh else None
    look = None if started_by_run else pipeline.keeps_edits([stage], redo=redo, again=True)
    with (
        opened_run(target, name, settings or [], redo=redo, fresh=check, look=look) as work,
        watched(work.run.path, wanted=watch_it),
        console.progress(stage) as progress,
    ):
        if not started_by_run:
            pipeline.require_ready(work.recipe, [chosen], work.workspace, progress)
        with console.prints_beside():
            result = pipeline.run_stage(chosen, work.recipe, work.run, progress, work.workspace)
            if not started_by_run:
                pipeline.renew_report(work.recipe, work.run, progress, work.workspace)
    if not started_by_run:
        display.stage_done(chosen, result, False)
        display.egress_report(work.run.path)
    if json:
        # evaluate's numbers stood here without more before: those keys stay
        before = result if stage == "evaluate" else {}
        console.as_json({**before, "run": str(work.run.path), "stage": stage, "result": result})
    return result


def _checks(stages: Sequence[str]) -> "Check":
    """A check for all that these stages need, made before --fresh deletes the run that is there."""
    from localinstruct import pipeline

    def check(recipe: "Recipe", workspace: Path) -> None:
        due = [stage for stage in pipeline.STAGES if stage.name in stages]
        with console.progress() as progress:
            pipeline.require_ready(recipe, due, workspace, progress)

    return check


prepare_commands(app)


def _forget_allowed_hosts() -> None:
    """Have --allow-host count for this command and its stages, whatever a shell has exported."""
    if CHILD not in os.environ:
        os.environ.pop(switches.ALLOWED_HOSTS, None)


def main() -> NoReturn:
    """Run the command line and end the process with the right exit code."""
    switches.enforce()  # before a command imports a library, which reads them once
    _forget_allowed_hosts()
    reset_signals(interruptible=CHILD in os.environ)
    stop_as_ctrl_c_does()
    try:
        if CHILD in os.environ:
            from localinstruct.offline import seal

            die_with_parent(parent=int(os.environ[CHILD]))
            seal.begin(False)  # sealed if our parent is, and checked against the kernel
        with plain_words(Path.cwd()):
            code = app(standalone_mode=False) or 0
        if code == Interrupted.exit_code:  # what Typer makes of a KeyboardInterrupt, without a word
            raise KeyboardInterrupt
    except LocalInstructError as problem:
        # an interrupted child's parent says it
        if not (isinstance(problem, Interrupted) and CHILD in os.environ):
            console.error(problem)
        code = problem.exit_code
    except typer.TyperException as problem:
        console.usage(problem)
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        if CHILD not in os.environ:
            console.note("stopped while no run was open: what was counted as kept is kept.")
        code = Interrupted.exit_code
    except BrokenPipeError:
        # otherwise the interpreter complains at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    finally:
        console.settle()
    if "torch" in sys.modules:
        _end_at_once(code)
    sys.exit(code)


def _end_at_once(code: int) -> NoReturn:
    """End the process without taking its libraries apart, object by object.

    With torch and transformers loaded that takes Python more than a second; everything of ours is
    on the disk and closed by then, and memory is the system's again when a process is gone.
    """
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
