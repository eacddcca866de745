"""Fixtures that several test files share."""

from collections.abc import Iterator

import pytest

from tests.support.foreground import begin_in_foreground
from tests.support.nano_server import serving_nano


@pytest.fixture(scope="session", autouse=True)
def foreground() -> None:
    """Signals as in the foreground, also under `nohup make test &`."""
    begin_in_foreground()


@pytest.fixture(scope="session")
def nano_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The unix URL of one vLLM for all tests (mark them vllm and slow); `nano_workspace` makes a
    workspace that asks it."""
    with serving_nano(tmp_path_factory.mktemp("nano-server")) as url:
        yield url
