"""A believable finished run, written through the Run API with a clock of its own: what the report
tests look at.

`make(path)` writes everything; `make(path, upto="generate")` stops after that stage. Rows come from
a small grammar, a fixed seed and no model, so every number in it is known to the tests.
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np

from localinstruct.recipe import Recipe
from localinstruct.records import Completion, Instance, Kept, Lineage, Neighbour, Reject
from localinstruct.store import run as store
from localinstruct.store.checksums import checksum
from localinstruct.store.run import Run, open_run

NOUNS = [
    "harbour",
    "lantern",
    "copper",
    "meadow",
    "violin",
    "ladder",
    "candle",
    "orchard",
    "thunder",
    "ribbon",
    "pepper",
    "anchor",
    "saddle",
    "mirror",
]
STAGES = ("generate", "dataset", "train", "evaluate")
FILTER_REASONS = (
    "instruction too short",
    "asks for a picture",
    "output repeats the input",
    "refusal",
)
START = 1_795_000_000.0


def recipe(**changes: Any) -> Recipe:
    data = {
        "name": "nano",
        "about": "The demo: nano teacher, nano student, a few minutes on two cores.",
        "models": {"teacher": "nano-teacher", "student": "nano-student"},
        "method": {"alpaca": {}},
        "generate": {"target": 450},
        "novelty": {"threshold": 0.85},
    }
    return Recipe.model_validate(data | changes)


def task(rng: Random) -> tuple[str, str, str]:
    """Instruction, input, output of a small family."""
    words = rng.sample(NOUNS, rng.randint(3, 6))
    a, b = rng.randint(2, 99), rng.randint(2, 99)
    return rng.choice(
        [
            ("Sort these words in alphabetical order.", ", ".join(words), ", ".join(sorted(words))),
            (f"How many letters does the word {words[0]} have?", "", str(len(words[0]))),
            (f"What is {a} plus {b}?", "", str(a + b)),
            ("Write the text in capital letters.", " ".join(words), " ".join(words).upper()),
            (
                f"Write down every word that is longer than {rng.randint(5, 6)} letters.",
                ", ".join(words),
                words[0],
            ),
            (
                f"Put the word {words[0]} in the middle of a short sentence about a {words[1]}.",
                "",
                f"The {words[1]} stood beside the {words[0]} until evening.",
            ),
            (f"Which of these comes last in the list: {', '.join(words)}?", "", words[-1]),
        ]
    )


@contextmanager
def ticking(moment: float = START) -> Iterator[SimpleNamespace]:
    """Give the store a clock that the caller moves: `clock.now`."""
    clock = SimpleNamespace(now=moment)
    real, store.time = store.time, SimpleNamespace(time=lambda: clock.now)  # type: ignore[assignment]
    try:
        yield clock
    finally:
        store.time = real


def make(path: Path, upto: str = "evaluate") -> Recipe:
    """Write the run at `path` and return its recipe."""
    with ticking() as clock, open_run(path) as run:
        for name in STAGES[: STAGES.index(upto) + 1]:
            run.start_stage(name, "inputs")
            WRITERS[name](run, clock)
            run.finish_stage(name, RESULTS[name])
            clock.now += 2
    return recipe()


def big(path: Path, times: int) -> None:
    """5,200 rows and 5,720 rejects through the API; in the end each of them lies `times` times in
    the store."""
    near, vector = (
        tuple(Neighbour("s", f"seed {k}", 0.3) for k in range(10)),
        np.zeros(384, np.float32),
    )
    with open_run(path) as run:
        run.start_stage("generate", "i")
        for episode in range(26):
            texts = [f"{episode}-{n} " + "word " * (n % 40) for n in range(200)]
            rows = [
                Instance(t, output="yes").with_scores(novelty_max=0.3 + n % 50 / 100)
                for n, t in enumerate(texts)
            ]
            kept = [Kept(row, near, vector) for row in rows]
            rejects = [
                Reject("filter", f"reason {(20 * episode + n) % 91}", text)
                for n, text in enumerate(texts[:20])
            ]
            rejects[0] = Reject("filter", rejects[0].reason, "long " * 60_000)
            rejects += [Reject("novelty", "too similar", text, "seed", 0.9) for text in texts]
            for call in range(40):
                run.record(
                    episode,
                    call,
                    0,
                    {"text": "p" * 3000},
                    "d",
                    [Completion("x" * 4000, "stop", 900)],
                )
            run.commit_episode(episode, kept, rejects, 36_000)
        run._db.create_function("row_sum", -1, lambda *values: checksum(values))
        copies = (
            f"(WITH RECURSIVE t(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM t WHERE k < {times}) "
            f"SELECT k FROM t WHERE k < {times})"
        )
        for table, columns in (
            (
                "kept",
                f"seq + {26 * 200} * k, id || k, episode + 26 * k, instance, most_similar, vector",
            ),
            (
                "rejects",
                f"seq + {26 * 220} * k, episode + 26 * k, stage, reason, text, detail, score",
            ),
            ("episodes", "episode + 26 * k, kept, rejected, tokens, committed"),
        ):
            run._db.execute(
                f"INSERT INTO {table} SELECT {columns}, row_sum({columns}) FROM {table}, {copies}"
            )


def _generate(run: Run, clock: SimpleNamespace) -> None:
    rng, seen = Random(7), set[str]()
    clock.now += 31
    for episode in range(62):
        # stopped for half an hour, then resumed
        clock.now += rng.uniform(0.3, 1.9) + (1840 if episode == 38 else 0)
        text = "\n".join(task(rng)[0] for _ in range(17))
        reason = "length" if episode % 9 == 4 else "stop"
        run.record(
            episode,
            0,
            0,
            {"text": "p"},
            f"d{episode}",
            [Completion(text, reason, rng.randint(380, 720))],
        )
        if episode < 60:
            kept, rejects = _episode(rng, episode, seen)
            clock.now += 0.1
            run.commit_episode(episode, kept, rejects, 500)


def _episode(rng: Random, episode: int, seen: set[str]) -> tuple[list[Kept], list[Reject]]:
    kept, rejects = {}, []
    for _ in range(17):
        instruction, given, output = task(rng)
        near, cosine = task(rng)[0], 1 - abs(rng.gauss(0, 0.26))
        if rng.random() < 0.05:
            rejects.append(
                Reject(
                    "parse",
                    "truncated",
                    f"{instruction}\nInput: {given[:9]}",
                    "the completion ended here",
                )
            )
        elif rng.random() < 0.12:
            rejects.append(
                Reject("filter", rng.choice(FILTER_REASONS), instruction, "found by rule")
            )
        elif cosine > 0.85:
            rejects.append(Reject("novelty", "too similar", instruction, near, round(cosine, 4)))
        else:
            lineage = Lineage(
                "alpaca", episode, ("5d41402abc4b2a76", "7d793037a0760186"), "e3b0c442"
            )
            row = Instance(
                f"{instruction} ({episode})" if rng.random() < 0.1 else instruction,
                given,
                output,
                lineage=lineage,
            )
            row = row.with_scores(novelty_max=round(cosine, 4), novelty_mean=0.2)
            if row.id not in seen:
                seen.add(row.id)
                kept[row.id] = Kept(
                    row, (Neighbour("s1", near, round(cosine, 4)),), np.ones(8, np.float32)
                )
    return list(kept.values()), rejects


def _train(run: Run, clock: SimpleNamespace) -> None:
    rng = Random(3)
    folder = run.path / "train"
    folder.mkdir()
    lines: list[dict[str, Any]] = []
    for step in range(1, 121):
        loss = 1.5 + 4.1 * math.exp(-step / 28) + rng.gauss(0, 0.09)
        rate = 2e-4 * min(step / 6, 0.5 * (1 + math.cos(math.pi * step / 120)))
        lines.append(
            {
                "step": step,
                "epoch": step / 40,
                "loss": loss,
                "learning_rate": rate,
                "seconds": step * 0.4,
            }
        )
        if step % 20 == 0:
            lines.append({"step": step, "held_out_loss": 1.6 + 3.6 * math.exp(-step / 30)})
    (folder / "metrics.jsonl").write_text(
        "".join(f"{json.dumps(line)}\n" for line in lines) + '{"step": 121, "lo'
    )
    clock.now += 52


def _wait(run: Run, clock: SimpleNamespace) -> None:
    clock.now += 9


WRITERS = {"generate": _generate, "dataset": _wait, "train": _train, "evaluate": _wait}
FAMILIES = {
    "sort words": (0.0, 0.42),
    "count letters": (0.08, 0.83),
    "addition": (0.0, 0.25),
    "capitals": (0.04, 0.96),
    "longest word": (0.04, 0.58),
    "last of a list": (0.13, 0.79),
    "opposites": (0.04, 0.67),
    "days of the week": (0.0, 0.71),
    "first letter": (0.08, 0.5),
    "reverse a list": (0.0, 0.38),
}
SIDE_BY_SIDE = [
    {
        "instruction": "Write the text in capital letters.",
        "input": "copper meadow ladder",
        "expected": "COPPER MEADOW LADDER",
        "base": "copper meadow ladder copper meadow",
        "student": "COPPER MEADOW LADDER",
        "from": "tasks",
        "base_right": False,
        "student_right": True,
        "base_cut": True,
        "student_cut": False,
    },
    {
        "instruction": "What is 47 plus 38?",
        "input": "",
        "expected": "85",
        "base": "The sum of the two",
        "student": "84",
        "from": "tasks",
        "base_right": False,
        "student_right": False,
    },
    {
        "instruction": "Sort these words in alphabetical order.",
        "input": "violin, anchor, pepper",
        "expected": "anchor, pepper, violin",
        "base": "",
        "student": "anchor,  pepper, violin\n",
        "from": "held-out rows",
        "base_right": False,
        "student_right": True,
    },
    {
        "instruction": "Say something kind about the harbour.",
        "input": "",
        "expected": "",
        "base": "harbour",
        "student": "Calm.",
    },
]
RESULTS: dict[str, dict[str, Any]] = {
    "generate": {
        "output_tokens": 34671,
        "seconds": 66.9,
        "tokens_per_second": 518.3,
        "in_flight": 16,
        "stopped": "target reached",
        "checked": {"right": 391, "wrong": 12, "unrecognised": 42},
        "novelty": {"threshold": 0.85, "against": "all"},
        "models": {
            "teacher": {
                "name": "nano-teacher",
                "digest": "4f" * 32,
                "licence": "Apache-2.0",
                "obligations": "",
            },
            "student": {
                "name": "nano-student",
                "digest": "a1" * 32,
                "licence": "Apache-2.0",
                "obligations": "",
            },
            "encoder": {
                "name": "all-minilm-l6-v2",
                "digest": "53" * 32,
                "licence": "Apache-2.0",
                "obligations": "Keep the licence text with the weights.",
            },
        },
        "machine": {
            "cpu": "2 cores",
            "memory_gib": 7.8,
            "gpus": [],
            "versions": {"torch": "2.13.0", "peft": "0.21.2"},
        },
        "versions": {"python": "3.11.2", "torch": "2.13.0", "vllm": "0.32.0", "trl": "1.16.0"},
    },
    "dataset": {
        "by_topic": {"harbours": 300, "gardens": 145},
        "rows": 445,
        "train": 400,
        "held_out": 44,
        "dropped": {"stands in the evaluation tasks": 1},
        "with_input": 219,
        "sha256": {"train.jsonl": "0c" * 32, "held_out.jsonl": "9b" * 32},
    },
    "train": {
        "steps": 120,
        "epochs": 3.0,
        "train_loss": 1.83,
        "held_out_loss": 1.64,
        "seconds": 51.6,
        "tokens": 61200,
        "tokens_per_second": 1186.0,
        "trainable_parameters": 294912,
        "parameters": 3510528,
        "truncated": 0,
        "dropped_too_long": 0,
        "peak_memory_gib": 1.21,
        "device": "cpu",
        "dtype": "float32",
        "adapter_sha256": "77" * 32,
        "student": "nano-student",
    },
    "evaluate": {
        "held_out": {
            "base": {"loss": 5.67, "perplexity": 290.03},
            "student": {"loss": 1.64, "perplexity": 5.16},
            "rows": 44,
            "tokens": 510,
        },
        "tasks": {
            "file": "seeds/nano_tasks.jsonl",
            "count": 240,
            "base": 0.0417,
            "student": 0.6083,
            "gain": 0.5667,
            "interval": [0.5, 0.629],
            "begins_right": {"base": 0.2625, "student": 0.6208},
            "by_family": {
                name: {"count": 24, "base": b, "student": s} for name, (b, s) in FAMILIES.items()
            },
        },
        "forgetting": {
            "base": {"loss": 4.1, "perplexity": 60.34},
            "student": {"loss": 4.4, "perplexity": 81.45},
            "rows": 3,
            "tokens": 1211,
            "text": "seeds/general_text.txt",
            "lost": 1,
            "lost_answers": [
                {
                    "instruction": "Which comes last: saddle, ribbon?",
                    "input": "",
                    "expected": "ribbon",
                    "base": "ribbon",
                    "student": "saddle",
                }
            ],
        },
        "weakest": [
            {"family": "addition", "count": 24, "base": 0.0, "student": 0.25},
            {"family": "reverse a list", "count": 24, "base": 0.0, "student": 0.38},
        ],
        "side_by_side": SIDE_BY_SIDE,
        "seconds": 9.0,
    },
}
