"""Requests whose material is not there: "summarise the following text" and no text, a file's name.

`unanswerable.attachment` finds what would have to be opened or fetched; here it is what should
stand in the row. A request that holds its material (after a colon, in quotation marks, on a line of
its own) is whole. Returns the words that give it away, or None.
"""

import re

from localinstruct.curate.texts import Alternatives, Signs, folded, has, quoted, read_patterns

_CHOICES = read_patterns("absent")
_PARTS = {name: f"(?:{choices[0][1]})" for name, choices in _CHOICES.items()}
_ABSENT, _POINTS = Alternatives(*_CHOICES["absent"]), Alternatives(*_CHOICES["points"])
_BARE = re.compile(_PARTS["bare"], re.IGNORECASE)
_SEEN = re.compile(rf"{_PARTS['seen']}\b", re.IGNORECASE)
_STAND_IN = re.compile(_PARTS["standin"], re.IGNORECASE)
_HOLE = re.compile(
    rf"[\[(<{{](?:the |my |your |insert )?{_PARTS['thing']}(?: here)?[\])>}}]", re.IGNORECASE
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


_ADMITS = re.compile(
    rf"(?:\bno (?:{_PARTS['thing']}|\w+) (?:was|were|is|has been|have been) (?:provided|included"
    rf"|attached|given|supplied|uploaded|shared|found in)\b"
    rf"|\b(?:the|your|any) (?:\w+ )?{_PARTS['thing']} (?:(?:was|were|is|are|does|did) not|wasn't"
    rf"|isn't|didn't|has not been|hasn't been) (?:\w+ )?(?:included|attached|provided|come through"
    rf"|uploaded|here|shared|supplied)\b|\b{_PARTS['thing']} (?:is |are )?missing\b"
    rf"|\bnothing (?:seems? to have |has |have )?(?:come|came|been attached|got) through\b"
    rf"|\b(?:don't|do not|cannot|can't) see (?:an?|any|the|your) (?:\w+ )?{_PARTS['thing']}\b)",
    re.IGNORECASE,
)
"""An answer that says that what it was to work on did not come with the request."""
_REFERS = re.compile(
    rf"\b(?:the|this|these|my|our|attached|given) (?:[\w-]+ ){{0,3}}?{_PARTS['thing']}\b",
    re.IGNORECASE,
)
_ADMIT_SIGNS = ("no ", "not ", "n't ", "missing", "nothing")


def admitted(instruction: str, given: str, output: str) -> str | None:
    """Find words of an answer that say that the material is not there, where no row has it."""
    begins = folded(output)[:200]
    if given.strip() or len(instruction) > 400 or not has(begins, _ADMIT_SIGNS):
        return None
    match = None if HOLDS_MATERIAL.search(instruction) else _ADMITS.search(begins)
    asked = match and not _MAKES_A_PROGRAM.match(instruction) and _REFERS.search(instruction)
    return quoted(match[0]) if match and asked else None


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
    seen = _SEEN_WORDS.stand_in(instruction)
    hole = _HOLE.search(instruction) if has(instruction, ("[", "(", "<", "{")) else None
    if hole and not _ABOUT_NAMES.search(instruction):
        return f"only {hole[0]!r} in its place"
    return _pointed_at(instruction, seen)


def _pointed_at(instruction: str, seen: bool) -> str | None:
    match = _POINTS.search(instruction)
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
