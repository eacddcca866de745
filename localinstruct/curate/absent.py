"""Requests whose material is not there: "summarise the following text" and no text, a file's name.

`unanswerable.attachment` finds what would have to be opened or fetched; here it is what should
stand in the row. A request that holds its material (after a colon, in quotation marks, on a line of
its own) is whole. Returns the words that give it away, or None.
"""

import re

_MATERIAL = (
    r"(?:texts?|articles?|passages?|paragraphs?|sentences?|phrases?|poems?|stor(?:y|ies)|essays?"
    r"|reviews?|e-?mails?|letters?|documents?|reports?|speech|transcripts?|excerpts?|abstracts?"
    r"|quot(?:e|ation)s?|tweets?|posts?|comments?|conversations?|dialogues?|headlines?|statements?"
    r"|words?|numbers?|lists?|data|tables?|charts?|graphs?|images?|pictures?|photos?|screenshots?"
    r"|code(?: snippets?| blocks?)?|snippets?|programs?|equations?|expressions?|recipes?|questions?"
    r"|options|choices|items|values|functions?|quer(?:y|ies)|lyrics|scripts?|files?|pdf"
    r"|spreadsheets?|notes?|paper|clip|recording|ingredients|reviews)"
)
_GIVEN = (
    r"(?:following|given|provided|attached|enclosed|supplied|accompanying|above|below|uploaded)"
)
_POINTS = re.compile(
    rf"\b(?:the|this|these|each of the|my) (?:[\w-]+ )?{_GIVEN}(?: [\w’'-]+){{0,2}}? {_MATERIAL}\b"
    rf"|\b(?:the|this|these|my)(?: [\w’'-]+){{0,2}}? {_MATERIAL} (?:that (?:is|are|was) )?"
    r"(?:below|above|provided|attached|given (?!by|in|to|at|that)|given$|supplied|enclosed|shown)\b"
    rf"|\b(?:based on|from|in|using|of) the {_MATERIAL} (?:below|above|provided|given)\b"
    rf"|\b(?:given|using|use|consider) (?:the|this|these) (?:following )?(?:list|set|table"
    rf"|paragraph"
    r"|passage|text|sentence|data|article)\b(?: of \w+)?,",
    re.IGNORECASE,
)
_WORDS = (
    *("follow", "given", "provid", "attach", "enclos", "suppl", "accompan", "above", "below"),
    *("upload", "shown", "using", "use ", "consider"),
)
_SEEN_WORDS = (
    *("shown", "depicted", "visible", "picture", "image", "photo", "screenshot", "attached"),
    *("graph", "chart", "table", "passage", "text", "article", "diagram", "excerpt", "paragraph"),
    *("document", "i sent", "i gave", "i uploaded", "i shared"),
)
_BARE = re.compile(
    r"(?:please )?(?:summari[sz]e|translate|proofread|edit|rewrite|rephrase|paraphrase|correct|fix"
    r"|analy[sz]e|shorten|simplify|improve|transcribe|read|punctuate|classify|interpret|explain)"
    r"(?: the (?:grammar|spelling|tone|meaning|errors|mistakes) (?:of|in))? (?:this|the|these)"
    r" (?:short |long |whole |entire )?(?:text|passage|paragraph|sentence|poem|article|essay|tweet"
    r"|email|letter|document|excerpt|snippet|code snippet|code)s?\b"
    r"(?:(?: (?:into|to|in|for|so|and|as|using|with|by) [^:\"“\n]{0,70}| below| above))?[.?!]?\s*",
    re.IGNORECASE,
)
_SEEN = re.compile(
    r"(?:^what (?:does|do|did) (?:the|this) (?:graph|chart|image|picture|table|passage|text|article"
    r"|diagram|photo|excerpt) (?:show|say|tell|mean|describe)|^(?:based on|according to) "
    r"(?:the|this)"
    r" (?:passage|text|article|table|graph|chart|paragraph|excerpt|document)(?=,)|^what (?:is|are) "
    r"(?:shown|depicted|visible)|^(?:what|who|where|how many|describe"
    r"|name|count"
    r"|identify|list)\b.{0,40} (?:in|of) the (?:picture|image|photo|screenshot)|the attached "
    r"\w+|(?:spreadsheet|file|document|pdf) i (?:sent|gave"
    r"|uploaded|shared|attached))\b",
    re.IGNORECASE,
)
_HOLDS_MATERIAL = re.compile(
    r":\s*\S|\n\s*\S|[\"“«„].{2,}?[\"”»“]|(?<!\w)['‘].{3,}['’](?!\w)|`|\d\s*,\s*-?\d|\|", re.DOTALL
)
_MAKES_A_PROGRAM = re.compile(
    r"^(?:please )?(?:write|create|implement|design|develop|build|generate|code|define|construct"
    r"|compose|make|come up with|invent|suggest|describe how|explain how|how|provide an? (?:example"
    r"|algorithm|function))\b",
    re.IGNORECASE,
)
_IN_A_PROGRAM = re.compile(
    r"\b(?:in|with|using) (?:python|java\w*|c\+\+|c#|sql|excel|rust|go|php|ruby|bash|pandas)\b",
    re.I,
)
_TASK = re.compile(r"\b(?:following|below|above) (?:task|instructions?|requirements?)\b", re.I)
_STAND_IN = re.compile(
    r"[<\[({]\s*(?:insert |the |a |an |your |paste |see )?(?:[\w’'-]+ ){0,3}?(?:picture|image|photo"
    r"|screenshot|chart|graph|diagram|audio|video|clip|recording|attachment|attached|file|document"
    r"|pdf|poem|passage|text|article|story|paragraph|sentence|code|table|data|link|url|here|email"
    r"|letter|essay|review|input)s?(?: [\w’'-]+){0,3}\s*[>\])}]\.?"
    r"|[<\[(]?[\w -]{1,60}\.(?:png|jpe?g|gif|bmp|svg|pdf|docx?|xlsx?|csv|mp[34]|wav|txt|pptx?"
    r"|zip|webp)[>\])]?",
    re.IGNORECASE,
)
_ABOUT_NAMES = re.compile(
    r"\b(?:file ?names?|extensions?|rename|format|type|mime|name of the file|suffix|paths?"
    r"|placeholders?|ends?|tags?)\b",
    re.IGNORECASE,
)


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
    if _BARE.fullmatch(instruction.strip()):
        return repr(instruction.strip()[:80])
    folded = instruction.casefold()
    points, seen = (any(word in folded for word in words) for words in (_WORDS, _SEEN_WORDS))
    if not (points or seen):
        return None
    if _HOLDS_MATERIAL.search(instruction) or _MAKES_A_PROGRAM.match(instruction):
        return None
    if _IN_A_PROGRAM.search(instruction):
        return None
    match = _POINTS.search(instruction) if points else None
    match = match or (_SEEN.search(instruction) if seen else None)
    if match is None or _TASK.search(instruction) or len(instruction[match.end() :].split()) > 16:
        return None
    return repr(" ".join(match[0].split())[:80])
