"""localinstruct from Python: what `import localinstruct` offers; docs/python.md shows it at work.

Rows are read, cleaned and written in this process. Whatever loads a model or works on a run does so
in a child with the offline environment (`child.py`, `worker.py`), so that this process stays as it
is. Nothing here prints to stdout; `progress` is called with what a command would show.
"""

from localinstruct.api.child import ProgressEvent
from localinstruct.api.rows import Dropped, Selection, clean, deduplicate, read_rows, write_rows
from localinstruct.api.runs import (
    RunReader,
    StageState,
    evaluate,
    generate,
    load_recipe,
    open_run,
    train,
)
from localinstruct.config import Section
from localinstruct.errors import LocalInstructError
from localinstruct.offline import switches
from localinstruct.recipe import Recipe
from localinstruct.records import (
    Completion,
    Episode,
    Instance,
    Lineage,
    Message,
    PoolView,
    Prompt,
    Reject,
)

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


def enforce_offline() -> None:
    """Set the offline environment in this process, as the command line does for itself.

    Call it before a library is imported: most read the variables once.
    """
    switches.enforce()
