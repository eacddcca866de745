"""The order of the tests, long ones first so that two workers end together; and their groups.

Tests of a group run one after another on one worker: those that ask the nano server, whichever file
they are in (its fixture puts its name into their ids), and those of one file, because they share
what its fixtures make. (`--dist loadgroup` of pytest-xdist 3.8 would do, but pytest 9.2 no longer
shows it the groups: it takes them from ids that it changes.)
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

NANO_SERVER = "nano-server"
"""The parameter that the fixture `nano_server` gives to every test that asks it."""
APART = ("tests/torture/test_torture.py",)
"""Files whose tests take long and share nothing: each is a group of its own."""
LONGEST = ("tests/test_real.py",)


def group_of(nodeid: str) -> str:
    """The server's name, the test's own, or its file's."""
    if nodeid.endswith((f"[{NANO_SERVER}]", f"-{NANO_SERVER}]")):
        return NANO_SERVER
    file = nodeid.split("::")[0]
    return nodeid if file in APART else file


def sort(items: list[pytest.Item]) -> None:
    """Sort tests by group: the longest, those with a test that starts vLLM, slow, quick."""
    weights: dict[str, int] = {}
    for item in items:
        group = group_of(item.nodeid)
        weights[group] = min(weights.get(group, 3), weight(item))
    places = {group: place for place, group in enumerate(weights)}
    items.sort(key=lambda item: (weights[g := group_of(item.nodeid)], places[g]))


def weight(item: pytest.Item) -> int:
    """0 in the longest files, 1 with vLLM, 2 slow, 3 quick."""
    if item.nodeid.startswith(LONGEST):
        return 0
    return 1 if item.get_closest_marker("vllm") else 2 if item.get_closest_marker("slow") else 3


def scheduler(config: pytest.Config, log: object) -> "LoadScopeScheduling":
    """Hand whole groups to the workers, in the order of the tests (`--dist loadscope`)."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False
    return ByGroup(config, log)  # type: ignore[arg-type]
