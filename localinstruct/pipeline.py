"""The stages in order, each in a process of its own, finished ones skipped.

A process per stage is the only way that really frees a GPU's memory between teacher, trainer and
evaluation. The parent holds the run's lock and hands it down, forwards one interrupt, and passes on
the exit code of the stage that failed; the stages die with it. A stage is finished while everything
that it read is as it was then (`states`).
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from localinstruct import __version__, console, readiness
from localinstruct.curate.filters import VERSION
from localinstruct.errors import Interrupted, LocalInstructError, RunConflict
from localinstruct.offline.switches import child_environment
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe, changed_keys, recipe_from_text
from localinstruct.records import Json, StageResult
from localinstruct.stages import NAMES, STAGES, Stage
from localinstruct.states import (
    State,
    edited_files,
    inputs_of,
    is_finished,
    read_now,
    remarks,
    results_of,
    states_of,
)
from localinstruct.store.durable import write_text
from localinstruct.store.freshness import READ, WROTE, digests
from localinstruct.store.lock import LOCK_FD
from localinstruct.store.run import Run, StageEntry
from localinstruct.store.worktime import at_work, worked
from localinstruct.supervisor import CHILD

__all__ = ["NAMES", "STAGES", "Stage", "due_stages", "inputs_of", "is_finished", "run_all"]
REPORT = STAGES[-1]
BY_HAND = "by_hand"
"""Folder of a run with copies of files that a person changed and a stage wrote over."""
BEGAN = "LOCALINSTRUCT_STAGE_BEGAN"
"""Environment variable of a stage that `run` started: the unix time of its start."""


def settle_recipe(run: Run, recipe: Recipe, workspace: Path, *, redo: bool = False) -> Recipe:
    """Store the recipe in a new run; in an existing one require it to be the same.

    A larger generate.target adds rows to those that are there, and how the teacher is served is
    free; before the first question to the teacher everything is. Other changes are refused with the
    changed keys and the ways out; with `redo`, changes that leave the kept rows valid are accepted,
    and the stages they touch run again. The result is the recipe as it is stored: with the version
    of the rules that the run began with, unless the recipe names one.
    """
    begun = None if run.is_blank() else _begun_with(run)
    if recipe.filters.rules is None:
        recipe = _under_rules(recipe, begun.filters.version if begun else VERSION)
    text = recipe.to_yaml()
    if begun and text != run.get("recipe"):
        _require_same(run, begun, recipe, redo)
    run.put("workspace", str(workspace.resolve()))
    run.put("version", __version__)
    _store_recipe(run, text)
    return recipe


def _store_recipe(run: Run, text: str) -> None:
    run.put("recipe", text)
    write_text(run.path / "recipe.yaml", text)


@contextmanager
def as_before_when_refused(run: Run) -> Iterator[None]:
    """Keep the run's recipe and results for --redo when an error comes before a stage has finished.

    Ctrl-C and a kill leave the new recipe, so that the work goes on where it stopped. Files of a
    training that had begun stay until another one begins.
    """
    recipe, entries = run.get("recipe"), _entries(run)
    try:
        yield
    except Interrupted:
        raise
    except Exception as problem:
        now = _entries(run)
        finished = any(entry.finished and entry != entries.get(name) for name, entry in now.items())
        if recipe is not None and recipe != run.get("recipe") and not finished:
            for name in now.keys() - entries.keys():
                run.forget_stage(name)
            for entry in entries.values():
                run.restore_stage(entry)
            _store_recipe(run, recipe)
            if isinstance(problem, LocalInstructError):
                said = (
                    f"{run.path} is as it was: its recipe without what --redo asked for, its "
                    "results."
                )
                problem.hint = "\n".join(part for part in (problem.hint, said) if part)
        raise


def _entries(run: Run) -> dict[str, StageEntry]:
    return {name: entry for name in NAMES if (entry := run.stage(name))}


def _require_same(run: Run, old: Recipe, new: Recipe, redo: bool) -> None:
    changed = {
        key: values for key, values in changed_keys(old, new).items() if not _is_free(key, *values)
    }
    touches_rows = any(_shapes_rows(key) for key in changed)
    if not changed or (redo and not touches_rows):
        return
    lines = "\n".join(
        f"  {key}: {before!r} in the run, {after!r} now" for key, (before, after) in changed.items()
    )
    settable = {key: values for key, values in changed.items() if not key.endswith(".sha256")}
    back = " ".join(f"--set {key}={before}" for key, (before, _) in settable.items())
    third = (
        f"  - go on with the run's own recipe: localinstruct run {run.path}"
        if touches_rows
        else "  - keep the rows and run the stages this touches again: add --redo"
    )
    raise RunConflict(
        f"{run.path}: was begun with another recipe. Changed keys:\n{lines}",
        "Three ways out:\n  - another run: --name NEW-NAME\n  - start over, deleting this run: "
        f"--fresh\n{third}" + (f"\n(or restore the values: {back})" if back else ""),
    )


def _is_free(key: str, before: Json, after: Json) -> bool:
    """True for keys that may change in an existing run.

    These are how the teacher is served, what the run is called, and a larger target.
    """
    if key == "generate.target":
        return isinstance(before, int) and isinstance(after, int) and after > before
    return key in ("name", "about", "sealed") or (
        key.startswith("serve.") and not _shapes_rows(key)
    )


def _shapes_rows(key: str) -> bool:
    """True for keys on which the kept rows depend.

    The size of the engine's batch is one, as it sets how many episodes are in flight.
    """
    return key == "serve.max_num_seqs" or any(
        key == read or key.startswith(f"{read}.") for read in STAGES[0].keys
    )


def recipe_of(run: Run) -> tuple[Recipe, Path]:
    """The recipe and workspace a run was made with."""
    recipe, workspace = _begun_with(run), run.get("workspace")
    if recipe is None or workspace is None:
        raise RunConflict(
            f"{run.path}: no recipe in it; it was never started.",
            "Start it: localinstruct run RECIPE",
        )
    return recipe, Path(workspace)


def _begun_with(run: Run) -> Recipe | None:
    """The recipe that a run has stored; release 0.1.0 wrote no version of the rules."""
    stored = run.get("recipe")
    if stored is None:
        return None
    recipe = recipe_from_text(stored, f"{run.path}/run.sqlite")
    return recipe if recipe.filters.rules else _under_rules(recipe, 1)


def _under_rules(recipe: Recipe, version: int) -> Recipe:
    filters = recipe.filters.model_copy(update={"rules": version})
    return recipe.model_copy(update={"filters": filters})


def finished_stages(run: Run) -> dict[str, tuple[float, float]]:
    """Finished stage -> (first started, finished), unix seconds."""
    return {
        name: (entry.started, entry.finished)
        for name, entry in _entries(run).items()
        if entry.finished
    }


def remarks_of(run: Run) -> list[str]:
    """Sentences on stale results and files changed by hand; none while there is no recipe."""
    try:
        return remarks(recipe_of(run)[0], run)
    except LocalInstructError:
        return []


def run_stage(
    stage: Stage, recipe: Recipe, run: Run, progress: Progress, workspace: Path
) -> StageResult:
    """Run one stage here, in this process, and store its result with digests of what it read.

    Its "stage_seconds" are the seconds at work in all its sessions, from the start of the process
    where it has one of its own: model starts and loading included, pauses not.
    """
    missing = [name for name in stage.uses if not _has_result(run, name)]
    if missing and stage.name != "report":
        raise RunConflict(
            f"{run.path}: {stage.name} needs {missing[0]}, which has not finished.",
            f"Run it first: localinstruct {missing[0]} {run.path}",
        )
    began, read = float(os.environ.pop(BEGAN, time.time())), read_now(stage, recipe, run)
    _save_edits(stage, run, progress)
    inputs = inputs_of(stage, recipe, run)
    run.start_stage(stage.name, inputs)
    # Rows of a smaller target stay, and so does the time that they took.
    with at_work(run, stage.name, "" if stage.name == "generate" else inputs, began):
        result = stage.load()(recipe, run, progress, workspace=workspace)
        result = {**result, READ: read, WROTE: digests(run.path, stage.writes)}
        result["stage_seconds"] = worked(run, stage.name)
    run.finish_stage(stage.name, result)
    return result


def _save_edits(stage: Stage, run: Run, progress: Progress) -> None:
    """Copy files that were changed by hand into by_hand/, before the stage writes over them."""
    entry = run.stage(stage.name)
    if entry is None or not entry.finished:
        return
    for name, words in edited_files(stage, entry, run).items():
        source, copy = run.path / name, run.path / BY_HAND / name
        copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if source.is_dir():
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(source, copy)
        else:
            shutil.copyfile(source, copy)
        progress.say(f"{name} was changed by hand ({words}): a copy is in {copy}")


def renew_report(recipe: Recipe, run: Run, progress: Progress, workspace: Path) -> None:
    """Write the run's report and cards again, where there are any that no longer hold.

    So that no page on the disk goes on praising a student that a command has just replaced.
    """
    is_there = _has_result(run, REPORT.name) and (run.path / "report.html").is_file()
    if is_there and not is_finished(REPORT, recipe, run):
        run_stage(REPORT, recipe, run, progress, workspace)


def keeps_edits(
    names: Sequence[str], *, redo: bool, again: bool = False
) -> Callable[[Recipe, Run], None]:
    """A look at a run: RunConflict when one of these stages would write over files changed by hand.

    With `again` they run whether their results hold or not; `redo` says that they may.
    """

    def look(recipe: Recipe, run: Run) -> None:
        for name, state in states_of(recipe, run).items():
            due = name in names and (again or state.state == "stale")
            if due and state.edited and not redo:
                raise _edit_conflict(state, run)

    return look


def _edit_conflict(state: State, run: Run) -> RunConflict:
    name, keep = state.stage.name, {"dataset": "train", "train": "evaluate"}
    files = "; ".join(f"{file} ({words})" for file, words in state.edited.items())
    return RunConflict(
        f"{run.path}: changed by hand since {name} wrote it: {files}. "
        f"Running {name} again would write over that.",
        "Two ways out:\n"
        f"  - keep what was changed, and go on with it: localinstruct {keep[name]} {run.path}\n"
        f"  - write over it (a copy is kept): localinstruct {name} {run.path} --redo",
    )


def _has_result(run: Run, name: str) -> bool:
    entry = run.stage(name)
    return bool(entry and entry.finished)


def due_stages(recipe: Recipe, run: Run) -> list[Stage]:
    """The stages that have not finished for the inputs they have now."""
    return [stage for stage in STAGES if not is_finished(stage, recipe, run)]


def require_ready(
    recipe: Recipe, due: Sequence[Stage], workspace: Path, progress: Progress
) -> None:
    """Look for all that these stages need to begin: a night of rows must not end at a typing error.

    One error (RecipeError, DataError or ModelError) that names everything that is wrong:
    `readiness.require`.
    """
    readiness.require(recipe, [stage.name for stage in due], workspace, progress)


def run_all(
    recipe: Recipe,
    run: Run,
    progress: Progress,
    on_result: Callable[[Stage, StageResult, bool], None],
) -> None:
    """Run every stage in order, each in its own process.

    `on_result(stage, result, skipped)` is called after each.
    """
    for number, stage in enumerate(STAGES, 1):
        skipped = is_finished(stage, recipe, run)
        if not skipped:
            why = "; ".join(states_of(recipe, run)[stage.name].why)
            again = f" (again: {why})" if why else ""
            progress.say(f"[{number}/{len(STAGES)}] {stage.name}: {stage.about}{again}")
            _in_own_process(stage, run.path)
        state = states_of(recipe, run)[stage.name]
        on_result(stage, results_of({stage.name: state}, run)[stage.name] or state.result, skipped)


class StageFailed(LocalInstructError):
    """A stage that ended badly.

    It has said why itself, unless a signal ended it (`code` below 0) or it crashed (1).
    """

    def __init__(self, stage: str, code: int) -> None:
        message, hint = "", ""
        if code < 0:
            message = f"{stage} was ended by {signal.Signals(-code).name}."
            hint = (
                "If nobody did that, the system was out of memory: dmesg, then a smaller "
                "model or batch."
            )
        elif code == 1:
            message, hint = (
                f"{stage} crashed; the traceback is above.",
                "What was kept is kept. Please report it.",
            )
        super().__init__(message, hint)
        self.exit_code = code if code > 1 else 4


def _in_own_process(stage: Stage, path: Path) -> None:
    """Run `localinstruct STAGE PATH` as a child with our lock and terminal, but not our Ctrl-C.

    It is stopped by SIGTERM, which also reaches a child that has not come to its `main` yet: until
    then SIGINT is ignored in it when whoever started us had it ignored.
    """
    command = [sys.executable, "-m", "localinstruct", stage.name, str(path)]
    lock = int(os.environ[LOCK_FD])
    own = {LOCK_FD: str(lock), CHILD: str(os.getpid()), BEGAN: str(time.time())}
    environment = child_environment(**own)
    with console.lent(stage.name):
        child = subprocess.Popen(command, env=environment, pass_fds=(lock,), process_group=0)
        try:
            code = child.wait()
        except KeyboardInterrupt:
            child.terminate()
            child.wait()
            raise Interrupted("") from None
    if code:
        raise StageFailed(stage.name, code)
