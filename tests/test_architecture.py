"""The shape of the house, held by tests: imports point down, heavy libraries load late, only
console prints."""

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "localinstruct"
FILES = sorted(ROOT.rglob("*.py"))

ROWS = (
    ("__main__",),
    ("cli", "api"),
    ("worker",),
    ("improve",),
    ("workspace", "export", "web"),
    ("pipeline",),
    ("readiness", "report"),
    ("evaluation", "fit"),
    ("states",),
    ("gguf",),
    ("dataset", "generation", "training", "bundle"),
    ("cleaning",),
    ("recipe", "documents"),
    ("methods", "teacher", "topics"),
    ("judge", "models"),
    ("formats",),
    ("curate", "offline", "supervisor"),
    ("own_code", "stages", "signing"),
    ("config", "console", "nano", "store", "templates"),
    ("lines",),
    ("errors", "interrupt", "machine", "progress", "records"),
)
"""Top to bottom. A room may import rooms of lower rows, and itself; rooms of one row do not know
each other."""
LARGEST_SHARE = 0.1
"""No room has more than this share of the package's lines, a folder in it counted to it."""
HEAVY = {
    "torch",
    "vllm",
    "transformers",
    "trl",
    "peft",
    "sklearn",
    "datasets",
    "sentence_transformers",
    "ray",
    "tokenizers",
    "openai",
    "httpx2",
    "accelerate",
    "safetensors",
    "pyarrow",
    "duckdb",
    "uvicorn",
}


def unit(module: str) -> str:
    """The room a module of ours lies in: 'localinstruct.training.stage' -> 'training'."""
    return module.split(".")[1] if "." in module else "__init__"


def row(name: str) -> int:
    return next(number for number, names in enumerate(ROWS) if name in names)


def module_of(path: Path) -> str:
    return ".".join(("localinstruct", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
        ".__init__"
    )


def imports(path: Path, *, top_level_only: bool) -> list[str]:
    """Modules a file imports; with `top_level_only`, when it is itself imported."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found = []
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
            if node.module == "localinstruct":
                found += [f"localinstruct.{alias.name}" for alias in node.names]
    return found


def test_imports_point_down() -> None:
    arrows, wrong = 0, []
    for path in FILES:
        here = unit(module_of(path))
        for target in imports(path, top_level_only=False):
            there = unit(target)
            if (
                not target.startswith("localinstruct.")
                or there in (here, "__init__", "__version__")
                or here == "__init__"
            ):
                continue
            arrows += 1
            if row(there) <= row(here):
                wrong.append(f"{module_of(path)} -> {target}")
    assert wrong == []
    assert arrows > 60


DURABLE = "localinstruct.store.durable"
TRAVELLING = {f"localinstruct.bundle.{name}" for name in ("takeout", "guard", "ed25519")}
"""Programs that lie in a bundle and run alone, with nothing of ours beside them."""
DURABLE_CALLS = {"fsync", "fdatasync", "flock", "lockf"}


def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


def test_one_module_syncs_and_locks_and_one_function_makes_canonical_json() -> None:
    syncing, canonical, calls_seen = set[str](), list[str](), 0
    ours = [path for path in FILES if module_of(path) not in TRAVELLING]
    for path in ours:
        for call in calls(path):
            name = ast.unparse(call.func).rpartition(".")[2]
            if name in DURABLE_CALLS:
                syncing.add(module_of(path))
            if name == "dumps" and {"sort_keys", "separators"} <= {w.arg for w in call.keywords}:
                canonical.append(module_of(path))
            calls_seen += 1
    assert syncing == {DURABLE}
    assert canonical == ["localinstruct.records"]
    assert len(ours) == len(FILES) - len(TRAVELLING) > 200
    assert calls_seen > 5000


def skips_what_is_no_json(attempt: ast.Try) -> bool:
    """Parse a name, such as `line`, and go on after what is no JSON."""
    parsed = [
        node.args[0]
        for node in ast.walk(attempt)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "json.loads"
    ]
    steps = [step for handler in attempt.handlers for step in handler.body]
    goes_on = any(isinstance(step, ast.Continue | ast.Pass) for step in steps)
    return goes_on and any(isinstance(argument, ast.Name) for argument in parsed)


def test_no_loop_skips_lines_that_are_no_json() -> None:
    """A file of ours with torn lines is read by `read_json_lines`; people's files are refused."""
    attempts = [
        (module_of(path), node)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Try)
    ]
    assert [name for name, attempt in attempts if skips_what_is_no_json(attempt)] == []
    assert len(attempts) > 100


def test_every_file_is_in_a_row() -> None:
    units = {unit(module_of(path)) for path in FILES} - {"__init__"}
    assert units == {name for names in ROWS for name in names}


def test_no_room_is_a_house_of_its_own() -> None:
    lines = Counter[str]()
    for path in FILES:
        lines[unit(module_of(path))] += path.read_text().count("\n")
    share = {room: count / lines.total() for room, count in lines.items()}
    assert {room: part for room, part in share.items() if part > LARGEST_SHARE} == {}


def test_heavy_libraries_are_imported_inside_functions() -> None:
    wrong = [
        f"{module_of(path)}: {target}"
        for path in FILES
        for target in imports(path, top_level_only=True)
        if target.split(".")[0] in HEAVY
    ]
    assert wrong == []
    assert len(FILES) >= 40


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [
        n
        for n in ast.walk(ast.parse(path.read_text()))
        if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_rooms_can_be_read_at_a_glance() -> None:
    lengths = sorted(
        n.end_lineno - n.lineno + 1 for path in FILES for n in functions(path) if n.end_lineno
    )
    assert len(lengths) > 300
    assert lengths[len(lengths) // 2] <= 12
    assert lengths[int(len(lengths) * 0.9)] <= 25
    assert lengths[-1] <= 60
    long_files = {module_of(p): n for p in FILES if (n := p.read_text().count("\n")) > 420}
    assert long_files == {}


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_module_opens_with_a_docstring(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert text
    assert len(text.splitlines()[0]) <= 130


def test_only_console_prints() -> None:
    printing = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            is_print = (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "print"
            )
            if is_print and path.name != "console.py":
                printing.append(module_of(path))
    assert printing == []
