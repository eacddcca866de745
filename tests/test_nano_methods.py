"""Self-Instruct, Evol-Instruct and Magpie on a real vLLM: their recipes as they stand, with a smaller target."""

from collections import Counter
from pathlib import Path

import pytest

from localinstruct.progress import Silent
from localinstruct.recipe import load_recipe
from localinstruct.records import Instance
from localinstruct.run import open_run
from localinstruct.stages import generate
from tests.nano_server import nano_workspace

pytestmark = [pytest.mark.vllm, pytest.mark.slow]


def rows_from(name: str, url: str, folder: Path, *settings: str) -> list[Instance]:
    workspace = nano_workspace(folder / "workspace", url)
    recipe = load_recipe(workspace / "recipes" / f"{name}.yaml", ("generate.target=12", *settings))
    with open_run(folder / "run") as run:
        result = generate.run(recipe, run, Silent(), workspace=workspace)
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
    assert all(row.lineage.method.startswith("evol-instruct/") and len(row.lineage.parents) == 1 for row in rows)
    assert any(row.lineage.parents[0] in ids for row in rows)  # a child of a child


def test_magpie_in_two_turns(nano_server: str, tmp_path: Path) -> None:
    rows = rows_from("magpie", nano_server, tmp_path, "method.magpie.turns=2")
    assert Counter(len(row.history) for row in rows)[2] >= 6
    assert not any("Input:" in row.instruction or "###" in row.output for row in rows)
