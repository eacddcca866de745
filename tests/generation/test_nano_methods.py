"""The methods beside Alpaca's on a real vLLM: their recipes as they stand, with a smaller
target."""

import json
from collections import Counter
from pathlib import Path

import pytest

from localinstruct.formats import read_instances, write
from localinstruct.generation import stage
from localinstruct.nano.grammar import check
from localinstruct.progress import Silent
from localinstruct.recipe import load_recipe
from localinstruct.records import Instance
from localinstruct.store.run import open_run, read_run
from tests.documents.test_grounded_folder import ORDERS, require_not_followed
from tests.methods.test_grounded import TEXT
from tests.support.nano_server import nano_workspace

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.vllm, pytest.mark.slow]


def rows_from(name: str, url: str, folder: Path, *settings: str) -> list[Instance]:
    workspace = nano_workspace(folder / "workspace", url)
    recipe = load_recipe(workspace / "recipes" / f"{name}.yaml", ("generate.target=12", *settings))
    with open_run(folder / "run") as run:
        result = stage.run(recipe, run, Silent(), workspace=workspace)
        assert result["kept"] >= 12
        return list(run.kept())


def test_self_instruct(nano_server: str, tmp_path: Path) -> None:
    rows = rows_from("self-instruct", nano_server, tmp_path, "generate.target=40")
    assert min(Counter(row.is_classification for row in rows)[kind] for kind in (True, False)) >= 2
    assert min(Counter(bool(row.input) for row in rows)[given] for given in (True, False)) >= 2
    assert {row.lineage.method for row in rows} == {"self-instruct"}
    assert all(len(row.lineage.parents) == 8 and row.lineage.teacher for row in rows)


def test_evol_instruct(nano_server: str, tmp_path: Path) -> None:
    rows = rows_from("evol-instruct", nano_server, tmp_path, "generate.target=30")
    ids = {row.id for row in rows}
    assert all(
        row.lineage.method.startswith("evol-instruct/") and len(row.lineage.parents) == 1
        for row in rows
    )
    assert any(row.lineage.parents[0] in ids for row in rows)  # a child of a child


def test_magpie_in_two_turns(nano_server: str, tmp_path: Path) -> None:
    rows = rows_from("magpie", nano_server, tmp_path, "method.magpie.turns=2")
    assert Counter(len(row.history) for row in rows)[2] >= 6
    assert not any("Input:" in row.instruction or "###" in row.output for row in rows)


def test_answer(nano_server: str, tmp_path: Path) -> None:
    rows = rows_from("answer", nano_server, tmp_path)
    assert all(
        row.lineage.answered_by == row.lineage.teacher and row.lineage.original for row in rows
    )
    assert all(1 <= row.lineage.scores["helpful-correct"] <= 5 for row in rows)


def test_preference(nano_server: str, tmp_path: Path) -> None:
    rows = rows_from("preference", nano_server, tmp_path)
    scores = [row.lineage.scores for row in rows]
    assert all(row.rejected and row.rejected != row.output for row in rows)
    assert all(one["helpful-correct"] >= one["helpful-correct.rejected"] + 0.5 for one in scores)
    assert write(rows, "preference", tmp_path / "pairs.jsonl") == len(rows)


def test_grounded(nano_server: str, tmp_path: Path) -> None:
    rows = rows_from("grounded", nano_server, tmp_path, "generate.target=30")
    assert len({row.lineage.source for row in rows}) == 5  # of all five types
    assert all(
        row.lineage.method.startswith("grounded/") and len(row.lineage.parents) == 1 for row in rows
    )
    quoted = [row for row in rows if row.lineage.evidence]
    assert len(quoted) >= 12
    assert all(
        quote in row.input and quote[:20] in row.output
        for row in quoted
        for quote in row.lineage.evidence
    )
    with read_run(tmp_path / "run") as run:
        asked = [
            reply
            for _, _, _, prompt, replies in run.completion_log()
            if prompt["schema"]
            for reply in replies
        ]
    assert {reply.decoding for reply in asked} == {"constrained"}


@pytest.mark.exhaustive
def test_grounded_on_documents_with_orders(nano_server: str, tmp_path: Path) -> None:
    workspace = nano_workspace(tmp_path / "workspace", nano_server)
    for n, order in enumerate(ORDERS):
        # in one passage
        (workspace / f"seeds/documents/order-{n}.txt").write_text(f"{order} {TEXT}", "utf-8")
    recipe = load_recipe(
        workspace / "recipes/grounded.yaml", ("generate.target=60", "method.grounded.per_source=10")
    )
    with open_run(tmp_path / "run") as run:
        stage.run(recipe, run, Silent(), workspace=workspace)
        rows = list(run.kept())
        asked = [prompt["text"] for _, _, _, prompt, _ in run.completion_log()]
    require_not_followed(rows)
    assert all(
        any(" ".join(order.split()[:4]) in " ".join(text.split()) for text in asked)
        for order in ORDERS
    )
    assert any(row.lineage.source.startswith("order-") for row in rows)


@pytest.mark.exhaustive
def test_judged(nano_server: str, tmp_path: Path) -> None:
    rows = rows_from("judged", nano_server, tmp_path)
    assert all(row.lineage.scores["alpaca-5-point"] >= 2.5 for row in rows)
    with read_run(tmp_path / "run") as run:
        low = [reject for _, reject in run.rejects("judged too low")]
        asked = [
            reply
            for _, _, _, prompt, replies in run.completion_log()
            if prompt["schema"]
            for reply in replies
        ]
    assert low
    assert all(reject.score is not None and reject.score < 2.5 for reject in low)
    assert {reply.decoding for reply in asked} == {"constrained"}
    assert len(asked) >= 2 * len(rows)
    assert all(set(json.loads(reply.text)) == {"quality"} for reply in asked)


def test_cot_self_instruct_keeps_what_is_right(nano_server: str, tmp_path: Path) -> None:
    rows = rows_from("cot-self-instruct", nano_server, tmp_path, "generate.target=30")
    assert all(row.lineage.scores["agreement"] > 0.5 for row in rows)
    assert all(len(row.lineage.parents) == 2 for row in rows)
    verdicts = Counter(check(row.instruction, row.input, row.output) for row in rows)
    assert verdicts[True] > 4 * verdicts[False]
    with read_run(tmp_path / "run") as run:
        reasons = {reason for stage_of, reason, _ in run.reject_counts() if "cot" in stage_of}
    assert reasons & {"no majority", "majority differs from the written answer"}


def test_rewrite(nano_server: str, tmp_path: Path) -> None:
    rows = rows_from("rewrite", nano_server, tmp_path)
    seeds = {
        seed.id: seed
        for seed in read_instances(ROOT / "seeds/nano_seed_tasks.jsonl", first_instance_only=True)
    }
    assert all(row.lineage.method == "rewrite" and len(row.lineage.parents) == 1 for row in rows)
    parents = [seeds[row.lineage.parents[0]] for row in rows]
    assert all(
        row.input == parent.input and row.instruction != parent.instruction
        for row, parent in zip(rows, parents, strict=True)
    )
