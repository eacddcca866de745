"""Novelty: a candidate is kept when no seed and no kept row is too similar to it.

Similarity is the cosine of embeddings. Alpaca and Self-Instruct ask ROUGE-L (longest common
subsequence of words) against the whole pool, one candidate at a time; cosine sees rewordings, and
one matrix product compares a whole list with everything. The search is exact: no approximate index,
no clustering. The decision is greedy and in order: a candidate is compared with all seeds, all kept
rows, and those kept just before it in the same episode. Alpaca's own measure is there for
comparability.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from localinstruct.config import Section
from localinstruct.curate.index import Index, RougeIndex
from localinstruct.curate.rouge import ascii_words, words
from localinstruct.records import Instance, Kept, Neighbour, Reject

if TYPE_CHECKING:
    import numpy as np


STRETCH = 1024
"""Similarities whose largest is looked at first."""


class Novelty(Section):
    """Similarity up to which a row counts as new."""

    NEW = frozenset({"words"})
    measure: Literal["cosine", "rouge_l"] = "cosine"
    """Cosine of embeddings, or ROUGE-L of words as Alpaca asks it (its threshold is 0.7)."""
    words: Literal["unicode", "ascii"] = "unicode"
    """Words of rouge_l: of any script (Chinese, Thai and the like by character), or ASCII letters
    and digits only, as Alpaca and Self-Instruct take them."""
    threshold: float = Field(0.85, gt=0, le=1)
    """Reject above this similarity to the nearest row (the threshold itself passes).

    `show RUN --borderline` lists the pairs on both sides of it.
    """
    text: Literal["instruction", "instruction+input"] = "instruction"
    """Text that is embedded. Alpaca compares instructions only."""
    against: Literal["all", "seeds", "kept"] = "all"
    """Rows compared with: seeds and kept rows, seeds only, or kept rows only.

    Seeds only is what BELLE advises for very large sets; kept rows only is for methods whose rows
    are the seeds, improved or answered.
    """
    examples_apart: bool = False
    """Take rows of one episode with one instruction as examples of one task.

    They are not compared with each other, only with everything else (Self-Instruct, whose novelty
    is about instructions).
    """
    remember: int = Field(10, ge=1)
    """Nearest rows stored with each kept row."""

    @model_validator(mode="before")
    @classmethod
    def _words_where_compared(cls, data: Any) -> Any:
        """Forget `words` under another measure: they have no say, so they change no run."""
        if not isinstance(data, dict) or data.get("measure") == "rouge_l":
            return data
        return {key: value for key, value in data.items() if key != "words"}

    @property
    def called(self) -> str:
        """The measure's name for people."""
        return {"cosine": "cosine", "rouge_l": "ROUGE-L"}[self.measure]


def text_of(instance: Instance, novelty: Novelty) -> str:
    """The text that stands for an instance when it is compared."""
    if novelty.text == "instruction" or not instance.input:
        return instance.instruction
    return f"{instance.instruction}\n{instance.input}"


INDEXES: dict[str, type[Index]] = {"cosine": Index, "rouge_l": RougeIndex}
"""novelty.measure -> index that compares by it."""
CUTS = {"unicode": words, "ascii": ascii_words}
"""novelty.words -> function from a text to its words."""


def index_for(novelty: Novelty, dimensions: int) -> Index:
    """An empty index that compares as the section says."""
    if novelty.measure == "rouge_l":
        return RougeIndex(dimensions, cut=CUTS[novelty.words])
    return INDEXES[novelty.measure](dimensions)


def nearest(similarities: "np.ndarray", count: int) -> "np.ndarray":
    """Indices of the `count` largest of (n,), largest first; equal values keep their order.

    In a long array they lie in the `count` stretches with the largest maxima, and only these are
    looked through: 1 ms of a million, in place of 12.
    """
    import numpy as np

    stretches = len(similarities) // STRETCH
    if stretches <= 4 * count:
        return _largest(similarities, count)
    maxima = similarities[: stretches * STRETCH].reshape(stretches, STRETCH).max(axis=1)
    starts = np.sort(_largest(maxima, count)) * STRETCH
    inside = (starts[:, None] + np.arange(STRETCH)).ravel()
    places = np.concatenate([inside, np.arange(stretches * STRETCH, len(similarities))])
    chosen: np.ndarray = places[_largest(similarities[places], count)]
    return chosen


def _largest(values: "np.ndarray", count: int) -> "np.ndarray":
    import numpy as np

    count = min(count, len(values))
    if count == 0:
        return np.zeros(0, dtype=np.int64)
    top = np.argpartition(-values, count - 1)[:count]
    if count < len(values):  # of values equal to the last, those that come first
        last = values[top].min()
        above = np.flatnonzero(values > last)
        top = np.concatenate([above, np.flatnonzero(values == last)[: count - len(above)]])
    return top[np.lexsort((top, -values[top]))]


class Gate:
    """Decides in order which candidates are new, and remembers those it let through.

    The index begins with the seeds that are compared with, and takes in kept rows unless
    `novelty.against` is "seeds". An exact repetition of any of these, or of a kept row, is refused
    in every case.
    """

    def __init__(self, novelty: Novelty, index: Index, seeds: Sequence[Instance]) -> None:
        self._novelty = novelty
        self._index = index
        self._seen = {_question(seed) for seed in seeds}

    def remember(
        self,
        instances: Sequence[Instance],
        vectors: "np.ndarray",
        ids: Sequence[str] | None = None,
    ) -> None:
        """Take rows kept earlier into account: n instances with their (n, d) vectors.

        `ids` are theirs where they are known: calculating a million takes several seconds.
        """
        self._seen.update(_question(instance) for instance in instances)
        if self._novelty.against != "seeds" and len(instances):
            ids = [instance.id for instance in instances] if ids is None else ids
            texts = [text_of(instance, self._novelty) for instance in instances]
            self._index.add(vectors, list(zip(ids, texts, strict=True)))

    def admit(self, instances: Sequence[Instance], vectors: "np.ndarray") -> list[Kept | Reject]:
        """The kept row for each of m candidates with (m, d) vectors, or a reject.

        The reject names the candidate's nearest neighbour.
        """
        import numpy as np

        texts = [text_of(instance, self._novelty) for instance in instances]
        known, before = len(self._index), self._index.similarities(vectors, texts)  # (m, known)
        verdicts: list[Kept | Reject] = []
        tasks: list[str] = []  # instructions of the rows after `known`
        for instance, vector, text, old in zip(instances, vectors, texts, before, strict=True):
            just_kept = self._index.similarities(vector[None], [text], known)[0]
            if self._novelty.examples_apart:
                siblings = [task == instance.instruction for task in tasks[: len(just_kept)]]
                just_kept = np.where(siblings, 0.0, just_kept)
            verdict = self._judge(instance, vector, np.concatenate([old, just_kept]))
            if isinstance(verdict, Kept):
                self.remember([instance], vector[None])
                tasks.append(instance.instruction)
            verdicts.append(verdict)
        return verdicts

    def _judge(
        self, instance: Instance, vector: "np.ndarray", similarities: "np.ndarray"
    ) -> Kept | Reject:
        """The verdict on one candidate: (d,) vector, (n,) similarities to every row."""
        text = text_of(instance, self._novelty)
        if _question(instance) in self._seen:
            detail = "the same instruction and input are there already"
            return Reject("novelty", "exact repetition", text, detail, 1.0)
        neighbours = tuple(
            Neighbour(*self._index.label(int(row)), round(float(similarities[row]), 4))
            for row in nearest(similarities, self._novelty.remember)
        )
        top = neighbours[0] if neighbours else Neighbour("", "", 0.0)
        if neighbours and float(similarities.max()) > self._novelty.threshold:
            return Reject("novelty", "too similar", text, top.text, top.score)
        mean = round(float(similarities.mean()), 4) if neighbours else 0.0
        row = instance.with_scores(novelty_max=top.score, novelty_mean=mean)
        return Kept(row, neighbours, vector)


def _question(instance: Instance) -> tuple[object, ...]:
    """Earlier turns, instruction and input: equal for two rows that ask the same."""
    return (*instance.history, instance.instruction, instance.input)
