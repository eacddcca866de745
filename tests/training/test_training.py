# ruff: noqa: F811, F401 (pytest's fixtures are parameters of their own name)
"""Parts of a training: settings, batches, modes, pairs, full memory, best student, processes."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from localinstruct.dataset import stage as dataset_stage
from localinstruct.errors import DataError, Interrupted, RecipeError, TrainerError
from localinstruct.formats import read_instances
from localinstruct.recipe import Recipe
from localinstruct.recipe.train import Train
from localinstruct.records import Instance
from localinstruct.store.run import open_run
from localinstruct.templates import IGNORED, encode_all, encode_pair
from localinstruct.training import batching, best_student, loss, metrics, modes, student, trainers
from localinstruct.training import stage as training_stage
from localinstruct.training.batching import StepOrder
from localinstruct.training.best_student import BestStudent
from localinstruct.training.prepare import prepare
from localinstruct.training.setup import choose_setup, halved
from tests.support.tiny_student import Recorded, byte_level, keep, recipe_data, rows
from tests.training.test_train import (
    CPU,
    StopsAt,
    adapter,
    assert_same_training,
    base,
    curve,
    interrupt,
    on_cpu,
    prepared,
    trained,
    whole,
)

GPU = student.Device("cuda:0", "bfloat16", "test")


def has(*packages: str) -> Any:
    return lambda package: package in packages


# -- settings
# ----------------------------------------------------------------------------------------------


def values(section: Train, device: student.Device, *packages: str) -> dict[str, tuple[str, str]]:
    return {
        c.setting: (c.value, c.how) for c in choose_setup(section, device, has(*packages)).choices
    }


def test_a_gpu_with_everything_installed_uses_it() -> None:
    setup = choose_setup(Train(), GPU, has("flash", "liger"))
    assert (setup.attention, setup.liger, setup.padding_free) == ("flash_attention_2", True, True)
    said = values(Train(), GPU, "flash", "liger")
    assert said["batching"] == ("padding_free", "chosen")
    assert said["kernels"] == ("liger", "chosen")
    assert said["mode"] == ("lora", "inherited")
    assert values(Train(mode="full"), GPU)["mode"] == ("full", "given")
    assert all(choice.reason for choice in setup.choices if choice.how == "chosen")
    assert len(setup.choices) >= 10


def test_what_is_missing_or_not_wanted_is_not_used() -> None:
    for section, device, packages in (
        (Train(), CPU, ("flash", "liger")),
        (Train(kernels="off"), GPU, ("flash", "liger")),
        (Train(precision="fp32"), GPU, ("flash",)),
        (Train(), GPU, ()),
    ):
        setup = choose_setup(section, device, has(*packages))
        assert (setup.attention, setup.liger, setup.padding_free) == ("sdpa", False, False)


@pytest.mark.parametrize(
    ("section", "device", "packages", "words"),
    [
        (Train(mode="qlora"), CPU, ("bitsandbytes",), "qlora needs a GPU"),
        (Train(mode="qlora"), GPU, (), "bitsandbytes, which is not installed"),
        (Train(tensorboard=True), CPU, (), "tensorboard, which is not installed"),
        (Train(precision="fp16"), CPU, (), "fp16 needs a GPU"),
    ],
)
def test_what_the_machine_cannot_do_is_refused(
    section: Train, device: student.Device, packages: tuple[str, ...], words: str
) -> None:
    with pytest.raises(TrainerError, match=words) as caught:
        choose_setup(section, device, has(*packages))
    assert "--set train." in caught.value.hint


def test_rows_are_shared_by_the_devices() -> None:
    setup = choose_setup(Train(batch_size=48, device_batch_size=10, devices=2), CPU, has())
    assert (setup.device_batch, setup.accumulate) == (8, 3)
    half = halved(setup, Train(batch_size=48, device_batch_size=10, devices=2))
    assert (half.device_batch, half.accumulate) == (4, 6)
    with pytest.raises(RecipeError, match="25 rows cannot be shared by 2") as caught:
        choose_setup(Train(batch_size=25, devices=2), CPU, has())
    assert caught.value.hint == "Try --set train.batch_size=26"


@pytest.mark.parametrize(
    "settings",
    [
        {"sharding": "fsdp"},
        {"mode": "qlora", "sharding": "fsdp", "devices": 2},
        {"objective": "dpo", "batching": "padding_free"},
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="train"):
        recipe_of(**settings)


def recipe_of(**settings: Any) -> Recipe:
    from localinstruct.config import parse

    return parse(Recipe, recipe_data(train=settings), "test")


# -- configurations for a GPU, as far as they can be seen without one
# ------------------------------------


def test_qlora_is_four_bit_normal_float_with_double_quantisation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch

    asked: dict[str, Any] = {}
    monkeypatch.setattr(student, "load_base", lambda folder, device, **how: asked.update(how))
    modes.load(
        Train(mode="qlora"),
        tmp_path,
        choose_setup(Train(mode="qlora"), GPU, has("bitsandbytes", "flash")),
    )
    four = asked["quantization_config"]
    assert (four.load_in_4bit, four.bnb_4bit_quant_type, four.bnb_4bit_use_double_quant) == (
        True,
        "nf4",
        True,
    )
    assert four.bnb_4bit_compute_dtype == torch.bfloat16
    assert asked["device_map"] == {"": "cuda:0"}
    assert asked["attn_implementation"] == "flash_attention_2"


def test_the_arguments_say_bf16_liger_and_fsdp(tmp_path: Path) -> None:
    def asked(recipe: Recipe, device: student.Device, *packages: str) -> dict[str, Any]:
        setup, seen = choose_setup(recipe.train, device, has(*packages)), {}

        def config(**given: Any) -> Any:
            seen.update(given)
            return SimpleNamespace(n_gpu=1)

        trainers._arguments(config, recipe, setup, tmp_path, {})
        return seen

    seen = asked(recipe_of(batch_size=32, gradient_checkpointing=True), GPU, "liger")
    assert (seen["bf16"], seen["fp16"], seen["use_liger_kernel"], seen["use_cpu"]) == (
        True,
        False,
        True,
        False,
    )
    assert (seen["gradient_checkpointing"], seen["fsdp"], seen["gradient_accumulation_steps"]) == (
        True,
        None,
        8,
    )
    assert asked(recipe_of(precision="fp16"), GPU)["fp16"]
    assert asked(recipe_of(sharding="fsdp", devices=2), GPU)["fsdp_config"] == {"version": 2}
    assert asked(recipe_of(tensorboard=True), CPU, "tensorboard")["report_to"] == ["tensorboard"]


def test_dora_and_rslora_reach_the_adapter() -> None:
    made = modes.adapter(Train.model_validate({"lora": {"use_dora": True, "use_rslora": True}}))
    assert made is not None
    assert (made.use_dora, made.use_rslora) == (True, True)
    assert modes.adapter(Train(mode="full")) is None


# -- batches
# ----------------------------------------------------------------------------------------------


def examples(count: int = 12) -> list[Any]:
    return list(encode_all(rows(count), "alpaca", byte_level(), 250).examples)


def collated(made: list[Any], padding_free: bool = False) -> dict[str, Any]:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    named = [{"input_ids": row.input_ids, "labels": row.labels} for row in made]
    batch: dict[str, Any] = DataCollatorForLanguageModeling(0, padding_free=padding_free)(named)
    return batch


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_loss_of_glued_rows_is_that_of_each_alone_weighted_by_tokens(
    base: Path, attention: str
) -> None:
    import torch

    model, made = student.load_base(base, CPU, attn_implementation=attention), examples()
    batching.refuse_leak(model)
    batch = collated(made, padding_free=True)
    assert batch["input_ids"].shape == (1, sum(row.length for row in made))
    with torch.no_grad():
        together = float(model(**batch, use_cache=False).loss)
    alone = [student.mean_loss(model, [row], 0, 1) for row in made]
    tokens = sum(count for _, count in alone)
    assert tokens > 100
    assert together == pytest.approx(sum(loss * count for loss, count in alone) / tokens, abs=1e-4)


def test_a_model_that_lets_rows_see_each_other_is_refused(base: Path) -> None:
    import torch
    from transformers import MambaConfig, MambaForCausalLM

    torch.manual_seed(0)
    small = MambaConfig(vocab_size=300, hidden_size=16, num_hidden_layers=2, state_size=4)
    with pytest.raises(
        TrainerError, match=r"MambaForCausalLM .* lets a row see the one before it"
    ) as caught:
        batching.refuse_leak(MambaForCausalLM(small))
    assert caught.value.hint == "Use --set train.batching=grouped"
    model = student.load_base(base, CPU)
    forward = model.forward

    def without_positions(position_ids: Any = None, **given: Any) -> Any:
        return forward(**given)

    model.forward = without_positions
    with pytest.raises(TrainerError, match="lets a row see"):
        batching.refuse_leak(model)


def test_a_padding_free_training_is_the_grouped_one(whole: Any, base: Path, tmp_path: Path) -> None:
    settings = {"lora": {"r": 4, "alpha": 8, "dropout": 0.0}, "epochs": 1}
    trained(tmp_path / "glued", base, train=settings | {"batching": "padding_free"})
    trained(tmp_path / "grouped", base, train=settings | {"batching": "grouped"})
    mine, theirs = curve(tmp_path / "glued"), curve(tmp_path / "grouped")
    assert [point[2] for point in mine] == pytest.approx([point[2] for point in theirs], abs=1e-4)
    assert len(mine) == 7


def test_steps_are_random_and_only_rows_within_one_are_sorted() -> None:
    lengths = [number % 7 for number in range(50)]
    order = StepOrder(lengths, 8, seed=3)
    first = list(order)
    assert sorted(first) == list(range(50))
    assert first == list(order)
    for start in range(0, 50, 8):
        step = [lengths[row] for row in first[start : start + 8]]
        assert step == sorted(step, reverse=True)
    order.set_epoch(1)
    assert list(order) != first
    assert {frozenset(first[:8])} != {frozenset(list(order)[:8])}


def test_rebalanced_rows_come_once_an_epoch_or_the_order_is_ours() -> None:
    """transformers repeats rows in a last step of fewer rows than batches."""
    from transformers.trainer_pt_utils import BatchRebalanceSampler

    for count in range(1, 40):
        order = BatchRebalanceSampler(
            [1 + row % 7 for row in range(count)], 8, 1, 4, drop_last=False
        )
        drawn = [row for batch in order for row in batch]
        once = sorted(drawn) == list(range(count))
        assert batching.rebalances("sft", count, 8, 4) == once
    assert not batching.rebalances("dpo", 16, 8, 4)


def batches(path: Path, base: Path, seed: int = 0, **train: Any) -> list[list[list[int]]]:
    """Token ids of the rows of each batch of an epoch, as a new training would have them."""
    with prepared(path, train=train) as (recipe, run):
        setup = choose_setup(recipe.train, CPU)
        seeded = recipe.model_copy(update={"seed": seed})
        trainer = prepare(seeded, run.path, Recorded(), base, setup).trainer
    assert trainer.args.train_sampling_strategy == batching.REBALANCED
    return [batch["input_ids"].tolist() for batch in trainer.get_train_dataloader()]


def test_the_seed_draws_the_steps(base: Path, tmp_path: Path) -> None:
    first = batches(tmp_path / "run", base, device_batch_size=2)
    assert batches(tmp_path / "run", base, device_batch_size=2) == first
    other = batches(tmp_path / "run", base, seed=1, device_batch_size=2)
    assert [sorted(map(str, step)) for step in other] != [sorted(map(str, step)) for step in first]


@pytest.mark.parametrize("on_device", [8, 2])
def test_the_order_of_the_rows_of_a_step_changes_nothing_that_is_learnt(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_device: int
) -> None:
    """Whether a step is one batch or four of different widths: its gradient is the mean over its
    answer tokens."""
    settings = {
        "lora": {"r": 4, "alpha": 8, "dropout": 0.0},
        "epochs": 1,
        "device_batch_size": on_device,
    }
    trained(tmp_path / "sorted", base, train=settings)

    def unsorted(self: Any, indices: list[int], _: object) -> list[list[list[int]]]:
        return [[indices[at :: self.grad_accum] for at in range(self.grad_accum)]]

    monkeypatch.setattr("transformers.trainer_pt_utils.BatchRebalanceSampler._assign", unsorted)
    trained(tmp_path / "drawn", base, train=settings)
    mine, theirs = curve(tmp_path / "sorted"), curve(tmp_path / "drawn")
    assert [point[2] for point in mine] == pytest.approx([point[2] for point in theirs], abs=1e-4)


def test_two_processes_that_resume_within_an_epoch_draw_its_order() -> None:
    """transformers and accelerate do not reach the sampler there, and draw the first epoch's."""
    from accelerate.data_loader import BatchSamplerShard, DataLoaderShard, skip_first_batches
    from transformers.trainer_pt_utils import BatchRebalanceSampler

    order = BatchRebalanceSampler([3 + row % 9 for row in range(40)], 8, 2, 2, drop_last=False)
    shard = BatchSamplerShard(order, num_processes=2, process_index=0)
    shard.num_processes, shard.process_index = 1, 0  # as transformers does
    loader = DataLoaderShard(list(range(40)), batch_sampler=shard)
    state = SimpleNamespace(epoch=1.4)
    trainers._epochs().on_epoch_begin(None, state, None, train_dataloader=loader)
    resumed = skip_first_batches(loader, 4)
    resumed.set_epoch(1)
    drawn = list(resumed.batch_sampler)
    order.set_epoch(1)
    assert drawn == list(order)[4:]
    order.set_epoch(0)
    assert drawn != list(order)[4:]


def test_a_training_that_began_in_the_order_of_0_1_0_goes_on_in_it(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(batching, "rebalances", lambda *_: False)
        trained(tmp_path / "old" / "run", base)
        with pytest.raises(Interrupted):
            trained(tmp_path / "run", base, StopsAt(5, interrupt))
    trained(tmp_path / "run", base)
    assert_same_training(tmp_path / "run", tmp_path / "old" / "run")


def test_logits_made_at_once_and_trls_tiles_learn_the_same(
    whole: Any, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    honest = loss.summed
    monkeypatch.setattr(loss, "summed", lambda *given: (made.append(1), honest(*given))[1])
    trained(tmp_path / "plain", base, train={"epochs": 1})
    assert len(made) == 10
    monkeypatch.setattr(loss, "LOGITS_MIB", 0)
    trained(tmp_path / "tiles", base, train={"epochs": 1})
    assert len(made) == 10
    mine, theirs = curve(tmp_path / "plain"), curve(tmp_path / "tiles")
    assert [point[2] for point in mine] == pytest.approx([point[2] for point in theirs], abs=1e-4)


def test_what_a_family_does_to_its_logits_is_in_the_loss() -> None:
    """Gemma 2 bends its logits; the number must be that of its own full logits, and the gradient
    too."""
    import torch
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        final_logit_softcapping=0.5,
    )
    model = Gemma2ForCausalLM(config)
    batch = collated(examples(3))
    batch["input_ids"] %= 300
    batch["labels"] = torch.where(batch["labels"] == IGNORED, IGNORED, batch["labels"] % 300)
    mine = loss.summed(model, model.get_output_embeddings(), batch)
    (grad,) = torch.autograd.grad(mine, [model.model.layers[0].mlp.up_proj.weight])
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[
        :, :-1
    ]
    theirs = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1),
        batch["labels"][:, 1:].flatten(),
        ignore_index=IGNORED,
        reduction="sum",
    )
    (other,) = torch.autograd.grad(theirs, [model.model.layers[0].mlp.up_proj.weight])
    assert mine.item() == pytest.approx(theirs.item(), rel=1e-5)
    assert torch.allclose(grad, other, atol=1e-5)
    assert logits.abs().max().item() <= 0.5


# -- what is learnt
# ---------------------------------------------------------------------------------------


def test_a_full_training_leaves_a_whole_student(base: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "adapter").mkdir(parents=True)
    result = trained(tmp_path / "run", base, train={"mode": "full", "epochs": 1})
    found = student.artefact(tmp_path / "run")
    assert (found.kind, result["artefact"]) == ("model", "model")
    assert not (tmp_path / "run" / "adapter").exists()
    assert result["trainable_parameters"] > 0 == result["parameters"]
    made = read_instances(tmp_path / "run" / "dataset" / "held_out.jsonl")
    model, tokenizer = student.load_trained(base, found, CPU), student.load_tokenizer(found.folder)
    loss, _ = student.mean_loss(model, encode_all(made, "alpaca", tokenizer, 128).examples, 0, 4)
    assert loss == pytest.approx(result["held_out_loss"], abs=1e-5)
    assert loss < curve(tmp_path / "run")[0][2]


@pytest.mark.parametrize("extra", [{"use_dora": True}, {"use_rslora": True}])
def test_other_adapters_train(base: Path, tmp_path: Path, extra: dict[str, bool]) -> None:
    result = trained(tmp_path / "run", base, train={"epochs": 1, "lora": {"r": 4, **extra}})
    config = json.loads((tmp_path / "run/adapter/adapter_config.json").read_text())
    assert all(config[key] for key in extra)
    assert result["held_out_loss"] < curve(tmp_path / "run")[0][2]


def with_pairs(path: Path, made: list[Instance], **settings: Any) -> tuple[Any, Recorded]:
    recipe, progress = Recipe.model_validate(recipe_data(train=settings)), Recorded()
    with open_run(path) as run:
        keep(run, made)
        dataset_stage.run(recipe, run, Recorded(), workspace=path)
        base_folder = path.parent.parent / "base"
        return training_stage.train(recipe, run, progress, base_folder), progress


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_dpo_learns_to_prefer(base: Path, tmp_path: Path, mode: str) -> None:
    shutil.copytree(base, tmp_path / "base")
    made = [
        Instance(row.instruction, row.input, row.output, rejected="No." if n % 2 else "")
        for n, row in enumerate(rows(44))
    ]
    result, progress = with_pairs(
        tmp_path / "runs" / "pairs", made, objective="dpo", mode=mode, epochs=3, beta=0.5
    )
    lines = [
        line for line in metrics.read(tmp_path / "runs/pairs/train/metrics.jsonl") if "loss" in line
    ]
    # log 2: the student is its own reference at first
    assert lines[0]["loss"] == pytest.approx(0.6931, abs=0.02)
    assert lines[-1]["loss"] < 0.6
    assert lines[-1]["margin"] > 0
    assert any("have no rejected answer and are left out" in said for said in progress.said)
    assert result["artefact"] == ("adapter" if mode == "lora" else "model")


def test_dpo_without_pairs_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of 40 training rows has one"):
        trained(tmp_path / "run", base, train={"objective": "dpo"})


def test_a_pair_shares_its_prompt() -> None:
    row = Instance("Add the numbers.", "2, 3", "5", rejected="6, I think")
    tokenizer = byte_level()
    pair = encode_pair(row, "alpaca", tokenizer, 300)
    assert pair is not None
    assert tokenizer.decode(pair.prompt_ids).endswith("### Response:")
    assert tokenizer.decode(pair.chosen_ids) == "5<|end|>"
    assert tokenizer.decode(pair.rejected_ids) == "6, I think<|end|>"
    assert encode_pair(row, "alpaca", tokenizer, len(pair.prompt_ids)) is None


# -- memory, best, early
# -----------------------------------------------------------------------------------


def test_out_of_memory_halves_the_rows_once_and_the_curve_is_the_same(
    whole: Any,
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch
    from trl import SFTTrainer

    settings = {"lora": {"r": 4, "alpha": 8, "dropout": 0.0}}
    trained(tmp_path / "calm", base, train=settings)
    honest, seen = SFTTrainer.training_step, []

    def greedy(self: Any, model: Any, inputs: Any, *rest: Any) -> Any:
        seen.append(len(inputs["input_ids"]))
        if len(seen) > 9 and seen[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return honest(self, model, inputs, *rest)

    monkeypatch.setattr(SFTTrainer, "training_step", greedy)
    progress = Recorded()
    result = trained(tmp_path / "tight", base, progress, train=settings)
    said = "\n".join(progress.said)
    assert "Once more with 2 rows on the device at once, not 4." in said
    assert "Going on from step 3" in said
    assert set(seen[10:]) == {2}
    mine, theirs = curve(tmp_path / "tight"), curve(tmp_path / "calm")
    assert [point[:2] for point in mine] == [point[:2] for point in theirs]
    assert [point[2] for point in mine] == pytest.approx([point[2] for point in theirs], abs=1e-4)
    [batch] = [choice for choice in result["choices"] if choice["setting"] == "device_batch_size"]
    assert (batch["value"], batch["how"]) == ("2", "chosen")


def test_out_of_memory_twice_is_an_error(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from trl import SFTTrainer

    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(SFTTrainer, "training_step", full)
    with pytest.raises(TrainerError, match="Out of memory") as caught:
        trained(tmp_path / "run", base)
    assert "train.device_batch_size=1" in caught.value.hint


def test_the_best_student_is_kept_and_a_worsening_one_stops(base: Path, tmp_path: Path) -> None:
    """A learning rate far too high: the held-out loss is lowest early and then rises."""
    settings = {
        "epochs": 12,
        "learning_rate": 0.12,
        "scheduler": "constant",
        "early_stopping": 2,
        "keep": "best",
    }
    progress = Recorded()
    result = trained(tmp_path / "run", base, progress, train=settings)
    held_out = {
        step: loss
        for step, kind, loss in curve(tmp_path / "run")
        if kind == "held_out_loss" and step
    }
    lowest = min(held_out, key=lambda step: held_out[step])
    assert result["steps"] < 60
    assert (result["kept_step"], result["held_out_loss"]) == (lowest, held_out[lowest])
    assert result["kept_step"] < result["steps"]
    assert any("Stopped early at step" in said for said in progress.said)
    found = student.artefact(tmp_path / "run")
    made = read_instances(tmp_path / "run" / "dataset" / "held_out.jsonl")
    model = student.load_trained(base, found, CPU)
    loss, _ = student.mean_loss(model, encode_all(made, "alpaca", byte_level(), 128).examples, 0, 4)
    assert loss == pytest.approx(held_out[lowest], abs=1e-4)
    shutil.rmtree(tmp_path / "run" / "adapter")
    again = trained(tmp_path / "run", base, train=settings)
    assert (again["steps"], again["adapter_sha256"]) == (result["steps"], result["adapter_sha256"])


def test_patience_counts_losses_without_a_new_best(tmp_path: Path) -> None:
    seen = BestStudent(tmp_path / "best", "x", None, 2)
    verdicts = []
    for step, value in enumerate([3.0, 2.0, 2.5, 1.9, 2.0, 1.9, 1.0]):
        seen.offer(step, value)
        verdicts.append(seen.is_over())
    assert verdicts == [False, False, False, False, False, True, False]
    assert best_student.read(tmp_path / "best", "x") is None


def test_a_best_of_other_settings_does_not_count(tmp_path: Path) -> None:
    def save(folder: Path) -> None:
        folder.mkdir()
        (folder / "weights").write_text("w")

    BestStudent(tmp_path / "best", "x", save, None).offer(4, 1.5)
    assert best_student.read(tmp_path / "best", "x") == (4, 1.5)
    assert best_student.read(tmp_path / "best", "y") is None
    best_student.copy_to(tmp_path / "best", tmp_path / "adapter")
    assert [path.name for path in (tmp_path / "adapter").iterdir()] == ["weights"]


# -- TensorBoard
# -------------------------------------------------------------------------------------------


def test_tensorboard_files_hold_the_same_curve_on_request_only(
    whole: Any, base: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard", reason="pip install tensorboard (it is in the extra `dev`)")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert not (whole[0] / "train" / "tensorboard").exists()
    trained(tmp_path / "run", base, train={"tensorboard": True})
    folder = tmp_path / "run" / "train" / "tensorboard"
    seen = EventAccumulator(str(folder)).Reload()
    lines = [line for line in metrics.read(tmp_path / "run/train/metrics.jsonl") if "loss" in line]
    assert len(lines) == 10
    for tag, key in (
        ("train/loss", "loss"),
        ("train/learning_rate", "learning_rate"),
        ("train/grad_norm", "grad_norm"),
    ):
        written = [(event.step, event.value) for event in seen.Scalars(tag)]
        assert [step for step, _ in written] == [line["step"] for line in lines], tag
        assert [value for _, value in written] == pytest.approx(
            [line[key] for line in lines], rel=1e-5
        ), tag
    assert_same_training(tmp_path / "run", whole[0])


# -- several processes
# ------------------------------------------------------------------------------------


def test_two_processes_train_what_one_does(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"lora": {"r": 4, "alpha": 8, "dropout": 0.0}, "device_batch_size": 4}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    one = trained(tmp_path / "one", base, train=settings)
    progress = Recorded()
    two = trained(tmp_path / "two", base, progress, train=settings | {"devices": 2})
    mine, theirs = curve(tmp_path / "two"), curve(tmp_path / "one")
    assert [point[:2] for point in mine] == [point[:2] for point in theirs]
    assert [point[2] for point in mine] == pytest.approx([point[2] for point in theirs], abs=1e-3)
    for name, weight in adapter(tmp_path / "two").items():
        assert (weight - adapter(tmp_path / "one")[name]).abs().max() < 1e-3, name
    assert (two["steps"], two["tokens"]) == (one["steps"], one["tokens"])
    assert progress.updates[-1][:3] == ("training", 10, 10)


def test_an_error_in_a_process_is_said_as_ours(base: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="loss became nan") as caught:
        trained(tmp_path / "run", base, train={"devices": 2, "learning_rate": 1e30})
    assert "train.learning_rate" in caught.value.hint
