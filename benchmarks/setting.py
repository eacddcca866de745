"""A recipe made ready to be measured: its seeds, models and folder; progress on stderr.

The recipe is read as the product reads it, with two changes: demonstrations come from the seeds
only, so that every way measured gets the same prompts, and the stop rule is off.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from localinstruct.errors import UsageError
from localinstruct.formats import read_instances
from localinstruct.models.catalog import ModelSpec, checked, load_catalog
from localinstruct.recipe import Recipe, find_recipe, find_workspace, load_recipe
from localinstruct.records import Instance
from localinstruct.teacher.vllm import on_gpu

FIXED = ("method.alpaca.kept_demonstrations=0", "generate.stop_below=0")
HALF = 0.48
"""Share of the recipe's GPU memory that each of the two engines may take."""
_BEGAN = time.monotonic()


@dataclass(frozen=True)
class Setting:
    """A recipe made ready to be measured; `home` is an empty folder on the disk of the runs."""

    recipe: Recipe
    workspace: Path
    home: Path
    quick: bool = False

    @cached_property
    def seeds(self) -> list[Instance]:
        """The recipe's seed tasks."""
        return read_instances(self.workspace / self.recipe.seeds, first_instance_only=True)

    @cached_property
    def teacher(self) -> ModelSpec:
        """The recipe's teacher."""
        return load_catalog(self.workspace).get(self.recipe.models.teacher)

    @cached_property
    def encoder(self) -> Path:
        """Directory of the recipe's encoder, checked."""
        return checked(load_catalog(self.workspace).get(self.recipe.models.encoder))

    @property
    def prompts_per_episode(self) -> int:
        """Requests that one episode of the numbered-list method sends."""
        return self.recipe.method.alpaca.prompts_per_episode if self.recipe.method.alpaca else 1

    @property
    def in_flight(self) -> int:
        """Episodes that the scheduler keeps at work."""
        return self.recipe.generate.in_flight or 2 * self.recipe.serve.max_num_seqs


def load(name: str, overrides: Sequence[str], home: Path, quick: bool = False) -> Setting:
    """Read the recipe by name or path.

    UsageError for a method other than alpaca, and for a teacher that an endpoint serves.
    """
    path = find_recipe(name)
    recipe = load_recipe(path, (*overrides, *FIXED))
    if on_gpu():  # two engines share the card: our server, and the same vLLM without a server
        share = f"serve.gpu_memory_utilization={HALF * recipe.serve.gpu_memory_utilization}"
        recipe = load_recipe(path, (*overrides, *FIXED, share))
    setting = Setting(recipe, find_workspace(path.parent), home, quick)
    if recipe.method.name != "alpaca":
        raise UsageError(
            f"{name}: expected the method alpaca, found {recipe.method.name}.",
            "Try: --recipe nano",
        )
    if setting.teacher.endpoint:
        raise UsageError(
            f"{setting.teacher.name}: served at {setting.teacher.endpoint}, "
            "but vLLM must also be run on it without a server.",
            "Name a teacher that is a directory on this disk: --set models.teacher=NAME",
        )
    return setting


def note(text: str) -> None:
    """One line of progress on stderr, with the seconds since the start."""
    print(f"[{time.monotonic() - _BEGAN:6.1f} s] {text}", file=sys.stderr, flush=True)
