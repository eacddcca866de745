"""Play a method's episode on a script, and put what came of it into a form that a golden file can
hold."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from localinstruct.records import Completion, Episode, Instance, Prompt, Reject

Reply = Completion | str
Answer = Callable[[Prompt], Reply | list[Reply]]
"""Answers a prompt: with one completion, or with as many as it asks for."""


def play(episode: Episode, answer: Answer) -> tuple[list[list[Prompt]], list[Instance | Reject]]:
    """Every call's prompts and the result, each prompt answered by `answer`."""
    calls: list[list[Prompt]] = []
    send: list[list[Completion]] | None = None
    while True:
        try:
            prompts = next(episode) if send is None else episode.send(send)
        except StopIteration as stop:
            return calls, stop.value
        calls.append(prompts)
        replies = [answer(prompt) for prompt in prompts]
        send = [
            [
                one if isinstance(one, Completion) else Completion(one)
                for one in (reply if isinstance(reply, list) else [reply])
            ]
            for reply in replies
        ]


def scripted(*calls: Sequence[Any]) -> Answer:
    """Answers in the order in which prompts come."""
    replies = iter([reply for call in calls for reply in call])
    return lambda prompt: next(replies)


def told(
    calls: list[list[Prompt]], found: list[Instance | Reject], ids: dict[str, str]
) -> dict[str, Any]:
    """Prompts as lines, rows with the names of their parents, rejects with their reasons."""
    rows = [
        {
            "instruction": one.instruction,
            "input": one.input,
            "output": one.output,
            "method": one.lineage.method,
            "is_classification": one.is_classification,
            "parents": [ids.get(key, key) for key in one.lineage.parents],
            "history": [[turn.role, turn.content] for turn in one.history],
            **_more(one),
        }
        for one in found
        if isinstance(one, Instance)
    ]
    rejects = [[one.reason, one.text, one.detail] for one in found if isinstance(one, Reject)]
    shown = [[_words(prompt) for prompt in call] for call in calls]
    return {"prompts": shown, "rows": rows, "rejects": rejects}


def _words(prompt: Prompt) -> list[str]:
    if prompt.schema and prompt.messages:
        return prompt.messages[-1].content.splitlines()
    return (prompt.text or repr(prompt.messages)).splitlines()[-14:]


def _more(row: Instance) -> dict[str, Any]:
    """What only some methods fill in."""
    made = row.lineage
    more = {
        "rejected": row.rejected,
        "thinking": row.thinking,
        "scores": made.scores,
        "answered_by": made.answered_by,
        "rejected_by": made.rejected_by,
        "original": made.original,
        "source": made.source,
        "evidence": list(made.evidence),
    }
    return {key: value for key, value in more.items() if value}


def rows_of(found: list[Instance | Reject]) -> list[Instance]:
    return [one for one in found if isinstance(one, Instance)]


def reasons_of(found: list[Instance | Reject]) -> list[str]:
    return [one.reason for one in found if isinstance(one, Reject)]


def grade(quality: int) -> str:
    """A judge's reply in the form that the rubric alpaca-5-point asks for."""
    return json.dumps({"why": "So.", "quality": quality})
