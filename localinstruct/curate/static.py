"""A static encoder: a vector for each token, distilled from a sentence encoder on this machine.

model2vec asks the encoder about each of its tokens once; a text is then the mean of its tokens'
vectors, a hundred times as fast and much rougher. So it only proposes: of each row its nearest
ones, as far down as a sample shows near-duplicates to lie, and the encoder itself decides those.

Tokens weigh a / (a + p), with p their share of the rows at hand (Arora et al. 2017): model2vec
takes its weights from the order of the vocabulary, which ranks fewer near-duplicates among a row's
nearest (benchmarks/README.md, "Many rows").
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.curate.neighbours import COLUMNS, Borderline, Pairs
from localinstruct.curate.sight import Sight
from localinstruct.errors import UsageError
from localinstruct.progress import Progress
from localinstruct.records import digest
from localinstruct.store.durable import cache_file, rename_synced, sha256, sync_tree

if TYPE_CHECKING:
    import numpy as np
    from model2vec import StaticModel

DIMENSIONS = 256
WEIGHED = 50_000
"""Rows whose tokens are counted."""
RARE = 1e-3
"""Share of the tokens at which one has half the weight of a rare one: Arora's a."""
SAMPLE = 2000
"""Rows whose nearest other row is looked up, to see how near near-duplicates are."""
MISSED = 0.01
"""Share of the sample's near-duplicates that may lie lower than what is proposed."""
FEW = 20
"""Near-duplicates in the sample below which they tell nothing."""
QUARTER = 0.25
"""Share of the rows, the nearest ones, that is proposed then."""
MOST = 4
"""Nearest rows of each that are proposed, of those kept before its block and of its block."""


class StaticEncoder:
    """The static form of a sentence encoder, its tokens weighed for these rows.

    Distilled once, in about half a minute, and kept in the user's cache under the digest of the
    encoder's files. UsageError where model2vec is not installed.
    """

    def __init__(self, encoder: Path, texts: Sequence[str], progress: Progress) -> None:
        import numpy as np

        require_model2vec()
        self._model = _distilled(encoder, progress)
        self._sight = Sight(encoder)
        self.unseen = 0
        """Texts so far that the encoder cannot see."""
        step = max(1, len(texts) // WEIGHED)
        counts = np.zeros(len(self._model.embedding))
        for start in range(0, len(texts), step * COLUMNS):
            numbers = range(start, min(start + step * COLUMNS, len(texts)), step)
            for ids in self._model.tokenize([texts[number] for number in numbers]):
                np.add.at(counts, ids, 1)
        weights = RARE / (RARE + counts / max(1, counts.sum()))
        self._model.embedding = (self._model.embedding * weights[:, None]).astype(np.float32)

    def encode(self, texts: Sequence[str]) -> "np.ndarray":
        """(n, 256) float32, rows of unit length, of zeros for texts that cannot be seen."""
        import numpy as np

        texts = list(texts)
        hidden = np.array(self._sight.unseen(texts), dtype=bool)
        self.unseen += int(hidden.sum())
        rows = self._model.encode(texts, use_multiprocessing=False).astype(np.float32, copy=False)
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        rows[hidden] = 0
        return rows


def require_model2vec() -> None:
    """UsageError where model2vec, or what it distils with, is not installed."""
    missing = [name for name in ("model2vec", "skeletoken") if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"a static encoder is distilled with {' and '.join(missing)}: not installed.",
            "pip install 'localinstruct[static]'",
        )


def _distilled(encoder: Path, progress: Progress) -> "StaticModel":
    """The static form of an encoder without weights, from the cache where it lies there."""
    import model2vec
    from model2vec import StaticModel
    from model2vec.distill import distill

    files = sorted(path for path in encoder.rglob("*.*") if path.is_file())
    made_of = [[str(path.relative_to(encoder)), sha256(path)] for path in files]
    key = digest([model2vec.__version__, DIMENSIONS, made_of])[:32]
    place = cache_file().with_name(f"static-{key}")
    if place.is_dir():
        return StaticModel.from_pretrained(str(place))
    progress.say("distilling a static encoder: half a minute, once for this encoder")
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):  # bars of two libraries
        model = distill(str(encoder.resolve()), pca_dims=DIMENSIONS, sif_coefficient=None)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=".static-") as folder:
            model.save_pretrained(f"{folder}/model")
            sync_tree(Path(folder, "model"))
            rename_synced(Path(folder, "model"), place)
    except OSError:  # a cache that cannot be written, or that another process made, costs time
        pass
    return model


def proposed(
    vectors: "np.ndarray",
    threshold: float,
    cosines: Callable[["np.ndarray", "np.ndarray"], "np.ndarray"],
) -> Borderline:
    """Pairs of n rows with (n, d) static vectors that `cosines` of the encoder is to decide.

    Down to where MISSED of a sample's near-duplicates lie lower; where the sample has few, the
    quarter of the rows that is nearest to another.
    """
    import numpy as np

    rows, others, near = _nearest(vectors)
    alike = near[cosines(rows, others) > threshold]
    share, of = (MISSED, alike) if len(alike) >= FEW else (1 - QUARTER, near)
    possible = float(np.quantile(of, share)) if len(of) else 1.0
    return Borderline(possible - 1e-6, 2.0, cosines, MOST)


def _nearest(vectors: "np.ndarray") -> Pairs:
    """Rows drawn evenly, each with the row most like it."""
    import numpy as np

    count = len(vectors)
    rows = np.unique(np.linspace(0, count - 1, min(SAMPLE, count)).astype(np.int64))
    asked = np.ascontiguousarray(vectors[rows])
    others, best = np.zeros(len(rows), np.int64), np.full(len(rows), -1, np.float32)
    for start in range(0, count, COLUMNS):
        cosines = asked @ vectors[start : start + COLUMNS].T
        own = np.flatnonzero((rows >= start) & (rows < start + COLUMNS))
        cosines[own, rows[own] - start] = -1
        top = cosines.argmax(axis=1)
        value = cosines[np.arange(len(rows)), top]
        nearer = value > best
        best[nearer], others[nearer] = value[nearer], start + top[nearer]
    real = others != rows
    return Pairs(rows[real], others[real], best[real])
