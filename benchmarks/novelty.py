"""Section c: what it costs to ask whether one candidate is new, against 1,000, 10,000 and 50,000
rows.

Ours is two costs: embedding the candidate, which does not grow, and the exact matrix product with
its ten nearest (`Gate.admit`). Against it ROUGE-L as Alpaca asks it, in one process and in two (a
pool started per candidate), and ROUGE-L in its fastest plain form, so that one sees what is owed to
the measure and what to its code. Texts are instructions of the file that LOCALINSTRUCT_BENCH_DATA
names, else tasks of the nano grammar. The vectors of the rows are random, because a product takes
the same time for any; the candidate's own is embedded.
"""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from benchmarks.rouge import lcs_bits, scores, scores_in_pool
from benchmarks.setting import Setting, note
from localinstruct.curate.embeddings import LocalEncoder
from localinstruct.curate.novelty import Gate, Index, Novelty
from localinstruct.curate.rouge import words
from localinstruct.formats import read_instances
from localinstruct.nano.grammar import make_task
from localinstruct.records import Instance

if TYPE_CHECKING:
    import numpy as np

SIZES, QUICK_SIZES = (1_000, 10_000, 50_000), (1_000, 10_000)
CANDIDATES = 32
"""Candidates that are embedded and searched; ROUGE-L, which is slower, is asked for as many as fit
into SECONDS."""
SECONDS, QUICK_SECONDS = 8.0, 3.0
LIST = 17
"""Rows that one completion of Alpaca's list brings: the batch in which the scheduler embeds."""
DATA = "LOCALINSTRUCT_BENCH_DATA"

OURS, EMBED, EMBED_LIST = (
    "matrix product",
    "embedding, one at a time",
    f"embedding, in lists of {LIST}",
)
ROUGE, ROUGE_POOL, ROUGE_BITS = (
    "ROUGE-L, 1 process",
    "ROUGE-L, 2 processes",
    "ROUGE-L, bit-parallel",
)


def measure(setting: Setting) -> dict[str, Any]:
    """Milliseconds per candidate for every size and way, as plain JSON values."""
    sizes = QUICK_SIZES if setting.quick else SIZES
    pool, source = texts(max(sizes) + CANDIDATES)
    candidates, pool = pool[:CANDIDATES], pool[CANDIDATES:]
    encoder = LocalEncoder(setting.encoder)
    vectors = encoder.encode(candidates)
    embedding = _embedding(encoder, candidates)
    note(
        f"c: embedding {embedding[EMBED]:.1f} ms for one, {embedding[EMBED_LIST]:.1f} ms each in "
        f"lists of {LIST}"
    )
    rows = []
    for size in sizes:
        costs = {
            OURS: _search(pool[:size], candidates, vectors, setting.recipe.novelty),
            **_rouge(pool[:size], candidates, setting.quick),
        }
        rows.append({"rows": size, **costs})
        note(
            f"c: {size:,} rows: "
            + "; ".join(f"{name} {cost:,.2f} ms" for name, cost in costs.items())
        )
    lengths = [len(words(text)) for text in pool]
    return {
        "texts": source,
        "mean_words": round(statistics.mean(lengths), 1),
        "embedding_ms": embedding,
        "rows": rows,
    }


def texts(count: int) -> tuple[list[str], str]:
    """`count` instructions in random order, repeated where the file is shorter, and what they
    are."""
    path, rng = os.environ.get(DATA), Random(0)
    if not path:
        return [_with_input(make_task(rng)) for _ in range(count)], "tasks of the nano grammar"
    found = [row.instruction for row in read_instances(Path(path))]
    rng.shuffle(found)
    return [found[i % len(found)] for i in range(count)], f"{len(found):,} instructions of a file"


def _with_input(task: Any) -> str:
    return f"{task.instruction}\n{task.input}" if task.input else str(task.instruction)


def _embedding(encoder: LocalEncoder, candidates: Sequence[str]) -> dict[str, float]:
    """Milliseconds per candidate, alone and in lists."""
    alone = [_milliseconds(encoder.encode, [text]) for text in candidates]
    lists = [_milliseconds(encoder.encode, candidates[:LIST]) / LIST for _ in range(5)]
    return {
        EMBED: round(statistics.median(alone), 3),
        EMBED_LIST: round(statistics.median(lists), 3),
    }


def _search(
    pool: Sequence[str], candidates: Sequence[str], vectors: "np.ndarray", novelty: Novelty
) -> float:
    """Median milliseconds of `Gate.admit` for one candidate."""
    import numpy as np

    rows = np.random.default_rng(0).standard_normal((len(pool), vectors.shape[1]), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    index = Index(vectors.shape[1])
    index.add(rows, [(str(i), text) for i, text in enumerate(pool)])
    gate = Gate(novelty, index, [])
    asked = [Instance(text, output=str(i)) for i, text in enumerate(candidates)]
    costs = [
        _milliseconds(gate.admit, [row], vector[None])
        for row, vector in zip(asked, vectors, strict=True)
    ]
    return round(statistics.median(costs), 4)


def _rouge(pool: Sequence[str], candidates: Sequence[str], quick: bool) -> dict[str, float]:
    """Mean milliseconds per candidate of each way to ask ROUGE-L; the mean, because texts differ in
    length."""
    known = [words(text) for text in pool]
    asked = [words(text) for text in candidates]
    ways: dict[str, Callable[[list[str]], object]] = {
        ROUGE: lambda text: scores(text, known),
        ROUGE_POOL: lambda text: scores_in_pool(text, known, 2),
        ROUGE_BITS: lambda text: scores(text, known, lcs_bits),
    }
    return {
        name: _mean(way, asked, QUICK_SECONDS if quick else SECONDS) for name, way in ways.items()
    }


def _mean(way: Callable[[list[str]], object], asked: Sequence[list[str]], seconds: float) -> float:
    """Mean milliseconds over at least three candidates, and as many more as the time allows."""
    costs: list[float] = []
    for text in asked:
        if len(costs) >= 3 and sum(costs) > 1000 * seconds:
            break
        costs.append(_milliseconds(way, text))
    return round(statistics.mean(costs), 3)


def _milliseconds(action: Callable[..., object], *arguments: object) -> float:
    began = time.perf_counter()
    action(*arguments)
    return 1000 * (time.perf_counter() - began)
