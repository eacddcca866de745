"""Memory of a model that vLLM serves, in bytes: weights, KV cache, activations, libraries.

The figures are calculated; those of GPUs are not measured. On a GPU vLLM takes the share it is
given and fills what is left with KV cache; it starts when weights, one profiling pass and the cache
of a single longest sequence have room. On a CPU the cache is as large as `serve.kv_cache_gib` says.
Not covered: attention that keeps less than every token, quantised KV caches.
"""

from dataclasses import dataclass

from localinstruct.fit.shape import Shape
from localinstruct.fit.training import Parts
from localinstruct.machine import GIB
from localinstruct.teacher import Serve

BATCHED_TOKENS = 8192
"""Tokens of vLLM's profiling pass on a GPU (its max_num_batched_tokens); 2,048 on small cards."""
GPU_RESERVE = 1.0 * GIB
"""CUDA context, CUDA graphs and NCCL of a server; an allowance, not measured here."""
CPU_PROCESSES = 1.5 * GIB
"""Python, torch and vLLM in a CPU server's processes, without its model; an allowance."""
DTYPES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class Served:
    """Memory of one server: its parts, and the KV cache of a token."""

    parts: Parts
    context: int
    """Tokens of the longest sequence it accepts."""
    kv_token: float
    """Bytes of KV cache per token, on one GPU."""

    @property
    def needs(self) -> float:
        """Bytes without which it does not start."""
        return sum(self.parts.values())

    def sequences(self, room: float) -> float:
        """Longest sequences that fit into the cache when the server has `room` bytes."""
        return (room - self.needs) / (self.kv_token * self.context) + 1


def kv_bytes_per_token(shape: Shape, number: int) -> int:
    """2 (key and value) · layers · width of the key heads · bytes of a number.

    Kwon et al. 2023 (arXiv 2309.06180, §3).
    """
    return 2 * shape.layers * shape.kv * number


def served(shape: Shape, serve: Serve, on_gpu: bool, cpu_bf16: bool) -> Served:
    """The memory of a server of this model, on each of its GPUs, or in main memory."""
    number = DTYPES.get(serve.dtype) or (2 if on_gpu or cpu_bf16 else 4)
    stored = shape.file_bytes if on_gpu and serve.dtype == "auto" else number * shape.parameters
    share = serve.tensor_parallel_size if on_gpu else 1
    context = min(serve.max_model_len or shape.context or 4096, shape.context or 2**20)
    kv_token = kv_bytes_per_token(shape, number) / share
    cache = kv_token * context if on_gpu else serve.kv_cache_gib * GIB
    parts: Parts = {
        "weights": stored / share,
        "KV cache": cache,
        "activations": _pass(shape, serve, number, context),
    }
    parts["libraries"] = GPU_RESERVE if on_gpu else CPU_PROCESSES
    return Served(parts, context, kv_token)


def _pass(shape: Shape, serve: Serve, number: int, context: int) -> float:
    """Bytes of the largest forward pass.

    The MLP of one layer for all batched tokens, and the logits of each sequence, in float32 twice.
    """
    tokens = min(BATCHED_TOKENS, context * serve.max_num_seqs)
    layer = tokens * number * (3 * shape.mlp + 4 * shape.hidden)
    return float(layer + serve.max_num_seqs * shape.vocab * (number + 2 * 4))


def encoder(shape: Shape, on_gpu: bool, cpu_bf16: bool, rows: int) -> Parts:
    """A sentence encoder, one batch of its longest texts, and the vectors of all kept rows.

    The vectors are float32 in main memory; they take nothing of a GPU.
    """
    number = 4 if on_gpu or not cpu_bf16 else 2
    batch = 128 if on_gpu else 16
    activations = batch * shape.context * number * (2 * shape.mlp + 2 * shape.hidden)
    vectors = 0 if on_gpu else rows * shape.hidden * 4
    return {
        "weights": float(number * shape.parameters),
        "activations": float(activations),
        "vectors": float(vectors),
    }
