"""Every phase of a recipe against a machine: what it needs at its worst moment, and what is there.

The phases are processes that follow each other, so each has the whole machine. Sizes come from
files and models.yaml; nothing is loaded, and torch is not imported. Not covered: other programs
that start in the meantime.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localinstruct.errors import LocalInstructError
from localinstruct.fit import disk, serving, training
from localinstruct.fit.shape import Shape, shape_of
from localinstruct.fit.training import Parts
from localinstruct.machine import GIB, Machine, cpu_has_bf16, disk_free, look
from localinstruct.models.catalog import Catalog, ModelSpec, load_catalog
from localinstruct.recipe import Recipe
from localinstruct.training.setup import choose_setup
from localinstruct.training.student import Device

CUDA_CONTEXT = 0.5 * GIB
"""Of a process that uses a GPU; an allowance, not measured here."""
GPU_CRUMBS = 0.05
"""Share of tensors that the allocator of a GPU keeps unused between them; an allowance, not
measured here."""
LIBRARIES = 0.65 * GIB
"""torch, transformers, trl and peft in memory before a model is loaded; measured (benchmarks,
section f)."""
OLD_GPUS = ("V100", "P100", "P40", "T4", "GTX", "RTX 20", "TITAN")
"""Names of GPUs without bfloat16 units."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One process (or several beside each other) at its worst moment; bytes."""

    name: str
    place: str
    parts: Parts
    room: float
    note: str = ""

    @property
    def needs(self) -> float:
        """Bytes in all."""
        return sum(self.parts.values())

    @property
    def fits(self) -> bool:
        """Whether it does."""
        return self.needs <= self.room

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        parts = {key: round(size) for key, size in self.parts.items()}
        return {
            "name": self.name,
            "place": self.place,
            "needs": round(self.needs),
            "has": round(self.room),
            "fits": self.fits,
            "parts": parts,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a recipe needs of a machine."""

    phases: tuple[Phase, ...]
    problems: tuple[str, ...] = ()
    """What no amount of memory would mend."""
    assumed: tuple[str, ...] = ()
    """What was taken for granted."""

    @property
    def fits(self) -> bool:
        """Whether every phase fits."""
        return not self.problems and all(phase.fits for phase in self.phases)

    @property
    def why(self) -> str:
        """What does not fit, by how much."""
        short = [
            f"{one.name} needs {one.needs / GIB:.1f} GiB of {one.place}, {one.room / GIB:.1f} "
            "are there"
            for one in self.phases
            if not one.fits
        ]
        return "; ".join([*short, *(problem.rstrip(".") for problem in self.problems)])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "fits": self.fits,
            "phases": [phase.to_dict() for phase in self.phases],
            "problems": list(self.problems),
            "assumed": list(self.assumed),
        }


@dataclass(slots=True)
class _Work:
    recipe: Recipe
    catalog: Catalog
    machine: Machine
    bf16: bool
    problems: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)

    def shape(self, name: str) -> Shape | None:
        """The shape of a model, with what had to be assumed noted once; None, with a note, where
        nothing is known."""
        spec = self.catalog.get(name)
        found = shape_of(spec)
        if found is None:
            where = (
                f"served at {spec.endpoint}"
                if spec.endpoint
                else "neither its files nor its parameters are known"
            )
            self._assume(f"{name}: not counted, {where}")
        elif found.guessed:
            self._assume(f"{name} is not on this disk; taken from {found.source}")
        elif found.experts:
            self._assume(
                f"{name} has experts: adapters on its attention alone, activations of those that "
                "are active"
            )
        return found

    def refuse(self, text: str) -> None:
        """Note a problem, once."""
        if text not in self.problems:
            self.problems.append(text)

    def _assume(self, text: str) -> None:
        if text not in self.assumed:
            self.assumed.append(text)


def assess(
    recipe: Recipe, catalog: Catalog, machine: Machine, disk_room: float, bf16: bool | None = None
) -> Assessment:
    """Every phase of the recipe on this machine; `bf16`: whether its CPU multiplies bfloat16 (None
    looks at this one).

    ModelError for a model that models.yaml does not have.
    """
    work = _Work(recipe, catalog, machine, cpu_has_bf16() if bf16 is None else bf16)
    student = work.shape(recipe.models.student)
    made = _plan(work, student) if student else None
    phases = [*_generate(work)]
    if student and made:
        phases.append(_train(work, student, made))
    if student:
        phases += _evaluate(work, student)
    phases.append(_disk(work, student, made, disk_room))
    return Assessment(tuple(phases), tuple(work.problems), tuple(work.assumed))


def shortfall(recipe: Recipe, workspace: Path, folder: Path) -> str:
    """One sentence when the recipe does not fit this machine as it is now, else ""; for `run`,
    which goes on all the same."""
    found = assess(recipe, load_catalog(workspace), look(), float(disk_free(folder)))
    return (
        ""
        if found.fits
        else f"This may not fit: {found.why}. What would: localinstruct fit {recipe.name}"
    )


def device_of(machine: Machine) -> Device:
    """Where a student would be trained, as `student.choose_device` decides on the machine itself,
    told without torch."""
    if not machine.gpus:
        return Device("cpu", "float32", "no GPU")
    old = any(name in machine.gpus[0].name for name in OLD_GPUS)
    return Device("cuda:0", "float32" if old else "bfloat16", machine.gpus[0].name)


def _generate(work: _Work) -> Iterator[Phase]:
    """The servers of all models that are asked, and the encoder beside them."""
    recipe, machine = work.recipe, work.machine
    if recipe.generate.target == 0:
        return
    names = list(dict.fromkeys(recipe.models.asked.values()))
    shapes = {name: shape for name in names if (shape := work.shape(name))}
    own = [name for name in names if not work.catalog.get(name).endpoint]
    servers = {
        name: serving.served(shape, recipe.serve, bool(machine.gpus), work.bf16)
        for name, shape in shapes.items()
    }
    encoding = _encoder(work)
    if not machine.gpus:
        parts = _sum(*(server.parts for server in servers.values()), encoding)
        yield Phase(
            "generate",
            "memory",
            parts,
            machine.available_gib * GIB,
            " + ".join([*servers, "encoder"]),
        )
        return
    yield from _gpu_servers(work, servers, len(own), "generate")
    used = max(1, recipe.serve.tensor_parallel_size)
    free = min((gpu.free_gib for gpu in machine.gpus[:used]), default=0.0) * GIB
    claimed = recipe.serve.gpu_memory_utilization * machine.gpus[0].total_gib * GIB if own else 0.0
    yield Phase(
        "generate",
        "GPU",
        {"vLLM's share": claimed, **_named("encoder", encoding)},
        free,
        "servers and encoder",
    )


def _gpu_servers(
    work: _Work, servers: dict[str, serving.Served], sharing: int, phase: str
) -> Iterator[Phase]:
    """Each server within its share of the GPU."""
    serve, gpus = work.recipe.serve, work.machine.gpus
    if serve.tensor_parallel_size > len(gpus):
        work.refuse(
            f"serve.tensor_parallel_size: {serve.tensor_parallel_size} GPUs wanted, {len(gpus)} "
            "there"
        )
    share = (
        serve.gpu_memory_utilization * min(gpu.total_gib for gpu in gpus) * GIB / max(1, sharing)
    )
    for name, server in servers.items():
        many = server.sequences(share)
        said = (
            f"{name}, room for {many:.1f} sequences of {server.context:,} tokens"
            if many >= 1
            else name
        )
        yield Phase(f"{phase}: vLLM", "GPU share", server.parts, share, said)


def _encoder(work: _Work) -> Parts:
    shape = work.shape(work.recipe.models.encoder)
    on_gpu = bool(work.machine.gpus)
    rows = work.recipe.generate.target
    own = serving.encoder(shape, on_gpu, work.bf16, rows) if shape else {}
    return _sum(own, {"libraries": CUDA_CONTEXT if on_gpu else LIBRARIES})


def _plan(work: _Work, shape: Shape) -> training.Plan | None:
    """How the recipe would train on the machine; None, with a problem noted, where it cannot."""
    train = work.recipe.train
    try:
        setup = choose_setup(
            train, device_of(work.machine), lambda package: package == "bitsandbytes"
        )
    except LocalInstructError as problem:
        work.problems.append(f"{problem.message} {problem.hint}".strip())
        return None
    return training.plan(train, setup, shape, work.recipe.dataset.held_out > 0)


def _train(work: _Work, shape: Shape, made: training.Plan) -> Phase:
    """The worst moment of the training, on each device."""
    moment, parts = training.peak(shape, made)
    devices = work.recipe.train.devices
    if made.on_gpu and devices > len(work.machine.gpus):
        work.problems.append(
            f"train.devices: {devices} GPUs wanted, {len(work.machine.gpus)} there"
        )
    crowd = 1 if made.on_gpu else devices  # processes that share the memory
    parts = {key: crowd * size for key, size in _with_libraries(parts, made.on_gpu).items()}
    said = f"{shape.name}, {moment}: {made.rows} rows of {made.length} tokens at once"
    return Phase(
        "train", "GPU" if made.on_gpu else "memory", parts, _room(work.machine, devices), said
    )


def _evaluate(work: _Work, shape: Shape) -> Iterator[Phase]:
    """The losses of base and student, then both served for their answers."""
    machine = work.machine
    on_gpu, number = bool(machine.gpus), 4 if device_of(machine).dtype == "float32" else 2
    train = work.recipe.train
    length = min(train.max_length, shape.context or train.max_length)
    logits = float(training.LOGIT_BYTES * train.device_batch_size * length * shape.vocab)
    parts = _with_libraries({"weights": float(number * shape.parameters), "loss": logits}, on_gpu)
    place = "GPU" if on_gpu else "memory"
    yield Phase(
        "evaluate: losses",
        place,
        parts,
        _room(machine, 1),
        f"{shape.name}, base and student after each other",
    )
    server = serving.served(shape, work.recipe.serve, on_gpu, work.bf16)
    if on_gpu:
        yield from _gpu_servers(work, {shape.name: server}, 1, "evaluate")
    else:
        yield Phase(
            "evaluate: vLLM",
            place,
            _sum(server.parts, {"libraries": LIBRARIES}),
            _room(machine, 1),
            shape.name,
        )


def _disk(work: _Work, shape: Shape | None, made: training.Plan | None, room: float) -> Phase:
    models = dict.fromkeys([*work.recipe.models.asked.values(), work.recipe.models.student])
    absent = sum(_to_bring(work.catalog.get(name)) for name in models)
    merged = (
        f"; an export as one merged model needs {shape.file_bytes / GIB:.1f} GiB more"
        if shape
        else ""
    )
    parts = disk.needs(work.recipe, shape, made, absent)
    return Phase(
        "disk", "disk", parts, room, f"{work.recipe.generate.target:,} rows, checkpoints{merged}"
    )


def _to_bring(spec: ModelSpec) -> float:
    return 0.0 if spec.endpoint or spec.present else 2.0 * (spec.parameters or 0)


def _with_libraries(parts: Parts, on_gpu: bool) -> Parts:
    """The process around the tensors: libraries in memory, or the context and crumbs of a GPU."""
    around = CUDA_CONTEXT + GPU_CRUMBS * sum(parts.values()) if on_gpu else LIBRARIES
    return {**parts, "libraries": around}


def _room(machine: Machine, devices: int) -> float:
    """Free bytes of the fullest GPU that is used, or of memory."""
    return (
        min((gpu.free_gib for gpu in machine.gpus[:devices]), default=machine.available_gib) * GIB
    )


def _sum(*all_parts: Parts) -> Parts:
    found: Parts = {}
    for parts in all_parts:
        for key, size in parts.items():
            found[key] = found.get(key, 0.0) + size
    return found


def _named(name: str, parts: Parts) -> Parts:
    return {name: sum(parts.values())}
