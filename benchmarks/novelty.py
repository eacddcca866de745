"""Section c: cost of asking whether a candidate is new among 1,000, 10,000, 50,000 rows.

Ours is two costs: embedding the candidate, which does not grow, and the exact matrix product with
its ten nearest (`Gate.admit`). Beside it ROUGE-L as Alpaca asks it, in one process and in two (a
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
from typing import TYPE_CHECKING

from benchmarks.rouge import lcs_bits, scores, scores_in_pool
from benchmarks.setting import Setting, note
from localinstruct.curate.embeddings import LocalEncoder
from localinstruct.curate.index import Index
from localinstruct.curate.novelty import Gate, Novelty
from localinstruct.curate.rouge import ascii_words as words
from localinstruct.formats import read_instances
from localinstruct.nano.grammar import Task, make_task
from localinstruct.records import Instance, JsonObject

if TYPE_CHECKING:
    import numpy as np

SIZES, QUICK_SIZES = (1_000, 10_000, 50_000), (1_000, 10_000)
CANDIDATES = 32
"""Candidates that are embedded and searched; ROUGE-L gets as many as fit into SECONDS."""
SECONDS, QUICK_SECONDS = 8.0, 3.0
LIST = 17
"""Rows that one completion of Alpaca's list brings: the batch in which the scheduler embeds."""
DATA = "LOCALINSTRUCT_BENCH_DATA"
"""Environment variable that names a file of rows."""

OURS = "matrix product"
EMBED, EMBED_LIST = "embedding, one at a time", f"embedding, in lists of {LIST}"
ROUGE, ROUGE_POOL = "ROUGE-L, 1 process", "ROUGE-L, 2 processes"
ROUGE_BITS = "ROUGE-L, bit-parallel"


def measure(setting: Setting) -> JsonObject:
    """Milliseconds per candidate for every size and way, as plain JSON values."""
    sizes = QUICK_SIZES if setting.quick else SIZES
    pool, source = texts(max(sizes) + CANDIDATES)
    candidates, pool = pool[:CANDIDATES], pool[CANDIDATES:]
    encoder = LocalEncoder(setting.encoder)
    vectors = encoder.encode(candidates)
    embedding = _embedding(encoder, candidates)
    alone, in_lists = embedding[EMBED], embedding[EMBED_LIST]
    note(f"c: embedding {alone:.1f} ms for one, {in_lists:.1f} ms each in lists of {LIST}")
    rows: list[JsonObject] = []
    for size in sizes:
        search = _search(pool[:size], candidates, vectors, setting.recipe.novelty)
        costs = {OURS: search, **_rouge(pool[:size], candidates, setting.quick)}
        rows.append({"rows": size, **costs})
        note(f"c: {size:,} rows: {'; '.join(f'{way} {ms:,.2f} ms' for way, ms in costs.items())}")
    lengths = [len(words(text)) for text in pool]
    return {
        "texts": source,
        "mean_words": round(statistics.mean(lengths), 1),
        "embedding_ms": embedding,
        "rows": rows,
    }


def texts(count: int) -> tuple[list[str], str]:
    """`count` instructions in random order, repeated where the file is shorter; their source."""
    path, rng = os.environ.get(DATA), Random(0)
    if not path:
        return [_with_input(make_task(rng)) for _ in range(count)], "tasks of the nano grammar"
    lines = [row.instruction for row in read_instances(Path(path))]
    rng.shuffle(lines)
    return [lines[i % len(lines)] for i in range(count)], f"{len(lines):,} instructions of a file"


def _with_input(task: Task) -> str:
    return f"{task.instruction}\n{task.input}" if task.input else task.instruction


def _embedding(encoder: LocalEncoder, candidates: Sequence[str]) -> dict[str, float]:
    """Milliseconds per candidate, alone and in lists."""
    alone = [_milliseconds(encoder.encode, [text]) for text in candidates]
    lists = [_milliseconds(encoder.encode, candidates[:LIST]) / LIST for _ in range(5)]
    medians = {EMBED: statistics.median(alone), EMBED_LIST: statistics.median(lists)}
    return {way: round(median, 3) for way, median in medians.items()}


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
    costs = [
        _milliseconds(gate.admit, [Instance(text, output=str(i))], vector[None])
        for i, (text, vector) in enumerate(zip(candidates, vectors, strict=True))
    ]
    return round(statistics.median(costs), 4)


def _rouge(pool: Sequence[str], candidates: Sequence[str], quick: bool) -> dict[str, float]:
    """Mean milliseconds per candidate of each way to ask ROUGE-L.

    The mean and not the median, because texts differ in length.
    """
    known = [words(text) for text in pool]
    fresh = [words(text) for text in candidates]
    seconds = QUICK_SECONDS if quick else SECONDS
    ways: dict[str, Callable[[list[str]], object]] = {
        ROUGE: lambda text: scores(text, known),
        ROUGE_POOL: lambda text: scores_in_pool(text, known, 2),
        ROUGE_BITS: lambda text: scores(text, known, lcs_bits),
    }
    return {name: _mean(way, fresh, seconds) for name, way in ways.items()}


def _mean(way: Callable[[list[str]], object], texts: Sequence[list[str]], seconds: float) -> float:
    """Mean milliseconds over at least three candidates, and as many more as the time allows."""
    costs: list[float] = []
    for text in texts:
        if len(costs) >= 3 and sum(costs) > 1000 * seconds:
            break
        costs.append(_milliseconds(way, text))
    return round(statistics.mean(costs), 3)


def _milliseconds(action: Callable[..., object], *arguments: object) -> float:
    began = time.perf_counter()
    action(*arguments)
    return 1000 * (time.perf_counter() - began)
