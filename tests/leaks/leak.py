"""What a leak is, the list of paths by which the libraries of this field phone home, and what
several leaks need."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OUT4, OUT6, NAME = "192.0.2.1", "2001:db8::1", "phone-home.example"
PROXY = "http://192.0.2.7:3128"
HUB = "huggingface_hub"
REAL_SLEEP = time.sleep

ROWS = {
    1: "vLLM: usage statistics",
    2: "vLLM: finds its own address by a socket towards a public name server",
    3: "vLLM and FlashInfer: kernels from a server of the vendor",
    4: "vLLM: models and tokenizers by repository name",
    5: "vLLM: media by URL",
    6: "vLLM: plugins of whatever else is installed",
    7: "vLLM: traces, tool servers",
    8: "vLLM: the documentation page loads scripts from elsewhere",
    9: "tiktoken: encodings",
    10: "mistral_common: tokenizers",
    11: "huggingface_hub: telemetry",
    12: "huggingface_hub: list of agents",
    13: "hf: its newest version",
    14: "huggingface_hub: HEAD per file, downloads",
    15: "datasets: counts the reading of local files",
    16: "sentence-transformers: model cards, private folder names",
    17: "PEFT: asks for the base model when it saves",
    18: "TRL: a ping per trainer",
    19: "transformers: Kubeflow progress",
    20: "transformers: conversion of weights",
    21: "transformers: tokenizers by name, the Mistral check",
    22: "transformers: kernels downloaded and run",
    23: "transformers: licence for the model card",
    24: "trackers: wandb, trackio, comet, mlflow",
    25: "gradio: analytics",
    26: "ray: usage statistics",
    27: "fastapi's command: crash reports, its cloud",
    28: "openai: the default address, or the environment's",
    29: "proxies of the environment, for loopback too",
    30: "torch: collectives and stores over any interface",
    31: "triton and inductor: none at run time",
    32: "evaluate, nltk, spaCy: scripts and models on first use",
    33: "pip and uv at run time",
    34: "unsloth: statistics",
}
"""The known paths. All are fired on purpose but those of NOTHING_TO_FIRE."""
NOTHING_TO_FIRE = {31}
"""Compile caches on this disk, no call to anywhere."""


@dataclass(frozen=True, slots=True)
class Leak:
    """One way out. `seen`: the audit hook must note it, as made by `package`. `counted`: the kernel
    must count it.

    `says`: words of which the error must hold one, where that is the only witness without strace.
    `quiet`: the switches alone stop it. `row`: its line in ROWS, 0 for a general one. `stands_in`:
    the program whose call this is, made here in its place, to the same host and of the same kind,
    because it is not installed.
    """

    name: str
    fire: Callable[[], Any]
    seen: bool = True
    counted: bool = False
    says: tuple[str, ...] = ()
    package: str = ""
    quiet: bool = False
    row: int = 0
    stands_in: str = ""
    needs: str = ""
    """A program that must be there."""


def program(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    if done.returncode:
        raise OSError(
            done.returncode, f"{command[0]}: {done.stderr.decode(errors='replace').strip()[-120:]}"
        )


def urllib_get(url: str) -> None:
    import urllib.request

    urllib.request.urlopen(url, timeout=2)
