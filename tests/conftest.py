"""The order of tests, who of them shares a worker, and the one server that several of them ask."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.foreground import begin_in_foreground
from tests.support.nano_server import serving_nano
from tests.support.order import NANO_SERVER, scheduler, sort

LIFETIME = pytest.StashKey[ExitStack]()
"""In the session: what stops the nano server, while it runs."""


@pytest.hookimpl(trylast=True)  # after -m and -k have left some out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    sort(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    return scheduler(config, log) if config.getoption("dist") == "loadscope" else None


@pytest.fixture(scope="session", autouse=True)
def foreground() -> None:
    """Signals as in the foreground, also under `nohup make test &`."""
    begin_in_foreground()


@pytest.fixture(scope="session", params=[NANO_SERVER])
def nano_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The unix URL of one vLLM for all tests (mark them vllm and slow); `nano_workspace` makes a
    workspace that asks it. It starts for its first user and stops after its last."""
    with ExitStack() as lifetime:
        request.session.stash[LIFETIME] = lifetime
        yield lifetime.enter_context(serving_nano(tmp_path_factory.mktemp("nano-server")))


@pytest.hookimpl(trylast=True)  # after the test's own fixtures are gone
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    lifetime = item.session.stash.get(LIFETIME, None)
    if lifetime and not (nextitem and "nano_server" in getattr(nextitem, "fixturenames", ())):
        lifetime.close()
