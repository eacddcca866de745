"""The child that asks llama.cpp: python -m localinstruct.gguf.llama_cpp_child FOLDER.

It loads the file with xllamacpp's server on a unix socket in that private folder, and leaves the
answers there.
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from localinstruct.gguf.llama_cpp import ANSWERS, JOB, SECONDS, SOCKET, Answers, Questions

THREADS = 4
"""At most, and half of the cores: its threads wait busily for each other."""


def main(private: Path) -> None:
    """Load the file of the job in this folder, ask, and write the answers beside it."""
    import httpx2
    import xllamacpp

    questions = Questions(**json.loads((private / JOB).read_text(encoding="utf-8")))
    parameters = xllamacpp.CommonParams()
    parameters.model.path, parameters.n_ctx = questions.file, questions.context
    parameters.n_parallel, parameters.n_gpu_layers, parameters.offline = 1, 0, True
    parameters.warmup = parameters.fit_params = parameters.ui = False
    parameters.verbosity, parameters.cache_ram_mib = 1, 0
    threads = max(1, min(THREADS, (os.cpu_count() or 1) // 2))
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    # half precision in the cache or in flash attention would round where transformers does not
    parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    parameters.hostnames = [str(private / SOCKET)]
    try:
        server = xllamacpp.Server(parameters)
    except RuntimeError:  # llama.cpp has said why
        sys.exit(1)
    transport = httpx2.HTTPTransport(uds=str(private / SOCKET))
    with httpx2.Client(
        transport=transport, base_url="http://llama", timeout=SECONDS, trust_env=False
    ) as client:

        def post(path: str, body: dict[str, Any]) -> dict[str, Any] | None:
            reply = client.post(path, json=body)
            return reply.json() if reply.status_code == 200 else None

        def required(path: str, body: dict[str, Any], key: str) -> Any:
            reply = client.post(path, json=body)
            reply.raise_for_status()
            return reply.json()[key]

        texts = [
            required(
                "/tokenize",
                {"content": text, "add_special": False, "parse_special": True},
                "tokens",
            )
            for text in questions.texts
        ]
        chats = [post("/apply-template", {"messages": chat}) for chat in questions.chats]
        greedy = {
            "n_predict": questions.max_tokens,
            "temperature": 0,
            "cache_prompt": False,
            "return_tokens": True,
        }
        prompts = [
            required("/completion", {"prompt": ids, **greedy}, "tokens")
            for ids in questions.prompts
        ]
    answers = Answers(texts, [chat["prompt"] if chat else None for chat in chats], prompts)
    (private / ANSWERS).write_text(json.dumps(asdict(answers)), encoding="utf-8")
    del server


if __name__ == "__main__":
    main(Path(sys.argv[1]))
