"""Task families about sentences: facts in them, their opinion, their forms."""

import re
from random import Random

from localinstruct.nano import lexicon
from localinstruct.nano.rules import Rule, Slots, known

NAMES = lexicon.names()
CITIES, COLOURS = lexicon.listed("cities"), lexicon.words(lexicon.raw()["nouns"]["colour"])
DAYS, PLACES = lexicon.listed("weekdays"), lexicon.listed("places")
OBJECTS, ADJECTIVES = lexicon.listed("objects"), lexicon.listed("adjectives")
VERBS = {
    base: (past, ing, third) for base, past, ing, third in lexicon.rows(lexicon.raw()["verbs"])
}
THIRD_TO_PAST = {third: past for past, _, third in VERBS.values()}
PARTICIPLES = lexicon.column("participles", 1)
PAST_TO_PARTICIPLE = {VERBS[base][0]: participle for base, participle in PARTICIPLES.items()}
TO_PLACE, AT_PLACE = lexicon.listed("place_verbs"), lexicon.listed("activity_verbs")
POSITIVE, NEGATIVE = lexicon.listed("positive"), lexicon.listed("negative")
PROFESSIONS = lexicon.words(lexicon.raw()["nouns"]["profession"])
COUNTABLE = tuple(
    lexicon.plurals()[noun]
    for noun, label in lexicon.categories().items()
    if label in {"garment", "tool", "furniture", "fruit", "vehicle", "kitchen item"}
    and noun in lexicon.plurals()
)
STORIES = (
    "On {day} {name} {verb} {n} {colour} {things} in {city}.",
    "{name} {verb} {n} {colour} {things} in {city} on {day}.",
    "In {city}, {name} {verb} {n} {colour} {things} last {day}.",
    "Last {day} {name} {verb} {n} {colour} {things} near {city}.",
)
MESSAGES = (
    "Please write to {mail} about the {thing}.",
    "{name} can be reached at {mail} on {day}.",
    "Send the {thing} to {mail} before {day}.",
    "The address of {name} is {mail} since {day}.",
)
OPINIONS = (
    "The {thing} was {adjective}.",
    "What {a} {adjective} {thing} that was!",
    "I found the {thing} {adjective}.",
    "{name} says the {thing} is {adjective}.",
)
WORD = re.compile(r"[A-Za-z]+|\d+")


def make_story(rng: Random) -> Slots:
    """A sentence with one name, number, colour, city and weekday in it."""
    parts = {
        "day": rng.choice(DAYS),
        "name": rng.choice(list(NAMES)),
        "city": rng.choice(CITIES),
        "verb": rng.choice(
            ("bought", "sold", "saw", "found", "lost", "counted", "ordered", "painted")
        ),
        "n": str(rng.randint(2, 60)),
        "colour": rng.choice(COLOURS),
        "things": rng.choice(COUNTABLE),
    }
    return {"story": rng.choice(STORIES).format_map(parts)}


def only_word(text: str, words: tuple[str, ...] | dict[str, str]) -> str:
    """Give the only word of the text that is in the list."""
    [word] = [word for word in WORD.findall(text) if word in words]
    return word


def the_number(slots: Slots) -> str:
    """Give the only number of the story."""
    [number] = re.findall(r"\b\d+\b", slots["story"])
    return number


def make_message(rng: Random) -> Slots:
    """A note with one e-mail address in it."""
    mail = f"{rng.choice(list(NAMES)).lower()}@{rng.choice(lexicon.listed('mail_hosts'))}"
    parts = {
        "mail": mail,
        "thing": rng.choice(OBJECTS),
        "name": rng.choice(list(NAMES)),
        "day": rng.choice(DAYS),
    }
    return {"message": rng.choice(MESSAGES).format_map(parts)}


def the_mail(slots: Slots) -> str:
    """Give the only address of the note."""
    [mail] = re.findall(r"\b[a-z]+@[a-z]+\.[a-z]+\b", slots["message"])
    return mail


def make_opinion(rng: Random) -> Slots:
    """A sentence with one adjective that praises or blames."""
    parts = {"thing": rng.choice(lexicon.listed("reviewed")), "name": rng.choice(list(NAMES))}
    parts["adjective"] = adjective = rng.choice(rng.choice((POSITIVE, NEGATIVE)))
    parts["a"] = "an" if adjective[0] in "aeiou" and adjective != "useless" else "a"
    return {"sentence": rng.choice(OPINIONS).format_map(parts)}


def sentiment(slots: Slots) -> str:
    """Say on which side the adjective stands."""
    adjective = only_word(slots["sentence"], POSITIVE + NEGATIVE)
    return "positive" if adjective in POSITIVE else "negative"


def make_present(rng: Random) -> Slots:
    """Somebody goes to, or does something at, a place."""
    going = rng.random() < 0.5
    verb = VERBS[rng.choice(TO_PLACE if going else AT_PLACE)][2]
    where = f"to the {rng.choice(PLACES)}" if going else f"near the {rng.choice(PLACES)}"
    return {"present": f"{rng.choice(list(NAMES))} {verb} {where}."}


def to_past(slots: Slots) -> str:
    """Put the verb after the name into the past."""
    name, verb, rest = slots["present"].split(" ", 2)
    return f"{known(name, NAMES)} {THIRD_TO_PAST[verb]} {rest}"


def make_statement(rng: Random) -> Slots:
    """Somebody likes something, or something is so."""
    if rng.random() < 0.5:
        name, liking = rng.choice(list(NAMES)), rng.choice(lexicon.listed("likes"))
        return {"statement": f"{name} likes {liking}."}
    return {"statement": f"The {rng.choice(OBJECTS)} is {rng.choice(ADJECTIVES)}."}


def negate(slots: Slots) -> str:
    """Say that it is not so."""
    if match := re.fullmatch(r"([A-Z][a-z]+) likes ([a-z]+)\.", slots["statement"]):
        return f"{match[1]} does not like {match[2]}."
    if match := re.fullmatch(r"The ([a-z]+) is ([a-z]+)\.", slots["statement"]):
        return f"The {match[1]} is not {match[2]}."
    raise ValueError(slots["statement"])


def make_ability(rng: Random) -> Slots:
    """Somebody can do something, or something is so."""
    if rng.random() < 0.5:
        verb, place = rng.choice(AT_PLACE), rng.choice(PLACES)
        return {"ability": f"{rng.choice(list(NAMES))} can {verb} near the {place}."}
    return {"ability": f"The {rng.choice(OBJECTS)} is {rng.choice(ADJECTIVES)}."}


def to_question(slots: Slots) -> str:
    """Put the verb first."""
    if match := re.fullmatch(r"([A-Z][a-z]+) can ([a-z ]+)\.", slots["ability"]):
        return f"Can {match[1]} {match[2]}?"
    if match := re.fullmatch(r"The ([a-z]+) is ([a-z]+)\.", slots["ability"]):
        return f"Is the {match[1]} {match[2]}?"
    raise ValueError(slots["ability"])


def make_deed(rng: Random) -> Slots:
    """Somebody did something with an old, blue or heavy thing; and a pair of adjectives to swap."""
    old, new = rng.sample(ADJECTIVES, 2)
    verb = rng.choice(list(PAST_TO_PARTICIPLE))
    deed = f"{rng.choice(list(NAMES))} {verb} the {old} {rng.choice(OBJECTS)}."
    return {"deed": deed, "old": old, "new": new}


def with_pronoun(slots: Slots) -> str:
    """Put She or He for the name."""
    name, rest = slots["deed"].split(" ", 1)
    return f"{NAMES[name]} {rest}"


def replaced(slots: Slots) -> str:
    """Put the new word for the old one."""
    deed = re.sub(rf"\b{slots['old']}\b", slots["new"], slots["deed"])
    if deed == slots["deed"]:
        raise ValueError("nothing to replace")
    return deed


def make_active(rng: Random) -> Slots:
    """Somebody did something to a thing."""
    verb = rng.choice(list(PAST_TO_PARTICIPLE))
    return {"active": f"The {rng.choice(PROFESSIONS)} {verb} the {rng.choice(OBJECTS)}."}


def passive(slots: Slots) -> str:
    """Begin with the thing."""
    match = re.fullmatch(r"The ([a-z]+) ([a-z]+) the ([a-z]+)\.", slots["active"])
    if match is None:
        raise ValueError(slots["active"])
    return f"The {match[3]} was {PAST_TO_PARTICIPLE[match[2]]} by the {match[1]}."


RULES: dict[str, Rule] = {
    "sentiment": Rule(make_opinion, sentiment, 1.0, True),
    "find_name": Rule(make_story, lambda slots: only_word(slots["story"], NAMES)),
    "find_number": Rule(make_story, the_number),
    "find_colour": Rule(make_story, lambda slots: only_word(slots["story"], COLOURS)),
    "find_city": Rule(make_story, lambda slots: only_word(slots["story"], CITIES)),
    "find_day": Rule(make_story, lambda slots: only_word(slots["story"], DAYS), 2.0),
    "find_mail": Rule(make_message, the_mail),
    "to_past": Rule(make_present, to_past, 1.3),
    "negate": Rule(make_statement, negate),
    "to_question": Rule(make_ability, to_question),
    "pronoun": Rule(make_deed, with_pronoun, 1.3),
    "passive": Rule(make_active, passive, 1.5),
    "replace_word": Rule(make_deed, replaced, 1.3),
}
