"""The egress report: what it says is what happened, and no byte of it or of its files can change
unnoticed."""

import json
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from localinstruct import signing
from localinstruct.cli.app import app
from localinstruct.errors import UsageError
from localinstruct.offline import egress_report, selftest, sessions
from localinstruct.records import digest
from tests.support.sealing import needs_namespaces, output, python

SEALED_RUN = """
import json, os, socket, subprocess, sys, time, urllib.request
from pathlib import Path
from localinstruct.offline import seal
found = seal.begin(True)
from localinstruct.offline import egress_report
run = Path(sys.argv[1])
times = []
stages = lambda: {"generate": tuple(times), "dataset": tuple(times)}
with egress_report.watched(run, stages):
    times.append(time.time())
    for attempt in (lambda: socket.create_connection(("192.0.2.1", 443), 2),
                    lambda: urllib.request.urlopen("http://phone-home.example/", timeout=2),
                    lambda: socket.socket(40, socket.SOCK_STREAM)):
        try: attempt()
        except OSError: pass
    stranger = "import socket; socket.create_connection(('192.0.2.1', 1), 2)"
    subprocess.run([sys.executable, "-c", stranger], capture_output=True)
    stage = "from localinstruct.offline import seal; seal.begin(False); "
    stage += "import socket; socket.create_connection(('192.0.2.9', 2), 2)"
    subprocess.run([sys.executable, "-c", stage], capture_output=True)
    times.append(time.time())
print(found.headline)
"""
OPEN_RUN = """
import sys, time
from pathlib import Path
from localinstruct.offline import seal
seal.begin(False)
from localinstruct.offline import egress_report
times = []
with egress_report.watched(Path(sys.argv[1]), lambda: {"generate": tuple(times)}):
    times += [time.time(), time.time()]
"""


def make_run(folder: Path) -> Path:
    run = folder / "runs" / "demo"
    (run / "dataset").mkdir(parents=True)
    (run / "adapter").mkdir()
    (run / "recipe.yaml").write_text("name: demo\n")
    (run / "dataset" / "train.jsonl").write_text('{"instruction": "Name a colour."}\n' * 9)
    (run / "dataset" / "held_out.jsonl").write_text('{"instruction": "Name a river."}\n')
    (run / "adapter" / "adapter_model.safetensors").write_bytes(bytes(range(256)))
    for name in (
        "student/model.safetensors",
        "evaluation/answers.jsonl",
        "evaluation/comparisons/other.json",
    ):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text(f"what {name} holds\n")
    return run


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run made inside the seal, with attempts to leave and its report; not to be changed by
    tests."""
    folder = tmp_path_factory.mktemp("sealed")
    run = make_run(folder)
    assert output(SEALED_RUN, str(run), tmp=folder).startswith("sealed: own namespaces")
    return run


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of this process, unsealed, with a key of its own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return make_run(tmp_path)


def body_of(run: Path) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((run / egress_report.JSON).read_text())["body"]
    return body


@needs_namespaces
def test_report_says_what_happened(sealed: Path) -> None:
    body = body_of(sealed)
    assert egress_report.verify(sealed / egress_report.JSON) == []
    [session] = body["sessions"]
    assert session["seal"]["sealed"] is True
    assert len([c for c in session["seal"]["checks"] if c["must"] == "work" and c["ok"]]) == 3
    assert len([c for c in session["seal"]["checks"] if c["must"] == "fail" and c["ok"]]) >= 16
    assert (
        selftest.REQUIRED.items()
        <= {c["name"]: c["must"] for c in session["seal"]["checks"]}.items()
    )
    assert list(session["before"]["interfaces"]) == list(session["after"]["interfaces"]) == ["lo"]
    # the self-test over loopback: the counter counts
    assert session["before"]["interfaces"]["lo"]["sent_bytes"] > 0
    assert (
        session["before"]["namespaces"]
        == session["after"]["namespaces"]
        == session["seal"]["namespaces"]
    )
    assert session["environment"]["deviations"] == []
    assert session["environment"]["switches"]["HF_HUB_OFFLINE"] == "1"
    assert session["machine"]["kernel"]
    assert session["machine"]["packages"]["torch"]
    assert body["stages"]["generate"]["sealed"] is True
    assert egress_report.verdict(body).startswith("sealed throughout")


@needs_namespaces
def test_attempts_are_there_with_stack_and_package_and_the_kernel_counts_the_rest(
    sealed: Path,
) -> None:
    body = body_of(sealed)
    targets = [entry["target"] for entry in body["attempts"]]
    assert targets == [
        "192.0.2.1 port 443",
        "look-up of phone-home.example",
        "socket of family 40",
        "192.0.2.9 port 2",
    ]
    # the stage is a child of ours, with its own audit hook
    assert len({entry["pid"] for entry in body["attempts"]}) == 2
    assert all(entry["stack"] and entry["package"] for entry in body["attempts"])
    [session] = body["sessions"]
    refused = sum(egress_report._refused(session))
    assert refused >= 3  # the child without a audit hook too
    assert f"{refused} packets were refused" in egress_report.verdict(body)
    children = [entry["target"] for entry in body["processes"] if entry["kind"] == "child"]
    assert len(children) == 2
    assert len([entry for entry in body["processes"] if entry["kind"] == "process"]) == 2


@needs_namespaces
def test_text_says_the_same(sealed: Path) -> None:
    text = (sealed / egress_report.TEXT).read_text()
    for words in (
        "Verdict: sealed throughout",
        "look-up of phone-home.example, by __main__",
        "sent over lo (loopback: what this machine sends to itself) in this session: ",
        "ok  network interfaces: only loopback (lo)",
        "ok  TCP: held back (Network is unreachable)",
        "ok  TCP over loopback: works",
        "root of this machine",
        "Not seen by the audit hook: what ctypes",
        "It is the wall that holds these back.",
        "localinstruct verify-report egress.json",
        "dataset/train.jsonl",
        "keep libraries from the network: all as they must be",
    ):
        assert words in text
    assert signing.signer_of(sealed / egress_report.JSON) in text


def unnoticed(path: Path, raw: bytes, places: range) -> list[tuple[int, bytes]]:
    """Damage at these places that `read_signed` does not find: a flipped bit, another case, a byte
    lost or doubled."""
    found = []
    for place in places:
        for other in (
            bytes([raw[place] ^ 1]),
            bytes([raw[place] ^ 0x20]),
            b"",
            raw[place : place + 1] * 2,
        ):
            path.write_bytes(raw[:place] + other + raw[place + 1 :])
            if not signing.read_signed(path)[1]:
                found.append((place, other))
    return found


@pytest.mark.parametrize("step", [17, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_every_changed_byte_of_a_report_is_found(own: Path, tmp_path: Path, step: int) -> None:
    egress_report.write(own, {})
    raw = (own / egress_report.JSON).read_bytes()
    assert unnoticed(tmp_path / egress_report.JSON, raw, range(0, len(raw), step)) == []
    assert len(raw) > 1000
    for extra in (b" ", b"\n", b"\0", b"{}"):
        (tmp_path / egress_report.JSON).write_bytes(raw + extra)
        assert signing.read_signed(tmp_path / egress_report.JSON)[1]


@needs_namespaces
def test_changed_bytes_all_over_a_full_report_are_found(sealed: Path, tmp_path: Path) -> None:
    raw = (sealed / egress_report.JSON).read_bytes()
    assert unnoticed(tmp_path / egress_report.JSON, raw, range(0, len(raw), 211)) == []
    assert len(raw) > 10_000


def test_every_changed_file_is_found_and_named(own: Path) -> None:
    egress_report.write(own, {})
    path = own / egress_report.JSON
    assert egress_report.verify(path) == []
    named = [entry["path"] for entry in body_of(own)["files"]]
    assert named == [
        "recipe.yaml",
        "dataset/held_out.jsonl",
        "dataset/train.jsonl",
        "adapter/adapter_model.safetensors",
        "student/model.safetensors",
        "evaluation/answers.jsonl",
        "evaluation/comparisons/other.json",
    ]
    rng = random.Random(5)
    for name in named:
        file = own / name
        raw = file.read_bytes()
        for _ in range(20):
            place = rng.randrange(len(raw))
            file.write_bytes(
                raw[:place] + bytes([raw[place] ^ (1 << rng.randrange(8))]) + raw[place + 1 :]
            )
            [problem] = egress_report.verify(path)
            assert problem.startswith(f"{file}: not the file")
        for other in (raw + b"x", raw[:-1], b""):
            file.write_bytes(other)
            assert len(egress_report.verify(path)) == 1
        file.unlink()
        assert egress_report.verify(path) == [f"{file}: missing"]
        file.write_bytes(raw)
    text = own / egress_report.TEXT
    text.write_text(text.read_text().replace("not sealed", "sealed"))
    assert egress_report.verify(path) == [f"{text}: does not say what egress.json says"]


def test_what_a_report_vouches_for_is_what_a_bundle_carries(own: Path, tmp_path: Path) -> None:
    """Else a report would miss files on the other side, or say nothing about some that arrive."""
    from localinstruct.bundle.contents import run_items

    egress_report.write(own, {})
    (own / "run.sqlite").write_bytes(b"")
    carried = {item.path.removeprefix("runs/demo/") for item in run_items(own)}
    assert carried - {egress_report.JSON, egress_report.TEXT} == {
        entry["path"] for entry in body_of(own)["files"]
    }
    for name in carried:
        (tmp_path / "there" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(own / name, tmp_path / "there" / name)
    assert egress_report.verify(tmp_path / "there" / egress_report.JSON) == []


def test_report_is_chained_to_the_product_of_the_dataset_stage(own: Path) -> None:
    from localinstruct.store.durable import sha256

    egress_report.write(own, {})
    names = ("train.jsonl", "held_out.jsonl")
    assert body_of(own)["dataset_product"] == digest(
        {name: sha256(own / "dataset" / name) for name in names}
    )


def test_reports_are_chained_to_the_one_before(own: Path) -> None:
    from localinstruct.store.durable import sha256

    egress_report.write(own, {})
    first = sha256(own / egress_report.JSON)
    egress_report.write(own, {})
    assert body_of(own)["previous_sha256"] == first


def test_another_signer_is_noticed_when_the_key_is_known(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever changes a report can only sign it with a key of their own."""
    egress_report.write(own, {})
    honest = signing.own_public_key()
    assert egress_report.verify(own / egress_report.JSON, honest) == []
    body = body_of(own) | {"run": "forged"}
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "forger"))
    assert signing.sign_file(own / egress_report.JSON, body) != honest
    (own / egress_report.TEXT).unlink()
    assert egress_report.verify(own / egress_report.JSON) == []
    forger = signing.own_public_key()
    assert egress_report.verify(own / egress_report.JSON, honest) == [
        f"{own / egress_report.JSON}: signed by {forger}, expected {honest}"
    ]


def test_key_is_private_and_made_once(own: Path) -> None:
    first = signing.own_public_key()
    assert len(bytes.fromhex(first)) == 32
    assert signing.own_public_key() == first
    assert signing.key_file().stat().st_mode & 0o777 == 0o600
    assert [path.name for path in signing.key_file().parent.iterdir()] == ["egress.key"]


def test_without_a_key_it_says_unsigned(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    said = egress_report.write(own, {})
    assert said[-2] == "Unsigned: whoever may write it may have changed it"
    assert json.loads((own / egress_report.JSON).read_text())["signature"] is None
    [problem] = egress_report.verify(own / egress_report.JSON)  # the digest itself is right
    assert "unsigned: whoever may write the file may have changed it" in problem


def test_own_key_of_the_first_release_signs_on(own: Path) -> None:
    """0.1.0 wrote its private key as hex digits."""
    signing.key_file().parent.mkdir(parents=True, exist_ok=True)
    signing.key_file().write_text(f"{7:064x}\n")
    public = "3ee2a8a7283cb2fd728943daa127ef09e483071a8b4bc699ba4522f09b14cfde"
    egress_report.write(own, {})
    assert signing.own_public_key() == public
    assert egress_report.verify(own / egress_report.JSON, public) == []


def test_stripped_signature_is_noticed(own: Path) -> None:
    egress_report.write(own, {})
    document = json.loads((own / egress_report.JSON).read_text()) | {"signature": None}
    (own / egress_report.JSON).write_bytes(signing._render(document))
    assert any("unsigned" in problem for problem in egress_report.verify(own / egress_report.JSON))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{" * 3_000,
        b'{"body": [], "sha256": "", "signature": null}',
        b'{"body": {"format": 1}, "sha256": "", "signature": null}',
        b'{"body": {"format": 9}, "sha256": 1, "signature": 1}',
        b'{"body": NaN, "sha256": "", "signature": null}',
        b'{"body": {"a": 1e999}, "sha256": "", "signature": []}',
    ],
)
def test_anything_else_is_a_problem_and_no_traceback(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / egress_report.JSON
    path.write_bytes(content)
    assert egress_report.verify(path)
    assert signing.signer_of(path) == ""


def test_missing_report_is_a_problem(tmp_path: Path) -> None:
    [problem] = egress_report.verify(tmp_path / egress_report.JSON)
    assert "No such file" in problem


def test_path_that_leads_out_is_refused(own: Path) -> None:
    egress_report.write(own, {})
    body = body_of(own)
    body["files"].append({"path": "../../../etc/hostname", "bytes": 1, "sha256": "0"})
    signing.sign_file(own / egress_report.JSON, body)
    assert any(
        "leads out of the run" in problem
        for problem in egress_report.verify(own / egress_report.JSON)
    )


def test_lies_of_a_signed_report_about_its_own_facts_are_found(own: Path) -> None:
    with sessions.session(own):
        pass
    egress_report.write(own, {"generate": (time.time() - 5, time.time())})
    body = body_of(own)
    assert body["stages"]["generate"]["sealed"] is False
    body["stages"]["generate"]["sealed"] = True
    signing.sign_file(own / egress_report.JSON, body)
    assert any(
        "does not follow from the sessions" in problem
        for problem in egress_report.verify(own / egress_report.JSON)
    )


def test_unsealed_run_is_never_called_sealed(own: Path, tmp_path: Path) -> None:
    assert python(OPEN_RUN, str(own), tmp=tmp_path).returncode == 0
    body = body_of(own)
    assert egress_report.verdict(body) == "not sealed: nothing is proven by the kernel."
    text = (own / egress_report.TEXT).read_text()
    assert "NOT sealed" in text
    assert "Verdict: not sealed" in text
    assert egress_report.verify(own / egress_report.JSON) == []


Forge = Callable[[dict[str, Any]], object]
OUT = {"received_bytes": 1, "received_packets": 1, "sent_bytes": 9, "sent_packets": 82_082}
FORGERIES: dict[str, tuple[Forge, str]] = {
    "no checks": (lambda s: s["seal"].update(checks=[]), "it has no checks at all"),
    "no positive control": (
        lambda s: s["seal"].update(checks=[c for c in s["seal"]["checks"] if c["must"] == "fail"]),
        "a check is missing: TCP over loopback (must work), UDP over loopback (must work), unix "
        "socket (must work)",
    ),
    "nothing must fail": (
        lambda s: s["seal"].update(checks=[c for c in s["seal"]["checks"] if c["must"] == "work"]),
        "a check is missing: TCP (must fail), TCP over IPv6 (must fail)",
    ),
    "one left out": (lambda s: s["seal"]["checks"].pop(7), "a check is missing: "),
    "another must": (lambda s: s["seal"]["checks"][5].update(must="work"), "a check is missing: "),
    "a check failed": (lambda s: s["seal"]["checks"][4].update(ok=False), "a check failed: "),
    "an interface before": (
        lambda s: s["before"]["interfaces"].update(eth0=OUT),
        "eth0 (82,082 packets sent)",
    ),
    "an interface after": (
        lambda s: s["after"]["interfaces"].update(eth0=OUT),
        "eth0 (82,082 packets sent)",
    ),
    "no loopback": (lambda s: s["after"].update(interfaces={}), "it shows no loopback interface"),
    "other namespaces": (
        lambda s: s["after"]["namespaces"].update(net="net:[1]"),
        "it did not stay in the namespaces",
    ),
    "only its headline": (lambda s: s["seal"].update(sealed=False), "its seal is False"),
}
"""What a forger left over -> what is to be said of it."""


@needs_namespaces
@pytest.mark.parametrize("name", FORGERIES)
def test_a_session_that_contradicts_its_claim_is_never_called_sealed(
    name: str, sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signed anew by a key of the forger's own, with a text to match, so that nothing but the claim
    itself is wrong."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "forger"))
    forge, said = FORGERIES[name]
    run = tmp_path / "demo"
    shutil.copytree(sealed, run)
    body = body_of(run)
    forge(body["sessions"][0])
    for stage in body["stages"].values():
        stage["sealed"] = sessions.is_covered(stage["began"], stage["finished"], body["sessions"])
    signing.sign_file(run / egress_report.JSON, body)
    text = (
        "\n".join(egress_report.render(body_of(run), signing.signer_of(run / egress_report.JSON)))
        + "\n"
    )
    (run / egress_report.TEXT).write_text(text)
    [problem] = egress_report.verify(run / egress_report.JSON)
    assert "session 1 says it was sealed, but" in problem
    assert said in problem
    assert "Verdict: not sealed: the report contradicts itself: session 1" in text
    assert "sealed throughout" not in text
    assert verify_report(str(run / egress_report.JSON))[0] == 1


def test_an_open_run_dressed_up_as_a_sealed_one_is_found(own: Path, tmp_path: Path) -> None:
    """The forgery that was once approved: sealed set to true in the report of an open run, and no
    check to show for it."""
    assert python(OPEN_RUN, str(own), tmp=tmp_path).returncode == 0
    body = body_of(own)
    for session in body["sessions"]:
        session["seal"] |= {
            "sealed": True,
            "headline": "sealed: own namespaces; 16 ways out tried, 16 held back",
        }
        session["after"]["interfaces"]["eth0"] = OUT
    for stage in body["stages"].values():
        stage["sealed"] = True
    signing.sign_file(own / egress_report.JSON, body)
    (own / egress_report.TEXT).unlink()
    code, said = verify_report(str(own / egress_report.JSON))
    assert code == 1
    assert "session 1 says it was sealed, but it has no checks at all" in said
    assert "eth0 (82,082 packets sent)" in said
    assert "Verdict: none." in said
    assert "sealed throughout" not in said


def verify_report(*words: str) -> tuple[int, str]:
    """Exit code and words, on one line, of `localinstruct verify-report`."""
    done = CliRunner().invoke(app, ["verify-report", *words])
    return done.exit_code, " ".join(done.output.split()) + (
        str(done.exception) if done.exit_code == 1 else ""
    )


@needs_namespaces
def test_the_command_says_the_verdict_and_who_signed(sealed: Path, tmp_path: Path) -> None:
    """As docs/air-gap.md has it: the key goes into a file, and the file is what --key takes."""
    path, signer = str(sealed / egress_report.JSON), signing.signer_of(sealed / egress_report.JSON)
    code, said = verify_report(path)
    assert (code, "Verdict: sealed throughout" in said, "ORIGIN UNPROVEN" in said) == (
        0,
        True,
        True,
    )
    (tmp_path / "report.key").write_text(f"{signer}\n")
    for key in (signer, signer.upper(), str(tmp_path / "report.key")):
        code, said = verify_report(path, "--key", key)
        assert (code, "Verdict: sealed throughout" in said, "UNPROVEN" in said) == (0, True, False)
        assert f"Signed by the key you named, {signer}" in said
    code, said = verify_report(path, "--key", "0" * 64)
    assert (code, f"signed by {signer}, expected 000" in said, "Verdict: none." in said) == (
        1,
        True,
        True,
    )
    assert "sealed throughout" not in said


def test_the_command_says_of_an_open_run_that_it_was_not_sealed(own: Path, tmp_path: Path) -> None:
    assert python(OPEN_RUN, str(own), tmp=tmp_path).returncode == 0
    code, said = verify_report(str(own / egress_report.JSON))
    assert (code, "Verdict: not sealed: nothing is proven" in said, "ORIGIN UNPROVEN" in said) == (
        0,
        True,
        True,
    )
    assert "Session 1 was not in the seal (--sealed); within its reach: " in said


def test_own_key_is_the_one_that_signs_and_the_form_that_key_takes(
    own: Path, tmp_path: Path
) -> None:
    egress_report.write(own, {})
    code, printed = verify_report("--own-key")
    assert (code, printed) == (0, signing.signer_of(own / egress_report.JSON))
    (tmp_path / "handed-over.key").write_text(f"{printed}\n")
    assert (
        verify_report(str(own / egress_report.JSON), "--key", str(tmp_path / "handed-over.key"))[0]
        == 0
    )


@pytest.mark.parametrize(
    "content", ["", "abc", "0" * 63, "0" * 65, "0" * 64 + "\nmore", "é" * 64, "g" * 64]
)
def test_what_is_no_key_is_a_sentence(content: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(content)
    for text in (str(tmp_path / "key"), content or "/", str(tmp_path), f"{tmp_path}/none"):
        with pytest.raises(UsageError, match="64 hex digits"):
            signing.load_public(text)


def test_without_a_key_of_ones_own_the_command_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="no key to sign with"):
        signing.own_public_key()
    with pytest.raises(UsageError, match="expected a FILE"):
        CliRunner().invoke(app, ["verify-report"], catch_exceptions=False)


@needs_namespaces
def test_a_sealed_command_names_the_key_at_its_end(sealed: Path, tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from localinstruct.offline import seal
seal.begin(True)
from localinstruct.cli import display as views
views.egress_report(Path(sys.argv[1]))
"""
    said = " ".join(python(code, str(sealed), tmp=tmp_path).stderr.split())
    assert "sealed throughout" in said
    assert f"signed with the key {signing.signer_of(sealed / egress_report.JSON)}" in said
    assert python(code.replace("seal.begin(True)", ""), str(sealed), tmp=tmp_path).stderr == ""


@needs_namespaces
def test_a_session_without_the_seal_uncovers_the_stage(tmp_path: Path) -> None:
    """Half of the rows with the seal, half without: the report must not say sealed, in whichever
    order."""
    run = make_run(tmp_path)
    output(SEALED_RUN, str(run), tmp=tmp_path)
    output(OPEN_RUN, str(run), tmp=tmp_path)
    first, second = held = sessions.sessions(run)
    assert [session["seal"]["sealed"] for session in held] == [True, False]
    assert sessions.is_covered(first["began"], first["ended"], held)
    assert not sessions.is_covered(first["began"], second["began"], held)
    body = egress_report.build(
        run,
        {
            "generate": (first["began"], second["ended"]),
            "dataset": (first["began"], first["ended"]),
        },
    )
    assert (
        egress_report.verdict(body)
        == "sealed in part; without the seal, or not finished: generate."
    )


def session_at(began: float, ended: float | None, sealed: bool) -> dict[str, Any]:
    return {"began": began, "ended": ended, "seal": {"sealed": sealed}}


@pytest.mark.parametrize(
    ("held", "covered"),
    [
        ([], False),
        ([session_at(0, 10, True)], True),
        ([session_at(0, 4, True)], False),  # finished by somebody who left no note
        ([session_at(6, 10, True)], False),  # begun by somebody who left no note
        ([session_at(20, 30, True)], False),
        ([session_at(0, 5, True), session_at(5.5, 10, True)], True),
        ([session_at(0, 5, False), session_at(5.5, 10, True)], False),
        # killed: may have worked until the next began
        ([session_at(0, None, False), session_at(7, 10, True)], False),
        ([session_at(0, 1, False), session_at(2, 10, True)], True),  # over before the stage began
        ([session_at(2, 10, True), session_at(11, None, False)], True),  # after it was finished
        ([session_at(2, None, True)], True),
    ],
)
def test_coverage_of_a_stage_from_3_to_8(held: list[dict[str, Any]], covered: bool) -> None:
    assert sessions.is_covered(3, 8, held) is covered


def test_killed_session_has_no_end_and_a_torn_line_is_left_out(own: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from localinstruct.offline import sessions
with sessions.session(Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert python(code, str(own)).returncode == -9
    with (own / sessions.FOLDER / sessions.SESSIONS).open("a") as file:
        file.write('{"event": "end", "number": 0, "ti')
    with sessions.session(own):
        pass
    first, second = sessions.sessions(own)
    assert (first["ended"], first["after"]) == (None, None)
    assert second["ended"] >= second["began"] >= first["began"]
    lines = egress_report.write(own, {"generate": (0.0, time.time())})
    assert any("ended by a kill" in line for line in lines)
    assert egress_report.verify(own / egress_report.JSON) == []


def test_report_is_written_however_the_session_ends(own: Path) -> None:
    with pytest.raises(KeyboardInterrupt), egress_report.watched(own, dict):
        raise KeyboardInterrupt
    [session] = body_of(own)["sessions"]
    assert session["ended"] is not None


def test_text_holds_nothing_a_terminal_obeys() -> None:
    assert egress_report._plain("a\x1b[2Jb\nc\udc80é") == "a\\x1b[2Jb\\nc\\udc80é"


def test_a_folder_in_place_of_a_report_is_named_with_the_report_in_it(own: Path) -> None:
    egress_report.write(own, {})
    [problem] = egress_report.verify(own)
    assert problem == (
        f"{own}: expected a signed report such as egress.json, found a folder; try "
        f"{own / egress_report.JSON}"
    )
    [problem] = egress_report.verify(own / "nothing.json")
    assert problem.endswith("found nothing: No such file")
