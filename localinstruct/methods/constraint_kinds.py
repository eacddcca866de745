"""Kinds of constraints that `constraints` asks for: drawn, put into words, found in a text.

A kind has the name of its check (formats/checks_of_form.py). Its words and the kinds that it cannot
stand beside are in prompts/constraints/kinds.yaml. `draw` gives the argument of a constraint for a
request; `mine` finds in a text the argument that it keeps (as RECAST does, arXiv 2505.19030), or
None; `repaired` brings a text into form by code. Pure. Not covered:
whether a request makes sense with its constraints.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from random import Random
from typing import Any

import yaml

from localinstruct.curate.languages import common_words
from localinstruct.formats import measures
from localinstruct.formats.checks import keeps_one
from localinstruct.formats.checks_of_form import CHECKS, FAMILY_OF
from localinstruct.formats.measures import lines_of, paragraphs_of, sentences_of, words_of
from localinstruct.methods.constraint_repairs import REPAIRS
from localinstruct.records import Instance, fill

Argument = Any
Constraints = dict[str, Argument]
"""Name of a kind -> its argument."""
FREQUENT = 12
"""Words of a request, the first ones, that a constraint may be about."""
SPOKEN = ("French", "German", "Spanish", "Italian", "Portuguese")
"""Languages that are asked for."""


@dataclass(frozen=True, slots=True)
class Wording:
    """A kind in kinds.yaml."""

    says: tuple[str, ...]
    claims: frozenset[str] = frozenset()
    not_with: frozenset[str] = frozenset()
    weight: float = 1.0


@dataclass
class Vocabulary:
    """Words that one request's constraints are about; each is taken once."""

    rng: Random
    own: list[str]
    """Content words of the request, or of the answer that constraints are mined from."""
    _taken: set[str] = field(default_factory=set)

    def take(self, count: int = 1) -> list[str]:
        """Words of the request in its order; those of the list where it has too few."""
        free = [word for word in self.own if word not in self._taken][:FREQUENT]
        if len(free) < count:
            others = [word for word in listed("words") if word not in {*self._taken, *free}]
            free += self.rng.sample(others, count - len(free))
        places = sorted(self.rng.sample(range(len(free)), count))
        self._taken.update(free[place] for place in places)
        return [free[place] for place in places]

    def of(self, name: str, count: int = 1) -> list[str]:
        """Entries of a list in words.yaml."""
        return self.rng.sample(listed(name), count)


Draw = Callable[[Random, Vocabulary], Argument]
Mine = Callable[[str, Vocabulary], Argument | None]


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind's argument is drawn, and how it is found in a text."""

    draw: Draw
    mine: Mine | None = None


@cache
def wordings() -> dict[str, Wording]:
    """Every kind that can be asked for, from kinds.yaml."""
    return {
        name: Wording(
            tuple(entry["says"]),
            frozenset(entry.get("claims", ())),
            frozenset(entry.get("not_with", ())),
            float(entry.get("weight", 1)),
        )
        for name, entry in _file("kinds").items()
    }


@cache
def listed(name: str) -> list[str]:
    """A list of words.yaml."""
    return list(_file("words")[name])


@cache
def _file(name: str) -> dict[str, Any]:
    folder = resources.files("localinstruct.methods") / "prompts" / "constraints"
    return dict(yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8")))


def compatible(one: str, other: str) -> bool:
    """True when both kinds may be asked of one answer."""
    first, second = wordings()[one], wordings()[other]
    return (
        one != other
        and first.claims.isdisjoint(second.claims)
        and first.not_with.isdisjoint({other, FAMILY_OF[other]})
        and second.not_with.isdisjoint({one, FAMILY_OF[one]})
    )


def vocabulary(rng: Random, text: str) -> Vocabulary:
    """Content words of a text: of four letters and more, not among the commonest."""
    found = dict.fromkeys(word for word in words_of(text) if len(word) > 3 and word.isalpha())
    return Vocabulary(rng, [word for word in found if word not in common_words()])


def drawn(rng: Random, request: str, count: int, weights: Mapping[str, float]) -> Constraints:
    """At most `count` constraints that can be kept together, for a request."""
    words = vocabulary(rng, request)
    return _choose(rng, count, weights, lambda name: KINDS[name].draw(rng, words))


def mined(rng: Random, text: str, count: int, weights: Mapping[str, float]) -> Constraints:
    """At most `count` constraints that a text keeps; {} where none is found in it."""
    words = vocabulary(rng, text)

    def argument(name: str) -> Argument | None:
        mine = KINDS[name].mine
        value = mine(text, words) if mine else None
        return value if value is not None and keeps_one(name, value, text) else None

    return _choose(rng, count, weights, argument)


def _choose(
    rng: Random,
    count: int,
    weights: Mapping[str, float],
    argument: Callable[[str], Argument | None],
) -> Constraints:
    """Draw kinds by weight, each compatible with those before, until there are `count`."""
    chosen: Constraints = {}
    left = {name: weight for name, weight in weights.items() if weight > 0}
    while left and len(chosen) < count:
        [name] = rng.choices(list(left), list(left.values()))
        del left[name]
        value = argument(name)
        if value is None or clash({**chosen, name: value}):
            continue
        chosen[name] = value
        left = {other: weight for other, weight in left.items() if compatible(name, other)}
    return chosen


_NEVER = ("avoids_words", "not_contains")


def clash(constraints: Constraints) -> bool:
    """True when one constraint forbids words that another asks for."""
    asked = [value for name, value in constraints.items() if name not in _NEVER]
    text = " ".join(part for value in asked for part in texts_in(value)).casefold()
    return any(
        part.casefold() in text for name in _NEVER for part in texts_in(constraints.get(name))
    )


def texts_in(argument: Argument) -> list[str]:
    """The texts of an argument."""
    values = argument if isinstance(argument, list) else [argument]
    return [value for value in values if isinstance(value, str)]


def sentence(name: str, argument: Argument, rng: Random) -> str:
    """The constraint in one of its wordings."""
    texts = texts_in(argument)
    values = argument if isinstance(argument, list) else [argument]
    numbers = [value for value in values if type(value) is int]
    quoted = [f'"{text}"' for text in texts]
    words: dict[str, str | int] = {"texts": _joined(quoted, "and"), "either": _joined(quoted, "or")}
    words |= {"what": texts[0]} if texts else {}
    words |= {"n": numbers[0], "low": numbers[0], "high": numbers[-1]} if numbers else {}
    return _PLURAL_OF_ONE.sub(r"1 \1", fill(rng.choice(wordings()[name].says), **words))


_PLURAL_OF_ONE = re.compile(r"\b1 ((?:question |exclamation |list |bullet |Markdown )?\w{3,})s\b")


def _joined(texts: Sequence[str], word: str) -> str:
    return f" {word} ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))


def constrained(row: Instance, constraints: Constraints, rng: Random) -> str:
    """The row's instruction followed by its constraints in words."""
    demands = [sentence(name, value, rng) for name, value in constraints.items()]
    instruction = row.instruction.rstrip()
    flows = instruction[-1:] in tuple(".!?") and "\n" not in instruction and rng.random() < 0.5
    return f"{instruction}{' ' if flows else chr(10) * 2}{' '.join(demands)}"


def repaired(text: str, constraints: Constraints) -> str:
    """The text with what code can mend for the constraints that it does not keep."""
    for name, repair in REPAIRS.items():
        if name in constraints and not keeps_one(name, constraints[name], text):
            text = (repair(text, constraints[name]) or text).strip()
    return text


def _number(low: int, high: int, step: int = 1) -> Draw:
    return lambda rng, words: rng.randrange(low, high + 1, step)


def _nothing(rng: Random, words: Vocabulary) -> bool:
    return True


def _one(name: str) -> Draw:
    return lambda rng, words: words.of(name)[0]


def _held(text: str, words: Vocabulary) -> bool:
    return True  # whether the text keeps it is asked by whoever mines


def _structured(text: str, words: Vocabulary) -> bool | None:
    """JSON that a person would call so: a sentence in quotation marks is JSON as well."""
    return text.lstrip().startswith(("{", "[", "```")) or None


def _counted(measure: Callable[[str], int], low: int, high: int) -> Mine:
    """Find a number from `low` to `high`; none where a text has fewer or more."""

    def mine(text: str, words: Vocabulary) -> int | None:
        count = measure(text)
        return count if low <= count <= high else None

    return mine


def _word_count(text: str) -> int:
    return len(text.split())


def _round_up(text: str, words: Vocabulary) -> int:
    return 10 * (_word_count(text) // 10 + 1)


def _word(text: str, words: Vocabulary) -> str | None:
    return words.take()[0] if words.own else None


def _range(text: str, words: Vocabulary) -> list[int]:
    low = 10 * (_word_count(text) // 10)
    return [low, low + 10]


def _first_letters(place: int) -> Mine:
    def mine(text: str, words: Vocabulary) -> str | None:
        found = words_of(text)
        return found[place] if found and found[place].isalpha() else None

    return mine


def _repeated(text: str, words: Vocabulary) -> list[Any] | None:
    many = {word: measures.times(text, word) for word in words.own}
    best = max(many, key=lambda word: many[word], default="")
    return [best, many[best]] if best and many[best] > 1 else None


def _several(low: int, high: int) -> Draw:
    return lambda rng, words: words.take(rng.randint(low, high))


def _own_words(text: str, words: Vocabulary) -> list[str] | None:
    return words.take(2) if len(words.own) > 1 else None


KINDS: dict[str, Kind] = {
    "words": Kind(_number(15, 60, 5), lambda text, words: min(_word_count(text), 80)),
    "min_words": Kind(_number(30, 120, 10), lambda text, words: 10 * (_word_count(text) // 10)),
    "max_words": Kind(_number(20, 80, 10), _round_up),
    "words_between": Kind(lambda rng, words: [low := rng.randrange(20, 61, 10), low + 20], _range),
    "max_characters": Kind(_number(150, 400, 50), lambda text, words: 50 * (len(text) // 50 + 1)),
    "sentences": Kind(_number(2, 5), _counted(lambda text: len(sentences_of(text)), 1, 6)),
    "max_sentences": Kind(_number(2, 4), _counted(lambda text: len(sentences_of(text)), 2, 6)),
    "sentence_words": Kind(
        _number(12, 20),
        lambda text, words: max((len(one.split()) for one in sentences_of(text)), default=None),
    ),
    "lines": Kind(_number(3, 6), _counted(lambda text: len(lines_of(text)), 2, 12)),
    "paragraphs": Kind(_number(2, 4), _counted(lambda text: len(paragraphs_of(text)), 2, 6)),
    "placeholders": Kind(_number(2, 4), _counted(measures.placeholders, 1, 6)),
    "word_times": Kind(lambda rng, words: [words.take()[0], rng.randint(2, 3)], _repeated),
    "questions": Kind(_number(1, 3), _counted(lambda text: text.count("?"), 1, 4)),
    "exclamations": Kind(_number(1, 3), _counted(lambda text: text.count("!"), 1, 4)),
    "numbers": Kind(_number(2, 4), _counted(lambda text: len(measures.numbers(text)), 2, 8)),
    "capital_words": Kind(_number(2, 4), _counted(measures.capital_words, 2, 8)),
    "bold": Kind(_number(2, 3), _counted(measures.bold, 1, 8)),
    "parentheses": Kind(_number(1, 3), _counted(measures.parentheses, 1, 4)),
    "uppercase": Kind(_nothing),
    "lowercase": Kind(_nothing),
    "title_case": Kind(_nothing),
    "starts_with": Kind(_one("starts")),
    "ends_with": Kind(_one("ends")),
    "first_word": Kind(_one("first"), _first_letters(0)),
    "last_word": Kind(lambda rng, words: words.take()[0], _first_letters(-1)),
    "ends_with_question": Kind(_nothing, _held),
    "postscript": Kind(_nothing, _held),
    "contains": Kind(_one("phrases")),
    "contains_one_of": Kind(lambda rng, words: words.of("phrases", 3)),
    "not_contains": Kind(_one("avoided_phrases"), lambda text, words: words.of("phrases")[0]),
    "uses_words": Kind(_several(1, 2), _own_words),
    "avoids_words": Kind(
        lambda rng, words: words.of("avoided", 2), lambda text, words: words.of("avoided", 2)
    ),
    "no_letter": Kind(_one("letters"), lambda text, words: words.of("letters")[0]),
    "json": Kind(_nothing, _structured),
    "json_keys": Kind(lambda rng, words: words.of("keys", 2)),
    "bullets": Kind(_number(3, 5), _counted(measures.bullets, 2, 10)),
    "numbered": Kind(_number(3, 5), _counted(measures.numbered, 2, 10)),
    "checkboxes": Kind(_number(3, 5), _counted(measures.checkboxes, 2, 10)),
    "headings": Kind(_number(2, 3), _counted(measures.headings, 1, 6)),
    "title": Kind(_nothing, _held),
    "table": Kind(_number(2, 3), _counted(measures.table_columns, 2, 6)),
    "code_block": Kind(_nothing, _held),
    "tag": Kind(_one("tags")),
    "divided": Kind(_number(2, 3)),
    "alphabetical": Kind(_nothing, _held),
    "in_order": Kind(_several(2, 2), _own_words),
    "ascending": Kind(_number(2, 4), _counted(lambda text: len(measures.numbers(text)), 2, 8)),
    "varied_starts": Kind(_number(3, 4), _counted(lambda text: len(sentences_of(text)), 3, 8)),
    "language": Kind(lambda rng, words: rng.choice(SPOKEN)),
    "quoted": Kind(_nothing),
    "quotations": Kind(_number(1, 2), _counted(measures.quotations, 1, 4)),
    "no_quotations": Kind(_nothing),
    "word_in_first_sentence": Kind(lambda rng, words: words.take()[0], _word),
    "word_in_last_sentence": Kind(lambda rng, words: words.take()[0], _word),
    "nth_word": Kind(lambda rng, words: [words.take()[0], rng.randint(2, 4)]),
    "paragraph_starts": Kind(lambda rng, words: [words.of("second")[0], 2]),
    "lines_start_with": Kind(_one("prefixes")),
    "no_commas": Kind(_nothing, _held),
    "no_digits": Kind(_nothing),
    "no_parentheses": Kind(_nothing),
}
"""Every kind that can be asked for; `CHECKS` has a few more, for task files."""
assert KINDS.keys() <= CHECKS.keys()
