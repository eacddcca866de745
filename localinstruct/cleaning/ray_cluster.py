"""Connection to a Ray cluster: one that is there, or one of our own on this machine.

Our own listens at loopback alone, wants a token that only this user can read, has no dashboard,
reports nothing, and keeps its files in the cleaning's folder, which goes when it ends. A cluster
that is there was set up by somebody else: we bring the token of its user, and say which machine may
be one. Read in ray 2.60.0 and tried with it: `_node_ip_address="127.0.0.1"` is replaced by the
machine's address on the network, unless RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER is 0.
"""

import logging
import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.cleaning.settings import Clean
from localinstruct.errors import UsageError
from localinstruct.machine import cpu_count
from localinstruct.offline import seal
from localinstruct.offline.addresses import allowed_hosts, is_local, resolve
from localinstruct.progress import Progress
from localinstruct.recipe import find_workspace
from localinstruct.store.folder import make_folder

if TYPE_CHECKING:
    from localinstruct.cleaning.on_ray import OnRay

LOCAL = "local"
FOLDER, LINK, SAID = "ray", "r", "said.log"
"""Files of our own cluster; the short name under which Ray knows their folder; what it prints."""
LONGEST_PATH = 107
"""Bytes of a unix socket's path; Ray puts one this deep below its folder:"""
SOCKET = "/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
MEMORY = 512 * 2**20
"""Bytes of the object store of our own cluster: pieces on their way to a worker and back."""
STARTS = 3
"""Times that it is started before we give up."""
SHOWN = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
"""Switches that hold at any cluster."""
OWN = {
    **SHOWN,
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",
}
"""Switches of our own: at loopback, no warning without GPUs, workers no nicer than this process."""


def require_ray(where: str, settings: Clean, most_rows: int | None = None) -> None:
    """UsageError, before anything is read, where `--ray` cannot be had here.

    `where` is "local", or HOST:PORT of a cluster, of a machine that the person has allowed.
    """
    if settings.similar is None:
        raise UsageError(
            "--ray: encodes and compares rows that may be alike, and --similar 0 asks for none.",
            "Leave one of the two out.",
        )
    if most_rows is not None:
        raise UsageError(
            "--ray: a look at the first rows is made by this process alone.",
            "Leave --ray or --sample out.",
        )
    if find_spec("ray") is None:
        raise UsageError("--ray: Ray is not installed.", "pip install 'localinstruct[ray]'")
    if where == LOCAL:
        _short_folder(make=False)
        if (held := seal.status()) is not seal.OPEN and held.backend == "socketless":
            raise UsageError(
                "--ray local: Ray's processes talk over loopback, and this seal has none.",
                "Leave --ray or --sealed out; `localinstruct doctor` says what another seal needs.",
            )
        return
    host, _, port = where.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(
            f"--ray {where}: expected local, or HOST:PORT of a cluster.",
            "For example --ray local, or --ray 127.0.0.1:6379",
        )
    url, allowed = f"http://{where}/v1", allowed_hosts(find_workspace(Path.cwd()))
    if not is_local(url) and host.lower() not in allowed and seal.status() is seal.OPEN:
        raise UsageError(
            f"--ray {where}: not on this machine, and {host} is not allowed.",
            f"For one command: --allow-host {host}. For this workspace: a file hosts.yaml with "
            f"`allow: [{host}]`.",
        )
    resolve(url, allowed)


@contextmanager
def connected(where: str, folder: Path, progress: Progress) -> "Iterator[OnRay]":
    """Workers of a cluster, for as long as the block lasts; `folder` is that of the cleaning.

    UsageError where Ray does not start, or does not answer.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    began = {name: os.environ.get(name) for name in (*OWN, "RAY_AUTH_TOKEN_PATH", "RAY_TMPDIR")}
    short, is_well = _short_folder(make=True) if where == LOCAL else None, False
    try:
        os.environ.update(SHOWN if short is None else _own_environment(folder, short))
        _connect(where, folder, short, progress)
        for number, handler in before.items():  # Ray ends the process at once on SIGTERM
            if threading.current_thread() is threading.main_thread():
                signal.signal(number, handler)
        from localinstruct.cleaning.on_ray import OnRay

        workers = OnRay(progress)
        progress.say(f"Ray: {workers.cpus} CPUs at {'this machine' if short else where}")
        make_folder(folder / FOLDER)
        # Ray prints what befalls its nodes on stdout, whatever log_to_driver says
        with (folder / FOLDER / SAID).open("a") as said, redirect_stdout(said):
            yield workers
        is_well = True
    finally:
        _leave()
        if is_well:  # else its logs say why
            shutil.rmtree(folder / FOLDER, ignore_errors=True)
        if short:
            shutil.rmtree(short, ignore_errors=True)
        for name, value in began.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _connect(where: str, folder: Path, short: Path | None, progress: Progress) -> None:
    import ray

    try:
        if short is None:
            ray.init(address=where, log_to_driver=False, logging_level=logging.ERROR)
        else:
            _start(short, progress)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UsageError(
            f"--ray {where}: {str(error).strip()}",
            "Start a node of the cluster on this machine, with the same token; see "
            "docs/cluster.md, Ray.",
        ) from None
    except Exception as error:  # what ray.init raises when a process of its own dies
        raise UsageError(
            f"--ray {where}: Ray did not start: {error}",
            "Give the same command again: Ray gives up when its processes need more than 15 "
            f"seconds, as on a busy machine. What it says: {folder / FOLDER}/session_latest/logs",
        ) from None


def _start(short: Path, progress: Progress) -> None:
    """Start our own cluster; again where its processes took too long, as the disk is warm then."""
    import ray

    for again in range(STARTS):
        progress.update("starting Ray", again, STARTS)
        try:
            ray.init(
                num_cpus=cpu_count(),
                include_dashboard=False,
                object_store_memory=MEMORY,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _node_ip_address="127.0.0.1",
                _temp_dir=str(short / LINK),
            )
            return
        except Exception as error:  # of no class of its own
            if again == STARTS - 1 or "timed out during startup" not in str(error):
                raise
            ray.shutdown()


def _leave() -> None:
    import ray

    ray.shutdown()


def _own_environment(folder: Path, short: Path) -> dict[str, str]:
    """Environment of our own cluster, with its folder made and its token written."""
    place = folder / FOLDER
    shutil.rmtree(place, ignore_errors=True)  # of a process that was killed
    make_folder(place)
    (short / LINK).symlink_to(place.resolve())
    token = place / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    return {**OWN, "RAY_AUTH_TOKEN_PATH": str(token.resolve()), "RAY_TMPDIR": str(short)}


def _short_folder(*, make: bool) -> Path | None:
    """A new folder with a short name, as the paths of unix sockets may not be long."""
    place = Path(tempfile.gettempdir())
    path = f"{place}/li-12345678/{LINK}{SOCKET}"
    if len(path.encode()) > LONGEST_PATH:
        raise UsageError(
            f"--ray local: the folder for temporary files is {place}, and the paths of Ray's "
            f"sockets below it are longer than {LONGEST_PATH} bytes.",
            "TMPDIR=/tmp before the command helps.",
        )
    return Path(tempfile.mkdtemp(prefix="li-", dir=place)) if make else None
