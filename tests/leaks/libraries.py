"""Ways out that the smaller libraries have: the hub's client, HTTP clients, pip, and calls of
libraries not installed here."""

import os
import sys
from typing import Any

from tests.leaks.leak import HUB, NAME, OUT4, PROXY, REAL_SLEEP, Leak, program, urllib_get


def hub_telemetry() -> None:
    from huggingface_hub.utils import send_telemetry

    send_telemetry("localinstruct-test")
    wait_for_telemetry()


def wait_for_telemetry() -> None:
    """It goes out from a thread of the hub's client, of which TRL makes use too."""
    from huggingface_hub.utils._telemetry import _TELEMETRY_QUEUE

    for _ in range(100):
        if not _TELEMETRY_QUEUE.unfinished_tasks:
            return
        REAL_SLEEP(0.05)


def hub(call: str, *arguments: str, **options: Any) -> None:
    import huggingface_hub

    getattr(huggingface_hub, call)(*arguments, **options)


def hub_agents() -> None:
    from huggingface_hub.utils import _detect_agent

    _detect_agent._fetch_registry()


def hub_update() -> None:
    from huggingface_hub.cli._cli_utils import check_cli_update

    check_cli_update("huggingface_hub")


def openai_call(**options: Any) -> None:
    import openai

    client = openai.OpenAI(api_key="none", max_retries=0, timeout=3, **options)
    client.chat.completions.create(model="teacher", messages=[{"role": "user", "content": "rows"}])


def openai_variable() -> None:
    os.environ["OPENAI_BASE_URL"] = f"https://{NAME}/v1"
    try:
        openai_call()
    finally:
        del os.environ["OPENAI_BASE_URL"]


def httpx2_proxy() -> None:
    import httpx2

    os.environ["HTTP_PROXY"] = PROXY
    try:
        with httpx2.Client(timeout=2) as client:
            client.get("http://127.0.0.1:8000/v1/models")
    finally:
        del os.environ["HTTP_PROXY"]


def httpx2_get() -> None:
    import httpx2

    httpx2.get(f"https://{NAME}/", timeout=2)


def requests_get(url: str, **options: Any) -> None:
    import requests

    requests.get(url, timeout=2, **options)


def pip_download() -> None:
    program(
        sys.executable,
        "-m",
        "pip",
        "--isolated",
        "--retries",
        "0",
        "--timeout",
        "2",
        "download",
        "--no-deps",
        "--index-url",
        f"https://{OUT4}/simple/",
        "phone-home-example",
    )


def requests_post(url: str) -> None:
    import requests

    requests.post(url, data=b"rows", timeout=2)


def httpx2_post(url: str) -> None:
    import httpx2

    httpx2.post(url, content=b"rows", timeout=2)


LIBRARIES = (
    Leak("hub telemetry", hub_telemetry, package=HUB, quiet=True, row=11),
    Leak("hub agent list", hub_agents, package=HUB, quiet=True, row=12),
    Leak("hub newest version", hub_update, package=HUB, quiet=True, row=13),
    Leak(
        "hub model_info of a private folder",
        lambda: hub("model_info", "models/private"),
        package=HUB,
        quiet=True,
        row=16,
    ),
    Leak(
        "hub file list", lambda: hub("list_repo_files", "org/model"), package=HUB, quiet=True, row=4
    ),
    Leak(
        "hub download",
        lambda: hub("hf_hub_download", "org/model", "config.json"),
        package=HUB,
        quiet=True,
        row=14,
    ),
    Leak(
        "hub snapshot",
        lambda: hub("snapshot_download", "org/model"),
        package=HUB,
        quiet=True,
        row=4,
    ),
    Leak(
        "hub file_exists",
        lambda: hub("file_exists", "org/model", "config.json"),
        package=HUB,
        quiet=True,
        row=17,
    ),
    Leak("openai default address", openai_call, package="openai", row=28),
    Leak("openai address from the environment", openai_variable, package="openai", row=28),
    Leak("httpx2 loopback through a proxy", httpx2_proxy, counted=True, package="httpx2", row=29),
    Leak("httpx2", httpx2_get, package="httpx2"),
    Leak("requests", lambda: requests_get(f"https://{NAME}/"), package="requests"),
    Leak(
        "requests through a proxy",
        lambda: requests_get(f"http://{NAME}/", proxies={"http": PROXY}),
        counted=True,
        package="requests",
        row=29,
    ),
    Leak("pip", pip_download, seen=False, counted=True, row=33),
    Leak(
        "kernels of the hub",
        lambda: hub("snapshot_download", "kernels-community/mamba-ssm", allow_patterns=["build/*"]),
        package=HUB,
        quiet=True,
        row=22,
        stands_in="kernels",
    ),
    Leak(
        "wandb",
        lambda: requests_post("https://api.wandb.ai/graphql"),
        package="requests",
        row=24,
        stands_in="wandb",
    ),
    Leak(
        "gradio analytics",
        lambda: httpx2_post("https://api.gradio.app/gradio-initiated-analytics/"),
        package="httpx2",
        row=25,
        stands_in="gradio",
    ),
    Leak(
        "ray usage statistics",
        lambda: requests_post("https://usage-stats.ray.io/"),
        package="requests",
        row=26,
        stands_in="ray",
    ),
    Leak(
        "evaluate metric",
        lambda: hub("hf_hub_download", "evaluate-metric/rouge", "rouge.py", repo_type="space"),
        package=HUB,
        quiet=True,
        row=32,
        stands_in="evaluate",
    ),
    Leak(
        "nltk data",
        lambda: urllib_get("https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/index.xml"),
        row=32,
        stands_in="nltk",
    ),
    Leak(
        "unsloth statistics",
        lambda: hub("snapshot_download", "unslothai/1", force_download=True),
        package=HUB,
        quiet=True,
        row=34,
        stands_in="unsloth",
    ),
)
