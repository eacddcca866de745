"""Machines that train together: where they meet, and the part of each after the first.

The first runs `localinstruct train RUN` as ever; on each other one,

    python -m localinstruct.training.nodes RUN NUMBER

starts its part, with NUMBER from 1. The run's folder and the student's lie on a disk that all of
them see. LOCALINSTRUCT_MEET=ADDRESS:PORT@INTERFACE says on every machine where the first one
listens, and by which network card they talk: a person says so, never a recipe. Addresses of public
networks are refused. What they send each other is not encrypted (NCCL, gloo). Not covered: starting
anything on another machine.
"""

import ipaddress
import json
import os
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from localinstruct import console
from localinstruct.errors import LocalInstructError, UsageError
from localinstruct.interrupt import reset_signals
from localinstruct.progress import Progress
from localinstruct.recipe import recipe_from_text
from localinstruct.recipe.train import Train

MEET = "LOCALINSTRUCT_MEET"
"""Environment variable: ADDRESS:PORT@INTERFACE."""
JOB = "train/job.json"
"""File of a run that says what the processes train."""
WAIT_SECONDS = 600.0
"""Time in which the first machine must be there."""
HINT = f"For example: export {MEET}=10.0.0.1:29500@eth0 (docs/training-several.md)"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the processes of a training meet, and which machine this is."""

    address: str
    port: int
    interface: str = "lo"
    nodes: int = 1
    node: int = 0

    def environment(self) -> dict[str, str]:
        """Variables by which torch, gloo and NCCL find it."""
        cards = dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), self.interface)
        return {"MASTER_ADDR": self.address, "MASTER_PORT": str(self.port), **cards}


def first_place(section: Train, progress: Progress) -> Place:
    """The place of a training on its first machine; UsageError where several have none."""
    if section.nodes == 1:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return Place("127.0.0.1", int(probe.getsockname()[1]))
    place = meeting(section.nodes, 0)
    progress.say(
        f"{section.nodes} machines, {section.devices} processes each, meeting at "
        f"{place.address}:{place.port}. On each other machine now: "
        f"python -m localinstruct.training.nodes RUN NUMBER (1 to {section.nodes - 1})"
    )
    return place


def meeting(nodes: int, node: int) -> Place:
    """The place that MEET names; UsageError where it is missing, malformed or public."""
    words = os.environ.get(MEET, "")
    where, _, interface = words.partition("@")
    address, _, port = where.rpartition(":")
    try:
        number = ipaddress.ip_address(address)
        place = Place(address, int(port), interface, nodes, node)
    except ValueError:
        raise UsageError(
            f"train.nodes: {nodes} machines meet at {MEET}: expected ADDRESS:PORT@INTERFACE, found "
            f"{words!r}.",
            HINT,
        ) from None
    if not number.is_private:
        raise UsageError(f"{MEET}: {address} is an address of a public network.", HINT)
    if interface not in [name for _, name in socket.if_nameindex()]:
        raise UsageError(f"{MEET}: this machine has no network card {interface!r}.", HINT)
    return place


def train_as(node: int, home: Path, progress: Progress) -> None:
    """Train this machine's part of the run in `home`, which the first one has begun."""
    from localinstruct.training.processes import train_part

    section = _section(home)
    if not 0 < node < section.nodes:
        raise UsageError(
            f"expected a number from 1 to {section.nodes - 1} (train.nodes: {section.nodes}, the "
            f"first has 0), found {node}."
        )
    place = meeting(section.nodes, node)
    _wait_for(place, progress)
    section = _section(home)  # as the training has it that has begun
    train_part(home / JOB, section.devices, place, progress)
    progress.say(f"The part of machine {node} is done.")


def _section(home: Path) -> Train:
    path = home / JOB
    if not path.is_file():
        raise UsageError(
            f"{path}: not there yet.",
            f"First, on the first machine: localinstruct train {home.name}",
        )
    return recipe_from_text(json.loads(path.read_text(encoding="utf-8"))["recipe"], str(path)).train


def _wait_for(place: Place, progress: Progress) -> None:
    """Wait until the first machine listens: it does once its student is loaded."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            socket.create_connection((place.address, place.port), 5).close()
            return
        except OSError as error:
            if time.monotonic() > until:
                raise UsageError(
                    f"{place.address}:{place.port}: nothing listens there ({error}).",
                    "Start the training on the first machine, and look at its firewall.",
                ) from None
        left = until - time.monotonic()
        progress.update("waiting for the first machine", WAIT_SECONDS - left, WAIT_SECONDS)
        time.sleep(1)


def main(arguments: list[str]) -> int:
    """Run a machine's part; the exit code."""
    reset_signals()
    try:
        if len(arguments) != 2 or not arguments[1].isdigit():
            raise UsageError("expected RUN NUMBER: the run's folder and this machine's number.")
        with console.progress() as progress:
            train_as(int(arguments[1]), Path(arguments[0]).resolve(), progress)
    except LocalInstructError as error:
        console.error(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    from localinstruct.offline.switches import enforce

    enforce()
    sys.exit(main(sys.argv[1:]))
