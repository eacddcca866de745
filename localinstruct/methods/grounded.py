"""Grounded: questions about a passage of a document, each answered with the passage's own words as
support.

A passage is asked about in several kinds; whoever answers sees passage and question, not the kind,
and either quotes the passage or says that it does not tell. What quotes something that is not
there, says more than is there, or shows that it obeyed the document, is a reject. Documents are
read before the first episode (`generation/inputs.py`); they stand between marks drawn for the run
(`untrusted.py`). Not covered: questions over several documents, and whether the quotation is a good
one (`then: {judge: {grading: {rubric: grounded}}}`).
"""

import re
from random import Random
from typing import Literal

from pydantic import Field

from localinstruct.config import Section
from localinstruct.curate.invisible import clean
from localinstruct.methods.prompt_files import fill, prompt_file
from localinstruct.methods.support import answer_form, numbered, read_answer, unsupported
from localinstruct.methods.untrusted import intrusion, marks_of, obeyed
from localinstruct.records import (
    Completion,
    Episode,
    Instance,
    Lineage,
    PoolView,
    Prompt,
    Reject,
)

Kind = Literal["fact", "why", "how", "list", "summary", "yes_no", "unanswerable"]
KINDS: tuple[Kind, ...] = ("fact", "why", "how", "list", "summary", "yes_no", "unanswerable")
_HEADING = re.compile(r"^\W*(?:question|request)\W*:\W*", re.IGNORECASE)
_POINTS = re.compile(
    r"\b(?:this|the|that) (?:text|passage|document|excerpt|material)\b|\babove\b|<<<|>>>",
    re.IGNORECASE,
)


class GroundedOptions(Section):
    """Options of grounded."""

    kinds: list[Kind] = Field(default=list(KINDS), min_length=1)
    """Kinds of questions; the answer to an unanswerable one is `no_answer`."""
    questions: int = Field(3, ge=1, le=16)
    """Questions about a passage, each of another kind as long as there are kinds."""
    rounds: int = Field(1, ge=1)
    """How often every passage is asked about."""
    per_source: int | None = Field(50, ge=1)
    """Rows to keep of one document at most; None sets no limit."""
    form: Literal["passage", "closed_book"] = "passage"
    """Rows with the passage as their input, or without it (then nothing unanswerable is asked)."""
    support: Literal["quote", "sentences"] = "quote"
    """How an answer names its support: words it copies, or numbers of sentences, which weaker
    models manage better."""
    show_quote: bool = True
    """Answers end with the words that support them (form: passage)."""
    least_in_passage: float = Field(0.5, ge=0, le=1)
    """Share of the answer's words that the passage or the question must have, and all of its
    numbers; 0 asks neither."""
    no_answer: str = Field("The text does not say.", min_length=1)
    """The answer to a question that the passage does not answer."""
    passage_words: int = Field(250, ge=20, le=5000)
    """Words of a passage, at most."""
    shortest: int = Field(20, ge=3)
    """Words of a passage, at least; what is shorter is left out."""
    answer_letters: int = Field(2000, ge=20)
    """Letters of an answer and of a quotation, at most."""
    prompts: Literal["grounded", "grounded_nano"] = "grounded"
    """Wording: for any model, or in the only form the nano teacher knows."""
    secret: str = ""
    """What the marks around passages are drawn from; empty takes the run's seed and all
    documents."""

    @property
    def says_topic(self) -> bool:
        """Whether the prompt has a place for the topic of an episode."""
        return self.prompts == "grounded"


def grounded(pool: PoolView, options: GroundedOptions, rng: Random) -> Episode:
    """Questions about one passage, then their answers."""
    passage = pool.seeds[pool.number % len(pool.seeds)]
    if sum(row.lineage.source == passage.lineage.source for row in pool.kept) >= (
        options.per_source or 10**9
    ):
        return []
    if (problem := intrusion(passage.input, marks_of(options.secret))) is not None:
        return [
            reject(problem, passage.input, passage, "in the passage, which was not asked about")
        ]
    kinds = [kind for kind in options.kinds if kind != "unanswerable" or options.form == "passage"]
    kinds = rng.sample(kinds, len(kinds))[: options.questions]
    written = yield [
        ask(passage, "question", options, pool.steer, kind=prompt_file(options.prompts, kind))
        for kind in kinds
    ]
    found: list[Instance | Reject] = []
    questions: list[tuple[Kind, str]] = []
    for kind, [reply] in zip(kinds, written, strict=True):
        question = _HEADING.sub("", clean(reply.text).strip(), count=1)
        problem = question_problem(question, reply, passage, options)
        found += [reject(problem, question, passage, kind)] if problem else []
        questions += [] if problem else [(kind, question)]
    if not questions:
        return found
    answers = yield [
        ask(passage, options.support, options, question=question) for _, question in questions
    ]
    return found + [
        row(passage, *asked, reply, options)
        for asked, [reply] in zip(questions, answers, strict=True)
    ]


def ask(
    passage: Instance, prompt: str, options: GroundedOptions, steer: str = "", **values: str
) -> Prompt:
    """One of the prompts, with the passage between the run's marks; an answer as JSON, its support
    before it."""
    marks, text, nano = marks_of(options.secret), passage.input, options.prompts == "grounded_nano"
    form = (
        None if prompt == "question" else answer_form(options.support, text, options.answer_letters)
    )
    said = numbered(text) if prompt == "sentences" else text
    filled = fill(
        prompt_file(options.prompts, prompt),
        begin=marks.begin,
        end=marks.end,
        canary=marks.canary,
        passage=said,
        steer=steer,
        **values,
    )
    return Prompt(text=filled, schema=form, raw=nano, stop=("\n",) if nano and form is None else ())


def question_problem(
    question: str, reply: Completion, passage: Instance, options: GroundedOptions
) -> str | None:
    """Why a question cannot be used; None when it can."""
    if not question or reply.finish_reason != "stop":
        return "question truncated" if question else "empty question"
    if options.form == "closed_book" and _POINTS.search(question):
        return "question points at its text"
    return obeyed(question, passage.input, marks_of(options.secret))


def row(
    passage: Instance, kind: Kind, question: str, reply: Completion, options: GroundedOptions
) -> Instance | Reject:
    """A question with its answer and the words that support it, or why it may not stay."""
    text, about = passage.input, f"{kind}: {question}"
    said = read_answer(reply, text, options.support)
    words, marks = (
        "\n".join([said.answer, *said.evidence]) if said.answer else reply.text,
        marks_of(options.secret),
    )
    if (problem := intrusion(reply.text, marks) or obeyed(words, text, marks)) is not None:
        return reject(problem, reply.text, passage, about)
    if said.problem or (kind == "unanswerable" and said.evidence):
        return reject(said.problem or "answerable after all", reply.text, passage, about)
    if kind != "unanswerable" and not (said.evidence and said.answer):
        return reject(
            "no answer" if said.evidence else "no support given", reply.text, passage, about
        )
    if kind != "unanswerable" and (
        more := unsupported(said.answer, text, question, options.least_in_passage)
    ):
        return reject("says more than the passage", said.answer, passage, f"{about} ({more})")
    answer = options.no_answer if kind == "unanswerable" else said.answer
    if options.show_quote and options.form == "passage":
        answer = "\n\n".join([answer, *(f'"{" ".join(quote.split())}"' for quote in said.evidence)])
    made = Lineage(
        f"grounded/{kind}",
        parents=(passage.id,),
        source=passage.lineage.source,
        offset=passage.lineage.offset,
        evidence=said.evidence,
    )
    return Instance(
        question,
        input=text if options.form == "passage" else "",
        output=answer,
        thinking=reply.thinking,
        lineage=made,
    )


def reject(reason: str, text: str, passage: Instance, about: str) -> Reject:
    """A reject that says where in which document."""
    return Reject(
        "grounded", reason, text, f"{passage.lineage.source} at {passage.lineage.offset:,}: {about}"
    )
