"""The child in which runs and models of a Python program live, with the offline environment.

It is given the file of a pickled job, a descriptor and the process id of its parent. To the
descriptor it writes lines of JSON: `say` and `update` as they come, at the end `result`, or `error`
with the kind of the error and its words. It dies with its parent, and ends at SIGINT or SIGTERM as
the command line does. Not covered: a job that does not come from a program of the same user on this
machine (pickle runs what it is told).
"""

import contextlib
import json
import pickle
import sys
import tempfile
import traceback
from dataclasses import dataclass
from functools import partial
from itertools import dropwhile
from pathlib import Path
from typing import NoReturn

from localinstruct import pipeline
from localinstruct.cleaning.judging import judged
from localinstruct.cleaning.settings import Judge
from localinstruct.curate.duplicates import duplicates_by_meaning, duplicates_by_words
from localinstruct.curate.filters import OwnFilter
from localinstruct.curate.novelty import Novelty
from localinstruct.errors import Interrupted, LocalInstructError
from localinstruct.interrupt import reset_signals, stop_as_ctrl_c_does
from localinstruct.judge.grading import Grade, Verdict
from localinstruct.methods import MethodSection
from localinstruct.methods.own import OwnMethod
from localinstruct.models.catalog import checked, load_catalog
from localinstruct.own_code import F, holding
from localinstruct.progress import Progress
from localinstruct.readiness import require_judge
from localinstruct.recipe import Recipe, recipe_from_text, with_overrides
from localinstruct.records import Instance, JsonObject, Reject
from localinstruct.supervisor import die_with_parent
from localinstruct.teacher.serving import serving
from localinstruct.workspace import RUNS, opened, resolve

COMMAND = ("-c", f"from {__name__} import main; main()")
"""Arguments of the Python that is started, before the job's file, descriptor and our process id."""


@dataclass(frozen=True, slots=True)
class Given:
    """A function of the program: its entry in the recipe, and itself as cloudpickle gives it."""

    entry: JsonObject
    pickled: bytes

    def held_by(self, kind: type[F]) -> F:
        """The entry with the function in it."""
        return holding(kind.model_validate(self.entry), pickle.loads(self.pickled))


@dataclass(frozen=True, slots=True)
class StageJob:
    """Stages of a run, in order, each unless it has finished for what it would read now.

    The recipe is the text of one with its workspace, or the name of a recipe or run as `target`.
    """

    stages: tuple[str, ...]
    target: str = ""
    recipe: str = ""
    workspace: str = ""
    name: str | None = None
    settings: tuple[str, ...] = ()
    redo: bool = False
    fresh: bool = False
    method: Given | None = None
    keep: Given | None = None

    def work(self, progress: Progress) -> JsonObject:
        """Run the stages in this process: {"run": its directory}.

        What all of them need is looked at before the first one begins.
        """
        recipe, workspace, path = self._recipe()
        stages = [stage for stage in pipeline.STAGES if stage.name in self.stages]

        def look(recipe: Recipe, workspace: Path) -> None:
            pipeline.require_ready(self._with_functions(recipe), stages, workspace, progress)

        fresh = look if self.fresh else None
        kept = pipeline.keeps_edits(self.stages, redo=self.redo)
        with opened(recipe, workspace, path, redo=self.redo, fresh=fresh, look=kept) as work:
            recipe = work.recipe
            due = [*dropwhile(lambda one: pipeline.is_finished(one, recipe, work.run), stages)]
            ready = self._with_functions(recipe)  # in the seal: it imports the user's modules
            pipeline.require_ready(ready, due, workspace, progress)
            for stage in due:
                if not pipeline.is_finished(stage, recipe, work.run):
                    pipeline.run_stage(stage, ready, work.run, progress, workspace)
            if due:
                pipeline.renew_report(recipe, work.run, progress, workspace)
        return {"run": str(path.resolve())}

    def _recipe(self) -> tuple[Recipe, Path, Path]:
        """(recipe with the entries of the program's own functions, workspace, run directory)."""
        if self.recipe:
            workspace, stored = Path(self.workspace), recipe_from_text(self.recipe, "recipe")
            recipe = with_overrides(stored, self.settings, "recipe", workspace)
            path = RUNS / (self.name or recipe.name)
        else:
            recipe, workspace, path = resolve(self.target, self.name, self.settings)
        method = OwnMethod.model_validate(self.method.entry) if self.method else None
        keep = OwnFilter.model_validate(self.keep.entry) if self.keep else None
        return _with(recipe, method, keep), workspace, path

    def _with_functions(self, recipe: Recipe) -> Recipe:
        """The recipe with the functions themselves."""
        method = self.method.held_by(OwnMethod) if self.method else None
        return _with(recipe, method, self.keep.held_by(OwnFilter) if self.keep else None)


def _with(recipe: Recipe, method: OwnMethod | None, keep: OwnFilter | None) -> Recipe:
    if method:
        recipe = recipe.model_copy(update={"method": MethodSection(own=method)})
    if keep:
        filters = recipe.filters.model_copy(update={"own": keep})
        recipe = recipe.model_copy(update={"filters": filters})
    return recipe


@dataclass(frozen=True, slots=True)
class DuplicatesJob:
    """Near-duplicates among rows, compared with an encoder of the workspace or by ROUGE-L."""

    rows: list[Instance]
    novelty: Novelty
    encoder: str
    workspace: str
    static: bool = False

    def work(self, progress: Progress) -> JsonObject:
        """{"dropped": [[row, the row it is like, reason, score], …], "unseen": rows}."""
        unseen = 0
        if self.novelty.measure == "cosine" and self.rows:
            directory = checked(load_catalog(Path(self.workspace)).get(self.encoder))
            found, unseen = duplicates_by_meaning(
                self.rows, self.novelty, directory, progress, self.static
            )
        else:
            found = duplicates_by_words(self.rows, self.novelty)
        dropped = [[one.row, one.like, one.reason, one.score] for one in found]
        return {"dropped": dropped, "unseen": unseen}


@dataclass(frozen=True, slots=True)
class JudgeJob:
    """Rows that are there, graded by a judge of the workspace."""

    rows: list[Instance]
    judge: Judge
    workspace: str

    def work(self, progress: Progress) -> JsonObject:
        """{"rows": [[grade, scores, reason, detail], …]}; a reason says that a row is to go."""
        spec = require_judge(self.judge, load_catalog(Path(self.workspace)), progress.say)
        with tempfile.TemporaryDirectory(prefix="localinstruct-") as home:
            serve = partial(serving, spec, self.judge.serve, Path(home), progress)
            found = judged(self.rows, self.judge, serve, progress)
        return {"rows": [_plain(verdict, after) for verdict, after in found]}


def _plain(verdict: Verdict, after: Instance | Reject) -> list[object]:
    grade, scores = (verdict.score, verdict.scores) if isinstance(verdict, Grade) else (None, {})
    why = [after.reason, after.detail] if isinstance(after, Reject) else ["", ""]
    return [grade, scores, *why]


Job = StageJob | DuplicatesJob | JudgeJob


@dataclass
class Lines:
    """Where lines of JSON go; a Progress of this process, for its parent."""

    descriptor: int

    def send(self, kind: str, value: object) -> None:
        """One line, whole; nowhere when the parent reads no more."""
        with contextlib.suppress(BrokenPipeError), open(self.descriptor, "ab", closefd=False) as to:
            to.write(json.dumps({kind: value}).encode() + b"\n")

    def say(self, text: str) -> None:
        """A lasting line of the work."""
        self.send("say", text)

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        """How far the work is."""
        self.send("update", [label, done, total, note])


def write_job(job: Job, folder: Path) -> Path:
    """The file of a job in a private folder, with where this process imports from."""
    file = folder / "job"
    file.write_bytes(pickle.dumps({"path": sys.path, "job": pickle.dumps(job)}))
    return file


def main() -> NoReturn:
    """Do the job of the command line, and end with the exit code of its error."""
    reset_signals(interruptible=True)
    stop_as_ctrl_c_does()
    lines = Lines(int(sys.argv[2]))
    try:
        die_with_parent(parent=int(sys.argv[3]))
        lines.send("result", _job(Path(sys.argv[1])).work(lines))
        code = 0
    except LocalInstructError as problem:
        code = _failed(lines, problem)
    except KeyboardInterrupt:
        code = _failed(lines, Interrupted("stopped before a run was open"))
    except Exception:
        code = _failed(lines, LocalInstructError(traceback.format_exc(), "Please report it."))
    sys.exit(code)


def _job(file: Path) -> Job:
    """The job, after this process imports from where its parent does."""
    content = pickle.loads(file.read_bytes())
    sys.path += [place for place in content["path"] if place not in sys.path]
    job: Job = pickle.loads(content["job"])
    return job


def _failed(lines: Lines, problem: LocalInstructError) -> int:
    """Pass an error on; its exit code."""
    words = {"message": problem.message, "hint": problem.hint, "exit_code": problem.exit_code}
    lines.send("error", {"kind": type(problem).__name__, **words})
    return problem.exit_code
