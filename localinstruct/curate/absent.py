"""Requests whose material is not there: "summarise the following text" and no text, a file's name.

`unanswerable.attachment` finds what would have to be opened or fetched; here it is what should
stand in the row. A request that holds its material (after a colon, in quotation marks, on a line of
its own) is whole. Returns the words that give it away, or None.
"""

import re

_MATERIAL = (
    r"(?:texts?|articles?|passages?|paragraphs?|sentences?|phrases?|poems?|stor(?:y|ies)|essays?"
    r"|reviews?|e-?mails?|letters?|documents?|reports?|speech|transcripts?|contracts?"
    r"|excerpts?|abstracts?"
    r"|quot(?:e|ation)s?|tweets?|posts?|comments?|conversations?|dialogues?|headlines?"
    r"|statements?"
    r"|words?|numbers?|lists?|data|tables?|charts?|graphs?|images?|pictures?|photos?|screenshots?"
    r"|code(?: snippets?| blocks?)?|snippets?|programs?|equations?|expressions?|recipes?"
    r"|questions?"
    r"|options|choices|items|values|functions?|quer(?:y|ies)|lyrics|scripts?|files?|pdf"
    r"|spreadsheets?|notes?|paper|clip|recording|ingredients|reviews)"
)
_THING = (
    rf"(?:{_MATERIAL[3:-1]}|invoices?|slides?(?: decks?)?|presentations?|(?:log|audio|text|csv"
    rf"|video)"
    r" files?|diagrams?|scans?|maps?|videos?|audio(?: clips?)?|clips?|recordings?|pages?|links?"
    r"|web ?sites?|attachments?|drawings?|figures?|menus?|resumes?|blog posts?|chapters?|memos?"
    r"|receipts?|brochures?|flyers?|forms?|logs?|folders?|books?|songs?|podcasts?|pasted \w+"
    r"|problem"
    r"|outputs?|draft|messages?|sketch(?:es)?|csv|manuscripts?|e-?mail threads?|threads?"
    r"|paintings?|voice notes?"
    r"|sql quer(?:y|ies)|floor plans?|posters?|captions?|schedules?|certificates?|dialogs?"
    r"|notices?|labels?|pictures?|plots?|logos?|cartoons?|letters?)"
)
"""Material, and whatever else can be sent along, looked at or opened."""
_SHARED = r"(?:attached|pasted|sent|shared|uploaded|posted|included|enclosed|forwarded|linked|gave)"
_ABSENT = re.compile(
    # sent along by the asker, or enclosed
    rf"\b{_THING}(?: that| which)? (?:i|we|my \w+)(?:['’]ve| have| had)?(?: just)? {_SHARED}\b"
    rf"|\bi(?:['’]ve| have| am|['’]m)?(?: just)? (?:{_SHARED}|attaching|sending)(?: you)? (?:an?"
    rf"|the|my|some)"
    rf" (?:[\w-]+ ){{0,2}}?{_THING}\b(?!.{{0,40}}\b(?:yesterday|by mistake|last))"
    rf"|\b(?:the|this|my) (?:enclosed|attached|uploaded|pasted|linked|provided|supplied"
    rf"|accompanying) "
    rf"(?:[\w-]+ )?{_THING}\b"
    rf"|\b{_THING} (?:attached|enclosed|provided|supplied|at (?:this|the) (?:link|address|url))\b"
    # pointed at: shown in it, seen in it, the next one, the one here
    rf"|\b(?:as )?(?:shown|depicted|seen|visible|pictured|displayed|described|mentioned|listed"
    rf"|written) "
    rf"(?:in|on|by) (?:the|this) {_THING}(?=[,.?!]|$)"
    rf"|\b(?:can|do|did) (?:you|we|i) (?:see|hear|read|spot|find)(?: \w+)? (?:in|on) (?:the"
    rf"|this) {_THING}\b"
    rf"|^(?:please )?(?:look at|read|open|see|check|scan|skim|go through) (?:the|this"
    rf"|my) {_THING},?"
    rf" (?:and|then|to)\b"
    rf"|^(?:please )?\w+(?: \w+)? the (?:next|following|above|below) (?:[\w-]+ )?{_THING}[.:?!]?$"
    rf"|\bthe {_THING} (?:here|below|above)[.:?!]?$|\b(?:this|the) link\b(?! between)"
    # what was said before
    rf"|\b(?:my|your|our|the) (?:previous|last|earlier|prior) (?:message|question|e-?mail|answer"
    rf"|reply"
    rf"|response|conversation|chat|request|prompt)\b"
    rf"|\b{_THING} (?:that )?(?:you|we|i) (?:just )?(?:read|saw|heard|discussed|wrote|mentioned"
    rf"|talked about)\b"
    r"|\bas (?:i|we|you) (?:said|told you|mentioned|discussed|wrote|explained)(?: \w+)? (?:before"
    r"|earlier|above)"
    rf"|^(?:given|using|from|with) (?:the|this|these) {_THING}, (?!where|how many)"
    # whatever it is: below, above, following, given, and nothing of the kind
    r"|\b(?:the|these|two|three|each of the|all the) (?:two |three )?(?:[\w-]+ ){1,3}?(?:below"
    r"|above|attached|provided|shown here|given here|supplied"
    r"|enclosed|in the attachment|i pasted|i shared|i uploaded|you were given|you received)\b"
    r"(?! (?:the|a|an|sea|average|zero|freezing|ground|all|us|him|her|water|by|in|to|with|for|it"
    r"|and below|\d))"
    r"|\bthe following (?!(?:ways?|years?|day|morning|week|month|season|century|year|conditions"
    r"|night)\b)(?:[\w-]+ ){0,3}\w+"
    r"|\b(?:see|find|read|using) (?:the )?attached\b|\(attached\)|\bthe attachment\b"
    r"|\bclick here\b"
    rf"|^here(?:['’]s| is| are) (?:the|my|an?|some) (?:[\w-]+ ){{0,2}}?{_THING}[.!,;]"
    rf"|^(?:read|look at|study|consider|take|check|watch|open) (?:this|these|the) {_THING}\b"
    # this text, and no text
    rf"|^(?:please |can you |could you )?\w+(?: \w+){{0,3}}? (?:this|these) (?:[\w-]+ )?{_THING}"
    rf"(?: (?:for|in|into|to|and|so|as|by|using|with|from|about|at) [^:\n]{{1,70}})?[.?!:]?$"
    rf"|^(?:who|what|where|how|which|when|why|is|are|does|do)\b[^:\n]{{1,50}} (?:this"
    rf"|these) (?:[\w-]+ )?{_THING}"
    r"(?: (?:\w+ ){0,3}\w+)?[.?!]?$",
    re.IGNORECASE,
)
_ABSENT_SIGNS = (
    *("attach", "enclos", "upload", "pasted", "sent", "shared", "posted", "provid", "suppl"),
    *("shown", "depicted", "seen", "visible", "see ", "hear", "next", "here", "below", "above"),
    *("link", "previous", "last ", "earlier", "prior", "you just", "we ", "as i ", "as you"),
    *("this", "these", "look at", "click", "here's", "here is", "here are", "open the"),
    *("read the", "given the", "using the", "from the", "with the", "accompan"),
    *("forward",),
    *("you read", "following", "described", "listed", "written", "mentioned", "sending", "i gave"),
)
_HOLE = re.compile(rf"[\[(<{{](?:the |my |your |insert )?{_THING}(?: here)?[\])>}}]", re.IGNORECASE)
_GIVEN = (
    r"(?:following|given|provided|attached|enclosed|supplied|accompanying|above|below|uploaded)"
)
_POINTS = re.compile(
    rf"\b(?:the|this|these|each of the"
    rf"|my) (?:[\w-]+ )?{_GIVEN}(?: [\w’'-]+){{0,2}}? {_MATERIAL}\b"
    rf"|\b(?:the|this|these|my)(?: [\w’'-]+){{0,2}}? {_MATERIAL} (?:that (?:is|are|was) )?"
    r"(?:below|above|provided|attached|given (?!by|in|to|at|that)|given$|supplied|enclosed"
    r"|shown)\b"
    rf"|\b(?:based on|from|in|using|of) the {_MATERIAL} (?:below|above|provided|given)\b"
    rf"|\b(?:given|using|use|consider) (?:the|this|these) (?:following )?(?:set"
    rf"|{_MATERIAL})\b(?: of \w+)?,"
    rf"|\b{_MATERIAL} (?:that|which) (?:follows?|i(?:['’]ve| have)? (?:attached|pasted|sent"
    rf"|shared|uploaded))\b"
    rf"|\b{_MATERIAL} (?:i(?:['’]ve| have)? (?:attached|pasted|uploaded))\b",
    re.IGNORECASE,
)
_WORDS = (
    *("follow", "given", "provid", "attach", "enclos", "suppl", "accompan", "above", "below"),
    *("upload", "shown", "using", "use ", "consider", "pasted", "i sent", "i shared"),
)
_SEEN_WORDS = (
    *("shown", "depicted", "visible", "picture", "image", "photo", "screenshot", "attached"),
    *("graph", "chart", "table", "passage", "text", "article", "diagram", "excerpt", "paragraph"),
    *("document", "i sent", "i gave", "i uploaded", "i shared"),
)
_CALLED_FOR = (
    r"(?:classify|identify|find|determine|detect|analy[sz]e|rate|judge|extract|count|check)"
)
_BARE = re.compile(
    rf"(?:here (?:is|are) (?:the|an?|my) {_MATERIAL}[.!] ?|i(?:['’]ve| have) (?:attached"
    rf"|pasted|uploaded)"
    rf" (?:the|an?|my) {_MATERIAL}[.!] ?)"
    r"(?:(?:please )?[\w ]{3,20} (?:it|them)(?: (?:for|in|into|to)\b[^:.\n]{0,40})?[.?!]?)\s*"
    rf"|make (?:this|the) {_MATERIAL} (?:\w+ ){{0,2}}\w+er\b[.!]?|what does this {_MATERIAL}"
    rf" mean\W*"
    r"|(?:please )?(?:summari[sz]e|translate|proofread|edit|rewrite|rephrase|paraphrase|correct"
    r"|fix"
    r"|analy[sz]e|shorten|simplify|improve|transcribe|read|punctuate|classify|interpret|explain)"
    r"(?: the (?:grammar|spelling|tone|meaning|errors|mistakes) (?:of|in))? (?:this|the|these)"
    rf" (?:short |long |whole |entire |piece of )?{_MATERIAL}\b"
    r"(?:(?: (?:into|to|in|for|so|and|as|using|with|by) [^:\"“\n]{0,70}| below"
    r"| above))?[.?!:]?\s*"
    rf"|{_CALLED_FOR} (?:the )?[\w ]{{3,30}}? (?:of|in|from) (?:this"
    rf"|these) {_MATERIAL}[.?!:]?\s*",
    re.IGNORECASE,
)
_SEEN = re.compile(
    r"(?:^what (?:does|do|did) (?:the|this) (?:graph|chart|image|picture|table|passage|text"
    r"|article"
    r"|diagram|photo|excerpt) (?:show|say|tell|mean|describe)|^(?:based on|according to) "
    r"(?:the|this)"
    r" (?:passage|text|article|table|graph|chart|paragraph|excerpt|document)(?=,)|^what (?:is"
    r"|are) "
    r"(?:shown|depicted|visible)|^(?:what|who|where|how many|describe"
    r"|name|count"
    r"|identify|list)\b.{0,40} (?:in|of) the (?:picture|image|photo|screenshot)|the attached "
    r"\w+|(?:spreadsheet|file|document|pdf) i (?:sent|gave"
    r"|uploaded|shared|attached))\b",
    re.IGNORECASE,
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
_STAND_IN = re.compile(
    r"[<\[({]\s*(?:insert |the |a |an |your |paste |see )?(?:[\w’'-]+ ){0,3}?(?:picture|image|photo"
    r"|screenshot|chart|graph|diagram|audio|video|clip|recording|attachment|attached|file"
    r"|document"
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
    if _BARE.fullmatch(instruction.strip()):
        return repr(instruction.strip()[:80])
    folded = instruction.casefold()
    points, seen = (any(map(folded.__contains__, words)) for words in (_WORDS, _SEEN_WORDS))
    others = points or any(map(folded.__contains__, _ABSENT_SIGNS))
    brackets = any(map(instruction.__contains__, "[(<{"))
    hole = _HOLE.search(instruction) if brackets else None
    if hole and not _ABOUT_NAMES.search(instruction):
        return f"only {hole[0]!r} in its place"
    if not (points or seen or others):
        return None
    return _pointed_at(instruction, points, seen)


def _pointed_at(instruction: str, points: bool, seen: bool) -> str | None:
    if HOLDS_MATERIAL.search(instruction) or _MAKES_A_PROGRAM.match(instruction):
        return None
    if _IN_A_PROGRAM.search(instruction):
        return None
    match = _POINTS.search(instruction) if points else None
    match = match or (_SEEN.search(instruction) if seen else None)
    if match is None and len(instruction) <= SHORT:
        match = _absent(instruction.strip())
    if match is None or _TASK.search(instruction) or len(instruction[match.end() :].split()) > 16:
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
