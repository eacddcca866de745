"""The dataset stage: kept rows become two files to train on and to hold out.

They are decontaminated, split, at most max_rows, in runs/NAME/dataset/. The split depends on the
seed and on each row's content only, not on the order of the rows: a row keeps its side when more
are generated later, but for the few at the border. Held-out rows are for the loss of rows of the
same kind; the tasks of `evaluate.tasks` are kept out of both sides. Every row that is left out is
in dataset/rejects.jsonl with its reason. Not covered: near duplicates between the sides; novelty
has removed those above its threshold.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from localinstruct import templates
from localinstruct.curate.contamination import decontaminate, question, unique
from localinstruct.curate.embeddings import LocalEncoder
from localinstruct.dataset import edits, reviewed
from localinstruct.dataset.mixing import Mixture, mix, require_sources
from localinstruct.dataset.phrasings import rephrase
from localinstruct.dataset.review_gate import Likeness, ReviewGate, is_of_gate, rules_of
from localinstruct.dataset.selection import select
from localinstruct.dataset.selection import words as selection_words
from localinstruct.errors import DataError
from localinstruct.formats import Reader, write
from localinstruct.formats.tasks import read_tasks, task_file
from localinstruct.models.catalog import checked, load_catalog
from localinstruct.models.chat_template import chat_of
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.recipe.dataset import Dataset
from localinstruct.records import Instance, Reject, StageResult, digest
from localinstruct.store.durable import sha256, write_text
from localinstruct.store.folder import HELD_OUT, REJECTS, SOURCES, TRAIN
from localinstruct.store.run import Run

LEAST_ROWS = 10


def run(recipe: Recipe, run: Run, progress: Progress, *, workspace: Path) -> StageResult:
    """Write both sides.

    DataError when there are too few rows that the template of training can hold. The result counts
    kept rows ("rows"), both sides, the dropped by reason, and the rows of both sides that have an
    input.
    """
    mixed = _mixed(recipe, run, workspace, progress)
    kept = mixed.rows
    rows, rejects = _select(kept, recipe, workspace, mixed.of_files)
    rejects = mixed.rejects + rejects
    rows, unheld = held_by_template(rows, recipe, workspace)
    rejects += unheld
    _require_enough(rows, len(kept), recipe, run.path.name, unheld)
    train, held_out = split(rows, recipe.dataset.held_out, recipe.seed)
    train, unselected, selection = select(train, recipe.dataset, recipe.seed)
    rejects += unselected
    seeds, repeated = _seeds(recipe, workspace, rows, mixed.of_files)
    train, over = _at_most(train + seeds, recipe.dataset, recipe.seed)
    rejects += repeated + over
    with_input = sum(bool(row.input) for row in train + held_out)
    if recipe.dataset.phrasing == "self-instruct":
        train, held_out = rephrase(train), rephrase(held_out)
    folder = _save(run.path / "dataset", train, held_out, rejects)
    edits.remember(run, {TRAIN: train, HELD_OUT: held_out})
    (folder / SOURCES).unlink(missing_ok=True)
    if recipe.dataset.sources:
        _save_sources(folder, mixed)
    dropped = Counter(reject.reason for reject in rejects)
    looked_at = reviewed.counts(reviewed.decisions(run.path).values())
    if looked_at:
        progress.say(f"{reviewed.words(looked_at, run.count_kept())}.")
    if selection:
        progress.say(f"{selection_words(selection)}.")
    progress.say(_summary(len(train), len(held_out), dropped))
    digests = {name: sha256(folder / name) for name in (TRAIN, HELD_OUT)}
    return {
        "product": digest(digests),
        "rows": len(kept),
        "train": len(train),
        "held_out": len(held_out),
        "dropped": dict(dropped),
        "sources": mixed.as_result() if recipe.dataset.sources else [],
        "with_input": with_input,
        "sha256": digests,
        **({"reviewed": looked_at} if looked_at else {}),
        **({"selection": selection} if selection else {}),
    }


def _mixed(recipe: Recipe, run: Run, workspace: Path, progress: Progress) -> Mixture:
    """The run's own rows, and those of the sources the recipe mixes in."""
    section, encoder = recipe.dataset, None
    if section.sources:
        require_sources(section, workspace)
        if section.similar is not None:
            encoder = LocalEncoder(checked(load_catalog(workspace).get(recipe.models.encoder)))
    decided = reviewed.decisions(run.path)
    likeness = Likeness(recipe, run, workspace, decided, progress)
    gate = ReviewGate(rules_of(run) or recipe.filters, likeness)
    own = reviewed.apply(list(run.kept()), decided, gate)
    back = reviewed.taken_back(decided.values(), gate)
    rows, rejects = [*own.rows, *back.rows], [*own.rejects, *back.rejects]
    mixed = mix(rows, section, recipe.seed, workspace, encoder, progress, recipe.filters)
    for part in mixed.contributions if section.sources else ():
        left_out = "".join(f", {count} {reason}" for reason, count in part.dropped.items())
        taken = f"{part.taken:,} of {part.asked:,} asked rows taken (it has {part.has:,})"
        progress.say(f"{part.source}: {taken}{left_out}")
    both = _reviewed(mixed, decided, rejects, gate)
    of_people = Counter(one.reason for one in both.rejects if is_of_gate(one))
    if of_people:
        reasons = ", ".join(f"{count} {reason}" for reason, count in of_people.most_common())
        progress.say(
            f"Left out of the rows that people wrote: {reasons}. Mend them, or keep them all the "
            f"same: localinstruct review {run.path}, State: left out"
        )
    return both


def _reviewed(
    mixed: Mixture,
    decided: Mapping[str, reviewed.Reviewed],
    rejects: list[Reject],
    gate: reviewed.Verdicts,
) -> Mixture:
    """A mixture with people's decisions on rows that files and other runs brought."""
    theirs = reviewed.apply(mixed.rows, decided, gate)
    source_of = dict(mixed.source_of)
    of_files = set(mixed.of_files)
    for child, before in theirs.child_of.items():
        source_of[child] = source_of[before]
        of_files |= {child} if before in of_files else set()
    return replace(
        mixed,
        rows=theirs.rows,
        source_of=source_of,
        of_files=of_files,
        rejects=[*rejects, *mixed.rejects, *theirs.rejects],
    )


def _save_sources(folder: Path, mixed: Mixture) -> None:
    """Write sources.jsonl: the source of each row."""
    rows = [{"id": row.id, "source": mixed.source_of[row.id]} for row in mixed.rows]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    write_text(folder / SOURCES, "".join(f"{line}\n" for line in lines))


def split(
    rows: Sequence[Instance], share: float, seed: int
) -> tuple[list[Instance], list[Instance]]:
    """(train, held out), both in the order of `rows`.

    A share above 0 holds out at least one row, and never all. Rows that ask the same are on one
    side; a question with more rows than are to be held out stays to train on.
    """
    count = min(max(1, round(len(rows) * share)), len(rows) - 1) if share else 0
    asked = {row.id: question(row) for row in rows}
    sizes = Counter(asked[row.id] for row in rows)
    drawn, held = set[object](), 0
    for row in _shuffled(rows, seed):
        size = sizes[asked[row.id]]
        if asked[row.id] not in drawn and held + size <= count:
            drawn.add(asked[row.id])
            held += size
    train = [row for row in rows if asked[row.id] not in drawn]
    return train, [row for row in rows if asked[row.id] in drawn]


def _select(
    kept: list[Instance], recipe: Recipe, workspace: Path, of_files: Collection[str] = ()
) -> tuple[list[Instance], list[Reject]]:
    """Rows that are neither repeated nor in the evaluation tasks, and rejects for the others."""
    rows, rejects = unique(kept, of_files)
    if recipe.dataset.decontaminate and recipe.evaluate.tasks:
        tasks = read_tasks(task_file(recipe.evaluate.tasks, workspace))
        rows, taken = decontaminate(rows, {task.id: task.instance for task in tasks})
        rejects += taken
    return rows, rejects


def _seeds(
    recipe: Recipe, workspace: Path, rows: list[Instance], of_files: Collection[str]
) -> tuple[list[Instance], list[Reject]]:
    """Seed tasks to train on if the recipe wants them, and rejects.

    Rejects are seeds that are rows or evaluation tasks already.
    """
    if not recipe.dataset.include_seeds:
        return [], []
    reader = Reader(workspace / recipe.seeds, recipe.seed_reading, needs_answer=True)
    seeds, rejects = _select(rows + list(reader), recipe, workspace, of_files)
    rejects = reader.report.rejects + rejects
    present = {row.id for row in rows}
    fresh = [seed for seed in seeds if seed.id not in present]
    fresh, unheld = held_by_template(fresh, recipe, workspace)
    return fresh, rejects + unheld


def held_by_template(
    rows: Sequence[Instance], recipe: Recipe, workspace: Path
) -> tuple[list[Instance], list[Reject]]:
    """Rows that the template of training can hold, and rejects for the others."""
    template = recipe.train.template
    if template != "chat":
        return templates.sort_out(rows, [templates.problem_of(row, template) for row in rows])
    spec = load_catalog(workspace).get(recipe.models.student)
    chat = chat_of(spec.directory, spec.template)
    return templates.sort_out(rows, chat.problems(rows)) if chat else (list(rows), [])


def _at_most(
    train: list[Instance], section: Dataset, seed: int
) -> tuple[list[Instance], list[Reject]]:
    if section.max_rows is None or len(train) <= section.max_rows:
        return train, []
    drawn = {row.id for row in _shuffled(train, seed)[: section.max_rows]}
    others = [row for row in train if row.id not in drawn]
    over = [Reject("dataset", "over max_rows", row.instruction) for row in others]
    return [row for row in train if row.id in drawn], over


def _shuffled(rows: Sequence[Instance], seed: int) -> list[Instance]:
    """Rows in an order that depends on the seed and their content."""
    return sorted(rows, key=lambda row: digest([seed, row.id]))


def _require_enough(
    rows: Sequence[Instance], there: int, recipe: Recipe, name: str, unheld: Sequence[Reject]
) -> None:
    if len(rows) >= LEAST_ROWS:
        return
    kind = "rows kept or mixed in" if recipe.dataset.sources else "kept rows"
    if len(rows) + len(unheld) >= LEAST_ROWS:
        reasons = Counter(reject.reason for reject in unheld)
        left_out = ", ".join(f"{count} because {why}" for why, count in reasons.items())
        raise DataError(
            f"Expected at least {LEAST_ROWS} rows to train on, found {len(rows)} (of {there} "
            f"{kind}; left out: {left_out}).",
            templates.way_out(reasons),
        )
    target = max(100, 10 * LEAST_ROWS)
    hint = f"Generate more: localinstruct generate {name} --set generate.target={target}"
    if recipe.dataset.sources:
        hint += "\nOr mix in more: a further file or run in dataset.from, a larger max_rows."
    raise DataError(
        f"Expected at least {LEAST_ROWS} rows to train on, found {len(rows)} (of {there} {kind}).",
        hint,
    )


def _save(
    folder: Path, train: list[Instance], held_out: list[Instance], rejects: list[Reject]
) -> Path:
    folder.mkdir(exist_ok=True, mode=0o700)
    write(train, "jsonl", folder / TRAIN)
    write(held_out, "jsonl", folder / HELD_OUT)
    lines = [json.dumps(asdict(reject), ensure_ascii=False) for reject in rejects]
    write_text(folder / REJECTS, "".join(f"{line}\n" for line in lines))
    return folder


def _summary(train: int, held_out: int, dropped: Counter[str]) -> str:
    left_out = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common())
    ending = f"; left out: {left_out}." if left_out else "."
    return f"{train} rows to train on, {held_out} held out{ending}"
