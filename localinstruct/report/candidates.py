"""Candidates: the rows of a run that came to its gate, kept or too similar, with their vectors.

A kept row's vector lies in the store. That of a row rejected as too similar does not, and neither
does a seed's: they are embedded again for the first report, by the encoder of the run, which is
held against a vector of the store before it is believed; later ones find them in vectors.py. Above
a number of rows it is the first of them, or a sample. Order: by episode, and within one the kept
rows before the rejected ones, which no decision contradicts; the store knows no finer order. Not
covered: exact repetitions, which no threshold lets through, and rejects of other stages, which were
never compared.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from sys import intern
from typing import TYPE_CHECKING

from localinstruct.curate.embeddings import Encoder, encode_in_blocks
from localinstruct.curate.novelty import Novelty, text_of
from localinstruct.errors import LocalInstructError
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.records import Instance
from localinstruct.report.vectors import FILE, NoEncoder, RememberedEncoder
from localinstruct.store.run import Run

if TYPE_CHECKING:
    import numpy as np

SIMILAR = "too similar"
"""Reason of the rejects that another threshold might have kept."""
FIRST, WORDWISE, EMBEDDED = 10_000, 2_000, 4_000
"""Candidates that are compared again, at most: by embeddings, by words; texts embedded for it."""
SAME = 0.98
"""Cosine of a stored vector and that of its text, embedded now, below which encoders differ.

Numbers in bfloat16 move a cosine by at most 0.006."""
WHERE = "stage = 'novelty' AND reason = ?"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row that came to the gate: the text that is compared, and what came of it."""

    text: str
    kept: bool
    episode: int
    score: float | None
    """Similarity to the nearest row when it was decided on."""
    near: Sequence[str]
    """Texts of the rows nearest to it then, nearest first: ten of a kept row, one of another."""
    task: str
    """The instruction, by which rows of one episode may be examples of one task."""
    output: str = ""
    topic: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Candidates:
    """n candidates in order with (n, d) vectors, and s seeds with (s, d) ones; `total` there are.

    `problem` says, in a sentence, why there is none of them with whom to compare again.
    """

    rows: Sequence[Candidate]
    vectors: "np.ndarray"
    seeds: Sequence[str]
    seed_vectors: "np.ndarray"
    total: int
    problem: str = ""


def read_candidates(
    run: Run,
    encoder: "Encoder | str",
    novelty: Novelty,
    seeds: Sequence[str] | None,
    progress: Progress,
) -> Candidates:
    """The first candidates, as many as FIRST and EMBEDDED allow.

    `encoder` may be the sentence that says why there is none; rows compared by words need none.
    Without `seeds`, they are those that the rows name as near.
    """
    import numpy as np

    total, nothing = count(run), np.zeros((0, 0), np.float32)
    wordwise = novelty.measure == "rouge_l"
    if isinstance(encoder, str) and not wordwise:
        return Candidates([], nothing, [], nothing, total, encoder)
    rows, vectors, embedded = list[Candidate](), list["np.ndarray | None"](), len(seeds or ())
    for row, vector in _in_order(run, novelty):
        embedded += vector is None and not wordwise
        if len(rows) == (WORDWISE if wordwise else FIRST) or embedded > EMBEDDED:
            break
        rows.append(row)
        vectors.append(vector)
    if seeds is None:
        seeds = _named_seeds(rows) if novelty.against != "kept" else ()
    if wordwise:
        bare = np.zeros((len(rows), 0), np.float32)
        return Candidates(rows, bare, seeds, np.zeros((len(seeds), 0), np.float32), total)
    assert not isinstance(encoder, str)
    filled = _filled(rows, vectors, seeds, encoder, progress)
    if isinstance(filled, str):
        return Candidates([], nothing, [], nothing, total, filled)
    return Candidates(rows, filled[0], seeds, filled[1], total)


def _named_seeds(rows: Sequence[Candidate]) -> list[str]:
    """Texts near a row that are no row's: seeds, those named most often first, at most EMBEDDED."""
    own = {row.text for row in rows}
    named = Counter(text for row in rows for text in row.near if text)
    return [text for text, _ in named.most_common() if text not in own][:EMBEDDED]


def count(run: Run) -> int:
    """Number of the candidates of a run, kept and too similar."""
    found = run.select(f"SELECT count(*) FROM rejects WHERE {WHERE}", (SIMILAR,))
    return run.count_kept() + int(found[0][0])


def sampled(
    run: Run, encoder: "Encoder | str", novelty: Novelty, places: Sequence[int], progress: Progress
) -> tuple[list[Candidate], "np.ndarray"]:
    """The candidates at these places of their order with their (n, d) vectors.

    Without an encoder those are left out that are not in the store.
    """
    import numpy as np

    wanted, total = set(places), count(run)
    rows, vectors = list[Candidate](), list["np.ndarray | None"]()
    for place, (row, vector) in enumerate(_in_order(run, novelty)):
        if place % 1000 == 0:
            progress.update("reading rows for the map", place, total)
        if place in wanted and (vector is not None or not isinstance(encoder, str)):
            rows.append(row)
            vectors.append(vector)
    filled = "" if isinstance(encoder, str) else _filled(rows, vectors, [], encoder, progress)
    if not isinstance(filled, str):
        return rows, filled[0]
    pairs = [(row, own) for row, own in zip(rows, vectors, strict=True) if own is not None]
    stored = [own for _, own in pairs]
    return [row for row, _ in pairs], np.stack(stored) if stored else np.zeros((0, 0), np.float32)


def _in_order(run: Run, novelty: Novelty) -> "Iterator[tuple[Candidate, np.ndarray | None]]":
    """Every candidate with its vector, where it is in the store, an episode at a time."""
    kept, rejected = _kept(run, novelty), _rejected(run)
    row, reject = next(kept, None), next(rejected, None)
    while row or reject:
        if row and (reject is None or row[0].episode <= reject.episode):
            yield row
            row = next(kept, None)
        elif reject:
            yield reject, None
            reject = next(rejected, None)


def _kept(run: Run, novelty: Novelty) -> "Iterator[tuple[Candidate, np.ndarray]]":
    import numpy as np

    query = "SELECT id, episode, instance, most_similar, vector FROM kept WHERE seq > ? "
    last = 0
    while found := run.select(f"{query}ORDER BY seq LIMIT 1000", (last,)):
        for id, episode, text, similar, vector in found:
            row = Instance.from_dict(json.loads(text))
            near, score = json.loads(similar), row.lineage.scores.get("novelty_max")
            yield (
                Candidate(
                    text_of(row, novelty),
                    True,
                    episode,
                    score,
                    [intern(one["text"]) for one in near],
                    row.instruction,
                    row.output,
                    row.lineage.topic,
                    id,
                ),
                np.frombuffer(vector, dtype="<f4"),
            )
        last += len(found)  # rows are numbered from 1, without gaps


def _rejected(run: Run) -> Iterator[Candidate]:
    query = "SELECT seq, episode, text, detail, score FROM rejects WHERE "
    last = 0
    while found := run.select(
        f"{query}{WHERE} AND seq > ? ORDER BY seq LIMIT 1000", (SIMILAR, last)
    ):
        for seq, episode, text, near, score in found:
            yield Candidate(text, False, episode, score, [intern(near)], text)
            last = seq


def _filled(
    rows: Sequence[Candidate],
    vectors: "Sequence[np.ndarray | None]",
    seeds: Sequence[str],
    encoder: Encoder,
    progress: Progress,
) -> "tuple[np.ndarray, np.ndarray] | str":
    """((n, d) vectors of all rows, (s, d) of the seeds), or why they cannot be had.

    One row of the store is embedded too, to see that the encoder is the one that made it.
    """
    import numpy as np

    missing = [place for place, own in enumerate(vectors) if own is None]
    first = next((place for place, own in enumerate(vectors) if own is not None), None)
    check = [] if first is None else [rows[first].text]
    texts = [*check, *(rows[place].text for place in missing), *seeds]
    show = partial(progress.update, "vectors of rejected rows and seeds", total=len(texts))
    try:
        made = encode_in_blocks(encoder, texts, show)
    except NoEncoder as problem:
        return str(problem)
    stored = None if first is None else vectors[first]
    if stored is not None and not _alike(stored, made[0]):
        return (
            "The encoder that models.yaml names gives other vectors than this run has: rejected "
            "rows cannot be compared with them."
        )
    made = made[len(check) :]
    whole = np.zeros((len(rows), made.shape[1] if stored is None else len(stored)), np.float32)
    for place, own in enumerate(vectors):
        if own is not None:
            whole[place] = own
    if missing:
        whole[missing] = made[: len(missing)]
    return whole, made[len(missing) :].reshape(len(seeds), whole.shape[1])


def _alike(stored: "np.ndarray", made: "np.ndarray") -> bool:
    if stored.shape != made.shape:
        return False
    return float(stored @ made) >= SAME or not (stored.any() or made.any())


def seeds_of_run(recipe: Recipe, run: Run, workspace: Path) -> list[str] | None:
    """Texts of the seeds that the gate of this run compared with; None where they have changed.

    None too for passages of documents, whose files are not opened for a report, and for more than
    EMBEDDED.
    """
    from localinstruct.generation.inputs import seeds_of
    from localinstruct.generation.stage import seeds_digest
    from localinstruct.methods import OVER_DOCUMENTS

    if recipe.novelty.against == "kept":
        return []
    if recipe.method.name in OVER_DOCUMENTS:
        return None
    try:
        seeds = seeds_of(recipe, workspace)
    except (LocalInstructError, OSError):
        return None
    if seeds_digest(seeds) != run.get("seeds") or len(seeds) > EMBEDDED:
        return None
    return [text_of(seed, recipe.novelty) for seed in seeds]


def encoder_of(
    recipe: Recipe, run: Run, workspace: Path, progress: Progress
) -> RememberedEncoder | str:
    """The encoder of a run, loaded when it is needed, or the sentence that says why there is none.

    `progress` says that it is loaded.
    """
    from localinstruct.curate.embeddings import LocalEncoder
    from localinstruct.generation.stage import begun_with
    from localinstruct.models.catalog import checked, load_catalog

    name, entry = recipe.models.encoder, run.stage("generate")
    if recipe.novelty.measure == "rouge_l":
        return "Rows were compared by their words."
    known = ((entry.result if entry else {}).get("models") or {}).get("encoder") or {}
    try:
        spec = load_catalog(workspace).get(name)
        if not known or spec.digest != known.get("digest"):
            return f"The model {name} here is not the one that embedded the rows of this run."
        directory = checked(spec)
    except (LocalInstructError, OSError):
        return (
            f"Rejected rows would have to be embedded again, and the encoder {name} is not there."
        )
    apart = begun_with(recipe.novelty, run)[1]

    def load() -> Encoder:
        progress.update("loading the encoder, to compare rejected rows again", 0, 0)
        return LocalEncoder(directory, apart=apart)

    return RememberedEncoder(run.path / FILE, f"{spec.digest} apart={apart}", load)
