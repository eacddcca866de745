"""A student's chat template: a row's text in it, the parts it loses, and its adapted form.

A template may have no place for a system prompt, or read a turn's words as a list of parts. Both
are met by a few lines of Jinja before it, so that training, evaluation, chat, serving and exports
render one and the same text. A template that opens a thought for the assistant is answered with a
thought that is closed: an empty one, or the row's own. Pure: whoever renders is given. Not covered:
pictures.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from localinstruct.errors import ModelError
from localinstruct.records import Instance, JsonObject, Message
from localinstruct.templates.beside import as_dict, lost_call

THOUGHTS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "[THINK]": "[/THINK]",
}
"""Mark that opens a thought -> mark that closes it."""
_MARKS = "|".join(map(re.escape, THOUGHTS))
_OPENED = re.compile(rf"({_MARKS})\s*\Z")
_CLOSED = "|".join(map(re.escape, THOUGHTS.values()))
_THOUGHT = re.compile(rf"\s*({_MARKS})(.*?)(?:{_CLOSED})\s*(.*)\Z", re.DOTALL)
_INDENT = re.compile(r"(?:\t| {2})[ \t]*(?=\S)")
_EMPTY_THOUGHT = re.compile(rf"\A\s*(?:{_MARKS})?\s*(?:{_CLOSED})\s*")

GATHER = "{%- set gathered = namespace(system='', turns=[]) -%}\n{%- for message in messages -%}\n"
MERGE = """\
{%- if message['role'] in ['system', 'developer'] -%}
{%- if message['content'] is string -%}{%- set said = message['content'] -%}
{%- else -%}{%- set said = message['content'] | map(attribute='text') | join('') -%}{%- endif -%}
{%- set gathered.system = gathered.system + said + '\\n\\n' -%}
{%- elif message['role'] == 'user' and gathered.system -%}
{%- if message['content'] is string -%}{%- set said = gathered.system + message['content'] -%}
{%- else -%}
{%- set said = [{'type': 'text', 'text': gathered.system}] + message['content'] -%}
{%- endif -%}
{%- set gathered.turns = gathered.turns + [{'role': 'user', 'content': said}] -%}
{%- set gathered.system = '' -%}
{%- else -%}{%- set gathered.turns = gathered.turns + [message] -%}{%- endif -%}
{%- endfor -%}
"""
"""Puts the system prompt into the first turn of the user, before an empty line."""
PARTS = """\
{%- if message['content'] is string -%}
{%- set said = [{'type': 'text', 'text': message['content']}] -%}
{%- set gathered.turns = gathered.turns + [{'role': message['role'], 'content': said}] -%}
{%- else -%}{%- set gathered.turns = gathered.turns + [message] -%}{%- endif -%}
{%- endfor -%}
"""
"""Gives a turn's words as a list of one part."""
SET = "{%- set messages = gathered.turns %}"
MERGES = (
    "has no place for a system prompt: it is put before the user's first words, in training, "
    "evaluation and exports"
)
TAKES_PARTS = (
    "reads a turn's words as a list of parts: they are given as one part of text, in training, "
    "evaluation and exports"
)

OPENS_THOUGHT = "opens a thought before every answer: a row without one teaches to close it at once"


class Unrenderable(ModelError):
    """Error: a row that the template of training cannot hold; `reason` is a few fixed words."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail
        super().__init__(
            f"train.template: the template {reason}{f' ({detail})' if detail else ''}.",
            "Leave such rows out, or use a template file that holds them (docs/templates.md).",
        )


@dataclass(frozen=True, slots=True)
class Talk:
    """Turns to render; `opened` where the assistant is to speak next."""

    turns: tuple[Message, ...]
    opened: bool = False
    tools: str = ""
    """JSON text of the tools that may be called."""

    def as_dicts(self) -> list[JsonObject]:
        """The turns as a template reads them."""
        return [as_dict(turn) for turn in self.turns]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The words with which a template refuses a talk."""

    words: str


Rendered = str | Refusal
Renderer = Callable[[Sequence[str], Sequence[Talk]], list[list[Rendered]]]
"""(templates, talks) -> for each template the text of each talk, or its refusal."""


@dataclass(frozen=True, slots=True)
class Adapted:
    """A template fit for rows, with what was changed and what it still cannot hold."""

    text: str
    changes: tuple[str, ...] = ()
    problem: str = ""
    """The reason why no row at all can be trained on, or ""."""
    lacks: tuple[str, ...] = ()
    """Shapes of rows that it cannot hold: "a system prompt", "earlier turns"."""


def messages(instance: Instance) -> list[Message]:
    """The turns before the answer: system, earlier turns, instruction with its input, tools.

    An empty line stands between instruction and input.
    """
    system = [Message("system", instance.system)] if instance.system else []
    asked = Message("user", _task(instance))
    return [*system, *instance.history, asked, *instance.steps]


def talks(row: Instance) -> list[Talk]:
    """The talks to render of a row: up to its answer, with it, and with it less its thoughts."""
    before = messages(row)
    answers = [row.output] + ([_split(row.output)[2]] if _split(row.output)[0] else [])
    said = [Message("assistant", answer, tool_calls=row.tool_calls) for answer in answers]
    whole = [Talk((*before, answer), tools=row.tools) for answer in said]
    return [Talk(tuple(before), opened=True, tools=row.tools), *whole]


def assembled(row: Instance, rendered: Sequence[Rendered]) -> tuple[str, str]:
    """(prompt, the rest) of a row from the texts of its `talks`; Unrenderable when words are lost.

    The prompt is what every server renders before an answer, so the rest closes a thought that it
    has opened.
    """
    prompt = _text(rendered[0])
    if lost := _lost(row, prompt):
        raise Unrenderable(f"leaves {lost} out")
    mark, thought, answer = _split(row.output)
    rest = _after(prompt, _text(rendered[1]), _text(rendered[2]) if mark else "")
    behind = _EMPTY_THOUGHT.sub("", rest, count=1)  # some close an empty thought, then write ours
    twice = behind != rest and behind.startswith(mark)
    if mark and (twice or not (_holds(rest, thought) and _holds(rest, answer))):
        rest = _with_thought(prompt, _after(prompt, _text(rendered[2])), mark, thought)
    if not (_holds(rest, thought) and _holds(rest, answer)):
        raise Unrenderable("leaves the answer out")
    if lost := lost_call(row, prompt + rest):
        raise Unrenderable("leaves calls of tools out", lost)
    return prompt, _indented(rest, answer)


def adapted(template: str, render: Renderer) -> Adapted:
    """The template with what it needs before it, tried on rows of every shape."""
    plain, *others = forms_of(template)
    [first] = render([plain], PROBED)
    if not any(_Tried(first).faults.values()):
        return Adapted(template, _opening(first))
    return chosen(template, [first, *render(others, PROBED)])


def _opening(texts: Sequence[Rendered]) -> tuple[str, ...]:
    """The note on a template that opens a thought, given the texts of a first row's talks."""
    opens = isinstance(texts[0], str) and _OPENED.search(texts[0])
    return (OPENS_THOUGHT,) if opens else ()


def forms_of(template: str) -> list[str]:
    """The template as it is, with a merged system prompt, with parts, and with both."""
    return [_before(merge, parts) + template for parts in (False, True) for merge in (False, True)]


def chosen(template: str, rendered: Sequence[Sequence[Rendered]]) -> Adapted:
    """The form of a template that loses least of PROBED, from the texts of all forms."""
    plain, merged, parts, both = (_Tried(texts) for texts in rendered)
    in_parts = bool(plain.faults["a question"]) and not parts.faults["a question"]
    base, merging = (parts, both) if in_parts else (plain, merged)
    if problem := base.faults["a question"]:
        return Adapted(template, problem=problem)
    merges = bool(base.faults["a system prompt"]) and merging.improves(base)
    tried = merging if merges else base
    changes = [TAKES_PARTS] * in_parts + [MERGES] * merges
    lacks = tuple(shape for shape, fault in tried.faults.items() if fault)
    return Adapted(
        forms_of(template)[2 * in_parts + merges],
        (*changes, *_opening(tried.texts["a question"])),
        lacks=lacks,
    )


PROBES = {
    "a question": Instance("Woodpecker?", output="Heron."),
    "a system prompt": Instance("Woodpecker?", output="Heron.", system="Be a Nightingale."),
    "earlier turns": Instance(
        "Woodpecker?",
        output="Heron.",
        history=(Message("user", "Kingfisher?"), Message("assistant", "Goldcrest.")),
    ),
}
"""Shape -> a row of it, in words that no template has."""


class _Tried:
    """The texts of all PROBES in one form of a template, and what each lacks."""

    def __init__(self, texts: Sequence[Rendered]) -> None:
        pairs = [texts[number : number + 2] for number in range(0, len(texts), 2)]
        self.texts = dict(zip(PROBES, pairs, strict=True))
        self.faults = {shape: _fault(PROBES[shape], of) for shape, of in self.texts.items()}

    def improves(self, base: "_Tried") -> bool:
        """True where a system prompt is held, and all else is written as before."""
        same = all(self.texts[s] == base.texts[s] for s in PROBES if s != "a system prompt")
        return same and not self.faults["a system prompt"]


def _fault(row: Instance, texts: Sequence[Rendered]) -> str:
    try:
        assembled(row, texts)
    except Unrenderable as error:
        return f"{error.reason}{f' ({error.detail})' if error.detail else ''}"
    return ""


def _before(merge: bool, parts: bool) -> str:
    steps = [MERGE] * merge + [PARTS] * parts
    return "".join(f"{GATHER}{step}{SET}" for step in steps)


def _task(row: Instance) -> str:
    return f"{row.instruction}\n\n{row.input}" if row.input else row.instruction


def _text(rendered: Rendered) -> str:
    if isinstance(rendered, Refusal):
        raise Unrenderable("refuses the row", rendered.words)
    return rendered


def _split(answer: str) -> tuple[str, str, str]:
    """(mark, thought, answer) of an answer that begins with a thought, else ("", "", answer)."""
    match = _THOUGHT.match(answer)
    return (match[1], match[2].strip(), match[3]) if match else ("", "", answer)


def _after(prompt: str, whole: str, bare: str = "") -> str:
    """The text behind the prompt; an opened thought that the whole text leaves out is closed.

    `bare` is the whole text less the answer's thought.
    """
    if whole.startswith(prompt):
        return whole[len(prompt) :]
    opened = _OPENED.search(prompt)
    if not opened or not whole.startswith(prompt[: opened.start()]):
        if bare.startswith(prompt):
            raise Unrenderable("has no place for the thought of an answer")
        raise Unrenderable(
            "writes the prompt differently once it is answered",
            "the answer cannot be told from it",
        )
    rest, mark = whole[opened.start() :], opened[1]
    if rest.startswith(mark):
        return rest.removeprefix(mark).lstrip()
    return f"\n{THOUGHTS[mark]}\n\n{rest}"


def _with_thought(prompt: str, rest: str, mark: str, thought: str) -> str:
    """An answer with the thought that its template would cut."""
    answer = _EMPTY_THOUGHT.sub("", rest, count=1)
    opened = _OPENED.search(prompt)
    mark = opened[1] if opened else mark
    return f"{'' if opened else mark + chr(10)}{thought}\n{THOUGHTS[mark]}\n\n{answer}"


def _indented(rest: str, answer: str) -> str:
    """The rest with the indentation of the answer's first line, which many templates trim.

    Code would lose the depth of its first line alone; whoever answers writes behind the prompt,
    where no template trims.
    """
    indent = _INDENT.match(answer)
    if not indent or answer.rstrip() in rest:
        return rest
    return rest.replace(answer.strip(), indent[0] + answer.strip(), 1)


def _lost(row: Instance, prompt: str) -> str:
    """The first part of a row before its answer that the prompt has not got, or ""."""
    earlier = [t.content if t.role == "user" else _split(t.content)[2] for t in row.history]
    sought = {
        "the system prompt": [row.system],
        "an earlier turn": earlier,
        "the question": [_task(row)],
    }
    missing = (name for name, texts in sought.items() if not all(_holds(prompt, t) for t in texts))
    return next(missing, "")


def _holds(text: str, words: str) -> bool:
    return words.strip() in text


PROBED = [talk for row in PROBES.values() for talk in talks(row)]
"""The talks of all PROBES, in order."""
