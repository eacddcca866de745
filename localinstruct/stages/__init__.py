"""The stages of a run. Each is a module with `run(recipe, run, progress) -> StageResult` and a command of the same name.

Stages meet only through the run directory: every one can be repeated, continued after a kill, or run on another day.
"""

from typing import Any

from localinstruct.progress import Progress, Silent

StageResult = dict[str, Any]
"""Plain JSON values, stored in the run and shown in the report."""

__all__ = ["Progress", "Silent", "StageResult"]
