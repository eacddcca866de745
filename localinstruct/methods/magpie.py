"""Magpie (Xu et al. 2024, arXiv 2406.08464): an aligned model is given the start of a user's turn
and writes the question.

Nothing is asked of it: behind the words with which its chat template opens a user's turn, such a
model writes what users ask. It then answers through the chat template as usual, and with more turns
the talk goes on. No seeds enter. The words of the template are found before the first episode
(`generation/inputs.py`). Not covered: steering by topic beyond a system turn, and quality labels (a
judge).
"""

import re
from random import Random

from pydantic import Field

from localinstruct.config import Section
from localinstruct.curate.invisible import clean
from localinstruct.methods.prompt_files import fill
from localinstruct.records import (
    Completion,
    Episode,
    Instance,
    Lineage,
    Message,
    PoolView,
    Prompt,
    Reject,
)

_MARKUP = re.compile(r"<\|[^|>\n]*\|>|</?think\b|\[/?INST\]|<(?:start|end)_of_turn>", re.IGNORECASE)
_FIRST_WORDS = re.compile(r"\s*\S[^\n]*")


class MagpieOptions(Section):
    """Options of Magpie."""

    turns: int = Field(1, ge=1, le=8)
    """Questions of one talk; rows of later turns carry the earlier ones as history."""
    talks_per_episode: int = Field(4, ge=1, le=64)
    """Talks that go on at the same time."""
    system: str = ""
    """A system turn that steers what is asked, such as "You help with railway maintenance."; not
    kept in the rows. {topic} stands for the topic of an episode (recipe: coverage), {persona} for
    its persona."""
    question_tokens: int = Field(512, ge=8)
    """Output tokens per question, at most."""
    frame: list[str] = Field(default_factory=list)
    """The template's words before the first question, between question and answer, before the next
    question, and so on (2 per turn); empty takes them from the teacher's chat template."""

    @property
    def says_topic(self) -> bool:
        """Whether the system turn has a place for the topic of an episode."""
        return "{topic}" in self.system or "{persona}" in self.system


def magpie(pool: PoolView, options: MagpieOptions, rng: Random) -> Episode:
    """Some talks, turn by turn; a talk ends early where a turn cannot be used, and keeps what it
    had."""
    options = steer(options, pool)
    found: list[Instance | Reject] = []
    talks: list[tuple[Message, ...]] = [()] * options.talks_per_episode
    thoughts: dict[tuple[Message, ...], str] = {}
    finished: list[tuple[Message, ...]] = []
    for turn in range(options.turns):
        written = yield [question_prompt(talk, turn, options) for talk in talks]
        problems = [question_problem(reply) for [reply] in written]
        found += [
            Reject(
                "parse",
                problem,
                reply.text,
                f"question {turn + 1}; finish_reason {reply.finish_reason!r}",
            )
            for problem, [reply] in zip(problems, written, strict=True)
            if problem
        ]
        finished += [
            talk for talk, problem in zip(talks, problems, strict=True) if problem and talk
        ]
        talks = [
            (*talk, Message("user", clean(reply.text).strip()))
            for talk, problem, [reply] in zip(talks, problems, written, strict=True)
            if not problem
        ]
        system = (Message("system", options.system),) if options.system else ()
        answers = yield [Prompt(messages=system + talk) for talk in talks]
        cut = [reply.finish_reason != "stop" or not reply.text.strip() for [reply] in answers]
        found += [
            Reject(
                "parse",
                "answer truncated" if reply.text.strip() else "no answer",
                talk[-1].content,
                f"answer {turn + 1}; finish_reason {reply.finish_reason!r}",
            )
            for talk, no, [reply] in zip(talks, cut, answers, strict=True)
            if no
        ]
        finished += [talk[:-1] for talk, no in zip(talks, cut, strict=True) if no and talk[:-1]]
        talks = [
            (*talk, Message("assistant", clean(reply.text).strip()))
            for talk, no, [reply] in zip(talks, cut, answers, strict=True)
            if not no
        ]
        thoughts |= zip(
            talks,
            (reply.thinking for no, [reply] in zip(cut, answers, strict=True) if not no),
            strict=True,
        )
        if not talks:
            break
    return found + [row(talk, thoughts[talk]) for talk in finished + talks]


def steer(options: MagpieOptions, pool: PoolView) -> MagpieOptions:
    """The options with the episode's topic and persona said in the system turn, also where the
    frame has it."""
    said = {"topic": pool.topic, "persona": pool.persona}
    frame = [fill(piece, **said) for piece in options.frame]
    return options.model_copy(update={"system": fill(options.system, **said), "frame": frame})


def question_prompt(talk: tuple[Message, ...], turn: int, options: MagpieOptions) -> Prompt:
    """The talk in the template's words, up to where the next question begins; no model reads it as
    a request."""
    said = [message.content for message in talk]
    text = "".join(
        frame + content for frame, content in zip(options.frame, [*said, ""], strict=False)
    )
    after = _FIRST_WORDS.match(options.frame[2 * turn + 1])
    return Prompt(
        text=text, raw=True, stop=(after[0],) if after else (), max_tokens=options.question_tokens
    )


def question_problem(reply: Completion) -> str | None:
    """Why a question cannot be used: cut off, empty, or with the template's own marks (or a
    thought) in it."""
    if not reply.text.strip():
        return "empty question"
    if reply.finish_reason != "stop":
        return "question truncated"
    return "template marks in the question" if _MARKUP.search(reply.text) else None


def row(talk: tuple[Message, ...], thinking: str) -> Instance:
    """The last exchange, with the earlier ones as its history."""
    *history, question, answer = talk
    return Instance(
        question.content,
        output=answer.content,
        history=tuple(history),
        thinking=thinking,
        lineage=Lineage(method="magpie"),
    )
