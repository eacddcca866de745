"""The order of tests, who of them shares a worker, and the one server that several of them ask."""

from collections.abc import Generator, Iterator
from contextlib import ExitStack

import pytest

from tests.support.nano_server import serving_nano
from tests.support.order import name_groups, sort

NANO_SERVER = pytest.StashKey[ExitStack]()
"""In the session: what stops the nano server, while it runs."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    name_groups(items)  # before pytest-xdist reads them
    yield
    sort(items)  # after -m and -k have left some out


@pytest.fixture(scope="session")
def nano_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The unix URL of one vLLM for all tests (mark them vllm and slow); `nano_workspace` makes a
    workspace that asks it. It starts for its first user and stops after its last."""
    with ExitStack() as lifetime:
        request.session.stash[NANO_SERVER] = lifetime
        yield lifetime.enter_context(serving_nano(tmp_path_factory.mktemp("nano-server")))


@pytest.hookimpl(trylast=True)  # after the test's own fixtures are gone
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    lifetime = item.session.stash.get(NANO_SERVER, None)
    if lifetime and not (nextitem and "nano_server" in getattr(nextitem, "fixturenames", ())):
        lifetime.close()
