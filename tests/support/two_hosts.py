"""A closed network of this test's own: this host and two others, `gpu-1` and `gpu-2`, that serve a
teacher: `unshare -rnm python -m tests.support.two_hosts FOLDER`.

Each other host is a network namespace with a cable (veth) to this one; names stand in an /etc/hosts
that only this process and its children see, with one that leads to the internet. Runs of the
product are made in FOLDER; what came of them is printed as JSON. Needs no root, and nothing of it
stays.
"""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any, NoReturn

from tests.support.openai_server import completion, models
from tests.support.scripted import numbered_list
from tests.torture.program import MODELS, Outcome, run, workspace

CLONE_NEWNET = 0x40000000
HOSTS = ("gpu-1", "gpu-2")
PUBLIC = "gpu-far"
"""A name that leads to an address on the internet."""
PORT = 8000


def address(number: int, end: int) -> str:
    """The address of one end of the cable to a host: 1 is ours, 2 is the host's."""
    return f"10.77.{number}.{end}"


def ip(*words: str) -> None:
    """Run `ip` with these words."""
    subprocess.run(["ip", *words], check=True)


@contextmanager
def two_hosts(folder: Path) -> Iterator[None]:
    """The network, with a teacher at PORT of both hosts."""
    ip("link", "set", "lo", "up")
    hosts = folder / "hosts"
    lines = [f"{address(number, 2)} {name}" for number, name in enumerate(HOSTS)]
    hosts.write_text("\n".join(["127.0.0.1 localhost", *lines, f"93.184.215.14 {PUBLIC}", ""]))
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)
    pids = [_host(number) for number in range(len(HOSTS))]
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, 9)
            os.waitpid(pid, 0)


def _host(number: int) -> int:
    """Start a host: its process, in a network of its own, with a cable to ours."""
    (waiting, connected), (ready, listening) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        assert ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0
        os.write(listening, b"x")
        os.read(waiting, 1)
        ip("addr", "add", f"{address(number, 2)}/24", "dev", f"far{number}")
        ip("link", "set", f"far{number}", "up")
        _serve(listening)
    os.read(ready, 1)
    ip("link", "add", f"near{number}", "type", "veth", "peer", "name", f"far{number}")
    ip("link", "set", f"far{number}", "netns", str(pid))
    ip("addr", "add", f"{address(number, 1)}/24", "dev", f"near{number}")
    ip("link", "set", f"near{number}", "up")
    os.write(connected, b"x")
    os.read(ready, 1)
    return pid


def _serve(listening: int) -> NoReturn:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(models({"id": "played", "max_model_len": 4096}))

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            request: dict[str, Any] = json.loads(self.rfile.read(length))
            self._send(completion(numbered_list(Random(request["prompt"]))))

        def _send(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("0.0.0.0", PORT), Handler)
    os.write(listening, b"x")
    server.serve_forever(0.01)
    os._exit(0)


def made(folder: Path, name: str, hosts: tuple[str, ...], *words: str) -> dict[str, Any]:
    """What came of `localinstruct generate` with these endpoints and words."""
    here = folder / name
    workspace(here, 40)
    urls = ", ".join(f'"http://{host}:{PORT}/v1"' for host in hosts)
    entry = MODELS.replace('endpoint: "unix://%s"', f"endpoints: [{urls}]")
    (here / "models.yaml").write_text(entry)
    if "hosts.yaml" in words:
        (here / "hosts.yaml").write_text(f"allow: [{', '.join(hosts)}]\n")
    command = ["generate", "recipe.yaml", *(word for word in words if word != "hosts.yaml")]
    if "--sealed" in words:  # in a fresh interpreter: a seal is entered by a process of one thread
        real = [sys.executable, "-m", "localinstruct", *command]
        done = subprocess.run(real, cwd=here, capture_output=True, text=True)
        return {"code": done.returncode, "said": " ".join(done.stderr.split()), **_report(here)}
    outcome = run(here, command, served=True)
    return {"code": outcome.code, "said": " ".join(outcome.said.split()), **_report(here)}


def _report(here: Path) -> dict[str, Any]:
    text = here / "runs/tortured/egress.txt"
    if not text.exists():
        return {"report": [], "verified": None}
    verified: Outcome = run(here, ["verify-report", str(text.with_suffix(".json"))])
    return {"report": text.read_text().splitlines(), "verified": verified.code}


def main(folder: Path) -> None:
    """Make the runs, and print what came of them."""
    allowed = [word for host in HOSTS for word in ("--allow-host", host)]
    far = (*HOSTS, PUBLIC)
    with two_hosts(folder):
        found = {
            "allowed": made(folder, "allowed", HOSTS, *allowed),
            "by file": made(folder, "by-file", HOSTS, "hosts.yaml"),
            "not allowed": made(folder, "not-allowed", HOSTS, "--allow-host", HOSTS[0]),
            "public": made(folder, "public", far, *allowed, "--allow-host", PUBLIC),
            "sealed": made(folder, "sealed", HOSTS, "hosts.yaml", "--sealed"),
            "both": made(folder, "both", HOSTS, "--sealed", *allowed),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
