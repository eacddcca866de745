"""A teacher that plays recorded replies and an encoder without a model: for faults and unit tests
only.

The replies to a prompt depend only on the prompt and on how often it was asked, so a run with them
can be repeated.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from random import Random

import numpy as np

from localinstruct.records import Completion, Prompt

VERBS = (
    "List",
    "Explain",
    "Compare",
    "Describe",
    "Summarise",
    "Translate",
    "Rank",
    "Invent",
    "Outline",
    "Rewrite",
)
THINGS = (
    "rivers",
    "bridges",
    "kettles",
    "planets",
    "proverbs",
    "ferns",
    "violins",
    "glaciers",
    "markets",
    "lanterns",
)
PLACES = (
    "in Peru",
    "for children",
    "at sea",
    "before 1900",
    "on Mars",
    "in one sentence",
    "by weight",
    "at night",
)


def few(rng: Random) -> str:
    """How many of a thing a task is about."""
    return str(rng.randint(2, 99))


def numbered_list(
    rng: Random, first: int = 4, last: int = 20, amount: Callable[[Random], str] = few
) -> str:
    """A completion of Alpaca's list with invented tasks, continuing an open slot."""
    items = []
    for number in range(first, last + 1):
        task = f"{rng.choice(VERBS)} {amount(rng)} {rng.choice(THINGS)} {rng.choice(PLACES)}"
        head = f" {task}" if number == first else f"###\n{number}. Instruction: {task}"
        items.append(
            f"{head}\n{number}. Input:\n<noinput>\n{number}. Output:\nAn answer about "
            f"{task.lower()}.\n"
        )
    return "".join(items)


class ScriptedTeacher:
    """Answers after a short delay that depends on the prompt, so that completions arrive out of
    order."""

    def __init__(
        self, reply: Callable[[Random], str] = numbered_list, delay: float = 0.002
    ) -> None:
        self.asked = 0
        self._reply = reply
        self._delay = delay

    async def complete(self, prompt: Prompt) -> list[Completion]:
        """The recorded replies of this prompt."""
        self.asked += 1
        rng = Random(prompt.digest)
        await asyncio.sleep(self._delay * rng.random())
        text = self._reply(rng)
        return [Completion(text, "stop", len(text) // 4)] * prompt.n


class HashEncoder:
    """Bag of hashed words as unit vectors (n, 256): near-duplicates are near, and it costs
    nothing."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(n, 256) float32, rows of unit length."""
        rows = np.zeros((len(texts), 256), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                row[int(hashlib.md5(word.encode()).hexdigest(), 16) % 256] += 1
            row /= np.linalg.norm(row) or 1
        return rows
