"""Requests whose material is not there: "summarise the following text" and no text, a file's name.

`unanswerable.attachment` finds what would have to be opened or fetched; here it is what should
stand in the row. A request that holds its material (after a colon, in quotation marks, on a line of
its own) is whole. Returns the words that give it away, or None.
"""

import re

from localinstruct.curate.texts import Alternatives, Signs, folded, has, read_patterns

_CHOICES = read_patterns("absent")
_PARTS = {name: f"(?:{choices[0][1]})" for name, choices in _CHOICES.items()}
_ABSENT, _POINTS = Alternatives(*_CHOICES["absent"]), Alternatives(*_CHOICES["points"])
_BARE = re.compile(_PARTS["bare"], re.IGNORECASE)
_SEEN = re.compile(rf"{_PARTS['seen']}\b", re.IGNORECASE)
_STAND_IN = re.compile(_PARTS["standin"], re.IGNORECASE)
_HOLE = re.compile(
    rf"[\[(<{{](?:the |my |your |insert )?{_PARTS['thing']}(?: here)?[\])>}}]", re.IGNORECASE
)
_WORDS = Signs(
    *("follow", "given", "provid", "attach", "enclos", "suppl", "accompan", "above", "below"),
    *("upload", "shown", "using", "use ", "consider", "pasted", "i sent", "i shared"),
)
_SEEN_WORDS = Signs(
    *("shown", "depicted", "visible", "picture", "image", "photo", "screenshot", "attached"),
    *("graph", "chart", "table", "passage", "text", "article", "diagram", "excerpt", "paragraph"),
    *("document", "i sent", "i gave", "i uploaded", "i shared"),
)
_BARE_BEGINS = (
    *(
        "here ",
        "i",
        "make ",
        "what ",
        "please ",
        "summari",
        "translate",
        "continue",
        "finish",
        "proofread",
        "edit",
    ),
    *(
        "rewrite",
        "rephrase",
        "condense",
        "polish",
        "paraphrase",
        "correct",
        "fix",
        "analy",
        "shorten",
        "simplify",
    ),
    *("improve", "transcribe", "read", "punctuate", "classify", "interpret", "explain"),
    *("identify", "find", "determine", "detect", "rate", "judge", "extract", "count", "check"),
)
HOLDS_MATERIAL = re.compile(
    r":\s*\S|\n\s*\S|[\"“«„].{2,}?[\"”»“]|(?<!\w)['‘].{3,}['’](?!\w)|`|\d\s*,\s*-?\d|\|", re.DOTALL
)
_MAKES_A_PROGRAM = re.compile(
    r"^(?:please )?(?:write|create|implement|design|develop|build|generate|code|define|construct"
    r"|compose|make|come up with|invent|suggest|describe how|explain how|how(?! many| would you)"
    r"|provide an? (?:example"
    r"|algorithm|function))\b",
    re.IGNORECASE,
)
_IN_A_PROGRAM = re.compile(
    r"\b(?:in|with|using) (?:python|java\w*|c\+\+|c#|sql|excel|rust|go|php|ruby|bash|pandas)\b",
    re.I,
)
_TASK = re.compile(r"\b(?:following|below|above) (?:tasks?|instructions?|requirements?)\b", re.I)
_ABOUT_NAMES = re.compile(
    r"\b(?:file ?names?|extensions?|rename|format|type|mime|name of the file|suffix|paths?"
    r"|placeholders?|ends?|tags?)\b",
    re.IGNORECASE,
)


SHORT = 200
"""Letters of a request up to which it is read for things that it points at."""


def material(instruction: str, given: str) -> str | None:
    """Find a text, table, picture or file that the request needs and does not have."""
    bare = given.strip()
    if bare:
        stands_in = len(bare) <= 90 and _STAND_IN.fullmatch(bare)
        if stands_in and not _ABOUT_NAMES.search(instruction):
            return f"only {bare[:60]!r} in the input"
        return None
    if len(instruction) > 400:
        return None
    after = instruction.rpartition(":")[2].strip()
    if after[:1] in "[<({" and len(after) <= 60 and _STAND_IN.fullmatch(after):
        return f"only {after!r} in its place"
    lower = folded(instruction)
    if lower.lstrip().startswith(_BARE_BEGINS) and _BARE.fullmatch(instruction.strip()):
        return repr(instruction.strip()[:80])
    points, seen = _WORDS.stand_in(instruction), _SEEN_WORDS.stand_in(instruction)
    hole = _HOLE.search(instruction) if has(instruction, ("[", "(", "<", "{")) else None
    if hole and not _ABOUT_NAMES.search(instruction):
        return f"only {hole[0]!r} in its place"
    return _pointed_at(instruction, points, seen)


def _pointed_at(instruction: str, points: bool, seen: bool) -> str | None:
    match = _POINTS.search(instruction) if points else None
    match = match or (_SEEN.search(instruction) if seen else None)
    if match is None and len(instruction) <= SHORT:
        match = _absent(instruction.strip())
    if match is None or _TASK.search(instruction) or len(instruction[match.end() :].split()) > 16:
        return None
    if HOLDS_MATERIAL.search(instruction) or _MAKES_A_PROGRAM.match(instruction):
        return None
    if _IN_A_PROGRAM.search(instruction):
        return None
    return repr(" ".join(match[0].split())[:80])


def _absent(instruction: str) -> re.Match[str] | None:
    """Words that point at a thing which nothing before them brings in: "a story … this story"."""
    match = _ABSENT.search(instruction)
    if match is None:
        return None
    noun = re.findall(r"\w+", match[0])[-1].casefold()
    before = instruction[: match.start()].casefold()
    return None if re.search(rf"\b(?:an?|some|one) (?:[\w-]+ )?{noun}", before) else match
