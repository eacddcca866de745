"""The user's own functions in a recipe: name and digest there, the function itself in the child.

A recipe stays data: it says which function (a method, a filter) and the SHA-256 of its source, so
that changed code is a changed recipe. The function comes from a file of the workspace, which is
read by the process that needs it and by no other, or from a Python program that hands it over.
Not covered, as they do not enter the digest: modules that such a file imports, objects of their
classes, and values that a function changes while it runs.
"""

import hashlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import CellType, CodeType, EllipsisType, FunctionType, MethodType, ModuleType, NoneType
from typing import TypeVar

from pydantic import Field, PrivateAttr

from localinstruct.config import Section, did_you_mean
from localinstruct.errors import RecipeError, RunConflict

NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
PLAIN = (str, bytes, int, float, complex, bool, range, EllipsisType, NoneType)
"""Types of the constants that enter a function's digest beside its source."""
VALUES = (*PLAIN, tuple, list, dict, set, frozenset, re.Pattern)
"""Types of the values of a module that enter it where a function names them."""
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
            _mend(error, path),
        ) from error
    return module


def _mend(error: BaseException, path: Path) -> str:
    """The way out for a file that could not be imported."""
    missing = (error.name or "").split(".")[0] if isinstance(error, ImportError) else ""
    beside = path.parent / missing
    if missing and (beside.with_suffix(".py").is_file() or beside.is_dir()):
        return (
            f"An own method is one file, and {missing} lies beside it: put what it needs into "
            f"{path.name}, or install it as a package (pip install). Only this file is a part of "
            "the run's recipe and travels in a bundle."
        )
    if missing and isinstance(error, ModuleNotFoundError):
        return f"Install {missing} in this environment: python -m pip install {missing}"
    return f"Mend it, and look at it alone: python {path}"


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

    That is every function and class of the module that it names, also inside of others, and the
    values of constants, lists, mappings, sets and patterns. The same in every process. Without a
    source (a prompt of the interpreter) it is the compiled code, which another version of Python
    compiles differently.
    """
    hashed = hashlib.sha256()
    for text in _texts(function, {}, set()):
        hashed.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return hashed.hexdigest()


def _texts(function: object, seen: dict[int, object], home: set[str]) -> Iterator[str]:
    """Text of everything that a function consists of, in an order that every process has.

    `seen` keeps by id what was there already, `home` the modules whose code counts.
    """
    waiting = [function]
    home |= _modules(waiting)
    while waiting:
        target = waiting.pop()
        if isinstance(target, PLAIN):
            yield repr(target)
            continue
        if not isinstance(target, tuple | CodeType):  # equal constants may be one object, or two
            if id(target) in seen:
                yield "again"
                continue
            seen[id(target)] = target
        if isinstance(target, set | frozenset):
            yield f"{type(target).__name__} {len(target)}"
            yield from sorted("\0".join(_texts(one, dict(seen), set(home))) for one in target)
            continue
        text, parts = _shown(target, home)
        yield f"{text} {len(parts)}"
        waiting += reversed(parts)


def _modules(values: Sequence[object]) -> set[str]:
    """Names of the modules in which functions, or classes of callable objects, are written."""
    kinds = [one if isinstance(one, FunctionType | type) else type(one) for one in values]
    return {kind.__module__ for kind in kinds} - {"builtins"}


def _shown(target: object, home: set[str]) -> tuple[str, list[object]]:
    """(text of one thing, the things that it consists of)."""
    kind = type(target)
    match target:
        case tuple() | list():
            return kind.__name__, [*target]
        case dict():
            return kind.__name__, [part for item in target.items() for part in item]
        case re.Pattern():
            return "pattern", [target.pattern, target.flags]
        case CodeType():
            names = (target.co_code.hex(), target.co_names, target.co_varnames)
            return repr(names), [*target.co_consts]
        case MethodType():
            home |= _modules([target.__func__, target.__self__])
            return "method", [target.__func__, target.__self__]
        case partial():
            home |= _modules([target.func])
            return "partial", [target.func, target.args, target.keywords, vars(target)]
        case FunctionType() | type():
            return _written(target, home)
    wrapped = getattr(target, "__wrapped__", None)  # a cache of functools
    home |= _modules([wrapped])
    if kind.__module__ in home:
        return kind.__qualname__, [kind, _attributes(target)]
    name = getattr(target, "__qualname__", kind.__qualname__)
    return str(name), [wrapped] if isinstance(wrapped, FunctionType) else []


def _written(target: "type | FunctionType", home: set[str]) -> tuple[str, list[object]]:
    """`_shown` of a function or a class: its source, or its name where it is of another module."""
    if target.__module__ not in home:
        return f"{target.__module__}.{target.__qualname__}", []
    if isinstance(target, type):
        return _source(target) or target.__qualname__, _of_class(target, home)
    source = _source(target.__code__)
    code = [target.__code__] if source is None else []
    return source or "", [*code, *_used_by(target, home)]


def _used_by(function: FunctionType, home: set[str]) -> list[object]:
    """Defaults, closed-over values, attributes, and the globals that count of those it names."""
    held = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    held += [value for name, value in sorted(vars(function).items())]
    home |= _modules([value for value in held if isinstance(value, FunctionType)])
    named = sorted(_names(function.__code__) & function.__globals__.keys())
    values = [function.__globals__[name] for name in named]
    own = [value for value in values if _counts(value, function.__module__)]
    return [*own, *held, function.__defaults__, function.__kwdefaults__]


def _names(code: CodeType) -> set[str]:
    """The names in some code and in all code inside of it."""
    inner = [_names(one) for one in code.co_consts if isinstance(one, CodeType)]
    return set(code.co_names).union(*inner)


def _counts(value: object, module: str) -> bool:
    """True for a plain value or a container, and for what is written in this module."""
    target = value
    while isinstance(target, partial | MethodType):
        target = target.func if isinstance(target, partial) else target.__func__
    return isinstance(target, VALUES) or getattr(target, "__module__", None) == module


def _is_filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _of_class(kind: type, home: set[str]) -> list[object]:
    """Base classes, plain values, and what the functions of a class use, or these themselves."""
    parts: list[object] = [base for base in kind.__bases__ if base.__module__ in home]
    for name, value in vars(kind).items():
        if isinstance(value, VALUES) and not name.startswith("__"):
            parts += [name, value]
        getters = (value.fget, value.fset) if isinstance(value, property) else (value,)
        for one in getters:
            function = one.__func__ if isinstance(one, staticmethod | classmethod) else one
            if not isinstance(function, FunctionType) or function.__module__ != kind.__module__:
                continue
            if _source(kind) is None:
                parts.append(function)
            elif _source(function.__code__) is not None:  # else generated, as by a dataclass
                parts += _used_by(function, home)
    return parts


def _attributes(target: object) -> dict[str, object]:
    """Name -> value of what an object holds, in its mapping and in its slots."""
    slots = [vars(kind).get("__slots__", ()) for kind in type(target).__mro__]
    names = [name for one in slots for name in ([one] if isinstance(one, str) else one)]
    held = {name: getattr(target, name) for name in names if hasattr(target, name)}
    return {**held, **getattr(target, "__dict__", {})}


def _source(written: "type | CodeType") -> str | None:
    """The text of a class or of code, None where Python does not have it."""
    try:
        return inspect.getsource(written)
    except (OSError, TypeError):
        return None
