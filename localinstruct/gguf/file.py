"""A merged student as one GGUF file, in llama.cpp's names: metadata, tokenizer, weights.

For the architectures of `WRITTEN`. Weights are written one by one, so that memory holds one of
them. Llama's query and key weights are put into the order in which llama.cpp turns them; what
stretches positions (linear, Llama 3) is written as the factors of the student's own frequencies.
Not covered: scalings that change with the length of a text.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localinstruct.errors import TrainerError
from localinstruct.gguf.vocabulary import HINT, Vocabulary
from localinstruct.templates.rendered import end_of_turn, rendered

if TYPE_CHECKING:
    import gguf
    import numpy as np
    import torch
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

WRITTEN = {"llama": "LLAMA", "qwen2": "QWEN2", "qwen3": "QWEN3"}
"""model_type of config.json -> architecture of GGUF."""
PRECISIONS = ("auto", "f32", "f16", "bf16", "q8_0")
"""Values of --precision; auto is what the merged weights have. Vectors stay in f32."""
FILE_TYPES = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0"}
SET_BY_LLAMA_CPP: dict[str, object] = {
    "date_string": "D0today",
    "datetime": "D0today",
    "enable_thinking": True,
    "tools_in_user_message": False,
}
"""Names that llama.cpp gives a chat template, unasked, with a value of their kind."""
DTYPES = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}


def write_file(
    folder: Path,
    file: Path,
    tokenizer: "PreTrainedTokenizerBase",
    words: Vocabulary,
    about: dict[str, str],
    precision: str = "auto",
) -> str:
    """Write the merged student in `folder` to `file`; the precision of its matrices.

    `about` has the name, the base and its licence. TrainerError for a student that GGUF has no
    words for.
    """
    import gguf
    import numpy as np

    config = require_known(folder)
    if precision == "auto":
        precision = DTYPES[str(config.dtype).removeprefix("torch.")]
    arch = gguf.MODEL_ARCH[WRITTEN[config.model_type]]
    writer = gguf.GGUFWriter(file, gguf.MODEL_ARCH_NAMES[arch])
    _describe(writer, config, about, precision)
    _write_tokenizer(writer, tokenizer, words)
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    places = dict(_places(folder, config, names))
    factors = _frequency_factors(config)
    for name, (_, shape) in places.items():
        kind = _kind(shape, precision)
        writer.add_tensor_info(name, shape, np.dtype(np.float32), _bytes_of(shape, kind), kind)
    if factors is not None:
        writer.add_tensor_info("rope_freqs.weight", factors.shape, factors.dtype, factors.nbytes)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for (path, key), shape in places.values():
        matrix = _ordered(_load(path, key), key, config)
        writer.write_tensor_data(gguf.quants.quantize(matrix, _kind(shape, precision)))
    if factors is not None:
        writer.write_tensor_data(factors)
    writer.close()
    return precision


def require_known(folder: Path) -> "PreTrainedConfig":
    """The model's config; TrainerError where GGUF has no words for what it does."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
    problem = ""
    if config.hidden_act != "silu":
        problem = f"its activation is {config.hidden_act}, not silu"
    elif getattr(config, "use_sliding_window", False):
        problem = "it looks at a sliding window of the text"
    if problem:
        raise TrainerError(f"The student cannot be written as GGUF: {problem}.", HINT)
    _frequency_factors(config)
    return config


def _describe(
    writer: "gguf.GGUFWriter", config: "PreTrainedConfig", about: dict[str, str], precision: str
) -> None:
    """Metadata: the model's name and origin, its sizes, its positions."""
    import gguf

    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_name(about["name"])
    writer.add_base_model_count(1)
    writer.add_base_model_name(0, about["base"])
    writer.add_license(about["licence"])
    writer.add_file_type(gguf.LlamaFileType[FILE_TYPES[precision]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads or config.num_attention_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_vocab_size(config.vocab_size)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(float(config.rope_parameters["rope_theta"]))


def _write_tokenizer(
    writer: "gguf.GGUFWriter", tokenizer: "PreTrainedTokenizerBase", words: Vocabulary
) -> None:
    """The vocabulary, special tokens, and the chat templates, the default one first."""
    writer.add_tokenizer_model(words.model)
    writer.add_tokenizer_pre(words.pre)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.types)
    if words.merges:
        writer.add_token_merges(words.merges)
    if words.scores:
        writer.add_token_scores(words.scores)
        writer.add_add_space_prefix(words.space_prefix)
    end = end_of_turn(tokenizer)
    ids = {
        writer.add_bos_token_id: tokenizer.bos_token_id,
        writer.add_eos_token_id: tokenizer.eos_token_id,
        writer.add_eot_token_id: tokenizer.convert_tokens_to_ids(end) if end else None,
        writer.add_unk_token_id: tokenizer.unk_token_id,
        writer.add_pad_token_id: tokenizer.pad_token_id,
    }
    for add, number in ids.items():
        if isinstance(number, int):
            add(number)
    writer.add_add_bos_token(adds_bos(tokenizer))
    writer.add_add_eos_token(False)
    named = tokenizer.chat_template
    templates = named if isinstance(named, dict) else {"default": named} if named else {}
    if "default" in templates:
        templates = {**templates, "default": as_trained(templates["default"], tokenizer)}
    writer.add_chat_template([{"name": n, "template": text} for n, text in templates.items()])


def as_trained(template: str, tokenizer: "PreTrainedTokenizerBase") -> str:
    """The chat template, deaf to names that llama.cpp sets by itself and training did not.

    Llama 3.1 would write today's date in place of its own, Gemma 4 would begin to think. A name
    that is set to another that nobody knows counts as undefined.
    """
    turns = [{"role": "user", "content": "x"}]
    talks = [turns, [{"role": "system", "content": "y"}, *turns]]
    plain = [rendered(tokenizer, turns, add_generation_prompt=True) for turns in talks]
    names = [
        name
        for name, value in SET_BY_LLAMA_CPP.items()
        if plain
        != [rendered(tokenizer, t, add_generation_prompt=True, **{name: value}) for t in talks]
    ]
    return "".join(f"{{%- set {name} = nobody_sets_this -%}}" for name in names) + template


def adds_bos(tokenizer: "PreTrainedTokenizerBase") -> bool:
    """True when prompts of this student begin with the beginning-of-text token.

    llama.cpp puts it before every prompt or before none, a chat's too; so a chat template that does
    not write it decides, as the student was trained without it.
    """
    begin = tokenizer.bos_token
    ids = tokenizer("x")["input_ids"]
    if not begin or not ids or ids[0] != tokenizer.bos_token_id:
        return False
    if not tokenizer.chat_template:
        return True
    question = [{"role": "user", "content": "x"}]
    text = tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
    return str(text).startswith(begin)


def _places(
    folder: Path, config: "PreTrainedConfig", names: "gguf.TensorNameMap"
) -> Iterator[tuple[str, tuple[tuple[Path, str], tuple[int, ...]]]]:
    """GGUF's name -> (file and name of the tensor, its shape), in the order of the files."""
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as weights:
            for key in weights.keys():  # noqa: SIM118
                if key == "lm_head.weight" and config.tie_word_embeddings:
                    continue
                name = names.get_name(key, try_suffixes=(".weight", ".bias"))
                if name is None:
                    raise TrainerError(
                        f"The student cannot be written as GGUF: it has weights named {key}, "
                        f"which llama.cpp's {config.model_type} has not.",
                        HINT,
                    )
                yield name, ((path, key), tuple(weights.get_slice(key).get_shape()))


def _load(path: Path, key: str) -> "torch.Tensor":
    from safetensors import safe_open

    with safe_open(path, framework="pt") as weights:
        return weights.get_tensor(key)


def _ordered(
    weight: "torch.Tensor", key: str, config: "PreTrainedConfig"
) -> "np.ndarray[Any, Any]":
    """A weight in float32; Llama's queries and keys with the two halves of a head interleaved."""
    module = key.rsplit(".", 2)[-2]
    if config.model_type == "llama" and module in ("q_proj", "k_proj"):
        queries, keys = config.num_attention_heads, config.num_key_value_heads
        heads = queries if module == "q_proj" else keys or queries
        halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
        weight = halves.swapaxes(1, 2).reshape(weight.shape)
    return weight.float().contiguous().numpy()


def _frequency_factors(config: "PreTrainedConfig") -> "np.ndarray[Any, Any] | None":
    """What each frequency of the positions is divided by, or None for none; in float32."""
    import torch
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    kind = config.rope_parameters.get("rope_type", "default")
    if kind == "default":
        return None
    rotary = LlamaRotaryEmbedding(config)
    if kind not in ("linear", "llama3") or rotary.attention_scaling != 1.0:
        raise TrainerError(
            f"The student cannot be written as GGUF: its positions are scaled by {kind}, and only "
            "linear and llama3 are written.",
            HINT,
        )
    width = 2 * len(rotary.inv_freq)
    steps = torch.arange(0, width, 2, dtype=torch.float32) / width
    plain = 1.0 / (config.rope_parameters["rope_theta"] ** steps)
    return (plain / rotary.inv_freq).float().numpy()


def _kind(shape: tuple[int, ...], precision: str) -> "gguf.GGMLQuantizationType":
    """How a weight is stored: vectors in f32, rows that q8_0's blocks do not fit in f16."""
    import gguf

    if len(shape) == 1:
        return gguf.GGMLQuantizationType.F32
    if precision == "q8_0" and shape[-1] % gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType.Q8_0][0]:
        return gguf.GGMLQuantizationType.F16
    return gguf.GGMLQuantizationType[precision.upper()]


def _bytes_of(shape: tuple[int, ...], kind: "gguf.GGMLQuantizationType") -> int:
    import gguf
    import numpy as np

    block, size = gguf.GGML_QUANT_SIZES[kind]
    return int(np.prod(shape)) // block * size
