"""Diagnosis of a run in words: the reject that matters most and the key that cures it, and the end.

A table from reject to key; a reason that is not in it is answered for by its stage. What a person
does about it stays theirs: nothing is changed by itself.
"""

from collections.abc import Sequence

from localinstruct.generation.scheduler import Job
from localinstruct.methods import OVER_DOCUMENTS, OVER_SEEDS
from localinstruct.records import Instance
from localinstruct.topics.coverage import is_covered

CANDIDATES = 20
"""Candidates after which a diagnosis is made."""
DOMINANT = 0.25
"""Share of the candidates that one reason must have to be worth a line."""
Cure = tuple[str, tuple[str, ...]]
"""(what it means, the keys that cure it)."""

_CUT: Cure = ("cut at {max_tokens} tokens", ("sampling.max_tokens",))
_SILENT: Cure = (
    "the teacher wrote nothing or was refused: its chat template, context or prompts do not fit",
    ("models.teacher", "serve.max_model_len"),
)
_ALIKE: Cure = (
    "the teacher repeats itself: sample more freely, bring more seeds, or let closer rows pass "
    "(at {threshold:g} now)",
    ("sampling.temperature", "seeds", "novelty.threshold"),
)
_QUESTION: Cure = ("questions are cut", ("method.magpie.question_tokens", "sampling.max_tokens"))
CURES: dict[tuple[str, str], Cure] = {
    ("parse", "truncated"): _CUT,
    ("rewrite", "truncated"): _CUT,
    ("parse", "answer truncated"): _CUT,
    ("evolution", "answer truncated"): _CUT,
    ("grounded", "answer truncated"): _CUT,
    ("parse", "question truncated"): _QUESTION,
    ("grounded", "question truncated"): _CUT,
    ("parse", "no list"): (
        "the teacher answers in place of going on with the list: a base model, or a method for "
        "chat models (magpie, answer)",
        ("method", "models.teacher"),
    ),
    ("parse", "empty completion"): _SILENT,
    ("rewrite", "empty completion"): _SILENT,
    ("parse", "no answer"): _SILENT,
    ("parse", "not answered"): _SILENT,
    ("parse", "empty question"): _SILENT,
    ("grounded", "not answered"): _SILENT,
    ("parse", "kind unclear"): (
        "the teacher does not say yes or no: a stronger one, or its chat form",
        ("models.teacher", "method.self_instruct.prompts"),
    ),
    ("novelty", "too similar"): _ALIKE,
    ("novelty", "exact repetition"): _ALIKE,
    ("constraints", "constraints not kept"): (
        "the model seldom keeps what was asked: more answers, fewer constraints, easier kinds",
        tuple(
            f"{place}.constraints.{key}"
            for place in ("method", "then")
            for key in ("answers", "most", "kinds", "ways")
        ),
    ),
    ("cot_self_instruct", "no majority"): (
        "fresh answers differ: easier seeds, a stronger model to answer, or a lower temperature",
        ("seeds", "models.answerer", "sampling.temperature"),
    ),
    ("cot_self_instruct", "majority differs from the written answer"): (
        "the answer written with a task is often wrong: easier seeds, or a stronger teacher",
        ("seeds", "models.teacher"),
    ),
    ("cot_self_instruct", "answers unreadable"): (
        "answers are cut at {max_tokens} tokens, or end without 'Answer:'",
        ("sampling.max_tokens", "models.answerer"),
    ),
    ("code", "assert failed"): (
        "functions and asserts do not agree: easier seeds, more functions for each exercise, or a "
        "stronger teacher",
        ("seeds", "method.code.answers", "models.teacher"),
    ),
    ("code", "too few asserts"): (
        "tests call the function seldom, or are no asserts",
        ("method.code.asserts", "models.answerer"),
    ),
    ("code", "mutants not noticed"): (
        "broken copies pass too: more asserts, or a smaller share",
        ("method.code.asserts", "method.code.noticed"),
    ),
    ("code", "too slow"): ("they take longer than they may", ("method.code.seconds",)),
    ("code", "too much memory"): ("they take more than they may", ("method.code.memory_mib",)),
    ("coverage", "quota full"): (
        "topics have their rows; larger quotas, or more topics",
        ("coverage.topics",),
    ),
    ("coverage", "document full"): (
        "documents have their rows; more of each, or more documents",
        ("method.grounded.per_source", "seeds"),
    ),
    ("judge", "judged too low"): (
        "the judge finds them too weak: a stronger teacher, or a lower bar",
        ("models.teacher", "then.judge.at_least"),
    ),
    ("preference", "near tie"): (
        "the answers are too close: sample more freely, or take smaller differences",
        ("sampling.temperature", "method.preference.margin"),
    ),
    ("preference", "one answer only"): (
        "the answers are all the same: sample more freely, or ask other models as well",
        ("sampling.temperature", "method.preference.by", "models.rivals"),
    ),
    ("preference", "best too low"): (
        "even the best answer is too weak",
        ("models.answerer", "method.preference.at_least"),
    ),
    ("rewrite", "unchanged"): (
        "the seeds come back as they are: a stronger teacher, or a higher temperature",
        ("models.teacher", "sampling.temperature"),
    ),
    ("grounded", "quote not in the passage"): (
        "the teacher does not copy to the letter: sentences by number are easier",
        ("method.grounded.support",),
    ),
    ("grounded", "answer not in form"): (
        "answers are not the JSON asked for: sentences by number are easier",
        ("method.grounded.support", "models.answerer"),
    ),
    ("grounded", "answer without content"): (
        "answers are a letter or a yes: a stronger model to answer",
        ("models.answerer", "models.teacher"),
    ),
    ("grounded", "support is the whole text"): (
        "every sentence is named as support: quotations ask for a choice",
        ("method.grounded.support", "models.answerer"),
    ),
    ("grounded", "says more than the passage"): (
        "answers say more than their passage",
        ("method.grounded.least_in_passage", "models.answerer"),
    ),
    ("grounded", "answerable after all"): (
        "the passage answers what should be unanswerable: leave that kind out",
        ("method.grounded.kinds",),
    ),
    ("filter", "own filter"): ("your own filter refuses them: look at it", ()),
}
"""(stage, reason) of a reject -> its cure."""
STAGES: dict[str, Cure] = {
    "parse": ("the teacher's form is not the one asked for", ("models.teacher", "method")),
    "filter": ("a filter refuses them", ("filters.set",)),
    "novelty": _ALIKE,
    "coverage": ("topics or documents have their rows", ("coverage.topics",)),
    "judge": (
        "the judge gives no grade in form: another judge, or grades alone",
        ("models.judge", "then.judge.grading.reason"),
    ),
    "preference": ("the judge gives no grade in form", ("models.judge",)),
    "evolution": (
        "the evolved tasks fail the paper's rules: a stronger teacher, or other operations",
        ("models.teacher", "method.evol_instruct.operations"),
    ),
    "cot_self_instruct": (
        "answers are too long to compare: seeds with shorter ones",
        ("seeds", "models.teacher"),
    ),
    "code": (
        "the functions cannot be executed as they are written: easier seeds, or a stronger teacher",
        ("seeds", "models.teacher"),
    ),
    "verbalized": (
        "the probabilities that the teacher states are too high, or missing",
        ("method.alpaca.tail", "models.teacher"),
    ),
    "rewrite": ("the new wordings cannot be used", ("models.teacher",)),
    "grounded": ("questions or answers do not keep to their passage", ("models.teacher",)),
}
"""Stage of a reject -> the cure of its other reasons."""


def diagnosis(job: Job, counts: Sequence[tuple[str, str, int]], kept: int) -> str | None:
    """One line about the dominant reject and its keys; None where none stands out.

    `counts` are (stage, reason, number), the most frequent first; `kept` rows were kept beside.
    """
    candidates = kept + sum(number for *_, number in counts)
    if not counts or counts[0][2] < DOMINANT * candidates:
        return None
    stage, reason, number = counts[0]
    about, keys = CURES.get((stage, reason)) or STAGES.get(stage, ("", ()))
    about = about.format(max_tokens=job.sampling.max_tokens, threshold=job.novelty.threshold)
    said = f"{number} of {candidates} candidates: {reason}" + (f" ({about})" if about else "")
    mine = [key for key in keys if _is_of(job, key)]
    return f"{said}. " + (f"Look at {', '.join(mine)}" if mine else "See show --rejects")


def _is_of(job: Job, key: str) -> bool:
    """Tell whether a key belongs to this run: keys of other methods do not."""
    section, _, rest = key.partition(".")
    name = rest.partition(".")[0]
    if section == "then":
        return getattr(job.then, name) is not None
    return section != "method" or name in ("", job.method.name)


def ending(job: Job, episodes: int, kept: Sequence[Instance]) -> str:
    """The reason why a run that did not reach its target has ended."""
    if len(kept) >= job.generate.target:
        return "target reached"
    if is_covered(job.coverage, kept):
        return "every topic has its quota (coverage.topics)"
    name = job.method.name
    if name in OVER_DOCUMENTS:
        rounds = "" if job.method.options.rounds == 1 else f" {job.method.options.rounds} times"
        more = "more documents, or method.grounded.rounds, bring more"
        return f"all {len(job.seeds):,} passages were asked about{rounds}; {more}"
    if name in OVER_SEEDS:
        more = "more tasks" + (" or rounds" if name == "constraints" else "")
        return f"all {len(job.seeds):,} tasks of the seed file were asked; {more} bring more"
    return f"{name} has no more than {episodes:,} episodes"
