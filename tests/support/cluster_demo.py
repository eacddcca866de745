"""Two servers of one model, one killed and returned during a run: `make cluster-demo`.

Two real vLLM with the nano teacher at loopback, `generate` as a client of both, its page of
`watch` open. When rows are there, one server gets SIGKILL and is started again; when it answers
again, Ctrl-C ends the run, and its completion log is played once more with nobody asked: the export
must be equal to the byte. Where vllm-router is installed, it then stands before the two for some
more rows. The exit code is 1 where something of this did not happen.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import psutil
import yaml

from localinstruct.formats import write
from localinstruct.generation.endpoints import endpoints_at_work
from localinstruct.interrupt import reset_signals
from localinstruct.models.catalog import checked, load_catalog
from localinstruct.progress import Silent
from localinstruct.records import JsonObject
from localinstruct.store.run import Run, read_run
from localinstruct.teacher import Serve
from localinstruct.teacher.vllm import Server, running_copies
from tests.support.nano_server import NAMES, ROOT, SERVED, nano_workspace

NAME, MANY = "cluster", 100_000
"""Run, and rows that it does not reach: it ends when all has been seen."""
AFTER = 30
"""Answers of the server after its return for which the demo waits."""
ROUTED = 60
"""Rows through the router."""
BEGAN = time.monotonic()


def say(text: str) -> None:
    """A line with the seconds since the start."""
    print(f"[{time.monotonic() - BEGAN:5.0f} s] {text}", flush=True)


def free_port() -> int:
    """A port of loopback that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def two_servers(home: Path) -> list[Server]:
    """Two vLLM of the nano teacher, not yet started."""
    spec = load_catalog(ROOT).get(SERVED)
    serve = Serve(max_num_seqs=16, max_model_len=1024, data_parallel_size=2, kv_cache_gib=1)
    return [
        Server(
            checked(spec), SERVED, serve, home, f"vllm-{copy}", Silent(),
            chat_template=spec.chat_template, copy=copy, port=free_port(),
        )
        for copy in range(2)
    ]  # fmt: skip


def asked_at(folder: Path, urls: list[str]) -> None:
    """Have the nano models of a workspace asked at these endpoints."""
    file = folder / "models.yaml"
    entries = yaml.safe_load(file.read_text("utf-8"))
    for name in NAMES:
        entries[name].pop("endpoint", None)
        entries[name] |= {"endpoints": urls}
    file.write_text(yaml.safe_dump(entries, sort_keys=False), "utf-8")


def program(folder: Path, *words: str, log: Path | None = None) -> "subprocess.Popen[str]":
    """The product's command line, begun; its words in `log`, or to be read."""
    return subprocess.Popen(
        [sys.executable, "-m", "localinstruct", *words],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
        stdout=log.open("w") if log else subprocess.PIPE, stderr=subprocess.STDOUT,
        preexec_fn=reset_signals,
    )  # fmt: skip


def generating(folder: Path, target: int, *words: str, name: str = NAME) -> list[str]:
    """Words of `generate` for the demo."""
    sets = [f"generate.target={target}", "generate.stop_below=0", "serve.max_num_seqs=16"]
    given = [word for one in sets for word in ("--set", one)]
    return ["generate", "nano", "--name", name, *given, *words]


def until(seen: Callable[[Run], bool], path: Path, run: "subprocess.Popen[str]", what: str) -> None:
    """Look twice a second until something is seen; TimeoutError, or the run's own end."""
    for _ in range(1_800):
        if run.poll() is not None:
            raise SystemExit(f"the run ended before {what}: see {path.parent.parent}/generate.log")
        if (path / "run.sqlite").is_file():
            try:
                with read_run(path) as found:
                    if seen(found):
                        return
            except Exception:  # just being made
                pass
        time.sleep(0.5)
    raise SystemExit(f"never seen: {what}")


def state(found: Run, url: str) -> JsonObject:
    """What the run says of an endpoint."""
    return next((one for one in endpoints_at_work(found) if one["url"] == url), {})


def kill(server: Server) -> None:
    """SIGKILL for a server and all its processes."""
    assert server._ward is not None
    for process in psutil.Process(server._ward.process.pid).children(recursive=True):
        process.kill()
    server._ward.process.wait()


@contextmanager
def page(folder: Path) -> Iterator[Callable[[], str]]:
    """The page of `watch`, open; gives its words."""
    watching = program(folder, "watch", NAME)
    assert watching.stdout is not None
    address = re.search(r"http://\S+", watching.stdout.readline())
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())

    def words() -> str:
        if not address:
            return ""
        text = opener.open(address[0], timeout=60).read().decode()
        return " ".join(re.sub("<[^>]*>", " ", text).split())

    say(f"the page of watch: {address[0] if address else 'none'}")
    try:
        yield words
    finally:
        watching.send_signal(signal.SIGINT)
        watching.communicate(timeout=60)


def killed_and_returned(folder: Path, servers: list[Server]) -> JsonObject:
    """What happened in a run in which the second server is killed and returns."""
    path, log, other = folder / "runs" / NAME, folder / "generate.log", servers[1].url
    run = program(folder, *generating(folder, MANY), log=log)
    seen: JsonObject = {}
    try:
        until(lambda found: state(found, other).get("answered", 0) >= AFTER, path, run, "answers")
        with page(folder) as words:
            kill(servers[1])
            say(f"killed {other}")
            until(lambda found: state(found, other).get("state") == "out", path, run, "it is out")
            say("the run has noticed it, and goes on with the other")
            seen["on_page"] = bool(re.search(r"\bout\b", words()))
            servers[1].stop()
            servers[1].start()
            say("started again")
            until(lambda found: state(found, other).get("state") == "up", path, run, "its return")
            with read_run(path) as found:
                before = state(found, other)["answered"]
            until(
                lambda found: state(found, other).get("answered", 0) >= before + AFTER,
                path, run, "answers after its return",
            )  # fmt: skip
            with read_run(path) as found:
                seen["answered"] = {one["url"]: one["answered"] for one in endpoints_at_work(found)}
            say("it answers again")
    finally:
        run.send_signal(signal.SIGINT)
        run.wait(120)
    text = log.read_text("utf-8", "replace")
    seen["noticed"] = re.findall(rf"{re.escape(other)} is out: .*", text)[:1]
    seen["returned"] = re.findall(rf"{re.escape(other)} is back", text)[:1]
    return seen


def export(path: Path) -> tuple[bytes, int]:
    """Kept rows of a run as JSONL, and their number."""
    with read_run(path) as found:
        rows = list(found.kept())
    file = path.parent / "export.jsonl"
    write(iter(rows), "jsonl", file)
    return file.read_bytes(), len(rows)


def replayed(folder: Path) -> tuple[bool, int]:
    """(whether the completion log alone gives the same export, rows).

    The run was stopped; what it had asked beyond its last row is in the log too, so the replay may
    keep a few rows more, in the same order.
    """
    here, again = folder / "runs" / NAME, folder / "again"
    expected, rows = export(here)
    shutil.copytree(folder, again, ignore=shutil.ignore_patterns("again", "export.jsonl"))
    path = again / "runs" / NAME
    with sqlite3.connect(path / "run.sqlite") as store:
        for table in ("kept", "rejects", "episodes", "stages"):
            store.execute(f"DELETE FROM {table}")
    store.close()
    words = json.dumps(generating(again, MANY))
    with (again / "replay.log").open("w") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.support.cluster_demo", "--replay", words],
            cwd=again, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
            stdout=log, stderr=subprocess.STDOUT, preexec_fn=reset_signals,
        )  # fmt: skip
        until(lambda found: len(list(found.kept())) >= rows, path, child, "all rows of the replay")
        child.send_signal(signal.SIGINT)
        child.wait(60)
    lines = export(path)[0].splitlines(keepends=True)
    return b"".join(lines[:rows]) == expected, rows


def replay(words: list[str]) -> NoReturn:
    """The program, in which a question to the teacher gets no answer."""
    from localinstruct.cli.app import main
    from localinstruct.teacher.client import Client

    async def never(self: Client, prompt: object) -> None:
        await asyncio.Event().wait()

    Client.complete = never  # type: ignore[method-assign, assignment]
    sys.argv = ["localinstruct", *words]
    main()


def routed(folder: Path, servers: list[Server]) -> JsonObject:
    """Rows through vllm-router, which stands before the two servers."""
    beside = Path(sys.executable).with_name("vllm-router")
    found = str(beside) if beside.exists() else shutil.which("vllm-router")
    if not found:
        return {}
    port = free_port()
    urls = [one.url.removesuffix("/v1") for one in servers]
    command = [found, "--host", "127.0.0.1", "--port", str(port), "--worker-urls", *urls]
    before = [answers(one) for one in servers]
    with (folder / "router.log").open("w") as log:
        router = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for(f"http://127.0.0.1:{port}/v1/models")
        asked_at(folder, [f"http://127.0.0.1:{port}/v1"])
        done = program(
            folder, *generating(folder, ROUTED, name="routed"), log=folder / "routed.log"
        )
        code = done.wait(300)
    finally:
        router.terminate()
        router.wait(30)
    after = [answers(one) for one in servers]
    counts = [last - first for first, last in zip(before, after, strict=True)]
    return {"code": code, "rows": export(folder / "runs/routed")[1], "answered": counts}


def answers(server: Server) -> int:
    """Requests that a vLLM has finished, as it says itself."""
    with urllib.request.urlopen(server.url.removesuffix("/v1") + "/metrics", timeout=30) as reply:
        text = reply.read().decode()
    found = re.findall(r"^vllm:request_success_total\{[^}]*\} (\S+)", text, re.MULTILINE)
    return round(sum(map(float, found)))


def wait_for(url: str) -> None:
    """Return when a server answers; OSError after a minute."""
    for _ in range(120):
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise OSError(f"{url} does not answer")


def demo(folder: Path) -> int:
    """The whole demo in an empty folder: 0 when everything was seen."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    servers = two_servers(folder)
    nano_workspace(folder, "")
    say("two vLLM with the nano teacher start at loopback, the first one alone")
    with running_copies(servers):
        say(" and ".join(one.url for one in servers) + " answer")
        asked_at(folder, [one.url for one in servers])
        seen = killed_and_returned(folder, servers)
        equal, rows = replayed(folder)
        router = routed(folder, servers)
    say(f"rows kept: {rows}")
    for url, count in seen["answered"].items():
        say(f"answers of {url}: {count}")
    say(f"kill noticed: {(seen['noticed'] or ['no'])[0]}; seen on the page: {seen['on_page']}")
    say(f"return noticed: {(seen['returned'] or ['no'])[0]}")
    say(
        f"replay of the completion log, nobody asked: {'equal to the byte' if equal else 'DIFFERS'}"
    )
    if router:
        say(f"through vllm-router: {router['rows']} rows, answers of the two {router['answered']}")
    else:
        say("vllm-router is not installed, and was left out: pip install 'localinstruct[router]'")
    well = seen["noticed"] and seen["returned"] and equal and rows and not router.get("code")
    return 0 if well else 1


def main() -> int:
    """Run the demo, or a replay for it."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("folder", nargs="?", type=Path, default=Path("cluster-demo"))
    words.add_argument("--replay", help="words of generate, as JSON")
    given = words.parse_args()
    if given.replay:
        replay(json.loads(given.replay))
    return demo(given.folder.absolute())


if __name__ == "__main__":
    sys.exit(main())
