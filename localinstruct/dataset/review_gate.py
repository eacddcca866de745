"""Gate of rows that people wrote: a run's rules, repairs, secrets, and likeness to its rows.

A row that a person mended, or took back from the rejects, passes what a teacher's row has passed.
One that does not is left out of the data set with its reason, unless the person has confirmed that
reason (`Review.despite`); taking a reject back confirms the reason it was rejected for. Likeness is
asked of rows whose compared text is new, each in turn against seeds and kept rows. Not covered: a
filter that came from Python and is not here; passages of documents as seeds; examples of one task
(novelty.examples_apart), which are compared as all others.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.curate.embeddings import Encoder, LocalEncoder, encode_in_blocks
from localinstruct.curate.filters import Filters, examine, for_files
from localinstruct.curate.index import Index
from localinstruct.curate.novelty import Gate, Novelty, index_for, nearest, text_of
from localinstruct.dataset.reviewed import DROPPED, METHOD
from localinstruct.errors import LocalInstructError, ModelError
from localinstruct.formats import Reader
from localinstruct.methods import OVER_DOCUMENTS
from localinstruct.models.catalog import checked, load_catalog
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe, recipe_from_text
from localinstruct.records import Instance, Neighbour, Reject
from localinstruct.store.reviews import Reviewed
from localinstruct.store.run import Run

if TYPE_CHECKING:
    import numpy as np

EMBEDDED = ("too similar", "exact repetition")
"""Reasons that comparing gives."""
NAMED = 3
"""Nearest rows that are named of a row that a person wrote."""
Encode = Callable[[Sequence[str]], "np.ndarray"]
"""Texts to unit vectors."""


@dataclass(frozen=True)
class Compared:
    """A row that a person wrote, held against seeds and kept rows: the nearest, and a reject."""

    near: list[Neighbour]
    reject: Reject | None


def objections(
    row: Instance, filters: Filters, despite: Sequence[str] = ()
) -> tuple[Instance, list[Reject]]:
    """(the row with its repairs, everything that the rules say against it, less what is confirmed).

    The rules are those of rows that people wrote, see `for_files`.
    """
    rules, found = for_files(filters), list[Reject]()
    for reason in despite:
        rules = _without(rules, reason)
    while (reject := (verdict := examine(row, rules)).reject) is not None:
        found.append(reject)
        rules = _without(rules, reject.reason)
    return verdict.row, found


def is_of_gate(reject: Reject) -> bool:
    """True for a row that a person wrote and this gate left out."""
    return reject.stage == METHOD and reject.reason != DROPPED


def key_of(reject: Reject) -> str:
    """Key of the row that the gate left out."""
    return reject.detail.removeprefix("row ").partition(":")[0]


def confirmed(one: Reviewed) -> tuple[str, ...]:
    """Reasons that a person has confirmed of a row, that of a reject by taking it back."""
    own = (str(one.original.get("reason", "")),) if one.kind == "reject" else ()
    return (*own, *one.review.despite)


def rules_of(run: Run) -> Filters | None:
    """The rules that a run's rows pass; None where it has no recipe."""
    stored = run.get("recipe")
    if stored is None:
        return None
    filters = recipe_from_text(stored, f"{run.path}/run.sqlite").filters
    version = filters.rules or 1  # release 0.1.0 wrote none
    has_own = filters.own is not None and filters.own.function is not None
    return filters.model_copy(update={"rules": version, "own": filters.own if has_own else None})


class ReviewGate:
    """Verdicts on rows that people wrote: the row as it is to be kept, or why it is not."""

    def __init__(self, filters: Filters, likeness: "Likeness | None" = None) -> None:
        self._filters, self._likeness = filters, likeness

    def __call__(self, row: Instance, one: Reviewed, before: Instance) -> Instance | Reject:
        """The verdict on a row that was `before`, with what people said of it."""
        kept, found = objections(row, self._filters, confirmed(one))
        reject = found[0] if found else None
        if reject is None and self._likeness is not None:
            reject = self._likeness.reject(kept, before, one)
        if reject is None:
            return kept
        return Reject(METHOD, reject.reason, row.instruction, f"row {one.key}: {reject.detail}")


def is_new_text(row: Instance, before: Instance, one: Reviewed, novelty: Novelty) -> bool:
    """True where the text that is compared is another than the one that was compared before."""
    was_compared = one.kind == "row" or one.original.get("reason") in EMBEDDED
    return not was_compared or text_of(row, novelty) != text_of(before, novelty)


def encoder_of(recipe: Recipe, workspace: Path) -> Encode:
    """Texts to unit vectors by the recipe's encoder; words that are compared as words need none."""
    if recipe.novelty.measure != "cosine":
        return _no_vectors
    spec = load_catalog(workspace).get(recipe.models.encoder)
    encoder: Encoder = LocalEncoder(checked(spec))
    return lambda texts: encode_in_blocks(encoder, texts, lambda _: None)


class Likeness:
    """Likeness of rows that people wrote to the seeds and rows of their run, one after another."""

    def __init__(
        self,
        recipe: Recipe,
        run: Run,
        workspace: Path,
        decided: Mapping[str, Reviewed],
        progress: Progress,
        encoder: Callable[[Recipe, Path], Encode] = encoder_of,
    ) -> None:
        self._recipe, self._run, self._workspace = recipe, run, workspace
        self._decided, self._progress, self._encoder = decided, progress, encoder
        self.problem: LocalInstructError | None = None
        """Why nothing can be compared."""

    def reject(self, row: Instance, before: Instance, one: Reviewed) -> Reject | None:
        """The reject of a row that is like another one; None for one that is new."""
        if not is_new_text(row, before, one, self._recipe.novelty):
            return None
        compared = self.compared(row, name=0)
        reject = compared.reject if compared else None
        return None if reject is None or reject.reason in one.review.despite else reject

    def compared(self, row: Instance, name: int = NAMED) -> Compared | None:
        """The nearest rows and the reject of one that is like them; None without the encoder.

        The rows that come after it are compared with it too, if it is new.
        """
        if self._against is None:
            return None
        gate, index = self._against
        text = text_of(row, self._recipe.novelty)
        vectors = self._encode([text])
        near = list[Neighbour]()
        if name and len(index):
            found = index.similarities(vectors, [text])[0]
            near = [
                Neighbour(*index.label(int(n)), round(float(found[n]), 4))
                for n in nearest(found, name)
            ]
        [verdict] = gate.admit([row], vectors)
        return Compared(near, verdict if isinstance(verdict, Reject) else None)

    @cached_property
    def _encode(self) -> Encode:
        return self._encoder(self._recipe, self._workspace)

    @cached_property
    def _against(self) -> tuple[Gate, Index] | None:
        """A gate that knows the seeds and the rows that stay as they are; None without encoder."""
        try:
            return self._made()
        except LocalInstructError as problem:
            self.problem = problem
            self._progress.say(
                f"Rows that people wrote are not compared with the others: {problem.message}"
            )
            return None

    def _made(self) -> tuple[Gate, Index]:
        novelty, run = self._recipe.novelty, self._run
        self._progress.update("comparing the rows that people wrote", 0, 0)
        seeds = self._seeds(novelty)
        texts = [text_of(seed, novelty) for seed in seeds]
        vectors = self._encode(texts or ["a text"])
        stays = [place for place, id in enumerate(run.kept_ids()) if self._stays(id)]
        kept, known = [run.kept_row(place) for place in stays], run.vectors({*stays})
        if novelty.measure != "cosine":
            known = _no_vectors([""] * len(kept))
        elif len(known) and known.shape[1] != vectors.shape[1]:
            name = self._recipe.models.encoder
            raise ModelError(f"{name} is not the encoder that the run was made with.")
        index = index_for(novelty, vectors.shape[1])
        if seeds:
            labels = [(seed.id, text) for seed, text in zip(seeds, texts, strict=True)]
            index.add(vectors, labels)
        gate = Gate(novelty, index, seeds)
        gate.remember(kept, known)
        return gate, index

    def _stays(self, id: str) -> bool:
        """True for a kept row that people left as it is."""
        one = self._decided.get(id)
        return one is None or not (one.review.edited or one.review.verdict == "drop")

    def _seeds(self, novelty: Novelty) -> list[Instance]:
        """Seed tasks that rows are compared with; none where they are not here any more."""
        recipe, place = self._recipe, self._workspace / self._recipe.seeds
        if novelty.against == "kept" or recipe.method.name in OVER_DOCUMENTS or not place.exists():
            return []
        return list(Reader(place, recipe.seed_reading))


def _no_vectors(texts: Sequence[str]) -> "np.ndarray":
    import numpy as np

    return np.zeros((len(texts), 1), dtype=np.float32)


def _without(filters: Filters, reason: str) -> Filters:
    """The rules less the one that gives this reason."""
    if reason == "secrets":
        return filters.model_copy(update={"secrets": "report"})
    if reason == "own filter":
        return filters.model_copy(update={"own": None})
    return filters.model_copy(update={"disable": [*filters.disable, reason.replace(" ", "_")]})
