"""The better one of two answers: the question to a judge, and its verdict read strictly. Pure.

A judge prefers a seat and errs (Zheng et al. 2023, arXiv 2306.05685, §3.3), so every pair is asked
in both orders; what follows from the two verdicts is evaluation/statistics.py. A reply that is not
of the form asked for is None, and counted: it is never taken for a tie. Not covered: judging with a
reference answer, reasons for a verdict.
"""

import json
from functools import cache
from importlib import resources
from typing import Literal

from localinstruct.formats import user_turn
from localinstruct.records import Instance, JsonObject, Message, Prompt

Verdict = Literal["A", "B", "tie"]
FORM: JsonObject = {
    "type": "object",
    "properties": {"better": {"type": "string", "enum": ["A", "B", "tie"]}},
    "required": ["better"],
    "additionalProperties": False,
}
"""JSON schema of a verdict."""
MOST_TOKENS = 32


def comparison(task: Instance, first: str, second: str) -> Prompt:
    """Ask whether the answer in the first seat (A) or the second (B) is better."""
    text = _words().format(task=user_turn(task), first=first.strip(), second=second.strip())
    return Prompt(
        messages=(Message("user", text),),
        role="judge",
        temperature=0.0,
        max_tokens=MOST_TOKENS,
        schema=FORM,
    )


def read_verdict(reply: str) -> Verdict | None:
    """The verdict, or None for anything that is not exactly the form."""
    try:
        value = json.loads(reply)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or set(value) != {"better"}:
        return None
    verdict: Verdict = value["better"]
    return verdict if verdict in ("A", "B", "tie") else None


@cache
def _words() -> str:
    words = resources.files("localinstruct.judge").joinpath("prompts", "pairwise.txt")
    return words.read_text(encoding="utf-8").strip()
