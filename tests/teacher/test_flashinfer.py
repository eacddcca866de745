"""FlashInfer's kernels: here or not, of the right version, and never fetched."""

from pathlib import Path

import pytest

from localinstruct.bundle.wheels import Wheel, kernel_commands
from localinstruct.teacher import flashinfer

OURS = "0.7.2.post1"
FULL = {
    "flashinfer-python": OURS,
    "flashinfer-cubin": OURS,
    "flashinfer-jit-cache": f"{OURS}+cu130",
}


def without(*names: str, **others: str) -> dict[str, str]:
    kept = {name: number for name, number in FULL.items() if name not in names}
    return kept | {name.replace("_", "-"): number for name, number in others.items()}


@pytest.mark.parametrize(
    ("installed", "tools", "word", "names"),
    [
        ({}, True, "absent", ""),
        (FULL, False, "ready", ""),
        (without("flashinfer-cubin"), False, "off", "flashinfer-cubin"),
        (without("flashinfer-cubin"), True, "would compile", "flashinfer-cubin"),
        (without("flashinfer-jit-cache"), True, "would compile", "flashinfer-jit-cache"),
        (without("flashinfer-jit-cache"), False, "would compile", "nvcc is missing"),
        (without(flashinfer_cubin="0.6.13"), True, "mismatched", "flashinfer-cubin 0.6.13"),
    ],
)
def test_the_state_of_the_kernels_is_named(
    monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], tools: bool, word: str, names: str
) -> None:
    monkeypatch.setattr(flashinfer, "which", lambda program: program if tools else None)
    found = flashinfer.state(installed)
    assert found.word == word
    assert names in found.words
    assert bool(found.fix) == (word not in ("absent", "ready"))
    if found.fix:
        assert f"flashinfer-cubin=={OURS}" in found.fix


@pytest.mark.parametrize("named", ["", "https://somewhere.example/cubins/", "relative/folder"])
def test_kernels_are_looked_for_on_this_machine_alone(named: str) -> None:
    given = {"FLASHINFER_CUBINS_REPOSITORY": named, "FLASHINFER_WORKSPACE_BASE": "/srv"}
    found = flashinfer.environment(given)
    assert found["FLASHINFER_CUBINS_REPOSITORY"] == "/srv/.cache/flashinfer/cubins"
    assert found["FLASHINFER_NO_DOWNLOAD"] == "1"


def test_a_folder_that_somebody_chose_stays() -> None:
    given = {"FLASHINFER_CUBINS_REPOSITORY": "/opt/cubins"}
    assert flashinfer.environment(given)["FLASHINFER_CUBINS_REPOSITORY"] == "/opt/cubins"


@pytest.mark.parametrize(
    ("wheels", "missing"),
    [
        ([("torch", "2.14.0")], []),
        (list(FULL.items()), []),
        (
            [("flashinfer-python", OURS)],
            [f"flashinfer-cubin=={OURS}", f"flashinfer-jit-cache=={OURS}"],
        ),
        (
            [*without("flashinfer-cubin").items(), ("flashinfer-cubin", "0.6.13")],
            [f"flashinfer-cubin=={OURS}"],
        ),
    ],
)
def test_wheels_that_do_not_come_along_are_named_and_asked_for(
    wheels: list[tuple[str, str]], missing: list[str]
) -> None:
    assert flashinfer.missing_wheels(wheels) == missing
    read = [Wheel(Path(name), name, number, "", "") for name, number in wheels]
    commands = kernel_commands(["pip", "download", "localinstruct[gpu]"], read)
    assert [command[-2:] for command in commands] == [["--no-deps", name] for name in missing]
    assert all("localinstruct[gpu]" not in command for command in commands)
