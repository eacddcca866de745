"""Records that travel from seeds to dataset: Instance, Reject, Prompt, Completion.

All are frozen values. An `Instance` is a seed task, a kept row, a passage or a preference pair; its
id is a hash of its content, so the same row has the same id in every run and on every machine. A
`Reject` is a dropped row with its reason: nothing the teacher wrote disappears without one. Files
in the formats people use are read and written in `formats/`.
"""

import hashlib
import json
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from sys import intern
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

Role = Literal["system", "user", "assistant", "tool"]
Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
"""JSON value as it is written: everything that `json.dumps` takes."""
JsonObject = dict[str, Any]
"""JSON object as a file, a server or a stage gave it; whoever reads a key knows its type."""
StageResult = JsonObject
"""Result of a stage: plain JSON values, stored in the run and shown in the report."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    In turns that a file brought: `thinking` is what was thought before the words, `tool_calls` the
    calls that the assistant made (JSON text, a list of objects with name and arguments), and
    `learn` is False where the file says that the turn is not to be learnt.
    """

    role: Role
    content: str
    thinking: str = field(default="", repr=False)
    tool_calls: str = field(default="", repr=False)
    learn: bool = field(default=True, repr=False)

    def to_dict(self) -> JsonObject:
        """Plain values; role and content alone for a turn that has no more."""
        more = {"thinking": self.thinking, "tool_calls": self.tool_calls}
        kept: JsonObject = {key: value for key, value in more.items() if value}
        kept |= {} if self.learn else {"learn": False}
        return {"role": self.role, "content": self.content, **kept}


@dataclass(frozen=True, slots=True)
class Lineage:
    """Origin of an instance: its method, its models, and the instances it was made from.

    `parents` are ids of the instances shown to the teacher; `teacher` is the digest of its weights;
    `topic` is what its episode was steered to (recipe: coverage); `scores` are numbers measured on
    the way ("novelty_max", "novelty_mean", a judge's grade). Where another step than the method
    wrote the answer, `answered_by` is the digest of the model that did (in an episode: its role),
    `rejected_by` that of the rejected answer, `original` the answer that was there before, if the
    recipe keeps it. A row about a document names it: `source` is the file's path in its folder,
    `offset` where the passage begins in its text (letters, from 0), `evidence` the passage's own
    words that support the answer; of a function, the asserts that it passes. `changes` names what
    was changed in the row on its way: repairs ("escapes"), and secrets that were masked or only
    found ("masked: phones", "found: keys"). `constraints` is what the request asks of the answer's
    form and the answer keeps: checks as a task file has them, {name: argument}.
    """

    method: str = ""
    episode: int = -1
    parents: tuple[str, ...] = ()
    teacher: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    topic: str = ""
    answered_by: str = ""
    rejected_by: str = ""
    original: str = ""
    source: str = ""
    offset: int = -1
    evidence: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    constraints: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Instance:
    """One task with its answer. `input` is "" when the instruction stands alone.

    `history` holds earlier turns of a conversation, `rejected` the worse answer of a preference
    pair, `thinking` what was thought before the answer (learnt with train.thinking: learn), `name`
    and `is_classification` are known for seeds. `steps` are the calls of tools and their results
    between the task and the answer, `tool_calls` the calls that are the answer or a part of it,
    `tools` the tools that could be called; both are JSON text. Only what a student would be trained
    on enters the id, less the thoughts.
    """

    instruction: str
    input: str = ""
    output: str = ""
    system: str = ""
    history: tuple[Message, ...] = ()
    rejected: str = ""
    thinking: str = ""
    name: str = ""
    is_classification: bool = False
    lineage: Lineage = field(default_factory=Lineage)
    steps: tuple[Message, ...] = ()
    tool_calls: str = ""
    tools: str = ""

    @property
    def id(self) -> str:
        """First 16 hex digits of the SHA-256 of the content.

        64 bits: 52,000 rows collide with odds of 1 in 10^10.
        """
        turns = [[turn.role, turn.content] for turn in self.history]
        texts = [self.instruction, self.input, self.output, self.system, turns, self.rejected]
        return digest(texts + self._more())[:16]

    def _more(self) -> list[Json]:
        """What only rows of files have; [] for all others, whose ids are those of every release."""
        said: list[Json] = [[turn.tool_calls, turn.learn] for turn in self.history]
        steps: list[Json] = [turn.to_dict() for turn in self.steps]
        plain = all(one == ["", True] for one in said)
        is_bare = plain and not (steps or self.tool_calls or self.tools)
        return [] if is_bare else [said, steps, self.tool_calls, self.tools]

    def with_scores(self, **scores: float) -> "Instance":
        """A copy with these scores added to its lineage."""
        lineage = replace(self.lineage, scores={**self.lineage.scores, **scores})
        return replace(self, lineage=lineage)

    def to_dict(self) -> JsonObject:
        """Plain JSON values, with the id; `from_dict` is its inverse.

        A row without changes or constraints says nothing of them, as before there were any.
        """
        data = {"id": self.id, **asdict(self)}
        data["history"] = [turn.to_dict() for turn in self.history]
        data["steps"] = [turn.to_dict() for turn in self.steps]
        for key in ("changes", "constraints"):
            if not data["lineage"][key]:
                del data["lineage"][key]
        return {key: value for key, value in data.items() if value or key not in _MORE}

    @staticmethod
    def from_dict(data: JsonObject) -> "Instance":
        """Rebuild an instance stored by `to_dict`."""
        content = dict(data)
        stored, turns, _ = content.pop("lineage"), content.pop("history"), content.pop("id", None)
        lists = {key: tuple(stored.get(key, ())) for key in ("parents", "evidence", "changes")}
        lists["parents"] = tuple(map(intern, lists["parents"]))
        shared = {key: intern(stored[key]) for key in _SHARED if key in stored}
        lineage = Lineage(**{**stored, **shared, **lists})
        history = tuple(Message(**turn) for turn in turns)
        steps = tuple(Message(**turn) for turn in content.pop("steps", ()))
        return Instance(**content, history=history, lineage=lineage, steps=steps)


_SHARED = ("method", "teacher", "topic", "answered_by", "rejected_by", "source")
"""Words of a lineage that many rows have: once in memory."""
_MORE = ("steps", "tool_calls", "tools")
"""Fields that are written only where a row has them."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was dropped, with its text, the reason, and the stage that dropped it.

    Stages are "parse", "filter", "novelty" and others. `reason` is a short fixed word people count
    by ("truncated", "too similar"); `detail` explains this one case.
    """

    stage: str
    reason: str
    text: str
    detail: str = ""
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A seed or kept row near another one: its id, its instruction, their similarity."""

    id: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Kept:
    """A row that was kept, with its nearest neighbours and its embedding (d,) float32."""

    instance: Instance
    most_similar: tuple[Neighbour, ...]
    vector: "np.ndarray"


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request to a model: `text`, continued as it stands, or `messages` of a chat.

    Messages go through the model's chat template. `role` names the model: "teacher", or another key
    of the recipe's `models` ("answerer", "judge", "rival-1" …); a text of the role "sandbox" is
    executed, not asked (`methods.code`). `n` completions are wanted. Sampling values left at None
    are the recipe's. `schema` asks for JSON of that form.
    """

    text: str = ""
    messages: tuple[Message, ...] = ()
    role: str = "teacher"
    n: int = 1
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    schema: JsonObject | None = None
    raw: bool = False
    """A chat model too continues `text` as it stands, in place of taking it as a user's turn."""
    plain: tuple[int, ...] = ()
    """Places in a raw `text` where no special token begins, though one may be spelt there.

    Elsewhere in it a special token is one; texts and messages that are not raw are all plain.
    """

    @property
    def digest(self) -> str:
        """SHA-256 of everything that shapes the answer, as hex; `plain` follows from the rest."""
        return digest({key: value for key, value in self.to_dict().items() if key != "plain"})

    def to_dict(self) -> JsonObject:
        """Plain JSON values."""
        return asdict(self) | {"messages": [turn.to_dict() for turn in self.messages]}


def fill(text: str, **values: str | int) -> str:
    """A prompt's text with every {name} of `values` replaced in one pass.

    Braces in the values stay, so a teacher's own words are never filled; other names stay as well.
    """
    return re.sub(r"\{(\w+)\}", lambda match: str(values.get(match[1], match[0])), text)


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer of a model.

    `finish_reason` is "stop", "length" (cut off), or why there is none; `tokens` counts the output.
    `thinking` is what a reasoning model thought before it, where the recipe keeps that; `decoding`
    is set where JSON of a form was asked for: under its schema, or freely and read strictly.
    """

    text: str
    finish_reason: str = "stop"
    tokens: int = 0
    thinking: str = ""
    decoding: Literal["", "constrained", "free"] = ""


@dataclass(frozen=True, slots=True)
class PoolView:
    """The pool as a method sees it: seeds, the rows kept before its episode, its number (from 0).

    `topic` and `persona` steer the episode; a method that has a place for them in its prompt puts
    `steer` there. `faithful` asks for the papers' own reading of what a teacher writes: under their
    sets of rules, and in runs that began under release 0.1.0.
    """

    seeds: Sequence[Instance]
    kept: Sequence[Instance] = ()
    number: int = 0
    topic: str = ""
    persona: str = ""
    faithful: bool = False

    @property
    def steer(self) -> str:
        """Sentences for a prompt, each after a blank; "" when the episode is not steered."""
        text = ""
        if self.topic:
            text += f" Every task must belong to this domain: {self.topic.rstrip('.')}."
        if self.persona:
            person = self.persona.rstrip(".")
            text += f" Every task is one that this person would ask for: {person}."
        return text


@dataclass(frozen=True, slots=True)
class EpisodeShape:
    """Shape of a method's episodes, known before the first one is played."""

    rows: int = 1
    """Rows that one is asked for: the first guess of how many it brings."""
    prompts: int = 1
    """Prompts that it asks together, at most."""
    sees_kept: bool = True
    """False when it never looks at kept rows, so that it need not wait for earlier episodes."""


Episode = Generator[list[Prompt], list[list[Completion]], list[Instance | Reject]]
"""A method at work: it yields prompts and returns rows and rejects.

For each prompt it is sent a list of completions.
"""


def canonical_json(value: object, *, strict: bool = False) -> bytes:
    """A JSON value as the bytes that digests and signatures are made of: sorted keys, no spaces.

    UTF-8; with `strict`, for signed files, ASCII, and ValueError for numbers that JSON has not.
    """
    text = json.dumps(
        value,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=strict,
        allow_nan=not strict,
    )
    return text.encode("utf-8", "surrogatepass")


def digest(value: object) -> str:
    """SHA-256 (hex) of a JSON value in canonical form."""
    return hashlib.sha256(canonical_json(value)).hexdigest()
