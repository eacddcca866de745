"""Constraints that code can verify: requests ask for a form, and answers that have it become rows.

A request gets one to three constraints that can be kept together (`constraint_kinds`), the model
answers several times, and each answer is held against every check (AutoIF, Dong et al. 2024, arXiv
2406.13542) and the rules of cleaning. Where none passes, an answer is brought into form by code, or
constraints that an answer keeps anyway are mined from it and asked for instead (RECAST, arXiv
2505.19030). Beside a passing answer stands a failing one of the same request, ready for DPO. A
method over the tasks of the seed file, and the step `then.constraints`. Whole kinds and whole
requests are kept out for evaluation (evaluate.constraints). Not covered: whether an answer in form
is also a good one (`then.judge`).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from pydantic import Field, field_validator, model_validator

from localinstruct.config import Section, did_you_mean
from localinstruct.curate.filters import Filters, examine
from localinstruct.formats.checks import keeps, keeps_one
from localinstruct.methods.answer import ask, no_answer, problem, with_answer
from localinstruct.methods.constraint_kinds import (
    Constraints,
    constrained,
    drawn,
    mined,
    repaired,
    wordings,
)
from localinstruct.methods.constraint_repairs import without_rest
from localinstruct.methods.judge import row_text
from localinstruct.records import (
    Completion,
    Episode,
    EpisodeShape,
    Instance,
    Lineage,
    PoolView,
    Reject,
    digest,
)

Way = Literal["sample", "repair", "mine", "any"]
HELD_OUT = (
    "max_sentences",
    "parentheses",
    "title_case",
    "last_word",
    "not_contains",
    "numbered",
    "quotations",
    "word_in_last_sentence",
    "no_digits",
)
"""Kinds that are never asked for unless the recipe says so: one of each family with several."""
COPIED = 5
"""Words of a constraint, other than those in its quotation marks, that an answer may not repeat in
a row: small models talk about the demand in place of keeping it."""
_RULES = Filters()
_WORD, _QUOTED = re.compile(r"[^\W_]+"), re.compile(r'"[^"\n]*"|<[^>\n]*>|\*\*[^*\n]*\*\*')


class ConstraintsOptions(Section):
    """Options of `constraints`, as a method and as a step."""

    most: int = Field(3, ge=1, le=5)
    """Constraints of a request, at most; one is as likely as all larger numbers together."""
    answers: int = Field(4, ge=1, le=64)
    """Answers asked for each request."""
    ways: list[Way] = Field(default=["sample", "repair", "mine"], min_length=1)
    """Ways to a row, the first that leads to one: sample (an answer that passes as it is), repair
    (one that code brings into form), mine (constraints that an answer keeps, asked for instead);
    any (the first whole answer, verified by nothing: rows to compare the others with)."""
    loose: bool = False
    """An answer also passes that keeps its constraints loosely, as in IFEval: without its first or
    last line, or without asterisks."""
    kinds: dict[str, float] = Field(default_factory=dict)
    """Weights of kinds, over those that ship (docs/constraints.md); 0 leaves a kind out."""
    only: list[str] = Field(default_factory=list)
    """Kinds that rows ask for, and no others; empty: all. Few kinds with many rows of each teach a
    small model more than many with few."""
    held_out_kinds: list[str] = Field(default=list(HELD_OUT))
    """Kinds that no row asks for, so that evaluation can ask for kinds that were never trained."""
    held_out_requests: float = Field(0.2, ge=0, le=0.9)
    """Share of the seed file's requests, chosen by their words, that are kept out for evaluation.
    As a step it leaves out no row."""
    rounds: int = Field(1, ge=1, le=1000)
    """Times that each request is asked, each time with other constraints."""
    pairs: bool = True
    """Keep a failing answer to the same request as the rejected one (train.objective: dpo)."""
    own_answer: bool = False
    """Mine the answer that the row already has, before those of the model."""
    system: str = ""
    """System turn for the answering model; not kept in the rows."""

    @field_validator("kinds", "only", "held_out_kinds")
    @classmethod
    def _known(cls, names: dict[str, float] | list[str]) -> dict[str, float] | list[str]:
        unknown = [name for name in names if name not in wordings()]
        if unknown:
            advice = did_you_mean(unknown[0], wordings())
            raise ValueError(f"no kind of constraint {unknown[0]!r}; {advice}")
        return names

    @model_validator(mode="after")
    def _something_is_left(self) -> "ConstraintsOptions":
        both = [name for name in self.only if name in self.held_out_kinds]
        if both:
            raise ValueError(f"{both[0]!r} is in only and in held_out_kinds; leave it out of one")
        if min(self.kinds.values(), default=0) < 0 or not any(self.weights.values()):
            raise ValueError("expected a kind of a weight above 0 that is not held out; found none")
        return self

    @property
    def weights(self) -> dict[str, float]:
        """Kind -> its weight, of those that rows ask for."""
        given = {name: wording.weight for name, wording in wordings().items()} | self.kinds
        asked = set(self.only or given) - set(self.held_out_kinds)
        return {name: weight for name, weight in given.items() if name in asked}

    @property
    def shape(self) -> EpisodeShape:
        """Rows, prompts and use of kept rows of an episode."""
        return EpisodeShape(sees_kept=False)

    @property
    def chats(self) -> tuple[str, ...]:
        """Roles that are asked in a chat."""
        return ("answerer",)


def is_held_out(row: Instance, share: float) -> bool:
    """True for a request that is kept out for evaluation: by its words alone, whatever its place.

    About `share` of all requests are.
    """
    return int(digest([row.instruction, row.input])[:8], 16) < share * 16**8


def constraints(pool: PoolView, options: ConstraintsOptions, rng: Random) -> Episode:
    """The method: episode k asks for task k of the seed file, over again for each round."""
    seed = pool.seeds[pool.number % len(pool.seeds)]
    if is_held_out(seed, options.held_out_requests):
        return []
    row = replace(seed, lineage=Lineage(method="constraints", parents=(seed.id,)))
    return (yield from constraint_rows([row], options, rng))


def constraint_rows(rows: Sequence[Instance], options: ConstraintsOptions, rng: Random) -> Episode:
    """The step: every row as a request with constraints and a verified answer, or a reject."""
    tasks = [asked(row, options, rng) for row in rows]
    replies = yield [ask(task, "answerer", options.answers, options.system) for task in tasks]
    return [
        Contest.of(row, task, completions, options).row(options, rng)
        for row, task, completions in zip(rows, tasks, replies, strict=True)
    ]


def asked(row: Instance, options: ConstraintsOptions, rng: Random) -> Instance:
    """The request with drawn constraints in its words and its lineage."""
    chosen = drawn(
        rng, f"{row.instruction} {row.output}", how_many(options.most, rng), options.weights
    )
    return _with(row, chosen, rng)


def how_many(most: int, rng: Random) -> int:
    """A number of constraints from 1 to `most`; each is half as likely as the one before."""
    return rng.choices(range(1, most + 1), [0.5**n for n in range(most)])[0]


def _with(row: Instance, chosen: Constraints, rng: Random) -> Instance:
    lineage = replace(row.lineage, constraints=chosen)
    return replace(row, instruction=constrained(row, chosen, rng), lineage=lineage)


@dataclass(frozen=True)
class Contest:
    """One request with its answers: whole ones, and those that were cut."""

    plain: Instance
    """The row before it had constraints."""
    task: Instance
    whole: list[Instance]
    cut: list[Instance]
    first: Completion

    @classmethod
    def of(
        cls,
        plain: Instance,
        task: Instance,
        replies: Sequence[Completion],
        options: ConstraintsOptions,
    ) -> "Contest":
        """The replies sorted."""
        whole = [with_answer(task, one, "answerer") for one in replies if not problem(one)]
        cut = [
            with_answer(task, one, "answerer")
            for one in replies
            if problem(one) == "answer truncated"
        ]
        return cls(plain, task, whole, cut, replies[0])

    def row(self, options: ConstraintsOptions, rng: Random) -> Instance | Reject:
        """The row of the first way that leads to one."""
        steps: dict[Way, Callable[[ConstraintsOptions, Random], Instance | None]] = {
            "sample": self._sampled,
            "repair": self._repaired,
            "mine": self._mined,
            "any": self._unverified,
        }
        for way in options.ways:
            found = steps[way](options, rng)
            if found is not None:
                before = found.lineage.method.removesuffix("constraints")
                origin = f"{before and before + '+'}constraints/{way}"
                lineage = replace(found.lineage, method=origin)
                share = len(self._passing(options)) / max(1, len(self.whole) + len(self.cut))
                return replace(found, lineage=lineage).with_scores(passed=round(share, 3))
        return self._reject(options)

    def _passing(self, options: ConstraintsOptions) -> list[Instance]:
        return [one for one in self.whole if passes(one, options.loose)]

    def _sampled(self, options: ConstraintsOptions, _: Random) -> Instance | None:
        for answer in self._passing(options):
            if is_clean(answer, options.loose) and self._has_own_words(answer):
                return self._against(answer, options)
        return None

    def _has_own_words(self, answer: Instance) -> bool:
        """True unless the answer repeats what it was asked: COPIED words of the constraints.

        Or unless it is nothing but the words in their quotation marks.
        """
        demand = self.task.instruction.removeprefix(self.plain.instruction)
        runs = [_WORD.findall(part.casefold()) for part in _QUOTED.split(demand)]
        said = f" {' '.join(_WORD.findall(answer.output.casefold()))} "
        if any(
            f" {' '.join(run[start : start + COPIED])} " in said
            for run in runs
            for start in range(len(run) - COPIED + 1)
        ):
            return False
        for quoted in _QUOTED.findall(demand):
            said = said.replace(f" {' '.join(_WORD.findall(quoted.casefold()))} ", " ")
        return bool(said.strip())

    def _usable(self) -> list[Instance]:
        """Whole answers, then those that were cut, less their unfinished end."""
        ends = [(one, without_rest(one.output)) for one in self.cut]
        return self.whole + [replace(one, output=text) for one, text in ends if text]

    def _repaired(self, options: ConstraintsOptions, _: Random) -> Instance | None:
        for answer in self._usable():
            text = repaired(answer.output, self.task.lineage.constraints)
            better = replace(answer, output=text)
            if passes(better) and is_clean(better) and self._has_own_words(answer):
                made = (*better.lineage.changes, "brought into form")
                better = replace(better, lineage=replace(better.lineage, changes=made))
                return self._against(better, options)
        return None

    def _mined(self, options: ConstraintsOptions, rng: Random) -> Instance | None:
        own = [self.plain] if options.own_answer and self.plain.output else []
        for answer in own + self._usable():
            count = how_many(options.most, rng)
            found = mined(rng, answer.output, count, options.weights)
            origin = replace(answer.lineage, constraints={})
            row = replace(
                self.plain, output=answer.output, thinking=answer.thinking, lineage=origin
            )
            row = _with(row, found, rng)
            if found and is_clean(row) and self._has_own_words(answer):
                return self._against(row, options)
        return None

    def _unverified(self, options: ConstraintsOptions, _: Random) -> Instance | None:
        """The first whole answer that the rules let pass; its lineage claims no constraints."""
        bare = replace(self.task.lineage, constraints={})
        answers = (replace(one, lineage=bare) for one in self.whole)
        return next(filter(is_clean, answers), None)

    def _against(self, row: Instance, options: ConstraintsOptions) -> Instance:
        """The row with a failing answer to its request beside it, where there is one."""
        wanted = row.lineage.constraints
        if not options.pairs:
            return row
        worse = next((one for one in self.whole if not keeps(wanted, one.output, loose=True)), None)
        if worse is None:
            return row
        lineage = replace(row.lineage, rejected_by="answerer")
        return replace(row, rejected=worse.output, lineage=lineage)

    def _reject(self, options: ConstraintsOptions) -> Reject:
        """The reject of a request without a passing answer: how many kept each constraint."""
        if not self.whole:
            return no_answer(self.task, self.first)
        wanted = self.task.lineage.constraints
        counts = {
            name: sum(keeps_one(name, value, one.output, loose=options.loose) for one in self.whole)
            for name, value in wanted.items()
        }
        detail = ", ".join(f"{name} {count}" for name, count in counts.items())
        reason = "rejected by a rule" if self._passing(options) else "constraints not kept"
        detail = f"of {len(self.whole)} whole answers kept: {detail}"
        return Reject("constraints", reason, row_text(self.whole[0]), detail)


def passes(row: Instance, loose: bool = False) -> bool:
    """True when the row's answer keeps its constraints."""
    return keeps(row.lineage.constraints, row.output, loose=loose)


def is_clean(row: Instance, loose: bool = False) -> bool:
    """True when every rule of cleaning lets the row pass, and its repairs leave its form."""
    verdict = examine(row, _RULES)
    return verdict.reject is None and passes(verdict.row, loose)
