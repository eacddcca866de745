"""Memory of a training in bytes, from the student's shape and the recipe: what is held at its worst
moments.

Weights, gradients and optimizer are counted as Rajbhandari et al. 2020 (ZeRO, arXiv 1910.02054,
§3.1) count them. The activations are those that PyTorch keeps for the backward pass in
transformers' Llama layers, tensor by tensor (read off with
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
"""What -> bytes."""

NF4_BYTES = 0.516
"""Per weight: 4 bits, and 0.127 bits of doubly quantised constants (Dettmers et al. 2023, arXiv
2305.14314, §3)."""
TILE_TOKENS, TILE_VOCAB = 4096, 32_768
"""Tokens and vocabulary of one tile of logits in TRL's loss (trl/kernels/chunked_logprob.py)."""
TILE_COPIES = 6.25
"""float32 copies of a tile that the loss in plain PyTorch holds at once in its backward pass; its
Triton form has none."""
HEAP_HOLES = 0.5
"""On a CPU: unused memory between activations, as a share of them, that glibc's allocator does not
give back; measured (`benchmarks`, section f). With its mmap threshold fixed low it is gone, and
every tensor costs page faults."""
MMAP_LARGEST = 32 * 2**20
"""Bytes from which glibc always gives a tensor pages of its own (DEFAULT_MMAP_THRESHOLD_MAX,
mallopt(3))."""
LOGIT_BYTES = 12
"""Per logit of the held-out loss (`student.mean_loss`): logits, those of learnt tokens, their log
softmax, in float32."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What of a recipe and its `Setup` shapes the memory of one device."""

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
        """Whether all weights are learnt."""
        return self.train.mode == "full"

    @property
    def autocast(self) -> bool:
        """Whether layers compute on 16-bit copies of their input."""
        return self.compute == 2

    @property
    def tokens(self) -> int:
        """Tokens on the device at once; dpo has the chosen and the rejected answer of every row."""
        return self.rows * self.length * (2 if self.train.objective == "dpo" else 1)


def plan(train: Train, setup: Setup, shape: Shape, held_out: bool) -> Plan:
    """The plan of a training with this setup, every row as long as it may be."""
    length = min(train.max_length, shape.context or train.max_length)
    compute = 4 if setup.device.dtype == "float32" else 2
    flash = setup.attention == FLASH
    return Plan(
        train,
        setup.device.name != "cpu",
        compute,
        setup.device_batch,
        length,
        setup.accumulate,
        flash,
        held_out,
    )


def peak(shape: Shape, made: Plan) -> tuple[str, Parts]:
    """(moment, its parts) of the moment that needs most."""
    return max(moments(shape, made).items(), key=lambda item: sum(item[1].values()))


def moments(shape: Shape, made: Plan) -> dict[str, Parts]:
    """Moment of the training -> its parts, on one device, without the libraries themselves."""
    held = {"weights": weights(shape, made), "optimizer": optimizer(shape, made)}
    grown = {"gradients": gradients(shape, made)}
    kept = grown if made.accumulate > 1 else {}  # they stay from one batch of a step to the next
    found: dict[str, Parts] = {
        "loading": {"weights": weights(shape, made), "files": _mapped(shape, made)},
        "backward": {
            **held,
            **kept,
            "activations": activations(shape, made),
            "loss": backward_buffers(shape, made),
            "holes": holes(shape, made),
        },
        "optimizer step": {**held, **grown},
    }
    if made.held_out:
        logits = float(LOGIT_BYTES * made.rows * made.length * shape.vocab)
        found["held-out loss"] = {**held, "loss": logits}
    return found


def weights(shape: Shape, made: Plan) -> float:
    """Of the student, its adapter and, for dpo with all weights learnt, the second copy that is the
    reference.

    All weights learnt: 4 bytes each. Adapter: the base in the precision computed with, or in 4 bits
    but for embeddings and norms; the adapter in float32 (PEFT's autocast_adapter_dtype), in bf16 on
    a 4-bit base (TRL).
    """
    if made.full:
        copies = 2 if made.train.objective == "dpo" else 1
        return copies * _sharded(4.0 * shape.parameters, made)
    base = float(made.compute * shape.parameters)
    if made.train.mode == "qlora":
        quantised = min(_linear_weights(shape), shape.parameters)
        base = NF4_BYTES * quantised + 2 * (shape.parameters - quantised)
    return _sharded(base + trainable(shape, made) * _learnt_bytes(made), made)


def trainable(shape: Shape, made: Plan) -> int:
    """Weights that are learnt: all, or r·(inputs + outputs) for each adapted matrix, and with DoRA
    its lengths.

    Hu et al. 2021 (arXiv 2106.09685, §4); Liu et al. 2024 (arXiv 2402.09353, §4.1).
    """
    if made.full:
        return shape.parameters
    lora = made.train.lora
    one = sum(
        lora.r * (m.inputs + m.outputs) + lora.use_dora * m.outputs for m in adapted(shape, made)
    )
    return shape.layers * one


def adapted(shape: Shape, made: Plan) -> tuple[Linear, ...]:
    """The matrices of a layer that get an adapter; all of them where target_modules names none of
    ours."""
    wanted = made.train.lora.target_modules
    names = [wanted] if isinstance(wanted, str) else wanted
    return tuple(m for m in shape.linears if m.name in names) or shape.linears


def gradients(shape: Shape, made: Plan) -> float:
    """One number per learnt weight, in its precision; several devices that each hold all keep a
    second copy to send (DDP)."""
    size = trainable(shape, made) * _learnt_bytes(made)
    return _sharded(size, made) * (
        2 if made.train.devices > 1 and made.train.sharding == "none" else 1
    )


def optimizer(shape: Shape, made: Plan) -> float:
    """AdamW: two running means per learnt weight, in its precision (Loshchilov and Hutter 2019,
    arXiv 1711.05101)."""
    return _sharded(2 * trainable(shape, made) * _learnt_bytes(made), made)


def activations(shape: Shape, made: Plan) -> float:
    """What is kept for the backward pass of all layers; with checkpointing each layer's input, and
    one layer whole."""
    layer = made.tokens * token_bytes(shape, made) + layer_bytes(shape, made)
    stream = 4 if made.full else made.compute  # bytes of a number between layers
    last = (
        made.tokens * shape.hidden * ((8 if made.full else 4) + made.compute)
    )  # final norm, input of the output layer
    if made.train.gradient_checkpointing:
        return float(shape.layers * made.tokens * shape.hidden * stream + layer + last)
    return float(shape.layers * layer + last)


def holes(shape: Shape, made: Plan) -> float:
    """Memory of a CPU that is held and not used at the worst moment; a GPU's allocator keeps its
    own in pools (`assess`).

    Between the activations of tokens; or, where they are fewer, where the loss's tiles of the
    forward pass were: glibc keeps what is below its largest mmap threshold and does not find room
    for the tiles of the backward pass in it.
    """
    if made.on_gpu:
        return 0.0
    layers = 1 if made.train.gradient_checkpointing else shape.layers
    between = HEAP_HOLES * (activations(shape, made) - layers * layer_bytes(shape, made))
    copy = 4 * min(made.tokens, TILE_TOKENS) * min(shape.vocab, TILE_VOCAB)
    return max(
        between,
        _tiles(shape, made) if copy < MMAP_LARGEST and not _few_logits(shape, made) else 0.0,
    )


def token_bytes(shape: Shape, made: Plan) -> float:
    """Bytes kept per token in one layer: norms, attention, MLP, and the inputs of what is learnt.

    norms      input in float32, twice; where their weights are learnt also the normed values
    attention  queries, keys and values (repeated to all heads, but by FlashAttention), output; the sum of its exponents
    MLP        gate, activated gate and up; without a gate, the value before the activation
    inputs     of the matrices whose gradient needs them, see `_input_bytes`
    """
    keys = shape.kv if made.flash or shape.kv_heads == 1 else shape.query
    mask = (
        0 if made.flash or made.on_gpu else made.length * made.compute
    )  # the padding mask as numbers, in every layer
    norms = 4 * shape.hidden * (4 if made.full else 2)
    attention = made.compute * (2 * shape.query + 2 * keys) + mask + 4 * shape.heads
    mlp = made.compute * shape.mlp * (3 if shape.gated else 1)
    return norms + attention + mlp + _input_bytes(shape, made)


def _input_bytes(shape: Shape, made: Plan) -> float:
    """Inputs of matrices per token and layer.

    All learnt: each distinct one, or in 16 bits a copy for each matrix. Adapters: with dropout (TRL
    takes it out for dpo) each matrix has its own dropped input and the mask (numbers in float32 on
    a CPU, one byte on a GPU), and r numbers between A and B. DoRA keeps two outputs of each matrix
    besides.
    """
    e = made.compute
    of_hidden = [m for m in shape.linears if m.inputs == shape.hidden and m.name != "o_proj"]
    shared = e * (shape.hidden * (len(of_hidden) if made.autocast else 2) + shape.mlp)
    if made.full:
        return shared
    matrices, lora = adapted(shape, made), made.train.lora
    between = e * lora.r * len(matrices) + (
        2 * e * sum(m.outputs for m in matrices) if lora.use_dora else 0
    )
    if lora.dropout and made.train.objective == "sft":
        return between + (e + (1 if made.on_gpu else 4)) * sum(m.inputs for m in matrices)
    return between + (e * sum(m.inputs for m in matrices) if made.autocast else shared)


def layer_bytes(shape: Shape, made: Plan) -> float:
    """Bytes kept in one layer whatever the tokens: 16-bit copies of float32 weights, and what DoRA
    makes of its own.

    DoRA multiplies A and B with a unit matrix as wide as the input, for the length of the update
    (peft/tuners/lora/dora.py).
    """
    own, matrices, e, r = (
        sum(m.size for m in shape.linears),
        adapted(shape, made),
        made.compute,
        made.train.lora.r,
    )
    if made.full:
        return float(e * own) if made.autocast else 0.0
    copies = e * r * sum(m.inputs + m.outputs for m in matrices) if made.autocast else 0
    if not made.train.lora.use_dora:
        return float(copies)
    units = sum(e * m.inputs * (m.inputs + r) + 12 * m.outputs for m in matrices)
    return float(copies + units + (e * own if made.autocast and made.train.lora.dropout else 0))


def backward_buffers(shape: Shape, made: Plan) -> float:
    """What the start of the backward pass needs for itself: of the loss and of the last layer, the
    larger.

    The loss: a tile of logits (with its float32 copies where there is no Triton, that is on a CPU;
    or all logits, where they are few: `training/loss.py`), the gradient of its input, and of the
    output layer where that is learnt.
    """
    logits = 16.0 * made.tokens * shape.vocab  # logits, their log softmax and both gradients
    loss = logits if _few_logits(shape, made) else _tiles(shape, made)
    loss += 4 * made.tokens * shape.hidden + (4 * shape.vocab * shape.hidden if made.full else 0)
    layer = made.tokens * made.compute * (3 * shape.mlp + 2 * shape.hidden)
    return float(max(loss, layer))


def _tiles(shape: Shape, made: Plan) -> float:
    """One tile of logits, and on a CPU its copies."""
    rows = min(made.tokens, TILE_TOKENS)
    if made.on_gpu:
        return float(rows * TILE_VOCAB * made.compute)
    return rows * min(shape.vocab, TILE_VOCAB) * (made.compute + 4 * TILE_COPIES)


def _few_logits(shape: Shape, made: Plan) -> bool:
    """Whether all logits are made at once, as a CPU does with few of them."""
    few = 4 * made.tokens * shape.vocab <= LOGITS_MIB * 2**20
    return few and not made.on_gpu and made.train.objective == "sft"


def _mapped(shape: Shape, made: Plan) -> float:
    """Pages of the largest file that a CPU holds beside the weights made of it; none where they are
    used as they are."""
    stored = shape.file_bytes / shape.parameters
    wanted = 4 if made.full else made.compute
    return 0.0 if made.on_gpu or abs(stored - wanted) < 0.5 else float(shape.largest_file)


def _linear_weights(shape: Shape) -> int:
    """Weights of all matrices in all layers; of experts, all that are neither embeddings nor
    norms."""
    if shape.experts:
        return shape.parameters - shape.embedding
    return shape.layers * sum(m.size for m in shape.linears)


def _learnt_bytes(made: Plan) -> int:
    return 2 if made.train.mode == "qlora" else 4


def _sharded(size: float, made: Plan) -> float:
    """What one device holds of it: all, or its part under FSDP (Zhao et al. 2023, arXiv
    2304.11277)."""
    return size / made.train.devices if made.train.sharding == "fsdp" else size
