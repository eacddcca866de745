"""Answers that end in the middle: an open fence, bracket or quotation, an unfinished sentence.

A text is judged by its own habits: where its sentences or items end with a mark, the last one must
too. Lists of words, code, tables, poems, signatures and sums end as they like.
"""

import re

_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_ENDS = re.compile(r"[.!?…。！？।؟\"'”’»)\]}*_`>:;|~\d%$€£°]\W*$")
_END_MARK = re.compile(r"[.!?…。！？।؟][\"'”’»)\]*_`]*\s*$")
_GOING_ON = (
    "the a an and or but nor of to with from by for because which whose that's if than as into "
    "onto upon between among during without within although though while whereas unless until "
    "since its their his her my your our these those such every each very is are was were be been "
    "has have had will would can could should may might must in on at about and/or including e.g "
    "i.e via per toward towards"
)
_GOES_ON = frozenset(_GOING_ON.split())
_SELDOM_ENDS = (
    "in on at about for to with from by as of is are was be have has can could will would should "
    "may might must had were her his since though such each very"
)
_MAY_END = frozenset(_SELDOM_ENDS.split())
"""Words that may end a sentence, though seldom."""
ALONE = 11
"""Words from which a single sentence without an end counts as cut."""
_ITEM = re.compile(r"^\s*(?:[-*•+]|\(?\d{1,3}[.):]|\(?[a-zA-Z][.)]|[ivx]{1,4}[.)])\s+")
_ONLY_MARK = re.compile(r"^\s*(?:\(?\d{1,3}[.)]|[-*•+])\s*$")
_SENTENCE_BEFORE = re.compile(r"[a-z\d)\"”’]{2}[.!?][\"”’)]?\s+[\"“‘(]?[A-Z]")
_LOOKS_LIKE_CODE = re.compile(
    r"[{};]\s*$|^\s*(?:def|class|import|from|return|for|while|if|else|elif|try|except|function|const"
    r"|let|var|public|private|SELECT|FROM|WHERE|INSERT|#include|@|//|<\w+|</)\b|=>|</|\)\s*:\s*$"
    r"|^\s*[\w.]+\s*=\s|\w\(\)|^\$ ",
    re.MULTILINE,
)
_SIGNED = re.compile(r"^\s*(?:--|—|–|~|by )\s*\S|\s-{1,2}\s?\w+(?:\W{1,2}\w+){0,3}$", re.IGNORECASE)
_WANTS_OPEN_END = re.compile(
    r"\b(?:complete|continue|prompts?|beginning|opening|first (?:line|sentence|half)|headings?"
    r"|titles?"
    r"|headlines?|slogans?|template|fill|blank|cliffhanger|preposition\w*|conjunction\w*|articles?"
    r"|stop ?words?|greeting|salutation|words?|phrase|fragment|start of|label)\b",
    re.IGNORECASE,
)


def cut_off(request: str, output: str) -> str | None:
    """Say how an answer breaks off, or None."""
    text = output.rstrip()
    if len(_FENCE.findall(text)) % 2 if "```" in text or "~~~" in text else False:
        return "a code fence that is not closed"
    if text[:1] in ("{", "[") and (open_marks := _unbalanced(text)):
        return f"{open_marks!r} is not closed"
    line = text.rpartition("\n")[2]
    if text.endswith("```") or not line or line.lstrip().startswith("|"):
        return None
    if "\n" in text and _ONLY_MARK.match(line):
        return f"the item {line.strip()!r} is empty"
    return _tail(request, text, line)


def _tail(request: str, text: str, line: str) -> str | None:
    if line[-1] in ".!?" or _END_MARK.search(line[-6:]):
        return None
    if ("-" in line or line.lstrip()[:1] in "—–~bB") and _SIGNED.search(line):
        return None
    how = _broken_off(request, text, line)
    return how if how and not _is_code(text) else None


def _broken_off(request: str, text: str, line: str) -> str | None:
    words = line.split()
    last = words[-1].strip("\"'“”‘’(*_").casefold()
    prose = len(words) >= 5 or _SENTENCE_BEFORE.search(text) is not None
    said = " ".join(words[-6:])[-60:]
    if text.endswith(",") and len(words) >= 3 and not _is_verse(text):
        return f"ends with a comma: {said!r}"
    if text.endswith(":") and len(words) >= 2 and not _WANTS_OPEN_END.search(request[:500]):
        return f"announces what does not come: {said!r}"
    if prose and last in _GOES_ON and not _WANTS_OPEN_END.search(request[:500]):
        whole = _SENTENCE_BEFORE.search(text) is not None or _ITEM.match(line)
        if last not in _MAY_END or whole:
            return f"ends with {said!r}"
    return _open_mark(line, said) or _unfinished(text, line, said)


def _open_mark(line: str, said: str) -> str | None:
    """A bracket or quotation of the last line that is not closed."""
    words = line.count(" ")
    if words < 2:
        return None
    if line.rfind("(") > line.rfind(")") and not re.search(r"[:;]-?\(", line) and "(" in line:
        return f"a bracket that is not closed: {said!r}"
    straight, opened = line.count('"'), line.count("“") - line.count("”")
    inches = re.search(r'\d"', line)
    is_open = not inches and (straight % 2 == 1 or opened > 0) and _SENTENCE_BEFORE.search(line)
    if is_open and (line[-1].isalpha() or line[-1] == ","):
        return f"a quotation that is not closed: {said!r}"
    return None


def _unfinished(text: str, line: str, said: str) -> str | None:
    """A last sentence without a mark after others that have one, on its line or in its list."""
    if not line[-1].isalpha() or "=" in line:
        return None
    if _ITEM.match(line):
        items = [one for one in text.splitlines()[:-1] if _ITEM.match(one)]
        long = [one for one in items if len(one.split()) >= 5]
        if len(long) >= 2 and len(long) == len(items) and all(map(_END_MARK.search, items)):
            return f"the last item ends with {said!r}" if len(line.split()) >= 3 else None
        return None
    breaks = list(_SENTENCE_BEFORE.finditer(line))
    if not breaks:
        return _last_line(text, line, said)
    rest = line[breaks[-1].end() - 1 :]
    if len(rest.split()) < 2 or re.search(r"\d|https?:|@|  ", rest) or rest.istitle():
        return None
    return f"the last sentence has no end: {said!r}"


def _last_line(text: str, line: str, said: str) -> str | None:
    """A last line of prose without an end after lines that have one, or alone and long."""
    words = line.split()
    if not line[0].isupper() or re.search(r"\d|https?:|[:|@#*_/]|  ", line) or line.istitle():
        return None
    before = [one for one in text.splitlines()[:-1] if len(one.split()) >= 6]
    if before and len(words) >= 4 and all(map(_END_MARK.search, before)):
        others = [one for one in text.splitlines()[:-1] if one.strip() and one not in before]
        return None if others else f"the last sentence has no end: {said!r}"
    if "\n" not in text and len(words) >= ALONE and "," not in line:
        return f"the sentence has no end: {said!r}"
    return None


def _is_verse(text: str) -> bool:
    lines = text.splitlines()
    return len(lines) >= 3 and all(len(line) <= 70 for line in lines[-4:])


def _is_code(text: str) -> bool:
    return _LOOKS_LIKE_CODE.search(text[-600:]) is not None


def _unbalanced(text: str) -> str:
    """The brackets that a JSON text leaves open, outside strings; "" for other texts."""
    if not re.match(r"\{\s*(?:\"|\}|$)|\[\s*(?:[\"\[{\d\-\]]|$|true|false|null)", text):
        return ""
    if len(text) > 200_000:
        return ""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
    open_marks = list[str]()
    for mark in re.findall(r"[\[\]{}]", bare):
        if mark in "[{":
            open_marks.append(mark)
        elif open_marks:
            open_marks.pop()
            if not open_marks:
                return ""  # a whole value; what follows it is text
    return "".join(open_marks[-3:])
