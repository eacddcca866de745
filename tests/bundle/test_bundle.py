"""Over the gap and back: what is packed is what arrives, byte for byte, and can be used there."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from localinstruct import signing
from localinstruct.bundle import contents as bundled
from localinstruct.bundle import ed25519, guard, pack, wheels
from localinstruct.bundle.contents import Contents, Item, Selection, collect, require_packable
from localinstruct.bundle.media import MEDIA, part_size
from localinstruct.bundle.unpack import import_bundle
from localinstruct.bundle.verify import verify
from localinstruct.errors import BundleError, ModelError, RunInUse, UsageError
from localinstruct.models.catalog import checked, load_catalog
from localinstruct.progress import Silent
from localinstruct.signing import make_key_pair
from tests.support.bundle_samples import (
    PART,
    age,
    behind_links,
    bundle,
    contents,
    made_of,
    model,
    recorder,
    tree,
    wheel,
    workspace,
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return workspace(tmp_path / "here")


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    bundle(workspace(folder / "here"), folder / "bundle")
    return folder


@pytest.fixture
def packed(made_once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made_once / "bundle", tmp_path / "bundle")


def test_everything_arrives_byte_for_byte_and_nothing_else(
    made_once: Path, packed: Path, tmp_path: Path
) -> None:
    source = made_once / "here"
    result = import_bundle(packed, tmp_path / "there", Silent())
    there = tree(tmp_path / "there")
    for name, content in there.items():
        if name.split("/")[0] in ("models", "recipes", "seeds", "runs"):
            assert (source / name).read_bytes() == content, name
    expected = {
        name
        for name in tree(source)
        if name.split("/")[0] in ("models", "recipes", "seeds", "runs")
    }
    expected |= {
        f"models/small-student/{path.name}"
        for path in (source / "models" / "small-student").iterdir()
    }
    stays = {
        name
        for name in expected
        if name.startswith(("runs/mine/run.", "runs/mine/logs", "runs/mine/train"))
    }
    assert len(stays) == 4
    added = {
        "models.yaml",
        "wheelhouse/py3.11-cpu/requirements.txt",
        "wheelhouse/py3.11-cpu/tiny-1.0-py3-none-any.whl",
    }
    assert set(there) == (expected - stays) | added | {f"imports/{result.id[:16]}.json"}
    assert not any(
        path.is_symlink() or os.access(path, os.X_OK)
        for path in (tmp_path / "there").rglob("*")
        if not path.is_dir()
    )
    assert set(result.placed) >= {
        "models/big-teacher",
        "models/small-student",
        "runs/mine",
        "models.yaml",
    }


def test_imported_models_can_be_used(packed: Path, tmp_path: Path) -> None:
    import_bundle(packed, tmp_path / "there", Silent())
    catalog = load_catalog(tmp_path / "there")
    assert list(catalog.models) == ["big-teacher", "small-student"]
    for spec in catalog.models.values():
        assert checked(spec) == tmp_path / "there" / "models" / spec.name
        assert (spec.licence, spec.obligations, len(spec.sha256)) == ("MIT", "Name it.", 4)


def test_parts_fill_the_medium_and_split_files(packed: Path) -> None:
    sizes = [path.stat().st_size for path in sorted(packed.glob("part*.bin"))]
    manifest = json.loads((packed / "MANIFEST.json").read_bytes())
    assert len(sizes) >= 6
    assert set(sizes[:-1]) == {PART}
    assert 0 < sizes[-1] <= PART
    assert max(len(row["ranges"]) for row in manifest["files"]) >= 5
    stream = b"".join(path.read_bytes() for path in sorted(packed.glob("part*.bin")))
    # cat is the unpacker of last resort
    assert len(stream) == sum(row["size"] for row in manifest["files"])


def test_a_second_import_does_nothing(packed: Path, tmp_path: Path) -> None:
    import_bundle(packed, tmp_path / "there", Silent())
    before = {
        path: path.stat().st_mtime_ns for path in (tmp_path / "there").rglob("*") if path.is_file()
    }
    for part in packed.glob("part000[2-9].bin"):
        part.unlink()  # not even read, but for models.yaml
    again = import_bundle(packed, tmp_path / "there", Silent())
    assert again.placed == []
    assert {
        path: path.stat().st_mtime_ns for path in (tmp_path / "there").rglob("*") if path.is_file()
    } == before


def test_media_one_after_another_in_any_order(packed: Path, tmp_path: Path) -> None:
    media, parts = [], sorted(packed.glob("part*.bin"))
    for number, part in enumerate(parts):
        disc = tmp_path / f"disc{number}"
        shutil.copytree(packed, disc, ignore=shutil.ignore_patterns("part*.bin"))
        shutil.copy2(part, disc)
        media.append(disc)
    for disc in media[::-1][:-1]:
        assert verify(disc, Silent(), here=True).exit_code == 0
        assert verify(disc, Silent()).exit_code == 1  # as a whole it is not there
        with pytest.raises(BundleError, match=r"parts are not here: part0001\.bin"):
            import_bundle(disc, tmp_path / "there", Silent())
        assert not (tmp_path / "there" / "models").exists()
    import_bundle(media[0], tmp_path / "there", Silent())
    import_bundle(packed, tmp_path / "at once", Silent())
    mine, other = tree(tmp_path / "there"), tree(tmp_path / "at once")
    for receipt in [name for name in mine if name.startswith("imports/")]:
        del mine[receipt], other[receipt]
    assert mine == other


def test_verify_remembers_sound_parts_and_full_does_not(packed: Path) -> None:
    age(packed)
    first, second, full = (verify(packed, Silent(), full=full) for full in (False, False, True))
    everything = tuple(range(1, len(list(packed.glob("part*.bin"))) + 1))
    assert (first.remembered, second.remembered, full.remembered) == ((), everything, ())
    assert {first.exit_code, second.exit_code, full.exit_code} == {0}
    (packed / "part0002.bin").write_bytes((packed / "part0002.bin").read_bytes()[::-1])
    found = verify(packed, Silent())
    assert [name for name, _ in found.problems] == ["part0002.bin"]
    assert 2 not in found.remembered
    assert found.remembered == tuple(number for number in everything if number != 2)


def test_verify_some_parts(packed: Path) -> None:
    (packed / "part0003.bin").unlink()
    assert verify(packed, Silent(), parts=[1, 2]).exit_code == 0
    assert [name for name, _ in verify(packed, Silent(), parts=[2, 3, 99]).problems] == [
        "part 99",
        "part0003.bin",
    ]
    with pytest.raises(BundleError, match="not a bundle"):
        verify(packed.parent, Silent())


# -- conflicts, places, models.yaml ---------------------------------------------------------------


def test_what_is_in_the_way_is_named_before_anything_is_copied(
    packed: Path, tmp_path: Path
) -> None:
    there = tmp_path / "there"
    for name in ("seeds/mine.jsonl", "models/big-teacher/config.json"):
        (there / name).parent.mkdir(parents=True)
        (there / name).write_text("mine")
    (there / "wheelhouse").symlink_to(tmp_path)
    before = tree(there)
    with pytest.raises(BundleError) as caught:
        import_bundle(packed, there, Silent())
    for words in (
        "seeds/mine.jsonl: is there with other",
        "models/big-teacher: is there",
        "wheelhouse is a link there",
    ):
        assert words in caught.value.message
    assert tree(there) == before
    assert not list(there.glob(".import*"))


KEPT = (
    "# my notes\nother:\n  path: models/other\n  roles: [student]\n  context: 64\n  licence: MIT\n"
)
LISTED = (
    "big-teacher:  # not here yet\n  path: models/big-teacher\n  roles: [teacher]\n  "
    "context: 99\n  licence: MIT\n\n"
)


def test_entries_are_added_and_completed_in_place(packed: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "models.yaml").write_text(LISTED + KEPT)
    import_bundle(packed, there, Silent())
    text = (there / "models.yaml").read_text()
    assert KEPT in text
    catalog = load_catalog(there)
    assert list(catalog.models) == ["big-teacher", "other", "small-student"]
    assert catalog.get("big-teacher").context == 99  # what a person wrote stays
    assert checked(catalog.get("big-teacher"))
    assert len(catalog.get("big-teacher").sha256) == 4


def test_an_entry_that_leads_nowhere_is_replaced(packed: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "models.yaml").write_text(
        LISTED.replace("models/big-teacher", "/nowhere/at/all") + KEPT
    )
    import_bundle(packed, there, Silent())
    assert checked(load_catalog(there).get("big-teacher")) == there / "models" / "big-teacher"
    assert KEPT in (there / "models.yaml").read_text()


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            "big-teacher:\n  path: models/big-teacher\n  roles: [teacher]\n  context: 9999\n  "
            "licence: MIT\n"
            f"  sha256: {{config.json: {'a' * 64}}}\n",
            "other digests",
        ),
        (
            "big-teacher:\n  endpoint: unix:///x.sock\n  served_name: x\n  roles: [teacher]\n  "
            "context: 99\n  licence: MIT\n",
            "served at an endpoint",
        ),
        (
            "big-teacher:\n  path: mine\n  roles: [teacher]\n  context: 99\n  licence: MIT\n",
            "means other files",
        ),
        (
            "big-teacher:\n  path: gone\n  roles: &r [teacher]\n  context: 99\n  licence: MIT\n"
            "z:\n  path: z\n  roles: *r\n  context: 99\n  licence: MIT\n",
            "enter by hand",
        ),
    ],
)
def test_an_entry_that_means_something_else_stops_the_import(
    entry: str, words: str, packed: Path, tmp_path: Path
) -> None:
    there = tmp_path / "there"
    model(there / "mine", 100, 3)
    (there / "models.yaml").write_text(entry)
    before = tree(there)
    with pytest.raises(BundleError, match=words):
        import_bundle(packed, there, Silent())
    assert {
        name: text for name, text in tree(there).items() if not name.startswith(".import")
    } == before


def test_an_entry_for_the_same_files_elsewhere_is_kept(
    packed: Path, made_once: Path, tmp_path: Path
) -> None:
    source, there = made_once / "here", tmp_path / "there"
    shutil.copytree(source / "models" / "big-teacher", there / "elsewhere")
    (there / "models.yaml").write_text(LISTED.replace("models/big-teacher", "elsewhere"))
    result = import_bundle(packed, there, Silent())
    assert "the same files lie in" in result.notes[0]
    assert load_catalog(there).get("big-teacher").directory == there / "elsewhere"


def test_unsafe_models_are_refused_over_there(tmp_path: Path) -> None:
    made_of(
        tmp_path / "bad",
        ["models/x/config.json", "models/x/model.py"],
        b'{"auto_map": {"AutoModel": "model.X"}}',
    )
    # sound bytes, unsafe content
    assert verify(tmp_path / "bad", Silent(), full=True).exit_code == 0
    with pytest.raises(BundleError) as caught:
        import_bundle(tmp_path / "bad", tmp_path / "there", Silent())
    assert "auto_map" in caught.value.message
    assert "model.py: code" in caught.value.message
    assert not (tmp_path / "there" / "models").exists()


# -- packing --------------------------------------------------------------------------------------


def test_packing_needs_an_empty_folder_and_leaves_others_alone(
    source: Path, packed: Path, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="finished bundle"):
        pack.pack(Contents([Item("seeds/x", b"1", "seeds")]), packed, Silent())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(BundleError, match=r"found letter\.txt"):
        bundle(source, tmp_path / "full")
    assert tree(tmp_path / "full") == {"letter.txt": b"mine"}


def test_packing_again_does_nothing_unless_something_changed(source: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    make_key_pair(key)
    first = bundle(source, tmp_path / "bundle", key)
    before = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")}
    assert bundle(source, tmp_path / "bundle", key) == first
    assert {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")} == before
    make_key_pair(tmp_path / "other")
    with pytest.raises(BundleError, match="finished bundle"):
        bundle(source, tmp_path / "bundle", tmp_path / "other")
    seeds = source / "seeds" / "mine.jsonl"
    seeds.write_text(seeds.read_text().replace("x", "z"))  # of the same size
    with pytest.raises(BundleError, match="finished bundle"):
        bundle(source, tmp_path / "bundle", key)


def test_a_bundle_within_what_it_holds(source: Path, packed: Path) -> None:
    with pytest.raises(BundleError, match="holds files that are to be packed"):
        bundle(source, source / "runs")
    with pytest.raises(BundleError, match="lies in the bundle itself"):
        import_bundle(packed, packed / "there", Silent())


def test_two_packings_in_one_folder(source: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    with (
        pack.only_one(tmp_path / "bundle", "packs here"),
        pytest.raises(RunInUse, match="another process packs here"),
    ):
        bundle(source, tmp_path / "bundle")


def test_a_file_that_changes_while_it_is_packed(source: Path, tmp_path: Path) -> None:
    items = contents(source)

    class Meddler(Silent):
        def update(self, label: str, done: float, total: float, note: str = "") -> None:
            if done > total / 2:
                (source / "models" / "big-teacher" / "model.safetensors").touch()

    with pytest.raises(BundleError, match=r"model\.safetensors: changed while it was packed"):
        pack.pack(items, tmp_path / "bundle", Meddler(), PART)
    assert not (tmp_path / "bundle" / "MANIFEST.json").exists()
    with pytest.raises(BundleError, match="of files that changed since"):
        bundle(source, tmp_path / "bundle")


def test_an_altered_model_is_not_packed(source: Path, tmp_path: Path) -> None:
    data = yaml.safe_load((source / "models.yaml").read_text())
    data["big-teacher"]["sha256"] = {"config.json": "0" * 64}
    (source / "models.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(ModelError, match="altered"):
        bundle(source, tmp_path / "bundle")


def test_no_space_is_said_before_the_start(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(BundleError, match=r"bytes are needed there, 1,000 are free"):
        bundle(source, tmp_path / "bundle")
    monkeypatch.undo()
    assert not list((tmp_path / "bundle").glob("part*"))


def test_a_full_disk_in_the_middle_is_continued(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [5]  # the journal's head, then part and journal, twice

    def fsync(descriptor: int) -> None:
        left[0] -= 0 if stat.S_ISDIR(os.fstat(descriptor).st_mode) else 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(BundleError, match="no space left") as caught:
        bundle(source, tmp_path / "bundle")
    assert "Finished parts stay" in caught.value.hint
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    finished = {
        path.name: path.stat().st_ino for path in sorted((tmp_path / "bundle").glob("part*.bin"))
    }
    assert list(finished) == ["part0001.bin", "part0002.bin"]
    bundle(source, tmp_path / "bundle")
    assert (
        finished.items()
        <= {
            path.name: path.stat().st_ino for path in (tmp_path / "bundle").glob("part*.bin")
        }.items()
    )
    assert verify(tmp_path / "bundle", Silent(), full=True).exit_code == 0


def test_finished_parts_count_by_their_bytes(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "_finish", lambda *_: 1 / 0)  # dies when the parts are there
    with pytest.raises(ZeroDivisionError):
        bundle(source, tmp_path / "bundle")
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    age(tmp_path / "bundle", 1.5)  # as FAT does, which knows even seconds only
    harmed = tmp_path / "bundle" / "part0002.bin"
    harmed.write_bytes(harmed.read_bytes()[::-1])
    (tmp_path / "bundle" / "part0004.bin").unlink()
    was = {path.name: path.stat().st_ino for path in (tmp_path / "bundle").glob("part*.bin")}
    bundle(source, tmp_path / "bundle")
    now = {path.name: path.stat().st_ino for path in (tmp_path / "bundle").glob("part*.bin")}
    assert {name for name in now if now[name] != was.get(name)} == {"part0002.bin", "part0004.bin"}
    assert verify(tmp_path / "bundle", Silent(), full=True).exit_code == 0


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["seeds/a.jsonl", "seeds/A.jsonl"], "only in case"),
        (["seeds/con.jsonl"], "device name"),
        (["seeds/x", "seeds/x/y"], "a file and a folder"),
        (["../x"], "climbs"),
        ([], "nothing was named"),
    ],
)
def test_names_that_cannot_travel_are_not_packed(paths: list[str], words: str) -> None:
    with pytest.raises(BundleError, match=words):
        require_packable([Item(path, b"x", "seeds") for path in paths])


def test_recipes_with_seeds_elsewhere_are_not_packed(source: Path) -> None:
    path = source / "recipes" / "mine.yaml"
    path.write_text(path.read_text().replace("seeds/mine.jsonl", "../secret.jsonl"))
    with pytest.raises(BundleError, match="would not be found on the other side"):
        list(bundled.recipe_items(path))


def test_a_recipe_brings_its_folder_of_documents_without_links(source: Path) -> None:
    path = source / "recipes" / "mine.yaml"
    data = yaml.safe_load(path.read_text())
    data |= {"seeds": "seeds/papers", "method": {"grounded": {}}, "novelty": {"against": "kept"}}
    path.write_text(yaml.safe_dump(data))
    folder = source / "seeds" / "papers"
    (folder / "more").mkdir(parents=True)
    for name in ("a.txt", "more/b.pdf", ".hidden"):
        (folder / name).write_text("words")
    (folder / "link.txt").symlink_to(source / "models.yaml")
    (folder / "out").symlink_to(source)
    packed = [item.path for item in bundled.recipe_items(path)]
    assert {"seeds/papers/a.txt", "seeds/papers/more/b.pdf"} == {
        name for name in packed if name.startswith("seeds/papers")
    }


def test_the_return_trip(source: Path, tmp_path: Path) -> None:
    back = collect(Selection(runs=[source / "runs" / "mine"]), source)
    pack.pack(back, tmp_path / "back", Silent(), PART)
    result = import_bundle(tmp_path / "back", tmp_path / "desk", Silent())
    assert result.placed == ["runs/mine"]
    assert sorted(tree(tmp_path / "desk" / "runs" / "mine")) == [
        "adapter/adapter_config.json",
        "dataset/train.jsonl",
        "egress.json",
        "evaluation/answers.jsonl",
        "evaluation/comparisons/other.json",
        "recipe.yaml",
        "report.html",
    ]
    with pytest.raises(BundleError, match="not a run"):
        collect(Selection(runs=[source / "runs"]), source)


def test_this_program_as_a_checkout_and_as_a_wheel(source: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for name in (
        "pyproject.toml",
        "localinstruct/cli.py",
        "localinstruct/__pycache__/x.pyc",
        ".git/config",
        "runs/x/y",
    ):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("x")
    packed = collect(Selection(program=checkout), source).items
    assert [item.path for item in packed] == [
        "program/localinstruct/localinstruct/cli.py",
        "program/localinstruct/pyproject.toml",
    ]
    own = wheel(tmp_path / "dist", "localinstruct", "0.1")
    assert [item.path for item in collect(Selection(program=own), source).items] == [
        f"program/{own.name}"
    ]
    wheel(tmp_path / "wheels")
    both = {
        item.path: item
        for item in collect(Selection(program=own, wheels=tmp_path / "wheels"), source).items
    }
    assert f"wheelhouse/wheels/{own.name}" in both
    assert b"localinstruct==0.1" in both["wheelhouse/wheels/requirements.txt"].source  # type: ignore[operator]


def test_sizes_and_media() -> None:
    assert part_size() == 3_900_000_000
    assert part_size("fat32") == MEDIA["fat32"] == 2**32 - 1
    assert [part_size(size=text) for text in ("3.9GB", "64KiB", "700 MiB", "4096")] == [
        3_900_000_000,
        65536,
        734003200,
        4096,
    ]
    for medium, size in (
        ("tape", ""),
        ("", "big"),
        ("", "1"),
        ("dvd", "4GB"),
        ("", "1e9"),
        ("", "99999999TB"),
    ):
        with pytest.raises(BundleError):
            part_size(medium, size)


# -- wheels ---------------------------------------------------------------------------------------


def test_the_wheelhouse_installs_without_an_index(packed: Path, tmp_path: Path) -> None:
    result = import_bundle(packed, tmp_path / "there", Silent())
    command = result.commands[0].split(" ")
    assert command[:3] == ["python", "-m", "pip"]
    target = tmp_path / "site"
    quiet = [
        "--target",
        str(target),
        "--no-compile",
        "--disable-pip-version-check",
        "--no-cache-dir",
        "-q",
    ]
    subprocess.run(
        [sys.executable, *command[1:], *quiet], check=True, capture_output=True, timeout=120
    )
    assert (target / "tiny.py").read_text() == "VALUE = 42\n"
    (tmp_path / "there/wheelhouse/py3.11-cpu/tiny-1.0-py3-none-any.whl").write_bytes(
        wheel(tmp_path / "evil").read_bytes() + b" "
    )
    refused = subprocess.run(
        [sys.executable, *command[1:], *quiet, "--upgrade"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert refused.returncode != 0
    assert "HASH" in refused.stderr.upper()


def test_pip_collects_wheels_for_a_target(tmp_path: Path) -> None:
    wheel(
        tmp_path / "index",
        metadata="Metadata-Version: 2.4\nName: tiny\nVersion: 1.0\nProvides-Extra: cpu\n",
    )
    options = ["--no-index", "--find-links", str(tmp_path / "index"), "--disable-pip-version-check"]
    found = wheels.download("tiny", tmp_path / "wheels", "3.12", "cpu", options)
    assert [(one.name, one.version) for one in found] == [("tiny", "1.0")]
    with pytest.raises(BundleError, match="No matching distribution"):
        wheels.download("absent", tmp_path / "none", "3.12", "cuda", options)


def test_the_pip_command(tmp_path: Path) -> None:
    other = wheels.download_command("localinstruct", tmp_path, "3.10", "cuda")
    assert other[-1] == "localinstruct[gpu,gguf]"
    for words in (["--python-version", "3.10"], ["--abi", "cp310"], ["--only-binary", ":all:"]):
        assert " ".join(words) in " ".join(other)
    assert any(word.startswith("manylinux_2_28_") for word in other)
    same = wheels.download_command(
        "localinstruct", tmp_path, f"3.{sys.version_info[1]}", "cpu", ["--proxy", "x"]
    )
    assert "--platform" not in same
    assert same[-3:] == ["--proxy", "x", "localinstruct[cpu,gguf]"]
    with pytest.raises(BundleError, match="expected a version"):
        wheels.download_command("localinstruct", tmp_path, "3.12.1; rm", "cpu")


def test_what_is_no_wheel_is_named(tmp_path: Path) -> None:
    wheel(tmp_path / "w")
    (tmp_path / "w" / "tiny-1.0.tar.gz").write_text("runs code when installed")
    (tmp_path / "w" / "torn-1.0-py3-none-any.whl").write_text("torn")
    wheel(tmp_path / "w", "liar", metadata="Metadata-Version: 2.4\nName: other\nVersion: 1.0\n")
    wheel(tmp_path / "w", "lost", member="elsewhere/METADATA")
    with pytest.raises(BundleError) as caught:
        wheels.read_wheels(tmp_path / "w")
    for name in ("tiny-1.0.tar.gz", "torn-1.0", "liar-1.0", "lost-1.0"):
        assert name in caught.value.message
    with pytest.raises(BundleError, match="Two versions of tiny"):
        wheels.requirements({"tiny==1.0": ["a"], "tiny==2.0": ["b"]})


def test_a_file_where_the_workspace_should_be_is_a_sentence(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dead").symlink_to(tmp_path / "nowhere")
    for into in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "dead"):
        with pytest.raises(BundleError, match="expected a folder, found a file or a dead link"):
            import_bundle(packed, into, Silent())
    assert (tmp_path / "file").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


# -- papers ---------------------------------------------------------------------------------------


def test_the_bill_of_materials(packed: Path) -> None:
    document = json.loads((packed / "SBOM.cdx.json").read_bytes())
    manifest = json.loads((packed / "MANIFEST.json").read_bytes())
    assert (document["bomFormat"], document["specVersion"], document["version"]) == (
        "CycloneDX",
        "1.6",
        1,
    )
    assert document["serialNumber"].startswith("urn:uuid:")
    parts = {part["bom-ref"]: part for part in document["components"]}
    teacher = parts["models/big-teacher"]
    assert (teacher["type"], teacher["purl"]) == (
        "machine-learning-model",
        "pkg:huggingface/Some/Teacher",
    )
    assert teacher["licenses"] == [{"license": {"id": "MIT"}}]
    tiny = parts["wheelhouse/py3.11-cpu/tiny-1.0-py3-none-any.whl"]
    assert (tiny["type"], tiny["name"], tiny["version"], tiny["purl"]) == (
        "library",
        "tiny",
        "1.0",
        "pkg:pypi/tiny@1.0",
    )
    files = [part for parts in document["components"] for part in parts.get("components", [parts])]
    hashes = {part["bom-ref"]: part["hashes"][0]["content"] for part in files}
    assert hashes == {row["path"]: row["sha256"] for row in manifest["files"]}


def test_the_bill_of_materials_passes_the_strict_schema(packed: Path) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    validator, text = (
        JsonStrictValidator(SchemaVersion.V1_6),
        (packed / "SBOM.cdx.json").read_text(),
    )
    assert validator.validate_str(text) is None
    for change in ({"serialNumber": "1"}, {"unknown": 1}, {"components": [{"type": "library"}]}):
        assert validator.validate_str(json.dumps(json.loads(text) | change)) is not None


def test_licences_travel(packed: Path) -> None:
    text = (packed / "LICENCES" / "model-big-teacher.txt").read_text()
    for words in ("Licence: MIT", "Name it.", "Terms of big-teacher."):
        assert words in text
    assert "tiny 1.0: MIT" in (packed / "LICENCES" / "wheels.txt").read_text()


def test_names_fit_fat_and_discs(packed: Path) -> None:
    names = [path.relative_to(packed).as_posix() for path in packed.rglob("*")]
    assert len({name.casefold() for name in names}) == len(names) >= 10
    for name in names:
        assert guard.name_problem(name) == ""
        assert name.isascii()
    assert all(len(path.stem) <= 8 for path in packed.glob("part*.bin"))


# -- signatures -----------------------------------------------------------------------------------


def test_signature_good_other_bad_none(source: Path, tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    fingerprints = make_key_pair(mine), make_key_pair(other)
    folder = bundle(source, tmp_path / "bundle", mine).folder
    good = verify(folder, Silent(), key=Path(f"{mine}.pub"))
    assert (good.exit_code, good.fingerprint) == (0, fingerprints[0])
    assert "Signed by" in good.origin
    wrong = verify(folder, Silent(), key=Path(f"{other}.pub"))
    assert (wrong.exit_code, wrong.fingerprint, wrong.problems[0][0]) == (1, "", "MANIFEST.sig")
    assert wrong.origin.startswith("ORIGIN UNPROVEN: the key that was given")
    assert "no key was given" not in wrong.origin
    none, said = verify(folder, Silent()), recorder()
    assert (none.exit_code, none.fingerprint) == (0, "")
    assert "ORIGIN UNPROVEN" in none.origin
    with pytest.raises(BundleError, match="not made with this key"):
        import_bundle(folder, tmp_path / "there", Silent(), Path(f"{other}.pub"))
    assert not (tmp_path / "there").exists()
    import_bundle(folder, tmp_path / "there", said)
    assert "ORIGIN UNPROVEN" in said.said[0]
    (folder / "MANIFEST.sig").unlink()
    assert "missing" in verify(folder, Silent(), key=Path(f"{mine}.pub")).problems[0][1]
    with pytest.raises(BundleError, match="missing, so the key proves nothing"):
        import_bundle(folder, tmp_path / "again", Silent(), Path(f"{mine}.pub"))


def test_our_ed25519_agrees_with_cryptography() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    for number in range(12):
        private = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        key, message = private.public_key().public_bytes_raw(), os.urandom(number * 7)
        signature = private.sign(message)
        assert ed25519.signed_by(key, message, signature)
        assert ed25519.fingerprint(key) == signing.fingerprint(key)
        assert not ed25519.signed_by(key, message + b".", signature)
        at = number * 5
        assert not ed25519.signed_by(
            key, message, signature[:at] + bytes([signature[at] ^ 1]) + signature[at + 1 :]
        )
        assert not ed25519.signed_by(bytes([key[0] ^ 1]) + key[1:], message, signature)
        s = int.from_bytes(signature[32:], "little") + ed25519.ORDER
        # the same s, a second form
        assert not ed25519.signed_by(key, message, signature[:32] + s.to_bytes(32, "little"))
    assert not ed25519.signed_by(b"\xff" * 32, b"", bytes(64))
    assert not ed25519.signed_by(bytes(31), b"", bytes(64))


def test_rfc_8032_vector() -> None:
    key = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert ed25519.signed_by(key, b"\x72", signature)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_reads_our_keys_and_we_read_its(source: Path, tmp_path: Path) -> None:
    run = lambda *words: subprocess.run(  # noqa: E731
        ["openssl", *map(str, words)], check=True, capture_output=True
    )
    run("genpkey", "-algorithm", "ed25519", "-out", tmp_path / "key")
    run("pkey", "-in", tmp_path / "key", "-pubout", "-out", tmp_path / "key.pub")
    folder = bundle(source, tmp_path / "bundle", tmp_path / "key").folder
    assert verify(folder, Silent(), key=tmp_path / "key.pub").exit_code == 0
    run(
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        tmp_path / "key.pub",
        "-rawin",
        "-in",
        folder / "MANIFEST.json",
        "-sigfile",
        folder / "MANIFEST.sig",
    )


def test_keys_are_never_replaced_and_other_files_are_no_keys(tmp_path: Path) -> None:
    make_key_pair(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="never replaced"):
        make_key_pair(tmp_path / "key")
    (tmp_path / "text").write_text("no key")
    for work in (signing.load_public, signing.load_private):
        for name in ("text", "absent"):
            with pytest.raises(UsageError, match=name):
                work(tmp_path / name)
    with pytest.raises(UsageError, match="key"):
        signing.load_public(tmp_path / "key")  # the private one, given by mistake
    digits = signing.load_public(tmp_path / "key.pub").hex()
    assert signing.load_public(digits).hex() == digits
    (tmp_path / "digits").write_text(digits)
    with pytest.raises(UsageError, match="digits"):
        signing.load_private(tmp_path / "digits")  # a public one, in the form of old private ones


def test_items_behind_links_are_followed(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", 500, 1)
    behind_links(folder, tmp_path / "cache-of-models")
    text = "m:\n  path: m\n  roles: [teacher]\n  context: 512\n  licence: MIT\n"
    (tmp_path / "models.yaml").write_text(text)
    items = list(bundled.model_items(load_catalog(tmp_path).get("m")))
    assert len(items) == 6
    assert not any(
        Path(item.source).is_symlink() for item in items if not isinstance(item.source, bytes)
    )


def test_contents_of_one_byte(tmp_path: Path) -> None:
    pack.pack(Contents([Item("seeds/x", b"1", "seeds")]), tmp_path / "one", Silent())
    import_bundle(tmp_path / "one", tmp_path / "there", Silent())
    assert (tmp_path / "there" / "seeds" / "x").read_bytes() == b"1"
    with pytest.raises(BundleError, match="empty"):
        pack.pack(Contents([Item("seeds/x", b"", "seeds")]), tmp_path / "none", Silent())
