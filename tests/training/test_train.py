import json
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from localinstruct.dataset import stage as dataset_stage
from localinstruct.errors import DataError, Interrupted, ModelError, StoreError, TrainerError
from localinstruct.evaluation import stage as evaluation_stage
from localinstruct.evaluation.answers import Which
from localinstruct.formats import read_instances
from localinstruct.interrupt import stop_request
from localinstruct.recipe import Recipe
from localinstruct.records import Completion, StageResult
from localinstruct.store import integrity
from localinstruct.store.run import Run, open_run
from localinstruct.templates import encode_all
from localinstruct.training import callbacks, checkpoints, metrics, student
from localinstruct.training import stage as training_stage
from localinstruct.training.callbacks import Callbacks
from tests.support.tiny_student import Recorded, byte_level, keep, recipe_data, rows, save_student

CPU = student.Device("cpu", "float32", "test")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_student(tmp_path_factory.mktemp("models") / "tiny", byte_level())


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student, "choose_device", lambda: CPU)  # losses are compared to four digits


@contextmanager
def prepared(path: Path, **sections: Any) -> Iterator[tuple[Recipe, Run]]:
    """A run whose dataset stage is done."""
    recipe = Recipe.model_validate(recipe_data(**sections))
    with open_run(path) as run:
        if run.count_kept() == 0:
            keep(run, rows(44))
        dataset_stage.run(recipe, run, Recorded(), workspace=path)
        yield recipe, run


def trained(path: Path, base: Path, progress: Any = None, **sections: Any) -> StageResult:
    with prepared(path, **sections) as (recipe, run):
        return training_stage.train(recipe, run, progress or Recorded(), base)


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, base: Path
) -> tuple[Path, StageResult, Recorded]:
    """A training nobody disturbed: 10 steps in 2 epochs, checkpoints 9 and 10 left."""
    path, progress = tmp_path_factory.mktemp("runs") / "whole", Recorded()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(student, "choose_device", lambda: CPU)
        return path, trained(path, base, progress), progress


def curve(path: Path) -> list[tuple[int, str, float]]:
    lines = metrics.read(path / "train" / "metrics.jsonl")
    return [
        (line["step"], key, line[key])
        for line in lines
        for key in ("loss", "held_out_loss")
        if key in line
    ]


def adapter(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(path / "adapter" / "adapter_model.safetensors")


def assert_same_training(path: Path, other: Path) -> None:
    mine, theirs = curve(path), curve(other)
    assert [point[:2] for point in mine] == [point[:2] for point in theirs]
    assert [point[2] for point in mine] == pytest.approx([point[2] for point in theirs], abs=1e-5)
    weights, others = adapter(path), adapter(other)
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        assert (weight - others[name]).abs().max() < 1e-5, name


# -- an undisturbed training
# ------------------------------------------------------------------------------


def test_the_result_says_what_happened(whole: tuple[Path, StageResult, Recorded]) -> None:
    path, result, progress = whole
    assert (result["steps"], result["epochs"], result["device"], result["dtype"]) == (
        10,
        2.0,
        "cpu",
        "float32",
    )
    assert result["parameters"] > result["trainable_parameters"] > 0
    assert result["tokens"] > 0
    assert result["tokens_per_second"] == pytest.approx(result["tokens"] / result["seconds"])
    assert 0.05 < result["peak_memory_gib"] < 100
    assert result["adapter_sha256"] == training_stage.sha256(
        path / "adapter" / "adapter_model.safetensors"
    )
    assert json.loads(json.dumps(result)) == result
    assert re.match(
        r"loss \d+\.\d+, rate \d\.\de-\d\d, [\d,]+ tokens/s, \d+\.\d GiB", progress.updates[-1][3]
    )
    assert progress.updates[-1][:3] == ("training", 10, 10)


def test_a_run_names_what_its_training_left(
    whole: tuple[Path, StageResult, Recorded], base: Path, tmp_path: Path
) -> None:
    found = student.artefact(whole[0])
    assert found == student.Artefact("adapter", whole[0] / "adapter")
    assert hasattr(student.load_trained(base, found, CPU), "disable_adapter")
    with pytest.raises(DataError, match="no trained student in it yet"):
        student.artefact(tmp_path)
    shutil.copytree(base, tmp_path / "student")
    assert student.artefact(tmp_path) == student.Artefact("model", tmp_path / "student")
    assert not hasattr(
        student.load_trained(base, student.artefact(tmp_path), CPU), "disable_adapter"
    )


def test_the_curve_has_every_step_and_a_held_out_loss_per_epoch_that_falls(
    whole: tuple[Path, StageResult, Recorded],
) -> None:
    path, result, _ = whole
    points = curve(path)
    assert [step for step, kind, _ in points if kind == "loss"] == list(range(1, 11))
    held_out = [(step, loss) for step, kind, loss in points if kind == "held_out_loss"]
    assert [step for step, _ in held_out] == [0, 5, 10]
    assert result["held_out_loss"] == held_out[-1][1] < held_out[1][1] < held_out[0][1]
    last = [loss for step, kind, loss in points if kind == "loss" and step > 5]
    assert result["train_loss"] == pytest.approx(sum(last) / 5)
    line = metrics.read(path / "train/metrics.jsonl")[1]
    assert set(line) == {"step", "epoch", "loss", "learning_rate", "grad_norm", "tokens", "seconds"}


def test_the_adapter_stands_alone_and_checkpoints_are_marked_complete(
    whole: tuple[Path, StageResult, Recorded],
) -> None:
    path, _, _ = whole
    assert sorted(file.name for file in (path / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert {folder.name for folder in (path / "train").glob("checkpoint-*")} == {
        "checkpoint-9",
        "checkpoint-10",
    }
    assert not (path / ".adapter.part").exists()


def test_the_trainer_learns_every_answer_token_and_no_other(base: Path, tmp_path: Path) -> None:
    """The first step's loss over all rows, pad being the end token, is the mean over the answers
    with their end."""
    tokenizer = byte_level(eos_token="<|end|>", pad_token="<|end|>")
    folder = save_student(tmp_path / "tiny", tokenizer)
    settings = {
        "batch_size": 40,
        "device_batch_size": 8,
        "epochs": 1,
        "lora": {"r": 4, "dropout": 0.0},
    }
    trained(tmp_path / "run", folder, train=settings)
    made = read_instances(tmp_path / "run" / "dataset" / "train.jsonl")
    examples = encode_all(made, "alpaca", tokenizer, 128).examples
    assert any(example.labels[-1] == tokenizer.eos_token_id for example in examples)
    expected, tokens = student.mean_loss(student.load_base(folder, CPU), examples, 0, 3)
    assert tokens == sum(label != -100 for example in examples for label in example.labels)
    first = next(
        loss for step, kind, loss in curve(tmp_path / "run") if (step, kind) == (1, "loss")
    )
    assert first == pytest.approx(expected, abs=1e-4)


def test_nothing_of_the_libraries_reaches_the_terminal(
    base: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    trained(tmp_path / "run", base, train={"epochs": 1, "batch_size": 40})
    assert capfd.readouterr() == ("", "")


WHO: tuple[Which, ...] = ("base", "student")


def test_dataset_train_and_evaluate_meet_in_the_run_directory(base: Path, tmp_path: Path) -> None:
    workspace, progress = tmp_path, Recorded()
    entry = {"path": str(base), "roles": ["student"], "context": 256, "licence": "Apache-2.0"}
    (workspace / "models.yaml").write_text(json.dumps({"tiny": entry}))
    with prepared(tmp_path / "runs" / "tiny", train={"epochs": 1}) as (recipe, run):
        made = training_stage.run(recipe, run, progress, workspace=workspace)
        nothing: dict[Which, str] = {"base": "b", "student": "s"}
        seen = evaluation_stage.compare(
            recipe,
            run,
            progress,
            workspace,
            base,
            lambda asked: {w: [Completion("")] * len(asked[w]) for w in WHO},
            nothing,
        )
    assert seen["held_out"]["student"]["loss"] == pytest.approx(made["held_out_loss"], abs=1e-5)
    assert seen["held_out"]["base"]["loss"] == pytest.approx(curve(run.path)[0][2], abs=1e-5)
    assert len(seen["side_by_side"]) == 4


# -- stopped and continued
# --------------------------------------------------------------------------------


class StopsAt(Recorded):
    """Sends a signal, or raises, when a step is done."""

    def __init__(self, step: int, stop: Any) -> None:
        super().__init__()
        self.step, self.stop = step, stop

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        if done == self.step:
            self.stop()


def interrupt() -> None:
    raise KeyboardInterrupt


def test_ctrl_c_saves_the_step_and_the_rest_is_the_same_training(
    whole: tuple[Path, StageResult, Recorded], base: Path, tmp_path: Path
) -> None:
    path = tmp_path / "whole"

    def ctrl_c() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="checkpoint of step 4 of 10 kept") as caught:
        trained(path, base, StopsAt(4, ctrl_c))
    assert caught.value.hint == "Continue with: localinstruct train whole"
    assert not (path / "adapter").exists()
    progress = Recorded()
    result = trained(path, base, progress)
    assert "Going on from step 4, the newest complete checkpoint." in progress.said
    assert_same_training(path, whole[0])
    assert result["tokens"] == whole[1]["tokens"]
    assert result["train_loss"] == pytest.approx(whole[1]["train_loss"], abs=1e-5)


def test_stopped_in_the_middle_of_a_step_it_goes_on_from_the_checkpoint_before(
    whole: tuple[Path, StageResult, Recorded], base: Path, tmp_path: Path
) -> None:
    path = tmp_path / "whole"
    with pytest.raises(Interrupted, match="checkpoint of step 3 of 10 kept"):
        trained(path, base, StopsAt(5, interrupt))
    trained(path, base)
    assert_same_training(path, whole[0])


def test_killed_between_an_epochs_last_checkpoint_and_its_held_out_loss(
    whole: tuple[Path, StageResult, Recorded], base: Path, tmp_path: Path
) -> None:
    path = tmp_path / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Callbacks, "on_epoch_end", lambda *_, **__: interrupt())
        with pytest.raises(Interrupted, match="checkpoint of step 5 of 10 kept"):
            trained(path, base, train={"save_steps": 5})
    trained(path, base, train={"save_steps": 5})
    assert_same_training(path, whole[0])


@pytest.mark.parametrize("step", [5, 10])
def test_ctrl_c_between_an_epochs_last_step_and_its_held_out_loss_loses_neither(
    whole: tuple[Path, StageResult, Recorded], base: Path, tmp_path: Path, step: int
) -> None:
    path = tmp_path / "whole"
    measure = Callbacks.on_epoch_end

    def ctrl_c_first(self: Callbacks, args: Any, state: Any, control: Any, **more: Any) -> None:
        if state.global_step == step:
            os.kill(os.getpid(), signal.SIGINT)
        measure(self, args, state, control, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Callbacks, "on_epoch_end", ctrl_c_first)
        with pytest.raises(Interrupted, match=f"checkpoint of step {step} of 10 kept"):
            trained(path, base)
    trained(path, base)
    assert_same_training(path, whole[0])


def test_a_damaged_checkpoint_is_passed_over(
    whole: tuple[Path, StageResult, Recorded], base: Path, tmp_path: Path
) -> None:
    path = tmp_path / "whole"
    shutil.copytree(whole[0], path)
    damaged = path / "train" / "checkpoint-10" / "optimizer.pt"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    progress = Recorded()
    trained(path, base, progress)
    assert "checkpoint-10 removed: optimizer.pt is damaged or missing." in progress.said
    assert "Going on from step 9, the newest complete checkpoint." in progress.said
    assert_same_training(path, whole[0])


def test_a_finished_training_is_only_saved_again(
    whole: tuple[Path, StageResult, Recorded], base: Path, tmp_path: Path
) -> None:
    path = tmp_path / "whole"
    shutil.copytree(whole[0], path)
    shutil.rmtree(path / "adapter")
    result = trained(path, base)
    assert_same_training(path, whole[0])
    same = ("steps", "epochs", "train_loss", "held_out_loss", "tokens", "adapter_sha256")
    assert {key: result[key] for key in same} == {key: whole[1][key] for key in same}


def test_an_unanswered_signal_ends_the_block_in_time() -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), stop_request(grace=0.2) as stop:  # noqa: PT012
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
        assert stop.asked
        time.sleep(120)
    assert time.monotonic() - began < 60
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_is_obeyed_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), stop_request(grace=60):  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(120)


# -- checkpoints
# ------------------------------------------------------------------------------------------


def completed(parent: Path, step: int, inputs: str = "x") -> Path:
    folder = parent / f"checkpoint-{step}"
    (folder / "deep").mkdir(parents=True)
    (folder / "weights").write_bytes(b"w" * step)
    (folder / "deep" / "state").write_text("s")
    checkpoints.mark_complete(folder, inputs, {"seconds": step})
    return folder


def truncate(folder: Path) -> None:
    (folder / "weights").write_bytes(b"w")


def flip(folder: Path) -> None:
    (folder / "weights").write_bytes(b"v" * len((folder / "weights").read_bytes()))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncate, "weights is damaged or missing"),
        (flip, "weights is damaged or missing"),
        (lambda folder: (folder / "deep" / "state").unlink(), "deep/state is damaged or missing"),
        (lambda folder: (folder / "complete.json").unlink(), "it was not finished"),
        (
            lambda folder: (folder / "complete.json").write_text("{"),
            "its complete.json cannot be read",
        ),
        (
            lambda folder: (folder / "complete.json").write_text("[]"),
            "its complete.json cannot be read",
        ),
    ],
)
def test_only_a_complete_checkpoint_counts(tmp_path: Path, damage: Any, reason: str) -> None:
    completed(tmp_path, 5)
    damage(completed(tmp_path, 20))
    (tmp_path / "checkpoint-best").mkdir()
    found, faults = checkpoints.newest(tmp_path, "x")
    assert found == checkpoints.Checkpoint(tmp_path / "checkpoint-5", 5, {"seconds": 5}, "x")
    assert faults == {"checkpoint-20": reason}


def test_a_checkpoint_of_another_training_does_not_count(tmp_path: Path) -> None:
    completed(tmp_path, 5)
    assert checkpoints.newest(tmp_path, "other") == (
        None,
        {"checkpoint-5": "it belongs to other rows or settings"},
    )
    assert checkpoints.newest(tmp_path / "nowhere", "x") == (None, {})


def test_the_two_newest_stay(tmp_path: Path) -> None:
    for step in (9, 10, 100):
        completed(tmp_path, step)
    checkpoints.prune(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-10", "checkpoint-100"}


def test_other_settings_start_over(
    base: Path, whole: tuple[Path, StageResult, Recorded], tmp_path: Path
) -> None:
    path = tmp_path / "whole"
    shutil.copytree(whole[0], path)
    progress = Recorded()
    result = trained(path, base, progress, train={"epochs": 1, "batch_size": 40})
    assert "checkpoint-9 removed: it belongs to other rows or settings." in progress.said
    assert (result["steps"], [step for step, *_ in curve(path)]) == (1, [0, 1, 1])


# -- what goes wrong
# --------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_with_advice(base: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"loss became nan at step \d") as caught:
        trained(tmp_path / "run", base, train={"learning_rate": 1e30, "epochs": 3})
    assert "train.learning_rate=2.5e+29" in caught.value.hint


def test_out_of_memory_says_what_to_try() -> None:
    import torch

    with (
        pytest.raises(TrainerError, match="Out of memory") as caught,
        student.memory_errors("train.device_batch_size=2"),
    ):
        torch.empty(2**60, dtype=torch.uint8)
    assert "--set train.device_batch_size=2" in caught.value.hint
    with pytest.raises(RuntimeError, match="shape"), student.memory_errors("x"):
        torch.zeros(2).reshape(3)


def test_layers_the_student_does_not_have_are_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(
        TrainerError, match=r"train.lora does not fit this student.*nothing"
    ) as caught:
        trained(tmp_path / "run", base, train={"lora": {"target_modules": ["nothing"]}})
    assert "train.lora.target_modules=all-linear" in caught.value.hint


def test_a_model_that_transformers_cannot_build_is_named(tmp_path: Path) -> None:
    folder = save_student(tmp_path / "tiny", byte_level())
    (folder / "config.json").write_text('{"model_type": "unheard-of"}')
    with pytest.raises(ModelError, match=r"tiny: transformers cannot load it .*unheard-of"):
        student.load_base(folder, CPU)


def test_a_missing_dataset_names_the_command(base: Path, tmp_path: Path) -> None:
    recipe = Recipe.model_validate(recipe_data())
    with (
        open_run(tmp_path / "run") as run,
        pytest.raises(DataError, match=r"train.jsonl: not there yet") as caught,
    ):
        training_stage.train(recipe, run, Recorded(), base)
    assert caught.value.hint == "First: localinstruct dataset run"


def test_rows_that_never_fit_are_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="None of 40 training rows fits"):
        trained(tmp_path / "run", base, train={"max_length": 16})


def test_automatic_choices_are_said_with_their_reason(tmp_path: Path) -> None:
    folder, progress = save_student(tmp_path / "short", byte_level(), context=100), Recorded()
    sections = {"epochs": 1, "batch_size": 40, "device_batch_size": 16, "max_length": 512}
    result = trained(tmp_path / "run", folder, progress, train=sections, dataset={"held_out": 0.0})
    said = "\n".join(progress.said)
    assert "device: cpu (chosen: test)" in said
    assert "Rows of at most 100 tokens, not 512: the student's context is no longer." in said
    assert "device_batch_size: 10 (chosen: not 16: it must divide 40)" in said
    assert f"{result['truncated']} of 44 answers are cut at 100 tokens" in said
    assert result["held_out_loss"] is None


def test_the_end_token_is_found_in_the_models_config(tmp_path: Path) -> None:
    folder = save_student(tmp_path / "tiny", byte_level())
    for name in ("tokenizer_config.json", "generation_config.json"):
        data = json.loads((folder / name).read_text())
        data.pop("eos_token", None)
        data.pop("eos_token_id", None)
        (folder / name).write_text(json.dumps(data))
    assert student.load_tokenizer(folder).eos_token == "<|end|>"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": None}))
    with pytest.raises(ModelError, match="names an end-of-text token"):
        student.load_tokenizer(folder)


def test_a_torn_last_line_of_metrics_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for step in range(4):
        metrics.append(path, {"step": step, "loss": 1.0})
    with path.open("a") as file:
        file.write('{"step": 4, "lo')
    assert [line["step"] for line in metrics.read(path)] == [0, 1, 2, 3]
    metrics.rewind(path, 2)
    assert [line["step"] for line in metrics.read(path)] == [0, 1, 2]


def test_without_room_for_its_checkpoints_no_step_is_done(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrity, "RESERVE", 2**60)
    progress = Recorded()
    with pytest.raises(StoreError, match=r"MiB are needed to go on"):
        trained(tmp_path, base, progress)
    assert [update for update in progress.updates if update[2]] == []  # beside loading
    assert list((tmp_path / "train").glob("checkpoint-*")) == []


def test_a_disk_that_fills_up_stops_before_the_checkpoint_and_the_same_command_goes_on(
    tmp_path: Path,
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole: tuple[Path, StageResult, Recorded],
) -> None:
    asked: list[int] = []

    def filling(folder: Path, needed: int) -> None:
        asked.append(needed)
        integrity.require_space(folder, needed + (len(asked) == 2) * 2**60)

    monkeypatch.setattr(callbacks, "require_space", filling)
    with pytest.raises(StoreError, match="Stopped before the disk is full"):
        trained(tmp_path, base)
    assert [step for step, _ in checkpoints.completed(tmp_path / "train")] == [3]
    (tmp_path / "train" / "checkpoint-6").mkdir()  # what a full disk leaves of one
    (tmp_path / "train" / "checkpoint-6" / "optimizer.pt").write_bytes(b"half")
    progress = Recorded()
    trained(tmp_path, base, progress)
    assert "checkpoint-6 removed: it was not finished." in progress.said
    assert "Going on from step 3, the newest complete checkpoint." in progress.said
    assert_same_training(tmp_path, whole[0])
    learnt = sum(weight.numel() * weight.element_size() for weight in adapter(tmp_path).values())
    assert set(asked) == {3 * learnt}
    files = [
        tmp_path / "train" / "checkpoint-10" / name
        for name in ("optimizer.pt", "adapter_model.safetensors")
    ]
    written = sum(file.stat().st_size for file in files)
    assert 3 * learnt < written < 4 * learnt + 2**16
