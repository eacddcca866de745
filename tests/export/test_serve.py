"""Serving: the line to paste, sockets and ports, the template for chats, and the adapter kept to
its own."""

import json
import shlex
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from localinstruct.errors import ModelError, UsageError
from localinstruct.export import serve
from localinstruct.export.served import Served
from localinstruct.models.catalog import ModelSpec
from localinstruct.offline import seal
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe
from localinstruct.teacher import Serve
from localinstruct.teacher import vllm as vllm_module
from localinstruct.teacher.vllm import Server, vllm_command
from tests.support.tiny_student import byte_level, recipe_data
from tests.support.trained_runs import workspace

COMMAND = [sys.executable, "-m", "localinstruct"]


def server(**more: Any) -> Server:
    return Server(Path("m"), "n", Serve(), Path(), "vllm", Silent(), **more)


def test_the_line_to_paste_asks_the_student_where_it_is() -> None:
    one = server(url="unix:///tmp/x/vllm.sock")
    words = shlex.split(serve.curl(Served("student", one, lambda *_: None)))  # type: ignore[arg-type, return-value]
    assert words[:4] == [
        "curl",
        "--unix-socket",
        "/tmp/x/vllm.sock",
        "http://localhost/v1/chat/completions",
    ]
    assert json.loads(words[-1])["model"] == "student"
    two = server(url="http://127.0.0.1:8000/v1", port=8000)
    words = shlex.split(serve.curl(Served("student", two, lambda *_: None)))  # type: ignore[arg-type, return-value]
    assert words[1] == "http://127.0.0.1:8000/v1/chat/completions"


def test_a_port_is_opened_on_loopback_only_and_the_socket_is_the_default() -> None:
    by_port = vllm_command(server(port=8123), Path("f/s"))
    assert by_port[by_port.index("--host") :][:4] == ["--host", "127.0.0.1", "--port", "8123"]
    assert "--uds" not in by_port
    by_socket = vllm_command(server(), Path("f/s"))
    assert "--host" not in by_socket
    assert "--port" not in by_socket


def test_adapters_leave_the_last_place_empty_on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "adapter_config.json").write_text('{"r": 8}')
    for gpu, places in ((False, "2"), (True, "1")):
        monkeypatch.setattr(vllm_module, "on_gpu", lambda gpu=gpu: gpu)
        command = vllm_command(server(adapters={"student": tmp_path}), Path("f/s"))
        assert command[command.index("--max-loras") + 1] == places


@pytest.mark.parametrize(
    ("config", "words"), [({"r": 8, "use_dora": True}, "DoRA adapter"), ({"r": 513}, "rank 513")]
)
def test_an_adapter_that_vllm_cannot_serve_is_named_before_it_starts(
    config: dict[str, Any], words: str, tmp_path: Path
) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=f"{words}, which vLLM cannot serve") as caught:
        server(adapters={"student": tmp_path}).start()
    assert "export" in caught.value.hint


def test_a_port_that_is_in_use_or_sealed_off_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match="Address already in use"):
            serve._require_port(port)
    serve._require_port(port)
    monkeypatch.setattr(seal, "status", lambda: seal.Seal(True, "a backend", (), ()))
    with pytest.raises(UsageError, match="nobody outside the seal"):
        serve._require_port(port)


def test_an_alpaca_student_is_served_with_its_template_for_chats(tmp_path: Path) -> None:
    from localinstruct.models.catalog import load_catalog

    spec: ModelSpec = load_catalog(workspace(tmp_path, byte_level())).get("tiny")
    asked = serve._as_chat(spec, Recipe.model_validate(recipe_data()))
    assert asked.chat
    assert "### Response:" in (asked.chat_template or "")
    assert (
        serve._as_chat(spec, Recipe.model_validate(recipe_data(train={"template": "chat"}))) is spec
    )
