"""The promise that nothing leaves this machine: the environment every process of ours runs in.

Most libraries read these switches once, at import, so the command line sets them before anything
heavy is imported (`cli.app.main`) and hands them to every child; a Python program that uses the
package calls `localinstruct.enforce_offline()`, because an import alone changes nothing. Each line
has its reason. Covered: what the libraries do of their own accord, proxies, and credentials or
endpoints inherited from the shell. Not covered: a library that ignores its own switch; against
that, run inside a network namespace.
"""

import contextlib
import fcntl
import os
import socket
import struct
from collections.abc import Mapping, MutableMapping

SWITCHES: dict[str, tuple[str, str]] = {
    "HF_HUB_OFFLINE": (
        "1",
        "huggingface_hub: no HEAD request per file, no model_info, no agent list",
    ),
    "TRANSFORMERS_OFFLINE": ("1", "transformers: local files only"),
    "HF_DATASETS_OFFLINE": ("1", "datasets: local files only"),
    "HF_HUB_DISABLE_TELEMETRY": ("1", "huggingface_hub and TRL: no ping per trainer"),
    "DISABLE_TELEMETRY": ("1", "older name of the same switch"),
    "DO_NOT_TRACK": ("1", "vLLM and others: no usage statistics"),
    "HF_HUB_DISABLE_UPDATE_CHECK": ("1", "hf command: no question for its newest version"),
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": ("1", "huggingface_hub: never send a token that lies around"),
    "HF_HUB_DISABLE_XET": ("1", "huggingface_hub: no second download path"),
    "HF_UPDATE_DOWNLOAD_COUNTS": (
        "0",
        "datasets: reading a local file must not be counted by a remote one",
    ),
    "DISABLE_SAFETENSORS_CONVERSION": (
        "1",
        "transformers: no thread that posts the model's name for conversion",
    ),
    "USE_HUB_KERNELS": ("NO", "transformers: no kernels downloaded and run"),
    "DISABLE_KERNEL_MAPPING": ("1", "kernels: the same, one layer below"),
    "VLLM_NO_USAGE_STATS": ("1", "vLLM: compared with '1' exactly, 'true' would not switch it off"),
    "VLLM_DO_NOT_TRACK": ("1", "vLLM: second name of the same switch"),
    "VLLM_PLUGINS": ("", "vLLM: load no entry-point plugins of other packages"),
    "VLLM_HOST_IP": (
        "127.0.0.1",
        "vLLM: do not find the address by a socket towards a public name server",
    ),
    "VLLM_LOOPBACK_IP": ("127.0.0.1", "vLLM: workers talk over loopback"),
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": ("0", "vLLM: never follow a link out of a media URL"),
    "VLLM_SERVER_DEV_MODE": ("0", "vLLM: no arbitrary remote calls"),
    "VLLM_ALLOW_INSECURE_SERIALIZATION": ("0", "vLLM: no pickle between processes"),
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": ("0", "vLLM: adapters only from the command line"),
    "FLASHINFER_NO_DOWNLOAD": ("1", "FlashInfer: no kernels fetched at run time"),
    "WANDB_MODE": ("disabled", "wandb: off even where it is installed"),
    "DISABLE_KUBEFLOW_INTEGRATION": ("TRUE", "transformers: no progress posted to a cluster"),
    "GRADIO_ANALYTICS_ENABLED": ("False", "gradio: no analytics"),
    "RAY_USAGE_STATS_ENABLED": ("0", "ray: no usage statistics"),
    "GLOO_SOCKET_IFNAME": ("lo", "torch: collectives over loopback only"),
    "NCCL_SOCKET_IFNAME": ("lo", "NCCL: collectives over loopback only"),
    "NCCL_RAS_ENABLE": ("0", "NCCL: no listening status thread"),
    "PIP_NO_INDEX": ("1", "pip: nothing is installed at run time"),
    "TOKENIZERS_PARALLELISM": ("false", "tokenizers: quiet and safe after fork"),
}
"""Variable -> (value, reason)."""

ALLOWED_HOSTS = "LOCALINSTRUCT_ALLOWED_HOSTS"
"""Environment variable: the names of --allow-host, for the stages, which are children."""
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
"""From linux/sockios.h and linux/if.h: read and set the flags of an interface."""
REMOVED_PREFIXES = ("OPENAI_", "OTEL_", "TRACKIO_", "KUBEFLOW_", "ANTHROPIC_")
REMOVED_NAMES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT", "VLLM_USE_MODELSCOPE")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy", "no_proxy")


def enforce(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set every switch and remove proxies, tokens and foreign endpoints, in place."""
    for name in [name for name in environment if _is_removed(name)]:
        del environment[name]
    environment.update({name: value for name, (value, _) in SWITCHES.items()})
    # Not a promise but a manner, which must also stand before torch: OpenMP's threads spin while
    # they wait, and where anything else computes they take the core they wait for (a training step
    # beside other work took three times as long).
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def child_environment(**extra: str) -> dict[str, str]:
    """The environment for a child process: ours, enforced again, plus `extra`."""
    environment = dict(os.environ)
    enforce(environment)
    return environment | extra


def deviations(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Variables of `environment` that differ from the promise; [] when all is well."""
    wrong = [
        f"{name} is {environment.get(name)!r}"
        for name, (value, _) in SWITCHES.items()
        if environment.get(name) != value
    ]
    return wrong + [f"{name} is set" for name in environment if _is_removed(name)]


def wake_loopback() -> None:
    """Bring the loopback interface up where it is down and we may, as in a fresh network namespace.

    vLLM's own processes talk over it. Without the permission nothing happens, and vLLM says what it
    misses.
    """
    name = struct.pack("16sh", b"lo", 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        flags = struct.unpack("16sh", fcntl.ioctl(probe, SIOCGIFFLAGS, name))[1]
        if not flags & IFF_UP:
            fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | IFF_UP))


def _is_removed(name: str) -> bool:
    return name in REMOVED_NAMES or name.lower() in PROXIES or name.startswith(REMOVED_PREFIXES)
