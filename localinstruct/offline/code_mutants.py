"""Small Python functions as text: what may stand in one, its asserts, and broken copies of it.

Runs where the text may be hostile (`code_child`): parsing alone can cost time and memory. The list
of what may be used is no wall; it keeps rows to what small functions need, and the walls around the
process hold whatever it misses. A mutant is a copy with one change: a comparison turned round, a
number off by one, an operator swapped, or None returned. Not covered: classes, async functions,
functions in several files.
"""

import ast
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

MODULES = (
    "bisect",
    "collections",
    "copy",
    "datetime",
    "decimal",
    "fractions",
    "functools",
    "heapq",
    "itertools",
    "json",
    "math",
    "operator",
    "random",
    "re",
    "statistics",
    "string",
    "textwrap",
    "typing",
)
"""Modules that a function may import; they are loaded before the walls are up."""
_REFUSED_NAMES = frozenset(
    {
        *("open", "exec", "eval", "compile", "input", "breakpoint", "exit", "quit"),
        *("globals", "locals", "vars", "getattr", "setattr", "delattr"),
        *("__import__", "__builtins__", "__loader__", "__spec__"),
    }
)
_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_SWAPPED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add,
    ast.Pow: ast.Mult,
}


class NotUsable(Exception):
    """A text that is no small function with asserts; the message is a reject's reason."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class Mutant:
    """A broken copy of a function: what was changed ("line 3: < to >="), and its text."""

    change: str
    text: str


@dataclass(frozen=True, slots=True)
class Examined:
    """A function and its tests, cut down to what will be executed."""

    code: str
    """Imports and definitions, as they were written."""
    tests: str
    """Assertions of the function, with the assignments that they need."""
    asserts: int
    mutants: tuple[Mutant, ...]


def examine(code: str, tests: str, name: str, fewest: int, most_mutants: int) -> Examined:
    """The function `name` with its asserts and mutants; NotUsable says why there is none.

    `fewest` asserts are needed; with fewer the tests say little.
    """
    tree = _parsed(code, "function does not parse")
    kept = [node for node in tree.body if _is_part(node)]
    functions = [node for node in kept if isinstance(node, ast.FunctionDef)]
    found = next((node for node in functions if node.name == name), None)
    if found is None:
        names = ", ".join(node.name for node in functions) or "none"
        raise NotUsable("no such function", f"expected {name}, found {names}")
    _require_harmless(kept)
    statements = list(_statements(_parsed(tests, "tests do not parse").body))
    asserts = [one for one in statements if isinstance(one, ast.Assert) and _calls(one, name)]
    if len(asserts) < fewest:
        raise NotUsable("too few asserts", f"{len(asserts)} of {name}, expected {fewest}")
    helpers = [one for one in statements if not isinstance(one, ast.Assert)]
    _require_harmless([*helpers, *asserts])
    text = _without(code, [node for node in tree.body if node not in kept])
    body = "\n".join(ast.unparse(one) for one in (*helpers, *asserts))
    return Examined(text, body, len(asserts), tuple(mutants(kept, most_mutants)))


def _parsed(text: str, reason: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise NotUsable(reason, str(error)) from None
    except (RecursionError, MemoryError):
        raise NotUsable(reason, "nested too deeply") from None


def _is_part(node: ast.stmt) -> bool:
    """True for what belongs to a function: not examples of its use, nor tests of its author."""
    plain = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.Assign, ast.AnnAssign)
    return isinstance(node, plain)


def _without(code: str, nodes: Sequence[ast.stmt]) -> str:
    """The text less the lines of these statements."""
    gone = {line for node in nodes for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    lines = [line for number, line in enumerate(code.splitlines(), 1) if number not in gone]
    return "\n".join(lines).strip("\n").rstrip()


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Asserts, imports and assignments, those in `def test_…():` too."""
    for node in body:
        if isinstance(node, ast.Assert | ast.Assign | ast.AnnAssign | ast.Import | ast.ImportFrom):
            yield node
        elif _is_test(node):
            yield from _statements(node.body)


def _is_test(node: ast.stmt) -> TypeGuard[ast.FunctionDef]:
    """True for `def test_…():`, which is never called: its body is what counts."""
    if not isinstance(node, ast.FunctionDef):
        return False
    return node.name.startswith("test") and not node.args.args


def _calls(node: ast.AST, name: str) -> bool:
    calls = (one for one in ast.walk(node) if isinstance(one, ast.Call))
    return any(isinstance(call.func, ast.Name) and call.func.id == name for call in calls)


def _require_harmless(nodes: Sequence[ast.stmt]) -> None:
    """NotUsable for what a small function has no need of."""
    for node in (inner for outer in nodes for inner in ast.walk(outer)):
        if isinstance(node, ast.Import):
            _require_modules([alias.name for alias in node.names])
        elif isinstance(node, ast.ImportFrom):
            _require_modules(["." if node.level else str(node.module)])
        elif isinstance(node, ast.Name) and node.id in _REFUSED_NAMES:
            raise NotUsable("uses what it must not", node.id)
        elif isinstance(node, ast.Attribute) and node.attr.startswith("__"):
            raise NotUsable("uses what it must not", node.attr)
        elif isinstance(node, ast.AsyncFunctionDef | ast.ClassDef):
            raise NotUsable("uses what it must not", type(node).__name__)


def _require_modules(names: Sequence[str]) -> None:
    for name in names:
        if name.partition(".")[0] not in MODULES:
            raise NotUsable("uses what it must not", f"import {name}")


def mutants(body: Sequence[ast.stmt], most: int) -> Iterator[Mutant]:
    """At most `most` broken copies, their places spread over the function.

    None returned comes last: any test notices that.
    """
    tree = ast.Module(list(body), [])
    nodes = [node for part in body if isinstance(part, ast.FunctionDef) for node in ast.walk(part)]
    operators = [node for node in nodes if isinstance(node, ast.Compare | ast.BinOp | ast.BoolOp)]
    subtle: list[ast.AST] = [*operators]
    subtle += [node for node in nodes if isinstance(node, ast.Constant) and type(node.value) is int]
    plain = [node for node in nodes if isinstance(node, ast.Return) and node.value is not None]
    chosen = [*subtle[:: max(1, -(-len(subtle) // max(1, most)))], *plain][:most]
    for node in chosen:
        copied = copy.deepcopy(tree)
        twin = next(
            other
            for original, other in zip(ast.walk(tree), ast.walk(copied), strict=True)
            if original is node
        )
        said = _changed(twin)
        if said:
            text = ast.unparse(ast.fix_missing_locations(copied))
            yield Mutant(f"line {getattr(node, 'lineno', 0)}: {said}", text)


def _changed(node: ast.AST) -> str:
    """Change a node in place; what was changed, "" where nothing was."""
    if isinstance(node, ast.Compare):
        before = type(node.ops[0])
        node.ops[0] = _TURNED[before]()
        return f"{before.__name__} to {_TURNED[before].__name__}"
    if isinstance(node, ast.BinOp) and type(node.op) in _SWAPPED:
        before_op = type(node.op)
        node.op = _SWAPPED[before_op]()
        return f"{before_op.__name__} to {_SWAPPED[before_op].__name__}"
    if isinstance(node, ast.BoolOp):
        both = isinstance(node.op, ast.And)
        node.op = ast.Or() if both else ast.And()
        return "And to Or" if both else "Or to And"
    if isinstance(node, ast.Constant) and type(node.value) is int:
        node.value += 1
        return f"{node.value - 1} to {node.value}"
    if isinstance(node, ast.Return):
        node.value = ast.Constant(None)
        return "returns None"
    return ""
