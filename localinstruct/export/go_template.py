"""A chat template in Go's template language, as Ollama wants it: found by asking the Jinja one, not
by reading it.

Most chat templates put a fixed text between two turns that depends on the two roles only. Those
texts are found by rendering conversations of known words, and what they give together is compared
with more renderings. A template that does more than that (a system prompt repeated in the last
turn, for example) is refused. Not covered: tools, pictures, thoughts.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from localinstruct.errors import TrainerError

Turns = list[dict[str, str]]
Render = Callable[[Turns], str]
"""A conversation up to where the assistant speaks -> its text; raises where the template refuses
it."""

SYSTEM, ASKED, SAID, AGAIN, MORE, LAST = (
    "S0system",
    "Q1asked",
    "A1said",
    "Q2again",
    "A2more",
    "Q3last",
)


@dataclass(frozen=True, slots=True)
class Between:
    """The texts around what is said; None where the template has no place for it."""

    first: str
    """Before a first turn of the user."""
    asked: str
    """After a turn of the user, up to where the assistant speaks."""
    said: str
    """Before an earlier answer, after that; mostly nothing."""
    answered: str | None
    """Between an answer and the next turn of the user."""
    system: str | None
    """Before a system prompt, with which a conversation begins …"""
    instructed: str
    """… and between it and the user."""


def go_template(render: Render) -> str:
    """The template as Go; TrainerError when it is more than fixed texts between turns."""
    found = _find(render)
    if found is None or any(
        simulate(found, talk) != _attempt(render, talk) for talk in _talks(found)
    ):
        raise TrainerError(
            "The student's chat template is more than fixed texts between turns, so it cannot be "
            "written for Ollama.",
            "Use --format merged or gguf, which carry the template as it is.",
        )
    return _last_turn(found) if found.answered is None else _every_turn(found)


def simulate(found: Between, talk: Turns) -> str:
    """What the Go template writes for a conversation, in Python."""
    if found.answered is None:
        talk = [
            turn for turn in talk if turn["role"] == "system" and found.system is not None
        ] + talk[-1:]
    before = {None: found.first, "system": found.instructed, "assistant": found.answered}
    text, previous = "", None
    for turn in talk:
        if turn["role"] == "user":
            text += f"{before[previous]}{turn['content']}{found.asked}"
        else:
            text += (
                f"{found.said if turn['role'] == 'assistant' else found.system}{turn['content']}"
            )
        previous = turn["role"]
    return text


def literal(text: str) -> str:
    """Text of a Go template; as a Go string where it holds what a template, or a Modelfile, would
    read otherwise."""
    if not any(mark in text for mark in ("{{", "}}", '"')) and all(
        c.isprintable() or c == "\n" for c in text
    ):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "{{ " + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted) + " }}"


def _find(render: Render) -> Between | None:
    one = _cut(_attempt(render, _talk(ASKED)) or "", ASKED)
    if not one:
        return None
    first, asked = one
    two = _cut(_attempt(render, _talk(ASKED, SAID, AGAIN)) or "", ASKED, SAID, AGAIN)
    said, answered = (two[1].removeprefix(asked), two[2]) if len(two) == 4 else ("", None)
    with_system = _attempt(render, [_turn("system", SYSTEM), *_talk(ASKED)])
    parts = _cut(with_system, SYSTEM, ASKED) if with_system else []
    system, instructed = (parts[0], parts[1]) if len(parts) == 3 else (None, "")
    return Between(first, asked, said, answered, system, instructed)


def _talks(found: Between) -> list[Turns]:
    """Conversations that the found texts must be right for."""
    talks = [_talk(ASKED), _talk(ASKED, SAID, AGAIN), _talk(ASKED, SAID, AGAIN, MORE, LAST)]
    system = _turn("system", SYSTEM)
    return talks + ([[system, *talk] for talk in talks] if found.system is not None else [])


def _cut(text: str, *said: str) -> list[str]:
    """The texts around the things said, or [] when one of them is missing, doubled or out of
    order."""
    parts = []
    for words in said:
        before, found, text = text.partition(words)
        if not found or words in text:
            return []
        parts.append(before)
    return [*parts, text]


def _talk(*said: str) -> Turns:
    return [
        _turn("assistant" if number % 2 else "user", words) for number, words in enumerate(said)
    ]


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _attempt(render: Render, talk: Turns) -> str | None:
    """What the template writes, or None where it refuses."""
    from jinja2 import TemplateError

    try:
        return render(talk)
    except TemplateError:
        return None


def _every_turn(found: Between) -> str:
    """One range over the messages, which remembers who spoke last."""
    begun = f'{{{{ if eq $last "" }}}}{literal(found.first)}'
    if found.system is not None:
        begun += f'{{{{ else if eq $last "system" }}}}{literal(found.instructed)}'
    user = (
        f"{begun}{{{{ else }}}}{literal(found.answered or '')}{{{{ end }}}}{{{{ .Content "
        f"}}}}{literal(found.asked)}"
    )
    turns = {"user": user, "assistant": literal(found.said) + "{{ .Content }}"}
    if found.system is not None:
        turns["system"] = literal(found.system) + "{{ .Content }}"
    cases = "{{ else ".join(
        f'if eq .Role "{role}" }}}}{text}{{{{ $last = .Role }}}}' for role, text in turns.items()
    )
    return f'{{{{ $last := "" }}}}{{{{ range .Messages }}}}{{{{ {cases}{{{{ end }}}}{{{{ end }}}}'


def _last_turn(found: Between) -> str:
    """Only what the user said last, and the system prompt where there is a place for it."""
    opened = literal(found.first)
    if found.system is not None:
        told = f"{literal(found.system)}{{{{ .System }}}}{literal(found.instructed)}"
        opened = f"{{{{ if .System }}}}{told}{{{{ else }}}}{opened}{{{{ end }}}}"
    return (
        opened + "{{ range $i, $turn := .Messages }}{{ if eq (len (slice $.Messages $i)) 1 }}{{ "
        "$turn.Content }}{{ end }}{{ end }}" + literal(found.asked)
    )
