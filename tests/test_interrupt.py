"""A signal stops a loop between two of its steps, and what the loop holds is put away."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from localinstruct.interrupt import reset_signals, run_async, stop_as_ctrl_c_does, stop_request

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def raising(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def handlers() -> Iterator[None]:
    """As the command line sets them."""
    before = {number: signal.signal(number, raising) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_waits_for_the_end_of_a_step(number: int) -> None:
    said: list[str] = []

    def step() -> None:
        os.kill(os.getpid(), number)
        said.append("step ended")

    async def work() -> None:
        asyncio.get_running_loop().call_soon(step)
        try:
            await asyncio.sleep(60)
        finally:
            said.append("put away")

    with pytest.raises(KeyboardInterrupt):
        run_async(work())
    assert said == ["step ended", "put away"]
    assert all(signal.getsignal(one) is raising for one in NUMBERS)


@pytest.mark.usefixtures("handlers")
def test_the_third_signal_does_not_wait() -> None:
    async def work() -> None:
        while True:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_async(work())


@pytest.mark.usefixtures("handlers")
def test_without_a_signal_the_result_comes_back() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert run_async(work()) == 7


@pytest.mark.usefixtures("handlers")
def test_a_cancellation_of_its_own_stays_one() -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run_async(work())


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", NUMBERS)
def test_training_hears_a_signal_at_the_end_of_its_step(number: int) -> None:
    with stop_request() as stop:
        assert not stop.asked
        os.kill(os.getpid(), number)
        assert stop.asked
    assert signal.getsignal(number) is raising


@pytest.mark.usefixtures("handlers")
def test_training_hears_none_that_is_ignored() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with stop_request() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.asked
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked


@pytest.mark.usefixtures("handlers")
def test_a_closed_terminal_stays_ignored_under_nohup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    reset_signals()
    stop_as_ctrl_c_does()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.usefixtures("handlers")
def test_a_child_that_is_stopped_by_its_parent_hears_sigint_again() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
    reset_signals()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # who started us with `&` meant it
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
    reset_signals(interruptible=True)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
