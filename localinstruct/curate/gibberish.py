"""A cheap score of gibberish: words that English spelling does not have, and too few small words.

A word is odd when it has two or more groups of three letters that stand nowhere in the shipped
seeds (`trigrams.txt`, 3,202 groups, made by `groups_of`), or a capital in its middle. Of every 30
words, odd ones count for and common ones ("the", "of") against: SCORE was chosen between what a
small model writes at a high temperature and what people wrote; docs/rules.md has the figures. Code,
other languages, names and lists are left alone. Not covered: fluent nonsense.
"""

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from itertools import accumulate, pairwise
from operator import sub
from pathlib import Path

from localinstruct.curate.languages import about_language, common_words, language, names_language
from localinstruct.curate.mixed import (
    LONGEST,
    inside_words,
    letters_change_script,
    thrown_together,
    words_change_script,
)
from localinstruct.curate.texts import (
    beyond_latin,
    count_of,
    different_pieces,
    has,
    pieces,
    words_of,
)

CAMEL = 0.2
"""Weight of a name such as "ReadableStream"; others with a capital inside weigh 0.8."""
_CAMEL = re.compile(r"(?:[a-z]{2,}|[A-Z]{2,}|[A-Z][a-z]{2,})(?:[A-Z][a-z]{2,}|[A-Z]{2,}s?)+")
WINDOW = 30
"""Words that are judged together."""
SCORE = 0.08
"""Share of odd words, less half the share of common ones, above which 30 words are gibberish."""
FEWEST = 12
"""Words that a text must have to be judged."""
PLAIN = -0.1
"""Score below which a request has so many common words that only their order can be wrong."""
LEAST = 40
"""Letters from which on a request is held against junk."""
NO_WORD = 60
"""Letters from which on a piece without a blank is no word of any language in Latin letters."""
_WORD = re.compile(r"[A-Za-z]+")
_PART = re.compile(r"[A-Za-z\u00c0-\u024f]+|(?<=[A-Za-z])[\]\[{}|;^~\\\\$%#@=<>!?]+(?=[A-Za-z])")
"""A word, or marks that join two."""
_LETTERS = bytes(code if code < 128 and chr(code).isalpha() else 32 for code in range(256))
"""Table of bytes: a blank for what is no letter of ASCII."""
_LETTERS_AND_MARKS = bytes(
    97 if code < 128 and chr(code).isalpha() else 33 if chr(code) in "][{}|;^~\\$%#@=<>!?" else 32
    for code in range(256)
)
"""Table of bytes: "a" for a letter of ASCII, "!" for a mark that may join two words, or a blank."""
_JOINED = re.compile(
    r"[^\W\d_][\]\[{}|;^~\\$%#@=<>]+[^\W\d_]|^[\]\[{}()|;:^~\\.,]{2,}|[\]\[{}^~\\|]{2,}$"
    r"|[a-z][^\x00-\u024f‘’“”–—…]|[^\x00-\u024f‘’“”–—…][a-z]"
)
"""Pieces that marks join, marks alone, letters of two scripts in one word."""
_MARK = re.compile(r"[^\w .,\-+=/*()|'\"]")
_NO_MARKS = bytes(code for code in range(128) if not _MARK.match(chr(code)))
_RUN = re.compile(r"(?<![A-Za-z'’-])[A-Za-z'’-]+(?: [A-Za-z'’-]+){24,}")
_RUNS_OF_WORDS = bytes(code if re.match(r"[A-Za-z' -]", chr(code)) else 46 for code in range(256))
"""Table of bytes: a full stop for what stands in no run of words."""
_NO_WORDS = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+|\S+@\S+|\b\w+_\w+|<[^<>\n]{1,200}>|\b\w+\.\w+\("
    r"|&\w+;"
    r"|\b\w*\d\w*\b|\]\([^()\s]{1,300}\)|\[[^\[\]\n]{1,80}\]\[[^\[\]\n]{1,80}\]"
    r"|^\[[^\[\]\n]{1,80}\]: .*$"
    r"|!\[[^\[\]\n]{0,80}\]|(?<!\S)[\w.-]*[/:=_][\w./:=-]*|--?[a-z][\w-]*",
    re.DOTALL | re.MULTILINE,
)
_CODE = re.compile(r"[;{}]\s*$|^\s*(?:def|class|import|from|#include|function)\b|=>|\w\(\)", re.M)


_PIECES = re.compile(r"(?<!\S)##[a-z]{1,9}\b|[a-z]##[a-z]")
"""Pieces of a word as tokenizers of BERT's kind write them."""
_ABOUT_MARKS = re.compile(
    r"\b(?:regex\w*|regular|pattern|expressions?|symbols?|marks?|punctuation|signs?"
    r"|characters?|emoji\w*"
    r"|emoticons?|ascii|art|code|passwords?|morse|math\w*|equation|formula|encrypt\w*|encod\w*"
    r"|cipher"
    r"|brainf\w*|smiles|operators?|shell|bash|sql|syntax|notation|escape\w*|strings?|json"
    r"|brackets?)\b",
    re.IGNORECASE,
)
_ACCENTED = re.compile("[\u00c0-\u024f]")
_SOUP_MARKS = b"%$#&;@^~|{}<>\\"
_KINDS = tuple(map(re.compile, ("[a-z]", "[0-9]", f"[{re.escape(_SOUP_MARKS.decode())}]")))


def groups_of(text: str) -> set[str]:
    """Groups of three letters of a text's words, a blank at both ends of a word."""
    words = {f" {word} " for word in _WORD.findall(text.casefold())}
    return {word[place : place + 3] for word in words for place in range(len(word) - 2)}


@cache
def _known() -> frozenset[str]:
    text = Path(__file__).with_name("trigrams.txt").read_text("ascii").replace("\n", "")
    return frozenset(text[place : place + 3].replace("_", " ") for place in range(0, len(text), 3))


class _Weights(dict[str, float]):
    """Word -> 1 for an odd word, -0.5 for a common one, else 0; of the words met so far."""

    def __missing__(self, word: str) -> float:
        if len(self) >= 100_000:
            self.clear()
        weight = self[word] = _weight(word)
        return weight


_WEIGHTS = _Weights()


def _weight(word: str) -> float:
    folded = word.casefold()
    if not word[0].isalpha():
        return 1.0
    if folded in common_words():
        return -0.5
    if len(word) <= 3 or word.isupper() or not word.isascii():
        return 0.0
    inside = not word[1:].islower()
    if inside and any(one.islower() and two.isupper() for one, two in pairwise(word)):
        return CAMEL if _CAMEL.fullmatch(word) else 0.8
    padded, known = f" {folded} ", _known()
    groups = [padded[place : place + 3] for place in range(len(padded) - 2)]
    odd = 0 if known.issuperset(groups) else sum(group not in known for group in groups)
    return float(odd >= 2 or (odd == 1 and len(word) > 12) or len(word) > 24)


def score(text: str, known: str = "") -> float:
    """The highest score of 30 words of a text, from -0.5 to 1; -1 if it has too few words.

    A word counts as odd once, and not if it stands in `known`.
    """
    found = _score(_words(text[:LONGEST]), known)
    if found < SCORE:
        return found
    return _score(_PART.findall(_NO_WORDS.sub(" ", text[:LONGEST])), known)


def _words(text: str) -> list[str]:
    """What `_PART` finds, faster where it finds words of ASCII alone."""
    if text.isascii() and b"!a" not in text.encode().translate(_LETTERS_AND_MARKS):
        return text.encode().translate(_LETTERS).decode().split()
    return _PART.findall(text)


def _pieces(text: str) -> Sequence[str]:
    return pieces(text) if len(text) <= LONGEST else text[:LONGEST].split()


def _score(words: Sequence[str], known: str) -> float:
    if len(words) < FEWEST:
        return _of_few(words, known)
    weights = list(map(_WEIGHTS.__getitem__, words))
    if max(weights) <= 0:
        return sum(weights) / len(weights)
    seen, spared = set[str](), words_of(known)
    odd = [place for place, weight in enumerate(weights) if weight > 0]
    for place in odd:
        word = words[place]
        if word in seen or word.casefold() in spared:
            weights[place] = 0.0
        seen.add(word)
    if sum([weights[place] for place in odd]) < SCORE * FEWEST:
        return sum(weights) / len(weights)  # no 30 words of it can reach the score
    return _highest(weights)


def _of_few(words: Sequence[str], known: str) -> float:
    """The share of odd words where few of them are no names and nearly all are odd, else -1."""
    long = [word for word in words if len(word) > 3 and word.islower() and word not in known]
    odd = sum(_WEIGHTS[word] > 0 for word in long)
    if len(long) < 3 or len(long) < 0.6 * len(words) or odd < 0.75 * len(long):
        return -1.0
    return odd / len(long)


def _highest(weights: Sequence[float]) -> float:
    """The highest mean of WINDOW weights side by side."""
    width = min(WINDOW, len(weights))
    steps = map(sub, weights[width:], weights)
    return max(accumulate(steps, initial=sum(weights[:width]))) / width


def gibberish(instruction: str, given: str, output: str) -> str | None:
    """Say why an answer, or else its request, is no text that people write; None if they are."""
    return _of_answer(instruction, given, output) or _of_request(instruction, given)


def _of_request(instruction: str, given: str) -> str | None:
    """Junk in an instruction or input of LEAST letters: other scripts, codes and marks are none."""
    for name, part in (("instruction", instruction), ("input", given)):
        if len(part) < LEAST or not (reason := _junk(part, instruction)):
            continue
        spared = (_CODE, part), (_ABOUT_SCRIPTS, instruction), (_ABOUT_MARKS, instruction)
        if any(pattern.search(text) for pattern, text in spared) or names_language(instruction):
            return None
        if not about_language(instruction) and language(part) in ("", "en"):
            return f"{reason} in the {name}"
    return None


def _junk(part: str, instruction: str) -> str:
    if found := _shuffled(part):
        return found
    reached = score(part)
    if -1 < reached < PLAIN:
        return ""
    if _is_noise(part):
        return "hardly any words"
    return _mixed(part, instruction) or (f"score {reached:.2f}" if reached >= 3 * SCORE else "")


def _of_answer(instruction: str, given: str, output: str) -> str | None:
    if _is_noise(output) or (len(output) < 100 and _is_marks(output, f"{instruction}\n{given}")):
        return "hardly any words"
    if beyond_latin(output) and letters_change_script(output[:LONGEST]):
        return "letters of many scripts in one word"
    if "##" in output and len(_PIECES.findall(output)) >= 2 and not _CODE.search(output):
        return "pieces of words"
    if mixed := _mixed(output, f"{instruction}\n{given}") or _shuffled(output):
        about = names_language(instruction) or _ABOUT_SCRIPTS.search(instruction)
        if not about and score(instruction) < SCORE / 2:
            return mixed
    reached = score(output, f"{instruction} {given[:LONGEST]}")
    salad = _salad(output) if reached > -0.06 else ""
    if (reached < SCORE and not salad) or _CODE.search(output) or names_language(instruction):
        return None
    about = about_language(instruction) or _ABOUT_MARKS.search(instruction)
    if reached < 3 * SCORE and not salad and about:
        return None
    if language(output) not in ("", "en") or score(instruction) >= SCORE / 2:
        return None
    return salad or f"score {reached:.2f}, at most {SCORE} expected"


_PREPOSITIONS = frozenset(
    "of at from by with in on for to into and or than as between during among".split()  # noqa: SIM905
)
_VERBS = frozenset("is are was were has have had does will would can could".split())  # noqa: SIM905
_OTHERS = frozenset("but if when because that which who what it they we he she i".split())  # noqa: SIM905
_THESE = frozenset("my your our their his its these".split())  # noqa: SIM905
_NEVER_BEHIND_A = frozenset("the a an are it has how what they we you he she each".split())  # noqa: SIM905
_NEVER_BEHIND: dict[str, AbstractSet[str]] = {
    **dict.fromkeys(("the", "an"), _PREPOSITIONS | _VERBS | _OTHERS | _THESE | {"the", "a", "an"}),
    "a": (_PREPOSITIONS - {"to", "in", "and", "or", "for"}) | _THESE | _NEVER_BEHIND_A,
    "each": {"the", "an", "it", "at", "by", "each"},
    "it": {"it", "each", "an"},
    **dict.fromkeys(
        _THESE,
        (_PREPOSITIONS - {"in", "and", "or", "for", "to", "on", "as", "than"})
        | _VERBS
        | _THESE
        | {"the", "a", "an"},
    ),
    **dict.fromkeys(
        _PREPOSITIONS - {"and", "or", "as", "than", "to", "on", "in", "by"},
        _VERBS | {"of", "and", "or", "than", "at"},
    ),
    "in": _VERBS | {"of", "with", "from", "at", "on"},
    "on": _VERBS | {"of", "with", "at", "on", "in"},
    "to": _VERBS - {"have"} | {"of", "with", "from", "at", "to"},
    "by": {"of", "and", "with", "at", "by", "is", "are"},
    "of": _VERBS | {"of", "in", "on", "by", "with", "and", "to", "for", "as", "or"},
    "and": {"and", "or"},
    "as": {"of", "and", "as"},
    "than": {"of", "and"},
    "every": _PREPOSITIONS | _VERBS | _THESE | {"the", "a", "this", "not"},
    **dict.fromkeys(
        ("will", "can", "would", "could", "should"),
        _VERBS - {"have"} | {"of", "and", "than", "every", "this", "should"},
    ),
    "this": _THESE | {"the", "a", "every", "this", "of", "are", "were"},
    "be": _VERBS | {"the", "of", "be"} - {"the"},
    "was": {"is", "are", "was", "were", "has"},
    "is": {"is", "are", "was", "were", "has"},
}
"""Small word -> small words that no English sentence has behind it."""
_NEVER_TOGETHER = frozenset((one, two) for one, words in _NEVER_BEHIND.items() for two in words)
_NO_END = frozenset(
    f"{word}{mark}"
    for word in ("the", "an", "of", "from", "with", "and", "or", "than", "my", "your")
    for mark in ".!?"
)


def _shuffled(text: str) -> str:
    """Say that words stand in no order: pairs that no English has, as "the of" and "at of"."""
    words = _pieces(text)
    if _NEVER_TOGETHER.isdisjoint(pairwise(words)) and _NO_END.isdisjoint(words):
        return ""
    found = sum(map(_NEVER_TOGETHER.__contains__, pairwise(words)))
    found += sum(map(_NO_END.__contains__, words))
    if found < 2 or found < (0.04 if found > 2 else 0.06) * len(words):
        return ""
    if language(text) not in ("", "en") and words.count("the") < 2:
        return ""
    return f"{found} pairs such as 'the of'"


_ABOUT_SCRIPTS = re.compile(
    r"\b(?:translat\w*|alphabets?|multilingual|languages|scripts?|greetings|shuffl\w*|scrambl\w*"
    r"|word salad"
    r"|prepositions?|nonsense|stop ?words?|unicode|tokeni[sz]\w*|gibberish|hash(?:es|ed"
    r"|ing)?(?! table)|password\w*|base64)\b",
    re.IGNORECASE,
)
_TOKENIZER_MARKS = re.compile(r"(?<!\w)[ĠĊ▁]\w*")
_LONG_PIECE = re.compile(r"\S{30,}|\A\s*[A-Za-z0-9]{24,}\s*\Z")
_ABOUT_LETTERS = re.compile(
    r"\b(?:letters?|alphabet\w*|spel\w*|spac\w+|characters?|chords?|notes|initials|board|grid"
    r"|vowels?|consonants?|string|split\w*|reverse\w*|words)\b",
    re.IGNORECASE,
)
_ADDRESS = re.compile(
    r"://|www\.|^[\w.-]*/[\w./-]*$|^[\w.+-]+@[\w-]+\.[\w.]+\W*$"
    r"|\\|^[A-Za-z]+(?:[-_][A-Za-z]+)+\W*$"
)


def _mixed(text: str, request: str) -> str:
    """Say that pieces of tokenizers, scripts or marks are thrown together, else ""."""
    apart = thrown_together(text)
    if found := inside_words(text) or ("" if _ABOUT_LETTERS.search(request) else apart):
        return found
    if not text.isascii():
        if has(text, ("Ġ", "Ċ", "▁")) and len(_TOKENIZER_MARKS.findall(text)) >= 3:
            return "pieces of a tokenizer"
        if beyond_latin(text) and words_change_script(text):
            return "words of many scripts in turn"
        if 2 * len(_ACCENTED.findall(text)) > sum(map(str.isalpha, text)) >= 20:
            return "letters with accents in no order"
    words = pieces(text)
    different = different_pieces(text)
    if len(words) >= 14 and different <= 8 and len(words) >= 2.2 * different:
        lettered = [word for word in words if any(map(str.isalpha, word))]
        enough = len(lettered) >= 0.4 * len(words) and max(map(len, lettered)) > 2
        if enough and "|" not in text and not _ABOUT_MARKS.search(request):
            return f"only {different} different words"
    soups = len(words) >= 10 and count_of(text, _SOUP_MARKS) >= 0.4 * len(words)
    soup = sum(map(_is_soup, words)) if soups else 0
    if soup >= 0.4 * len(words) > 0 and not _ABOUT_MARKS.search(request):
        return "letters, digits and marks in one word"
    if len(words) <= 4 and _LONG_PIECE.search(text) and not _ABOUT_MARKS.search(request):
        return _noise_of(max(words, key=len))
    return ""


def _is_soup(piece: str) -> bool:
    """Tell whether letters, digits and marks stand in one piece, as "3hi&g"."""
    inside = piece.strip(".,:;!?()'\"")
    return all(kind.search(inside) for kind in _KINDS)


def _noise_of(piece: str) -> str:
    """Say that a long piece without a blank is letters, digits and marks in turn."""
    if _ADDRESS.search(piece):
        return ""
    kinds = [
        0 if mark.islower() else 1 if mark.isupper() else 2 if mark.isdigit() else 3
        for mark in piece
    ]
    changes = sum(one != two for one, two in pairwise(kinds))
    is_long = len(piece) >= NO_WORD and (changes > 0.3 * len(piece) or piece.isalpha())
    return f"letters in no order: {piece[:20]!r}" if is_long or changes > 0.45 * len(piece) else ""


def _is_marks(text: str, request: str) -> bool:
    """Tell whether a short line is many different marks, where the request is about none."""
    bare = text.strip()
    if re.search("[A-Za-z]{3}", bare):
        return False
    marks = [mark for mark in bare if not (mark.isalnum() or mark.isspace())]
    if len(bare) < 12 or len(marks) < 0.5 * len(bare) or not bare.isascii():
        return False
    return len(set(marks)) >= 7 and not _ABOUT_MARKS.search(request)


def _salad(text: str) -> str:
    """25 words or more in a row without a mark, hardly a common one among them."""
    if text.isascii():
        runs = text.encode().translate(_RUNS_OF_WORDS).split(b".")
        if not any(run.count(b" ") >= 24 for run in runs if len(run) >= 49):
            return ""
    for run in _RUN.findall(text[:LONGEST]):
        words = run.casefold().split(" ")
        if sum(word in common_words() for word in words) < 0.06 * len(words):
            return f"no small words in {' '.join(words[:6])!r} …"
    return ""


def _is_noise(text: str) -> bool:
    """Tell whether a line is made of marks, digits and pieces of words that marks join."""
    if len(text) < 60 or text.strip().count("\n") > 3:
        return False
    ascii_marks = text.isascii() and text.encode().translate(None, _NO_MARKS)
    marks = len(_MARK.findall(text) if ascii_marks is False else ascii_marks)
    if marks <= 0.06 * len(text):
        return False
    kept = sum(len(word) for word in _WORD.findall(text) if len(word) > 2)
    if text.isascii() and kept < 0.1 * len(text) and marks > 0.25 * len(text):
        return True
    parts = pieces(text)
    joined = sum(_JOINED.search(part) is not None for part in parts)
    return len(parts) >= 12 and joined >= 0.3 * len(parts)
