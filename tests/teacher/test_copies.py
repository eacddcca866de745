"""Copies of a model: the GPUs, threads and names of each, and the order in which they start."""

from pathlib import Path

import pytest

from localinstruct.errors import TeacherError
from localinstruct.models.catalog import ModelSpec
from localinstruct.progress import Silent
from localinstruct.teacher import Sampling, Serve, serving, vllm
from localinstruct.teacher.vllm import Server, cpu_environment, gpus_of, running_copies


def server(folder: Path, serve: Serve, copy: int = 0) -> Server:
    return Server(folder, "m", serve, folder, f"vllm-{copy}", Silent(), copy=copy)


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm, "on_gpu", lambda: True)
    monkeypatch.setattr(vllm.flashinfer, "environment", dict)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")


@pytest.mark.usefixtures("four_gpus")
def test_each_copy_has_gpus_of_its_own(tmp_path: Path) -> None:
    alone = Serve(data_parallel_size=4)
    seen = [
        server(tmp_path, alone, copy).environment(tmp_path)["CUDA_VISIBLE_DEVICES"]
        for copy in range(4)
    ]
    assert seen == ["0", "1", "2", "3"]
    pairs = Serve(data_parallel_size=2, tensor_parallel_size=2)
    assert [gpus_of(copy, pairs) for copy in range(2)] == ["0,1", "2,3"]


def test_the_cards_that_we_may_use_are_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7,GPU-1a,GPU-1b")
    pairs = Serve(data_parallel_size=2, tensor_parallel_size=2)
    assert [gpus_of(copy, pairs) for copy in range(2)] == ["6,7", "GPU-1a,GPU-1b"]


@pytest.mark.usefixtures("four_gpus")
def test_too_few_gpus_are_said_before_anything_is_started(tmp_path: Path) -> None:
    wide = server(tmp_path, Serve(data_parallel_size=3, tensor_parallel_size=2))
    with pytest.raises(TeacherError, match=r"on 2 GPUs each need 6, found 4") as caught:
        wide.require_able()
    assert "serve.data_parallel_size=2" in caught.value.hint


@pytest.mark.usefixtures("four_gpus")
def test_vllm_may_share_the_requests_itself(tmp_path: Path) -> None:
    own = Serve(data_parallel_size=4, data_parallel="vllm", tensor_parallel_size=1)
    assert own.copies == 1
    one = server(tmp_path, own)
    command = one.command(tmp_path / "s")
    assert command[command.index("--data-parallel-size") + 1] == "4"
    assert one.environment(tmp_path)["CUDA_VISIBLE_DEVICES"] == "0,1,2,3"
    one.require_able()
    separate = server(tmp_path, Serve(data_parallel_size=4)).command(tmp_path / "s")
    assert "--data-parallel-size" not in separate


@pytest.mark.parametrize(
    ("cores", "copies", "threads"), [(4, 1, 3), (4, 2, 1), (4, 3, 1), (2, 2, 1), (2, 1, 1)]
)
def test_copies_on_a_cpu_share_its_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, copies: int, threads: int
) -> None:
    monkeypatch.setattr(vllm, "on_gpu", lambda: False)
    monkeypatch.setattr(vllm, "cpu_count", lambda: cores)
    variables = cpu_environment(Serve(data_parallel_size=copies))
    assert variables["OMP_NUM_THREADS"] == str(threads)


def test_the_first_starts_alone_and_the_others_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    for name in ("launch", "await_health", "stop"):
        monkeypatch.setattr(
            Server, name, lambda self, name=name: events.append(f"{name} {self.copy}")
        )
    serve = Serve(data_parallel_size=3)
    with running_copies([server(tmp_path, serve, copy) for copy in range(3)]):
        events.append("at work")
    assert events == [
        "launch 0",
        "await_health 0",
        "launch 1",
        "launch 2",
        "await_health 1",
        "await_health 2",
        "at work",
        "stop 0",
        "stop 1",
        "stop 2",
    ]


def test_a_copy_that_does_not_start_stops_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[int] = []

    def wait(self: Server) -> None:
        if self.copy == 2:
            raise TeacherError("out of memory")

    monkeypatch.setattr(Server, "launch", lambda self: None)
    monkeypatch.setattr(Server, "await_health", wait)
    monkeypatch.setattr(Server, "stop", lambda self: stopped.append(self.copy))
    serve = Serve(data_parallel_size=3)
    with (
        pytest.raises(TeacherError, match="out of memory"),
        running_copies([server(tmp_path, serve, copy) for copy in range(3)]),
    ):
        pass
    assert stopped == [0, 1, 2]


def test_a_model_of_several_copies_is_asked_at_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    monkeypatch.setattr(serving, "checked", lambda spec: tmp_path)
    monkeypatch.setattr(serving, "served_template", lambda *_: None)
    monkeypatch.setattr(Server, "launch", lambda self: self._private_folder())
    monkeypatch.setattr(Server, "await_health", lambda self: None)
    spec = ModelSpec(name="m", path="m", roles=["teacher"], context=64, licence="x")
    said: list[str] = []

    async def go() -> list[dict[str, object]]:
        client = connect("m", Sampling())
        states = client.balancer.states()
        await client.close()
        return states

    with serving.serving(spec, Serve(data_parallel_size=3), tmp_path, Silent()) as connect:
        states = asyncio.run(go())
    assert len({str(state["url"]) for state in states}) == 3
    assert said == []
