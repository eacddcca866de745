"""If it does not fit, what would: changes to a recipe in order of least harm, tried by the same
arithmetic.

First what costs only time (fewer rows at once, recomputed activations), then what costs quality:
shorter rows, a base in 4 bits, a lower rank, a smaller model. What turns out not to be needed in
the end is taken back, and what was halved is doubled again as far as it fits. Not covered: whether
a smaller model is good enough, and changes beyond these ladders.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from localinstruct.errors import LocalInstructError
from localinstruct.fit.assess import Assessment, Phase
from localinstruct.machine import GIB, Machine
from localinstruct.models.catalog import Catalog, ModelRole
from localinstruct.recipe import Recipe, with_overrides

Ask = Callable[[Recipe], Assessment]
SHORTEST_ROW, LOWEST_RANK, FEWEST_SEQUENCES, SHORTEST_CONTEXT = 256, 4, 8, 2048
ROUNDS = 60
"""Changes that are tried at most."""


@dataclass(frozen=True, slots=True)
class Change:
    """One key of the recipe, and what it becomes."""

    key: str
    value: Any

    def __str__(self) -> str:
        return f"{self.key}={str(self.value).lower() if type(self.value) is bool else self.value}"


Step = Callable[[Recipe, Phase, Machine, Catalog], Iterator[Change]]


def advise(recipe: Recipe, catalog: Catalog, machine: Machine, ask: Ask) -> list[Change] | None:
    """Changes with which every phase fits, the least harmful that were found; None where these
    ladders lead nowhere."""
    changes: dict[str, Change] = {}
    for _ in range(ROUNDS):
        changed = _with(recipe, changes)
        found = ask(changed)
        if found.fits:
            return _relaxed(recipe, changes, ask)
        better = _better(changed, found, catalog, machine, ask)
        if better is None:
            return None
        changes.pop(better.key, None)
        changes[better.key] = better
    return None


def _better(
    recipe: Recipe, found: Assessment, catalog: Catalog, machine: Machine, ask: Ask
) -> Change | None:
    """The first change of the ladder of a phase that does not fit which brings that phase
    nearer."""
    for number, phase in enumerate(found.phases):
        if phase.fits:
            continue
        for step in _ladder(phase):
            for change in step(recipe, phase, machine, catalog):
                tried = _try(recipe, change, ask)
                if (
                    tried
                    and number < len(tried.phases)
                    and _missing(tried.phases[number]) < _missing(phase) - 1
                ):
                    return change
    return None


def _missing(phase: Phase) -> float:
    return phase.needs - phase.room


def _try(recipe: Recipe, change: Change, ask: Ask) -> Assessment | None:
    """What the recipe with this change needs; None for one that is not allowed, or that meets
    another wall."""
    try:
        found = ask(_with(recipe, {change.key: change}))
    except LocalInstructError:
        return None
    return None if found.problems else found


def _with(recipe: Recipe, changes: dict[str, Change]) -> Recipe:
    words = tuple(str(change) for change in changes.values())
    return with_overrides(recipe, words, "the recipe")


def _relaxed(recipe: Recipe, changes: dict[str, Change], ask: Ask) -> list[Change]:
    """Take back what is not needed, the most harmful first, and double again what was halved too
    often."""
    for key in reversed(list(changes)):
        without = {other: change for other, change in changes.items() if other != key}
        if ask(_with(recipe, without)).fits:
            changes = without
    for key in list(changes):
        while type(value := changes[key].value) is int and value * 2 < _value(recipe, key):
            doubled = changes | {key: Change(key, value * 2)}
            if not ask(_with(recipe, doubled)).fits:
                break
            changes = doubled
    return list(changes.values())


def _value(recipe: Recipe, key: str) -> int:
    value: Any = recipe
    for part in key.split("."):
        value = getattr(value, part)
    return value if type(value) is int else 0


def _ladder(phase: Phase) -> tuple[Step, ...]:
    """What can be changed for a phase, least harm first."""
    if phase.name in ("train", "evaluate: losses"):
        return (
            _fewer_rows,
            _recompute,
            _more_devices,
            _shorter_rows,
            _less_learnt,
            _lower_rank,
            _smaller_student,
        )
    if phase.name == "disk":
        return (_keep_last, _less_learnt)
    return (
        _smaller_share,
        _fewer_sequences,
        _shorter_context,
        _smaller_cache,
        _more_cards,
        _one_model,
        _smaller_teacher,
    )


def _fewer_rows(
    recipe: Recipe, phase: Phase, machine: Machine, catalog: Catalog
) -> Iterator[Change]:
    """More of the step is accumulated; nothing else changes."""
    if recipe.train.device_batch_size > 1:
        yield Change("train.device_batch_size", recipe.train.device_batch_size // 2)


def _recompute(
    recipe: Recipe, phase: Phase, machine: Machine, catalog: Catalog
) -> Iterator[Change]:
    if not recipe.train.gradient_checkpointing:
        yield Change("train.gradient_checkpointing", True)


def _more_devices(
    recipe: Recipe, phase: Phase, machine: Machine, catalog: Catalog
) -> Iterator[Change]:
    """Where devices share already: let each hold only a part."""
    if 1 < recipe.train.devices <= len(machine.gpus) and recipe.train.sharding == "none":
        yield Change("train.sharding", "fsdp")


def _shorter_rows(
    recipe: Recipe, phase: Phase, machine: Machine, catalog: Catalog
) -> Iterator[Change]:
    if recipe.train.max_length // 2 >= SHORTEST_ROW:
        yield Change("train.max_length", recipe.train.max_length // 2)


def _less_learnt(
    recipe: Recipe, phase: Phase, machine: Machine, catalog: Catalog
) -> Iterator[Change]:
    if recipe.train.mode == "full":
        yield Change("train.mode", "lora")
    elif recipe.train.mode == "lora" and machine.gpus and phase.name != "disk":
        yield Change("train.mode", "qlora")


def _lower_rank(
    recipe: Recipe, phase: Phase, machine: Machine, catalog: Catalog
) -> Iterator[Change]:
    if recipe.train.mode != "full" and recipe.train.lora.r // 2 >= LOWEST_RANK:
        yield Change("train.lora.r", recipe.train.lora.r // 2)


def _smaller_student(
    recipe: Recipe, phase: Phase, machine: Machine, catalog: Catalog
) -> Iterator[Change]:
    yield from _smaller(recipe.models.student, "student", "models.student", catalog)


def _keep_last(
    recipe: Recipe, phase: Phase, machine: Machine, catalog: Catalog
) -> Iterator[Change]:
    if recipe.train.keep == "best":
        yield Change("train.keep", "last")


def _smaller_share(
    recipe: Recipe, phase: Phase, machine: Machine, catalog: Catalog
) -> Iterator[Change]:
    """VLLM takes a share of all memory: no more than what the encoder leaves free."""
    claimed = phase.parts.get("vLLM's share")
    if claimed and machine.gpus:
        left = phase.room - (phase.needs - claimed)
        share = int(100 * left / (machine.gpus[0].total_gib * GIB)) / 100
        if 0 < share < recipe.serve.gpu_memory_utilization:
            yield Change("serve.gpu_memory_utilization", share)


def _fewer_sequences(
    recipe: Recipe, phase: Phase, machine: Machine, catalog: Catalog
) -> Iterator[Change]:
    if recipe.serve.max_num_seqs // 2 >= FEWEST_SEQUENCES:
        yield Change("serve.max_num_seqs", recipe.serve.max_num_seqs // 2)


def _shorter_context(
    recipe: Recipe, phase: Phase, machine: Machine, catalog: Catalog
) -> Iterator[Change]:
    """Half the context, while an answer and as much of a prompt still go into it."""
    now = recipe.serve.max_model_len or catalog.get(recipe.models.teacher).context
    if now // 2 >= max(SHORTEST_CONTEXT, recipe.sampling.max_tokens + 1024):
        yield Change("serve.max_model_len", now // 2)


def _smaller_cache(
    recipe: Recipe, phase: Phase, machine: Machine, catalog: Catalog
) -> Iterator[Change]:
    if not machine.gpus and recipe.serve.kv_cache_gib > 1:
        yield Change("serve.kv_cache_gib", recipe.serve.kv_cache_gib // 2)


def _more_cards(
    recipe: Recipe, phase: Phase, machine: Machine, catalog: Catalog
) -> Iterator[Change]:
    if 2 * recipe.serve.tensor_parallel_size <= len(machine.gpus):
        yield Change("serve.tensor_parallel_size", 2 * recipe.serve.tensor_parallel_size)


def _one_model(
    recipe: Recipe, phase: Phase, machine: Machine, catalog: Catalog
) -> Iterator[Change]:
    """Let the teacher judge and answer itself."""
    for role in ("judge", "answerer"):
        if getattr(recipe.models, role) not in (None, recipe.models.teacher):
            yield Change(f"models.{role}", recipe.models.teacher)


def _smaller_teacher(
    recipe: Recipe, phase: Phase, machine: Machine, catalog: Catalog
) -> Iterator[Change]:
    yield from _smaller(recipe.models.teacher, "teacher", "models.teacher", catalog)


def _smaller(now: str, role: ModelRole, key: str, catalog: Catalog) -> Iterator[Change]:
    """Smaller models of the same kind: those on this disk first, the largest first; of ours, made
    for the demo, none."""
    spec = catalog.get(now)
    others = [catalog.get(name) for name in catalog.names(role)]
    fitting = [
        one
        for one in others
        if one.chat == spec.chat
        and one.parameters
        and not one.package
        and one.parameters < (spec.parameters or 0)
    ]
    for one in sorted(fitting, key=lambda one: (not one.present, -(one.parameters or 0))):
        yield Change(key, one.name)
