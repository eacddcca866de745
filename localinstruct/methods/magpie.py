"""Magpie (Xu et al. 2024): an aligned model writes the user's question, then the answer.

Nothing is asked of it (arXiv 2406.08464): behind the words with which its chat template opens a
user's turn, such a model writes what users ask. It then answers through the chat template as usual,
and with more turns the talk goes on. No seeds enter. The words of the template are found before the
first episode (`generation/inputs.py`). Not covered: steering by topic beyond a system turn, and
quality labels (a judge).
"""

import re
from random import Random

from pydantic import Field

from localinstruct.config import Section
from localinstruct.curate.invisible import clean
from localinstruct.records import (
    Completion,
    Episode,
    EpisodeShape,
    Instance,
    Lineage,
    Message,
    PoolView,
    Prompt,
    Reject,
    fill,
)
from localinstruct.templates.special_tokens import may_be_spelt, places_of_text

_MARKUP = re.compile(r"<\|[^|>\n]*\|>|</?think\b|\[/?INST\]|<(?:start|end)_of_turn>", re.IGNORECASE)
_FIRST_WORDS = re.compile(r"\s*\S[^\n]*")
Talk = tuple[Message, ...]


class MagpieOptions(Section):
    """Options of Magpie."""

    turns: int = Field(1, ge=1, le=8)
    """Questions of one talk; rows of later turns carry the earlier ones as history."""
    talks_per_episode: int = Field(4, ge=1, le=64)
    """Talks that go on at the same time."""
    system: str = ""
    """System turn that steers the questions, such as "You help with railway maintenance.".

    It is not kept in the rows. {topic} stands for the topic of an episode (recipe: coverage),
    {persona} for its persona.
    """
    question_tokens: int = Field(512, ge=8)
    """Output tokens per question, at most."""
    frame: list[str] = Field(default_factory=list)
    """The template's words around the turns of a talk, 2 per turn.

    They stand before the first question, between question and answer, before the next question, and
    so on; empty takes them from the teacher's chat template.
    """

    @property
    def shape(self) -> EpisodeShape:
        """Rows, prompts and use of kept rows of an episode."""
        return EpisodeShape(self.talks_per_episode, self.talks_per_episode, sees_kept=False)

    @property
    def says_topic(self) -> bool:
        """True when the system turn has a place for the topic of an episode."""
        return "{topic}" in self.system or "{persona}" in self.system


def magpie(pool: PoolView, options: MagpieOptions, rng: Random) -> Episode:
    """Some talks, turn by turn.

    A talk ends early where a turn cannot be used, and keeps what it had.
    """
    options = steer(options, pool)
    system = (Message("system", options.system),) if options.system else ()
    rejects: list[Instance | Reject] = []
    talks: list[Talk] = [()] * options.talks_per_episode
    thoughts: dict[Talk, str] = {}
    finished: list[Talk] = []
    for turn in range(options.turns):
        written = yield [question_prompt(talk, turn, options) for talk in talks]
        asking: list[Talk] = []  # talks that now end with a question
        for talk, [reply] in zip(talks, written, strict=True):
            if problem := question_problem(reply):
                rejects.append(reject(problem, reply.text, f"question {turn + 1}", reply))
                finished += [talk] if talk else []
            else:
                asking.append((*talk, Message("user", clean(reply.text).strip())))
        answers = yield [Prompt(messages=system + talk) for talk in asking]
        talks = []
        for talk, [reply] in zip(asking, answers, strict=True):
            if problem := answer_problem(reply):
                rejects.append(reject(problem, talk[-1].content, f"answer {turn + 1}", reply))
                finished += [talk[:-1]] if talk[:-1] else []
            else:
                talks.append((*talk, Message("assistant", clean(reply.text).strip())))
                thoughts[talks[-1]] = reply.thinking
        if not talks:
            break
    return rejects + [row(talk, thoughts[talk]) for talk in finished + talks]


def steer(options: MagpieOptions, pool: PoolView) -> MagpieOptions:
    """The options with the episode's topic and persona in the system turn, and in the frame."""
    values = {"topic": pool.topic, "persona": pool.persona}
    frame = [fill(piece, **values) for piece in options.frame]
    return options.model_copy(update={"system": fill(options.system, **values), "frame": frame})


def question_prompt(talk: Talk, turn: int, options: MagpieOptions) -> Prompt:
    """The talk in the template's words, up to where the next question begins.

    No model reads it as a request.
    """
    contents = [*(message.content for message in talk), ""]
    pieces = zip(options.frame, contents, strict=False)  # the frame goes on to the last turn
    marked = "".join(frame + may_be_spelt(content) for frame, content in pieces)
    text, plain = places_of_text(marked)
    after = _FIRST_WORDS.match(options.frame[2 * turn + 1])
    stop = (after[0],) if after else ()
    return Prompt(text=text, raw=True, stop=stop, max_tokens=options.question_tokens, plain=plain)


def question_problem(reply: Completion) -> str | None:
    """The reason why a question cannot be used, or None.

    It is cut off, empty, or has the template's own marks (or a thought) in it.
    """
    if not reply.text.strip():
        return "empty question"
    if reply.finish_reason != "stop":
        return "question truncated"
    return "template marks in the question" if _MARKUP.search(reply.text) else None


def answer_problem(reply: Completion) -> str | None:
    """The reason why an answer cannot be used, or None."""
    if not reply.text.strip():
        return "no answer"
    return "answer truncated" if reply.finish_reason != "stop" else None


def reject(reason: str, text: str, place: str, reply: Completion) -> Reject:
    """A reject that says at which question or answer of a talk."""
    return Reject("parse", reason, text, f"{place}; finish_reason {reply.finish_reason!r}")


def row(talk: Talk, thinking: str) -> Instance:
    """The last exchange, with the earlier ones as its history."""
    *history, question, answer = talk
    return Instance(
        question.content,
        output=answer.content,
        history=tuple(history),
        thinking=thinking,
        lineage=Lineage(method="magpie"),
    )
