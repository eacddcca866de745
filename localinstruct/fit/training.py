"""Memory of a training at its worst moments, from the student's shape and the recipe.

All sizes are bytes. Weights, gradients and optimizer are counted as Rajbhandari et al. 2020 (ZeRO,
arXiv 1910.02054, §3.1) count them. The activations are those that PyTorch keeps for the backward
pass in transformers' Llama layers, tensor by tensor (read off with
`torch.autograd.graph.saved_tensors_hooks`; the method of Korthikanti et al. 2022, arXiv 2205.05198,
§4). TRL's loss works in tiles and never holds all logits. `benchmarks/README.md` says how near the
sums come to measured peaks on a CPU. GPU figures are calculated, not measured. Not covered: what
Liger's kernels save.
"""

from dataclasses import dataclass

from localinstruct.fit.shape import Linear, Shape
from localinstruct.recipe.train import Train
from localinstruct.training.loss import LOGITS_MIB
from localinstruct.training.setup import FLASH, Setup

Parts = dict[str, float]
"""Use of memory ("weights", "activations" …) -> bytes."""

NF4_BYTES = 0.516
"""Bytes of a 4-bit weight: 4 bits, and 0.127 bits of doubly quantised constants.

Dettmers et al. 2023 (arXiv 2305.14314, §3).
"""
TILE_TOKENS, TILE_VOCAB = 4096, 32_768
"""Tokens and vocabulary of one tile of logits in TRL's loss (trl/kernels/chunked_logprob.py)."""
TILE_COPIES = 6.25
"""float32 copies of a tile in the backward pass of the loss in plain PyTorch; Triton has none."""
HEAP_HOLES = 0.5
"""Unused memory of a CPU between activations, as a share of them, that glibc does not give back.

Measured (`benchmarks`, section f). With glibc's mmap threshold fixed low it is gone, and every
tensor costs page faults.
"""
MMAP_LARGEST = 32 * 2**20
"""Bytes from which glibc always gives a tensor pages of its own.

DEFAULT_MMAP_THRESHOLD_MAX, mallopt(3).
"""
LOGIT_BYTES = 12
"""Bytes per logit of the held-out loss (`student.mean_loss`), in float32.

The logits, those of learnt tokens, and their log softmax.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """Settings of a recipe and its `Setup` that shape the memory of one device."""

    train: Train
    on_gpu: bool
    compute: int
    """Bytes of the numbers the layers compute with: 2 in bf16 and fp16, 4 in fp32."""
    rows: int
    """Rows on the device at once."""
    length: int
    """Tokens of a row, the longest that may be."""
    accumulate: int
    flash: bool
    held_out: bool

    @property
    def full(self) -> bool:
        """True when all weights are learnt."""
        return self.train.mode == "full"

    @property
    def autocast(self) -> bool:
        """True when layers compute on 16-bit copies of their input."""
        return self.compute == 2

    @property
    def tokens(self) -> int:
        """Tokens on the device at once; dpo has the chosen and the rejected answer of every row."""
        return self.rows * self.length * (2 if self.train.objective == "dpo" else 1)


def plan_of(train: Train, setup: Setup, shape: Shape, held_out: bool) -> Plan:
    """The plan of a training with this setup, every row as long as it may be."""
    return Plan(
        train,
        on_gpu=setup.device.name != "cpu",
        compute=4 if setup.device.dtype == "float32" else 2,
        rows=setup.device_batch,
        length=min(train.max_length, shape.context or train.max_length),
        accumulate=setup.accumulate,
        flash=setup.attention == FLASH,
        held_out=held_out,
    )


def peak(shape: Shape, plan: Plan) -> tuple[str, Parts]:
    """(moment, its parts) for the moment that needs most."""
    return max(moments(shape, plan).items(), key=lambda item: sum(item[1].values()))


def moments(shape: Shape, plan: Plan) -> dict[str, Parts]:
    """Moment of the training -> its parts, on one device, without the libraries themselves."""
    held = {"weights": weights(shape, plan), "optimizer": optimizer(shape, plan)}
    grown = {"gradients": gradients(shape, plan)}
    kept = grown if plan.accumulate > 1 else {}  # they stay from one batch of a step to the next
    parts: dict[str, Parts] = {
        "loading": {"weights": _loaded(shape, plan), "files": _mapped(shape, plan)},
        "backward": {
            **held,
            **kept,
            "activations": activations(shape, plan),
            "loss": backward_buffers(shape, plan),
            "holes": holes(shape, plan),
            **({"gathered": gathered(shape, plan)} if plan.train.sharding == "fsdp" else {}),
        },
        "optimizer step": {**held, **grown},
    }
    if plan.held_out:
        logits = float(LOGIT_BYTES * plan.rows * plan.length * shape.vocab)
        parts["held-out loss"] = {**held, "loss": logits}
    return parts


def weights(shape: Shape, plan: Plan) -> float:
    """Weights of the student, of its adapter, and of the reference of dpo.

    The reference is a second copy, where all weights are learnt. All weights learnt: 4 bytes each.
    Adapter: the base in the precision computed with, or in 4 bits but for embeddings and norms; the
    adapter in float32 (PEFT's autocast_adapter_dtype), in bf16 on a 4-bit base (TRL).
    """
    if plan.full:
        copies = 2 if plan.train.objective == "dpo" else 1
        return copies * _sharded(4.0 * shape.parameters, plan)
    base = float(plan.compute * shape.parameters)
    if plan.train.mode == "qlora":
        quantised = min(_linear_weights(shape), shape.parameters)
        base = NF4_BYTES * quantised + 2 * (shape.parameters - quantised)
    return _sharded(base + trainable(shape, plan) * _learnt_bytes(plan), plan)


def _loaded(shape: Shape, plan: Plan) -> float:
    """Weights while they are loaded: whole, where they are parted afterwards (`modes.load`)."""
    is_whole = plan.train.sharding == "fsdp" and (plan.flash or not plan.on_gpu)
    return weights(shape, plan) * (plan.train.world_size if is_whole else 1)


def gathered(shape: Shape, plan: Plan) -> float:
    """What a process of FSDP2 holds whole for a while, beside its part.

    The weights of the layer at work and of the one fetched ahead, embedding and output layer from
    the forward to the backward pass (accelerate's last group), and where all weights are learnt the
    gradients of a layer and of the embedding before they are shared out.
    """
    layer = (shape.parameters - shape.embedding) / shape.layers
    learnt = layer + shape.embedding if plan.full else 0
    return plan.compute * (2 * layer + shape.embedding + learnt)


def trainable(shape: Shape, plan: Plan) -> int:
    """The number of weights that are learnt: all, or those of the adapters.

    These are r·(inputs + outputs) for each adapted matrix, and with DoRA its lengths. Hu et al.
    2021 (arXiv 2106.09685, §4); Liu et al. 2024 (arXiv 2402.09353, §4.1).
    """
    if plan.full:
        return shape.parameters
    lora, matrices = plan.train.lora, adapted(shape, plan)
    layer = sum(lora.r * (m.inputs + m.outputs) + lora.use_dora * m.outputs for m in matrices)
    return shape.layers * layer


def adapted(shape: Shape, plan: Plan) -> tuple[Linear, ...]:
    """The matrices of a layer that get an adapter; all where target_modules names none of ours."""
    targets = plan.train.lora.target_modules
    names = [targets] if isinstance(targets, str) else targets
    return tuple(m for m in shape.linears if m.name in names) or shape.linears


def gradients(shape: Shape, plan: Plan) -> float:
    """One number per learnt weight, in its precision.

    Several devices that each hold all keep a second copy to send (DDP).
    """
    size = trainable(shape, plan) * _learnt_bytes(plan)
    to_send = plan.train.world_size > 1 and plan.train.sharding == "none"
    return _sharded(size, plan) * (2 if to_send else 1)


def optimizer(shape: Shape, plan: Plan) -> float:
    """AdamW: two running means per learnt weight, in its precision.

    Loshchilov and Hutter 2019 (arXiv 1711.05101).
    """
    return _sharded(2 * trainable(shape, plan) * _learnt_bytes(plan), plan)


def activations(shape: Shape, plan: Plan) -> float:
    """Bytes kept for the backward pass of all layers.

    With checkpointing that is each layer's input, and one layer whole.
    """
    layer = plan.tokens * token_bytes(shape, plan) + layer_bytes(shape, plan)
    stream = 4 if plan.full else plan.compute  # bytes of a number between layers
    norm = 8 if plan.full else 4  # bytes of a number in the final norm, then the output layer's
    last = plan.tokens * shape.hidden * (norm + plan.compute)
    if plan.train.gradient_checkpointing:
        return float(shape.layers * plan.tokens * shape.hidden * stream + layer + last)
    return float(shape.layers * layer + last)


def holes(shape: Shape, plan: Plan) -> float:
    """Memory of a CPU that is held and not used at the worst moment; 0 on a GPU (see `assess`).

    It lies between the activations of tokens; or, where that is less, where the loss's tiles of the
    forward pass were: glibc keeps what is below its largest mmap threshold and does not find room
    for the tiles of the backward pass in it.
    """
    if plan.on_gpu:
        return 0.0
    layers = 1 if plan.train.gradient_checkpointing else shape.layers
    between = HEAP_HOLES * (activations(shape, plan) - layers * layer_bytes(shape, plan))
    copy = 4 * min(plan.tokens, TILE_TOKENS) * min(shape.vocab, TILE_VOCAB)
    tiles_stay = copy < MMAP_LARGEST and not _few_logits(shape, plan)
    return max(between, _tiles(shape, plan) if tiles_stay else 0.0)


def token_bytes(shape: Shape, plan: Plan) -> float:
    """Bytes kept per token in one layer: norms, attention, MLP, and the inputs of what is learnt.

    norms      input in float32, twice; where their weights are learnt also the normed values
    attention  queries, keys and values (repeated to all heads, but by FlashAttention), output; the
               sum of its exponents
    MLP        gate, activated gate and up; without a gate, the value before the activation
    inputs     of the matrices whose gradient needs them, see `_input_bytes`
    """
    keys = shape.kv if plan.flash or shape.kv_heads == 1 else shape.query
    # the padding mask as numbers, in every layer
    mask = 0 if plan.flash or plan.on_gpu else plan.length * plan.compute
    norms = 4 * shape.hidden * (4 if plan.full else 2)
    attention = plan.compute * (2 * shape.query + 2 * keys) + mask + 4 * shape.heads
    mlp = plan.compute * shape.mlp * (3 if shape.gated else 1)
    return norms + attention + mlp + _input_bytes(shape, plan)


def _input_bytes(shape: Shape, plan: Plan) -> float:
    """Inputs of matrices per token and layer.

    All learnt: each distinct one, or in 16 bits a copy for each matrix. Adapters: with dropout (TRL
    takes it out for dpo) each matrix has its own dropped input and the mask (numbers in float32 on
    a CPU, one byte on a GPU), and r numbers between A and B. DoRA keeps two outputs of each matrix
    besides.
    """
    e = plan.compute
    of_hidden = [m for m in shape.linears if m.inputs == shape.hidden and m.name != "o_proj"]
    shared = e * (shape.hidden * (len(of_hidden) if plan.autocast else 2) + shape.mlp)
    if plan.full:
        return shared
    matrices, lora = adapted(shape, plan), plan.train.lora
    inputs, outputs = sum(m.inputs for m in matrices), sum(m.outputs for m in matrices)
    between = e * lora.r * len(matrices) + (2 * e * outputs if lora.use_dora else 0)
    if lora.dropout and plan.train.objective == "sft":
        return between + (e + (1 if plan.on_gpu else 4)) * inputs
    return between + (e * inputs if plan.autocast else shared)


def layer_bytes(shape: Shape, plan: Plan) -> float:
    """Bytes kept in one layer whatever the tokens: 16-bit copies of weights, matrices of DoRA.

    The copies are those of float32 weights. DoRA multiplies A and B with a unit matrix as wide as
    the input, for the length of the update (peft/tuners/lora/dora.py).
    """
    own, matrices = sum(m.size for m in shape.linears), adapted(shape, plan)
    e, r = plan.compute, plan.train.lora.r
    if plan.full:
        return float(e * own) if plan.autocast else 0.0
    copies = e * r * sum(m.inputs + m.outputs for m in matrices) if plan.autocast else 0
    if not plan.train.lora.use_dora:
        return float(copies)
    units = sum(e * m.inputs * (m.inputs + r) + 12 * m.outputs for m in matrices)
    return float(copies + units + (e * own if plan.autocast and plan.train.lora.dropout else 0))


def backward_buffers(shape: Shape, plan: Plan) -> float:
    """Bytes of the start of the backward pass: the loss or the last layer, the larger of both.

    The loss: a tile of logits (with its float32 copies where there is no Triton, that is on a CPU;
    or all logits, where they are few: `training/loss.py`), the gradient of its input, and of the
    output layer where that is learnt.
    """
    logits = 16.0 * plan.tokens * shape.vocab  # logits, their log softmax and both gradients
    loss = logits if _few_logits(shape, plan) else _tiles(shape, plan)
    loss += 4 * plan.tokens * shape.hidden + (4 * shape.vocab * shape.hidden if plan.full else 0)
    layer = plan.tokens * plan.compute * (3 * shape.mlp + 2 * shape.hidden)
    return float(max(loss, layer))


def _tiles(shape: Shape, plan: Plan) -> float:
    """One tile of logits, and on a CPU its copies."""
    rows = min(plan.tokens, TILE_TOKENS)
    if plan.on_gpu:
        return float(rows * TILE_VOCAB * plan.compute)
    return rows * min(shape.vocab, TILE_VOCAB) * (plan.compute + 4 * TILE_COPIES)


def _few_logits(shape: Shape, plan: Plan) -> bool:
    """Tell whether all logits are made at once, as a CPU does with few of them."""
    few = 4 * plan.tokens * shape.vocab <= LOGITS_MIB * 2**20
    return few and not plan.on_gpu and plan.train.objective == "sft"


def _mapped(shape: Shape, plan: Plan) -> float:
    """Bytes of the largest file that a CPU holds beside the weights it converts from it.

    None where the weights are used as they are stored.
    """
    stored = shape.file_bytes / shape.parameters
    used = 4 if plan.full else plan.compute
    return 0.0 if plan.on_gpu or abs(stored - used) < 0.5 else float(shape.largest_file)


def _linear_weights(shape: Shape) -> int:
    """The number of weights of all matrices in all layers; with experts all but the embeddings."""
    if shape.experts:
        return shape.parameters - shape.embedding
    return shape.layers * sum(m.size for m in shape.linears)


def _learnt_bytes(plan: Plan) -> int:
    return 2 if plan.train.mode == "qlora" else 4


def _sharded(size: float, plan: Plan) -> float:
    """The part of `size` on one device: all, or under FSDP its share (Zhao et al. 2023).

    arXiv 2304.11277.
    """
    return size / plan.train.world_size if plan.train.sharding == "fsdp" else size
