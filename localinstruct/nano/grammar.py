"""A grammar of small tasks whose right answers can be computed.

The nano models learn it, the demo measures itself with it: `make_task` writes a task, `recognise`
reads one back from its text, `check` says whether an answer is right (or None where the task is not
ours). Pure Python; how the models are trained is build.py. Not covered: paraphrases outside
phrasings.yaml, and answers that are right in other words.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from random import Random

import yaml

from localinstruct.nano import families_numbers, families_sentences, families_words
from localinstruct.nano.lexicon import HERE
from localinstruct.nano.rules import Rule, Slots

RULES: dict[str, Rule] = {
    **families_numbers.RULES,
    **families_words.RULES,
    **families_sentences.RULES,
}

# What may stand in a slot. Anything not named here is free text on one line.
NUMBERS = ("a", "b", "n", "index")
WORDS = ("word", "capitals", "var", "name", "day", "month", "old", "new", "position")
PATTERNS = {
    **dict.fromkeys(NUMBERS, r"\d+"),
    **dict.fromkeys(WORDS, r"[A-Za-z]+"),
    "numbers": r"\d+(?:, \d+)+",
    "items": r"[A-Za-z ]+(?:, [A-Za-z ]+)+",
    "quoted": r"'[a-z]+'(?:, '[a-z]+')+",
}
ANYTHING = r"[^\n\0]+?"
SLOT = re.compile(r"\{(\w+)\}")
ARTICLE = re.compile(r"\ba \{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Phrasing:
    """One way to ask: two templates and the pattern that reads them back."""

    instruction: str
    input: str
    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of task: its phrasings, and the rule that draws its slots and answers it."""

    name: str
    phrasings: tuple[Phrasing, ...]
    rule: Rule


@dataclass(frozen=True, slots=True)
class Task:
    """One task with its right answer."""

    family: str
    instruction: str
    input: str
    output: str


def phrasing(text: str) -> Phrasing:
    """Read "instruction || input"; a slot that occurs twice must be filled alike."""
    instruction, _, given = text.partition(" || ")
    parts = SLOT.split(f"{instruction}\0{given}")  # text, slot, text, slot, ..., text
    pattern = _escape(parts[0])
    for place in range(1, len(parts), 2):
        slot, literal = parts[place], parts[place + 1]
        again = slot in parts[1:place:2]
        pattern += f"(?P={slot})" if again else f"(?P<{slot}>{PATTERNS.get(slot, ANYTHING)})"
        pattern += _escape(literal)
    return Phrasing(instruction, given, re.compile(pattern))


def _escape(literal: str) -> str:
    """Escape the text between two slots; an article before a slot may also be "an"."""
    return re.sub(r"\ba\\ $", r"an?\\ ", re.escape(literal))


def fill(template: str, slots: Slots) -> str:
    """Put the words into a template, with "an" where the word begins with a vowel."""

    def article(match: re.Match[str]) -> str:
        vowel = slots[match[1]][0] in "aeiou"
        return f"{'an' if vowel else 'a'} {{{match[1]}}}"

    return ARTICLE.sub(article, template).format_map(slots)


@lru_cache
def families() -> dict[str, Family]:
    """All families by name, in the order of phrasings.yaml."""
    text = (HERE / "phrasings.yaml").read_text("utf-8")
    phrasings: dict[str, list[str]] = yaml.load(text, Loader=yaml.CSafeLoader)
    return {
        name: Family(name, tuple(map(phrasing, texts)), RULES[name])
        for name, texts in phrasings.items()
    }


@lru_cache
def _weights() -> tuple[tuple[str, ...], tuple[float, ...]]:
    known = families()
    return tuple(known), tuple(family.rule.weight for family in known.values())


def draw_family(rng: Random) -> str:
    """Draw a family name; the families that are hard to learn have larger weights."""
    names, weights = _weights()
    return rng.choices(names, weights)[0]


def make_task(rng: Random, family: str | None = None) -> Task:
    """Write one task of a family (drawn by weight when none is named)."""
    chosen = families()[family or draw_family(rng)]
    slots, asked = chosen.rule.make(rng), rng.choice(chosen.phrasings)
    instruction, given = fill(asked.instruction, slots), fill(asked.input, slots)
    return Task(chosen.name, instruction, given, chosen.rule.answer(slots))


def readings(instruction: str, input: str) -> Iterator[tuple[str, Slots]]:
    """Give every (family, slots) that the text can be read as."""
    text = f"{instruction.strip()}\0{input.strip()}"
    for family in families().values():
        for asked in family.phrasings:
            match = asked.pattern.fullmatch(text)
            if match and _answerable(family, match.groupdict()):
                yield family.name, match.groupdict()


def _answerable(family: Family, slots: Slots) -> bool:
    try:
        return bool(family.rule.answer(slots))
    except (KeyError, ValueError, IndexError):  # the words are outside the lexicon: not one of ours
        return False


def recognise(instruction: str, input: str) -> tuple[str, Slots] | None:
    """Give the family of a task and the words in its slots, or None."""
    return next(readings(instruction, input), None)


def check(instruction: str, input: str, output: str) -> bool | None:
    """Say whether the output is the right answer; None when the task is not one of ours."""
    reading = recognise(instruction, input)
    if reading is None:
        return None
    family, slots = reading
    return families()[family].rule.answer(slots) == output.strip()
