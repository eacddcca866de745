"""Answers that are none: nothing, "N/A", the question given back, refusals.

Each function takes the request (instruction and input) and the answer, and returns what is wrong
in words, or None. What the request asks for by name ("answer None if …") is an answer.
"""

import re
from itertools import islice

from localinstruct.curate.texts import Alternatives, Signs, folded, in_one_case, read_patterns

_NOTHING = re.compile(r"[\s.\-–—−_…*•·=#\"'“”‘’`´~^|:;,?!()\[\]{}<>\u00a0]*")
_ASKS_FOR_MARKS = re.compile(
    r"\b(?:punctuation|symbols?|signs?|marks?|characters?|operators?|brackets?|morse|emojis?"
    r"|emoticons?|dash(?:es)?|dots?|braces?|parenthes[ie]s|delimiters?|separators?|ascii)\b",
    re.IGNORECASE,
)
_ASKS_FOR_A_COLLECTION = re.compile(
    r"\b(?:lists?|arrays?|sets?|dict\w*|tuples?|json|object|empty|brackets?|braces?"
    r"|parenthes[ie]s)\b",
    re.IGNORECASE,
)
_NON_ANSWER = re.compile(
    r"(?:(?:the )?(?:output|answer|response|result|solution)\s*[:=]?\s*)?(?:is )?"
    r"(?:"
    r"n ?[./\\]? ?a\.?|no comment|none|null|nil|nan|undefined|not? (?:applicable|available"
    r"|provided|given|specified|found|required)"
    r"|to be (?:determined|completed|filled in|added)|to ?do"
    r"|(?:there is |there's )?no[\s_-]*(?:valid |suitable |possible )?(?:output|answer"
    r"|response|input|result|content|text|data)"
    r"(?: (?:is )?(?:required|needed|necessary|available|provided|given|found|generated"
    r"|possible))?"
    r"(?: (?:for|to) (?:this|the) (?:task|request|question|instruction|prompt))?"
    r"|unavailable|pending|empty|blank|nothing|tbd|tba|unknown(?: (?:output|answer|response"
    r"|result))?|same as (?:above|input)|see above|error|idk"
    r")?",
    re.IGNORECASE,
)
_LETTERS = re.compile(r"[^\W\d_]+(?:['’][a-z]+)?")
_ALONE = (
    "blank ditto empty idem missing na nil none nothing null omitted pending skip skipped tba "
    "tbd todo unanswered unavailable undefined unknown"
)
_BESIDE = (
    "a above add added additional an answer answered answers any applicable applies apply as at "
    "available be been before below by can comment comments completed content could data "
    "deliberately determined do does doesn't don't done earlier expected field filled for found "
    "further generated given go goes had has have here i identical in info information input "
    "instruction intentionally is isn't it it's later left line more must my n necessary need "
    "needed needs no not of on other output outputs page possible previous previously produced "
    "prompt provided purposely question refer reply report request require required requires "
    "response responses result results return returned same say section see show solution "
    "specified stated supplied task text that the there there's this to value was we will write "
    "yet your"
)
_ABSENT_ALONE = frozenset(_ALONE.split())
_ABSENT_WORDS = _ABSENT_ALONE | frozenset(_BESIDE.split())
_CHOICES = read_patterns("answers")
_ABSENT = re.compile(_CHOICES["none"][0][1])
_REFUSALS = Alternatives(*_CHOICES["refusal"])
_OFFER = re.compile(_CHOICES["offer"][0][1])
_OFFERS = Signs(
    "help", "assist", "you like", "you need", "you want", "let me know", "i do for", "ask"
)
"""One of these stands in an answer that only offers one."""
_SENTENCE_ENDS = re.compile(r"[.!?:;,\n]+(?:\s+|\Z)|</?\w+>")
_MAY_BE_OFFERED = re.compile(
    r"\b(?:hello|hi|hey|greet\w*|welcome|help|assist\w*|support|customers?|service|chat\w*|bots?"
    r"|dialog\w*|conversations?|role\w*|translat\w*|rephras\w*|rewrit\w*|paraphras\w*|phrases?"
    r"|sentences?|are you|you are|can you|could you|thanks?|introduc\w*|receptionist|waiter"
    r"|clerk)\b",
    re.IGNORECASE,
)
_WANTS_TEXT = re.compile(
    r"(?:please |can you |could you )?(?:write|describe|explain|summari[sz]e|list|name|suggest"
    r"|give"
    r"|compare|draft|compose|translate|discuss|outline|create|generate|provide|tell|propose|plan"
    r"|design|recommend|how|why|rewrite|paraphrase|analy[sz]e|invent|imagine|define|make|draw up"
    r"|develop|convert|edit|come up|elaborate|brainstorm|show|teach|introduce)\b",
    re.IGNORECASE,
)
_WANTS_A_WORD = re.compile(
    r"\b(?:words?|opposites?|contrary|antonyms?|synonyms?|adjectives?|terms?|rhym\w*|translat\w*"
    r"|classif\w*|label\w*|categor\w*|status|state|value)\b",
    re.IGNORECASE,
)
_ANSWERS = re.compile(r"(?:the )?(?:output|answer|response|result|solution)\s*:\s*", re.IGNORECASE)
_CODE_VALUES = frozenset({"none", "null", "nil", "nan", "undefined"})
_WORDS = frozenset(
    {"answer", "output", "response", "result", "solution", "the answer"}
    | {"error", "pending", "unavailable", "empty", "blank", "nothing", "unknown"}
)
"""Answers in their own right, unless in brackets or before a colon."""
_MAY_BE_NONE = re.compile(
    r"\b(?:python|returns?|prints?|functions?|null|none|nil|nan|nothing|javascript|sql|undefined"
    r"|unknown|error|empty|blank|if any|any of|which of|are there|allerg\w*|remains?"
    r"|left over)\b",
    re.IGNORECASE,
)
_OPENER = re.compile(
    r"(?:sure|certainly|of course|okay|ok|answer|response|output|instruction|question|task|q|a"
    r"|you asked|the answer is|the question is|here it is|the task is|the instruction is)"
    r"\s*[:!,.]\s*(?:here it is\s*[:!.]\s*)?",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"[^\W_]+")
_AS_AN_AI = re.compile(
    r"\b(?:as|i am|i'm|being|am just|am only) (?:just |only )?an? (?:ai\b|artificial intelligence"
    r"|(?:\w+ )?language model|machine learning model|virtual assistant|computer program|chatbot)"
)
_SELF = Signs(
    *(" ai", "artificial intel", "language model", "machine learning", "virtual assistant"),
    *("computer program", "chatbot"),
)
_SIGNS_OF_REFUSAL = Signs(
    *("can't", "cannot", "can not", "could", "unable", "not able", "'m", "i am"),
    *("decline", "refuse"),
    *("as a", "don't", "do not", "my ", "polic", "guidelin", "appropriate", "clarify", "please"),
    *("enough", "insufficient", "lack", "won't", "something i", "beyond", "outside"),
    *("rather", "prefer", "will not", "can you"),
    *("not programmed", "programming", "training", "comfortable", "not designed", "i regret"),
)
_DECLINES = re.compile(
    r"\b(?:declin\w*|refus\w*|reject\w*|apolog\w*|say(?:s|ing)? no|turn(?:s|ing)? down|excuses?"
    r"|dialog\w*|role-?play\w*|chatbots?|assistant|monologue|lyrics|voicemail|in character"
    r"|as an ai"
    r"|cannot|can['’]t|unable|sorry)\b",
    re.IGNORECASE,
)
_SALUTATION = re.compile(
    r"(?:\*\*)?(?:dear|subject|hi|hello|to)\b[^.!?\n]{0,60}[,:\n]", re.IGNORECASE
)


def empty(request: str, output: str) -> str | None:
    """Reject an answer without a letter, a digit or a sign of its own."""
    bare = output.strip()
    if not bare:
        return "nothing in the output"
    if len(bare) > 200 or not _NOTHING.fullmatch(bare):
        return None
    asked = _ASKS_FOR_A_COLLECTION if bare[0] in "[{(" else _ASKS_FOR_MARKS
    return None if asked.search(request) else f"only {bare[:20]!r}"


def _only_offers(request: str, output: str) -> bool:
    """Tell whether every sentence greets, offers help or asks what is wanted."""
    said = folded(output).replace("\u2019", "'")
    if (
        not _OFFERS.stand_in_part(output, said)
        or len(request) < 12
        or _MAY_BE_OFFERED.search(request)
    ):
        return False
    parts = [part.strip(" \n.!?\"'*_<>[]()-") for part in _SENTENCE_ENDS.split(said)]
    return all(_OFFER.fullmatch(part) for part in parts if part)


def non_answer(instruction: str, given: str, output: str) -> str | None:
    """Reject words that stand for no answer, unless the request may well be answered by them."""
    if len(output) > 240:
        return None
    if _only_offers(f"{instruction} {given}", output):
        return f"only offers to help: {output.strip()[:60]!r}"
    if len(output) > 90:
        return None
    said = _ANSWERS.sub("", output.strip(), count=1) or output.strip()
    bare = said.strip(" \t\n.<>()[]{}*_`\"'/!-")
    if _says_nothing(instruction, given, output):
        return f"says {output.strip()[:60]!r}"
    if not bare or not _NON_ANSWER.fullmatch(bare):
        return None
    word, marked = bare.casefold(), said[:1] in "<[("
    if word in _WORDS and not marked and not output.rstrip().endswith(":"):
        return None
    named = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", f"{instruction} {given}".casefold())
    if named and len(word) >= 3:
        return None
    if word in _CODE_VALUES and not marked and _MAY_BE_NONE.search(instruction):
        return None
    return f"says {output.strip()[:60]!r}"


def _says_nothing(instruction: str, given: str, output: str) -> bool:
    """Tell whether all words of a short line say that there is no answer, or where one might be.

    A bare word ("Missing.", "Blank") counts only where the request wants more than a word.
    """
    words = [word.casefold() for word in _LETTERS.findall(output)]
    if not 0 < len(words) <= 9 or not _ABSENT_WORDS.issuperset(words):
        return False
    said = " ".join(words)
    if len(words) == 1:
        marked = output.strip()[:1] in "<[(" and output.strip()[-1:] in ">])"
        wants_text = _WANTS_TEXT.match(instruction) and not _WANTS_A_WORD.search(instruction)
        return said in _ABSENT_ALONE and bool(marked or wants_text)
    if said in " ".join(_LETTERS.findall(f"{instruction} {given[:2000]}")).casefold():
        return False
    return _ABSENT.search(said) is not None


def _tokens(text: str, most: int | None = None) -> list[str]:
    return [match[0] for match in islice(_TOKEN.finditer(folded(text)), most)]


def echo(instruction: str, given: str, output: str) -> str | None:
    """Reject a question given back: in another case, after an opener, twice, with its input."""
    if len(output) > 4 * (len(instruction) + len(given)) + 80:
        return None
    first = _TOKEN.search(instruction)
    if first is None or in_one_case(first[0]) not in in_one_case(output[:80]):
        return None
    asked = _tokens(instruction, 3)
    if len(asked) < 3:
        return None
    start = output.lstrip("\"'“”*# \n")
    opener = _OPENER.match(start)
    start = start[opener.end() :] if opener and asked[0] not in opener[0].lower() else start
    if _tokens(start, 3) != asked:
        return None
    asked, said = _tokens(instruction), _tokens(start)
    if said[: len(asked)] != asked:
        return None
    rest = said[len(asked) :]
    if not rest or (rest == asked[: len(rest)] and len(rest) >= 0.5 * len(asked)):
        return "the output is the instruction"
    return "the output is the instruction with its input" if rest == _tokens(given) else None


def refusal(instruction: str, given: str, output: str) -> str | None:
    """Reject an answer that declines early on, also after an opener."""
    start = output.strip()[:260].lower().replace("’", "'")
    if not _SIGNS_OF_REFUSAL.stand_in_part(output, start):
        return None
    found = _AS_AN_AI.search(start) if _SELF.stand_in_part(output, start) else None
    found = found or _REFUSALS.search(start)
    if not found or _SALUTATION.match(start) or _DECLINES.search(f"{instruction}\n{given[:2000]}"):
        return None
    return f"says {found[0][:80]!r}"
