"""Requests that a text model cannot fulfil: pictures, sound, absent files, acts in the world.

Alpaca dropped every instruction that has a word such as "file", "map" or "music" in it, and so lost
"File a complaint" and kept "Listen to the recording". Here the whole request is read: the doer, the
act and its object. Where text can do the work (ASCII art, Mermaid, SVG, the script of a video) the
request stands. Not covered: other languages than English, and requests that need today's news.
Every function returns the words that give the request away, or None.

A rule is a regular expression in which {name} stands for a part from `_PARTS` and a space for any
white space.
"""

import re
from functools import lru_cache

from localinstruct.curate.texts import folded, has, words_in_order

_NOUNS = {  # _ joins the words of one noun; every noun may have a plural s
    "picture": "image picture pic photo photograph painting drawing illustration screenshot "
    "poster logo cartoon comic_strip infographic animation gif collage meme wallpaper "
    "portrait selfie sketch",
    "shape": "flowchart flow_chart diagram graph pie_chart bar_chart line_chart gantt_chart "
    "org_chart histogram scatterplot scatter_plot mind_map mindmap concept_map heatmap "
    "heat_map blueprint floor_plan",
    "recorded": "video audio recording podcast soundtrack video_clip audio_clip audio_recording "
    "voice_memo",
    "sound": "video audio recording podcast soundtrack song music track melody tune beat clip "
    "video_clip audio_clip audio_recording voice_memo",
    "paper": "file document pdf spreadsheet attachment csv folder presentation slide dataset "
    "article report resume table text letter email code passage contract paper data "
    "image picture photo screenshot",
    "food": "pizza food lunch dinner breakfast coffee groceries takeout burger sushi meal taxi "
    "cab uber flower",
    "booking": "flight hotel table room taxi cab ticket appointment seat car trip cruise train "
    "meeting",
    "figurative": "conclusion inference comparison parallel lesson distinction attention "
    "connection analogy analogies inspiration link contrast insight implication "
    "line breath crowd moral on upon from up out near back straw blood",
    "written": "plan outline proposal timeline strategy schedule solution argument proof scene "
    "story draft character biography idea summary comedy design",
    "figure": "point data value function graph chart curve line histogram result number equation "
    "figure coordinate temperature sale trend parabola distribution",
    "message": "email e-mail message sms text invoice fax letter flower gift package money "
    "payment invitation",
}
_VERBS = {
    "make": "create make generate design produce render build prepare construct provide give show "
    "add insert include attach send share upload post find take shoot edit crop resize "
    "sketch draw paint illustrate develop",
    "look": "look_at look_closely_at look_carefully_at view examine describe caption transcribe "
    "inspect observe study analyze analyse identify compare see review rate color colour "
    "label interpret summarize summarise",
    "fetch": "visit open go_to browse read summarize summarise analyze analyse review watch "
    "listen check_out access download click look_at translate evaluate critique "
    "paraphrase extract scrape obtain retrieve get",
}


def _any(words: str, plural: bool) -> str:
    choices = [re.escape(word).replace("_", " ") + "s?" * plural for word in words.split()]
    return f"(?:{'|'.join(choices)})"


_PARTS = {
    **{name: _any(words, plural=True) for name, words in _NOUNS.items()},
    **{name: _any(words, plural=False) for name, words in _VERBS.items()},
    "given": "(?:this|the "
    "(?:following|given|attached|provided|accompanying|above)|following|attached|accompanying)",
    "placed": "(?:below|above|attached|provided|shown|given|here|that (?:is|was) attached)",
    # Adjectives and articles before a noun, never a preposition: "a title for a video" is no video.
    "any": r"(?:(?!(?:for|about|of|from|to|with|on|in|into|that|which|by|as|using"
    r"|titled)\b)[\w'’-]+,? ){0,5}?",
    "few": r"(?:[\w'’.:-]+ ){0,3}?",
    # The noun is the object itself and not a modifier, as in "video script" or "image caption".
    "end": r"(?=\s*(?:$|[.,;:!?)\"'”]|(?:of|that|which|showing|depicting|illustrating"
    r"|representing|displaying|to|for|with|in|from|about|explaining|comparing|based|and|or"
    r"|using|below|above|attached|provided|given|shown|here|it|so|as|at|by|on|is|are|was"
    r"|were|has|have|does|can|will|when|where|while|carefully|closely|again)\b))",
    "url": r"(?:https?://|www\.)",
}
_OPENERS = "(?:please|then|can you|could you|would you|i want you to|i would like you to|help me) "
# The start of a request: of a sentence, or after words that introduce one.
_ASK = rf"(?:^|[.!?:\n]\s*|\b{_OPENERS})(?:(?:please|now|first|also|next),? )?"


class _Starts:
    """A pattern that is looked for where a request may start, and nowhere else."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern

    def search(self, text: str) -> re.Match[str] | None:
        matches = (self._pattern.match(text, place) for place in _starts(text))
        return next(filter(None, matches), None)


_Rules = tuple[re.Pattern[str] | _Starts, ...]


def _rules(*templates: str) -> _Rules:
    return tuple(_compiled(template) for template in templates)


def _at_start(*templates: str) -> _Rules:
    """Compile rules that hold at the start of a request."""
    return (_Starts(_compiled(f"{_ASK}(?:{'|'.join(templates)})")),)


def _compiled(template: str) -> re.Pattern[str]:
    filled = re.sub(r"\{([a-z]+)\}", lambda match: _PARTS[match[1]], template)
    return re.compile(filled.replace(" ?", r"\s*").replace(" ", r"\s+"), re.IGNORECASE)


_OPENER = _compiled(rf"\b{_OPENERS}")
_STOP = re.compile(r"[.!?:\n]")
_OPENING = frozenset({"please", "then", "can", "could", "would", "want", "help"})


@lru_cache(maxsize=4)
def _starts(text: str) -> list[int]:
    """Places at which `_ASK` matches."""
    starts = {0, *(match.start() for match in _STOP.finditer(text))}
    if not _OPENING.isdisjoint(words_in_order(text)):
        starts.update(match.start() for match in _OPENER.finditer(text))
    return sorted(starts)


_DRAW = _at_start(
    r"{make} {any}(?:{picture}|{shape}|maps?(?= (?:of|showing)\b)){end}",
    r"draw (?!(?:(?:a|an|the|any|some|your|two|three|clear|logical|possible) )*{figurative}\b)"
    r"(?:me|us|a|an|the|this|these|your|my|some|two|three|what|how|\w+s)\b",
    r"paint (?:me|us|a|an|the|this) (?!(?:\w+ ){0,2}(?:picture|portrait) (?:with|of|in"
    r"|using) (?:words|the situation))",
    r"illustrate (?:\w+ ){1,8}?(?:with|using|in) an? (?:{picture}|{shape})",
    r"sketch (?:me )?(?:a|an|the) (?!(?:\w+ )?{written}\b)",
    r"(?:plot|graph|chart) (?:me )?(?:a|an|the|these|this|those|each|both|all"
    r"|following) (?:\w+ ){0,3}?{figure}\b",
) + _rules(r"\band (?:create|make|draw|sketch|plot|produce|include) {any}{shape}{end}")
_PLAY = _at_start(
    r"(?:create|make|generate|produce|render|record|film|shoot|edit|upload|send|share|play|mix"
    r"|find) {any}(?!(?:songs?|tracks?) (?:about|for)\b){sound}{end}",
    r"(?:compose|perform) {any}(?:piece of )?(?:music|melody|melodies|tunes?|beats?|soundtracks?"
    r"|symphony|score){end}",
    r"(?:sing|hum|whistle) (?:me|us|a|an|the|this|along|your)\b",
)
_SHOWN = _at_start(
    r"{look} (?:the|this|these|that) (?:[\w-]+ ){0,2}?(?:{picture}|videos?|clips?|audio"
    r"|recordings?|podcasts?){end}",
    r"(?:watch|listen (?:closely |carefully )?to) (?:a|an|the|this|these|that|some) {few}"
    r"(?:{sound}|movies?|films?|lectures?|speech|conversation|episode|documentary){end}",
) + _rules(
    r"\b{given} (?:[\w-]+ ){0,2}?(?:{picture}|{recorded}){end}",
    r"\b(?:the|a|an) (?:[\w-]+ ){0,2}?(?:{picture}|{recorded}) {placed}\b",
    r"\b(?:what|who|where|how many)\b[\w\s]{0,30}\b(?:is|are|see)\b[\w\s]{0,40}\bin (?:the"
    r"|this) {picture}{end}",
)
_SHOWN_SHAPE = (
    _at_start(  # counts only without an input: a graph, chart or map may be written out there
        r"look (?:closely |carefully )?at (?:the|this) (?:[\w-]+ ){0,2}?(?:{shape}|charts?|maps?"
        r"|figures?){end}"
    )
    + _rules(
        r"\b{given} (?:[\w-]+ ){0,2}?(?:{shape}|charts?|maps?|figures?){end}",
        r"\b(?:the|a|an) (?:[\w-]+ ){0,2}?(?:{shape}|charts?|maps?|figures?) {placed}\b",
    )
)
_BY_TEXT = _rules(
    r"\b(?:ascii|mermaid|graphviz|dot language|svg|html|css|latex|tikz|markdown|plantuml"
    r"|matplotlib|python|javascript|java|code|program|script|text-based|text only|only text"
    r"|in (?:plain )?(?:words|text)|lyrics|adjacency|emojis?)\b"
)
_ATTACHED = _at_start(
    r"(?:open|download|upload|load|print|import) (?:up )?(?:the|this|that|my"
    r"|these) {few}(?:files?|documents?|pdfs?|spreadsheets?|attachments?|csvs?|folders?"
    r"|presentations?|slides?|datasets?)\b",
    r"(?:visit|open|go to|browse|follow|check out|navigate to) (?:the|this) (?:following |given "
    r"|provided )?(?:\w+ )?(?:website|web ?page|link|url|page|site)\b",
) + _rules(
    r"\b(?:attached|enclosed|uploaded|accompanying) (?:[\w-]+ ){0,2}?{paper}\b",
    r"\b(?:the|this|that) (?:[\w-]+ )?(?:attachments?|uploaded)\b",
    r"\bclick(?:ing)? (?:on )?(?:the|this) (?:[\w-]+ )?(?:link|button)\b",
    r"\b(?:at|from|in|on|using) (?:the|this) (?:following|given|provided|attached) (?:link|url"
    r"|website|web ?page)\b",
    r"\b(?:article|page|website|story|post|document|report) (?:at the link|linked)\b",
)
_ATTACHED_IN_A_LETTER = _rules(
    r"\b(?:write|draft|compose|reply)\b[^.?!]{0,60}\b(?:email|e-mail|letter|message|note|memo"
    r"|reminder)\b"
)
_FETCH = _at_start(r"{fetch}\b[^\n]{0,120}?{url}")
_CONTENT = _rules(
    r"\b(?:articles?|pages?|websites?|webpages?|videos?|posts?|texts?|contents?|passages?|blogs?"
    r"|documents?|story|stories|paragraphs?|images?|summari[sz]e|news|recipes?|reviews?)\b"
)
_ADDRESS = _rules(
    r"\b(?:urls?|links?|uris?|domains?|hostnames?|protocols?|address|addresses|query|shorten"
    r"|encode|valid)\b"
)
_ACTS = _at_start(
    r"set (?:up )?(?:me )?(?:an?|the|my|another) {few}(?:alarms?|timers?|reminders?|stopwatch"
    r"|thermostat)\b",
    r"(?:remind|wake) me\b",
    r"(?:call|phone|dial|ring|(?<!me\x20)text) (?:my|me|him|her|911|(?:an?|the) (?:taxi|cab|uber"
    r"|doctor|ambulance|police|plumber|restaurant|hotel|bank|office|number|store))\b",
    r"send (?:out )?(?:him|her|them|me|my|an?|the|this|that) {few}{message}\b",
    r"(?:order|buy|purchase) (?:me|us|my) \w+",
    r"(?:order|get|buy) (?:me )?(?:an?|some) (?:[\w-]+ ){0,2}?{food}\b",
    r"(?:book|reserve) (?:me |us )?(?:an?|the|my|two|three|\d+) {few}{booking}\b",
    r"schedule (?:me )?(?:an?|my|the) {few}(?:meetings?|appointments?|calls?|interviews?|pickup"
    r"|haircut|visit)\b",
    r"turn (?:on|off|up|down) (?:the|my|all) {few}(?:lights?|lamps?|tv|television|radio"
    r"|heat(?:ing|er)?|thermostat|volume|music|ac|alarm|oven|fan)\b",
    r"add [\w\s']{0,40}?\bto (?:my|the|your) (?:calendar|cart|contacts|playlist|shopping (?:cart"
    r"|list)|reminders)\b",
    r"create (?:an?|the) (?:calendar (?:event|entry)|reminder|alarm)\b",
    r"(?:transfer|wire|withdraw|deposit|pay) (?:[$€£]|my\b|the (?:bill|rent)|\d+ (?:dollars|euros"
    r"|pounds))",
    r"(?:lock|unlock|close|open) (?:the|my) (?:front |back |garage |car )?(?:doors?|windows?"
    r"|curtains|blinds|garage)\b",
    r"(?:go|drive|walk|run|travel|fly) to (?:the|my) (?:[\w-]+ ){0,2}?(?:store|shop|supermarket"
    r"|library|park|bank|kitchen|gym|airport|market|office)\b",
    r"(?:vacuum|mop|sweep|water|feed|walk) (?:the|my|your) (?:\w+ )?(?:floor|house|room|plants?"
    r"|garden|dog|cat)\b",
    r"check my (?:e-?mails?|inbox|bank|balance|calendar|messages|account|voicemail)\b",
)
_URL = re.compile(r"(?:https?://|www\.)[^\s<>\"')\]}]+", re.IGNORECASE)
_SHOWS_PICTURE = _rules(
    r"!\[[^\]\n]{0,200}\]\([^)\n]{1,500}\)", r"\[(?:image|photo|picture|video|attachment)\]"
)
_SAMPLE_HOST = re.compile(
    r"(?:https?://)?(?:[\w-]+\.)*"
    r"(?:example\.\w+|localhost|127\.0\.0\.1|w3\.org|schema\.org|your[\w-]*\.\w+|my[\w-]*\.\w+)\b",
    re.IGNORECASE,
)
_WANTS_URL = _rules(
    r"\b(?:urls?|links?|uris?|web ?sites?|web ?pages?|sources?|references?|cite|citations?|html"
    r"|curl|api|code|script|markdown|http\w*|domains?|online|python|javascript|regex\w*|scrap\w+"
    r"|e-?mail)\b"
)


def _forms(words: str) -> frozenset[str]:
    """Words and their plurals; of a noun of two words the second."""
    last = [word.rpartition("_")[2] for word in words.split()]
    return frozenset(last) | {f"{word}s" for word in last}


_MEDIA_WORDS = _forms(
    " ".join(_NOUNS[name] for name in ("picture", "shape", "recorded", "sound"))
    + " map draw paint illustrate sketch plot graph chart compose perform sing hum whistle watch"
    " listen figure melodies symphonies"
)
_ATTACHED_WORDS = _forms(
    "file document pdf spreadsheet attachment csv folder presentation slide dataset website page"
    " webpage link url site attached enclosed uploaded accompanying click clicking linked"
)
_ACT_WORDS = _forms(
    "set remind wake call phone dial ring text send order buy purchase get book reserve schedule"
    " turn add create transfer wire withdraw deposit pay lock unlock close open go drive walk run"
    " travel fly vacuum mop sweep water feed check"
)
"""Words of which a request must have one for any rule of that kind to find something."""


def media(instruction: str, given: str) -> str | None:
    """Find a picture, drawing, video or sound that is to be made, seen or heard.

    `given` is the task's input.
    """
    if _MEDIA_WORDS.isdisjoint(words_in_order(instruction)):
        return None
    to_make = _first_match(_DRAW + _PLAY, instruction)
    if to_make and _first_match(_BY_TEXT, instruction):
        to_make = None
    shown = _SHOWN if given.strip() else _SHOWN + _SHOWN_SHAPE
    return to_make or _first_match(shown, instruction)


PASTED = 40
"""Letters of an input from which on it may be the text that is called attached."""
_A_TEXT = re.compile(
    r"\b(?:texts?|articles?|passages?|paragraphs?|e?-?mails?|letters?|essays?|stor(?:y|ies)|poems?"
    r"|reviews?|notes?|minutes|code|script|snippet|transcripts?|lists?|tables?|documents?|reports?)\b",
    re.IGNORECASE,
)


def attachment(instruction: str, given: str) -> str | None:
    """Find a file, page or address that would have to be opened and is not part of the task."""
    has_address = "://" in instruction or "www." in folded(instruction)
    is_address = given != "" and _URL.match(given.strip()) is not None
    if _ATTACHED_WORDS.isdisjoint(words_in_order(instruction)) and not (has_address or is_address):
        return None
    in_a_letter = _first_match(_ATTACHED_IN_A_LETTER, instruction)
    attached = None if in_a_letter else _first_match(_ATTACHED, instruction)
    if attached and not is_address and len(given) >= PASTED and _A_TEXT.search(attached):
        return None
    if attached or _first_match(_ADDRESS, instruction):
        return attached
    only_address = _URL.fullmatch(given.strip())
    if only_address and _first_match(_CONTENT, instruction):
        return f"only an address to read: {only_address[0][:80]!r}"
    return _first_match(_FETCH, instruction)


def action(instruction: str) -> str | None:
    """Find an act in the world that is asked for: an alarm, a call, a purchase, a light switch."""
    if _ACT_WORDS.isdisjoint(words_in_order(instruction)):
        return None
    return _first_match(_ACTS, instruction)


def invented_url(instruction: str, given: str, output: str) -> str | None:
    """Find a picture or an address in the answer that the task neither holds nor asks for."""
    if not has(folded(output), ("http", "www.", "[")):
        return None
    addresses, picture = _URL.findall(output), _first_match(_SHOWS_PICTURE, output)
    if not (addresses or picture):
        return None
    question = f"{instruction}\n{given}"
    if _first_match(_WANTS_URL, question):
        return None
    for address in addresses:
        if address.rstrip(".,;:!?") not in question and not _SAMPLE_HOST.match(address):
            return f"points to {address[:80]!r}"
    return picture


def _first_match(rules: _Rules, text: str) -> str | None:
    """Return the first words that a rule finds, on one line."""
    match = next((match for rule in rules if (match := rule.search(text))), None)
    return f"{' '.join(match[0].split()).lstrip('.!?:; ')[:80]!r}" if match else None
