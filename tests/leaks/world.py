"""A world outside for the control: in a namespace of our own, every name has an address and every
address answers.

A child plays it: a name server, and a server on each port that leaks ask for, which takes the
connection, notes it and hangs up. So a leak that is no leak (a call that never gets as far as the
network) is found out. Not covered: IPv6.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import selectors
import signal
import socket
import struct
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from localinstruct.offline.kernel import prctl
from tests.leaks.leak import OUT4, PROXY

PR_SET_PDEATHSIG = 1
PORTS = (80, 443, 3128, 4317, 5555, 8888, 29500)
SIOCADDRT, SIOCSIFADDR, UP = 0x890B, 0x8916, 1
"""From linux/sockios.h and linux/route.h."""


def add_way_out() -> None:
    """A default route, through loopback for want of anything else: packets for anywhere are sent,
    and counted."""
    device = ctypes.create_string_buffer(b"lo")
    to_anywhere = struct.pack("H14x", socket.AF_INET)
    entry = struct.pack(
        "@L16s16s16sHhLPhPLLH",
        0,
        to_anywhere,
        to_anywhere,
        to_anywhere,
        UP,
        0,
        0,
        0,
        0,
        ctypes.addressof(device),
        0,
        0,
        0,
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCADDRT, entry)


def begin(notes: Path) -> None:
    """Give loopback the addresses of the world and start the child that answers there; it ends when
    we do."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for number, address in enumerate([OUT4, urlsplit(PROXY).hostname or "", *name_servers()]):
            at = struct.pack(
                "16sHH4s8x", f"lo:{number}".encode(), socket.AF_INET, 0, socket.inet_aton(address)
            )
            fcntl.ioctl(any_socket, SIOCSIFADDR, at)
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(("", 53))
    ports = [socket.create_server(("", port)) for port in PORTS]
    if os.fork() == 0:
        with contextlib.suppress(BaseException):
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            answer(names, ports, notes)
        os._exit(1)
    for server in (names, *ports):
        server.close()


def name_servers() -> list[str]:
    """Those of this machine, IPv4; on this machine itself they need no address of ours."""
    words = [line.split() for line in Path("/etc/resolv.conf").read_text().splitlines()]
    found = [
        word[1]
        for word in words
        if len(word) == 2 and word[0] == "nameserver" and ":" not in word[1]
    ]
    return [address for address in found if not address.startswith("127.")]


def answer(names: socket.socket, ports: list[socket.socket], notes: Path) -> None:
    """Until killed: each question and each connection, a line of JSON."""
    waiting = selectors.DefaultSelector()
    for server in (names, *ports):
        waiting.register(server, selectors.EVENT_READ)
    with notes.open("a") as file:
        while True:
            for key, _ in waiting.select():
                print(
                    json.dumps(resolve(names) if key.fileobj is names else take(key.fileobj)),
                    file=file,
                    flush=True,
                )


def take(server: Any) -> str:
    connection, _ = server.accept()
    port = connection.getsockname()[1]
    connection.close()
    return f"port {port}"


def resolve(names: socket.socket) -> str:
    """Answer one question (RFC 1035, section 4.1): OUT4 for an IPv4 address, nothing for anything
    else."""
    question, client = names.recvfrom(512)
    labels, at = [], 12
    while length := question[at]:
        labels.append(question[at + 1 : at + 1 + length].decode(errors="replace"))
        at += length + 1
    asked = question[12 : at + 5]
    found = asked[-4:-2] == b"\0\1"
    record = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(OUT4) if found else b""
    names.sendto(
        question[:2] + b"\x81\x80\0\1" + struct.pack("!H", found) + b"\0\0\0\0" + asked + record,
        client,
    )
    return "name " + ".".join(labels)
