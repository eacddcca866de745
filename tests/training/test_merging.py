"""A student as one model: as exact as its effect needs, for every form of training."""

import json
from pathlib import Path
from typing import Any

import pytest

from localinstruct.errors import TrainerError
from localinstruct.formats.write import write
from localinstruct.store.folder import HELD_OUT
from localinstruct.training import merging, student
from localinstruct.training.effect import LARGEST_LOSS, effect, measured_rows
from localinstruct.training.merging import merged_in_run, whole_bytes, whole_student, write_whole
from tests.support.tiny_student import byte_level, rows, save_student
from tests.support.trained_runs import CPU, in_precision

LIGHT, STRONG = 3e-5, 3e-2
"""Sizes of an update: one that bfloat16 rounds away, and one that it hardly touches."""
FORMS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "head": {"target_modules": ["lm_head", "q_proj"]},
    "embedding": {"target_modules": ["embed_tokens", "v_proj"]},
}


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student, "choose_device", lambda: CPU)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_student(tmp_path_factory.mktemp("base") / "tiny", byte_level())
    in_precision(folder, "bfloat16")
    return folder


def run_with(home: Path) -> Path:
    (home / "dataset").mkdir(parents=True)
    write(rows(12), "jsonl", home / "dataset" / HELD_OUT)
    return home


def adapter(home: Path, base: Path, size: float, **options: Any) -> student.Artefact:
    """An adapter with updates of about this size, as PEFT writes one."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    config = LoraConfig(
        **({"r": 4, "lora_alpha": 8, "target_modules": "all-linear"} | options),
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(student.load_base(base, CPU), config)
    for name, weight in model.named_parameters():
        if "lora_B" in name or "lora_embedding_A" in name:
            torch.nn.init.normal_(weight, std=size)
    model.save_pretrained(home / "adapter", save_embedding_layers=False)
    return student.artefact(home)


def whole_training(home: Path, base: Path, size: float) -> student.Artefact:
    """A model of which every weight was changed by about this share."""
    import torch

    torch.manual_seed(3)
    model = student.load_base(base, CPU)
    for weight in model.parameters():
        weight.data += size * weight.data.std() * torch.randn_like(weight)
    model.save_pretrained(home / "student")
    byte_level().save_pretrained(home / "student")
    return student.artefact(home)


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings")  # what `untie` is for
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("size", "precision"), [(LIGHT, "float32"), (STRONG, "bfloat16")])
def test_every_adapter_keeps_its_effect(
    form: str, size: float, precision: str, base: Path, tmp_path: Path
) -> None:
    home = run_with(tmp_path / "run")
    trained = adapter(home, base, size, **FORMS[form])
    folder, whole = merged_in_run(home, base, trained, "alpaca")
    assert whole.precision == precision
    assert whole.kept.lost <= LARGEST_LOSS
    assert (whole.rounded is not None) == (precision == "float32")
    assert json.loads((folder / "config.json").read_text())["dtype"] == precision
    stored = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    assert stored < 1.1 * whole_bytes(base, trained) + 60_000  # an untied head is extra
    if whole.rounded:
        assert whole.rounded.lost > LARGEST_LOSS
        assert "as rounding to bfloat16 would lose" in str(whole)


@pytest.mark.parametrize(("size", "precision"), [(1e-4, "float32"), (0.3, "bfloat16")])
def test_a_training_of_all_weights_is_measured_too(
    size: float, precision: str, base: Path, tmp_path: Path
) -> None:
    home = run_with(tmp_path / "run")
    trained = whole_training(home, base, size)
    whole = whole_student(home, base, trained, "alpaca")
    assert (whole.precision, whole.narrow) == (precision, "bfloat16")
    written = write_whole(home, base, trained, "alpaca", byte_level(), tmp_path / "out")
    assert written.precision == precision
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == precision


def test_it_is_measured_once_for_each_training(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = run_with(tmp_path / "run")
    first = whole_student(home, base, adapter(home, base, LIGHT), "alpaca")
    monkeypatch.setattr(merging, "on_exact_device", lambda _: pytest.fail("measured again"))
    assert whole_student(home, base, student.artefact(home), "alpaca") == first
    monkeypatch.undo()
    monkeypatch.setattr(student, "choose_device", lambda: CPU)
    second = whole_student(home, base, adapter(home, base, STRONG), "alpaca")
    assert (first.precision, second.precision) == ("float32", "bfloat16")


def test_a_merge_that_goes_wrong_is_not_called_rounding(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = run_with(tmp_path / "run")
    trained = adapter(home, base, STRONG)
    monkeypatch.setattr(merging, "merged", lambda model: model.unload())
    with pytest.raises(TrainerError, match="Rounding is not the cause"):
        whole_student(home, base, trained, "alpaca")


def test_a_gpu_that_is_too_small_for_float32_is_not_needed(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu, seen = student.Device("cuda:0", "bfloat16", "test"), list[tuple[str, str]]()
    monkeypatch.setattr(student, "choose_device", lambda: gpu)

    def work(device: student.Device) -> str:
        seen.append((device.name, device.dtype))
        if device.name != "cpu":
            raise MemoryError("CUDA out of memory")
        return "done"

    assert merging.on_exact_device(work) == "done"
    assert seen == [("cuda:0", "float32"), ("cpu", "float32")]


def test_what_is_lost_is_what_the_whole_model_does_not_share() -> None:
    from torch import tensor

    base, trained = tensor([-3.0, -2.0, -1.0, -4.0]), tensor([-2.0, -2.0, -2.0, -2.0])
    assert effect(base, trained, trained, 1).lost == 0
    assert effect(base, trained, base, 1).lost == 1
    half = effect(base, trained, (base + trained) / 2, 1)
    assert half.lost == pytest.approx(0.5)
    assert (half.base, half.student, half.whole) == (2.5, 2.0, 2.25)
    noise = tensor([0.1, 0.5, 0.1, 0.0])  # goes neither way
    assert effect(base, trained, trained + noise, 1).lost == pytest.approx(0, abs=1e-6)
    assert effect(base, base, base, 1).lost == 0  # nothing learnt, nothing lost
    assert effect(base, base, trained, 1).lost == 2
    assert "50.0% of the training's effect" in str(half)


def test_rows_are_held_out_ones_then_learnt_ones_then_ours(tmp_path: Path) -> None:
    assert len(measured_rows(tmp_path, "alpaca", byte_level())) == 4
    run_with(tmp_path / "run")
    assert len(measured_rows(tmp_path / "run", "alpaca", byte_level())) == 12
