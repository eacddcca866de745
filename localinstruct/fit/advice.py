"""Changes that make a recipe fit, the least harmful first.

They are tried with the arithmetic of `assess`. First come those that cost only time (fewer rows at
once, recomputed activations), then those that cost quality: shorter rows, a base in 4 bits, a lower
rank, a smaller model. A change that is not needed in the end is taken back, and a number that was
halved is doubled again as far as it fits. Not covered: whether a smaller model is good enough, and
changes of other keys.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from localinstruct.errors import LocalInstructError
from localinstruct.fit.assess import Assessment, Phase
from localinstruct.machine import GIB, Machine
from localinstruct.models.catalog import Catalog, ModelRole
from localinstruct.recipe import Recipe, with_overrides

Assess = Callable[[Recipe], Assessment]
"""The assessment of a changed recipe on the machine in question."""
SHORTEST_ROW, LOWEST_RANK, FEWEST_SEQUENCES, SHORTEST_CONTEXT = 256, 4, 8, 2048
ROUNDS = 60
"""Changes that are tried at most."""


@dataclass(frozen=True, slots=True)
class Change:
    """One key of the recipe, and its new value."""

    key: str
    value: bool | int | float | str

    def __str__(self) -> str:
        return f"{self.key}={str(self.value).lower() if type(self.value) is bool else self.value}"


@dataclass(frozen=True, slots=True)
class Case:
    """A phase of a recipe that does not fit a machine."""

    recipe: Recipe
    phase: Phase
    machine: Machine
    catalog: Catalog


Proposal = Callable[[Case], Iterator[Change]]
"""One kind of change: the changes of that kind which a case allows."""


def advise(
    recipe: Recipe, catalog: Catalog, machine: Machine, assess: Assess
) -> list[Change] | None:
    """Changes with which every phase fits, the least harmful ones; None where none help."""
    changes: dict[str, Change] = {}
    for _ in range(ROUNDS):
        changed = _with(recipe, changes)
        assessment = assess(changed)
        if assessment.fits:
            return _relaxed(recipe, changes, assess)
        better = _better(changed, assessment, catalog, machine, assess)
        if better is None:
            return None
        changes.pop(better.key, None)
        changes[better.key] = better
    return None


def _better(
    recipe: Recipe, assessment: Assessment, catalog: Catalog, machine: Machine, assess: Assess
) -> Change | None:
    """The least harmful change that brings a phase nearer to fitting, in the order of phases."""
    for number, phase in enumerate(assessment.phases):
        if phase.fits:
            continue
        case = Case(recipe, phase, machine, catalog)
        for proposal in _proposals(phase):
            for change in proposal(case):
                after = _try(recipe, change, assess)
                same = after.phases[number : number + 1] if after else ()
                if same and _missing(same[0]) < _missing(phase) - 1:
                    return change
    return None


def _missing(phase: Phase) -> float:
    return phase.needs - phase.room


def _try(recipe: Recipe, change: Change, assess: Assess) -> Assessment | None:
    """The assessment with this change; None where it is not allowed, or makes another problem."""
    try:
        assessment = assess(_with(recipe, {change.key: change}))
    except LocalInstructError:
        return None
    return None if assessment.problems else assessment


def _with(recipe: Recipe, changes: dict[str, Change]) -> Recipe:
    settings = tuple(str(change) for change in changes.values())
    return with_overrides(recipe, settings, "the recipe")


def _relaxed(recipe: Recipe, changes: dict[str, Change], assess: Assess) -> list[Change]:
    """The changes without those that are not needed, and with halved numbers doubled again.

    The most harmful are taken back first; a number is doubled as far as it fits.
    """
    for key in reversed(list(changes)):
        without = {other: change for other, change in changes.items() if other != key}
        if assess(_with(recipe, without)).fits:
            changes = without
    for key in list(changes):
        while type(value := changes[key].value) is int and value * 2 < _value(recipe, key):
            doubled = changes | {key: Change(key, value * 2)}
            if not assess(_with(recipe, doubled)).fits:
                break
            changes = doubled
    return list(changes.values())


def _value(recipe: Recipe, key: str) -> int:
    value: object = recipe
    for part in key.split("."):
        value = getattr(value, part)
    return value if type(value) is int else 0


def _proposals(phase: Phase) -> tuple[Proposal, ...]:
    """Kinds of changes that can help a phase, the least harmful first."""
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


def _fewer_rows(case: Case) -> Iterator[Change]:
    """Accumulate more of the step; nothing else changes."""
    if case.recipe.train.device_batch_size > 1:
        yield Change("train.device_batch_size", case.recipe.train.device_batch_size // 2)


def _recompute(case: Case) -> Iterator[Change]:
    if not case.recipe.train.gradient_checkpointing:
        yield Change("train.gradient_checkpointing", True)


def _more_devices(case: Case) -> Iterator[Change]:
    """Let each device hold only a part of the weights, where several train already."""
    if (
        1 < case.recipe.train.devices <= len(case.machine.gpus)
        and case.recipe.train.sharding == "none"
    ):
        yield Change("train.sharding", "fsdp")


def _shorter_rows(case: Case) -> Iterator[Change]:
    if case.recipe.train.max_length // 2 >= SHORTEST_ROW:
        yield Change("train.max_length", case.recipe.train.max_length // 2)


def _less_learnt(case: Case) -> Iterator[Change]:
    if case.recipe.train.mode == "full":
        yield Change("train.mode", "lora")
    elif case.recipe.train.mode == "lora" and case.machine.gpus and case.phase.name != "disk":
        yield Change("train.mode", "qlora")


def _lower_rank(case: Case) -> Iterator[Change]:
    if case.recipe.train.mode != "full" and case.recipe.train.lora.r // 2 >= LOWEST_RANK:
        yield Change("train.lora.r", case.recipe.train.lora.r // 2)


def _smaller_student(case: Case) -> Iterator[Change]:
    yield from _smaller(case.recipe.models.student, "student", "models.student", case.catalog)


def _keep_last(case: Case) -> Iterator[Change]:
    if case.recipe.train.keep == "best":
        yield Change("train.keep", "last")


def _smaller_share(case: Case) -> Iterator[Change]:
    """Give vLLM no larger share of the GPU than the encoder leaves free."""
    claimed = case.phase.parts.get("vLLM's share")
    if claimed and case.machine.gpus:
        left = case.phase.room - (case.phase.needs - claimed)
        share = int(100 * left / (case.machine.gpus[0].total_gib * GIB)) / 100
        if 0 < share < case.recipe.serve.gpu_memory_utilization:
            yield Change("serve.gpu_memory_utilization", share)


def _fewer_sequences(case: Case) -> Iterator[Change]:
    if case.recipe.serve.max_num_seqs // 2 >= FEWEST_SEQUENCES:
        yield Change("serve.max_num_seqs", case.recipe.serve.max_num_seqs // 2)


def _shorter_context(case: Case) -> Iterator[Change]:
    """Halve the context, while an answer and as much of a prompt still go into it."""
    now = case.recipe.serve.max_model_len or case.catalog.get(case.recipe.models.teacher).context
    if now // 2 >= max(SHORTEST_CONTEXT, case.recipe.sampling.max_tokens + 1024):
        yield Change("serve.max_model_len", now // 2)


def _smaller_cache(case: Case) -> Iterator[Change]:
    if not case.machine.gpus and case.recipe.serve.kv_cache_gib > 1:
        yield Change("serve.kv_cache_gib", case.recipe.serve.kv_cache_gib // 2)


def _more_cards(case: Case) -> Iterator[Change]:
    """Spread each copy over more cards; before that, fewer copies."""
    serve = case.recipe.serve
    if serve.data_parallel_size > 1:
        yield Change("serve.data_parallel_size", serve.data_parallel_size // 2)
    if 2 * serve.tensor_parallel_size * serve.data_parallel_size <= len(case.machine.gpus):
        yield Change("serve.tensor_parallel_size", 2 * serve.tensor_parallel_size)


def more_copies(recipe: Recipe, catalog: Catalog, machine: Machine, assess: Assess) -> list[Change]:
    """Keys with which GPUs that stand idle, or wait for each other, answer more requests.

    Data parallel comes before tensor parallel: copies of a model that fits on one card do not wait
    for each other. [] where nothing is gained, or the recipe does not fit.
    """
    serve, cards = recipe.serve, len(machine.gpus)
    own = [name for name in set(recipe.models.asked.values()) if not catalog.get(name).servers]
    if cards < 2 or not own or not assess(recipe).fits:
        return []
    size = 1
    while size <= cards:
        copies = min(64, cards // size)
        if copies <= serve.data_parallel_size:
            return []
        wanted = [Change("serve.data_parallel_size", copies)]
        if size != serve.tensor_parallel_size:
            wanted.append(Change("serve.tensor_parallel_size", size))
        if assess(_with(recipe, {change.key: change for change in wanted})).fits:
            return wanted
        size *= 2
    return []


def _one_model(case: Case) -> Iterator[Change]:
    """Let the teacher judge and answer itself."""
    for role in ("judge", "answerer"):
        if getattr(case.recipe.models, role) not in (None, case.recipe.models.teacher):
            yield Change(f"models.{role}", case.recipe.models.teacher)


def _smaller_teacher(case: Case) -> Iterator[Change]:
    yield from _smaller(case.recipe.models.teacher, "teacher", "models.teacher", case.catalog)


def _smaller(now: str, role: ModelRole, key: str, catalog: Catalog) -> Iterator[Change]:
    """Smaller models of the same kind, those on this disk first, then the largest first.

    Our own, which ship for the demo, are not among them, nor teachers of less than a tenth of the
    weights: they would fit, and write another data set.
    """
    spec = catalog.get(now)
    least = (spec.parameters or 0) // 10 if role == "teacher" else 0
    others = [catalog.get(name) for name in catalog.names(role)]
    alike = [other for other in others if other.chat == spec.chat and not other.package]
    smaller = [m for m in alike if least < (m.parameters or 0) < (spec.parameters or 0)]
    for other in sorted(smaller, key=lambda model: (not model.present, -(model.parameters or 0))):
        yield Change(key, other.name)
