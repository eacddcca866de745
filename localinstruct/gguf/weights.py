"""Weights of a GGUF file as safetensors in transformers' names, and their config.json.

Names are matched through a model of the config without weights: a tensor that is missing, over or
of another shape refuses the file. Quantized values are unpacked as they are; memory holds one file
of weights at a time. Not covered: mixtures of experts, positions scaled otherwise than linearly or
as Llama 3's.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localinstruct.errors import ModelError
from localinstruct.models.gguf_header import Header
from localinstruct.progress import Progress
from localinstruct.store.durable import write_text

if TYPE_CHECKING:
    import torch

SHARD_BYTES = 2 * 2**30
"""Of one file of weights, and so of memory."""
DTYPES = {"float32": 4, "float16": 2, "bfloat16": 2}
"""--dtype -> bytes of a weight."""
EXACT_BELOW = 10**9
"""Weights of a model that is written in float32 by default, so that no value is rounded."""
_SHAPE = {
    "max_position_embeddings": "context_length",
    "num_hidden_layers": "block_count",
    "intermediate_size": "feed_forward_length",
    "hidden_size": "embedding_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
}
"""Key of config.json -> llama.cpp's, after the architecture's name."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """An architecture of llama.cpp, and how transformers says it."""

    model_type: str
    turned: bool = False
    """The two halves of a query's or key's head are interleaved in the file."""
    norms_plus_one: bool = False
    """Weights of norms lie in the file with one added."""
    more: "Callable[[Header, dict[str, Any]], dict[str, Any]]" = lambda header, config: {}
    """Further keys of config.json, given the common ones."""


def _gemma(header: Header, config: dict[str, Any]) -> dict[str, Any]:
    """Gemma 2 and 3: windows, caps, and the scale of queries, which the file does not say.

    llama.cpp scales by a head's width too, but for the largest of each (27B), told by its layers.
    """
    largest = config["num_hidden_layers"] == {"gemma2": 46, "gemma3": 62}[header.architecture]
    width = config["hidden_size"] // config["num_attention_heads"]
    rope = config["rope_parameters"]
    local = header.number("rope.freq_base_swa") or 10_000.0
    near = {"rope_type": "default", "rope_theta": _plain(local)}
    two_kinds = {"full_attention": rope, "sliding_attention": near}
    return {
        "query_pre_attn_scalar": width if largest else config["head_dim"],
        "sliding_window": header.number("attention.sliding_window"),
        "attn_logit_softcapping": _plain(header.number("attn_logit_softcapping")),
        "final_logit_softcapping": _plain(header.number("final_logit_softcapping")),
        **({"rope_parameters": two_kinds} if header.architecture == "gemma3" else {}),
    }


def _phi(header: Header, config: dict[str, Any]) -> dict[str, Any]:
    """Phi 3 and 4: a part of each head may be turned by positions, and a window looked at."""
    turned = header.number("rope.dimension_count") or config["head_dim"]
    share = {"partial_rotary_factor": turned / config["head_dim"]}
    window = header.number("attention.sliding_window") or None
    return {"rope_parameters": config["rope_parameters"] | share, "sliding_window": window}


READ = {
    "llama": Architecture("llama", turned=True),
    "qwen2": Architecture("qwen2"),
    "qwen3": Architecture("qwen3"),
    "gemma2": Architecture("gemma2", norms_plus_one=True, more=_gemma),
    "gemma3": Architecture("gemma3_text", norms_plus_one=True, more=_gemma),
    "phi3": Architecture("phi3", more=_phi),
}
"""llama.cpp's name -> what is read here; Mistral's models are llama in GGUF."""
SET_ASIDE = ("rope_freqs.weight",)
"""Tensors that are no weights: they are said in config.json."""


def require_read(header: Header) -> Architecture:
    """The file's architecture; ModelError, with its name, for one that is not read here."""
    known = READ.get(header.architecture)
    if known is None:
        raise ModelError(
            f"{header.path}: expected one of {', '.join(READ)}, found the architecture "
            f"{header.architecture or 'unnamed'}.",
            "Bring the model it was made of, with its safetensors. "
            "Or have llama.cpp serve this file: `gguf: FILE` in models.yaml.",
        )
    return known


def default_dtype(header: Header) -> str:
    """The file's own where it is not quantized; else float32 for a small model, or bfloat16."""
    plain = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
    largest = next(iter(header.types), "")
    small = sum(header.types.values()) < EXACT_BELOW
    return plain.get(largest, "float32" if small else "bfloat16")


def size(header: Header, dtype: str) -> int:
    """Bytes of the weights that will be written."""
    return sum(header.types.values()) * DTYPES[dtype]


def config_of(header: Header, dtype: str) -> dict[str, Any]:
    """The keys of config.json; ModelError where the file lacks one or says what is not read."""
    architecture = require_read(header)
    values = {key: _plain(header.number(theirs)) for key, theirs in _SHAPE.items()}
    values["num_key_value_heads"] = values["num_key_value_heads"] or values["num_attention_heads"]
    if missing := [_SHAPE[key] for key, value in values.items() if not _is_number(value)]:
        raise ModelError(
            f"{header.path}: expected a number as {header.architecture}.{missing[0]}, found "
            f"{header.number(missing[0])!r}.",
            "Models whose layers differ in shape are not read; bring the safetensors.",
        )
    head = values["hidden_size"] // values["num_attention_heads"]
    ids = {f"{name}_token_id": header.token_id(name) for name in ("bos", "eos")}
    config = {
        "model_type": architecture.model_type,
        **values,
        "head_dim": header.number("attention.key_length") or head,
        "vocab_size": int(_embedding(header).shape[1]),
        "tie_word_embeddings": "output.weight" not in header.tensors,
        "rope_parameters": positions(header),
        "attention_bias": "blk.0.attn_output.bias" in header.tensors,
        "mlp_bias": "blk.0.ffn_down.bias" in header.tensors,
        **ids,
        "pad_token_id": header.token_id("padding"),
        "dtype": dtype,
    }
    return config | architecture.more(header, config)


def _plain(value: Any) -> Any:
    """A float as it was before it became one of 32 bits, such as 1e-05."""
    import numpy as np

    return float(str(np.float32(value))) if isinstance(value, float) else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and value > 0


def _embedding(header: Header) -> Any:
    found = header.tensors.get("token_embd.weight")
    if found is None:
        raise ModelError(
            f"{header.path}: no token_embd.weight in it: it holds a vocabulary or a part of a "
            "model, expected a whole one.",
            "Bring the whole file.",
        )
    return found


def positions(header: Header) -> dict[str, Any]:
    """The rope_parameters of config.json; ModelError for a scaling that is not read here."""
    theta = _plain(header.number("rope.freq_base") or 10_000.0)
    kind, factor = header.number("rope.scaling.type"), header.number("rope.scaling.factor")
    if "rope_freqs.weight" in header.tensors:
        return _stretched(header, theta)
    if kind == "linear" and factor:
        return {"rope_type": "linear", "rope_theta": theta, "factor": float(factor)}
    if kind not in (None, "none") or any("rope_factors" in name for name in header.tensors):
        raise ModelError(
            f"{header.path}: its positions are scaled as {kind or 'longrope'}, and only linear and "
            "Llama 3's scaling are read.",
            "Bring the model it was made of, with its safetensors.",
        )
    return {"rope_type": "default", "rope_theta": theta}


def _stretched(header: Header, theta: float) -> dict[str, Any]:
    """Llama 3's scaling, found again by its factors; each of its models has one of a few."""
    import numpy as np
    import torch

    given = torch.from_numpy(np.array(header.tensors["rope_freqs.weight"].data, np.float32))
    for factor in (8.0, 32.0, 16.0, 4.0):
        for context in (8192, 4096, 2048, 16384):
            parameters = {
                "rope_type": "llama3",
                "rope_theta": theta,
                "factor": factor,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": context,
            }
            if torch.allclose(_factors(parameters, len(given)), given, rtol=1e-3):
                return parameters
    flat = float(given[0])
    if torch.allclose(given, torch.full_like(given, flat)):
        return {"rope_type": "linear", "rope_theta": theta, "factor": flat}
    raise ModelError(
        f"{header.path}: its positions are stretched by factors (rope_freqs) that no Llama 3 has.",
        "Bring the model it was made of, with its safetensors.",
    )


def _factors(parameters: dict[str, Any], count: int) -> "torch.Tensor":
    """Llama 3's factors of `count` frequencies: wave lengths in tokens decide (Llama 3.1)."""
    import math

    import torch

    steps = torch.arange(0, 2 * count, 2, dtype=torch.float32) / (2 * count)
    waves = 2 * math.pi * parameters["rope_theta"] ** steps
    turns = parameters["original_max_position_embeddings"] / waves
    low, high = parameters["low_freq_factor"], parameters["high_freq_factor"]
    smooth = ((turns - low) / (high - low)).clamp(0, 1)
    return 1 / ((1 - smooth) / parameters["factor"] + smooth)


def write_weights(header: Header, folder: Path, dtype: str, progress: Progress) -> None:
    """Write config.json and the weights into `folder`; ModelError where they do not fit."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(**config_of(header, dtype))
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config)
    config.architectures = [type(empty).__name__]
    config.save_pretrained(folder)
    sources = _sources(header, config, dict(empty.state_dict()))
    shards = list(_shards({key: empty.state_dict()[key].numel() for key in sources}, DTYPES[dtype]))
    places: dict[str, str] = {}
    done = 0
    for number, keys in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        name = name if len(shards) > 1 else "model.safetensors"
        weights = {}
        for key in keys:
            values = _unpacked(header, sources[key], key, config)
            weights[key] = values.to(getattr(torch, dtype)).contiguous()
            done += 1
            progress.update("unpacking weights", done, len(sources))
        save_file(weights, folder / name, metadata={"format": "pt"})
        places |= dict.fromkeys(keys, name)
    if len(shards) > 1:
        index = {"metadata": {"total_size": size(header, dtype)}, "weight_map": places}
        write_text(folder / "model.safetensors.index.json", json.dumps(index, indent=2))


def _sources(header: Header, config: Any, wanted: "dict[str, torch.Tensor]") -> dict[str, str]:
    """Transformers' name -> the file's, for every weight; ModelError where they do not match."""
    import gguf

    arch = next(each for each, name in gguf.MODEL_ARCH_NAMES.items() if name == header.architecture)
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    found, problems = {}, []
    for key, weight in wanted.items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        theirs = names.get_name(key, try_suffixes=(".weight", ".bias"))
        tensor = header.tensors.get(theirs or "")
        shape = tuple(int(n) for n in reversed(tensor.shape)) if tensor else None
        if theirs is None or shape != tuple(weight.shape):
            problems.append(f"{theirs or key} is {shape or 'missing'}, not {tuple(weight.shape)}")
        else:
            found[key] = theirs
    over = set(header.tensors) - set(found.values()) - set(SET_ASIDE)
    problems += [f"{name} has no place in a {config.model_type}" for name in sorted(over)]
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ModelError(
            f"{header.path}: its weights do not fit its architecture {header.architecture}: "
            f"{'; '.join(problems[:3])}{more}.",
            "Bring the model it was made of, with its safetensors.",
        )
    return found


def _shards(counts: dict[str, int], width: int) -> Iterator[list[str]]:
    """Names in order, so many together as one file holds; `counts` are weights, `width` bytes."""
    keys: list[str] = []
    filled = 0
    for key, count in counts.items():
        if keys and filled + count * width > SHARD_BYTES:
            yield keys
            keys, filled = [], 0
        keys.append(key)
        filled += count * width
    if keys:
        yield keys


def _unpacked(header: Header, name: str, key: str, config: Any) -> "torch.Tensor":
    """A weight in float32, in transformers' order of rows."""
    import gguf
    import torch

    tensor = header.tensors[name]
    values = torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type).copy())
    values = values.reshape(*(int(n) for n in reversed(tensor.shape)))
    module = key.rsplit(".", 2)[-2]
    if READ[header.architecture].turned and module in ("q_proj", "k_proj"):
        heads = config.num_attention_heads if module == "q_proj" else config.num_key_value_heads
        pairs = values.reshape(heads, values.shape[0] // heads // 2, 2, *values.shape[1:])
        values = pairs.swapaxes(1, 2).reshape(values.shape)
    if READ[header.architecture].norms_plus_one and module.endswith("norm"):
        values = values - 1
    return values
