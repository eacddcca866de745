"""Grounded: questions about a passage of a document, answered with its own words as support.

A passage is asked about in several kinds; the answering model sees passage and question, not the
kind, and either quotes the passage or says that it does not tell. An answer that quotes something
that is not there, says more than is there, or shows that it obeyed the document, is a reject.
Documents are read before the first episode (`generation/inputs.py`); they stand between marks drawn
for the run (`untrusted.py`). Not covered: questions over several documents, and whether the
quotation is a good one (`then: {judge: {grading: {rubric: grounded}}}`).
"""

import re
from random import Random
from typing import Literal

from pydantic import Field

from localinstruct.config import Section
from localinstruct.curate.invisible import clean
from localinstruct.methods.prompt_files import prompt_file
from localinstruct.methods.support import (
    SupportedAnswer,
    answer_schema,
    number_sentences,
    read_answer,
    stems,
    support_problem,
    unsupported_part,
)
from localinstruct.methods.untrusted import intrusion, marks_of, sign_of_obedience
from localinstruct.records import (
    Completion,
    Episode,
    EpisodeShape,
    Instance,
    Lineage,
    PoolView,
    Prompt,
    Reject,
    fill,
)

Kind = Literal["fact", "why", "how", "list", "summary", "yes_no", "unanswerable"]
KINDS: tuple[Kind, ...] = ("fact", "why", "how", "list", "summary", "yes_no", "unanswerable")
WHOLE: frozenset[Kind] = frozenset({"list", "summary"})
"""Kinds whose answers may rest on all of a passage."""
_HEADING = re.compile(r"^\W*(?:question|request)\W*:\W*", re.IGNORECASE)
_POINTS_NOW = re.compile(
    r"\b(?:this|the|that) (?:given |above |provided )?(?:text|passage|document|excerpt|material)\b"
    r"|\b(?:mentioned|named|described|stated|given|shown|see|the) above\b|\babove\W*$|<<<|>>>",
    re.IGNORECASE,
)
_ASKED = re.compile(r"\?(?=[\s\"'”’)*]|$)|[？؟]")
_ANSWERED = re.compile(r"^\W*(?:answer|a)\W*:", re.IGNORECASE | re.MULTILINE)
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
    """Times that every passage is asked about."""
    per_source: int | None = Field(50, ge=1)
    """Rows to keep of one document at most; None sets no limit."""
    form: Literal["passage", "closed_book"] = "passage"
    """Rows with the passage as their input, or without it (then nothing unanswerable is asked)."""
    support: Literal["quote", "sentences"] = "quote"
    """Form in which an answer names its support: words it copies, or numbers of sentences.

    Weaker models manage numbers better.
    """
    show_quote: bool = True
    """Answers end with the words that support them (form: passage)."""
    least_in_passage: float = Field(0.5, ge=0, le=1)
    """Share of the answer's words that the passage or the question must have.

    All of its numbers must stand there too; 0 asks neither.
    """
    no_answer: str = Field("The text does not say.", min_length=1)
    """Answer to a question that the passage does not answer."""
    passage_words: int = Field(250, ge=20, le=5000)
    """Words of a passage, at most."""
    shortest: int = Field(20, ge=3)
    """Words of a passage, at least; shorter ones are left out."""
    answer_letters: int = Field(2000, ge=20)
    """Letters of an answer and of a quotation, at most."""
    prompts: Literal["grounded", "grounded_nano"] = "grounded"
    """Wording: for any model, or in the only form the nano teacher knows."""
    secret: str = ""
    """Secret from which the marks around passages are drawn.

    Empty takes the run's seed and all documents.
    """

    @property
    def shape(self) -> EpisodeShape:
        """Rows, prompts and use of kept rows of an episode."""
        questions = min(self.questions, len(self.kinds))
        return EpisodeShape(questions, questions, sees_kept=self.per_source is not None)

    @property
    def says_topic(self) -> bool:
        """True when the prompt has a place for the topic of an episode."""
        return self.prompts == "grounded"


def grounded(pool: PoolView, options: GroundedOptions, rng: Random) -> Episode:
    """Questions about one passage, then their answers."""
    passage = pool.seeds[pool.number % len(pool.seeds)]
    kept = sum(row.lineage.source == passage.lineage.source for row in pool.kept)
    if options.per_source is not None and kept >= options.per_source:
        return []
    if (problem := intrusion(passage.input, marks_of(options.secret))) is not None:
        about = "in the passage, which was not asked about"
        return [reject(problem, passage.input, passage, about)]
    kinds = [kind for kind in options.kinds if kind != "unanswerable" or options.form == "passage"]
    kinds = rng.sample(kinds, len(kinds))[: options.questions]
    written = yield [
        ask(passage, "question", options, pool.steer, kind=prompt_file(options.prompts, kind))
        for kind in kinds
    ]
    rejects: list[Instance | Reject] = []
    questions: list[tuple[Kind, str]] = []
    for kind, [reply] in zip(kinds, written, strict=True):
        question = _HEADING.sub("", clean(reply.text).strip(), count=1)
        if problem := question_problem(question, reply, passage, options, pool.faithful):
            rejects.append(reject(problem, question, passage, kind))
        else:
            questions.append((kind, question))
    if not questions:
        return rejects
    answers = yield [
        ask(passage, options.support, options, question=question) for _, question in questions
    ]
    return rejects + [
        row(passage, kind, question, reply, options, pool.faithful)
        for (kind, question), [reply] in zip(questions, answers, strict=True)
    ]


def ask(
    passage: Instance, prompt: str, options: GroundedOptions, steer: str = "", **values: str
) -> Prompt:
    """One of the prompts, with the passage between the run's marks.

    An answer is asked for as JSON, its support before it.
    """
    marks, text, nano = marks_of(options.secret), passage.input, options.prompts == "grounded_nano"
    schema = None
    if prompt != "question":
        schema = answer_schema(options.support, text, options.answer_letters)
    filled = fill(
        prompt_file(options.prompts, prompt),
        begin=marks.begin,
        end=marks.end,
        canary=marks.canary,
        passage=number_sentences(text) if prompt == "sentences" else text,
        steer=steer,
        **values,
    )
    stop = ("\n",) if nano and schema is None else ()
    return Prompt(text=filled, schema=schema, raw=nano, stop=stop)


def question_problem(
    question: str,
    reply: Completion,
    passage: Instance,
    options: GroundedOptions,
    faithful: bool = False,
) -> str | None:
    """The reason why a question cannot be used; None when it can.

    `faithful` asks as release 0.1.0 did.
    """
    if not question or reply.finish_reason != "stop":
        return "question truncated" if question else "empty question"
    if problem := sign_of_obedience(question, passage.input, marks_of(options.secret)):
        return problem
    if not faithful:
        return _form_problem(question, passage.input)
    points = options.form == "closed_book" and _POINTS.search(question)
    return "question points at its text" if points else None


def _form_problem(question: str, passage: str) -> str | None:
    """The reason why a text is not one question that stands without its passage, or None."""
    if _POINTS_NOW.search(question):
        return "question points at its text"
    asked = list(_ASKED.finditer(question))
    if len(asked) > 1:
        return "several questions"
    behind = stems(question[asked[0].end() :]) if asked else set()
    told = len(behind) > 1 and 2 * len(behind & stems(passage)) > len(behind)
    return "question with its answer" if told or _ANSWERED.search(question) else None


def row(
    passage: Instance,
    kind: Kind,
    question: str,
    reply: Completion,
    options: GroundedOptions,
    faithful: bool = False,
) -> Instance | Reject:
    """A question with its answer and the words that support it, or the reject that says why not."""
    text, about = passage.input, f"{kind}: {question}"
    supported = read_answer(reply, text, options.support)
    if (problem := answer_problem(supported, kind, reply, text, options)) is not None:
        return reject(problem, reply.text, passage, about)
    answer = supported.answer
    if kind == "unanswerable":
        answer = options.no_answer
    elif more := unsupported_part(answer, text, question, options.least_in_passage, faithful):
        return reject("says more than the passage", answer, passage, f"{about} ({more})")
    elif not faithful and (problem := support_problem(supported, text, kind in WHOLE)):
        return reject(problem, reply.text, passage, about)
    if options.show_quote and options.form == "passage":
        quotes = [f'"{" ".join(quote.split())}"' for quote in supported.evidence]
        answer = "\n\n".join([answer, *quotes])
    lineage = Lineage(
        f"grounded/{kind}",
        parents=(passage.id,),
        source=passage.lineage.source,
        offset=passage.lineage.offset,
        evidence=supported.evidence,
    )
    given = text if options.form == "passage" else ""
    return Instance(question, given, answer, thinking=reply.thinking, lineage=lineage)


def answer_problem(
    supported: SupportedAnswer,
    kind: Kind,
    reply: Completion,
    passage: str,
    options: GroundedOptions,
) -> str | None:
    """The reason why an answer cannot be used (words beyond the passage aside), or None."""
    answer, evidence, marks = supported.answer, supported.evidence, marks_of(options.secret)
    words = "\n".join([answer, *evidence]) if answer else reply.text
    if problem := intrusion(reply.text, marks) or sign_of_obedience(words, passage, marks):
        return problem
    if supported.problem:
        return supported.problem
    if kind == "unanswerable":
        return "answerable after all" if evidence else None
    if not evidence:
        return "no support given"
    return None if answer else "no answer"


def reject(reason: str, text: str, passage: Instance, about: str) -> Reject:
    """A reject that says where in which document."""
    place = f"{passage.lineage.source} at {passage.lineage.offset:,}"
    return Reject("grounded", reason, text, f"{place}: {about}")
