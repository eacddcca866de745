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
    r"|(?:please )?(?:summari[sz]e|translate|proofread|edit|rewrite|rephrase|paraphrase|correct|fix"
    r"|analy[sz]e|shorten|simplify|improve|transcribe|read|punctuate|classify|interpret|explain)"
    r"(?: the (?:grammar|spelling|tone|meaning|errors|mistakes) (?:of|in))? (?:this|the|these)"
    rf" (?:short |long |whole |entire |piece of )?{_MATERIAL}\b"
    r"(?:(?: (?:into|to|in|for|so|and|as|using|with|by) [^:\"“\n]{0,70}| below| above))?[.?!:]?\s*"
    rf"|{_CALLED_FOR} (?:the )?[\w ]{{3,30}}? (?:of|in|from) (?:this|these) {_MATERIAL}[.?!:]?\s*",
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
    points, seen = (any(map(folded.__contains__, words)) for words in (_WORDS, _SEEN_WORDS))
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


_MOMENT = (
    r"(?:right now|now|today|tonight|tomorrow|at the moment|currently|this (?:morning"
    r"|evening|week))"
)
_BEYOND = re.compile(
    r"(?:please |hey,? |can you |could you )?(?:"
    # facts of the moment
    rf"(?:what|how)(?:['’]s| is| are| will)\b[^.?!]{{0,30}}\b(?:weather|temperature|forecast"
    rf"|traffic)\b"
    rf"[^.?!]{{0,40}}\b{_MOMENT}"
    r"|what(?:['’]s| is) the (?:current|latest|live|today['’]s) (?:weather|time|price|score"
    r"|traffic|stock"
    r"|exchange rate|value of|temperature|news)\b"
    rf"|what time is it\b|(?:is it|will it be) (?:raining|snowing|sunny|cold"
    rf"|warm)\b[^.?!]{{0,40}}\b{_MOMENT}"
    rf"|what(?:['’]s| is) the (?:score|weather|temperature|price|time|traffic|exchange"
    rf" rate)\b[^.?!]{{0,40}}\b{_MOMENT}"
    rf"|how (?:warm|cold|hot|windy) is it\b[^.?!]{{0,40}}\b{_MOMENT}"
    r"|(?:tell|read|give|show) me (?:today['’]s|the latest|my (?:last|next|new|unread))\b"
    r"|what(?:['’]s| is) on my (?:calendar|to-?do list|schedule|screen|desk)\b"
    r"|what am i (?:wearing|holding|doing|eating|looking at)\b"
    r"|who (?:won|is winning|scored)\b[^.?!]{0,60}\b(?:last night|yesterday|today|this"
    r" (?:morning|week))\b"
    # the asker's own life and things
    r"|where (?:did i (?:leave|put|park)|(?:are|is) my|am i)\b"
    r"|what (?:did i (?:have|eat|say|do|wear|buy|dream)|(?:is|are) in my (?:inbox|fridge"
    r"|pocket|bag|account))\b"
    r"|(?:tell me )?how much (?:money )?(?:is|do i have|have i)\b[^.?!]{0,20}\b(?:in|on) my\b"
    r"|(?:call|phone|text|check|search|read|delete|open|add|upload|download|print|sync"
    r"|scan)\b[^.?!:]{0,60}"
    r"\b(?:on|in|from|to|with|of)? ?my (?:phone|inbox|calendar|e-?mails?|contacts|account|desk"
    r"|camera"
    r"|cloud|drive|album|photos|gallery|computer|laptop|printer|fridge|voicemail)\b"
    # devices, shops and the network
    r"|(?:record|leave|send)(?: me)? (?:a|an|the) (?:voice|video|audio) (?:message|memo|note"
    r"|clip)\b"
    rf"|text (?-i:[A-Z])\w+ (?:that|to say)\b|google (?:the|for|a)\b"
    r"|(?:dim|turn (?:up|down|on|off)|switch (?:on|off)) (?:the|my|all)\b"
    r"|(?:turn|switch) (?:the|my) (?:\w+ ){1,2}(?:up|down|on|off)\b|take a screenshot\b"
    r"|play (?:some|me some|my) \w+\W*\Z|order me\b"
    r"|(?:search|browse|surf|check|scan) (?:the (?:web|internet|net)|online|google|youtube)\b"
    r"|(?:start|set|stop|pause|reset) (?:a|an|the|my) (?:\w+ )?(?:timer|stopwatch|alarm"
    r"|countdown)\b"
    r"|(?:open|close|lock|unlock|restart) (?:the|my|a) (?:browser|app|front door|door|window"
    r"|camera|garage)\b"
    r"|(?:show|send|play|find)(?: me)? (?:a|an|the|some) (?:videos?|films?|clips?|gifs?"
    r"|photos?|songs?)"
    r" (?:of|from|by|with)\b"
    r"|(?:buy|order|book|reserve)(?: me)? (?:a|an|some|two|three|four|\d+|the cheapest) (?:\w+"
    r" )?(?:tickets?|seats?"
    r"|rooms?|tables?|flights?|pizzas?|taxis?|flowers|groceries)\b"
    r")",
    re.IGNORECASE,
)
_BEGINS_BEYOND = re.compile(
    r"\s*(?:please|hey|can|could|what|how|is|will|who|where|tell|give|google|dim|turn|switch"
    r"|take|text|call|phone|text|check|search|read|delete"
    r"|open|add|upload|download|print|sync|scan|record|leave|send|browse|surf|start|set|stop"
    r"|pause|reset"
    r"|close|lock|unlock|restart|show|play|find|buy|order|book|reserve)\b",
    re.IGNORECASE,
)


def beyond_reach(instruction: str, given: str) -> str | None:
    """Find a request for the news of the moment, the asker's own things, or an act of a device.

    Only where it is the whole request: short, and without material of its own.
    """
    if len(instruction) > 160 or given.strip() or not _BEGINS_BEYOND.match(instruction):
        return None
    match = _BEYOND.match(instruction.strip())
    if match is None or _HOLDS_MATERIAL.search(instruction):
        return None
    return repr(match[0][:80])
