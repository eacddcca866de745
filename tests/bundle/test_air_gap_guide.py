"""docs/air-gap.md: its commands exist with those options, and its unit is the one the seal
writes."""

import re
import shlex
from pathlib import Path

import pytest

from localinstruct.bundle.pack import PROGRAMS, write_programs
from localinstruct.errors import BundleError
from localinstruct.store.durable import sha256
from tests.cli.test_sealed_commands import commands as all_commands
from tests.support.air_gap import GUIDE, blocks, commands


def test_every_command_of_the_guide_exists() -> None:
    import inspect

    from localinstruct.cli.app import app

    known, seen = dict(all_commands(app)), 0
    for line in commands():
        words = shlex.split(line)
        if words[0] != "localinstruct":
            continue
        name = next(name for name in (" ".join(words[1:3]), words[1]) if name in known)
        options = {
            word[2:].replace("-", "_").split("=")[0] for word in words if word.startswith("--")
        }
        assert options - {"cpu"} <= known[name], line
        seen += 1
    assert seen >= 12
    assert inspect.signature(
        app.registered_commands[0].callback or app
    ).parameters  # the table above is not empty


def test_the_guide_goes_the_whole_way() -> None:
    text = "\n".join(commands())
    for words in (
        "bundle pack",
        "bundle programs desk",
        "desk/VERIFY.py",
        "desk/SIGNATURE.py",
        "desk/UNPACK.py wheelhouse",
        "--no-index",
        "--require-hashes",
        "doctor",
        "bundle import",
        "--sealed",
        "verify-report",
        "--run first",
    ):
        assert words in text, words
    assert not [line for line in commands() if "$STICK/bundle/" in line]  # runs nothing from there
    assert [number for number in range(1, 6) if not blocks(number)] == []


def test_its_unit_holds_what_it_starts() -> None:
    [unit] = re.findall(r"```ini\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    for line in (
        "PrivateNetwork=yes",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "User=lab",
        "RestrictNamespaces=yes",
    ):
        assert f"\n{line}\n" in unit
    assert "AF_VSOCK" not in unit


def test_other_pages_lead_here() -> None:
    from tests.support.sealing import ROOT

    assert "docs/air-gap.md" in (ROOT / "README.md").read_text()
    assert "air-gap.md" in (ROOT / "docs" / "bundle.md").read_text()


def test_a_guard_desks_own_programs_are_ours_and_never_replaced(tmp_path: Path) -> None:
    digests = write_programs(tmp_path / "desk")
    assert digests == write_programs(tmp_path / "desk")
    for name, program in PROGRAMS.items():
        path = tmp_path / "desk" / name
        assert path.read_bytes() == Path(str(program.__file__)).read_bytes()
        assert digests[name] == sha256(path)
    (tmp_path / "desk" / "VERIFY.py").write_text("print('All that was asked for is right.')")
    with pytest.raises(BundleError, match="is another program"):
        write_programs(tmp_path / "desk")
    with pytest.raises(BundleError, match="expected a folder"):
        write_programs(tmp_path / "desk" / "VERIFY.py")
