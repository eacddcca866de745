"""Trainings in parts (FSDP2), of other numbers of processes than they began with, and on several
machines: the losses of one process."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from localinstruct.errors import RecipeError, TrainerError, UsageError
from localinstruct.records import JsonObject, StageResult
from localinstruct.store.durable import write_text
from localinstruct.training import checkpoints, nodes, student
from localinstruct.training.processes import train_in_processes
from localinstruct.training.setup import require_shares
from tests.support.tiny_student import Recorded, byte_level, recipe_data, save_student
from tests.training import test_train_together as together
from tests.training.test_train import CPU, curve, prepared
from tests.training.test_training import recipe_of

# no dropout: its draws differ from process to process; a small rate, so that AdamW, which divides
# by the size of the gradients, does not make much of their rounding
CALM: dict[str, Any] = {
    "lora": {"r": 4, "alpha": 8, "dropout": 0.0},
    "learning_rate": 1e-3,
    "save_steps": 6,
}
PARTS: dict[str, Any] = {"devices": 2, "sharding": "fsdp"}
WAYS: dict[str, tuple[dict[str, Any], int]] = {
    "one": ({}, 1),
    "copies": ({"devices": 2}, 2),
    "parts": (PARTS, 2),
}
"""Name -> settings, and the number of processes."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_student(tmp_path_factory.mktemp("models") / "tiny", byte_level())


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(student, "choose_device", lambda: CPU)


Training = tuple[Path, dict[str, Any], int]
"""A run's folder, the recipe's `train`, and the number of its processes."""


def forked(base: Path, trainings: Sequence[Training]) -> list[JsonObject]:
    """Results of trainings one after the other, and what they said."""
    jobs = []
    for path, settings, count in trainings:
        values = recipe_data(train=CALM | settings)
        if not (path / "dataset").exists():
            with prepared(path, train=CALM | settings):
                pass
        jobs.append((str(path), str(base), values, count))
    file = base.parent / f"{trainings[0][0].parent.name}.jobs.json"
    file.write_text(json.dumps(jobs))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "tests.support.forked", str(file)]
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((path / "forked.json").read_text()) for path, _, _ in trainings]


def weights(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    [file] = [
        file for name in ("adapter", "student") for file in (path / name).glob("*.safetensors")
    ]
    return load_file(file)


def assert_equal(path: Path, other: Path) -> None:
    mine, theirs = curve(path), curve(other)
    assert len(mine) >= 13
    assert [point[:2] for point in mine] == [point[:2] for point in theirs]
    assert [point[2] for point in mine] == pytest.approx([point[2] for point in theirs], abs=1e-5)
    assert weights(path).keys() == weights(other).keys()
    for name, weight in weights(path).items():
        assert weight.shape == weights(other)[name].shape, name
        assert (weight - weights(other)[name]).abs().max() < 1e-3, name


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("mode", ["lora", "full"])
def test_processes_reach_the_losses_of_one(mode: str, base: Path, tmp_path: Path) -> None:
    ways = [(tmp_path / name, {"mode": mode} | one, n) for name, (one, n) in WAYS.items()]
    facts = forked(base, ways)
    assert [one["in_parts"] for one in facts] == [False, False, True]
    results = [one["result"] for one in facts]
    for name, result in zip(WAYS, results, strict=True):
        assert_equal(tmp_path / name, tmp_path / "one")
        for fact in ("steps", "tokens", "parameters", "trainable_parameters"):
            assert result[fact] == results[0][fact], (name, fact)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("mode", ["lora", "full"])
def test_a_checkpoint_of_n_processes_goes_on_in_m(mode: str, base: Path, tmp_path: Path) -> None:
    begun = [(tmp_path / name, {"mode": mode} | one, n) for name, (one, n) in WAYS.items()]
    forked(base, begun)
    calm = tmp_path / "calm"
    shutil.copytree(tmp_path / "one", calm)
    others = []
    for before, after in (("one", "parts"), ("parts", "one"), ("copies", "parts")):
        torn = tmp_path / f"{before} then {after}"
        shutil.copytree(tmp_path / before, torn)
        checkpoints.remove(torn / "train" / "checkpoint-10")
        shutil.rmtree(torn / ("adapter" if mode == "lora" else "student"))
        settings, count = WAYS[after]
        others.append((torn, {"mode": mode} | settings, count))
    for (torn, _, _), facts in zip(others, forked(base, others), strict=True):
        assert "Going on from step 6, the newest complete checkpoint." in facts["said"]
        assert_equal(torn, calm)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_the_best_student_is_kept_whole(base: Path, tmp_path: Path) -> None:
    best = {"keep": "best"}
    one, parts = tmp_path / "one", tmp_path / "parts"
    forked(base, [(one, best, 1), (parts, best | PARTS, 2)])
    assert (parts / "train" / "best" / "best.json").is_file()
    assert_equal(parts, one)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_one_of_a_model_in_parts_is_killed_and_all_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_student(tmp_path / "model", byte_level())
    write_text(tmp_path / "models.yaml", together.ENTRY.format(folder))
    path = together.make(tmp_path, "torn", sharding="fsdp")
    parents = list[Any]()
    try:
        parent = together.training(path, 6, parents)
        os.kill(together.children(path)[1], signal.SIGKILL)
        said = parent.communicate(timeout=120)[0]
    finally:
        for one in parents:
            one.kill()
    assert parent.returncode == 4, said
    assert "Training process 2 of 2 was ended by SIGKILL; checkpoint of step" in said
    assert "Traceback" not in said
    assert together.children(path) == []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("sharding", ["none", "fsdp"])
def test_two_machines_meet_and_reach_the_losses_of_one(
    sharding: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both of them are this one: what crosses the network crosses loopback here."""
    forked(base, [(tmp_path / "one", {}, 1)])
    path = tmp_path / "two"
    monkeypatch.setenv(nodes.MEET, f"127.0.0.1:{free_port()}@lo")
    progress, second = Recorded(), list["subprocess.Popen[str]"]()

    def begin(section: Any, progress: Any) -> nodes.Place:
        """Start the other machine when the first one has said how."""
        place = nodes.meeting(2, 0)
        command = [sys.executable, "-m", "localinstruct.training.nodes", str(path), "1"]
        second.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        return place

    settings = CALM | {"processes": 2, "nodes": 2, "sharding": sharding}
    with prepared(path, train=settings) as (recipe, _):
        assert (recipe.train.devices, recipe.train.world_size) == (1, 2)
        (path / "train").mkdir()
        write_text(path / nodes.JOB, "{}")
        facts = train_two(recipe, path, progress, base, begin, monkeypatch)
    said = second[0].communicate(timeout=60)[1]
    assert second[0].returncode == 0, said
    assert "The part of machine 1 is done." in said
    assert facts["steps"] == 10
    assert_equal(path, tmp_path / "one")


def train_two(
    recipe: Any, path: Path, progress: Any, base: Path, begin: Any, patch: pytest.MonkeyPatch
) -> StageResult:
    job = {"recipe": recipe.to_yaml()}
    write_text(path / nodes.JOB, json.dumps(job))  # as an earlier start has left it
    patch.setattr(nodes, "first_place", begin)
    return train_in_processes(recipe, path, progress, base, None)


# -- said early
# -----------------------------------------------------------------------------------------------


def test_processes_are_shared_by_the_machines() -> None:
    two = recipe_of(processes=8, nodes=2).train
    assert (two.devices, two.world_size) == (4, 8)
    assert recipe_of(processes=8).train.devices == 8
    assert recipe_of(devices=4, nodes=2).train.world_size == 8
    again = recipe_of(processes=8, nodes=2).to_yaml()
    assert "processes: 8" in again
    assert "nodes" not in recipe_of(devices=2).to_yaml()  # as releases before wrote it
    for wrong in (
        {"processes": 3, "nodes": 2},
        {"processes": 1, "nodes": 2},
        {"processes": 4, "devices": 2},
        {"processes": "many"},
        {"processes": 0},
        {"nodes": 0, "processes": 2},
    ):
        with pytest.raises(RecipeError, match="train"):
            recipe_of(**wrong)


def test_what_is_learnt_does_not_depend_on_the_processes() -> None:
    plain = recipe_of().train
    assert recipe_of(processes=8, nodes=2, sharding="fsdp").train.on_one_process == plain
    assert recipe_of(devices=2).train.on_one_process.model_dump() == plain.model_dump()


def test_processes_without_a_gpu_or_a_share_are_refused() -> None:
    require_shares(recipe_of(devices=2, batch_size=8).train, 2)
    require_shares(recipe_of(devices=4, batch_size=8).train, 0)  # a CPU's cores are shared
    with pytest.raises(TrainerError, match=r"4 processes .* has 2") as caught:
        require_shares(recipe_of(devices=4, batch_size=8).train, 2)
    assert caught.value.hint == "Try --set train.devices=2"
    with pytest.raises(RecipeError, match="25 rows cannot be shared by 4") as other:
        require_shares(recipe_of(devices=2, nodes=2, batch_size=25).train, 2)
    assert other.value.hint == "Try --set train.batch_size=28"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("", "expected ADDRESS:PORT@INTERFACE, found ''"),
        ("somewhere:29500@lo", "expected ADDRESS:PORT@INTERFACE"),
        ("127.0.0.1@lo", "expected ADDRESS:PORT@INTERFACE"),
        ("8.8.8.8:29500@lo", "address of a public network"),
        ("127.0.0.1:29500@nothing", "no network card 'nothing'"),
    ],
)
def test_a_meeting_place_is_a_private_address_and_a_card(
    words: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(nodes.MEET, words)
    with pytest.raises(UsageError, match=problem) as caught:
        nodes.meeting(2, 0)
    assert nodes.MEET in caught.value.hint
    monkeypatch.setenv(nodes.MEET, "127.0.0.1:29500@lo")
    assert nodes.meeting(2, 1).environment() == {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29500",
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
    }


def test_each_machine_starts_its_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes of the second of two machines, and that it waits for the first."""
    recipe = recipe_of(processes=4, nodes=2)
    home = tmp_path / "run"
    (home / "train").mkdir(parents=True)
    write_text(home / nodes.JOB, json.dumps({"recipe": recipe.to_yaml()}))
    started = list[dict[str, str]]()
    real = subprocess.Popen

    def started_as(command: list[str], env: dict[str, str], **given: Any) -> Any:
        started.append(env)
        assert command[2:4] == ["localinstruct.training.child", str(home / nodes.JOB)]
        return real([sys.executable, "-c", "print('{\"result\": {}}')"], env=env, **given)

    monkeypatch.setattr(subprocess, "Popen", started_as)
    with socket.socket() as first:  # the first machine listens
        first.bind(("127.0.0.1", 0))
        first.listen()
        monkeypatch.setenv(nodes.MEET, f"127.0.0.1:{first.getsockname()[1]}@lo")
        progress = Recorded()
        nodes.train_as(1, home, progress)
    assert progress.said == ["The part of machine 1 is done."]
    assert [(env["RANK"], env["LOCAL_RANK"]) for env in started] == [("2", "0"), ("3", "1")]
    assert {env["WORLD_SIZE"] for env in started} == {"4"}
    assert {env["MASTER_PORT"] for env in started} == {str(nodes.meeting(2, 1).port)}
    with pytest.raises(UsageError, match="expected a number from 1 to 1"):
        nodes.train_as(2, home, Recorded())
    monkeypatch.setattr(nodes, "WAIT_SECONDS", 0.0)
    with pytest.raises(UsageError, match="nothing listens there"):
        nodes.train_as(1, home, Recorded())


def test_another_machine_says_what_it_misses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert nodes.main([str(tmp_path)]) == 2
    assert nodes.main([str(tmp_path), "1"]) == 2
    said = capsys.readouterr().err
    assert "expected RUN NUMBER" in said
    assert "job.json: not there yet" in said.replace("\n", " ")
