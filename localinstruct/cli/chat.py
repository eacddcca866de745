"""Chat with a run's student and its base on one vLLM, on a terminal or through a pipe.

Answers are streamed. Each side remembers its questions and answers where the student's template has
a place for earlier turns; Alpaca's has none, so each line is asked on its own then, and a note says
so. Not covered: system prompts.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial

from localinstruct import console
from localinstruct.errors import DataError
from localinstruct.evaluation.answers import CUT, Which, question_in
from localinstruct.export.served import Served, serving_both
from localinstruct.interrupt import run_async
from localinstruct.models.catalog import load_catalog
from localinstruct.pipeline import recipe_of
from localinstruct.records import Instance, JsonObject, Message, Prompt
from localinstruct.store.run import Run
from localinstruct.teacher import Sampling
from localinstruct.teacher.thinking import split_thinking
from localinstruct.templates import Template, unsupported

HELP = (
    "/base, /student and /compare choose who answers; /new forgets what was said; /quit or "
    "Ctrl-D ends."
)
CHOICES: dict[str, tuple[Which, ...]] = {
    "/base": ("base",),
    "/student": ("student",),
    "/compare": ("base", "student"),
}
"""Command -> the sides that answer from then on."""
ONE_TURN = Instance("x", history=(Message("user", "x"), Message("assistant", "x")))
Show = Callable[[str], None]
"""Shows an answer as far as it has come."""


@dataclass
class Talk:
    """A conversation with one side or with both; each has its own memory."""

    sides: dict[Which, Served]
    template: Template
    sampling: Sampling
    who: tuple[Which, ...]
    history: dict[Which, list[Message]] = field(default_factory=lambda: {"base": [], "student": []})
    cut: list[Which] = field(default_factory=list)
    """Sides whose last answer was cut at its limit of tokens."""

    @property
    def remembers(self) -> bool:
        """True where the student's template has a place for earlier turns."""
        return unsupported(ONE_TURN, self.template) is None

    def ask(self, question: str, shows: Sequence[Show]) -> dict[Which, str]:
        """Ask the sides in `who` and show their answers as they come.

        DataError when a server refuses the prompt.
        """
        answers = run_async(self._ask_all(question, shows))
        if self.remembers:
            for side, answer in answers.items():
                self.history[side] += [Message("user", question), Message("assistant", answer)]
        return answers

    def forget(self) -> None:
        """Forget all turns of both sides."""
        for turns in self.history.values():
            turns.clear()

    async def _ask_all(self, question: str, shows: Sequence[Show]) -> dict[Which, str]:
        self.cut = []
        requests = [self._ask(side, question, s) for side, s in zip(self.who, shows, strict=True)]
        answers = await asyncio.gather(*requests)
        return dict(zip(self.who, answers, strict=True))

    async def _ask(self, side: Which, question: str, show: Show) -> str:
        client = self.sides[side].connect(self.sides[side].name, self.sampling)
        text = ""

        def note_end(reason: str) -> None:
            if reason == CUT:
                self.cut.append(side)

        try:
            async for piece in client.stream(self._prompt(side, question), note_end):
                text += piece
                show(split_thinking(text)[0].strip())
        finally:
            await client.close()
        return split_thinking(text)[0].strip()

    def _prompt(self, side: Which, question: str) -> Prompt:
        row = Instance(question, history=tuple(self.history[side]))
        prompt = question_in(row, self.template, self.sampling.max_tokens)
        return replace(prompt, temperature=self.sampling.temperature)


def chat(
    run: Run,
    *,
    who: str,
    prompt: str | None,
    temperature: float,
    max_tokens: int | None,
    json: bool,
) -> None:
    """Answer `prompt`, or every line until the end of input.

    `who` is one of CHOICES without its slash; `max_tokens` None is the recipe's
    evaluate.max_tokens. DataError before the student is trained.
    """
    recipe, workspace = recipe_of(run)
    spec = load_catalog(workspace).get(recipe.models.student)
    max_tokens = max_tokens or recipe.evaluate.max_tokens
    sampling = Sampling(temperature=temperature, max_tokens=max_tokens)
    with ExitStack() as display:
        progress = display.enter_context(console.progress())
        with serving_both(recipe, spec, run.path, "vllm-chat", progress) as sides:
            display.close()  # the moving line goes, the prompt comes
            talk = Talk(sides, recipe.train.template, sampling, CHOICES[f"/{who}"])
            if prompt is not None:
                _answer(talk, prompt, json)
            else:
                _converse(talk, json)


def _converse(talk: Talk, json: bool) -> None:
    """Answer lines and obey commands until the end of input."""
    if console.is_typed():
        console.note(HELP)
    if not talk.remembers:
        console.note("This student was trained on single turns: each line is answered on its own.")
    while (command := _next(talk)) is not None and command != "/quit":
        if command in CHOICES:
            talk.who = CHOICES[command]
        elif command == "/new":
            talk.forget()
        elif command == "/help" or (command.startswith("/") and console.is_typed()):
            console.note(HELP)
        elif command:
            _answer_and_go_on(talk, command, json)


def _next(talk: Talk) -> str | None:
    """The next line, stripped; None at the end of input and after Ctrl-C at the prompt."""
    try:
        line = console.ask(f"{' and '.join(talk.who)} >")
    except KeyboardInterrupt:
        if not console.is_typed():
            raise
        console.note("")
        return None
    return None if line is None else line.strip()


def _answer_and_go_on(talk: Talk, question: str, json: bool) -> None:
    """Answer, and return also after a refused prompt or Ctrl-C in the middle of an answer."""
    try:
        _answer(talk, question, json)
    except DataError as error:
        hint = "/new begins anew." if any(talk.history.values()) else error.hint
        console.error(DataError(error.message, hint))
    except KeyboardInterrupt:
        if not console.is_typed():
            raise
        console.note("\n(stopped; Ctrl-D ends)")


def _answer(talk: Talk, question: str, json: bool) -> None:
    if json:
        answers = talk.ask(question, [lambda _: None for _ in talk.who])
        said: JsonObject = {"asked": question} | dict(answers) | {"cut": sorted(talk.cut)}
        console.as_json(said, indent=None)
        return
    if len(talk.who) > 1:
        with console.side_by_side(talk.who) as grow:
            talk.ask(question, [partial(grow, number) for number in range(len(talk.who))])
    else:
        talk.ask(question, [GrowingAnswer().grow])
        console.line()
    if talk.cut:
        whose, limit = " and ".join(sorted(talk.cut)), talk.sampling.max_tokens
        console.note(f"({whose}: cut at {limit:,} tokens; for more: --max-tokens {2 * limit})")


class GrowingAnswer:
    """An answer on stdout as it grows.

    One whose beginning changes (thoughts cut off later) is written again on a new line.
    """

    def __init__(self) -> None:
        self.text = ""

    def grow(self, text: str) -> None:
        """Write the new part of `text`, the whole answer so far."""
        if not text.startswith(self.text):
            console.write("\n")
            self.text = ""
        console.write(text[len(self.text) :])
        self.text = text
