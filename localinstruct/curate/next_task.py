"""The header of another task behind a finished answer, told by its form.

Templates differ in their words; what they share is a line that begins with the name of a field, in
whatever marks, and the field of an answer behind it; or a number that continues no list. A request
for such things (a quiz, a dialogue, code with its input and output) is spared.
"""

import re
from functools import lru_cache

from localinstruct.curate.texts import Signs, folded, has, quoted

ASKS_FOR_TASKS = re.compile(
    r"\b(?:questions?|quiz\w*|faqs?|q ?& ?a|q and a|interviews?|trivia|riddles?|exercises?|tasks?"
    r"|problems|prompts?|examples?|few-shot|worksheets?|exams?|flash ?cards?|dialog\w*"
    r"|instructions?|catechism|jokes?|data ?sets?)\b",
    re.IGNORECASE,
)
ASKS_FOR_TURNS = re.compile(
    r"\b(?:dialog\w*|conversation\w*|chat\w*|scripts?|interviews?|transcripts?|plays?|scenes?"
    r"|skit"
    r"|assistant|bots?|turns|phone call|role-?play\w*)\b",
    re.IGNORECASE,
)

_HEADER_OF_A_FIELD = re.compile(
    # decoration, a number of a list, "now the next", the word, its number, what ends the header
    r"^[ \t>#*_~+=\[({<|\"'`-]{0,10}(?:\d{1,3}[.):\]]{1,2}[ \t]{0,3}[*_\[\"'<#]{0,4})?"
    r"(?P<next>(?:(?:now|and|here(?:['’]s| is)|then|finally),? )?(?:the |an? )?"
    r"(?:next|new|another|second|following|user|model|sample|correct|expected) )?"
    r"(?P<word>instructions?|tasks?|questions?|prompts?|exercise|problem|example|query|request"
    r"|input|output|response|answer|solution|completion|reply|human|user|assistant|bot|ai|model"
    r"|aufgabe|frage|anweisung|antwort|lösung|consigne|réponse|instrucción|pregunta|tarea|respuesta"
    r"|inst|resp|q|a)(?: is(?=:))?"
    r"(?P<number>[ \t]?(?:#|no\.? ?)?\d{1,3})?"
    r"[ \t]?[*_\])}>\"'`]{0,4}[ \t]?(?P<end>[:.=|)–—-]|$|(?<=[)\]>*_]) )",
    re.IGNORECASE | re.MULTILINE,
)
"""A line that begins a field of a task, whatever marks stand around its name."""
_ASKED = frozenset(
    "instruction instructions task tasks question questions prompt prompts exercise problem "  # noqa: SIM905
    "example query request human user q input inst aufgabe frage anweisung consigne instrucción "
    "pregunta tarea".split()
)
_STRONG = frozenset({"instruction", "instructions"})
_NUMBERED_TASK = frozenset({"task", "question", "exercise", "problem", "prompt", "instruction"})
_FIELD_WORDS = Signs(
    *("instruction", "task", "question", "prompt", "exercise", "problem", "example", "query"),
    *("request", "human", "user", "q:", "q.", "input", "aufgabe", "frage", "anweisung"),
    *("consigne", "instrucción", "pregunta", "tarea"),
)
_TASKS = Signs("instruction", "prompt", "<task>")
_ANSWERS = Signs("output", '"answer', '"response')
_Q_AND_NUMBER = re.compile(r"^\W{0,6}Q ?\d", re.MULTILINE)
_ABOUT_FIELDS = re.compile(
    r"\b(?:input|code|function|program|script|algorithm|python|java\w*|sql|api|cli|command|json"
    r"|xml|yaml|html|manual|docs?|documentation|readme|section)s?\b",
    re.IGNORECASE,
)
_MID_LINE = re.compile(
    r"\n[ \t]*<(?:instruction|task|prompt)>|(?:(?<=[.!?\"'”)])|(?<=\n))\s{0,4}(?:#{2,4}|\*\*"
    r"|\[|<)[ \t]?(?:next |new )?"
    r"(?:instruction|prompt)s?"
    r"(?: ?#?\d{1,3})?[ \t]?(?:>|(?:\*\*|\])?:?(?:\*\*)?[ \t\n])",
    re.IGNORECASE,
)
_TURN_ON_A_LINE = re.compile(
    r"[.!?\"”)] ?(?:#{2,4}|\*\*|\[|<)[ \t]?(?:user|human|question)\b[^\w\n]{1,6}\w[^\n]{5,500}?"
    r"[.!?\"”)] ?(?:#{2,4}|\*\*|\[|<)[ \t]?(?:assistant|ai|bot|response|answer)\b[^\w\n]",
    re.IGNORECASE,
)
_AS_KEYS = re.compile(
    r"[\"'](?:instruction|prompt|question|input)[\"']\s?[:=]\s?[\"'][^\n]{0,2000}?"
    r"[\"'](?:output|response|answer|completion)[\"']\s?[:=]",
    re.IGNORECASE,
)
_NEXT_RECORD = re.compile(
    r"[\"']\s?\}\s?,?\s?\{\s?[\"'](?:instruction|prompt|question|input|task|messages?|user|query)[\"']\s?:",
    re.IGNORECASE,
)
"""A record of JSON that ends and the next one that begins."""
_NUMBER_BEHIND_A_RULE = re.compile(
    r"\n[ \t]*(?:#{2,6}|[-*=_~]{3,})[ \t]*\n+[ \t]*(?:#{1,4} |\*\*)?(?P<n>[2-9]"
    r"|[1-9]\d)[.):][ \t]+"
    r"[A-Z\"“]"
)
_NUMBER_BEHIND_A_TEXT = re.compile(
    r"(?:[.!?][\"”’)]?|\A[^\n]{1,300})[ \t]*\n+[ \t]*(?:#{1,4} |\*\*)?"
    r"(?P<n>[2-9]|[1-9]\d)[.):][ \t]+"
    r"(?=[A-Z][^\n]{4,300}[.?!:]\**[ \t]*(?:\n\s*(?!\(?\d{1,3}[.):])|\Z))"
)
_NUMBERED_LINE = re.compile(r"\n[ \t]*(?:#{1,4} |\*\*)?(?:[2-9]|[1-9]\d)[.):]")
_ITEM_NUMBERS = re.compile(r"^[ \t>#*]{0,6}\(?(\d{1,3})[.):]", re.MULTILINE)


@lru_cache(maxsize=8)
def asks_for(pattern: re.Pattern[str], request: str) -> bool:
    """Tell whether a request is about such things."""
    return pattern.search(request[:4000]) is not None


def says(text: str, *words: str) -> bool:
    """Tell whether a text holds one of these words in lower case."""
    return has(folded(text), words)


def header(instruction: str, output: str) -> str | None:
    """Find the header of another task in an answer, or None."""
    lower = folded(output)
    if "\n" in output and (
        _FIELD_WORDS.stand_in(output) or ("Q" in output and _Q_AND_NUMBER.search(output))
    ):
        fields = [
            (field, field["word"].casefold()) for field in _HEADER_OF_A_FIELD.finditer(output)
        ]
        if found := _pair(instruction, output, fields):
            return found
    if _TASKS.stand_in(output):
        match = _MID_LINE.search(output, 1)
        if match and not says(instruction, "instruction", "prompt"):
            return quoted(match[0])
    if ":" in output and _ANSWERS.stand_in(output):
        match = _AS_KEYS.search(output)
        asked = _ABOUT_FIELDS.search(instruction) or asks_for(ASKS_FOR_TASKS, instruction)
        if match and not asked and "```" not in output:
            return quoted(match[0])
    match = _NEXT_RECORD.search(output) if "{" in output and "}" in output else None
    if match and not (says(instruction, "json") or asks_for(ASKS_FOR_TASKS, instruction)):
        return quoted(match[0])
    if "##" in lower or "**" in lower or "[" in lower or "<" in lower:
        match = _TURN_ON_A_LINE.search(output)
        if match and not asks_for(ASKS_FOR_TURNS, instruction):
            return quoted(match[0])
    return _next_number(output)


def _pair(instruction: str, output: str, fields: list[tuple[re.Match[str], str]]) -> str | None:
    """The first header of a request that stands behind some text and has an answer's behind it."""
    if not fields:
        return None
    asked_for = asks_for(ASKS_FOR_TASKS, instruction)
    if asked_for and says(instruction, "instruction", "task", "prompt", "example", "data"):
        return None
    start = len(output) - len(output.lstrip())
    turns = asks_for(ASKS_FOR_TURNS, instruction)
    code = has(output, ("```", ">>> ")) or _ABOUT_FIELDS.search(instruction) is not None
    counts = [int(re.sub(r"\D", "", field["number"] or "0")) for field, _ in fields]
    lowest = min(filter(None, counts), default=0)
    last_answer = max((n for n, (_, word) in enumerate(fields) if word not in _ASKED), default=-1)
    last_input = max((n for n, (_, word) in enumerate(fields) if word == "input"), default=-1)
    listed = fields[0][1] if fields[0][0].start() <= start else ""
    for place, (field, word) in enumerate(fields):
        if field.start() <= start or word not in _ASKED or (code and word not in _STRONG):
            continue
        if asked_for and word not in _STRONG and not word.startswith("task"):
            continue
        if word == listed or (turns and word in ("human", "user", "q")):
            continue  # the answer itself is a list of such fields
        if output[max(0, field.start() - 40) : field.start()].rstrip().endswith((":", ",", ";")):
            continue  # it was announced
        end, number = field["end"], counts[place]
        answered = place < max(last_answer, last_input if word != "input" else -1)
        numbered = number >= 2 and number == lowest and end in ("", ":", ".", " ", "=")
        alone = word in _NUMBERED_TASK and (numbered or (field["next"] and end in ("", ":")))
        clear = (
            end in ("", ":", " ") or number or field["next"] or word in _STRONG or end in "-–—=|)"
        )
        if alone or (word in _STRONG and end == ":") or (answered and clear):
            return quoted(field[0] + output[field.end() : field.end() + 40])
    return None


def _next_number(output: str) -> str | None:
    """A number from 2 on behind an answer in which no list begins, with a request behind it."""
    if "\n" not in output or not _NUMBERED_LINE.search(output):
        return None
    match = _NUMBER_BEHIND_A_RULE.search(output) or _NUMBER_BEHIND_A_TEXT.search(output)
    if match is None:
        return None
    before = {int(number) for number in _ITEM_NUMBERS.findall(output[: match.start("n")])}
    is_list = int(match["n"]) - 1 in before or 1 in before or output.lstrip()[:2] in ("1.", "1)")
    return None if is_list else quoted(match[0])
