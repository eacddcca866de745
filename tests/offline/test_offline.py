"""Every switch and every removed variable, line by line; that they come first, reach children, and
are obeyed."""

import ast
import json
from pathlib import Path

import pytest

from localinstruct.errors import RecipeError
from localinstruct.offline import addresses, switches
from tests.support.sealing import ROOT, needs_namespaces, output

REMOVED = (
    *switches.REMOVED_NAMES,
    *switches.PROXIES,
    *(name.upper() for name in switches.PROXIES),
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "TRACKIO_SPACE_ID",
    "TRACKIO_SERVER_URL",
    "KUBEFLOW_TRAINER_SERVER_URL",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
)
HOSTILE = {name: "wrong" for name in switches.SWITCHES} | {
    name: "http://192.0.2.7:3128" for name in REMOVED
}
RECOMMENDED_BLOCK = """
HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_DATASETS_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1
DISABLE_TELEMETRY=1 DO_NOT_TRACK=1 HF_HUB_DISABLE_UPDATE_CHECK=1 HF_HUB_DISABLE_IMPLICIT_TOKEN=1
HF_HUB_DISABLE_XET=1 HF_UPDATE_DOWNLOAD_COUNTS=0 DISABLE_SAFETENSORS_CONVERSION=1
USE_HUB_KERNELS=NO DISABLE_KERNEL_MAPPING=1 VLLM_NO_USAGE_STATS=1 VLLM_DO_NOT_TRACK=1
VLLM_PLUGINS= VLLM_HOST_IP=127.0.0.1 VLLM_LOOPBACK_IP=127.0.0.1 VLLM_MEDIA_URL_ALLOW_REDIRECTS=0
VLLM_SERVER_DEV_MODE=0 VLLM_ALLOW_INSECURE_SERIALIZATION=0 VLLM_ALLOW_RUNTIME_LORA_UPDATING=0
FLASHINFER_NO_DOWNLOAD=1 WANDB_MODE=disabled DISABLE_KUBEFLOW_INTEGRATION=TRUE
GRADIO_ANALYTICS_ENABLED=False RAY_USAGE_STATS_ENABLED=0 GLOO_SOCKET_IFNAME=lo
NCCL_SOCKET_IFNAME=lo NCCL_RAS_ENABLE=0
"""
RECOMMENDED = dict(word.split("=") for word in RECOMMENDED_BLOCK.split())
"""The block of the research, value by value: a line cannot be lost or loosened unnoticed."""
WRITE_ENVIRONMENT = "import json, os; print(json.dumps(dict(os.environ)))"


IN_A_COMMAND = """
import sys
from localinstruct.cli import app
@app.app.command()
def probe() -> None:
    exec(%r, {})
sys.argv = ["localinstruct", "probe"]
app.main()
"""
"""The command line with one more command, which runs some code."""


@pytest.fixture(scope="module")
def of_command() -> dict[str, str]:
    """The environment in which a command runs, in a hostile shell."""
    return json.loads(output(IN_A_COMMAND % WRITE_ENVIRONMENT, env=HOSTILE))


@pytest.fixture(scope="module")
def of_children() -> dict[str, dict[str, str]]:
    """What a child, a multiprocessing child and a grandchild get, by three ways of starting one."""
    code = f"""
import json, multiprocessing, os, subprocess, sys
import localinstruct
from localinstruct.offline.switches import child_environment
assert os.environ["HF_HUB_OFFLINE"] == "wrong"
os.environ["HTTPS_PROXY"] = "http://192.0.2.7:3128"
os.environ["HF_HUB_OFFLINE"] = "0"
def environment(queue): queue.put(dict(os.environ))
child = [sys.executable, "-c", {WRITE_ENVIRONMENT!r}]
call = "import subprocess, sys; subprocess.run(" + repr(child) + ", check=True)"
inner = [sys.executable, "-c", call]
found = {{"child": subprocess.check_output(child, env=child_environment(), text=True),
          "grandchild": subprocess.check_output(inner, env=child_environment(), text=True)}}
localinstruct.enforce_offline()
context = multiprocessing.get_context("fork")
queue = context.Queue()
process = context.Process(target=environment, args=(queue,))
process.start()
found["multiprocessing"] = json.dumps(queue.get())
process.join()
print(json.dumps({{name: json.loads(text) for name, text in found.items()}}))
"""
    return json.loads(output(code, env=HOSTILE))


@pytest.mark.parametrize("name", switches.SWITCHES)
def test_switch_is_set_over_a_wrong_value_and_reaches_children(
    name: str, of_command: dict[str, str], of_children: dict[str, dict[str, str]]
) -> None:
    value, reason = switches.SWITCHES[name]
    assert of_command[name] == value
    assert {way: environment[name] for way, environment in of_children.items()} == dict.fromkeys(
        of_children, value
    )
    assert len(of_children) == 3
    assert len(reason) > 10


@pytest.mark.parametrize("name", switches.SWITCHES)
def test_a_wrong_switch_is_named(name: str) -> None:
    right = {switch: value for switch, (value, _) in switches.SWITCHES.items()}
    assert switches.deviations(right) == []
    assert switches.deviations(right | {name: "wrong"}) == [f"{name} is 'wrong'"]
    del right[name]
    assert switches.deviations(right) == [f"{name} is None"]


@pytest.mark.parametrize("name", REMOVED)
def test_variable_is_removed_and_stays_away_from_children(
    name: str, of_command: dict[str, str], of_children: dict[str, dict[str, str]]
) -> None:
    assert name not in of_command
    assert [way for way, environment in of_children.items() if name in environment] == []
    environment = {name: "x", "PATH": "/bin"}
    switches.enforce(environment)
    assert name not in environment
    assert environment["PATH"] == "/bin"
    assert f"{name} is set" in switches.deviations({name: "x"})


def test_every_recommended_switch_is_there() -> None:
    """The list of the research, so that a line cannot be lost unnoticed."""
    assert len(RECOMMENDED) == 30
    assert {
        name: value for name, (value, _) in switches.SWITCHES.items() if name in RECOMMENDED
    } == RECOMMENDED
    assert len(switches.SWITCHES) >= 32
    assert {
        "HF_HUB_OFFLINE",
        "HF_UPDATE_DOWNLOAD_COUNTS",
        "VLLM_NO_USAGE_STATS",
        "VLLM_HOST_IP",
        "DO_NOT_TRACK",
        "DISABLE_SAFETENSORS_CONVERSION",
        "USE_HUB_KERNELS",
        "FLASHINFER_NO_DOWNLOAD",
    } <= set(switches.SWITCHES)
    assert switches.SWITCHES["VLLM_NO_USAGE_STATS"][0] == "1"  # "true" would not do


def test_extra_values_of_a_child_win_over_nothing_else() -> None:
    environment = switches.child_environment(TMPDIR="/run/private")
    assert environment["TMPDIR"] == "/run/private"
    assert switches.deviations(environment) == []


def test_an_import_changes_no_variable_and_the_call_sets_them_all() -> None:
    code = """
import json, os
before = dict(os.environ)
import localinstruct
imported = dict(os.environ)
localinstruct.enforce_offline()
from localinstruct.offline import switches
print(json.dumps([before == imported, imported["HF_HUB_OFFLINE"], switches.deviations()]))
"""
    assert json.loads(output(code, env=HOSTILE)) == [True, "wrong", []]


def test_switches_come_before_anything_heavy() -> None:
    """The command line imports no library that reads them before it has set them; at the first
    import of each, wherever in a command it happens, they are set already."""
    inside = """
import json, os, sys
import localinstruct.pipeline
early = sorted(sys.seen)
import huggingface_hub, openai
from huggingface_hub import constants
obeyed = [constants.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_TELEMETRY]
obeyed += [constants.HF_HUB_DISABLE_XET]
print(json.dumps([early, sys.seen, *obeyed]))
"""
    watch = """
import importlib.abc, os, sys
HEAVY = {"torch", "vllm", "transformers", "trl", "peft", "datasets", "sentence_transformers"}
HEAVY |= {"huggingface_hub", "openai"}
sys.seen = {}
class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        top = name.partition(".")[0]
        if top in HEAVY and top not in sys.seen:
            values = [os.environ.get(name) for name in ("HF_HUB_OFFLINE", "VLLM_NO_USAGE_STATS")]
            sys.seen[top] = [*values, "HTTPS_PROXY" in os.environ]
sys.meta_path.insert(0, Watch())
"""
    early, seen, *constants = json.loads(output(watch + IN_A_COMMAND % inside, env=HOSTILE))
    assert early == []
    assert set(seen) >= {"huggingface_hub", "openai"}
    assert [values for values in seen.values() if values != ["1", "1", False]] == []
    assert constants == [True, True, True]  # the library itself agrees


def test_the_command_line_sets_them_in_its_first_statement() -> None:
    """And the module of the switches itself imports nothing that could read them."""
    tree = ast.parse((ROOT / "localinstruct" / "cli" / "app.py").read_text())
    main = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "main")
    assert [ast.unparse(statement) for statement in main.body[1:2]] == ["switches.enforce()"]
    below = ast.parse((ROOT / "localinstruct" / "offline" / "switches.py").read_text())
    modules = {
        name.partition(".")[0]
        for node in below.body
        for name in (
            [a.name for a in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert modules <= {
        "contextlib",
        "fcntl",
        "ipaddress",
        "os",
        "socket",
        "struct",
        "collections",
        "urllib",
        "localinstruct",
    }
    assert len(modules) >= 5


def test_vllm_gets_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from localinstruct.teacher import Serve, vllm

    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    assert switches.deviations(vllm._environment(Serve(), tmp_path)) == []


def calls(name: str) -> list[tuple[str, dict[str, str]]]:
    """Every call in the package whose function ends in `name`: (place, keyword arguments as
    written)."""
    found = []
    for path in sorted((ROOT / "localinstruct").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and f".{ast.unparse(node.func)}".endswith(f".{name}"):
                words = {k.arg or "**": ast.unparse(k.value) for k in node.keywords}
                found.append((f"{path.name}:{node.lineno}", words))
    return found


@pytest.mark.parametrize(
    ("function", "keyword", "value", "least"),
    [
        ("SentenceTransformer", "local_files_only", "True", 1),  # row 16
        ("from_pretrained", "local_files_only", "True", 4),  # rows 4 and 21
        ("AsyncOpenAI", "base_url", None, 1),  # row 28
        ("AsyncClient", "trust_env", "False", 1),  # row 29
        ("httpx2.Client", "trust_env", "False", 1),
    ],
)
def test_our_calls_close_what_no_switch_closes(
    function: str, keyword: str, value: str | None, least: int
) -> None:
    # model2vec has no such keyword; it looks nothing up where the directory is there
    found = [one for one in calls(function) if not one[0].startswith("static.py:")]
    assert [
        place
        for place, words in found
        if keyword not in words or value not in (None, words[keyword])
    ] == []
    assert len(found) >= least


def test_trainers_report_to_nobody_or_to_files_of_the_run() -> None:
    """Row 19: both trainers' arguments are made in one place, which reports to none, or to
    TensorBoard's local files."""
    reports = [words["report_to"] for _, words in calls("config") if "report_to" in words]
    assert reports == ["['tensorboard'] if section.tensorboard else 'none'"]
    assert calls("SFTConfig") == calls("DPOConfig") == []  # never made beside it


def test_our_code_makes_none_of_the_calls_that_ignore_the_switches() -> None:
    """Rows 9, 10, 15 and 17: tiktoken, mistral_common, load_dataset, PEFT's look at the base
    model."""
    assert (
        calls("load_dataset")
        == calls("download_tokenizer_from_hf_hub")
        == calls("get_encoding")
        == []
    )
    adapters = [words for _, words in calls("save_pretrained") if "save_embedding_layers" in words]
    assert [words["save_embedding_layers"] for words in adapters] == ["False"]
    imported = {
        alias.name.partition(".")[0]
        for path in (ROOT / "localinstruct").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert (
        imported
        & {"tiktoken", "mistral_common", "requests", "wandb", "evaluate", "nltk", "kernels"}
        == set()
    )
    assert len(imported) > 20


@pytest.mark.parametrize(
    "url",
    [
        "unix:///run/x/vllm.sock",
        "http://127.0.0.1:8000/v1",
        "http://[::1]:8000/v1",
        "http://localhost:8000/v1",
        "http://127.9.9.9:1/v1",
    ],
)
def test_local_endpoints_are_taken(url: str) -> None:
    assert addresses.resolve(url).ip == ""


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:8000",
        "http://192.0.2.1:8000/v1",
        "http://host.example/v1",
        "http://127.0.0.1.host.example/v1",
        "http://127.0.0.1@host.example/v1",
        "unix://x.sock",
        "http://0.0.0.0:8000",
        "http://localhost.host.example",
        "ftp://127.0.0.1",
        "",
    ],
)
def test_other_endpoints_are_refused(url: str) -> None:
    with pytest.raises(RecipeError, match="not on this machine"):
        addresses.resolve(url)


@needs_namespaces
def test_loopback_is_woken_in_a_fresh_namespace() -> None:
    code = """
from localinstruct.offline import switches
from localinstruct.offline import kernel
import socket
kernel.checked(kernel.LIBC.unshare(kernel.NEW_USER | kernel.NEW_NET), "unshare")
def reaches():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try: s.connect(("127.0.0.1", 9))
        except OSError: return False
    return True
before = reaches()
switches.wake_loopback()
print(before, reaches())
"""
    assert output(code).split() == ["False", "True"]


@needs_namespaces
def test_the_template_library_of_gpt_oss_needs_no_file_and_no_network(tmp_path: Path) -> None:
    """models.yaml says so: its vocabulary, which openai-harmony fetches from the network, is part
    of oss-harmony."""
    pytest.importorskip("openai_harmony")
    code = """
import os
os.environ.pop("TIKTOKEN_ENCODINGS_BASE", None)
from localinstruct.offline import seal
seal.begin(True)
import openai_harmony as harmony
encoding = harmony.load_harmony_encoding(harmony.HarmonyEncodingName.HARMONY_GPT_OSS)
print(encoding.decode(encoding.encode("Name a river.")))
"""
    (tmp_path / "tmp").mkdir()  # a new home, in which nothing that was fetched before is found
    assert output(code, tmp=tmp_path, env={"TMPDIR": str(tmp_path / "tmp")}) == "Name a river.\n"
