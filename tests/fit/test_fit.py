"""Does it fit: the arithmetic against figures that are known from elsewhere, and the command."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from localinstruct.cli.app import app
from localinstruct.errors import DoesNotFit, UsageError
from localinstruct.fit import serving, training
from localinstruct.fit.advice import advise, more_copies
from localinstruct.fit.assess import LIBRARIES, Assessment, assess, shortfall
from localinstruct.fit.shape import PUBLISHED, Shape, count, guessed, read_shape
from localinstruct.machine import GIB, Gpu, Machine, parse_machine
from localinstruct.models.catalog import load_catalog
from localinstruct.recipe import Recipe, load_recipe
from localinstruct.recipe.train import Train
from localinstruct.teacher import Serve
from localinstruct.training.setup import choose_setup
from localinstruct.training.student import Device

ROOT = Path(__file__).parents[2]
CPU, GPU = Device("cpu", "float32", "test"), Device("cuda:0", "bfloat16", "test")
LLAMA_2_7B = Shape(
    "Llama-2-7B",
    "config.json",
    6_738_415_616,
    13_476_831_232,
    10**10,
    32,
    4096,
    11_008,
    32,
    32,
    128,
    32_000,
    4096,
    tied=False,
)
OPT_13B = replace(LLAMA_2_7B, layers=40, hidden=5120, heads=40, kv_heads=40)
MACHINE = Machine("Linux", "a CPU", 8, 64.0, 64.0, (), "3.11", {})


def card(gib: float, count: int = 1) -> Machine:
    return replace(MACHINE, gpus=(Gpu("an RTX 4090", gib, gib, ""),) * count)


def made(shape: Shape, device: Device = CPU, held_out: bool = False, **train: Any) -> training.Plan:
    section = Train.model_validate({"batch_size": 4, "device_batch_size": 4, **train})
    return training.plan_of(section, choose_setup(section, device, lambda _: True), shape, held_out)


# -- figures that others have published
# ---------------------------------------------------------------------------------


def test_weights_of_known_models_are_counted_from_their_shapes() -> None:
    assert count(LLAMA_2_7B) == 6_738_415_616
    assert len(PUBLISHED) >= 10
    for shape in PUBLISHED:
        assert count(shape) == pytest.approx(shape.parameters, rel=0.01), shape.name


def test_kv_cache_per_token() -> None:
    assert serving.kv_bytes_per_token(OPT_13B, 2) == 800 * 1024  # Kwon et al. 2023, section 3
    assert serving.kv_bytes_per_token(LLAMA_2_7B, 2) == 512 * 1024
    # Llama 3.1: 8 of 32 heads
    assert serving.kv_bytes_per_token(guessed("m", 8_030_000_000, 0), 2) == 128 * 1024


def test_full_fine_tuning_takes_sixteen_bytes_per_weight() -> None:
    """ZeRO §3.1 counts 16 with 16-bit copies; ours are 4 + 4 + 8 in float32."""
    plan = made(LLAMA_2_7B, mode="full")
    held = sum(
        part(LLAMA_2_7B, plan)
        for part in (training.weights, training.gradients, training.optimizer)
    )
    assert held == 16 * 6_738_415_616
    dpo = made(LLAMA_2_7B, mode="full", objective="dpo")
    assert training.weights(LLAMA_2_7B, dpo) == 2 * training.weights(LLAMA_2_7B, plan)


@pytest.mark.parametrize(
    ("lora", "known"),
    [
        ({"r": 8, "target_modules": ["q_proj", "v_proj"]}, 4_194_304),
        ({"r": 16}, 39_976_960),
        ({"r": 16, "use_dora": True}, 39_976_960 + 32 * (5 * 4096 + 2 * 11_008)),
    ],
)
def test_adapters_have_the_size_that_peft_prints(lora: dict[str, Any], known: int) -> None:
    assert training.trainable(LLAMA_2_7B, made(LLAMA_2_7B, lora=lora)) == known


def test_weights_by_precision() -> None:
    adapter = 39_976_960
    bf16, nf4 = (
        training.weights(LLAMA_2_7B, made(LLAMA_2_7B, GPU, mode=mode)) for mode in ("lora", "qlora")
    )
    assert bf16 == 2 * 6_738_415_616 + 4 * adapter
    matrices = 6_476_005_376  # 32 layers of 4 x 4096² + 3 x 4096 x 11,008
    assert nf4 == pytest.approx(0.516 * matrices + 2 * (6_738_415_616 - matrices) + 2 * adapter)
    assert training.gradients(LLAMA_2_7B, made(LLAMA_2_7B, GPU, mode="qlora")) == 2 * adapter


def test_devices_share_or_copy() -> None:
    one, two = made(LLAMA_2_7B, GPU, mode="full"), made(LLAMA_2_7B, GPU, mode="full", devices=2)
    parts = made(LLAMA_2_7B, GPU, mode="full", devices=2, sharding="fsdp")
    assert training.gradients(LLAMA_2_7B, two) == 2 * training.gradients(LLAMA_2_7B, one)
    assert training.weights(LLAMA_2_7B, two) == training.weights(LLAMA_2_7B, one)
    for part in (training.weights, training.gradients, training.optimizer):
        assert part(LLAMA_2_7B, parts) == part(LLAMA_2_7B, one) / 2


def test_a_model_in_parts_needs_room_for_what_is_whole_for_a_while() -> None:
    eight: dict[str, Any] = {"mode": "full", "sharding": "fsdp", "batch_size": 16}
    plan = made(LLAMA_2_7B, GPU, **eight, devices=4, nodes=2)
    layer, tables = 202_375_168 + 2 * 4096, 2 * 32_000 * 4096  # 4 x 4096² + 3 x 4096 x 11,008
    assert training.gathered(LLAMA_2_7B, plan) == pytest.approx(
        plan.compute * (3 * layer + 2 * tables), rel=1e-5
    )
    backward = training.moments(LLAMA_2_7B, plan)["backward"]
    assert backward["weights"] == 4 * LLAMA_2_7B.parameters / 8
    assert backward["gathered"] == training.gathered(LLAMA_2_7B, plan)
    assert "gathered" not in training.moments(LLAMA_2_7B, made(LLAMA_2_7B, GPU))["backward"]
    on_cpu = made(LLAMA_2_7B, **eight, devices=8)
    loading = training.moments(LLAMA_2_7B, on_cpu)["loading"]["weights"]
    assert loading == 4 * LLAMA_2_7B.parameters  # each loads it whole, and parts it then


# -- against PyTorch itself
# -----------------------------------------------------------------------------------------------


def kept_by_torch(layers: int, tokens: tuple[int, int], dtype: str, train: Train) -> int:
    """Bytes that a Llama of this many layers keeps for the backward pass, parameters excepted."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    inner = LlamaForCausalLM(LlamaConfig(**WIDTHS, num_hidden_layers=layers)).to(
        getattr(torch, dtype)
    )
    lora = train.lora
    config = LoraConfig(
        r=lora.r, lora_dropout=lora.dropout, target_modules="all-linear", use_dora=lora.use_dora
    )
    model = (inner if train.mode == "full" else get_peft_model(inner, config)).train()
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    mask = torch.ones(tokens, dtype=torch.long)
    mask[0, -3:] = 0
    bf16 = train.precision == "bf16"
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t),
        torch.autocast("cpu", torch.bfloat16, enabled=bf16),
    ):
        inner.model(
            input_ids=torch.zeros(tokens, dtype=torch.long), attention_mask=mask, use_cache=False
        )
    return sum(storage.nbytes() for storage in kept.values())


WIDTHS: dict[str, Any] = {
    "vocab_size": 600,
    "hidden_size": 192,
    "intermediate_size": 416,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
}
SMALL = Shape("small", "config.json", 1, 1, 1, 1, 192, 416, 6, 2, 32, 600, 2048)


@pytest.mark.parametrize(
    "train",
    [
        {"mode": "full"},
        {"mode": "full", "precision": "bf16"},
        {},
        {"lora": {"dropout": 0.0}},
        {"precision": "bf16"},
        {"precision": "bf16", "lora": {"dropout": 0.0}},
        {"lora": {"use_dora": True}},
        {"precision": "bf16", "lora": {"use_dora": True, "dropout": 0.0}},
    ],
    ids=str,
)
def test_a_layer_keeps_what_pytorch_keeps(train: dict[str, Any]) -> None:
    plan = made(SMALL, max_length=112, device_batch_size=2, batch_size=2, **train)
    assert plan.tokens == 224
    dtype = "bfloat16" if plan.autocast and not plan.full else "float32"
    more, less = (kept_by_torch(layers, (2, 112), dtype, plan.train) for layers in (3, 1))
    calculated = plan.tokens * training.token_bytes(SMALL, plan) + training.layer_bytes(SMALL, plan)
    assert calculated == pytest.approx((more - less) / 2, rel=0.03)


def test_checkpointing_keeps_the_input_of_every_layer_and_one_layer_whole() -> None:
    plain, saving = made(LLAMA_2_7B), made(LLAMA_2_7B, gradient_checkpointing=True)
    one = plain.tokens * training.token_bytes(LLAMA_2_7B, plain)
    last = 8 * plain.tokens * 4096
    assert training.activations(LLAMA_2_7B, plain) == 32 * one + last
    assert training.activations(LLAMA_2_7B, saving) == 32 * plain.tokens * 4096 * 4 + one + last


def test_holes_are_a_matter_of_a_cpu() -> None:
    plan = made(LLAMA_2_7B)
    found = training.moments(LLAMA_2_7B, plan)["backward"]
    assert found["holes"] == found["activations"] / 2
    assert training.holes(LLAMA_2_7B, made(LLAMA_2_7B, GPU)) == 0
    few = made(SMALL, max_length=128, gradient_checkpointing=True, objective="dpo")
    assert (
        training.holes(SMALL, few)
        == 4 * 2 * 128 * 600 * (4 + 4 * 6.25)
        > training.activations(SMALL, few) / 2
    )
    dora = made(LLAMA_2_7B, lora={"use_dora": True})
    units = 32 * training.layer_bytes(LLAMA_2_7B, dora)
    assert training.holes(LLAMA_2_7B, dora) == (training.activations(LLAMA_2_7B, dora) - units) / 2


def test_held_out_rows_take_their_logits() -> None:
    shape = replace(LLAMA_2_7B, vocab=150_000)
    found = training.moments(shape, made(shape, held_out=True, max_length=1024))
    assert found["held-out loss"]["loss"] == 12 * 4 * 1024 * 150_000
    assert "held-out loss" not in training.moments(shape, made(shape, max_length=1024))


# -- shapes
# --------------------------------------------------------------------------------------------------


def test_shape_of_a_directory_and_of_a_number() -> None:
    nano = read_shape(ROOT / "localinstruct" / "nano" / "weights" / "student", "nano")
    assert nano is not None
    assert (nano.layers, nano.hidden, nano.kv, nano.mlp, nano.vocab) == (4, 256, 128, 512, 4096)
    assert nano.parameters == count(nano) == 3_410_176
    assert not nano.guessed
    near = guessed("mine", 8_000_000_000, 4096)
    assert (near.layers, near.context, near.parameters) == (32, 4096, 8_000_000_000)
    assert "models.yaml" in near.source


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (
            {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128},
            (64, 2, 4, 256, False),
        ),
        (
            {
                "model_type": "m",
                "text_config": {
                    "hidden_size": 64,
                    "num_hidden_layers": 3,
                    "num_attention_heads": 4,
                    "intermediate_size": 96,
                },
            },
            (64, 3, 4, 96, True),
        ),
        (
            {
                "model_type": "m",
                "hidden_size": 64,
                "num_hidden_layers": 3,
                "num_attention_heads": 4,
                "num_experts_per_tok": 2,
                "moe_intermediate_size": 40,
            },
            (64, 3, 4, 80, True),
        ),
    ],
)
def test_shapes_of_other_families(
    config: dict[str, Any], wanted: tuple[Any, ...], tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import save_file

    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({"w": torch.zeros(3, 4, dtype=torch.bfloat16)}, tmp_path / "model.safetensors")
    shape = read_shape(tmp_path, "m")
    assert shape is not None
    assert (shape.hidden, shape.layers, shape.heads, shape.mlp, shape.gated) == wanted
    assert shape.parameters == 12
    (tmp_path / "config.json").write_text("{}")
    assert read_shape(tmp_path, "m") is None


# -- recipes on machines
# --------------------------------------------------------------------------------------------------


def assessed(name: str, machine: Machine, *settings: str, disk: float = 10**12) -> Assessment:
    recipe = load_recipe(ROOT / "recipes" / f"{name}.yaml", settings)
    return assess(recipe, load_catalog(ROOT), machine, disk, bf16=False)


@pytest.mark.parametrize("name", ["nano", "workstation-24gb"])
def test_one_memory_for_processor_and_gpu_is_counted_once(name: str) -> None:
    shared, _ = parse_machine("unified=128", MACHINE)
    apart, _ = parse_machine("vram=128,ram=128", MACHINE)
    one, two = assessed(name, shared), assessed(name, apart)
    assert [phase.place for phase in one.phases] == [phase.place for phase in two.phases]
    for with_it, without in zip(one.phases, two.phases, strict=True):
        more = with_it.needs - without.needs
        assert more == pytest.approx(LIBRARIES if with_it.place == "GPU" else 0, abs=1)
    assert any("share one memory" in words for words in one.assumed)


def test_the_workstation_recipe_fits_its_card_and_not_a_smaller_one() -> None:
    fits = assessed("workstation-24gb", card(24))
    assert fits.fits, fits
    assert [phase.name for phase in fits.phases] == [
        "generate: vLLM",
        "generate",
        "train",
        "evaluate: losses",
        "evaluate: vLLM",
        "disk",
    ]
    assert any("qwen3-8b is not on this disk" in words for words in fits.assumed)
    small = assessed("workstation-24gb", card(12))
    assert next(phase.name for phase in small.phases if not phase.fits) == "generate: vLLM"
    assert not assessed("workstation-24gb", card(24), disk=10**9).fits


@pytest.mark.parametrize(("name", "size"), [("gpu-8gb", 8), ("workstation-80gb", 80)])
def test_the_recipes_for_one_card_fit_theirs(name: str, size: int) -> None:
    assert assessed(name, card(size)).fits
    assert not assessed(name, card(size // 2)).fits


def test_the_recipe_for_a_machine_without_a_gpu_fits_16_gib() -> None:
    machine, _ = parse_machine("ram=16", MACHINE)
    assert assessed("cpu-small", machine).fits


def test_models_beside_each_other_share_the_card() -> None:
    alone = assessed("workstation-24gb", card(24)).phases[0]
    both = [
        one
        for one in assessed("workstation-24gb", card(24), "models.judge=qwen3-4b").phases
        if "vLLM" in one.name
    ]
    assert [one.room for one in both[:2]] == [alone.room / 2] * 2


def test_a_student_that_is_one_model_may_need_float32() -> None:
    dora = assessed("workstation-24gb", card(24), "train.lora.use_dora=true")
    plain = assessed("workstation-24gb", card(24))
    [disk] = [phase for phase in dora.phases if phase.name == "disk"]
    assert disk.parts["merged student"] > 5 * GIB
    assert "where only float32 keeps what was learnt" in disk.note
    assert "merged student" not in next(p for p in plain.phases if p.name == "disk").parts
    served = [phase.note for phase in dora.phases if phase.name == "evaluate: vLLM"]
    assert any("float32 if it needs it" in note for note in served)


def test_what_no_memory_mends_is_said() -> None:
    assert "qlora needs a GPU" in assessed("nano", MACHINE, "train.mode=qlora").problems[0]
    wide = assessed("workstation-24gb", card(24), "serve.tensor_parallel_size=2", "train.devices=2")
    assert [words.split(":")[0] for words in wide.problems] == [
        "serve.tensor_parallel_size",
        "train.devices",
    ]


def test_copies_of_the_teacher_are_counted() -> None:
    one, two = (
        next(p for p in assessed("nano", MACHINE, f"serve.data_parallel_size={n}").phases)
        for n in (1, 2)
    )
    assert two.parts["weights"] > one.parts["weights"]  # the encoder is there once
    assert two.parts["KV cache"] == 2 * one.parts["KV cache"]
    wide = assessed("workstation-24gb", card(24), "serve.data_parallel_size=2")
    assert wide.problems == ("serve.data_parallel_size: 2 GPUs wanted, 1 there",)


def test_four_cards_are_used_by_copies_before_they_share_one_model() -> None:
    catalog, cards = load_catalog(ROOT), card(24, 4)

    def faster(*settings: str) -> list[str]:
        recipe = load_recipe(ROOT / "recipes" / "workstation-24gb.yaml", settings)

        def look(changed: Recipe) -> Assessment:
            return assess(changed, catalog, cards, 10**12, bf16=False)

        return [str(change) for change in more_copies(recipe, catalog, cards, look)]

    assert faster() == ["serve.data_parallel_size=4"]
    assert faster("serve.tensor_parallel_size=4") == [
        "serve.data_parallel_size=4",
        "serve.tensor_parallel_size=1",
    ]
    assert faster("serve.data_parallel_size=4") == []


def test_processes_on_a_cpu_share_its_memory() -> None:
    one, two = (
        next(p for p in assessed("nano", MACHINE, f"train.devices={n}").phases if p.name == "train")
        for n in (1, 2)
    )
    assert two.parts["weights"] == 2 * one.parts["weights"]
    assert two.parts["libraries"] == 2 * one.parts["libraries"]


def test_another_machine_is_imagined() -> None:
    other, disk = parse_machine("vram=24,ram=64,disk=200,gpus=2", MACHINE)
    assert ([gpu.free_gib for gpu in other.gpus], other.available_gib, disk) == (
        [24.0, 24.0],
        64.0,
        200.0,
    )
    assert parse_machine("vram=0", card(24))[0].gpus == ()
    assert parse_machine("ram=8", card(24))[0].gpus == card(24).gpus
    for wrong in ("vram", "cores=3", "ram=many", ""):
        with pytest.raises(ValueError, match="expected vram=NUMBER"):
            parse_machine(wrong, MACHINE)


# -- advice
# --------------------------------------------------------------------------------------------------


def advised(name: str, machine: Machine, *settings: str) -> list[str] | None:
    catalog = load_catalog(ROOT)
    recipe = load_recipe(ROOT / "recipes" / f"{name}.yaml", settings)
    tried: list[Recipe] = []

    def ask(other: Recipe) -> Assessment:
        tried.append(other)
        return assess(other, catalog, machine, 10**12, bf16=False)

    changes = advise(recipe, catalog, machine, ask)
    if changes is None:
        return None
    words = [str(change) for change in changes]
    assert assessed(name, machine, *settings, *words).fits
    for left_out in words:  # none of them is there for nothing
        assert not assessed(
            name, machine, *settings, *(word for word in words if word != left_out)
        ).fits
    assert len(tried) < 200
    return words


def test_fewer_rows_at_once_come_before_anything_that_costs_quality() -> None:
    long = ("models.student=llama-3.1-8b", "train.max_length=4096")
    assert advised("workstation-24gb", card(24), *long) == ["train.device_batch_size=1"]
    assert advised(
        "workstation-24gb", card(24), "train.device_batch_size=32", "models.student=qwen2.5-0.5b"
    ) == ["train.device_batch_size=8"]


def test_as_many_changes_as_are_needed() -> None:
    found = advised(
        "alpaca",
        card(24),
        "models.teacher=qwen3-8b",
        "serve.max_model_len=4096",
        "models.student=qwen3-4b",
        "train.max_length=8192",
        "train.device_batch_size=1",
        "dataset.held_out=0",
    )
    assert found is not None
    assert found[0] == "train.gradient_checkpointing=true"


def test_a_share_that_is_not_free_is_lowered() -> None:
    assert advised("preference", card(8)) == ["serve.gpu_memory_utilization=0.8"]


def test_a_smaller_teacher_is_of_the_same_kind() -> None:
    found = advised("workstation-24gb", card(16))
    assert found is not None
    [word] = found
    key, _, name = word.partition("=")
    assert key == "models.teacher"
    assert load_catalog(ROOT).get(name).chat


def test_where_nothing_helps_nothing_is_advised() -> None:
    assert advised("workstation-24gb", card(1)) is None
    assert advised("nano", MACHINE, "train.mode=qlora") is None


def test_run_says_beforehand_that_it_may_not_fit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe = load_recipe(ROOT / "recipes" / "nano.yaml")
    monkeypatch.setattr("localinstruct.fit.assess.look", lambda: MACHINE)
    assert shortfall(recipe, ROOT, tmp_path) == ""
    monkeypatch.setattr(
        "localinstruct.fit.assess.look", lambda: replace(MACHINE, available_gib=0.5)
    )
    words = shortfall(recipe, ROOT, tmp_path)
    assert "generate needs" in words
    assert words.endswith("What would: localinstruct fit nano")


# -- the command
# --------------------------------------------------------------------------------------------------


def test_fit_says_yes_with_a_table() -> None:
    done = CliRunner().invoke(app, ["fit", "nano", "--machine", "vram=0,ram=16,disk=50"])
    assert done.exit_code == 0, done.output
    assert "nano-teacher + encoder" in done.output
    assert "does not fit" not in done.output


def test_fit_says_no_with_a_code_of_its_own() -> None:
    done = CliRunner().invoke(app, ["fit", "workstation-24gb", "--machine", "vram=2", "--json"])
    assert isinstance(done.exception, DoesNotFit)
    assert done.exception.exit_code == 7
    assert "generate: vLLM needs" in done.exception.message
    told = json.loads(done.stdout)
    assert told["fits"] is False
    assert told["advice"] is None
    assert "a larger machine" in done.exception.hint
    phase = told["phases"][0]
    assert phase["needs"] == pytest.approx(sum(phase["parts"].values()), abs=9)
    assert phase["needs"] > phase["has"]
    assert phase["has"] == round(0.9 * 2 * GIB)


def test_what_would_fit_is_ready_to_paste() -> None:
    words = ["--set", "train.epochs=1", "--set", "serve.gpu_memory_utilization=0.95"]
    done = CliRunner().invoke(app, ["fit", "preference", "--machine", "vram=8", *words])
    assert isinstance(done.exception, DoesNotFit)
    command = (
        "localinstruct run preference --set train.epochs=1 --set serve.gpu_memory_utilization=0.8"
    )
    assert done.exception.hint == f"This fits: {command}"


def test_a_machine_that_cannot_be_read_is_wrong_usage() -> None:
    done = CliRunner().invoke(app, ["fit", "nano", "--machine", "vram=lots"])
    assert isinstance(done.exception, UsageError)
    assert "vram=24,ram=64,disk=200" in done.exception.hint


def test_serving_counts_shares_and_context() -> None:
    whole = serving.served(LLAMA_2_7B, Serve(), True, False)
    half = serving.served(LLAMA_2_7B, Serve(tensor_parallel_size=2), True, False)
    assert half.parts["weights"] == whole.parts["weights"] / 2 == 13_476_831_232 / 2
    assert whole.parts["KV cache"] == 4096 * 512 * 1024 == 2 * GIB
    assert whole.sequences(whole.needs + 3 * whole.parts["KV cache"]) == pytest.approx(4)
    cpu = serving.served(LLAMA_2_7B, Serve(kv_cache_gib=3), False, False)
    assert (cpu.parts["weights"], cpu.parts["KV cache"]) == (4 * 6_738_415_616, 3 * GIB)
