"""Sentence embeddings from a local encoder, as unit rows.

The embedded default is all-MiniLM-L6-v2 (Reimers and Gurevych 2019, arXiv 1908.10084), 384 numbers
per text. Loaded from an absolute local path, so that the library finds no name to ask the Hub
about.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from localinstruct.curate.sight import Sight
from localinstruct.machine import cpu_count, cpu_has_bf16

if TYPE_CHECKING:
    import numpy as np


BATCH_TOKENS = 1024
"""Tokens of a batch on a CPU, padding included: more fall out of its cache."""
GPU_BATCH = 128
TOGETHER = 2048
"""Texts that are put into batches together: others beside a text move its last bits, in bfloat16 up
to 0.002, so that who divides many texts among machines divides them here."""
BF16_MOVES = 0.006
"""By how much a bf16 cosine may differ from its float32 one."""


class Encoder(Protocol):
    """Anything that turns texts into unit vectors."""

    def encode(self, texts: Sequence[str]) -> "np.ndarray":
        """(n, d) float32, rows of unit length, in the order of `texts`."""


class LocalEncoder:
    """A sentence-transformers model from a directory, in float32, or bfloat16 on a CPU made for it.

    On a CPU with bf16 units it is twice as fast, which is what lets a teacher on the same cores
    keep its speed; cosines move by at most 0.005, and by 0.002 above 0.8 (512 texts); `exact`
    keeps float32. On a CPU, texts go in batches of equal length, so that little is padded; beside
    a teacher one core is left to it.

    A text that it cannot see (`sight`) has a row of zeros, which is like nothing; `apart` false
    gives it the vector that it shares with others, as release 0.1.0 did.
    """

    def __init__(
        self,
        directory: Path,
        device: str | None = None,
        *,
        exact: bool = False,
        beside_teacher: bool = False,
        apart: bool = True,
    ) -> None:
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()
        path = str(directory.resolve())
        self._model = SentenceTransformer(path, device=device, local_files_only=True)
        self._sight = Sight(directory) if apart else None
        self.unseen = 0
        """Texts so far that it cannot see."""
        self._on_cpu = self._model.device.type == "cpu"
        self.is_exact = exact or not self._on_cpu or not cpu_has_bf16()
        if self._on_cpu:
            torch.set_num_threads(max(1, cpu_count() - beside_teacher))
            self._model.to(torch.float32 if self.is_exact else torch.bfloat16)

    def encode(self, texts: Sequence[str]) -> "np.ndarray":
        """(n, d) float32, rows of unit length, of zeros for texts that it cannot see."""
        import numpy as np

        texts = list(texts)
        if len(texts) > TOGETHER:
            starts = range(0, len(texts), TOGETHER)
            return np.concatenate([self.encode(texts[n : n + TOGETHER]) for n in starts])
        hidden = self._sight.unseen(texts) if self._sight else [False] * len(texts)
        self.unseen += sum(hidden)
        rows = self._encoded(texts)
        rows[np.array(hidden, dtype=bool)] = 0
        return rows

    def _encoded(self, texts: list[str]) -> "np.ndarray":
        import numpy as np

        if not self._on_cpu:
            return _unit(self._vectors(texts, GPU_BATCH))
        parts = batches(self._lengths(texts), BATCH_TOKENS)
        groups = [self._vectors([texts[i] for i in part], len(part)) for part in parts]
        rows = np.concatenate(groups) if groups else np.zeros((0, 0), dtype=np.float32)
        return _unit(rows[np.argsort(np.concatenate(parts))] if parts else rows)

    def _vectors(self, texts: list[str], batch: int) -> "np.ndarray":
        rows = self._model.encode(
            texts, batch_size=batch, show_progress_bar=False, convert_to_numpy=True
        )
        return rows.astype("float32", copy=False)  # (n, d)

    def _lengths(self, texts: list[str]) -> list[int]:
        """Tokens of each text, as far as the model reads it."""
        tokenizer, most = self._model.tokenizer, self._model.max_seq_length
        if not callable(tokenizer) or not texts:  # a static encoder pads nothing
            return [1] * len(texts)
        read = tokenizer(texts, truncation=most is not None, max_length=most)
        return [len(ids) for ids in read["input_ids"]]


def _unit(rows: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Numbers of the texts, shortest first, in batches that hold `budget` tokens with padding.

    A longer text has a batch of its own.
    """
    parts, longest = list[list[int]](), 0
    for number in sorted(range(len(lengths)), key=lengths.__getitem__):
        longest = max(lengths[number], 1)
        if not parts or longest * (len(parts[-1]) + 1) > budget:
            parts.append([])
        parts[-1].append(number)
    return parts


class ExactCosines:
    """Cosines of pairs of rows by another encoder, which encodes each text it needs once.

    `encoder` is made when the first pair is asked for.
    """

    def __init__(self, make: Callable[[], Encoder], texts: Sequence[str]) -> None:
        self._make, self._texts = make, texts
        self._encoder: Encoder | None = None
        self._place = dict[int, int]()
        self._known: np.ndarray | None = None  # unit rows in the order of _place, and room for more

    @property
    def encoded(self) -> int:
        """Rows encoded so far."""
        return len(self._place)

    def __call__(self, rows: "np.ndarray", others: "np.ndarray") -> "np.ndarray":
        """(k,) float32 cosines of k pairs of row numbers."""
        import numpy as np

        if not len(rows):
            return np.zeros(0, dtype=np.float32)
        new = [n for n in np.unique(np.r_[rows, others]).tolist() if n not in self._place]
        if new:
            self._encoder = self._encoder or self._make()
            vectors = self._encoder.encode([self._texts[n] for n in new])
            first, end = len(self._place), len(self._place) + len(new)
            self._place.update((n, first + i) for i, n in enumerate(new))
            if self._known is None or end > len(self._known):
                larger = np.empty((end + end // 4, vectors.shape[1]), dtype=np.float32)
                larger[:first] = 0 if self._known is None else self._known[:first]
                self._known = larger
            self._known[first:end] = vectors
        assert self._known is not None
        sides = [self._known[[self._place[n] for n in side.tolist()]] for side in (rows, others)]
        cosines: np.ndarray = np.einsum("ij,ij->i", *sides)
        return cosines


class SettledCosines:
    """Cosines of pairs of rows by an encoder, near the threshold by its float32.

    `make()` makes it, and `make(exact=True)` that of float32.
    """

    def __init__(
        self, make: Callable[..., Encoder], texts: Sequence[str], threshold: float
    ) -> None:
        self._threshold = threshold
        self._first = ExactCosines(make, texts)
        self._exact = ExactCosines(lambda: make(exact=True), texts)

    @property
    def encoded(self) -> int:
        """Rows encoded so far."""
        return self._first.encoded

    def __call__(self, rows: "np.ndarray", others: "np.ndarray") -> "np.ndarray":
        """(k,) float32 cosines of k pairs of row numbers."""
        import numpy as np

        cosines = self._first(rows, others)
        if cpu_has_bf16():
            near = np.flatnonzero(np.abs(cosines - self._threshold) <= BF16_MOVES)
            cosines[near] = self._exact(rows[near], others[near])
        return cosines


def encode_in_blocks(
    encoder: Encoder, texts: Sequence[str], on_block: Callable[[int], None], block: int = 256
) -> "np.ndarray":
    """Encode many texts: (n, d) float32; `on_block(texts so far)` is called after each block."""
    import numpy as np

    parts = []
    for start in range(0, len(texts), block):
        parts.append(encoder.encode(texts[start : start + block]))
        on_block(min(start + block, len(texts)))
    return np.concatenate(parts) if parts else np.zeros((0, 0), dtype=np.float32)
