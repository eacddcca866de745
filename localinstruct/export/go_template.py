"""Ollama's template: a Jinja chat template in Go's template language, found by rendering it.

Most chat templates put a fixed text between two turns that depends on the two roles only. Those
texts are found by rendering conversations of known words, and what they give together is compared
with more renderings; the Jinja source is not read. A template that does more than that (a system
prompt repeated in the last turn, for example) is refused. Of the 72 chat templates that TRL 1.16
ships, 51 are written, in 20 forms, and Go's own text/template renders each as Jinja does (a test,
where Go is installed). Not covered: tools, pictures, thoughts, and blanks around a turn's words,
which some chat templates strip and Ollama's language cannot.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from localinstruct.errors import TrainerError

Turns = list[dict[str, str]]
Render = Callable[[Turns], str]
"""A conversation up to the assistant's turn -> its text; raises where the template refuses it."""

SYSTEM = "S0system"
QUESTION_1, ANSWER_1 = "Q1asked", "A1said"
QUESTION_2, ANSWER_2 = "Q2again", "A2more"
QUESTION_3 = "Q3last"
"""Words of the probing conversations; none is part of another."""


TODAY, TODAY_GO = "D0today", "{{ currentDate }}"
"""Word that stands for today's date in a rendered text, and Ollama's function that writes it."""


@dataclass(frozen=True, slots=True)
class Affixes:
    """The fixed texts around the turns; None where the template has no place for such a turn."""

    before_first_user: str
    after_user: str
    """Between a turn of the user and where the assistant speaks."""
    before_answer: str
    """Between `after_user` and an earlier answer; mostly nothing."""
    after_answer: str | None
    """Between an answer and the next turn of the user."""
    before_system: str | None
    """Before a system prompt, with which a conversation begins."""
    after_system: str
    """Between a system prompt and the user."""


def go_template(render: Render) -> str:
    """The template as Go; TrainerError when it is more than fixed texts between turns."""
    affixes = _find_affixes(render)
    if affixes is None or any(
        simulate(affixes, turns) != _try_render(render, turns) for turns in _probes(affixes)
    ):
        raise TrainerError(
            "The student's chat template is more than fixed texts between turns, so it cannot be "
            "written for Ollama.",
            "Use --format merged or gguf, which carry the template as it is.",
        )
    return _last_turn(affixes) if affixes.after_answer is None else _every_turn(affixes)


def simulate(affixes: Affixes, turns: Turns) -> str:
    """The text that the Go template writes for a conversation, computed in Python."""
    if affixes.after_answer is None:
        has_system = affixes.before_system is not None
        turns = [turn for turn in turns if turn["role"] == "system" and has_system] + turns[-1:]
    before_user = {
        None: affixes.before_first_user,
        "system": affixes.after_system,
        "assistant": affixes.after_answer,
    }
    before = {"assistant": affixes.before_answer, "system": affixes.before_system}
    text, previous = "", None
    for turn in turns:
        role = turn["role"]
        content = turn["content"]
        if role == "user":
            text += f"{before_user[previous]}{content}{affixes.after_user}"
        else:
            text += f"{before[role]}{content}"
        previous = role
    return text


def literal(text: str) -> str:
    """Text of a Go template; quoted as a Go string where Go or Ollama would misread it."""
    return TODAY_GO.join(_quoted(part) for part in text.split(TODAY))


def _quoted(text: str) -> str:
    plain = all(c.isprintable() or c == "\n" for c in text)
    if plain and not any(mark in text for mark in ("{{", "}}", '"')):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "{{ " + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted) + " }}"


def _find_affixes(render: Render) -> Affixes | None:
    """The affixes by rendering one turn, three turns, and a system prompt; None for no template."""
    one_turn = _split(_try_render(render, _conversation(QUESTION_1)), QUESTION_1)
    if not one_turn:
        return None
    first, after_user = one_turn
    words = (QUESTION_1, ANSWER_1, QUESTION_2)
    parts = _split(_try_render(render, _conversation(*words)), *words)
    before_answer, after_answer = "", None
    if parts:
        before_answer, after_answer = parts[1].removeprefix(after_user), parts[2]
    instructed = [_turn("system", SYSTEM), *_conversation(QUESTION_1)]
    parts = _split(_try_render(render, instructed), SYSTEM, QUESTION_1)
    before_system, after_system = (parts[0], parts[1]) if parts else (None, "")
    return Affixes(first, after_user, before_answer, after_answer, before_system, after_system)


def _probes(affixes: Affixes) -> list[Turns]:
    """Conversations that the affixes must be right for."""
    words = (QUESTION_1, ANSWER_1, QUESTION_2, ANSWER_2, QUESTION_3)
    probes = [_conversation(*words[:length]) for length in (1, 3, 5)]
    if affixes.before_system is None:
        return probes
    return probes + [[_turn("system", SYSTEM), *turns] for turns in probes]


def _split(text: str | None, *words: str) -> list[str]:
    """The texts around the words, or [] when one of them is missing, doubled or out of order."""
    parts = []
    rest = text or ""
    for word in words:
        before, separator, rest = rest.partition(word)
        if not separator or word in rest:
            return []
        parts.append(before)
    return [*parts, rest]


def _conversation(*texts: str) -> Turns:
    return [_turn("assistant" if number % 2 else "user", text) for number, text in enumerate(texts)]


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _try_render(render: Render, turns: Turns) -> str | None:
    """The template's text, or None where it refuses the conversation."""
    from jinja2 import TemplateError

    try:
        return render(turns)
    except TemplateError:
        return None


def _every_turn(affixes: Affixes) -> str:
    """One range over the messages, which remembers who spoke last."""
    before_user = f'{{{{ if eq $last "" }}}}{literal(affixes.before_first_user)}'
    if affixes.before_system is not None:
        before_user += f'{{{{ else if eq $last "system" }}}}{literal(affixes.after_system)}'
    before_user += f"{{{{ else }}}}{literal(affixes.after_answer or '')}{{{{ end }}}}"
    content = "{{ .Content }}"
    turns = {
        "user": before_user + content + literal(affixes.after_user),
        "assistant": literal(affixes.before_answer) + content,
    }
    if affixes.before_system is not None:
        turns["system"] = literal(affixes.before_system) + content
    cases = "{{ else ".join(
        f'if eq .Role "{role}" }}}}{text}{{{{ $last = .Role }}}}' for role, text in turns.items()
    )
    return f'{{{{ $last := "" }}}}{{{{ range .Messages }}}}{{{{ {cases}{{{{ end }}}}{{{{ end }}}}'


def _last_turn(affixes: Affixes) -> str:
    """The user's last turn alone, and the system prompt where there is a place for it."""
    before = literal(affixes.before_first_user)
    if affixes.before_system is not None:
        system = f"{literal(affixes.before_system)}{{{{ .System }}}}{literal(affixes.after_system)}"
        before = f"{{{{ if .System }}}}{system}{{{{ else }}}}{before}{{{{ end }}}}"
    last = (
        "{{ range $i, $turn := .Messages }}{{ if eq (len (slice $.Messages $i)) 1 }}"
        "{{ $turn.Content }}"
        "{{ end }}{{ end }}"
    )
    return before + last + literal(affixes.after_user)
