"""`improve`: rounds of evaluate, find the weakest sides, generate there, train, evaluate again.

Each round is an ordinary run beside the first, RUN-round-1 and so on. Its recipe is the first
run's with a steering to the weak sides (`evaluation.weak_sides`), and mixes in the rows of the
first run and of the earlier rounds; its student begins from the same base. What a round brought is
counted on the tasks that both runs answered, one by one, with the gain's 95 % interval. Rounds end
when they were asked for, when none of the last was shown to gain, when no side is weak, or when
the teacher brings nothing new. `improve/state.json` in the first run's folder says what a round
does before it does it, so that a killed one goes on. Not covered: the tasks choose what is
generated, so a claim needs other tasks.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from localinstruct import pipeline
from localinstruct.errors import Interrupted, NothingNew, RunConflict, RunInUse, UsageError
from localinstruct.evaluation.constraints import constraint_tasks
from localinstruct.evaluation.weak_sides import steering, weak_sides
from localinstruct.formats.tasks import Task, read_tasks, task_file
from localinstruct.generation.inputs import seeds_of
from localinstruct.improve.state import VERSION, Round, State, as_json, gain_over, state_from
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe, recipe_from_text
from localinstruct.records import JsonObject, StageResult, digest
from localinstruct.report.rounds import write_rounds
from localinstruct.states import results_of, states_of
from localinstruct.store.durable import lock, write_text
from localinstruct.store.folder import remove_run
from localinstruct.store.run import read_run
from localinstruct.workspace import opened

FOLDER, STATE, PAGE, TASKS = "improve", "state.json", "rounds.html", "tasks.jsonl"
Finish = Callable[[Recipe, Path, Path], None]
"""Brings the run of (recipe, workspace, path) to its end, going on with what is there."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Options of `improve`."""

    rounds: int = 3
    rows: int | None = None
    """Rows that the teacher writes in a round; None means a quarter of the first run's target."""
    weakest: int = 3
    """Weak sides that a round works on."""
    patience: int = 1
    """Rounds in a row that are not shown to gain, after which it ends."""


@dataclass
class Improvement:
    """Rounds on one run: `work()` plays them; everything it needs done is in `finish`."""

    path: Path
    """The first run's folder."""
    asked: Asked
    finish: Finish
    progress: Progress
    show: Callable[[Round], None] = lambda one: None
    """Told of every round that has finished."""

    def work(self) -> State:
        """Play rounds until they end; the state, whose page is written after each."""
        with read_run(self.path) as run:
            recipe, workspace = pipeline.recipe_of(run)
        require_tasks(recipe, self.path)
        with self._alone():
            self.finish(recipe, workspace, self.path)
            state = self._read(recipe)
            while not (ended := self._reason_to_end(state, recipe)):
                state = replace(state, ended="")
                one = state.begun or self._next(state, recipe, workspace)
                if state.begun is None:
                    state = self._store(replace(state, rounds=(*state.rounds, one)))
                try:
                    state = self._store(self._played(state, one, workspace))
                except NothingNew as problem:
                    ended = f"{one.run}: the teacher brings nothing new ({problem.message})"
                    break
            return self._store(replace(state, ended=ended))

    def _reason_to_end(self, state: State, recipe: Recipe) -> str:
        if state.begun:
            return ""
        done, last = state.finished, state.finished[-self.asked.patience :]
        gains = [one.gain for one in last if one.gain is not None]
        if len(gains) == self.asked.patience and not any(gain.is_shown for gain in gains):
            words = (
                "the last round was" if len(gains) == 1 else f"the last {len(gains)} rounds were"
            )
            return f"{words} not shown to gain: the interval does not lie above 0"
        if len(done) >= self.asked.rounds:
            return f"{len(done)} of {self.asked.rounds} rounds are done"
        before = evaluated_of(Path(state.rounds[-1].run) if state.rounds else self.path)
        if not weak_sides(recipe, before, self.asked.weakest):
            return "no family has less than 95 % right answers"
        return ""

    def _next(self, state: State, recipe: Recipe, workspace: Path) -> Round:
        """The next round: decided here, stored by the caller before anything of it is done."""
        before = Path(state.rounds[-1].run) if state.rounds else self.path
        sides = weak_sides(recipe, evaluated_of(before), self.asked.weakest)
        way = steering(recipe, sides, seeds_of(recipe, workspace))
        number = len(state.rounds) + 1
        path = self.path.parent / f"{self.path.name}-round-{number}"
        if (path / "run.sqlite").exists():
            raise RunConflict(
                f"{path}: expected no run of this name, as round {number} is not begun.",
                f"Rename it, or remove it: localinstruct runs remove {path.name}",
            )
        rows = self.asked.rows or max(1, recipe.generate.target // 4)
        earlier = [str(self.path), *(one.run for one in state.rounds)]
        keys = {**way.keys, **self._evaluate(recipe, workspace)}
        text = recipe_of_round(recipe, number, path.name, rows, earlier, keys)
        return Round(number, str(path), str(before), tuple(sides), way.unreached, text)

    def _evaluate(self, recipe: Recipe, workspace: Path) -> JsonObject:
        """The keys that ask a round the first run's tasks.

        Those of `evaluate.constraints` are drawn by the seed and the weights of the recipe, which a
        round changes: they are written down once.
        """
        if not recipe.evaluate.constraints:
            return {}
        file = self.path / FOLDER / TASKS
        named = recipe.evaluate.tasks
        tasks = read_tasks(task_file(named, workspace)) if named else []
        tasks += constraint_tasks(recipe, workspace)
        lines = [json.dumps(_as_row(task), ensure_ascii=False) for task in tasks]
        write_text(file, "".join(f"{line}\n" for line in lines))
        return {"evaluate": {"tasks": str(file.resolve()), "constraints": 0}}

    def _played(self, state: State, one: Round, workspace: Path) -> State:
        """The state with this round finished; NothingNew when its teacher repeats itself."""
        path = Path(one.run)
        reached = [side.name for side in one.sides if side.name not in one.unreached]
        where = ", ".join(reached) or "everywhere: nothing in the recipe leads to the weak families"
        self.progress.say(f"round {one.number} of {self.asked.rounds}, {path}: {where}")
        try:
            self.finish(recipe_from_text(one.recipe, f"round {one.number}"), workspace, path)
        except pipeline.StageFailed as failure:
            if failure.exit_code == NothingNew.exit_code:
                raise NothingNew("see above") from None
            raise
        with read_run(path) as run:
            rows, dataset = run.count_kept(), run.stage("dataset")
        done = replace(
            one,
            gain=gain_over(Path(one.began_from), path, reached),
            total=gain_over(self.path, path),
            rows=rows,
            train=int((dataset.result if dataset else {}).get("train") or 0),
        )
        self.show(done)
        return replace(state, rounds=(*(old for old in state.rounds if old is not one), done))

    def _read(self, recipe: Recipe) -> State:
        """The state on the disk, or a new one; RunConflict when the first run has changed since."""
        origin = digest([evaluated_of(self.path).get("tasks"), recipe.to_yaml()])
        try:
            stored = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return State(str(self.path), origin)
        state = state_from(stored)
        if state.origin != origin:
            runs = ", ".join(Path(one.run).name for one in state.rounds) or "none yet"
            raise RunConflict(
                f"{self.path}: its student or recipe is another than that the rounds began from "
                f"({runs}).",
                f"Begin again, deleting these rounds: localinstruct improve {self.path} --fresh",
            )
        return state

    def _store(self, state: State) -> State:
        """Keep the state on the disk, and show it on the page."""
        content = {"version": VERSION, **as_json(state)}
        write_text(self._file, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
        write_rounds(self.page, self.path.name, as_json(state))
        return state

    @property
    def page(self) -> Path:
        """The page that shows the rounds."""
        return self.path / FOLDER / PAGE

    @property
    def _file(self) -> Path:
        return self.path / FOLDER / STATE

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep a second `improve` of this run away; Ctrl-C says how to go on."""
        folder = self.path / FOLDER
        folder.mkdir(exist_ok=True, mode=0o700)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if not lock(descriptor):
                raise RunInUse(f"{self.path}: another improve is at work on it.", "Let it end.")
            yield
        except Interrupted as stop:
            again = f"Continue with: localinstruct improve {self.path}"
            raise Interrupted(stop.message, again) from None
        finally:
            os.close(descriptor)


def require_tasks(recipe: Recipe, path: Path) -> None:
    """UsageError for a run whose evaluation asks no tasks: nothing says then what is weak."""
    if not recipe.evaluate.tasks and not recipe.evaluate.constraints:
        raise UsageError(
            f"{path}: expected a run whose student is asked tasks; its recipe names none.",
            f"localinstruct run {path} --redo --set evaluate.tasks=FILE (docs/guide.md)",
        )


def forget(path: Path) -> list[str]:
    """Delete the rounds of a run with all that lies in them; the folders that are gone."""
    file = path / FOLDER / STATE
    if not file.exists():
        return []
    stored = json.loads(file.read_text(encoding="utf-8"))
    gone = [one["run"] for one in stored["rounds"] if (Path(one["run"]) / "run.sqlite").exists()]
    for run in gone:
        remove_run(Path(run))
    file.unlink()
    return gone


def finished_here(progress: Progress) -> Finish:
    """The way rounds are played outside tests: every stage that is due, each in its own process."""

    def finish(recipe: Recipe, workspace: Path, path: Path) -> None:
        with opened(recipe, workspace, path, redo=False) as work:
            due = pipeline.due_stages(work.recipe, work.run)
            if due:
                pipeline.require_ready(work.recipe, due, work.workspace, progress)
                pipeline.run_all(work.recipe, work.run, progress, lambda *_: None)

    return finish


def recipe_of_round(
    recipe: Recipe, number: int, name: str, rows: int, earlier: list[str], keys: JsonObject
) -> str:
    """The recipe of a round as YAML: the first run's, steered, with the rows of earlier runs."""
    data: JsonObject = yaml.safe_load(recipe.to_yaml())
    data = _merged(data, keys)
    data |= {"name": name, "about": f"round {number}: {recipe.about}", "seed": recipe.seed + number}
    data["generate"] = {**data["generate"], "target": rows}
    section = data.get("dataset") or {}
    data["dataset"] = {
        **section,
        "sources": [*(section.get("sources") or []), *({"path": path} for path in earlier)],
    }
    return recipe_from_text(yaml.safe_dump(data, allow_unicode=True), name).to_yaml()


def _merged(data: JsonObject, keys: Mapping[str, object]) -> JsonObject:
    merged = dict(data)
    for key, value in keys.items():
        below = merged.get(key)
        is_section = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = _merged(below, value) if is_section else value  # type: ignore[arg-type]
    return merged


def evaluated_of(path: Path) -> StageResult:
    """The evaluation of a run; RunConflict when it has none that holds."""
    with read_run(path) as run:
        recipe, _ = pipeline.recipe_of(run)
        result = results_of(states_of(recipe, run), run)["evaluate"]
    if result is None:
        raise RunConflict(
            f"{path}: its student has not been evaluated, or that is stale.",
            f"localinstruct run {path}",
        )
    return result


def _as_row(task: Task) -> JsonObject:
    """A task as a line of a task file."""
    row = task.instance
    texts = {"instruction": row.instruction, "input": row.input, "output": row.output}
    more = {"check": dict(task.check), "system": row.system}
    known = {key: value for key, value in more.items() if value}
    return {"id": task.id, "family": task.family, **texts, **known}
