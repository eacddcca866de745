"""llama.cpp's server as our child, for a GGUF file as it is: under the same rules as vLLM.

It listens on a unix socket in the private folder, or on 127.0.0.1 where a port was asked for, is
guarded by the supervisor and restarted as vLLM is. Samples are drawn as vLLM's are: without the
cut-offs (top_k, min_p) that llama.cpp adds by itself. On the CPU; not covered: adapters, GPUs,
prompts that spell a special token (they are read as one).

    python -m localinstruct.teacher.llama_cpp JOB
"""

import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localinstruct.errors import ModelError
from localinstruct.machine import cpu_count
from localinstruct.models.catalog import ModelSpec
from localinstruct.models.chat_template import template_text
from localinstruct.models.gguf_header import Header, read_header
from localinstruct.offline import switches
from localinstruct.progress import Progress
from localinstruct.store.durable import write_text
from localinstruct.store.lock import LOCK_FD
from localinstruct.teacher import Serve
from localinstruct.teacher.vllm import Server

JOB = "job.json"


@dataclass
class LlamaServer(Server):
    """llama.cpp's server; `model` is the file."""

    context: int = 0
    """Tokens of a prompt with its answer."""
    slots: int = 1
    """Sequences that are decoded together."""
    engine = "llama.cpp"

    def require_able(self) -> None:
        """ModelError for adapters: they are of the model that the file was made of."""
        if self.adapters:
            raise ModelError(
                f"{self.model}: llama.cpp serves a GGUF file as it is, without adapters.",
                f"localinstruct models import {self.model} --name {self.name}-unpacked, and train "
                "that.",
            )

    def command(self, socket: Path) -> list[str]:
        """Command line of `main`, and a file in the private folder that says the rest."""
        job = {
            "file": str(self.model),
            "name": self.name,
            "address": ["127.0.0.1", self.port] if self.port else [str(socket), 0],
            "context": self.context,
            "slots": self.slots,
            "template": template_text(self.chat_template) if self.chat_template else "",
            "threads": max(1, (cpu_count() - 1) // self.serve.copies),
        }
        write_text(socket.with_name(JOB), json.dumps(job))
        return [sys.executable, "-m", __name__, str(socket.with_name(JOB))]

    def environment(self, folder: Path) -> dict[str, str]:
        """Ours, with scratch files inside the private folder."""
        environment = switches.child_environment(TMPDIR=str(folder), PYTHONUNBUFFERED="1")
        environment.pop(LOCK_FD, None)
        return environment


def llama_server(
    spec: ModelSpec,
    serve: Serve,
    home: Path,
    label: str,
    progress: Progress,
    adapters: dict[str, Path] | None,
    port: int,
) -> LlamaServer:
    """The server, not yet started, for a checked GGUF file; how much it decodes at once is said."""
    file = Path(spec.gguf or "")
    context = serve.max_model_len or spec.context
    held = serve.kv_cache_gib * 2**30 // (context * cache_bytes(read_header(file)))
    slots = max(1, min(serve.max_num_seqs, held))
    if slots < serve.max_num_seqs:
        progress.say(
            f"llama.cpp decodes {slots} sequences of {context:,} tokens together: more would need "
            "serve.kv_cache_gib or a smaller serve.max_model_len"
        )
    return LlamaServer(
        model=file,
        name=spec.name,
        serve=serve,
        home=home,
        label=label.replace("vllm", "llama-cpp"),
        progress=progress,
        adapters=adapters or {},
        chat_template=spec.template,
        port=port,
        context=context,
        slots=slots,
    )


def cache_bytes(header: Header) -> int:
    """Bytes of keys and values of one token, in half precision."""
    layers = int(header.number("block_count") or 1)
    heads = header.number("attention.head_count") or 1
    kept = header.number("attention.head_count_kv") or heads
    each = [kept] * layers if isinstance(kept, int) else kept
    most = heads if isinstance(heads, int) else max(heads)
    width = int(header.number("embedding_length") or 1) // max(1, most)
    sides = [header.number(f"attention.{side}_length") or width for side in ("key", "value")]
    return 2 * sum(each) * sum(sides)


def main(job: Path) -> None:
    """Serve until this process is ended."""
    import xllamacpp

    settings: dict[str, Any] = json.loads(job.read_text(encoding="utf-8"))
    parameters = xllamacpp.CommonParams()
    parameters.model.path, parameters.model_alias = settings["file"], {settings["name"]}
    parameters.hostnames, parameters.port = [settings["address"][0]], settings["address"][1]
    slots, context = settings["slots"], settings["context"]
    parameters.n_parallel, parameters.n_ctx = slots, slots * context
    parameters.n_gpu_layers, parameters.offline = 0, True
    parameters.warmup = parameters.fit_params = parameters.ui = False
    parameters.endpoint_slots = parameters.endpoint_props = False
    parameters.cache_ram_mib = 0
    parameters.verbosity = 1  # errors; prompts are not logged
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = settings["threads"]
    parameters.n_threads_http = 2 * slots + 8  # a request in flight holds one
    parameters.sampling.top_k, parameters.sampling.min_p = 0, 0.0
    parameters.sampling.samplers = "temperature;top_p"  # in vLLM's order
    parameters.use_jinja = True
    if settings["template"]:
        parameters.chat_template = settings["template"]
    try:
        server = xllamacpp.Server(parameters)
    except RuntimeError:  # llama.cpp has said why
        sys.exit(1)
    while server:
        signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
