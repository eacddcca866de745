"""Phases of a recipe on a machine: the memory each needs at its worst moment, and has.

The phases are processes that follow each other, so each has the whole machine. Sizes come from
files and models.yaml; nothing is loaded, and torch is not imported. Not covered: other programs
that start in the meantime.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from localinstruct.errors import LocalInstructError
from localinstruct.fit import disk, serving, training
from localinstruct.fit.shape import Shape, shape_of
from localinstruct.fit.training import Parts
from localinstruct.machine import GIB, Machine, cpu_has_bf16, disk_free, look
from localinstruct.models.catalog import Catalog, ModelSpec, load_catalog
from localinstruct.recipe import Recipe
from localinstruct.recipe.train import Train
from localinstruct.records import JsonObject
from localinstruct.teacher import Serve
from localinstruct.training.setup import choose_setup
from localinstruct.training.student import Device

CUDA_CONTEXT = 0.5 * GIB
"""GPU memory of a process before its first tensor; an allowance, not measured here."""
GPU_FRAGMENTATION = 0.05
"""Unused GPU memory between tensors, as a share of them; an allowance, not measured here."""
LIBRARIES = 0.65 * GIB
"""torch, transformers, trl and peft in memory without a model; measured (benchmarks, section f)."""
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
        """True when the bytes it needs are there."""
        return self.needs <= self.room

    def to_dict(self) -> JsonObject:
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
    """The needs of a recipe, beside the room of a machine."""

    phases: tuple[Phase, ...]
    problems: tuple[str, ...] = ()
    """Obstacles that no amount of memory would remove."""
    assumed: tuple[str, ...] = ()
    """Sentences about what could not be looked up and was assumed."""

    @property
    def fits(self) -> bool:
        """True when every phase fits and there is no other problem."""
        return not self.problems and all(phase.fits for phase in self.phases)

    @property
    def why(self) -> str:
        """The phases that do not fit, with the sizes, and the other problems."""
        short = [
            f"{phase.name} needs {phase.needs / GIB:.1f} GiB of {phase.place}, "
            f"{phase.room / GIB:.1f} are there"
            for phase in self.phases
            if not phase.fits
        ]
        return "; ".join([*short, *(problem.rstrip(".") for problem in self.problems)])

    def to_dict(self) -> JsonObject:
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
        """The shape of a model, or None where nothing is known; assumptions are noted once."""
        spec = self.catalog.get(name)
        shape = shape_of(spec)
        if shape is None:
            unknown = "neither its files nor its parameters are known"
            where = f"served by {spec.served}" if spec.served else unknown
            self._assume(f"{name}: not counted, {where}")
        elif shape.guessed:
            self._assume(f"{name} is not on this disk; taken from {shape.source}")
        elif shape.experts:
            self._assume(
                f"{name} has experts: adapters on its attention alone, activations of those that "
                "are active"
            )
        return shape

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
    """Assess every phase of the recipe on this machine.

    `bf16` says that its CPU multiplies bfloat16; with None this machine's CPU is looked at.
    ModelError for a model that models.yaml does not have.
    """
    work = _Work(recipe, catalog, machine, cpu_has_bf16() if bf16 is None else bf16)
    student = work.shape(recipe.models.student)
    plan = _plan(work, student) if student else None
    phases = [*_generate(work)]
    if student and plan:
        phases.append(_train(work, student, plan))
    if student:
        phases += _evaluate(work, student)
    phases.append(_disk(work, student, plan, disk_room))
    if any(gpu.unified for gpu in machine.gpus):
        work.assumed.append("processor and GPU share one memory: the libraries count in it as well")
        phases = [_shared(phase) for phase in phases]
    return Assessment(tuple(phases), tuple(work.problems), tuple(work.assumed))


def _shared(phase: Phase) -> Phase:
    """The phase on a machine whose GPU has no memory of its own: what else lies there counts."""
    if phase.place != "GPU":
        return phase
    return replace(phase, parts={**phase.parts, "the processor's side": LIBRARIES})


def shortfall(recipe: Recipe, workspace: Path, folder: Path) -> str:
    """One sentence when the recipe does not fit this machine as it is now, else "".

    For `run`, which goes on all the same.
    """
    assessment = assess(recipe, load_catalog(workspace), look(), float(disk_free(folder)))
    if assessment.fits:
        return ""
    return f"This may not fit: {assessment.why}. What would: localinstruct fit {recipe.name}"


def server_shortfall(spec: ModelSpec, serve: Serve) -> str:
    """One sentence when this machine has no room for a server of a model as it is now, else ""."""
    shape, machine = None if spec.servers else shape_of(spec), look()
    if shape is None:
        return ""
    server = serving.served(shape, serve, bool(machine.gpus), cpu_has_bf16())
    room = _room(machine, serve.tensor_parallel_size)
    if machine.gpus:
        total = min(gpu.total_gib for gpu in machine.gpus) * GIB
        room = min(room, serve.gpu_memory_utilization * total)
    if server.needs <= room:
        return ""
    return (
        f"This may not fit: {spec.name} needs {server.needs / GIB:.1f} GiB, "
        f"{room / GIB:.1f} are free."
    )


def device_of(machine: Machine) -> Device:
    """The device that `student.choose_device` would choose on the machine, without torch."""
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
    own = [name for name in names if not work.catalog.get(name).served]
    servers = {
        name: serving.served(shape, recipe.serve, bool(machine.gpus), work.bf16)
        for name, shape in shapes.items()
    }
    encoding = _encoder(work)
    if not machine.gpus:
        copies = [servers[name] for name in servers for _ in range(_copies(work, name))]
        parts = _sum(*(server.parts for server in copies), encoding)
        note = " + ".join([*servers, "encoder"])
        yield Phase("generate", "memory", parts, machine.available_gib * GIB, note)
        return
    yield from _gpu_servers(work, servers, len(own), "generate")
    used = recipe.serve.tensor_parallel_size * recipe.serve.data_parallel_size
    free = min((gpu.free_gib for gpu in machine.gpus[:used]), default=0.0) * GIB
    claimed = recipe.serve.gpu_memory_utilization * machine.gpus[0].total_gib * GIB if own else 0.0
    parts = {"vLLM's share": claimed, "encoder": sum(encoding.values())}
    yield Phase("generate", "GPU", parts, free, "servers and encoder")


def _copies(work: _Work, name: str) -> int:
    """Copies of a model that are started here."""
    return 1 if work.catalog.get(name).servers else work.recipe.serve.data_parallel_size


def _gpu_servers(
    work: _Work, servers: dict[str, serving.Served], sharing: int, phase: str
) -> Iterator[Phase]:
    """The phase of each server within its share of the GPU; `sharing` servers of ours share it."""
    serve, gpus = work.recipe.serve, work.machine.gpus
    size = serve.tensor_parallel_size
    if size > len(gpus):
        work.refuse(f"serve.tensor_parallel_size: {size} GPUs wanted, {len(gpus)} there")
    elif (copies := serve.data_parallel_size) * size > len(gpus):
        each = f"{copies} copies on {size} GPUs each" if size > 1 else f"{copies} GPUs"
        work.refuse(f"serve.data_parallel_size: {each} wanted, {len(gpus)} there")
    smallest = min(gpu.total_gib for gpu in gpus) * GIB
    share = serve.gpu_memory_utilization * smallest / max(1, sharing)
    for name, server in servers.items():
        many = server.sequences(share)
        room = f", room for {many:.1f} sequences of {server.context:,} tokens" if many >= 1 else ""
        yield Phase(f"{phase}: vLLM", "GPU share", server.parts, share, name + room)


def _encoder(work: _Work) -> Parts:
    shape = work.shape(work.recipe.models.encoder)
    on_gpu = bool(work.machine.gpus)
    rows = work.recipe.generate.target
    own = serving.encoder(shape, on_gpu, work.bf16, rows) if shape else {}
    return _sum(own, {"libraries": CUDA_CONTEXT if on_gpu else LIBRARIES})


def _plan(work: _Work, shape: Shape) -> training.Plan | None:
    """The plan of the training on the machine; None, with a problem noted, where it cannot be."""
    train, device = work.recipe.train, device_of(work.machine)
    try:
        setup = choose_setup(train, device, lambda package: package == "bitsandbytes")
    except LocalInstructError as problem:
        work.problems.append(f"{problem.message} {problem.hint}".strip())
        return None
    return training.plan_of(train, setup, shape, work.recipe.dataset.held_out > 0)


def _train(work: _Work, shape: Shape, plan: training.Plan) -> Phase:
    """The worst moment of the training, on each device."""
    moment, parts = training.peak(shape, plan)
    train, gpus = work.recipe.train, len(work.machine.gpus)
    devices = train.devices
    if plan.on_gpu and devices > gpus:
        work.problems.append(f"train.devices: {devices} GPUs wanted, {gpus} there")
    processes = 1 if plan.on_gpu else devices  # that share the memory
    parts = {key: processes * size for key, size in _with_libraries(parts, plan.on_gpu).items()}
    note = f"{shape.name}, {moment}: {plan.rows} rows of {plan.length} tokens at once"
    if train.sharding == "fsdp":
        note += f", each of {train.world_size} processes with its part of the weights"
    place = "GPU" if plan.on_gpu else "memory"
    return Phase("train", place, parts, _room(work.machine, devices), note)


def _evaluate(work: _Work, shape: Shape) -> Iterator[Phase]:
    """The losses of base and student, then both served for their answers."""
    machine = work.machine
    on_gpu, number = bool(machine.gpus), 4 if device_of(machine).dtype == "float32" else 2
    train = work.recipe.train
    length = min(train.max_length, shape.context or train.max_length)
    logits = float(training.LOGIT_BYTES * train.device_batch_size * length * shape.vocab)
    parts = _with_libraries({"weights": float(number * shape.parameters), "loss": logits}, on_gpu)
    place, room = "GPU" if on_gpu else "memory", _room(machine, 1)
    note = f"{shape.name}, base and student after each other"
    yield Phase("evaluate: losses", place, parts, room, note)
    server = serving.served(shape, work.recipe.serve, on_gpu, work.bf16)
    if is_served_whole(train) and work.recipe.serve.dtype == "auto":
        exact = work.recipe.serve.model_copy(update={"dtype": "float32"})
        most = serving.served(shape, exact, on_gpu, work.bf16).needs / GIB
        shape = replace(shape, name=f"{shape.name} (float32 if it needs it: {most:.1f} GiB)")
    if on_gpu:
        yield from _gpu_servers(work, {shape.name: server}, 1, "evaluate")
    else:
        copies = [server.parts] * work.recipe.serve.data_parallel_size
        parts = _sum(*copies, {"libraries": LIBRARIES})
        yield Phase("evaluate: vLLM", place, parts, room, shape.name)


def is_served_whole(train: Train) -> bool:
    """Tell whether vLLM gets the student as one model, not as an adapter for its base."""
    return train.mode == "full" or train.lora.use_dora


def _disk(work: _Work, shape: Shape | None, plan: training.Plan | None, room: float) -> Phase:
    models = dict.fromkeys([*work.recipe.models.asked.values(), work.recipe.models.student])
    absent = sum(_to_bring(work.catalog.get(name)) for name in models)
    parts = disk.needs(work.recipe, shape, plan, absent)
    note = f"{work.recipe.generate.target:,} rows, checkpoints"
    if shape:
        merged, exact = shape.file_bytes / GIB, disk.FLOAT32 * shape.parameters / GIB
        note += f"; an export as one merged model needs {merged:.1f} GiB more"
        if exact > 1.1 * merged:
            note += f", or {exact:.1f} GiB where only float32 keeps what was learnt"
    return Phase("disk", "disk", parts, room, note)


def _to_bring(spec: ModelSpec) -> float:
    return 0.0 if spec.served or spec.present else 2.0 * (spec.parameters or 0)


def _with_libraries(parts: Parts, on_gpu: bool) -> Parts:
    """The parts with the process around them: libraries in memory, or a GPU's own overhead."""
    around = CUDA_CONTEXT + GPU_FRAGMENTATION * sum(parts.values()) if on_gpu else LIBRARIES
    return {**parts, "libraries": around}


def _room(machine: Machine, devices: int) -> float:
    """Free bytes of the fullest GPU that is used, or of memory."""
    free = [gpu.free_gib for gpu in machine.gpus[:devices]]
    return min(free, default=machine.available_gib) * GIB


def _sum(*all_parts: Parts) -> Parts:
    total: Parts = {}
    for parts in all_parts:
        for key, size in parts.items():
            total[key] = total.get(key, 0.0) + size
    return total
