"""A harmed or malicious bundle is found out, by us and by the VERIFY.py in it, and the bad part is
named."""

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localinstruct.bundle import ed25519, guard, takeout
from localinstruct.bundle.unpack import import_bundle
from localinstruct.bundle.verify import verify
from localinstruct.errors import BundleError
from localinstruct.progress import Silent
from localinstruct.signing import make_key_pair
from localinstruct.store.durable import sha256
from tests.support.bundle_samples import bundle, forge, made_of, tree, workspace
from tests.support.bundle_torture import FAULTS, flips, part_faults, run, standalone

Edit = Callable[[dict[str, Any]], Any]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    make_key_pair(folder / "key")
    bundle(workspace(folder / "here"), folder / "bundle", folder / "key")
    return folder


@pytest.fixture
def packed(made_once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made_once / "bundle", tmp_path / "bundle")


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.exhaustive)])
def test_flipped_bits(packed: Path, made_once: Path, count: int) -> None:
    before = tree(packed)
    assert flips(packed, count, seed=5, key=made_once / "key.pub") == []
    assert tree(packed) == before
    assert verify(packed, Silent(), key=made_once / "key.pub", full=True).exit_code == 0


@pytest.mark.parametrize("count", [42, pytest.param(210, marks=pytest.mark.exhaustive)])
def test_harmed_parts(packed: Path, count: int) -> None:
    assert part_faults(packed, count, seed=6) == []
    assert len(FAULTS) == 6


def test_a_harmed_part_is_named_by_the_import_and_only_it_is_read_again(
    packed: Path, tmp_path: Path
) -> None:
    part = packed / "part0003.bin"
    whole = part.read_bytes()
    part.write_bytes(whole[:100] + bytes([whole[100] ^ 4]) + whole[101:])
    with pytest.raises(BundleError) as caught:
        import_bundle(packed, tmp_path / "there", Silent())
    assert "part0003.bin: damaged" in caught.value.message
    assert "models/big-teacher/model.safetensors" in caught.value.message
    part.write_bytes(whole)
    for done in ("part0001.bin", "part0002.bin"):
        (packed / done).write_bytes(b"no longer looked at")
    # models.yaml lies in the first part and is kept from the first attempt
    import_bundle(packed, tmp_path / "there", Silent())
    assert (tmp_path / "there/models/big-teacher/model.safetensors").stat().st_size > 300_000


def test_a_part_in_the_place_of_another_is_recognised(packed: Path) -> None:
    shutil.copy(packed / "part0004.bin", packed / "part0002.bin")
    assert "this is part0004.bin" in verify(packed, Silent()).problems[0][1]


def test_names_in_other_scripts_stop_no_terminal(tmp_path: Path) -> None:
    made_of(tmp_path / "bad", ["seeds/\u4e2d\u6587.jsonl"])
    (tmp_path / "bad" / "part0001.bin").write_bytes(b"")
    shutil.copy(guard.__file__, tmp_path / "VERIFY.py")
    code, said = run(standalone(tmp_path), tmp_path / "bad")
    assert (code, said.isascii()) == (1, True)
    assert r"seeds/\u4e2d\u6587.jsonl" in said


# -- malicious manifests: right digests and ids, wrong intentions ---------------------------------

PATHS: dict[str, tuple[list[str], str]] = {
    "absolute": (["/etc/passwd"], "absolute path"),
    "climbing": (["../outside"], "climbs"),
    "climbing inside": (["models/x/../../../outside"], "climbs"),
    "a dot": (["models/./x"], "climbs or has an empty part"),
    "an empty part": (["models//x"], "empty part"),
    "a folder as a file": (["models/x/"], "empty part"),
    "no name": ([""], "1 to 240"),
    "a long name": (["models/" + "x" * 240], "1 to 240"),
    "a drive": (["C:/Windows/x"], "backslash or colon"),
    "a stream": (["models/x:hidden"], "backslash or colon"),
    "a backslash": (["models\\..\\x"], "backslash"),
    "a share": (["\\\\server\\x"], "backslash"),
    "con": (["models/con"], "device name"),
    "aux with an ending": (["models/aux.txt"], "device name"),
    "com1 in capitals": (["models/COM1.json"], "device name"),
    "lpt with a high digit": (["models/lpt\u00b2.txt"], "device name"),
    "nul and a blank": (["models/NUL .txt"], "device name"),
    "a device as a folder": (["models/prn/x"], "device name"),
    "hidden": (["models/.ssh"], "hidden"),
    "the shell's": ([".bashrc"], "hidden"),
    "git's": (["program/.git/hooks/post-checkout"], "hidden"),
    "a dot at the end": (["models/x."], "ends with a dot"),
    "a blank at the end": (["models/x "], "blank"),
    "a blank first": (["models/ x"], "blank"),
    "right to left": (["models/gpj\u202e.exe"], "invisible"),
    "zero width": (["models/a\u200bb"], "invisible"),
    "a NUL": (["models/a\0b"], "invisible"),
    "a line": (["models/a\nb"], "invisible"),
    "an escape": (["models/\x1b[2J"], "invisible"),
    "a lone surrogate": (["models/\ud800"], "invisible"),
    "a question mark": (["models/what?"], "not allowed"),
    "a pipe": (["models/a|b"], "not allowed"),
    "decomposed": (["models/cafe\u0301"], "composed form"),
    "a short name": (["models/PROGRA~1"], "short name"),
    "another root": (["bin/x"], "not in one of the folders"),
    "a root as a file": (["models"], "not in one of the folders"),
    "below models.yaml": (["models.yaml/x"], "not in one of the folders"),
    "another catalog": (["Models.yaml"], "not in one of the folders"),
    "twice": (["seeds/x", "seeds/x"], "listed twice"),
    "case": (["seeds/X", "seeds/x"], "only in case"),
    "a folder's case": (["seeds/A/1", "seeds/a/2"], "its folder differs"),
    "sharp s": (["seeds/stra\u00dfe", "seeds/strasse"], "only in case or form"),
    "a ligature": (["seeds/\ufb01n", "seeds/fin"], "only in case or form"),
    "file and folder": (["seeds/x", "seeds/x/y"], "a file and a folder"),
}


@pytest.mark.parametrize("kind", PATHS)
def test_malicious_names_are_refused(kind: str, tmp_path: Path) -> None:
    paths, words = PATHS[kind]
    made_of(tmp_path / "bad", paths)
    refused_everywhere(tmp_path, words)


def test_the_same_bundle_with_good_names_is_taken(tmp_path: Path) -> None:
    made_of(tmp_path / "good", ["seeds/x", "seeds/y z-(1)+\u00e9\u4e2d.jsonl"], part=1000)
    assert verify(tmp_path / "good", Silent(), full=True).exit_code == 0
    assert len(import_bundle(tmp_path / "good", tmp_path / "there", Silent()).placed) == 2


def _set(*keys: Any) -> Edit:
    """Put the last of `keys` where the others lead."""

    def edit(manifest: dict[str, Any]) -> None:
        at: Any = manifest
        for key in keys[:-2]:
            at = at[key]
        at[keys[-2]] = keys[-1]

    return edit


EDITS: dict[str, tuple[Edit, str]] = {
    "another schema": (_set("schema", 2), "reads schema 1"),
    "another program's": (_set("bundle", "zarf\x1b[2J"), "reads schema 1"),
    "a key too many": (_set("run", "rm -rf ~"), "expected the keys"),
    "a key too few": (lambda m: m.pop("tool"), "expected the keys"),
    "a key too many in a file": (
        _set("files", 0, "mode", 0o4755),
        "an entry of files: expected the keys",
    ),
    "a text for a number": (_set("files", 0, "size", "3000"), "expected size to be a int"),
    "true for a number": (_set("parts", 0, "n", True), "expected n to be a int"),
    "a fraction": (_set("part_size", 65536.0), "expected part_size to be a int"),
    "less than nothing": (_set("files", 0, "size", -1), "possible size"),
    "more than any disk": (_set("files", 0, "size", 2**60), "possible size"),
    "more than the parts hold": (_set("files", 0, "size", 2**40), "more than the parts hold"),
    "a list for an entry": (_set("files", 0, []), "an entry of files"),
    "a text for a range": (_set("files", 0, "ranges", ["x"]), "a range of a file"),
    "a digest in capitals": (_set("parts", 0, "sha256", "A" * 64), "hexadecimal"),
    "a short digest": (_set("files", 0, "sha256", "ab"), "hexadecimal"),
    "no parts": (_set("parts", []), "at least one"),
    "parts of no bytes": (_set("part_size", 0), "at least one byte"),
    "a part elsewhere": (
        _set("parts", 0, "name", "../../etc/shadow"),
        "expected number 1 named part0001.bin",
    ),
    "a part by another number": (_set("parts", 1, "n", 1), "expected number 2"),
    "a part larger than parts": (_set("parts", 0, "size", 10**9), "do not fit"),
    "a part too short": (_set("parts", 0, "size", 900), "do not fit"),
    "files that overlap": (
        lambda m: m["files"][1].update(ranges=m["files"][0]["ranges"]),
        "leave a gap, overlap",
    ),
    "a gap": (_set("files", 0, "ranges", 0, "offset", 1), "leave a gap"),
    "a range in no part": (_set("files", 0, "ranges", 0, "part", 99), "leave a gap"),
    "a file without its place": (_set("files", 0, "ranges", []), "leave a gap"),
    "a last part with more": (
        lambda m: m["parts"][-1].update(size=m["parts"][-1]["size"] + 1),
        "the parts",
    ),
    "files out of order": (lambda m: m["files"].reverse(), "sorted by path"),
    "a program beside": (
        _set("side", [{"path": "run.sh", "size": 1, "sha256": "0" * 64}]),
        "beside the parts",
    ),
    "a climbing side file": (
        _set("side", [{"path": "LICENCES/../../x", "size": 1, "sha256": "0" * 64}]),
        "beside the parts",
    ),
    "a platform of lists": (_set("platform", {"x": [1]}), "expected texts"),
    "a wrong digest of a part": (_set("parts", 0, "sha256", "0" * 64), "damaged"),
}


@pytest.mark.parametrize("kind", EDITS)
def test_malicious_manifests_are_refused(kind: str, tmp_path: Path) -> None:
    edit, words = EDITS[kind]
    made_of(tmp_path / "bad", ["seeds/a", "seeds/b"], part=1000)
    forge(tmp_path / "bad", edit)
    refused_everywhere(tmp_path, words)


TEXTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a byte order mark": (lambda raw: b"\xef\xbb\xbf" + raw, "JSON in UTF-8"),
    "other line ends": (lambda raw: raw.replace(b"\n", b"\r\n"), "canonical form"),
    "a key twice": (
        lambda raw: raw.replace(b'{\n "bundle"', b'{\n "bundle": "x",\n "bundle"'),
        "canonical form",
    ),
    "a blank more": (lambda raw: raw + b" ", "canonical form"),
    "cut": (lambda raw: raw[:-10], "JSON in UTF-8"),
    "not a number": (lambda raw: raw.replace(b'"schema": 1', b'"schema": NaN'), "JSON in UTF-8"),
    "latin": (lambda raw: raw.replace(b"localinstruct", b"localinstruct\xe9"), "JSON in UTF-8"),
    "too deep": (lambda raw: b"[" * 3_000, "JSON in UTF-8"),
    "a number of too many digits": (lambda raw: b"9" * 5_000, "JSON in UTF-8"),
    "a list": (lambda raw: b"[]\n", "expected the keys"),
    "nothing": (lambda raw: b"", "JSON in UTF-8"),
    "too much": (lambda raw: raw + b" " * guard.MAX_MANIFEST, "larger than"),
    "an id that is not its own": (
        lambda raw: raw.replace(b'"created": ""', b'"created": "now"'),
        "its id does not belong",
    ),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_manifests_in_another_form_are_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MAX_MANIFEST", 2**16)
    change, words = TEXTS[kind]
    made_of(tmp_path / "bad", ["seeds/a", "seeds/b"])
    place = tmp_path / "bad" / "MANIFEST.json"
    before = place.read_bytes()
    place.write_bytes(change(before))
    assert place.read_bytes() != before
    refused_everywhere(tmp_path, words)


def refused_everywhere(tmp_path: Path, words: str) -> None:
    """Our check, VERIFY.py and the import refuse tmp_path/bad for this reason, and nothing is
    written."""
    verdict = verify(tmp_path / "bad", Silent())
    assert verdict.exit_code == 1
    assert words in "\n".join(problem for _, problem in verdict.problems)
    shutil.copy(guard.__file__, tmp_path / "VERIFY.py")  # a guard desk's own copy
    program = standalone(tmp_path)
    program.MAX_MANIFEST = guard.MAX_MANIFEST  # type: ignore[attr-defined]
    code, said = run(program, tmp_path / "bad")
    assert code == 1
    assert words in said
    assert "\x1b" not in said
    assert said.isascii()
    with pytest.raises(BundleError) as caught:
        import_bundle(tmp_path / "bad", tmp_path / "there", Silent())
    assert words in caught.value.message
    written = [
        path
        for path in (tmp_path / "there").rglob("*")
        if path.is_file() and ".import-" not in str(path)
    ]
    assert written == []


def _link_part(folder: Path) -> str:
    (folder / "part0001.bin").rename(folder.parent / "elsewhere")
    (folder / "part0001.bin").symlink_to(folder.parent / "elsewhere")
    return "part0001.bin"


def _pipe(folder: Path) -> str:
    (folder / "part0001.bin").unlink()
    os.mkfifo(folder / "part0001.bin")
    return "part0001.bin"


def _folder_as_part(folder: Path) -> str:
    (folder / "part0001.bin").unlink()
    (folder / "part0001.bin").mkdir()
    return "part0001.bin"


def _stranger(folder: Path) -> str:
    (folder / "autorun.inf").write_text("[autorun]")
    return "'autorun.inf'"


def _strange_folder(folder: Path) -> str:
    (folder / "tools").mkdir()
    return "'tools'"


def _stranger_among_licences(folder: Path) -> str:
    (folder / "LICENCES" / "x.py").write_text("1")
    return "'LICENCES/x.py'"


def _licences_elsewhere(folder: Path) -> str:
    (folder / "LICENCES").rename(folder.parent / "away")
    (folder / "LICENCES").symlink_to(folder.parent / "away")
    return "LICENCES"


def _stranger_with_escapes(folder: Path) -> str:
    (folder / "\x1b[2J").write_text("clears the screen")
    return r"'\x1b[2J'"


def _shadowing_module(folder: Path) -> str:
    (folder / "json.py").write_text("raise SystemExit(0)")
    return "'json.py'"


TRICKS = [
    _link_part,
    _pipe,
    _folder_as_part,
    _stranger,
    _strange_folder,
    _stranger_among_licences,
    _licences_elsewhere,
    _stranger_with_escapes,
    _shadowing_module,
]


@pytest.mark.parametrize("trick", TRICKS)
def test_tricks_with_the_folder_are_refused(
    trick: Callable[[Path], str], packed: Path, tmp_path: Path
) -> None:
    program = standalone(packed)
    name = trick(packed)
    assert name in [name for name, _ in verify(packed, Silent()).problems]
    code, said = run(program, packed)
    assert (code, f"BAD   {name}: " in said) == (1, True)
    with pytest.raises(BundleError, match=r"refused|not a regular file"):
        import_bundle(packed, tmp_path / "there", Silent())


def test_a_manifest_that_is_no_file_is_no_bundle(packed: Path) -> None:
    (packed / "MANIFEST.json").unlink()
    for make in (lambda: None, lambda: os.mkfifo(packed / "MANIFEST.json")):
        make()
        assert run(standalone(packed), packed)[0] == 2
        with pytest.raises(BundleError, match="not a bundle"):
            verify(packed, Silent())


def test_a_file_that_is_not_what_the_manifest_says(tmp_path: Path) -> None:
    made_of(tmp_path / "bad", ["seeds/a", "seeds/b"], part=1000)
    forge(tmp_path / "bad", _set("files", 1, "sha256", hashlib.sha256(b"other").hexdigest()))
    assert [name for name, _ in verify(tmp_path / "bad", Silent(), full=True).problems] == [
        "seeds/b"
    ]
    with pytest.raises(BundleError, match="seeds/b: its SHA-256 is"):
        import_bundle(tmp_path / "bad", tmp_path / "there", Silent())
    assert not (tmp_path / "there" / "seeds").exists()


CATALOGS: dict[str, tuple[str, str]] = {
    "a place elsewhere": ("x:\n  path: /etc\n", "expected models/NAME with digests"),
    "climbing": ("x:\n  path: models/../../x\n", "expected models/NAME with digests"),
    "an endpoint": (
        "x:\n  endpoint: unix:///x.sock\n  served_name: x\n",
        "expected models/NAME with digests",
    ),
    "a package": ("x:\n  package: {name: os}\n", "expected models/NAME with digests"),
    "no digests": ("x:\n  path: models/x\n", "expected models/NAME with digests"),
    "other digests": (
        f"x:\n  path: models/x\n  sha256: {{a.json: {'a' * 64}}}\n",
        "not the files that models.yaml",
    ),
    "a name that climbs": ("../x:\n  path: models/x\n", "expected a name"),
    "an unknown key": ("x:\n  path: models/x\n  run: rm\n", "unknown key"),
    "an object": ("x: !!python/object/apply:os.system [id]\n", "refused"),
    "aliases": ("a: &a [x]\nb: [*a, *a]\n", "aliases"),
    "no YAML": ("{", "not readable"),
    "no text": ("\udcff", "not readable"),
    "an empty file": ("# nothing\n", "refused"),
}


@pytest.mark.parametrize("kind", CATALOGS)
def test_malicious_catalogs_are_refused(kind: str, tmp_path: Path) -> None:
    text, words = CATALOGS[kind]
    text = text.replace("x:\n", "x:\n  roles: [teacher]\n  context: 512\n  licence: MIT\n", 1)
    made_of(tmp_path / "bad", ["models.yaml"], text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BundleError) as caught:
        import_bundle(tmp_path / "bad", tmp_path / "there", Silent())
    assert words in caught.value.message
    assert not (tmp_path / "there" / "models.yaml").exists()


# -- VERIFY.py and SIGNATURE.py as a guard desk runs them -----------------------------------------


def test_the_programs_in_the_bundle_are_ours(packed: Path) -> None:
    assert (packed / "VERIFY.py").read_bytes() == Path(guard.__file__).read_bytes()
    assert (packed / "SIGNATURE.py").read_bytes() == Path(ed25519.__file__).read_bytes()
    assert (packed / "UNPACK.py").read_bytes() == Path(takeout.__file__).read_bytes()


@pytest.mark.parametrize("name", ["VERIFY.py", "SIGNATURE.py", "UNPACK.py"])
def test_the_programs_need_python_3_8_and_nothing_else(name: str, packed: Path) -> None:
    tree = ast.parse((packed / name).read_text("ascii"), feature_version=(3, 8))
    used = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    used |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert len(used) >= 5
    assert {module.split(".")[0] for module in used} <= sys.stdlib_module_names
    called = {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    if name == "UNPACK.py":
        assert not called & {"system", "Popen", "removeprefix", "rmtree"}
        return
    assert not called & {
        "write_bytes",
        "write_text",
        "unlink",
        "rename",
        "replace",
        "mkdir",
        "system",
        "Popen",
        "removeprefix",
    }
    assert len((packed / name).read_text().splitlines()) <= 450  # five minutes of reading


def interpreters() -> list[str]:
    """This Python, and older and newer ones where they are at hand and start."""
    found = [sys.executable]
    for name in ("python3.8", "python3.9", "python3.10", "python3.12", "python3.13"):
        path = shutil.which(name)
        if path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0:
            found.append(path)
    return found


@pytest.mark.parametrize("python", interpreters(), ids=lambda path: Path(path).name)
def test_the_programs_as_a_guard_desk_runs_them(python: str, packed: Path, made_once: Path) -> None:
    def command(name: str, *arguments: object) -> tuple[int, str]:
        done = subprocess.run(
            [python, "-I", packed / name, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stderr == ""
        return done.returncode, done.stdout

    assert command("VERIFY.py") == (0, command("VERIFY.py", packed)[1])
    assert command("SIGNATURE.py", made_once / "key.pub")[0] == 0
    assert command("SIGNATURE.py", made_once / "key")[0] == 2
    assert command("SIGNATURE.py")[0] == 2
    (packed / "part0002.bin").write_bytes(b"")
    code, said = command("VERIFY.py")
    assert code == 1
    assert "BAD   part0002.bin: truncated: 0 bytes" in said
    assert command("VERIFY.py", "--part", 1, "--part", 3)[0] == 0
    (packed / "part0002.bin").unlink()
    assert command("VERIFY.py", "--here")[0] == 0
    assert command("VERIFY.py")[0] == 1
    assert command("VERIFY.py", packed.parent)[0] == 2
    (packed / "MANIFEST.sig").write_bytes(bytes(64))
    assert command("SIGNATURE.py", made_once / "key.pub")[0] == 1


@pytest.mark.parametrize("python", interpreters(), ids=lambda path: Path(path).name)
def test_wheels_are_taken_out_of_a_sound_bundle_only(
    python: str, packed: Path, tmp_path: Path
) -> None:
    def command(*arguments: object) -> tuple[int, str]:
        done = subprocess.run(
            [python, "-I", packed / "UNPACK.py", *map(str, arguments)],
            capture_output=True,
            text=True,
        )
        assert done.stderr == ""
        return done.returncode, done.stdout

    there = tmp_path / "there"
    code, said = command("wheelhouse", there)
    assert code == 0, said
    manifest = json.loads((packed / "MANIFEST.json").read_text())
    wheels = {
        row["path"]: row["sha256"]
        for row in manifest["files"]
        if row["path"].startswith("wheelhouse/")
    }
    found = {
        path.relative_to(there).as_posix(): path for path in there.rglob("*") if path.is_file()
    }
    assert {name: sha256(path) for name, path in found.items()} == wheels
    assert len(wheels) >= 2
    assert command("wheelhouse", there)[1].startswith("0 files written")
    some = there / next(iter(wheels))
    some.write_bytes(b"other")
    assert command("wheelhouse", there)[0] == 1
    assert some.read_bytes() == b"other"  # nothing is replaced
    part = packed / "part0001.bin"
    part.write_bytes(part.read_bytes()[:-1] + b"!")
    code, said = command("wheelhouse", tmp_path / "elsewhere")
    assert (code, "part0001.bin: damaged" in said) == (1, True)
    assert not (tmp_path / "elsewhere").exists()
    (packed / "VERIFY.py").unlink()
    assert command("wheelhouse", there)[0] == 2


def test_checks_are_counted() -> None:
    assert len(PATHS) + len(EDITS) + len(TEXTS) + len(TRICKS) + len(CATALOGS) >= 100
    assert json.loads(guard.canonical({"b": 1, "a": "\u00e9"})) == {"a": "\u00e9", "b": 1}
