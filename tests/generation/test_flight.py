"""What is at the server and what is ahead of the commit: counted in requests, not in seconds."""

import asyncio
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest

from localinstruct.curate.novelty import Gate
from localinstruct.errors import ModelError
from localinstruct.formats import write
from localinstruct.generation import scheduler as module
from localinstruct.generation.flight import in_flight_of, settle_window, window_of
from localinstruct.generation.forecast import Forecast, TimeLeft, in_words
from localinstruct.generation.scheduler import Commit, Scheduler
from localinstruct.generation.slots import Slots
from localinstruct.generation.stage import (
    converse,
    make_gate,
    make_job,
)
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe
from localinstruct.records import Completion, Instance, Prompt
from localinstruct.store.run import Run, open_run
from tests.support.scripted import HashEncoder, numbered_list

TASKS = [Instance(instruction=f"Name {count} kinds of bread", output="…") for count in range(300)]


def recipe(method: dict[str, object], **generate: object) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "t",
            "models": {"teacher": "t", "student": "s"},
            "method": method,
            "generate": {"target": 300, "in_flight": 8} | generate,
            "novelty": {"threshold": 1, "against": "kept"},
            "filters": {"set": "none"},
        }
    )


ANSWER: dict[str, object] = {"answer": {}}
LISTS: dict[str, object] = {"alpaca": {}}
FROM_KEPT: dict[str, object] = {"alpaca": {"kept_demonstrations": 1}}


class Unequal:
    """Answers most prompts at once; `slow` ones only when so many others have been answered."""

    def __init__(self, slow: Callable[[int], bool], others: int, lists: bool = False) -> None:
        self.asked = self.answered = self.at_once = self.most_at_once = 0
        self._slow = slow
        self._others = others
        self._lists = lists

    async def complete(self, prompt: Prompt) -> list[Completion]:
        number, self.asked = self.asked, self.asked + 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        turns = 0
        while self._slow(number) and self.answered < self._others and turns < 400:
            turns += 1
            await asyncio.sleep(0.005)
        await asyncio.sleep(0)
        self.at_once -= 1
        self.answered += 1
        rng = Random(prompt.digest)
        text = numbered_list(rng) if self._lists else f"Rye, spelt and {rng.random()}."
        return [Completion(text, "stop", 9)]


def scheduler(run: Run, chosen: Recipe, teacher: Unequal, commits: list[Commit]) -> Scheduler:
    job, encoder = make_job(chosen, TASKS, "digest"), HashEncoder()
    gate = make_gate(chosen.novelty, TASKS, encoder, Silent())
    return Scheduler(job, run, teacher, encoder, gate, commits.append)


def test_a_slow_head_does_not_stop_the_others(tmp_path: Path) -> None:
    """The first answer comes after 290 others, of which 8 are at the server at a time."""
    teacher, commits = Unequal(lambda number: number == 0, others=290), list[Commit]()
    with open_run(tmp_path) as run:
        asyncio.run(scheduler(run, recipe(ANSWER), teacher, commits).work())
        rows = [row.lineage.episode for row in run.kept()]
    assert rows == sorted(rows)
    assert len(rows) > 280  # the encoder takes a few tasks for the same
    assert teacher.most_at_once == 8
    assert teacher.answered == 300
    assert max(commit.waiting for commit in commits) > 280
    assert max(commit.held for commit in commits) > 280 * 1_000
    assert commits[-1].held == 0
    assert [commit.episodes for commit in commits] == list(range(1, 301))


def test_a_method_that_looks_at_kept_rows_goes_as_far_as_its_window(tmp_path: Path) -> None:
    teacher, commits = Unequal(lambda number: number == 0, 10**6, lists=True), list[Commit]()
    chosen = recipe(FROM_KEPT, target=2_000, window=40)
    with open_run(tmp_path) as run:
        work = scheduler(run, chosen, teacher, commits)

        async def until_stuck() -> None:
            task = asyncio.create_task(work.work())
            while teacher.answered < 39:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            assert (teacher.asked, teacher.answered, len(commits)) == (40, 39, 0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(until_stuck())


def test_memory_bounds_what_is_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HELD_BYTES", 100_000)
    teacher, commits = Unequal(lambda number: number == 0, others=10**6), list[Commit]()
    with open_run(tmp_path) as run:
        asyncio.run(scheduler(run, recipe(ANSWER), teacher, commits).work())
        assert len(run.episodes()) == 300
    # about 19 of 5,200 bytes fill the memory; those at the server come to them
    assert 18 <= commits[0].waiting <= 20 + 8
    assert commits[0].held <= (20 + 8) * 5_300


@pytest.mark.parametrize(
    ("method", "least"),
    [(ANSWER, 16), (LISTS, 4), ({"rewrite": {"seeds_per_episode": 2}}, 16)],
    ids=["answer", "alpaca", "rewrite"],
)
def test_the_first_guess_is_the_methods_own(
    method: dict[str, object], least: int, tmp_path: Path
) -> None:
    """Before anything came back: a target of 40 wants 40 answers, but four lists of seventeen."""
    teacher, first = Unequal(lambda number: True, others=10**6), list[int]()
    chosen = recipe(method, target=40, in_flight=16)

    async def until_asked() -> None:
        with open_run(tmp_path) as run:
            task = asyncio.create_task(scheduler(run, chosen, teacher, []).work())
            while teacher.asked < least:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            first.append(teacher.asked)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(until_asked())
    assert first == [least]


def test_every_method_says_what_an_episode_is_like() -> None:
    shapes = {
        name: recipe({name: {}}).method.shape
        for name in ("alpaca", "self_instruct", "evol_instruct", "magpie", "grounded")
    }
    assert {name: (shape.rows, shape.prompts) for name, shape in shapes.items()} == {
        "alpaca": (17, 1),
        "self_instruct": (7, 7),
        "evol_instruct": (4, 1),
        "magpie": (4, 4),
        "grounded": (3, 3),
    }
    assert [name for name, shape in shapes.items() if shape.sees_kept] == [
        "self_instruct",
        "grounded",
    ]


def test_the_forecast_follows_a_falling_yield() -> None:
    forecast = Forecast(17)
    assert forecast.ahead(40) == math.ceil(1.2 * 40 / 17) + 1
    for _ in range(3):  # much fewer than the method hoped for: more are launched at once
        forecast.played(2)
    assert forecast.ahead(40) > 10
    for _ in range(3):
        forecast.committed(2, 2)
    for kept in [2] * 60 + [1] * 60:
        forecast.played(2)
        forecast.committed(2, kept)
    assert 0.95 < forecast.per_episode < 1.2  # the mean of the whole run is 1.5
    assert forecast.ahead(10) >= 12
    assert forecast.waiting_episodes == forecast.waiting_rows == 0


def test_rows_that_wait_for_their_commit_count_as_brought() -> None:
    forecast = Forecast(1)
    for _ in range(50):
        forecast.played(1)
    assert forecast.ahead(40) == 50
    assert 60 < forecast.ahead(60) < 80


def left(speeds: Sequence[float], total: float) -> tuple[float, float] | None:
    """The range after two commits a second at these speeds (rows a second)."""
    watch, done, found = TimeLeft(), 0.0, None
    for second, speed in enumerate(speeds):
        for half in (0.0, 0.5):
            found = watch.after(second + half, done, total)
            done += speed / 2
    return found


def test_the_time_left_has_a_spread_that_follows_what_was_seen() -> None:
    steady, uneven = left([10] * 60, 1_200), left([4, 16] * 10 + [2, 30, 1] * 7, 1_200)
    falling = left([20] * 30 + [10] * 30, 2_000)
    assert steady
    assert uneven
    assert falling
    assert steady[0] == pytest.approx(60, rel=0.05)
    assert steady[1] - steady[0] < 5
    assert uneven[1] - uneven[0] > 2 * (steady[1] - steady[0])
    assert falling[0] < 1_100 / 15 < 1_100 / 10 <= falling[1]
    assert left([10] * 5, 1_200) is None  # seen for too short a time
    assert left([10] * 60, 100_000) is None  # too far away
    assert left([10] * 60, 100) is None
    assert [in_words(pair) for pair in ((20.4, 44.2), (170, 350), (0.2, 5), (7_000, 11_000))] == [
        "20 to 45 s",
        "2 to 6 min",
        "up to 5 s",
        "1 to 4 h",
    ]


def test_places_go_to_the_earliest_episode() -> None:
    order = list[int]()

    async def play() -> None:
        slots = Slots(1)

        async def hold(episode: int) -> None:
            async with slots.place(episode):
                order.append(episode)
                assert slots.in_use == 1
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(hold(episode)) for episode in (0, 7, 3, 9, 5)]
        await asyncio.sleep(0)
        tasks[3].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert slots.in_use == 0

    asyncio.run(play())
    assert order == [0, 3, 5, 7]


def test_a_place_that_is_given_to_a_cancelled_request_goes_on() -> None:
    async def play() -> None:
        slots, first = Slots(1), asyncio.Event()

        async def hold(episode: int, until: asyncio.Event) -> None:
            async with slots.place(episode):
                await until.wait()

        holder = asyncio.create_task(hold(0, first))
        never = asyncio.create_task(hold(1, asyncio.Event()))
        await asyncio.sleep(0)
        first.set()
        await holder  # has passed its place on to the second, which is cancelled before it runs
        never.cancel()
        await asyncio.gather(never, return_exceptions=True)
        assert slots.in_use == 0

    asyncio.run(play())


@pytest.mark.parametrize("method", [ANSWER, FROM_KEPT], ids=["no window", "window"])
def test_a_run_that_ends_with_many_ahead_goes_on_to_the_same_bytes(
    method: dict[str, object], tmp_path: Path
) -> None:
    """The process goes while the head is being answered and others wait for it."""
    chosen, lists = recipe(method, target=250), method is FROM_KEPT

    def exported(run: Run) -> bytes:
        write(run.kept(), "jsonl", run.path / "rows.jsonl")
        return (run.path / "rows.jsonl").read_bytes() + run.vectors().tobytes()

    def unequal(slow: Callable[[int], bool]) -> Unequal:
        return Unequal(slow, others=10**6, lists=lists)

    with open_run(tmp_path / "whole") as run:
        asyncio.run(scheduler(run, chosen, unequal(lambda number: False), []).work())
        whole, asked = exported(run), run.completion_usage()[0]
    with open_run(tmp_path / "broken") as run:
        for slow in (0, 3):  # the head of the first and of the second attempt never answers
            teacher = unequal(lambda number, slow=slow: number == slow)

            async def broken(teacher: Unequal = teacher) -> None:
                work = scheduler(run, chosen, teacher, [])
                work.restore()
                task = asyncio.create_task(work.work())
                for _ in range(100):  # in the second attempt less may be left to ask
                    await asyncio.sleep(0.01 if teacher.answered < 12 else 0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

            asyncio.run(broken())
            assert run.completion_usage()[0] >= 12
        logged, teacher = run.completion_usage()[0], unequal(lambda number: False)
        last = scheduler(run, chosen, teacher, [])
        last.restore()
        asyncio.run(last.work())
        assert exported(run) == whole
        assert teacher.asked <= asked - logged + 3 * 8  # what was in the log is not asked again


# -- the encoder that is still loading


def lazily(run: Run, teacher: Unequal, gate: Callable[[], Gate], commits: list[Commit]) -> None:
    job = make_job(recipe(ANSWER, target=20), TASKS, "digest")
    asyncio.run(Scheduler(job, run, teacher, HashEncoder(), gate, commits.append).work())


def test_prompts_are_asked_while_the_gate_is_made(tmp_path: Path) -> None:
    teacher, commits = Unequal(lambda number: False, others=0), list[Commit]()
    seen = list[tuple[int, int]]()

    def gate() -> Gate:
        seen.append((teacher.asked, len(commits)))
        return make_gate(recipe(ANSWER).novelty, TASKS, HashEncoder(), Silent())

    with open_run(tmp_path) as run:
        lazily(run, teacher, gate, commits)
        assert run.count_kept() >= 20
    [(asked, committed)] = seen
    assert asked >= 8
    assert committed == 0


def test_nothing_is_committed_where_the_encoder_does_not_pass_its_check(tmp_path: Path) -> None:
    def gate() -> Gate:
        raise ModelError("e: altered (SHA-256 …)", "Bring it anew.")

    teacher = Unequal(lambda number: False, others=0)
    with open_run(tmp_path) as run:
        with pytest.raises(ModelError, match="altered"):
            lazily(run, teacher, gate, [])
        assert run.count_kept() == 0
        assert run.episodes() == []
        assert len(list(run.completion_log())) >= 8  # and not asked again


# -- the window of a run


def test_windows_of_new_runs() -> None:
    assert window_of(recipe(ANSWER)) == window_of(recipe(LISTS)) == 0
    assert window_of(recipe(FROM_KEPT)) == 6 * 8
    assert window_of(recipe(FROM_KEPT, window=5)) == 5
    assert window_of(recipe({"grounded": {}})) == 6 * 8 // 3
    assert window_of(recipe({"grounded": {"per_source": None}})) == 0
    topics = recipe(ANSWER).model_copy(
        update={"coverage": recipe(ANSWER).coverage.model_validate({"topics": ["tea", "rope"]})}
    )
    assert window_of(topics) == 48
    served = recipe(ANSWER, in_flight=None)
    assert in_flight_of(served) == 2 * served.serve.max_num_seqs
    judged = served.model_copy(update={"models": served.models.model_copy(update={"judge": "j"})})
    assert in_flight_of(judged) == 4 * served.serve.max_num_seqs


def test_a_run_goes_on_under_the_window_it_began_with(tmp_path: Path) -> None:
    def play(run: Run, chosen: Recipe, window: int) -> list[tuple[str, tuple[str, ...]]]:
        job = make_job(chosen, TASKS[:4], "digest", window=window)
        teacher = Unequal(lambda number: False, others=0, lists=True)
        asyncio.run(converse(job, run, teacher, HashEncoder(), Silent()))
        return [(row.id, row.lineage.parents) for row in run.kept()]

    few, many = recipe(FROM_KEPT, target=200), recipe(FROM_KEPT, target=900)
    with open_run(tmp_path / "whole") as run:
        assert settle_window(few, run) == 48
        whole = play(run, many, window=8)
    with open_run(tmp_path / "old") as run:  # as 0.1.0 left it: no window is kept in it
        begun = play(run, few, window=8)
        run._db.execute("DELETE FROM meta WHERE key = 'window'")
        assert settle_window(many, run) == 8
        assert play(run, many, settle_window(many, run)) == whole
        assert whole[: len(begun)] == begun
        assert run.get("window") == "8"
        wider = recipe(FROM_KEPT, target=900, in_flight=64)
        assert settle_window(wider, run) == 8
    with open_run(tmp_path / "wide") as run:
        assert play(run, many, window=32) != whole  # the window does shape the rows
