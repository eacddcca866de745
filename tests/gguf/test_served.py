"""GGUF files that llama.cpp serves as they are: our child, asked as any teacher; what such an entry
cannot do is refused with the way out."""

import json
import os
import signal
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from localinstruct import readiness
from localinstruct.errors import LocalInstructError, ModelError
from localinstruct.fit.shape import shape_of
from localinstruct.interrupt import run_async
from localinstruct.models.catalog import ModelSpec, checked, load_catalog, verify
from localinstruct.models.gguf_header import Header
from localinstruct.pipeline import NAMES
from localinstruct.progress import Silent
from localinstruct.recipe import load_recipe
from localinstruct.records import Completion, Message, Prompt
from localinstruct.teacher import Sampling, Serve
from localinstruct.teacher.llama_cpp import LlamaServer, cache_bytes
from localinstruct.teacher.serving import Connect, serving
from localinstruct.teacher.vllm import running
from tests.export.test_export import said
from tests.gguf.test_importing import written
from tests.support.gguf_students import cutting_as, save_random
from tests.support.tiny_student import Recorded

pytest.importorskip("xllamacpp", reason="pip install 'localinstruct[gguf]'")
ROOT = Path(__file__).parents[2]
SMALL = Serve(max_num_seqs=4, max_model_len=256)
YES = {"type": "object", "properties": {"a": {"enum": [1, 22]}}, "required": ["a"]}
CLOSED = YES | {"additionalProperties": False}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("file")
    return written(save_random(place / "first", cutting_as("qwen2")), place / "x.gguf")


def spec(file: Path, **more: Any) -> ModelSpec:
    terms = {"roles": ["teacher"], "chat": True, "context": 512, "licence": "MIT"}
    return ModelSpec(name="packed", gguf=str(file), **terms | more)


def ask(connect: Connect, prompt: Prompt) -> list[Completion]:
    async def once() -> list[Completion]:
        client = connect("packed", Sampling(max_tokens=24))
        try:
            return await client.complete(prompt)
        finally:
            await client.close()

    return run_async(once())


def test_llama_cpp_serves_the_file_as_our_child(file: Path, tmp_path: Path) -> None:
    """Chats, texts, several samples, JSON under a schema in both protocols; no prompt in its log;
    gone at the end."""
    chat = Prompt(messages=(Message("user", "Name a secret river."),), n=2)
    with serving(spec(file), SMALL, tmp_path, Recorded()) as connect:
        answers = ask(connect, chat)
        assert len(answers) == 2
        assert all(answer.text and answer.tokens >= 0 for answer in answers)
        assert ask(connect, Prompt(text="A secret", raw=True))[0].text
        for prompt in (chat, Prompt(text="A secret", raw=True)):
            [form] = ask(connect, replace(prompt, n=1, schema=CLOSED, max_tokens=150))
            assert form.decoding == "constrained"
            assert json.loads(form.text)["a"] in (1, 22)
        long = ask(connect, Prompt(messages=(Message("user", "word " * 300),)))
        assert "exceeds the available context size" in long[0].finish_reason
    log = (tmp_path / "logs" / "llama-cpp.log").read_text()
    assert "secret" not in log
    assert not processes_of("localinstruct.teacher.llama_cpp")


def processes_of(word: str) -> list[int]:
    """Children of this process, and theirs, that have the word in their command line."""
    mine = {os.getpid()}
    found = []
    for _ in range(4):
        for path in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                command = (path / "cmdline").read_text()
            except (OSError, IndexError):
                continue
            number = int(path.name)
            if parent in mine and number not in mine:
                mine.add(number)
                if word in command and "supervisor" not in command:
                    found.append(number)
    return found


def test_it_is_started_again_and_listens_where_only_we_can_read(file: Path, tmp_path: Path) -> None:
    progress = Recorded()
    server = LlamaServer(file, "packed", SMALL, tmp_path, "llama-cpp", progress, context=64)
    with running(server):
        folder = Path(server.url.removeprefix("unix://")).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        [process] = processes_of("localinstruct.teacher.llama_cpp")
        os.kill(process, signal.SIGKILL)
        assert server._ward is not None
        server._ward.process.wait()
        run_async(server.recover())
        assert server.alive()
        assert processes_of("localinstruct.teacher.llama_cpp") != [process]
    assert any("llama.cpp died; starting it again (1 of 3)" in line for line in progress.said)
    assert not folder.exists()


def test_a_file_that_llama_cpp_cannot_load_ends_with_its_words(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + bytes(40))
    with (
        pytest.raises(LocalInstructError, match=r"cannot be read|llama.cpp stopped while starting"),
        serving(spec(tmp_path / "x.gguf"), SMALL, tmp_path, Silent()),
    ):
        pass


def test_what_such_an_entry_cannot_do_is_refused_with_the_way_out(
    file: Path, tmp_path: Path
) -> None:
    packed = spec(file, roles=["teacher", "student"])
    way = f"localinstruct models import {file} --name packed-unpacked"
    with pytest.raises(ModelError) as loaded:
        _ = packed.directory
    with (
        pytest.raises(ModelError) as adapted,
        serving(packed, SMALL, tmp_path, Silent(), {"first": tmp_path}),
    ):
        pass
    (tmp_path / "models.yaml").write_text(
        (ROOT / "models.yaml").read_text()
        + yaml.safe_dump({"packed": packed.model_dump(exclude_defaults=True, exclude={"name"})})
    )
    for name in ("recipes", "seeds"):
        (tmp_path / name).symlink_to(ROOT / name)
    recipe = load_recipe(ROOT / "recipes" / "nano.yaml", ("models.student=packed",))
    with pytest.raises(LocalInstructError) as trained:
        readiness.require(recipe, NAMES, tmp_path, Silent())
    for caught in (loaded, adapted, trained):
        assert way in f"{caught.value.message} {caught.value.hint}"
    assert shape_of(packed) is None


def test_an_entry_is_relative_to_models_yaml_and_held_against_its_digest(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.gguf").write_bytes(file.read_bytes())
    entry = {"gguf": "x.gguf", "roles": ["teacher"], "context": 64, "licence": "MIT"}
    (tmp_path / "models.yaml").write_text(yaml.safe_dump({"packed": entry}))
    found = load_catalog(tmp_path).get("packed")
    assert checked(found) == tmp_path / "x.gguf"
    before = found.digest
    pinned = found.model_copy(update={"sha256": {"x.gguf": "0" * 64}})
    assert "altered" in verify(pinned)[0]
    (tmp_path / "x.gguf").write_bytes(b"GGUF and more")
    assert found.digest != before
    (tmp_path / "x.gguf").write_bytes(b"PK")
    assert "other bytes" in verify(found)[0]
    (tmp_path / "x.gguf").unlink()
    assert "found nothing there" in verify(found)[0]
    assert not found.present
    monkeypatch.chdir(tmp_path)
    assert "packed" in said("models", "list")


def test_as_many_sequences_as_the_cache_holds(file: Path) -> None:
    fields = {
        "general.architecture": "llama",
        "llama.block_count": 30,
        "llama.embedding_length": 576,
        "llama.attention.head_count": 9,
        "llama.attention.head_count_kv": 3,
    }
    assert cache_bytes(Header(file, fields, {})) == 30 * 3 * (64 + 64) * 2
    layers = {**fields, "llama.attention.head_count_kv": [0, 3, 0], "llama.block_count": 3}
    assert cache_bytes(Header(file, layers, {})) == 3 * (64 + 64) * 2
    progress = Recorded()
    from localinstruct.teacher.serving import server_of

    wide = Serve(max_num_seqs=64, max_model_len=16_000_000)
    server = server_of(spec(file), wide, file.parent, progress)
    assert isinstance(server, LlamaServer)
    assert server.slots == 1
    assert "llama.cpp decodes 1 sequences of 16,000,000 tokens together" in progress.said[0]
