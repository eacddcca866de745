"""The scheduler: order, determinism, stop rule, resume; with a scripted teacher."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from random import Random

import pytest

from localinstruct.dataset.rows import RunRows
from localinstruct.errors import NothingNew, RunConflict
from localinstruct.generation.scheduler import Commit, Prefix, Scheduler
from localinstruct.generation.stage import converse, make_gate, make_job, read_seeds
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe
from localinstruct.recipe.recipe import SeedReading
from localinstruct.records import Completion, Instance, Prompt
from localinstruct.report.data import survey_rejects
from localinstruct.store.run import Run, open_run
from tests.support.scripted import HashEncoder, ScriptedTeacher, numbered_list

SEEDS = [
    Instance(instruction=f"Name {count} kinds of {thing}", output="…")
    for count, thing in enumerate(["tea", "moss", "bread", "rope"])
]


def recipe(**generate: object) -> Recipe:
    settings = {"target": 60, "in_flight": 6} | generate
    return Recipe.model_validate(
        {
            "name": "t",
            "models": {"teacher": "t", "student": "s"},
            "method": {"alpaca": {"kept_demonstrations": 1}},
            "generate": settings,
            "novelty": {"threshold": 0.99},
            "filters": {"set": "localinstruct"},
        }
    )


def play(run: Run, chosen: Recipe, teacher: ScriptedTeacher) -> list[tuple[str, str]]:
    job = make_job(chosen, SEEDS, "digest")
    asyncio.run(converse(job, run, teacher, HashEncoder(), Silent()))
    return [(row.id, row.instruction) for row in run.kept()]


def test_reaches_the_target_with_unique_rows_and_reasons(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        rows = play(run, recipe(), ScriptedTeacher())
        kept = list(run.kept())
        counts = {(stage, reason): count for stage, reason, count in run.reject_counts()}
        entries = run.episodes()
    assert len(rows) >= 60
    assert len({row_id for row_id, _ in rows}) == len(rows)
    assert sum(entry[1] for entry in entries) == len(rows)
    assert sum(entry[2] for entry in entries) == sum(counts.values())
    assert all(
        row.lineage.parents and row.lineage.teacher == "digest" and row.lineage.episode >= 0
        for row in kept
    )
    assert all(0 <= row.lineage.scores["novelty_max"] <= 0.99 for row in kept)


def test_result_does_not_depend_on_timing(tmp_path: Path) -> None:
    results = []
    for name, delay in (("fast", 0.0), ("slow", 0.02)):
        with open_run(tmp_path / name) as run:
            results.append(play(run, recipe(), ScriptedTeacher(delay=delay)))
    assert results[0] == results[1]


def test_a_larger_target_continues_the_smaller_run(tmp_path: Path) -> None:
    with open_run(tmp_path / "grown") as run:
        first = play(run, recipe(target=30), ScriptedTeacher())
        grown = play(run, recipe(target=90), ScriptedTeacher())
    with open_run(tmp_path / "whole") as run:
        whole = play(run, recipe(target=90), ScriptedTeacher())
    assert grown[: len(first)] == first
    assert grown == whole


def test_logged_completions_are_not_asked_again(tmp_path: Path) -> None:
    class Dying(ScriptedTeacher):
        async def complete(self, prompt: Prompt) -> list[Completion]:
            if self.asked >= 5:
                raise RuntimeError("gone")
            return await super().complete(prompt)

    teacher = ScriptedTeacher()
    with open_run(tmp_path) as run:
        with pytest.raises(RuntimeError, match="gone"):
            play(run, recipe(target=200), Dying())
        logged = len(list(run.completion_log()))
        assert logged >= 4
        play(run, recipe(target=200), teacher)
        added = len(list(run.completion_log())) - logged
        # up to in_flight more were asked when the target was reached
        assert added <= teacher.asked <= added + 6


def test_a_changed_prompt_is_refused(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        play(run, recipe(target=10), ScriptedTeacher())
        run._db.execute("DELETE FROM episodes")
        run._db.execute("DELETE FROM kept")
        other = recipe(target=100).model_copy(update={"seed": 7})
        with pytest.raises(RunConflict, match="answers another prompt"):
            play(run, other, ScriptedTeacher())


def test_stops_with_a_reason_when_nothing_new_comes(tmp_path: Path) -> None:
    def same(rng: Random) -> str:
        return numbered_list(Random(1))

    with open_run(tmp_path) as run, pytest.raises(NothingNew) as caught:
        play(
            run, recipe(target=5000, stop_window=200, stop_below=0.05), ScriptedTeacher(reply=same)
        )
    assert "of the last" in caught.value.message
    assert "exact repetition" in caught.value.message
    assert "--rejects" in caught.value.hint
    assert caught.value.exit_code == 5


def test_silence_stops_too(tmp_path: Path) -> None:
    with open_run(tmp_path) as run, pytest.raises(NothingNew):
        play(run, recipe(stop_window=20), ScriptedTeacher(reply=lambda rng: ""))


def test_ctrl_c_does_not_wait_for_the_backlog(tmp_path: Path) -> None:
    """Many episodes are done and wait for their commit when the stop comes: it is obeyed after the
    commit at hand."""
    commits: list[int] = []
    chosen = recipe(target=100_000, in_flight=64)
    job, encoder = make_job(chosen, SEEDS, "digest"), HashEncoder()

    async def stopped(run: Run) -> None:
        gate = make_gate(chosen.novelty, SEEDS, encoder, Silent())
        main = asyncio.current_task()
        assert main is not None

        def on_commit(commit: Commit) -> None:
            commits.append(commit.total)
            if len(commits) == 5:
                main.cancel()

        await Scheduler(job, run, ScriptedTeacher(delay=0.0), encoder, gate, on_commit).work()

    with open_run(tmp_path) as run:
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(stopped(run))
        assert len(commits) == 5
        assert run.count_kept() == commits[-1]


def test_the_pool_as_it_was_is_not_copied_and_does_not_grow() -> None:
    rows = SEEDS[:2]
    seen = Prefix(rows, 2)
    rows += SEEDS[2:]
    assert (len(rows), len(seen), list(seen), seen[-1], seen[:9]) == (
        4,
        2,
        SEEDS[:2],
        SEEDS[1],
        SEEDS[:2],
    )
    with pytest.raises(IndexError):
        seen[2]
    assert seen.rows is rows
    assert SEEDS[2] not in seen


def test_seeds_that_cannot_be_read_are_stored_and_shown(tmp_path: Path) -> None:
    """Once, also where they are read again to train on; and no candidate of the teacher."""
    lines = [*(json.dumps({"instruction": s.instruction, "output": "…"}) for s in SEEDS), "{broken"]
    (tmp_path / "seeds.jsonl").write_text("\n".join([*lines, '{"what": 1}']))
    chosen = recipe().model_copy(
        update={"seeds": "seeds.jsonl", "seed_reading": SeedReading(on_bad_row="skip")}
    )
    with open_run(tmp_path / "runs/t") as run:
        assert len(read_seeds(chosen, run, tmp_path, Silent())) == len(SEEDS)
        rejects = [one for _, one in RunRows(run).rejects()]
        assert [
            f"seeds.jsonl:{line}:" in one.detail for line, one in zip((5, 6), rejects, strict=False)
        ] == [
            True,
            True,
        ]
        assert [one.stage for one in rejects] == ["read", "read"]
        assert RunRows(run).reject_counts()
        survey = survey_rejects(run, 0.9, Random(1))
        assert (survey.count, survey.dropped) == (2, 2)
        (run.path / "dataset").mkdir()
        again = "".join(f"{json.dumps(asdict(one))}\n" for one in rejects)
        (run.path / "dataset" / "rejects.jsonl").write_text(again)
        run.start_stage("dataset", "x")
        run.finish_stage("dataset", {})
        assert len(list(RunRows(run).rejects())) == 2
