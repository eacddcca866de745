"""The table of rules through which a row passes: named functions, each with a reason.

Each takes a row and the recipe's `filters` and returns what is wrong in words, or None. Rules of
version 1 are those of release 0.1.0; `SINCE_2` and `STRICTER_SINCE_2` were added after it, so that
a run goes on under the rules it began with. Not covered: whether an answer is right (a judge's
task), likeness to other rows (`novelty.py`). The rules read English; what is form is form in every
language.
"""

import re
import string
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from localinstruct.curate import (
    absent,
    answers,
    beyond,
    code,
    cut_off,
    gibberish,
    hollow,
    languages,
    leftovers,
    repairs,
    repetition,
    sums,
    unanswerable,
)
from localinstruct.curate.texts import Signs, pieces
from localinstruct.records import Instance

if TYPE_CHECKING:
    from localinstruct.curate.filters import Filters

Filter = Callable[[Instance, "Filters"], str | None]
"""A rule: None if the row passes, else the fault in words."""


def count_words(text: str) -> int:
    """Count words between spaces.

    In scripts without spaces (Chinese, Japanese, Thai) every character is one.
    """
    return len(pieces(text)) if text.isascii() else len(_WORD.findall(text))


_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
_ODD_START = re.compile(r"[,;:!?)\]}>|&%^~=\ufffd]|[.\-+*/_\\#@](?!\w)")
_CANNOT = r"(?:can['’]?t|cannot|can not|won['’]?t|will not|am (?:not able|unable) to)"
_SERVE = (
    r"(?:assist|help you|help with|provide|fulfil|fulfill|comply|complete (?:this|your)"
    r"|answer (?:this|that|your)|generate|create|access|open|view|see (?:the|any|this|an)"
    r"|browse|watch|listen|process (?:the|this|your)|do that|engage)\b"
)
_REFUSAL = re.compile(
    # at the start of an answer; an apology in a letter has another verb ("I cannot attend")
    rf"(?:(?:i['’]?m|i am) (?:\w+ )?sorry,? |sorry,? |unfortunately,? |i apologi[sz]e,? )?(?:but )?"
    rf"i(?:['’]m (?:not able|unable) to| {_CANNOT}) (?:\w+ ){{0,2}}?{_SERVE}"
    r"|i (?:do not|don['’]?t) have (?:the (?:ability|capability|means)|access)\b",
    re.IGNORECASE,
)
_AS_AN_AI = re.compile(
    r"\b(?:as|i am|i['’]m|being) an? (?:ai|artificial intelligence|(?:\w+ )?language model)\b",
    re.IGNORECASE,
)
_SELF = Signs(" ai", " artificial", " language model")
_IDENTITY_IS_FINE = re.compile(
    r"\b(?:(?:sort|order|arrang|rank|revers|correct|fix|proofread|edit|gramma|spell|punctuat"
    r"|capital|upper|lower|format|clean|remov|delet|replac|repeat|cop[iy]|echo|convert"
    r"|normali[sz])\w*|if (?:needed|necessary))\b",
    re.IGNORECASE,
)
_SELF_INSTRUCT_BLACKLIST = r"images?|graphs?|pictures?|files?|maps?|draw|plot|go to"
_ALPACA_BLACKLIST = rf"{_SELF_INSTRUCT_BLACKLIST}|video|audio|music|flowchart|diagram"


def _too_short(instance: Instance, filters: "Filters") -> str | None:
    """Fewer words than filters.min_words in the instruction; later turns may be short."""
    if instance.history and filters.version > 1:
        return None  # a later turn may be "Why?"
    words, least = count_words(instance.instruction), filters.min_words
    return f"{words} words, expected at least {least}" if words < least else None


def _too_long(instance: Instance, filters: "Filters") -> str | None:
    """More words than filters.max_words in the instruction."""
    most = filters.max_words
    words = count_words(instance.instruction) if len(instance.instruction) > most else 0
    return f"{words} words, expected at most {most}" if words > most else None


def _garbled(instance: Instance, _: "Filters") -> str | None:
    """A start that no sentence has, or no words at all.

    Quotes, brackets and letters of any script are fine.
    """
    text = instance.instruction.strip()
    if _ODD_START.match(text):
        return f"starts with {text[:3]!r}"
    if len(text) > 1 and text[:2].isalpha():
        return None
    letters = map(str.isalpha, text[:400])
    return None if any(letters) and any(letters) else "no letters in it"


def _asks_for_media(instance: Instance, _: "Filters") -> str | None:
    """A picture, video or sound that is to be made, seen or heard."""
    return unanswerable.media(instance.instruction, instance.input)


def _missing_attachment(instance: Instance, _: "Filters") -> str | None:
    """A file, page, text or table that the request needs and does not have."""
    return unanswerable.attachment(instance.instruction, instance.input)


def _real_world_action(instance: Instance, _: "Filters") -> str | None:
    """An act in the world, the news of the moment, things only the asker knows."""
    return unanswerable.action(instance.instruction)


def _blacklisted(instance: Instance, filters: "Filters") -> str | None:
    """A word of filters.blacklist in the instruction."""
    return _contains(instance.instruction, *map(re.escape, filters.blacklist))


def _empty_output(instance: Instance, _: "Filters") -> str | None:
    """No letter, digit or sign in the answer: nothing, "...", "-", []."""
    return None if instance.output.strip() else "nothing in the output"


def _output_too_long(instance: Instance, filters: "Filters") -> str | None:
    """More words than filters.max_output_words in the answer."""
    most = filters.max_output_words
    words = count_words(instance.output) if len(instance.output) > most else 0
    return f"{words} words, expected at most {most}" if words > most else None


def _echo(instance: Instance, _: "Filters") -> str | None:
    """The question given back as the answer, or its input where that cannot be right.

    Tasks such as sorting may rightly leave their input as it is.
    """
    first = _first_letter(instance.output)
    if first not in (_first_letter(instance.instruction), _first_letter(instance.input)):
        return None
    output = _bare(instance.output)
    if output.casefold() == _bare(instance.instruction).casefold() and count_words(output) >= 3:
        return "the output is the instruction"
    if output != _bare(instance.input) or count_words(output) < 4:
        return None
    is_fine = _IDENTITY_IS_FINE.search(instance.instruction)
    return None if is_fine else "the output is the input"


def _refusal(instance: Instance, _: "Filters") -> str | None:
    """An answer that declines, also after an opener, or speaks of itself as an AI unasked."""
    start = instance.output.strip()[:300]
    as_an_ai = _AS_AN_AI.search(start) if _SELF.stand_in(instance.output) else None
    if as_an_ai and _AS_AN_AI.search(f"{instance.instruction} {instance.input}"):
        as_an_ai = None
    match = (_REFUSAL.match(start) if start[:1] in "iIsSuUbB" else None) or as_an_ai
    return f"says {match[0]!r}" if match else None


def _invented_url(instance: Instance, _: "Filters") -> str | None:
    """An address or picture in the answer that the task neither holds nor asks for."""
    return unanswerable.invented_url(instance.instruction, instance.input, instance.output)


def _not_latin(instance: Instance, _: "Filters") -> str | None:
    """Reject other scripts, coarsely, if enabled: fewer than half of the letters are Latin."""
    letters = [character for character in instance.instruction if character.isalpha()]
    latin = sum(character < "\u0250" for character in letters)
    return f"{latin} of {len(letters)} letters are Latin" if latin * 2 < len(letters) else None


def _alpaca_length(instance: Instance, _: "Filters") -> str | None:
    words = len(instance.instruction.split())
    return f"{words} words, Alpaca takes 4 to 150" if words <= 3 or words > 150 else None


def _alpaca_blacklist(instance: Instance, filters: "Filters") -> str | None:
    return _contains(instance.instruction, _ALPACA_BLACKLIST, *map(re.escape, filters.blacklist))


def _alpaca_program(instance: Instance, _: "Filters") -> str | None:
    is_program = instance.instruction.startswith("Write a program")
    return "starts with 'Write a program'" if is_program else None


def _alpaca_punctuation(instance: Instance, _: "Filters") -> str | None:
    first = instance.instruction[:1]
    return f"starts with {first!r}" if first and first in string.punctuation else None


def _alpaca_non_ascii(instance: Instance, _: "Filters") -> str | None:
    first = instance.instruction[:1]
    return None if first.isascii() else f"starts with {first!r}"


def _self_instruct_blacklist(instance: Instance, filters: "Filters") -> str | None:
    more = map(re.escape, filters.blacklist)
    return _contains(instance.instruction, _SELF_INSTRUCT_BLACKLIST, *more)


def _input_equals_output(instance: Instance, _: "Filters") -> str | None:
    repeats = instance.input and instance.input == instance.output
    return "the output is the input" if repeats else None


def _trailing_colon(instance: Instance, _: "Filters") -> str | None:
    """Reject a field that announces something which does not come."""
    fields = {"input": instance.input, "output": instance.output}
    ends = [name for name, text in fields.items() if text.rstrip().endswith(":")]
    return f"{' and '.join(ends)} ends with a colon" if ends else None


def _merged_task(row: Instance, _: "Filters") -> str | None:
    """A second task in the row, as where the teacher's list ran on."""
    return leftovers.merged_task(row.instruction, row.input, row.output)


def _missing_material(row: Instance, _: "Filters") -> str | None:
    if row.history or row.system:
        return None
    found = absent.material(row.instruction, row.input)
    return found or absent.admitted(row.instruction, row.input, row.output)


def _beyond_reach(row: Instance, _: "Filters") -> str | None:
    held = row.history or row.system or row.tools
    return None if held else beyond.beyond_reach(row.instruction, row.input)


def _nothing_said(row: Instance, _: "Filters") -> str | None:
    return answers.empty(f"{row.instruction}\n{row.input}", row.output)


def _non_answer(row: Instance, _: "Filters") -> str | None:
    """Words that stand for no answer: "N/A", "None", "No output"."""
    return answers.non_answer(row.instruction, row.input, row.output)


def _question_again(row: Instance, _: "Filters") -> str | None:
    return answers.echo(row.instruction, row.input, row.output)


def _late_refusal(row: Instance, _: "Filters") -> str | None:
    return answers.refusal(row.instruction, row.input, row.output)


def _role_tokens(row: Instance, _: "Filters") -> str | None:
    """Tokens, headings and speakers of a chat or template: <|im_end|>, ### Response:, User:."""
    return leftovers.role_tokens(row.instruction, row.input, row.output)


def _placeholder(row: Instance, _: "Filters") -> str | None:
    """A place that was to be filled in: [Your Name], lorem ipsum."""
    return leftovers.placeholder(row.instruction, row.input, row.output)


def _empty_code(row: Instance, _: "Filters") -> str | None:
    """Code that is not there: an empty fence, "your code here"."""
    return hollow.empty_code(row.instruction, row.output)


def _cut_off(row: Instance, _: "Filters") -> str | None:
    """An answer that ends in the middle: an unfinished sentence, an open fence or bracket."""
    return cut_off.cut_off(f"{row.instruction}\n{row.input}", row.output)


def _repetition(row: Instance, _: "Filters") -> str | None:
    """Words, sentences or lines again and again."""
    return repetition.repeated(row.output, f"{row.instruction}\n{row.input}")


def _control_characters(row: Instance, _: "Filters") -> str | None:
    """Letters that were lost; with the repair "unseen" off, control and unseen characters too."""
    texts = (row.instruction, row.input, row.output)
    if any("\ufffd" in text for text in texts):
        return "a letter was lost: \ufffd"
    return "characters nobody sees" if any(map(repairs.has_unseen, texts)) else None


def _escapes(row: Instance, _: "Filters") -> str | None:
    """UTF-8 read as Latin-1; with the repair "escapes" off, escapes and HTML entities too."""
    if found := repairs.misread(row.output) or repairs.misread(row.instruction):
        return found
    if repairs.repaired(row, ("escapes",))[1]:
        return "line breaks or letters written as escapes"
    return None


def _unparseable_code(row: Instance, _: "Filters") -> str | None:
    """Python, JSON, YAML or XML, named so, that its parser refuses."""
    return code.does_not_parse(row.instruction, row.output)


def _wrong_sum(row: Instance, _: "Filters") -> str | None:
    """A sum in the answer that does not add up: 17 + 5 = 23."""
    return sums.wrong_sum(row.output, f"{row.instruction}\n{row.input}")


def _wrong_language(row: Instance, _: "Filters") -> str | None:
    """An answer in another language than the one asked for or asked in."""
    return languages.wrong_language(row.instruction, row.input, row.output)


def _gibberish(row: Instance, _: "Filters") -> str | None:
    """Words that no language has, or that nobody puts beside each other."""
    return gibberish.gibberish(row.instruction, row.input, row.output)


SINCE_2: dict[str, Filter] = {
    "merged_task": _merged_task,
    "empty_code": _empty_code,
    "non_answer": _non_answer,
    "role_tokens": _role_tokens,
    "placeholder": _placeholder,
    "repetition": _repetition,
    "cut_off": _cut_off,
    "control_characters": _control_characters,
    "escapes": _escapes,
    "unparseable_code": _unparseable_code,
    "wrong_sum": _wrong_sum,
    "wrong_language": _wrong_language,
    "gibberish": _gibberish,
}
"""Rules that version 2 brought."""
STRICTER_SINCE_2: dict[str, Filter] = {
    "missing_attachment": _missing_material,
    "real_world_action": _beyond_reach,
    "empty_output": _nothing_said,
    "echo": _question_again,
    "refusal": _late_refusal,
}
"""What a rule of version 1 asks beside its old question from version 2 on."""
FILTERS: dict[str, Filter] = {
    "too_short": _too_short,
    "too_long": _too_long,
    "garbled": _garbled,
    "blacklisted": _blacklisted,
    "asks_for_media": _asks_for_media,
    "missing_attachment": _missing_attachment,
    "real_world_action": _real_world_action,
    "empty_output": _empty_output,
    "output_too_long": _output_too_long,
    "echo": _echo,
    "refusal": _refusal,
    "invented_url": _invented_url,
    "not_latin": _not_latin,
    "alpaca_length": _alpaca_length,
    "alpaca_blacklist": _alpaca_blacklist,
    "alpaca_program": _alpaca_program,
    "alpaca_punctuation": _alpaca_punctuation,
    "alpaca_non_ascii": _alpaca_non_ascii,
    "self_instruct_blacklist": _self_instruct_blacklist,
    "input_equals_output": _input_equals_output,
    "trailing_colon": _trailing_colon,
    **SINCE_2,
}
"""Every rule by name, in the order in which they are asked."""

_ALPACA = frozenset(name for name in FILTERS if name.startswith("alpaca_"))
_STEP_4 = frozenset({"self_instruct_blacklist", "input_equals_output", "trailing_colon"})
SETS: dict[str, frozenset[str]] = {
    "localinstruct": frozenset(FILTERS) - _ALPACA - _STEP_4 - {"not_latin"},
    "alpaca": _ALPACA,
    "self-instruct": _ALPACA - {"alpaca_blacklist"} | _STEP_4 | {"empty_output"},
    "none": frozenset(),
}
"""Named sets a recipe chooses from."""


def _contains(text: str, *patterns: str) -> str | None:
    match = _whole_words(patterns).search(text) if patterns else None
    return f"contains {match[0]!r}" if match else None


@cache
def _whole_words(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{'|'.join(patterns)})(?!\w)", re.IGNORECASE)


def _bare(text: str) -> str:
    """One line without quotes around it and without a full stop at its end."""
    return " ".join(text.split()).strip(_AROUND)


_AROUND = "\"'“”‘’`.!?: "
_BLANKS = "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f\x85\xa0\u2028\u2029\u3000"


def _first_letter(text: str) -> str:
    """The first letter that `_bare` leaves, in one case."""
    return text.lstrip(_AROUND + _BLANKS)[:1].casefold()
