"""Ways out that the heavy libraries have: datasets, transformers, TRL, PEFT, sentence-transformers,
tokenizers, torch, vLLM."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.leaks.leak import NAME, OUT4, REAL_SLEEP, Leak, urllib_get
from tests.leaks.libraries import wait_for_telemetry


def dataset_counter() -> None:
    from datasets.load import increase_load_count

    increase_load_count("json")


def transformers_config() -> None:
    from transformers import AutoConfig

    AutoConfig.from_pretrained("org/model")


def transformers_conversion() -> None:
    from transformers.safetensors_conversion import auto_conversion

    auto_conversion("org/model")


def transformers_tokenizer() -> None:
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained("org/model")


def mistral_check() -> None:
    """Made for every tokenizer with a large vocabulary that is not loaded from a folder."""
    from transformers.tokenization_utils_tokenizers import TokenizersBackend

    TokenizersBackend._patch_mistral_regex(None, "org/model")


def licence_for_card() -> None:
    from transformers.modelcard import TrainingSummary

    TrainingSummary("student", finetuned_from="org/model")


def kubeflow_progress() -> None:
    """The trainer's own steps: the arguments name the callback, "none" notwithstanding, and
    training begins."""
    from transformers import TrainerControl, TrainerState, TrainingArguments
    from transformers.integrations import get_reporting_integration_callbacks

    token = Path(os.environ["TMPDIR"], "token")
    token.write_text("none")
    names = {
        "KUBEFLOW_TRAINER_SERVER_URL": f"https://{NAME}/",
        "KUBEFLOW_TRAINER_SERVER_TOKEN": str(token),
    }
    os.environ.update(names)
    try:
        arguments = TrainingArguments(str(token.parent / "trainer"), report_to="none", use_cpu=True)
        for callback in get_reporting_integration_callbacks(arguments.report_to):
            callback().on_train_begin(
                arguments, TrainerState(is_world_process_zero=True), TrainerControl()
            )
    finally:
        for name in names:
            del os.environ[name]


def trl_ping() -> None:
    """TRL's own function, on a stand-in for the trainer whose construction ends with it."""
    import torch
    from trl.trainer.base_trainer import _BaseTrainer

    alone = SimpleNamespace(
        is_main_process=True, num_processes=1, device=SimpleNamespace(type="cpu")
    )
    model = torch.nn.Identity()
    model.config = SimpleNamespace(model_type="llama")  # type: ignore[assignment]
    trainer = SimpleNamespace(
        accelerator=alone,
        is_deepspeed_enabled=False,
        is_fsdp_enabled=False,
        train_dataset=None,
        model=model,
    )
    inherited = os.environ.pop("CI", None)  # where it is set, TRL does not ping
    try:
        _BaseTrainer._send_telemetry(trainer)
        wait_for_telemetry()
    finally:
        os.environ.update({"CI": inherited} if inherited else {})


def sentence_card() -> None:
    from sentence_transformers.sentence_transformer.model_card import (
        SentenceTransformerModelCardData,
    )

    SentenceTransformerModelCardData().set_base_model("models/private")


def peft_base() -> None:
    from peft.utils.other import check_file_exists_on_hf_hub

    check_file_exists_on_hf_hub("private/base", "config.json")


def tiktoken_encoding() -> None:
    import tiktoken

    tiktoken.get_encoding("o200k_base")


def mistral_tokenizer() -> None:
    from mistral_common.tokens.tokenizers.utils import download_tokenizer_from_hf_hub

    download_tokenizer_from_hf_hub("org/model")


def torch_store() -> None:
    from datetime import timedelta

    from torch.distributed import TCPStore

    TCPStore(OUT4, 29500, is_master=False, timeout=timedelta(seconds=1))


def zmq_send() -> None:
    import zmq

    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.setsockopt(zmq.LINGER, 0)
        push.connect(f"tcp://{OUT4}:5555")
        REAL_SLEEP(0.3)


def vllm_usage() -> None:
    from vllm.usage.usage_lib import UsageMessage, is_usage_stats_enabled

    if is_usage_stats_enabled():
        UsageMessage()._send_to_server({"uuid": "0"})


def vllm_address() -> None:
    from vllm.utils.network_utils import get_ip

    get_ip()


def vllm_kernels() -> None:
    from vllm.utils.flashinfer import has_nvidia_artifactory

    has_nvidia_artifactory()


def vllm_media() -> None:
    from vllm.multimodal.media import ImageMediaIO, MediaConnector

    MediaConnector().load_from_url(f"https://{NAME}/x.png", ImageMediaIO())


def vllm_plugin() -> None:
    """A package that names itself as vLLM's plugin is loaded and called; this one phones home."""
    from vllm.plugins import load_plugins_by_group

    folder = Path(os.environ["TMPDIR"], "plugin")
    (folder / "caller-1.dist-info").mkdir(parents=True)
    (folder / "caller-1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: caller\nVersion: 1\n"
    )
    (folder / "caller-1.dist-info" / "entry_points.txt").write_text(
        "[vllm.general_plugins]\ncaller = caller:call\n"
    )
    (folder / "caller.py").write_text(
        f"import urllib.request\ndef call():\n    urllib.request.urlopen('https://{NAME}/')\n"
    )
    sys.path.insert(0, str(folder))
    try:
        for call in load_plugins_by_group("vllm.general_plugins").values():
            call()
    finally:
        sys.path.remove(str(folder))


def vllm_traces() -> None:
    from opentelemetry import trace
    from vllm.tracing import init_tracer

    os.environ["OTEL_EXPORTER_OTLP_TIMEOUT"] = "1"
    init_tracer("localinstruct.test", f"http://{OUT4}:4317").start_span("rows").end()
    provider: Any = trace.get_tracer_provider()
    provider.force_flush(3000)


def vllm_tools() -> None:
    import asyncio

    from vllm.entrypoints.mcp.tool_server import MCPToolServer

    asyncio.run(asyncio.wait_for(MCPToolServer().add_tool_server(f"{OUT4}:8888"), 5))


def docs_page() -> None:
    """What a browser does with the page that vLLM's server shows at /docs."""
    import re

    from fastapi.openapi.docs import get_swagger_ui_html

    page = bytes(get_swagger_ui_html(openapi_url="/openapi.json", title="docs").body).decode()
    urllib_get(re.findall(r'script src="(https://[^"]+)"', page)[0])


def fastapi_cloud() -> None:
    """`fastapi cloud`: with a token in the environment it sends crash reports; the sending thread
    is waited for."""
    import sentry_sdk

    hidden: dict[str, Any] = {
        name: None for name in ("anthropic", "mcp") if name not in sys.modules
    }
    sys.modules.update(hidden)  # it would import them to watch them, which takes seconds
    os.environ["FASTAPI_CLOUD_TOKEN"] = "none"
    try:
        from fastapi_cloud_cli.utils.sentry import init_sentry

        init_sentry()
        sentry_sdk.capture_message("rows")
        sentry_sdk.flush(timeout=3)
    finally:
        del os.environ["FASTAPI_CLOUD_TOKEN"]
        # no address: off again
        sentry_sdk.init(default_integrations=False, auto_enabling_integrations=False)
        for name in hidden:
            del sys.modules[name]


HEAVY = (
    Leak("datasets counts a local file", dataset_counter, package="datasets", quiet=True, row=15),
    Leak(
        "transformers configuration",
        transformers_config,
        package="transformers",
        quiet=True,
        row=14,
    ),
    Leak(
        "transformers tokenizer", transformers_tokenizer, package="transformers", quiet=True, row=21
    ),
    Leak("transformers Mistral check", mistral_check, package="transformers", quiet=True, row=21),
    Leak(
        "transformers licence for the card",
        licence_for_card,
        package="transformers",
        quiet=True,
        row=23,
    ),
    Leak(
        "transformers Kubeflow progress",
        kubeflow_progress,
        package="transformers",
        quiet=True,
        row=19,
    ),
    Leak("TRL ping", trl_ping, package="huggingface_hub", quiet=True, row=18),
    Leak(
        "transformers conversion of weights",
        transformers_conversion,
        package="transformers",
        quiet=True,
        row=20,
    ),
    Leak(
        "sentence-transformers model card",
        sentence_card,
        package="sentence_transformers",
        quiet=True,
        row=16,
    ),
    Leak("PEFT asks for the base model", peft_base, package="peft", quiet=True, row=17),
    Leak("tiktoken encoding", tiktoken_encoding, package="tiktoken", row=9),
    Leak(
        "mistral_common tokenizer", mistral_tokenizer, package="mistral_common", quiet=True, row=10
    ),
    Leak("torch store", torch_store, seen=False, counted=True, row=30),
    Leak("zmq", zmq_send, seen=False, counted=True),
    Leak("vLLM usage statistics", vllm_usage, package="vllm", quiet=True, row=1),
    Leak("vLLM own address", vllm_address, package="vllm", quiet=True, counted=True, row=2),
    Leak("vLLM looks for kernels", vllm_kernels, package="vllm", row=3),
    Leak("vLLM media by URL", vllm_media, package="vllm", row=5),
    Leak("vLLM plugin", vllm_plugin, package="caller", quiet=True, row=6),
    Leak("vLLM tool server", vllm_tools, package="anyio", counted=True, row=7),
    Leak("vLLM traces", vllm_traces, seen=False, counted=True, row=7),
    Leak("vLLM documentation page in a browser", docs_page, row=8, stands_in="a browser"),
    Leak("fastapi crash reports", fastapi_cloud, package="sentry_sdk", row=27),
)
