"""The order of the tests, long ones first so that two workers end together; and their groups.

Tests of a group run one after another on one worker (pytest-xdist's `--dist loadgroup`): those that
ask the nano server, whichever file they are in, and those of one file, because they share what its
fixtures make. An exhaustive test that shares nothing is a group of its own.
"""

from collections.abc import Iterable

import pytest

NANO_SERVER = "nano_server"
GROUP = pytest.StashKey[str]()


def name_groups(items: Iterable[pytest.Item]) -> None:
    """Mark every test with its group."""
    for item in items:
        item.stash[GROUP] = group_of(item)
        item.add_marker(pytest.mark.xdist_group(item.stash[GROUP]))


def sort(items: list[pytest.Item]) -> None:
    """Sort tests by group: first those with a test that starts vLLM, then slow ones, then quick."""
    weights: dict[str, int] = {}
    for item in items:
        group = item.stash[GROUP]
        weights[group] = min(weights.get(group, 2), weight(item))
    places = {group: place for place, group in enumerate(weights)}
    items.sort(key=lambda item: (weights[item.stash[GROUP]], places[item.stash[GROUP]]))


def weight(item: pytest.Item) -> int:
    """0 with vLLM, 1 slow, 2 quick."""
    return 0 if item.get_closest_marker("vllm") else 1 if item.get_closest_marker("slow") else 2


def group_of(item: pytest.Item) -> str:
    """The server's name, the file's, or the test's own."""
    fixtures: Iterable[str] = getattr(item, "fixturenames", ())
    if NANO_SERVER in fixtures:
        return NANO_SERVER
    alone = item.get_closest_marker("exhaustive") and not shares(item, fixtures)
    return item.nodeid.replace("@", "-") if alone else item.nodeid.split("::")[0]


def shares(item: pytest.Item, fixtures: Iterable[str]) -> bool:
    """True when a fixture of the test's file outlives the test."""
    manager = item.session._fixturemanager
    asked = (one for name in fixtures for one in manager.getfixturedefs(name, item) or ())
    return any(one.scope != "function" and one.baseid.endswith(".py") for one in asked)
