"""Teachers that answer prompts: one client of the OpenAI protocol, and vLLM as our child."""

from typing import Literal, Protocol

from pydantic import Field

from localinstruct.config import Section
from localinstruct.records import Completion, Prompt


class Sampling(Section):
    """Sampling settings of the teacher, where a method does not say otherwise."""

    temperature: float = Field(1.0, ge=0, le=5)
    """Softmax temperature; 0 is greedy."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Nucleus: sample from the smallest set of tokens with this much probability."""
    max_tokens: int = Field(3072, ge=1)
    """Output tokens per completion, at most."""
    logit_bias: dict[int, float] = Field(default_factory=dict)
    """Added to the logits of these token ids.

    Alpaca forbade its teacher to end a list early: {50256: -100}, there the id of the end of a
    text; look yours up in the teacher's tokenizer_config.json.
    """
    thinking: Literal["drop", "keep"] = "drop"
    """Thoughts of a reasoning model before its answer: dropped, or kept in the row's `thinking`."""


class Serve(Section):
    """Settings with which vLLM is started for a model that is a directory on this disk."""

    NEW = frozenset({"data_parallel_size", "data_parallel"})
    max_num_seqs: int = Field(64, ge=1)
    """Sequences the engine decodes together; twice as many requests are in flight, so that one is
    there when a sequence ends."""
    max_model_len: int | None = Field(None, ge=16)
    """Context in tokens; None takes the model's own."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of weights and activations.

    auto takes the checkpoint's on a GPU and float32 on a CPU without bf16 units.
    """
    gpu_memory_utilization: float = Field(0.9, gt=0, lt=1)
    """Share of each GPU's memory that vLLM may take."""
    tensor_parallel_size: int = Field(1, ge=1)
    """GPUs that share one copy of the model."""
    data_parallel_size: int = Field(1, ge=1, le=64)
    """Copies of the model, each with tensor_parallel_size GPUs of its own (on a CPU: with its share
    of the cores)."""
    data_parallel: Literal["servers", "vllm"] = "servers"
    """Copies as servers of their own, between which localinstruct shares the requests, or as one
    server with vLLM's own data parallel."""
    kv_cache_gib: int = Field(1, ge=1)
    """KV cache on a CPU, whole GiB (a GPU uses what gpu_memory_utilization leaves)."""
    enforce_eager: bool | None = None
    """Skip CUDA graphs and compilation; None means only on a CPU, where they cost start-up time."""
    start_timeout: float = Field(600, gt=0)
    """Seconds to wait for the server to answer after its start."""
    request_timeout: float = Field(600, gt=0)
    """Seconds for one request before it is asked again."""
    schema_timeout: float = Field(120, gt=0)
    """Seconds for one request for JSON of a form.

    Then it is asked once more without the schema and read strictly.
    """
    restarts: int = Field(3, ge=0)
    """Times that a server that died within five minutes of its start is started again."""

    @property
    def copies(self) -> int:
        """Servers that are started for a model."""
        return self.data_parallel_size if self.data_parallel == "servers" else 1


class Teacher(Protocol):
    """Anything that answers prompts."""

    async def complete(self, prompt: Prompt) -> list[Completion]:
        """`prompt.n` completions; raises TeacherError only when the teacher is gone for good."""
