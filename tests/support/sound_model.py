"""A model directory that passes the preflight, and ways to change it; for tests."""

import json
import struct
from pathlib import Path
from typing import Any

TWO = {
    "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
    "b": {"dtype": "BF16", "shape": [3], "data_offsets": [16, 22]},
}
INDEX = "model.safetensors.index.json"
SHARDS = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}


def weights(path: Path, header: Any = TWO, data: int = 22, length: int | None = None) -> None:
    """A safetensors file with this header (JSON or bytes), this claimed length and so many bytes of
    data."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + bytes(data))


def dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def sound_model(tmp_path: Path) -> Path:
    """A sound model of 7 parameters, with a template and a README."""
    folder = tmp_path / "sound"
    folder.mkdir()
    dump(
        folder / "config.json",
        {"model_type": "llama", "max_position_embeddings": 512, "architectures": ["X"]},
    )
    dump(folder / "tokenizer.json", {"model": {"vocab": {"auto_map": 5, "trust_remote_code": 6}}})
    dump(folder / "tokenizer_config.json", {"chat_template": "{{ messages }}"})
    (folder / "README.md").write_text(
        "---\ntags: [x]\nlicense: apache-2.0\n---\n# Sound\nlicense: other-words\n"
    )
    weights(folder / "model.safetensors")
    return folder


def shard(folder: Path, weight_map: Any) -> None:
    """Turn the model into two shards with an index."""
    (folder / "model.safetensors").unlink()
    weights(folder / "model-00001-of-00002.safetensors", {"a": TWO["a"]}, 16)
    weights(
        folder / "model-00002-of-00002.safetensors", {"b": {**TWO["b"], "data_offsets": [0, 6]}}, 6
    )
    dump(folder / INDEX, {"weight_map": weight_map})


def encoder(folder: Path, type_name: str) -> None:
    dump(folder / "modules.json", [{"idx": 0, "path": "", "type": type_name}])
