"""The user's own functions in a recipe: name and digest there, the function itself in the child.

A recipe stays data: it says which function (a method, a filter) and the SHA-256 of its source, so
that changed code is a changed recipe. The function comes from a file of the workspace, which is
read by the process that needs it and by no other, or from a Python program that hands it over.
Not covered: modules that such a file imports, and values that a function changes while it runs;
they do not enter the digest.
"""

import hashlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import TypeVar

from pydantic import Field, PrivateAttr

from localinstruct.config import Section, did_you_mean
from localinstruct.errors import RecipeError, RunConflict

NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
PLAIN = (str, bytes, int, float, bool, type(None), tuple, frozenset)
"""Types of the constants that enter a function's digest beside its source."""
MEND = (
    "Mend it, then begin another run (--name) or this one again (--fresh): its code is part of it."
)
START_OVER = "Restore it, use another --name, or start over with --fresh."


class OwnFunction(Section):
    """A function of the user's own: its name, where it is, and the digest of its source."""

    name: str = Field(pattern=NAME)
    """Name of the function."""
    file: str = ""
    """Its file in the workspace; empty where a Python program gave the function."""
    sha256: str = ""
    """Digest of the file, or of the function's source; filled in by the program."""
    _function: Callable[..., object] | None = PrivateAttr(None)

    @property
    def function(self) -> Callable[..., object] | None:
        """The function, in the process that has it."""
        return self._function

    @property
    def place(self) -> str:
        """'methods/haiku.py', or the function's name where it has no file here."""
        return self.file or f"{self.name}()"


F = TypeVar("F", bound=OwnFunction)


def holding(own: F, function: Callable[..., object]) -> F:
    """A copy of the entry that has the function itself, which is written nowhere."""
    copy = own.model_copy()
    copy._function = function
    return copy


def require_unchanged(own: OwnFunction, workspace: Path) -> bytes:
    """The bytes of the file of a function; RecipeError where there is none, RunConflict if changed.

    Nothing is imported: this is all that fits, readiness and recipes look at.
    """
    path = workspace / own.file
    try:
        source = path.read_bytes()
    except OSError as error:
        raise RecipeError(
            f"{path}: expected the file of the own method {own.name}, found none that can be read "
            f"({error.strerror or error}).",
            f"Put it back, or name another method. Files of own methods: {path.parent}.",
        ) from None
    if own.sha256 not in ("", hashlib.sha256(source).hexdigest()):
        raise RunConflict(f"{path}: has changed since this run began.", START_OVER)
    return source


def load(own: F, workspace: Path, parameters: Sequence[str]) -> F:
    """The entry with the function of its file, which must take these parameters by position.

    RecipeError with file and line when the file raises, or has no such function.
    """
    path = (workspace / own.file).resolve()
    module = _executed(path, require_unchanged(own, workspace), f"localinstruct_own_{own.name}")
    function = getattr(module, own.name, None)
    call = f"{own.name}({', '.join(parameters)})"
    if not callable(function):
        names = [name for name, value in vars(module).items() if _is_of(value, module)]
        near = did_you_mean(own.name, names) if names else "it defines no function"
        raise RecipeError(
            f"{path}: expected a function {call}, found none of that name; {near}",
            "The function has the name of its file.",
        )
    try:
        inspect.signature(function).bind(*parameters)
    except TypeError as error:
        raise RecipeError(
            f"{path}:{line_of(function)}: expected {call}, found "
            f"{own.name}{inspect.signature(function)} ({error}).",
            "Give it these parameters, in this order.",
        ) from None
    return holding(own, function)


def _executed(path: Path, source: bytes, name: str) -> ModuleType:
    """A module made of `source`; RecipeError with the line where it could not be executed."""
    module = sys.modules[name] = ModuleType(name)
    module.__file__ = str(path)
    try:
        exec(compile(source, str(path), "exec"), vars(module))
    except (Exception, SystemExit) as error:
        line = (isinstance(error, SyntaxError) and error.lineno) or failed_at(error, str(path))
        raise RecipeError(
            f"{path}:{line}: expected a file that can be imported, found "
            f"{type(error).__name__}: {error}",
            f"Mend it, and look at it alone: python {path}",
        ) from error
    return module


def _is_of(value: object, module: ModuleType) -> bool:
    return isinstance(value, FunctionType) and value.__module__ == module.__name__


def failed_at(error: BaseException, file: str) -> int:
    """The line of `file` at which an exception passed last, 1 where it never did."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    return next((line for line in reversed(lines) if line), 1)


def file_of(function: Callable[..., object]) -> str:
    """The file in which a function stands, or a name in angle brackets as Python gives it."""
    code = _code(function)
    return code.co_filename if code else f"<{type(function).__name__}>"


def line_of(function: Callable[..., object]) -> int:
    """The first line of a function in its file."""
    code = _code(function)
    return code.co_firstlineno if code else 1


def _code(function: Callable[..., object]) -> CodeType | None:
    """The code of a function, or of an object that can be called."""
    target = inspect.unwrap(function)
    code = getattr(target, "__code__", None) or getattr(type(target).__call__, "__code__", None)
    return code if isinstance(code, CodeType) else None


def name_of(function: Callable[..., object]) -> str:
    """The name under which a recipe knows a function; `own` for a lambda and the like."""
    name = getattr(function, "__name__", type(function).__name__)
    return name if re.match(NAME, name) else "own"


def digest_of(function: Callable[..., object]) -> str:
    """SHA-256 (hex) of the source of a function and of what it uses of its own module.

    That is every function and class of the module that it names, and plain constants. Without a
    source (a prompt of the interpreter) it is the compiled code, which another version of Python
    compiles differently.
    """
    hashed = hashlib.sha256()
    for text in _texts(function):
        hashed.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return hashed.hexdigest()


def _texts(function: object) -> Iterator[str]:
    waiting, seen = [function], set[int]()
    while waiting:
        target = waiting.pop(0)
        if id(target) in seen:
            continue
        seen.add(id(target))
        if isinstance(target, PLAIN):
            yield repr(target)
            continue
        kind = target if isinstance(target, type | FunctionType) else type(target)
        yield _source(kind)
        if target is not kind:
            waiting += [kind, *(getattr(target, "__dict__", None) or {}).values()]
        if isinstance(target, FunctionType):
            waiting += _used_by(target)


def _used_by(function: FunctionType) -> list[object]:
    """Defaults, closed-over values, and globals of the same module that a function names."""
    cells = inspect.getclosurevars(function)
    named = [value for _, value in sorted({**cells.globals, **cells.nonlocals}.items())]
    own = [v for v in named if getattr(v, "__module__", None) == function.__module__]
    return [
        *own,
        *(value for value in named if isinstance(value, PLAIN)),
        *(function.__defaults__ or ()),
    ]


def _source(kind: "type | FunctionType") -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return _compiled(kind.__code__) if isinstance(kind, FunctionType) else kind.__qualname__


def _compiled(code: CodeType) -> str:
    """Instructions, names and constants of some code and of all code in it."""
    constants = [_compiled(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return repr((code.co_code.hex(), code.co_names, code.co_varnames, constants))
