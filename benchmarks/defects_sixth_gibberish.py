"""Rows of junk as small models and broken scrapers make it, for benchmarks/defects_sixth.py."""

import random
import string
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.defects_sixth_tasks import TASKS, Task
from benchmarks.defects_sixth_words import (
    CODE_BITS,
    COMMON,
    NOUNS,
    PIECES,
    SCRIPTS,
    fill,
)

ROWS_OF_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "1234567890")
ONSETS = ("b", "bl", "d", "dr", "f", "fl", "g", "gr", "k", "l", "m", "n", "p", "sn", "t", "v", "z")
VOWELS = ("a", "e", "i", "o", "u", "oo", "ea", "y")
CODAS = ("", "n", "rt", "x", "mp", "g", "sh", "lk", "v", "zz", "b", "nd")
Junk = Callable[[random.Random], str]


def _size(rng: random.Random) -> int:
    return rng.choice((7, 10, 14, 20, 30, 45))


def _token_salad(rng: random.Random) -> str:
    return " ".join(rng.choice(rng.choice((PIECES, NOUNS, COMMON))) for _ in range(_size(rng)))


def _glued_pieces(rng: random.Random) -> str:
    parts = (rng.choice(PIECES).strip("#▁Ġ") for _ in range(_size(rng) * 2))
    return "".join(part + rng.choice(("", "", " ")) for part in parts)


def _half_loop(rng: random.Random) -> str:
    word = rng.choice(NOUNS)
    half = word[: rng.randint(2, 4)]
    return f"{word} {' '.join([half] * _size(rng))}"


def _stutter(rng: random.Random) -> str:
    unit = rng.choice(NOUNS)[:3]
    return f"The {unit * _size(rng)} of the {unit * 4}"


def _phrase_loop(rng: random.Random) -> str:
    phrase = " ".join(rng.choices(COMMON, k=3))
    return " ".join([phrase] * rng.randint(5, 14))


def _drifting_loop(rng: random.Random) -> str:
    one, two = rng.sample(NOUNS, 2)
    steps = (f"{one} the {two}{'s' * (i % 4)} of the" for i in range(rng.randint(5, 12)))
    return " ".join(steps)


def _mojibake(rng: random.Random) -> str:
    words = (rng.choice(NOUNS) for _ in range(_size(rng)))
    marked = " ".join(_accented(rng, word) for word in words)
    for _ in range(rng.randint(2, 3)):
        marked = marked.encode("utf-8").decode("cp1252", errors="ignore")
    return marked


def _accented(rng: random.Random, word: str) -> str:
    at = rng.randrange(len(word))
    return word[:at] + rng.choice("éüñçåœ’“–€ß") + word[at + 1 :]


def _wrong_code_page(rng: random.Random) -> str:
    letters = rng.choice(SCRIPTS[:1] + SCRIPTS[1:2])
    words = ("".join(rng.choices(letters, k=rng.randint(3, 8))) for _ in range(_size(rng)))
    return " ".join(words).encode("utf-8").decode("latin-1")


def _replacement(rng: random.Random) -> str:
    words = (rng.choice(NOUNS) for _ in range(_size(rng)))
    return " ".join(
        "".join("\ufffd" if rng.random() < 0.4 else sign for sign in word) for word in words
    )


def _random_letters(rng: random.Random) -> str:
    words = (
        "".join(rng.choices(string.ascii_lowercase, k=rng.randint(3, 11)))
        for _ in range(_size(rng))
    )
    return " ".join(words)


def _one_letter_run(rng: random.Random) -> str:
    return "".join(rng.choices(string.ascii_letters + string.digits, k=_size(rng) * 4))


def _spaced_letters(rng: random.Random) -> str:
    return " ".join(rng.choices(string.ascii_lowercase + ".,;", k=_size(rng) * 2))


def _keyboard(rng: random.Random) -> str:
    keys = rng.choice(ROWS_OF_KEYS[:3])
    mash = ("".join(rng.choices(keys, k=rng.randint(3, 9))) for _ in range(_size(rng)))
    return rng.choice((" ", "", ";")).join(mash)


def _two_rows_of_keys(rng: random.Random) -> str:
    keys = "".join(rng.sample(ROWS_OF_KEYS, 2))
    starts = (rng.randrange(len(keys) - 4) for _ in range(_size(rng)))
    return " ".join(keys[at : at + 4] for at in starts)


def _word_salad(rng: random.Random) -> str:
    words = (rng.choice(rng.choice((COMMON, NOUNS))) for _ in range(_size(rng) + 5))
    text = " ".join(words)
    return f"{text[:1].upper()}{text[1:]}."


def _function_words(rng: random.Random) -> str:
    return " ".join(rng.choice(COMMON) for _ in range(_size(rng) + 4))


def _shuffled(rng: random.Random) -> str:
    words = " ".join(task.answer for task in rng.sample(TASKS, 3)).split()
    rng.shuffle(words)
    return " ".join(words)


def _nouns_and_commas(rng: random.Random) -> str:
    return ", ".join(f"{rng.choice(NOUNS)} {rng.choice(PIECES)}" for _ in range(_size(rng)))


def _pseudo_words(rng: random.Random) -> str:
    words = ("".join(_syllable(rng) for _ in range(rng.randint(1, 3))) for _ in range(_size(rng)))
    return " ".join(words)


def _syllable(rng: random.Random) -> str:
    return rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS)


def _pseudo_sentences(rng: random.Random) -> str:
    made = []
    for _ in range(rng.randint(2, 5)):
        words = _pseudo_words(rng).split()[:9]
        made.append(f"The {' of '.join(words[:3])} is {' '.join(words[3:])}.")
    return " ".join(made)


def _scrambled_inside(rng: random.Random) -> str:
    words = " ".join(task.answer for task in rng.sample(TASKS, 2)).split()
    return " ".join("".join(rng.sample(word, len(word))) for word in words)


def _without_vowels(rng: random.Random) -> str:
    words = " ".join(task.answer for task in rng.sample(TASKS, 3)).split()
    rng.shuffle(words)
    return " ".join("".join(s for s in word if s not in "aeiou") for word in words)


def _mixed_scripts(rng: random.Random) -> str:
    words = (
        "".join(rng.choices(rng.choice(SCRIPTS), k=rng.randint(1, 6))) for _ in range(_size(rng))
    )
    return " ".join(words)


def _scripts_in_words(rng: random.Random) -> str:
    words = []
    for _ in range(_size(rng)):
        word = rng.choice(NOUNS)
        words.append(word[:3] + "".join(rng.choices(rng.choice(SCRIPTS), k=2)) + word[3:])
    return " ".join(words)


def _code_bits(rng: random.Random) -> str:
    return " ".join(rng.choice((rng.choice(CODE_BITS), rng.choice(COMMON))) for _ in range(25))


def _bits_only(rng: random.Random) -> str:
    return "".join(rng.choice(CODE_BITS) for _ in range(_size(rng)))


def _marks(rng: random.Random) -> str:
    return " ".join("".join(rng.choices("!?.,;:*~^|<>=+_", k=rng.randint(2, 9))) for _ in range(15))


def _numbers(rng: random.Random) -> str:
    return " ".join(rng.choice((str(rng.randint(0, 9999)), rng.choice(PIECES))) for _ in range(20))


def _bad_scan(rng: random.Random) -> str:
    words = " ".join(task.answer for task in rng.sample(TASKS, 2)).split()
    return " ".join("".join(_misread(rng, sign) for sign in word) for word in words)


def _misread(rng: random.Random, sign: str) -> str:
    return rng.choice("1|l!]~^°§;,rnvv") if rng.random() < 0.45 else sign


def _heavy_typing(rng: random.Random) -> str:
    words = (rng.choice(NOUNS) for _ in range(_size(rng)))
    return " ".join(
        "".join(rng.choice(string.ascii_lowercase) if rng.random() < 0.5 else s for s in word)
        for word in words
    )


def _glued_words(rng: random.Random) -> str:
    return "".join(rng.choice((COMMON, NOUNS)[rng.random() < 0.3]) for _ in range(_size(rng) + 8))


JUNK: tuple[Junk, ...] = (
    *(_token_salad, _glued_pieces, _half_loop, _stutter, _phrase_loop, _drifting_loop, _mojibake),
    *(_wrong_code_page, _replacement, _random_letters, _one_letter_run, _spaced_letters),
    *(_keyboard, _two_rows_of_keys, _word_salad, _function_words, _shuffled, _nouns_and_commas),
    *(_pseudo_words, _pseudo_sentences, _scrambled_inside, _without_vowels, _mixed_scripts),
    *(_scripts_in_words, _code_bits, _bits_only, _marks, _numbers, _bad_scan, _heavy_typing),
    _glued_words,
)
ASKS = (
    "Explain {topic} to a child.",
    "Write a short paragraph about {topic}.",
    "What are the benefits of {topic}?",
    "Give {name} three tips about {topic}.",
    "Write a story about {name} and {topic}.",
    "tell me something interesting about {topic}",
    "Describe how {topic} has changed over the past fifty years.",
    "Make a list of pros and cons of {topic}.",
    "Write a short {language} greeting card for {name} and explain it in English.",
)
STARTS = (
    "Explain what ",
    "Write a sentence with the word ",
    "How does ",
    "Rewrite the following: ",
    "Please give me ",
    "What is the ",
    "",
)
EXCUSES = ("I am not sure what you mean.", "Yes.", "Here it is.", "That is a good question!")


def _in_output(rng: random.Random, junk: Junk) -> dict[str, str]:
    ask = fill(rng, rng.choice(ASKS)) if rng.random() < 0.6 else rng.choice(TASKS).ask
    return {"instruction": ask, "input": "", "output": junk(rng)}


def _in_instruction(rng: random.Random, junk: Junk) -> dict[str, str]:
    answer = rng.choice((*EXCUSES, junk(rng), rng.choice(TASKS).answer))
    return {"instruction": rng.choice(STARTS) + junk(rng), "input": "", "output": answer}


def _turning(rng: random.Random, junk: Junk) -> dict[str, str]:
    task: Task = rng.choice([task for task in TASKS if len(task.answer) > 50])
    kept = task.answer[: rng.randint(30, len(task.answer))].rsplit(" ", 1)[0]
    joint = rng.choice((" ", " ", "\n", ", "))
    tail = joint.join(junk(rng) for _ in range(rng.randint(1, 2)))
    return {"instruction": task.ask, "input": "", "output": kept + joint + tail}


def _in_input(rng: random.Random, junk: Junk) -> dict[str, str]:
    ask = rng.choice(
        ("Summarize the text.", "What is this about?", "Correct the grammar.", "Classify the tone.")
    )
    return {"instruction": ask, "input": junk(rng), "output": rng.choice((junk(rng), "Neutral"))}


def _in_list(rng: random.Random, junk: Junk) -> dict[str, str]:
    items = (f"{i}. {junk(rng)[:60].strip()}" for i in range(1, rng.randint(4, 7)))
    return {"instruction": fill(rng, rng.choice(ASKS)), "input": "", "output": "\n".join(items)}


def forms() -> Iterator[Callable[[random.Random], dict[str, str]]]:
    """A maker of rows for each kind of junk in each place."""
    for make in (_in_output, _turning, _in_instruction, _in_output, _in_list, _in_input):
        for junk in JUNK:
            yield partial(make, junk=junk)
