"""localinstruct: self-instruct on your own machine, from the command line and from Python.

`import localinstruct` changes nothing in the process (environment, signals, warnings, threads) and
loads no library; the names below come from `localinstruct.api` when they are first used. The
command line sets the offline environment for itself and its children; a Python program calls
`enforce_offline()` for its own process, and whatever loads a model does so in a child that has it.

Names in `__all__` follow semantic versions: before one is removed or changes its meaning, a minor
release warns of it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localinstruct.api import (
        Completion,
        Dropped,
        Episode,
        Instance,
        Lineage,
        LocalInstructError,
        Message,
        PoolView,
        ProgressEvent,
        Prompt,
        Recipe,
        Reject,
        RunReader,
        Section,
        Selection,
        StageState,
        clean,
        deduplicate,
        enforce_offline,
        evaluate,
        generate,
        load_recipe,
        open_run,
        read_rows,
        train,
        write_rows,
    )

__version__ = "0.1.0"

__all__ = [
    "Completion",
    "Dropped",
    "Episode",
    "Instance",
    "Lineage",
    "LocalInstructError",
    "Message",
    "PoolView",
    "ProgressEvent",
    "Prompt",
    "Recipe",
    "Reject",
    "RunReader",
    "Section",
    "Selection",
    "StageState",
    "__version__",
    "clean",
    "deduplicate",
    "enforce_offline",
    "evaluate",
    "generate",
    "load_recipe",
    "open_run",
    "read_rows",
    "train",
    "write_rows",
]

if not TYPE_CHECKING:  # type checkers see the imports above, and so that an unknown name is wrong

    def __getattr__(name: str) -> object:
        """A name of the API when it is first used (PEP 562); it is kept, so asked for once."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from localinstruct import api

        value = globals()[name] = getattr(api, name)
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
