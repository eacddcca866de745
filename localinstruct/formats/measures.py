"""Parts of an answer that checks count: words, sentences, paragraphs, list items, headings, tables.

Pure. Words are what white space separates, so that the measures know no language; where one word is
looked for, it is a run of letters, digits and inner hyphens or apostrophes, in any case. A sentence
ends with a mark before white space, or with its line; abbreviations and numbers of list items end
none. Not covered: abbreviations that are not in the list.
"""

import re

BULLET = re.compile(r"^\s*(?:[-*•–]|\d+[.)])\s+\S", re.MULTILINE)
ITEM = re.compile(r"^\s*(?:[-*•–]|\d+[.)])\s+(?=\S)")
_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_NUMBERED = re.compile(r"^[ \t]*(\d+)[.)][ \t]+\S", re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"”’)\]*_]*\s+")
_NO_END = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|prof|st|jr|sr|vs|no|e\.g|i\.e|cf|approx)|(?-i:\b[A-HJ-Z])|^\s*\d+)\.$",
    re.IGNORECASE | re.MULTILINE,
)
_SEPARATOR = re.compile(r"\|?[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*)*\|?")


def words_of(text: str) -> list[str]:
    """The single words of a text, folded to one case."""
    return [word.casefold() for word in _WORD.findall(text)]


def has_word(text: str, word: str) -> bool:
    """True when a word, or a run of words, stands in the text as a whole, in any case."""
    return times(text, word) > 0


def times(text: str, word: str) -> int:
    """How many times a word stands in the text as a whole, in any case."""
    return len(re.findall(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE))


def sentences_of(text: str) -> list[str]:
    """The sentences of a text in order, each with its end mark; a line ends a sentence."""
    found: list[str] = []
    for line in text.splitlines():
        begun = ""
        for part in _SENTENCE_END.split(line.strip()):
            begun = f"{begun} {part}".strip()
            if not _NO_END.search(begun[-16:]):
                found.append(begun)
                begun = ""
        found.append(begun)
    return [sentence for sentence in found if any(map(str.isalnum, sentence))]


def lines_of(text: str) -> list[str]:
    """The lines of a text that are not blank."""
    return [line for line in text.splitlines() if line.strip()]


def paragraphs_of(text: str) -> list[str]:
    """The parts of a text between blank lines."""
    return [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]


def items_of(text: str) -> list[str]:
    """The words of each list item, less its mark (-, *, •, 1., 1))."""
    return [ITEM.sub("", line).strip() for line in text.splitlines() if ITEM.match(line)]


def bullets(text: str) -> int:
    """Number of list items, numbered or not."""
    return len(BULLET.findall(text))


def numbered(text: str) -> int:
    """Number of list items that count 1, 2, 3 … ; 0 where they count otherwise."""
    numbers = [int(number) for number in _NUMBERED.findall(text)]
    return len(numbers) if numbers == list(range(1, len(numbers) + 1)) else 0


def checkboxes(text: str) -> int:
    """Number of lines that begin with an empty box of a task list: - [ ]."""
    return len(re.findall(r"^[ \t]*[-*] \[ \] \S", text, re.MULTILINE))


def headings(text: str) -> int:
    """Number of Markdown headings: lines that begin with # and a blank."""
    return len(re.findall(r"^#{1,6} \S", text, re.MULTILINE))


def bold(text: str) -> int:
    """Number of parts in **double asterisks**."""
    return len(re.findall(r"\*\*[^\s*](?:[^*\n]*[^\s*])?\*\*", text))


def code_blocks(text: str) -> int:
    """Number of fenced blocks of code that are closed."""
    return len(re.findall(r"^```[^\n`]*\n.*?^```\s*$", text, re.MULTILINE | re.DOTALL))


def table_columns(text: str) -> int:
    """Columns of the first Markdown table: a row, a line of dashes, a row; 0 without one."""
    lines = text.splitlines()
    for above, line, below in zip(lines, lines[1:], lines[2:], strict=False):
        if "|" in above and "|" in below and "-" in line and _SEPARATOR.fullmatch(line.strip()):
            counts = {_cells(above), _cells(line), _cells(below)}
            return counts.pop() if len(counts) == 1 else 0
    return 0


def _cells(row: str) -> int:
    return len(row.strip().strip("|").split("|"))


def numbers(text: str) -> list[float]:
    """The numbers of a text that are written in digits, those of list items left out."""
    bare = "\n".join(ITEM.sub("", line) for line in text.splitlines())
    found = re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?", bare)
    return [float(number.replace(",", "")) for number in found]


def capital_words(text: str) -> int:
    """Number of words of two letters and more that have capital letters only."""
    return sum(word.isupper() and sum(map(str.isalpha, word)) > 1 for word in _WORD.findall(text))


def quotations(text: str) -> int:
    """Number of passages in double quotation marks, straight or curly."""
    return len(re.findall(r"\"[^\"\n]+\"|“[^”\n]+”", text))


def parentheses(text: str) -> int:
    """Number of remarks in round brackets."""
    return len(re.findall(r"\([^()\n]+\)", text))


def placeholders(text: str) -> int:
    """Number of places in square brackets, such as [name]; boxes of a task list are none."""
    return sum(bool(inside.strip()) for inside in re.findall(r"\[([^\[\]\n]+)\]", text))


def parts_between(text: str, divider: str = "***") -> int:
    """Number of parts that lines of three asterisks separate, none of them blank; else 0."""
    parts = re.split(rf"^[ \t]*{re.escape(divider)}[ \t]*$", text, flags=re.MULTILINE)
    return len(parts) if all(part.strip() for part in parts) else 0
