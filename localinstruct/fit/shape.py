"""A model's size and shape, from config.json and the headers of its safetensors files.

The weights are never read. Where a model is not on this disk, only its entry in models.yaml is
known, with parameters and context. Then the shape is that of the published dense model nearest in
size, and `source` says so. Not covered: attention that keeps less than every token (sliding
windows, latent or linear attention): for those the numbers are upper bounds.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from localinstruct.models.catalog import BYTES_PER_PARAMETER, ModelSpec, Precision
from localinstruct.models.completeness import transformer_folder, weight_files
from localinstruct.models.json_files import load_object
from localinstruct.models.safetensors import read_header
from localinstruct.records import JsonObject

PLAIN_MLP = {
    "gpt2",
    "gpt_neox",
    "gptj",
    "opt",
    "bloom",
    "falcon",
    "phi",
    "starcoder2",
    "bert",
    "roberta",
    "xlm-roberta",
    "mpnet",
    "distilbert",
}
"""Model types whose MLP has no gate: two matrices, not three."""
DEFAULT_VOCAB = 32_000


@dataclass(frozen=True, slots=True)
class Linear:
    """One kind of matrix in every layer, (outputs, inputs)."""

    name: str
    inputs: int
    outputs: int

    @property
    def size(self) -> int:
        """Weights of one such matrix."""
        return self.inputs * self.outputs


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a transformer, as the arithmetic of `fit` needs them."""

    name: str
    source: str
    """Origin of these figures: "config.json", or what they were guessed from."""
    parameters: int
    file_bytes: int
    """Bytes of the safetensors files; 2 per parameter where there are none to look at."""
    largest_file: int
    layers: int
    hidden: int
    mlp: int
    """Width of the MLP a token passes through: with experts, of all active ones together."""
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    context: int
    tied: bool = True
    """True when the output layer is the embedding."""
    gated: bool = True
    experts: bool = False

    @property
    def query(self) -> int:
        """Width of all query heads."""
        return self.heads * self.head_dim

    @property
    def kv(self) -> int:
        """Width of all key heads, and of all value heads."""
        return self.kv_heads * self.head_dim

    @property
    def linears(self) -> tuple[Linear, ...]:
        """The matrices of one layer, without those of experts.

        Experts are no Linear layers in transformers 5 and get no adapter.
        """
        attention = (
            Linear("q_proj", self.hidden, self.query),
            Linear("k_proj", self.hidden, self.kv),
            Linear("v_proj", self.hidden, self.kv),
            Linear("o_proj", self.query, self.hidden),
        )
        if self.experts:
            return attention
        gate = (Linear("gate_proj", self.hidden, self.mlp),) if self.gated else ()
        return (
            *attention,
            *gate,
            Linear("up_proj", self.hidden, self.mlp),
            Linear("down_proj", self.mlp, self.hidden),
        )

    @property
    def embedding(self) -> int:
        """Weights of the embedding, and of the output layer where that is another matrix."""
        return self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def guessed(self) -> bool:
        """True when the shape is another model's."""
        return self.source != "config.json"


def count(shape: Shape) -> int:
    """The number of weights of a dense decoder of this shape.

    Embeddings, matrices, two norms a layer and one at the end.
    """
    layer = sum(linear.size for linear in shape.linears) + 2 * shape.hidden
    return shape.embedding + shape.layers * layer + shape.hidden


Sizes = tuple[int, int, int, int, int, int, int]
"""The fields of Shape from layers to vocab."""


def _published(name: str, parameters: float, sizes: Sizes, tied: bool) -> Shape:
    weights = int(parameters)
    files = (2 * weights, min(2 * weights, 5 * 10**9))
    return Shape(name, f"the shape of {name}", weights, *files, *sizes, 0, tied)


PUBLISHED = (
    _published("SmolLM2-135M", 134.5e6, (30, 576, 1536, 9, 3, 64, 49_152), True),
    _published("Qwen2.5-0.5B", 494e6, (24, 896, 4864, 14, 2, 64, 151_936), True),
    _published("Llama-3.2-1B", 1.236e9, (16, 2048, 8192, 32, 8, 64, 128_256), True),
    _published("Qwen2.5-1.5B", 1.544e9, (28, 1536, 8960, 12, 2, 128, 151_936), True),
    _published("Llama-3.2-3B", 3.213e9, (28, 3072, 8192, 24, 8, 128, 128_256), True),
    _published("Qwen3-4B", 4.022e9, (36, 2560, 9728, 32, 8, 128, 151_936), True),
    _published("Llama-3.1-8B", 8.03e9, (32, 4096, 14_336, 32, 8, 128, 128_256), False),
    _published("Qwen3-8B", 8.19e9, (36, 4096, 12_288, 32, 8, 128, 151_936), False),
    _published("Qwen3-14B", 14.77e9, (40, 5120, 17_408, 40, 8, 128, 151_936), False),
    _published("Qwen3-32B", 32.76e9, (64, 5120, 25_600, 64, 8, 128, 151_936), False),
    _published("Llama-3.1-70B", 70.55e9, (80, 8192, 28_672, 64, 8, 128, 128_256), False),
)
"""Dense models with the figures of their published config.json.

A test counts their weights from these figures.
"""


def shape_of(spec: ModelSpec) -> Shape | None:
    """The shape of a model of models.yaml.

    None for what others or llama.cpp serve, and where neither files nor parameters are known.
    """
    if spec.served:
        return None
    if spec.present and (shape := read_shape(spec.directory, spec.name)):
        return shape
    if not spec.parameters:
        return None
    near, weights = guessed(spec.name, spec.parameters, spec.context), spec.parameters
    sizes = [gib for kind, gib in spec.memory_gib.items() if not _computed(weights, kind, gib)]
    return replace(near, file_bytes=round(min(sizes) * 2**30)) if sizes else near


def _computed(parameters: int, kind: Precision, gib: float) -> bool:
    """Tell whether this size was computed here, and not written in models.yaml.

    A size that is written there is that of the published files.
    """
    return abs(gib - parameters * BYTES_PER_PARAMETER[kind] / 2**30) < 0.01


def guessed(name: str, parameters: int, context: int) -> Shape:
    """The published shape nearest in size, with these parameters and this context."""
    near = min(PUBLISHED, key=lambda shape: abs(math.log(shape.parameters / parameters)))
    source = f"models.yaml: {parameters:,} parameters, the shape of {near.name}"
    size = 2 * parameters
    return replace(
        near,
        name=name,
        source=source,
        parameters=parameters,
        file_bytes=size,
        context=context,
        largest_file=min(size, 5 * 10**9),
    )


def read_shape(directory: Path, name: str) -> Shape | None:
    """The shape of a model directory, or None when its config.json does not tell."""
    core = transformer_folder(directory)
    config = load_object(core / "config.json")
    inner = config.get("text_config")
    config = config | inner if isinstance(inner, dict) else config
    hidden = _number(config, "hidden_size", "n_embd", "d_model")
    layers = _number(config, "num_hidden_layers", "n_layer")
    heads = _number(config, "num_attention_heads", "n_head")
    files = weight_files(directory)
    if not (hidden and layers and heads and files):
        return None
    sizes = [path.stat().st_size for path in files]
    experts = _number(config, "num_experts_per_tok", "num_experts_per_token")
    return Shape(
        name,
        "config.json",
        sum(read_header(path).parameters for path in files),
        sum(sizes),
        max(sizes),
        layers,
        hidden,
        mlp=_mlp(config, hidden, experts),
        heads=heads,
        kv_heads=_number(config, "num_key_value_heads") or heads,
        head_dim=_number(config, "head_dim") or hidden // heads,
        vocab=_number(config, "vocab_size") or DEFAULT_VOCAB,
        context=_number(config, "max_position_embeddings", "n_positions") or 2048,
        tied=bool(config.get("tie_word_embeddings", True)),
        gated=str(config.get("model_type")) not in PLAIN_MLP,
        experts=bool(experts),
    )


def _mlp(config: JsonObject, hidden: int, experts: int) -> int:
    """Width of the MLP; where there are experts, of the active ones together."""
    dense = _number(config, "intermediate_size", "n_inner", "ffn_dim", "d_ff") or 4 * hidden
    return experts * (_number(config, "moe_intermediate_size") or dense) if experts else dense


def _number(config: JsonObject, *keys: str) -> int:
    """The first of these keys that holds a whole number above 0, else 0."""
    return next((value for key in keys if type(value := config.get(key)) is int and value > 0), 0)
