"""Parts of a model directory: config.json, a tokenizer, and every safetensors shard."""

import re
from pathlib import Path
from typing import TypeGuard

from localinstruct.models.json_files import load_json
from localinstruct.models.safetensors import read_header
from localinstruct.models.token_ids import id_problems

TOKENIZERS = (
    ("tokenizer.json",),
    ("tokenizer.model",),
    ("tekken.json",),
    ("vocab.json", "merges.txt"),
    ("vocab.txt",),
)
"""Sets of files, each of which is a tokenizer."""

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
INDEX = "model.safetensors.index.json"
_SHARD = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors")


def missing_parts(root: Path) -> list[str]:
    """List the parts that a loader would miss in `root`.

    For a sentence encoder that is the folder of its first module.
    """
    if (root / "adapter_config.json").is_file() and not (root / "config.json").is_file():
        return [
            "adapter_config.json: this is a LoRA adapter, not a model; name the directory of its "
            "base model"
        ]
    snapshots = [path.parent.name for path in root.glob("snapshots/*/config.json")]
    if snapshots:
        return [
            f"snapshots: this is a folder of a hub's cache, whose files are links; copy the model "
            f"out of it, cp -rL {root}/snapshots/{snapshots[0]} FOLDER, and name FOLDER"
        ]
    core = transformer_folder(root)
    missing = _config(core) + _tokenizer(core, root) + _weights(core)
    return missing or _adapter_beside(core) + id_problems(core, weight_files(root))


def _adapter_beside(core: Path) -> list[str]:
    """The problem of an adapter in the folder of a whole model: a loader would add it unasked."""
    found = [name for name in ADAPTER if (core / name).is_file()]
    if not found:
        return []
    return [
        f"{found[0]}: a LoRA adapter lies beside a whole model, and transformers would load both; "
        f"choose: for the model alone, move {' and '.join(found)} elsewhere; for the model with "
        "the adapter, merge them first (peft: merge_and_unload, then save_pretrained)"
    ]


def weight_files(root: Path) -> list[Path]:
    """List the safetensors files a loader would read in a complete directory, each once."""
    core = transformer_folder(root.resolve())
    index, _ = load_json(core / INDEX) if (core / INDEX).is_file() else (None, None)
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    names = _shards(weight_map) if _is_weight_map(weight_map) else ["model.safetensors"]
    return [core / name for name in names if (core / name).is_file()]


def transformer_folder(root: Path) -> Path:
    """The folder of config.json and the weights.

    sentence-transformers may keep them in a sub-folder such as 0_Transformer.
    """
    listed = (root / "modules.json").is_file()
    modules, _ = load_json(root / "modules.json") if listed else (None, None)
    if isinstance(modules, list) and modules and isinstance(modules[0], dict):
        folder = (root / str(modules[0].get("path", ""))).resolve()
        return folder if folder.is_relative_to(root) and folder.is_dir() else root
    return root


def _config(core: Path) -> list[str]:
    if not (core / "config.json").is_file():
        return ["config.json: missing"]
    config, problem = load_json(core / "config.json")
    if problem:
        return []  # named by the walk over all files
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        return ["config.json: expected an object with model_type"]
    return []


def _tokenizer(core: Path, root: Path) -> list[str]:
    complete = (
        all((folder / name).is_file() for name in names)
        for folder in (core, root)
        for names in TOKENIZERS
    )
    if any(complete):
        return []
    return ["tokenizer.json (or tokenizer.model, tekken.json, vocab files): missing"]


def _weights(core: Path) -> list[str]:
    if (core / INDEX).is_file():
        return _indexed(core)
    if (core / "model.safetensors").is_file():
        return []
    names = [path.name for path in core.glob("*.safetensors")]
    shards = [match for name in names if (match := _SHARD.fullmatch(name))]
    if shards:
        total = int(shards[0][2])
        return [f"{INDEX}: missing ({len(shards)} of {total} shards are there)"]
    return ["model.safetensors: missing, and no shards with their index either"]


def _indexed(core: Path) -> list[str]:
    index, problem = load_json(core / INDEX)
    if problem:
        return []
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not _is_weight_map(weight_map):
        return [f"{INDEX}: expected weight_map, an object of tensor to file name"]
    problems = [
        f"{name}: missing, though {INDEX} names it"
        for name in _shards(weight_map)
        if not (core / name).is_file()
    ]
    return problems or _misplaced(core, weight_map)


def _is_weight_map(value: object) -> TypeGuard[dict[str, str]]:
    names = value.values() if isinstance(value, dict) and value else [None]
    return all(
        isinstance(name, str) and name.endswith(".safetensors") and "/" not in name
        for name in names
    )


def _shards(weight_map: dict[str, str]) -> list[str]:
    return sorted(set(weight_map.values()))


def _misplaced(core: Path, weight_map: dict[str, str]) -> list[str]:
    """Problems of tensors that are not in the shard the index names."""
    problems = []
    for shard in _shards(weight_map):
        header = read_header(core / shard)
        indexed = {tensor for tensor, name in weight_map.items() if name == shard}
        absent = sorted(indexed - header.tensors)
        if absent and header.tensors:
            problems.append(
                f"{shard}: {len(absent)} tensors that {INDEX} names are not in it "
                f"({absent[0][:60]}, …)"
            )
    return problems
