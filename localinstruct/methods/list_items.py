"""Cut the text of a numbered list into its items, by their own headers at the start of a line.

A header is "7. Instruction:" in any of the shapes teachers write ("## 7) **Instruction**:"). Items
are never counted and "###" alone cuts nothing, so a wrong number, a lost separator or a Markdown
heading in an answer costs at most the item it stands in. Every line of the text lands in exactly
one item. Not covered: two headers on one line.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice, takewhile

_HEADER = re.compile(  # every repetition is bounded: a hostile line costs constant time
    r"[ \t]{0,8}(?P<hashes>#{1,6}[ \t]{0,4})?(?:[-*+•][ \t]{1,4})?[*_]{0,3}[ \t]{0,4}"
    r"(?:(?:(?:task|item|example|no\.?)[ \t]{1,4})?[(\[#]{0,2}(?P<number>[0-9]{1,4})"
    r"[ \t]{0,4}[.):\]–-]{0,2}[ \t]{0,4}[*_]{0,3}[ \t]{0,4})?"
    r"(?P<field>instruction|input|output)s?[*_]{0,3}[ \t]{0,4}(?:[::][*_]{0,3}|$)",
    re.IGNORECASE,
)
_HASHES = re.compile(r"\s*#+\s*")
_RULE = re.compile(r"\s*(?:-{3,}|\*{3,}|={3,})\s*")
_FENCE = re.compile(r"\s*(`{3,}|~{3,})([^`]*)")


@dataclass(frozen=True, slots=True)
class Header:
    """The start of a field, as the teacher wrote it."""

    field: str  # "instruction", "input" or "output"
    number: int | None  # as the teacher printed it
    hashed: bool  # "### 7. Instruction:" is separator and header on one line
    rest: str  # what follows on the same line


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the text, with its header and its place in a code block."""

    text: str
    header: Header | None = None  # None inside a closed code block
    fenced: bool = False  # inside a closed code block, its last line included

    @property
    def blank(self) -> bool:
        """True when the line has nothing but spaces."""
        return not self.text.strip()

    @property
    def hashes(self) -> bool:
        """Alpaca's separator "###", of any length, alone on its line."""
        return not self.fenced and _HASHES.fullmatch(self.text) is not None

    @property
    def separates(self) -> bool:
        """Hashes, or a rule such as "---"."""
        return self.hashes or (not self.fenced and _RULE.fullmatch(self.text) is not None)

    def opens(self, field: str) -> bool:
        """True when a header of `field` stands here."""
        return self.header is not None and self.header.field == field


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of the list: the lines of a task, or (`preface`) words before the first one."""

    lines: list[Line]
    number: int | None  # as printed, or the open slot's
    continues: bool = False  # begins in the open slot, without a header of its own
    preface: bool = False

    @property
    def text(self) -> str:
        """The piece as the teacher wrote it."""
        return "\n".join(line.text for line in self.lines).strip()


def split_items(text: str, first: int) -> list[Item]:
    """Cut cleaned text into its items.

    Every line that is not blank or a separator is in exactly one of them.
    """
    lines = _lines(text, first)
    starts = _starts(lines, first)
    cuts = [*starts, len(lines)]
    items = [_open_slot(lines[: cuts[0]], lines[cuts[0] :], first)]
    for start, end in zip(starts, cuts[1:], strict=True):
        header = lines[start].header
        number = header.number if header else _first_number(lines[start:end])
        if number is None and not items[0].lines:
            number = first if start == starts[0] else None
        items.append(Item(_trim(lines[start:end]), number))
    return [item for item in items if item.lines]


def _open_slot(lines: list[Line], after: list[Line], first: int) -> Item:
    """Take the lines before the first header: the rest of item `first`, or a preface.

    They are a preface if that item comes again.
    """
    header = after[0].header if after else None
    is_instruction = header is not None and header.field == "instruction"
    repeats = header is not None and is_instruction and (header.number or 0) <= first
    preface = repeats and not any(line.header for line in lines)
    return Item(_trim(lines), first, continues=True, preface=preface)


def _lines(text: str, first: int) -> list[Line]:
    """Read each line's header. A closed code block hides those in it.

    Unless a later item begins in it: then it was never closed, and the fence found belongs to
    another item.
    """
    lines = [Line(line, _header(line)) for line in text.split("\n")]
    closings = [at for at, line in enumerate(lines) if _is_bare(line)]
    current, at = first - 1, 0
    while at < len(lines):
        header = lines[at].header
        if header and header.field == "instruction" and header.number is not None:
            current = header.number
        end = _closing(lines, closings, at)
        if end is not None and not any(_begins_after(line, current) for line in lines[at:end]):
            block = slice(at + 1, end + 1)
            lines[block] = [replace(line, header=None, fenced=True) for line in lines[block]]
            at = end
        at += 1
    return lines


def _header(line: str) -> Header | None:
    match = _HEADER.match(line)
    if match is None:
        return None
    number = int(match["number"]) if match["number"] else None
    return Header(match["field"].lower(), number, bool(match["hashes"]), line[match.end() :])


def _is_bare(line: Line) -> bool:
    """True when the line is a code fence without a language: one that can close a block."""
    fence = _FENCE.fullmatch(line.text)
    return fence is not None and not fence[2].strip()


def _closing(lines: Sequence[Line], closings: list[int], at: int) -> int | None:
    """Find the line that closes the code block opened on line `at`, or None."""
    header = lines[at].header
    opening = _FENCE.fullmatch(header.rest if header else lines[at].text)
    if opening is None:
        return None
    below = islice(closings, bisect_right(closings, at), None)
    return next((end for end in below if lines[end].text.lstrip().startswith(opening[1])), None)


def _begins_after(line: Line, current: int) -> bool:
    header = line.header
    return header is not None and header.field == "instruction" and (header.number or 0) > current


def _starts(lines: Sequence[Line], first: int) -> list[int]:
    """Find the lines on which an item begins, the open slot not counted."""
    headers = [(index, line.header) for index, line in enumerate(lines) if line.header]
    numbers = [header.number for _, header in headers if header.field == "instruction"]
    unnumbered = all(number is None for number in numbers)
    starts: list[int] = []
    current = first  # number of the item we are in
    has_output = False  # its output has begun
    before = -1  # line of the last header
    for place, (index, header) in enumerate(headers):
        begin, later = None, (header.number or 0) > current
        if header.field == "instruction":
            counts = header.number is not None or unnumbered
            plain = later or header.hashed or _after_separator(lines, index)
            begin = index if plain or (counts and _has_output(headers, place)) else None
        elif has_output and later:
            sure = _separated(lines, before, index) or _has_output(headers, place)
            begin = _lost_start(lines, before, index, header.number) if sure else None
        if begin is not None:
            starts.append(begin)
            current, has_output = header.number or current + 1, False
        has_output = has_output or header.field == "output"
        before = index
    return starts


def _has_output(headers: Sequence[tuple[int, Header]], place: int) -> bool:
    """True when an output of that number follows before the next instruction: the mark of an item.

    Lines of an answer have none ("1. Instruction: preheat the oven").
    """
    number = headers[place][1].number
    own = takewhile(lambda pair: pair[1].field != "instruction", islice(headers, place + 1, None))
    return any(header.field == "output" and header.number == number for _, header in own)


def _after_separator(lines: Sequence[Line], index: int) -> bool:
    """True when the nearest line above that is not blank is a separator, or there is none above."""
    above = next((lines[at] for at in range(index - 1, -1, -1) if not lines[at].blank), None)
    return above is None or above.separates


def _separated(lines: Sequence[Line], before: int, index: int) -> bool:
    return any(line.separates for line in lines[before + 1 : index])


def _lost_start(lines: Sequence[Line], before: int, index: int, number: int | None) -> int:
    """Find the line on which an item without instruction header begins.

    It is its separator or its number, else its next header.
    """
    between = range(before + 1, index)
    separators = [at for at in between if lines[at].separates]
    numbers = [at for at in between if re.match(rf"\s{{0,8}}{number}[.)]", lines[at].text)]
    return min((places[-1] for places in (separators, numbers) if places), default=index)


def _first_number(lines: Sequence[Line]) -> int | None:
    return next((line.header.number for line in lines if line.header), None)


def _trim(lines: list[Line]) -> list[Line]:
    """Drop blank lines and separators around an item, and a last code fence that closes nothing.

    A rule ("---") above a "###" is not dropped: it is the answer's own.
    """
    start, end = 0, len(lines)
    while start < end and (lines[start].blank or lines[start].hashes):
        start += 1
    separated = False
    while end > start:
        line = lines[end - 1]
        stray_fence = _is_bare(line) and not line.fenced
        first_rule = line.separates and not separated
        if not (line.blank or line.hashes or stray_fence or first_rule):
            break
        separated = separated or line.separates
        end -= 1
    return lines[start:end]
