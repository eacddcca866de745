"""The stage `generate`: seeds in, kept rows and rejects with their reasons out.

It puts the parts of the scheduler together (seeds, teacher, encoder, gate), shows its settings, and
sums up. The encoder is checked and loaded while the teacher starts, or while it is asked where it
is there already; no reply is committed before. Which rows are kept is decided in `scheduler.py`.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct import machine
from localinstruct.curate.embeddings import Encoder, LocalEncoder, encode_in_blocks
from localinstruct.curate.novelty import CUTS, Gate, Novelty, index_for, text_of
from localinstruct.curate.sight import Sight, way_out
from localinstruct.errors import RecipeError, RunConflict
from localinstruct.generation.diagnosis import ending
from localinstruct.generation.endpoints import noted, servers_of
from localinstruct.generation.flight import in_flight_of, settle_window, window_of
from localinstruct.generation.inputs import (
    completed,
    documents_of,
    read_tasks_of,
    require_chats,
    require_start,
)
from localinstruct.generation.meter import Meter
from localinstruct.generation.sandbox import WithSandbox, sandbox
from localinstruct.generation.scheduler import Job, Scheduler
from localinstruct.interrupt import run_async
from localinstruct.methods import OVER_DOCUMENTS
from localinstruct.models.catalog import ModelSpec, checked, load_catalog
from localinstruct.nano.grammar import check
from localinstruct.offline.code_runner import CodeRunner
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.records import Instance, JsonObject, StageResult, digest
from localinstruct.store.folder import UNREAD_SEEDS
from localinstruct.store.integrity import require_space
from localinstruct.store.kept_rows import KeptRows
from localinstruct.store.run import Run
from localinstruct.store.worktime import ASKING, at_work, since, worked
from localinstruct.teacher import Teacher
from localinstruct.teacher.serving import ModelRouter, serving_all
from localinstruct.topics.coverage import require_seeds, topic_counts

if TYPE_CHECKING:
    import numpy as np

BYTES_PER_ROW = 6_000
"""Bytes of a kept row in the store, completion log and rejects included.

4,500 were measured with answers of 300 letters.
"""
CHECKERS: dict[str, Callable[[str, str, str], bool | None]] = {"nano": check}
"""generate.checker -> a function of (instruction, input, output).

It says whether the output is right, or None where the task is not one of its own.
"""
COMPARISON = "comparison"
"""Stored text of a run: version of how its rows are compared; release 0.1.0 kept none."""
_EVERY_RUN = ("teacher", "student", "encoder")
"""Roles that every run has; others are listed where a model other than the teacher plays them."""


def run(recipe: Recipe, run: Run, progress: Progress, *, workspace: Path) -> StageResult:
    """Generate until `generate.target` rows are kept, continuing what is there already."""
    if recipe.generate.target == 0 and run.is_blank():
        progress.say("generate.target is 0: nothing is asked of a teacher")
        return summary(recipe, run, 0, _facts(recipe, workspace))
    catalog = load_catalog(workspace)
    asked = {role: catalog.get(name) for role, name in recipe.models.asked.items()}
    teacher, encoder = asked["teacher"], catalog.get(recipe.models.encoder)
    seeds = read_seeds(recipe, run, workspace, progress)
    method = completed(recipe, teacher, seeds, workspace)
    require_chats(recipe, asked)
    digests = {role: spec.digest for role, spec in asked.items()}
    novelty, apart = as_begun(recipe.novelty, run)
    chosen = recipe.model_copy(update={"method": method, "novelty": novelty})
    servers = servers_of(asked.values(), recipe.serve)
    window = settle_window(chosen, run, servers)
    job = make_job(chosen, seeds, teacher.digest, digests, window, servers)
    require_seeds(recipe.coverage, seeds)
    require_start(recipe, seeds)
    require_space(run.path, (recipe.generate.target - run.count_kept()) * BYTES_PER_ROW)
    kind = "passages" if recipe.method.name in OVER_DOCUMENTS else "tasks"
    progress.say(
        f"seeds: {len(seeds)} {kind} from {recipe.seeds}; {run.count_kept()} rows kept before"
    )
    progress.say(f"teacher: {_served_at(teacher)}; {_flight(job, recipe)}")
    if apart:
        require_seen(novelty, seeds, Sight(encoder.directory), encoder.name, progress)
    with ThreadPoolExecutor(1) as loader, sandbox(method, progress) as runner:
        load: Callable[[], Encoder] = partial(_load, encoder, apart)
        if not all(spec.servers for spec in asked.values()):
            load = loader.submit(load).result  # while the server starts
        with serving_all(asked, recipe.serve, run.path, progress) as connect:
            router = partial(connect, recipe.sampling)
            progress.update("waiting for the first answers", 0, 0)
            with _responsive(), at_work(run, ASKING):
                run_async(_converse(job, run, router, EncoderToCome(load), progress, runner))
    stopped = ending(job, len(run.episodes()), KeptRows(run))
    if run.count_kept() < recipe.generate.target:
        progress.say(f"ended before its target: {stopped}")
    facts = {**_facts(recipe, workspace), "window": job.window}
    return summary(recipe, run, job.in_flight, facts, stopped)


@contextmanager
def _responsive() -> Iterator[None]:
    """Have threads pass the interpreter on after 0.5 ms in place of 5.

    Each of a reply's many small steps would wait that long while the encoder is loaded or at work.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _load(encoder: ModelSpec, apart: bool) -> Encoder:
    """The encoder, once its files are those of models.yaml."""
    return LocalEncoder(checked(encoder), beside_teacher=True, apart=apart)


@dataclass
class EncoderToCome:
    """An encoder that is loaded when it is first needed, in the thread that needs it."""

    load: Callable[[], Encoder]

    def encode(self, texts: Sequence[str]) -> "np.ndarray":
        """(n, d) float32, rows of unit length."""
        return self._encoder.encode(texts)

    @property
    def unseen(self) -> int:
        """Texts so far that it cannot see."""
        return int(getattr(self.__dict__.get("_encoder"), "unseen", 0))

    @cached_property
    def _encoder(self) -> Encoder:
        return self.load()


def as_begun(novelty: Novelty, run: Run) -> tuple[Novelty, bool]:
    """(the section, whether rows that the encoder cannot see are left out of comparisons).

    A run that release 0.1.0 began goes on as it began: words are ASCII, and all are compared.
    """
    if run.is_blank():
        run.put(COMPARISON, "2")
    return begun_with(novelty, run)


def begun_with(novelty: Novelty, run: Run) -> tuple[Novelty, bool]:
    """As `as_begun`, of a run that is only looked at."""
    if run.get(COMPARISON) is not None:
        return novelty, True
    return novelty.model_copy(update={"words": "ascii"}), False


def require_seen(
    novelty: Novelty, seeds: Sequence[Instance], sight: Sight, encoder: str, progress: Progress
) -> None:
    """RecipeError when the measure cannot see half of the seeds; fewer are said.

    The rows to come are in the seeds' languages.
    """
    texts = [text_of(seed, novelty) or seed.input for seed in seeds]
    if novelty.measure == "cosine":
        hidden, key = sight.unseen(texts), f"models.encoder: {encoder}"
        hint = way_out()
    else:
        cut, key = CUTS[novelty.words], f"novelty.words: {novelty.words}"
        hidden = [not cut(text) and any(map(str.isalpha, text)) for text in texts]
        hint = "Compare words of any script: --set novelty.words=unicode"
    count = sum(hidden)
    if not count:
        return
    example = next(text for text, is_hidden in zip(texts, hidden, strict=True) if is_hidden)
    words = (
        f"{key} cannot see {count:,} of {len(texts):,} seeds, such as {example[:40]!r}: it knows "
        "few of their letters, and rows like these all look alike to it."
    )
    if 2 * count >= len(texts):
        raise RecipeError(words, hint)
    progress.say(f"{words} They are compared for exact repetition only. {hint}")


def read_seeds(recipe: Recipe, run: Run, workspace: Path, progress: Progress) -> list[Instance]:
    """The seed tasks or passages; refused when this run was begun with others."""
    reads_documents = recipe.method.name in OVER_DOCUMENTS
    folder = documents_of(recipe, workspace, progress) if reads_documents else None
    tasks, unread = ([], []) if folder else read_tasks_of(recipe, workspace, progress)
    seeds = folder.passages if folder else tasks
    now, before = seeds_digest(seeds), run.get("seeds")
    if before not in (None, now) and not run.is_blank():
        raise RunConflict(
            f"{recipe.seeds}: has changed since this run began.",
            "Restore it, use another --name, or start over with --fresh.",
        )
    run.put("seeds", now)
    if unread:
        run.put(UNREAD_SEEDS, json.dumps([asdict(one) for one in unread], ensure_ascii=False))
    if folder:
        left_out = [[problem.source, problem.why] for problem in folder.problems]
        counts = {"read": folder.read, "passages": len(seeds), "left_out": left_out}
        run.put("documents", json.dumps(counts))
    return seeds


def seeds_digest(seeds: Sequence[Instance]) -> str:
    """The digest of seeds under which a run goes on."""
    places = [[seed.lineage.source, seed.lineage.offset] for seed in seeds if seed.lineage.source]
    return digest([seed.id for seed in seeds] + places)


def make_job(
    recipe: Recipe,
    seeds: Sequence[Instance],
    teacher_digest: str,
    digests: Mapping[str, str] | None = None,
    window: int | None = None,
    servers: int | None = None,
) -> Job:
    """The job of the scheduler; `digests` is role -> digest of the model that plays it.

    `window` is what the run began with; None takes that of a new run. `servers` are those of all
    models; None takes one for each.
    """
    return Job(
        method=recipe.method,
        then=recipe.then,
        generate=recipe.generate,
        filters=recipe.filters,
        novelty=recipe.novelty,
        coverage=recipe.coverage,
        sampling=recipe.sampling,
        seed=recipe.seed,
        in_flight=in_flight_of(recipe, servers),
        window=window_of(recipe, servers) if window is None else window,
        seeds=seeds,
        teacher_digest=teacher_digest,
        digests=digests or {},
    )


async def converse(
    job: Job, run: Run, teacher: Teacher, encoder: Encoder, progress: Progress
) -> None:
    """Run the scheduler with this teacher until its target."""
    gate = partial(make_gate, job.novelty, job.seeds, encoder, progress)
    scheduler = Scheduler(job, run, teacher, encoder, gate, Meter(progress, job, run, encoder))
    scheduler.restore()
    await scheduler.work()


async def _converse(
    job: Job,
    run: Run,
    connect: Callable[[], ModelRouter],
    encoder: Encoder,
    progress: Progress,
    runner: CodeRunner | None,
) -> None:
    client = connect()
    teacher = WithSandbox(client, runner) if runner else client
    try:
        async with noted(run, client.endpoints):
            await converse(job, run, teacher, encoder, progress)
    finally:
        await client.close()


def make_gate(
    novelty: Novelty, seeds: Sequence[Instance], encoder: Encoder, progress: Progress
) -> Gate:
    """A gate that knows the seeds, unless rows are compared with kept rows only.

    One seed is embedded then, to learn d.
    """
    compared = seeds if novelty.against != "kept" else ()
    texts = [text_of(seed, novelty) for seed in compared or seeds[:1]]
    show = partial(progress.update, "embedding seeds", total=len(texts))
    vectors = encode_in_blocks(encoder, texts, show)
    index = index_for(novelty, vectors.shape[1])
    if compared:
        index.add(vectors, [(seed.id, text) for seed, text in zip(seeds, texts, strict=True)])
    return Gate(novelty, index, compared)


def summary(
    recipe: Recipe,
    run: Run,
    in_flight: int,
    facts: JsonObject,
    stopped: str = "target reached",
) -> StageResult:
    """The result of the stage: counts, seconds and speed over all sessions, and `facts`.

    "seconds" are those in which the teacher was asked, without its start and without pauses, and
    "tokens_per_second" the output tokens in them; `facts` are models, machine and versions,
    `stopped` says why it ended.
    """
    prompts, usage = run.completion_usage()
    episodes = run.episodes()
    kept, rejected = run.count_kept(), sum(entry[2] for entry in episodes)
    first, seconds = since(run, ASKING), worked(run, ASKING) or 0.0
    timed = sum(tokens for arrived, tokens in usage if arrived >= first)
    return {
        "product": digest(run.kept_ids()),
        "kept": kept,
        "candidates": kept + rejected,
        "rejected": rejected,
        "prompts": prompts,
        "episodes": len(episodes),
        "output_tokens": sum(tokens for _, tokens in usage),
        "seconds": round(seconds, 3),
        "tokens_per_second": round(timed / seconds, 1) if seconds else 0.0,
        "in_flight": in_flight,
        "stopped": stopped,
        "documents": json.loads(run.get("documents") or "null"),
        "coverage": [asdict(topic) for topic in topic_counts(recipe.coverage, run.kept())],
        "checked": _checked(recipe, run),
        "novelty": recipe.novelty.model_dump(mode="json"),
        **facts,
    }


def _checked(recipe: Recipe, run: Run) -> dict[str, int] | None:
    """Counts of right and wrong answers among the kept ones, where a function can tell."""
    if recipe.generate.checker is None:
        return None
    checker = CHECKERS[recipe.generate.checker]
    verdicts = [checker(row.instruction, row.input, row.output) for row in run.kept()]
    return {
        "right": verdicts.count(True),
        "wrong": verdicts.count(False),
        "unrecognised": verdicts.count(None),
    }


def _facts(recipe: Recipe, workspace: Path) -> JsonObject:
    """Models with digests and licences, the machine, and versions.

    A model that has no part in this stage (the student) need not be there; its digest is "" then.
    """
    catalog, commit = load_catalog(workspace), machine.commit()
    names = {
        **recipe.models.asked,
        "student": recipe.models.student,
        "encoder": recipe.models.encoder,
    }
    listed = {
        role: catalog.models[name]
        for role, name in names.items()
        if name in catalog.models and (role in _EVERY_RUN or name != names["teacher"])
    }
    return {
        "models": {role: _model_facts(spec) for role, spec in listed.items()},
        "machine": asdict(machine.look()),
        "versions": machine.versions() | ({"commit": commit} if commit else {}),
    }


def _model_facts(spec: ModelSpec) -> JsonObject:
    return {
        "name": spec.name,
        "digest": spec.digest if spec.servers or spec.present else "",
        "licence": spec.licence,
        "obligations": spec.obligations,
    }


def _flight(job: Job, recipe: Recipe) -> str:
    """The two numbers: requests at the server, and episodes ahead of the commit."""
    ahead = f"up to {job.window} episodes ahead of the commit"
    return (
        f"in flight: up to {job.in_flight} requests for batches of {recipe.serve.max_num_seqs} "
        f"sequences; {ahead if job.window else 'no episode waits for the rows of another'}"
    )


def _served_at(spec: ModelSpec) -> str:
    if spec.servers:
        return f"{spec.name} at {spec.served}, served by others"
    return f"{spec.name} on our own {'llama.cpp' if spec.gguf else 'vLLM'}, unix socket"
