"""Task families about words and short lists: letters, forms, meanings, facts, order, code."""

from collections.abc import Callable
from random import Random

from localinstruct.nano import lexicon
from localinstruct.nano.rules import Rule, Slots, known, lookup

SHORT = lexicon.listed("short_words")
CATEGORIES = lexicon.categories()
NOUNS = tuple(noun for noun in CATEGORIES if " " not in noun)
PLURALS = lexicon.plurals()
POSITIONS = {"second": 1, "third": 2}
NAMES = tuple(lexicon.names())
SURNAMES = lexicon.listed("surnames")
DROPPED_FROM_CATEGORY = {"relative"}


def items_of(slots: Slots) -> list[str]:
    """The words of the list."""
    return slots["items"].split(", ")


def some_nouns(low: int, high: int) -> Callable[[Random], Slots]:
    """A list of between low and high different nouns."""
    return lambda rng: {"items": ", ".join(rng.sample(NOUNS, rng.randint(low, high)))}


def make_sort(rng: Random) -> Slots:
    """Three short words with different first letters, not yet in order."""
    while True:
        items = rng.sample(SHORT, 3)
        if len({item[0] for item in items}) == 3 and items != sorted(items):
            return {"items": ", ".join(items)}


def make_nth(rng: Random) -> Slots:
    """A list of three or four and a place in it."""
    return {
        "items": ", ".join(rng.sample(NOUNS, rng.randint(3, 4))),
        "position": rng.choice(list(POSITIONS)),
    }


def make_repeated(rng: Random) -> Slots:
    """Three different words, one of them said twice."""
    items = rng.sample(NOUNS, 3)
    items.insert(rng.randint(0, 3), rng.choice(items))
    return {"items": ", ".join(items)}


def without_repeats(slots: Slots) -> str:
    """Keep the first of equal words."""
    items = items_of(slots)
    if len(set(items)) == len(items):
        raise ValueError("nothing is repeated")
    return ", ".join(dict.fromkeys(items))


def with_and(slots: Slots) -> str:
    """Write "a, b and c"."""
    *head, last = items_of(slots)
    return f"{', '.join(head)} and {last}"


ODD_LABELS = [
    "animal",
    "fruit",
    "vegetable",
    "colour",
    "vehicle",
    "garment",
    "profession",
    "sport",
    "furniture",
]
ODD_GROUPS = {label: [noun for noun in NOUNS if CATEGORIES[noun] == label] for label in ODD_LABELS}


def make_odd(rng: Random) -> Slots:
    """Three of one group and one of another."""
    many, few = rng.sample(list(ODD_GROUPS), 2)
    items = [*rng.sample(ODD_GROUPS[many], 3), rng.choice(ODD_GROUPS[few])]
    rng.shuffle(items)
    return {"items": ", ".join(items)}


def odd_one(slots: Slots) -> str:
    """Find the only word of its category."""
    items = items_of(slots)
    groups = [CATEGORIES[item] for item in items]
    odd = [item for item, group in zip(items, groups, strict=True) if groups.count(group) == 1]
    if len(odd) != 1 or len(set(groups)) != 2 or len(items) < 3:
        raise ValueError(slots["items"])
    return odd[0]


def make_lowname(rng: Random) -> Slots:
    """A first name and a surname without capitals."""
    return {"lowname": f"{rng.choice(NAMES)} {rng.choice(SURNAMES)}".lower()}


def title_name(slots: Slots) -> str:
    """Give both names their capitals."""
    first, last = slots["lowname"].title().split()
    return f"{known(first, NAMES)} {known(last, SURNAMES)}"


def short_word(slots: Slots) -> str:
    """The word of the slot, which must be one of the short words."""
    return known(slots["word"], SHORT)


def make_short(rng: Random) -> Slots:
    """One short word."""
    return {"word": rng.choice(SHORT)}


def make_index(rng: Random) -> Slots:
    """A Python list of three short words and an index."""
    return {
        "quoted": ", ".join(f"'{word}'" for word in rng.sample(SHORT, 3)),
        "index": str(rng.randint(0, 2)),
    }


def make_json(rng: Random) -> Slots:
    """A key and a value."""
    return {"key": rng.choice(lexicon.listed("keys")), "value": rng.choice(NOUNS)}


def json_pair(slots: Slots) -> str:
    """Write a JSON object with one key."""
    return f'{{"{known(slots["key"], lexicon.listed("keys"))}": "{slots["value"]}"}}'


def make_phrase(rng: Random) -> Slots:
    """An adjective and a noun."""
    return {"phrase": f"{rng.choice(lexicon.listed('adjectives'))} {rng.choice(NOUNS)}"}


def snake_case(slots: Slots) -> str:
    """Join two words by an underscore."""
    adjective, noun = slots["phrase"].split(" ")
    return f"{known(adjective, lexicon.listed('adjectives'))}_{noun}"


def make_document(rng: Random) -> Slots:
    """A name with an extension."""
    stem, ending = (
        rng.choice(lexicon.listed("file_stems")),
        rng.choice(lexicon.listed("extensions")),
    )
    return {"document": f"{stem}.{ending}"}


def extension(slots: Slots) -> str:
    """Give what stands after the last point."""
    return known(slots["document"].rpartition(".")[2], lexicon.listed("extensions"))


def make_sum(rng: Random) -> Slots:
    """Two operands up to 12."""
    return {"a": str(rng.randint(1, 12)), "b": str(rng.randint(1, 12))}


COUNTRIES = {number: lexicon.column("countries", number) for number in (1, 2, 3)}
CLASSED = {noun: label for noun, label in CATEGORIES.items() if label not in DROPPED_FROM_CATEGORY}
LISTS: dict[str, Rule] = {
    "count_items": Rule(some_nouns(2, 6), lambda slots: str(len(items_of(slots))), 2.0),
    "sort_words": Rule(
        make_sort, lambda slots: ", ".join(sorted(known(w, SHORT) for w in items_of(slots))), 4.0
    ),
    "first_item": Rule(some_nouns(3, 4), lambda slots: items_of(slots)[0]),
    "last_item": Rule(some_nouns(3, 4), lambda slots: items_of(slots)[-1]),
    "nth_item": Rule(make_nth, lambda slots: items_of(slots)[POSITIONS[slots["position"]]], 1.5),
    "reverse_list": Rule(some_nouns(3, 3), lambda slots: ", ".join(reversed(items_of(slots))), 1.5),
    "join_and": Rule(some_nouns(3, 3), with_and),
    "dedup": Rule(make_repeated, without_repeats, 2.0),
    "odd_one_out": Rule(make_odd, odd_one, 2.5, True),
    "python_list": Rule(
        some_nouns(2, 3), lambda slots: f"[{', '.join(repr(item) for item in items_of(slots))}]"
    ),
}
LETTERS: dict[str, Rule] = {
    "upper": Rule(make_short, lambda slots: short_word(slots).upper()),
    "lower": lookup("capitals", {word.upper(): word for word in SHORT}, 1.5),
    "title_name": Rule(make_lowname, title_name, 2.0),
    "first_letter": Rule(make_short, lambda slots: short_word(slots)[0]),
    "letter_count": Rule(make_short, lambda slots: str(len(short_word(slots)))),
    "spell": Rule(make_short, lambda slots: "-".join(short_word(slots)), 2.5),
}
MEANINGS: dict[str, Rule] = {
    "opposite": lookup("word", lexicon.opposites(), 2.0),
    "synonym": lookup("word", lexicon.column("synonyms", 1), 1.2),
    "comparative": lookup("word", lexicon.column("comparatives", 1)),
    "superlative": lookup("word", lexicon.column("comparatives", 2)),
    "plural": lookup(
        "word", {noun: many for noun, many in PLURALS.items() if " " not in noun}, 2.5
    ),
    "past": lookup("word", lexicon.column("verbs", 1), 1.3),
    "ing_form": lookup("word", lexicon.column("verbs", 2), 1.3),
    "category": lookup("word", CLASSED, 3.5, True),
    "feminine": lookup("word", lexicon.column("pairs", 1), 0.7),
}
FACTS: dict[str, Rule] = {
    "young": lookup("word", lexicon.column("young", 1), 0.6),
    "sound": lookup("word", lexicon.column("sounds", 1), 0.6),
    "legs": lookup("word", lexicon.column("legs", 1), 0.8),
    "animal_home": lookup("word", lexicon.column("animal_homes", 1), 0.6),
    "capital": lookup("country", COUNTRIES[1], 1.2),
    "country_of": lookup("city", {city: country for country, city in COUNTRIES[1].items()}, 1.6),
    "language": lookup("country", COUNTRIES[2], 1.0),
    "continent": lookup("country", COUNTRIES[3], 0.8, True),
    "workplace": lookup("word", lexicon.column("workplaces", 1), 0.7),
    "tool_of": lookup("word", lexicon.column("profession_tools", 1), 0.7),
    "material": lookup("word", lexicon.column("materials", 1), 0.7),
    "thing_colour": lookup("word", lexicon.column("thing_colours", 1), 0.7, True),
    "use": lookup("word", lexicon.column("uses", 1), 0.7),
    "who_works": lookup("action", lexicon.column("professions_by_action", 1), 0.7),
}
FORMATS: dict[str, Rule] = {
    "python_length": lookup(
        "var", {many: f"len({many})" for many in PLURALS.values() if many.isalpha()}
    ),
    "python_print": Rule(make_sum, lambda slots: str(int(slots["a"]) + int(slots["b"])), 1.5),
    "python_upper": Rule(make_short, lambda slots: short_word(slots).upper(), 0.7),
    "python_index": Rule(
        make_index, lambda slots: slots["quoted"].split(", ")[int(slots["index"])][1:-1], 1.5
    ),
    "json_pair": Rule(make_json, json_pair),
    "bold": Rule(lambda rng: {"word": rng.choice(NOUNS)}, lambda slots: f"<b>{slots['word']}</b>"),
    "snake_case": Rule(make_phrase, snake_case, 1.3),
    "extension": Rule(make_document, extension, 0.7),
}
RULES: dict[str, Rule] = LISTS | LETTERS | MEANINGS | FACTS | FORMATS
