"""Answers that are none: nothing, "N/A", the question given back, refusals, code without code.

Each function takes the request (instruction and input) and the answer, and returns what is wrong
in words, or None. What the request asks for by name ("answer None if …") is an answer.
"""

import re

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
    r"(?: (?:is )?(?:required|needed|necessary|available|provided|given|found|generated|possible))?"
    r"(?: (?:for|to) (?:this|the) (?:task|request|question|instruction|prompt))?"
    r"|unavailable|pending|empty|blank|nothing|tbd|tba|unknown(?: (?:output|answer|response"
    r"|result))?|same as (?:above|input)|see above|error|idk"
    r")?",
    re.IGNORECASE,
)
_LETTERS = re.compile(r"[^\W\d_]+(?:['’][a-z]+)?")
_ABSENT_ALONE = frozenset(
    ("none", "nothing", "blank", "empty", "missing", "pending", "ditto", "skip", "skipped")
    + ("unknown", "unavailable", "unanswered", "undefined", "null", "nil", "tbd", "tba", "todo")
    + ("omitted", "idem", "na")
)
_ABSENT_WORDS = _ABSENT_ALONE | frozenset(
    ("no", "not", "n", "a", "an", "the", "this", "that", "it", "there", "is", "was", "has", "been")
    + ("be", "to", "for", "as", "by", "at", "of", "in", "on", "here", "yet", "any", "i", "we")
    + ("have", "had", "my", "your", "will", "can", "could", "goes", "go", "given", "found", "do")
    + ("left", "intentionally", "purposely", "deliberately", "same", "see", "above", "below")
    + ("before", "previous", "previously", "earlier", "later", "identical", "input", "output")
    + ("outputs", "answer", "answers", "answered", "response", "responses", "reply", "result")
    + ("results", "solution", "content", "text", "data", "value", "comment", "comments", "info")
    + ("information", "field", "section", "instruction", "task", "question", "prompt", "request")
    + ("needed", "necessary", "required", "requires", "require", "needs", "need", "expected")
    + ("provided", "available", "applicable", "specified", "determined", "added", "add", "filled")
    + ("completed", "supplied", "stated", "generated", "produced", "returned", "further", "other")
    + ("more", "additional", "say", "report", "show", "return", "write", "possible", "done")
    + (
        "apply",
        "applies",
        "omitted",
        "skipped",
        "don't",
        "doesn't",
        "isn't",
        "there's",
        "it's",
        "must",
        "does",
        "line",
        "page",
        "refer",
    )
)
_THING = (
    r"(?:outputs?|answers?|responses?|reply|results?|solution|content|text|data|value|comments?|info"
    r"|information|input)"
)
_ABSENT = re.compile(
    rf"\b(?:no|not|n|without|any)(?: \w+)?? (?:{_THING}|a|applicable|available|answered|provided"
    r"|specified|supplied|stated|needed|required|necessary|expected|given yet|filled)\b"
    r"|\b(?:does not|doesn't|don't) apply\b|\b(?:output|answer|text|response) omitted\b|^(?:none|nothing|nil)\b|\b(?:left|is|was|be) (?:\w+ )?(?:blank|empty|missing|omitted|pending"
    r"|skipped)\b|^(?:see|as|same as|identical to|ditto|refer to)(?: the)?(?: \w+)? (?:above|below|before|earlier|previously|previous|input"
    r"|instruction|output)|\bto be (?:determined|added|filled|completed|provided|done|specified)\b"
    rf"|^(?:the |your |my )?{_THING} (?:goes |is |to be )?(?:here|below|above|none|missing|pending|n a|tbd|empty|blank|unknown|unavailable|todo)\b"
    rf"|^(?:add|write) (?:the |your )?{_THING}(?: here)?$|^(?:blank|empty|missing|null|undefined) (?:{_THING}|field|line)$"
)
_WANTS_TEXT = re.compile(
    r"(?:please |can you |could you )?(?:write|describe|explain|summari[sz]e|list|name|suggest|give"
    r"|compare|draft|compose|translate|discuss|outline|create|generate|provide|tell|propose|plan"
    r"|design|recommend|how|why|rewrite|paraphrase|analy[sz]e|invent|imagine|define|make|draw up"
    r"|develop|convert|edit|come up|elaborate|brainstorm|show|teach|introduce)\b",
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
    r"|unknown|error|empty|blank|if any|any of|which of|are there|allerg\w*|remains?|left over)\b",
    re.IGNORECASE,
)
_OPENER = re.compile(
    r"(?:sure|certainly|of course|okay|ok|answer|response|output|instruction|question|task|q|a"
    r"|you asked|the answer is|the question is|here it is|the task is|the instruction is)"
    r"\s*[:!,.]\s*(?:here it is\s*[:!.]\s*)?",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"[^\W_]+")
_CANNOT = (
    r"(?:(?:can'?t|cannot|can not|could not|couldn't|(?:won't|will not)(?: be able to)?"
    r"|(?:am|'m) (?:not able|unable|not allowed|not programmed|not designed|not qualified) to)"
    r"(?: \w+){0,2}? (?:assist|help|provide|fulfill?|comply|complete|answer|generate|create|access"
    r"|open|view|see (?:the|any|this|an)|browse|watch|listen|process|do (?:that|this|so|it)|engage"
    r"|discuss|respond|perform|give (?:you|medical|legal|financial|advice)|write (?:this|that)"
    r"|offer|share (?:that|this|personal)|understand (?:the|your|this)|read (?:the|your|this)"
    r"|support|translate|summari[sz]e|continue|produce|accommodate|participate|carry out|be of)\b"
    r"|(?:must|have to|would have to) (?:\w+ )?(?:decline|refuse)\b|decline to\b"
    r"|refuse to (?:answer|assist|help|do))"
)
_REFUSALS = re.compile(
    rf"\bi(?: will| must| do|'ll| regret (?:that )?i)?(?: really| simply| just)? ?{_CANNOT}"
    r"|\bi (?:do not|don't|lack|do not currently) (?:\w+ )?(?:have |possess )?(?:"
    r"(?:the |any )?(?:ability|capability|capabilities|means|capacity)\b|access (?:to|real)"
    r"|personal (?:opinion|feeling|experience|preference|belief)|real-time|feelings or"
    r"|enough (?:information|context|details)|feel comfortable"
    r"|understand (?:the|your|what)|think i can (?:help|answer|assist))"
    r"|\bmy (?:\w+ )?(?:programming|guidelines|training|polic\w+|rules) (?:do(?:es)? not|don't"
    r"|doesn't|prevents?|prohibits?|forbids?|won't|will not)\b"
    r"|\bi(?: am|'m) not (?:programmed|designed|trained|built|allowed|permitted|authori[sz]ed)\b"
    r"|\bi (?:can't|cannot|can not|won't|will not) (?:comment|speculate|advise|talk) (?:on"
    r"|about|you)\b"
    r"|\bi(?: do not|don't|'m not| am not) (?:feel )?comfortable\b"
    r"|\bi(?: am|'m) afraid (?:that )?(?:this|that|it)(?:'s| is) (?:not|beyond|outside)"
    r"|\b(?:would|will)(?: not|n't) be (?:appropriate|right|ethical|proper|responsible) for me\b"
    r"|\bi(?: am|'m) (?:not comfortable (?:with|answering|discussing|providing)"
    r"|afraid (?:that )?i (?:can(?:'t|not)|am unable|am not able|do not|don't)"
    r"|(?:only|just) an? (?:\w+ )?(?:ai|language model|machine|computer|program|bot|assistant)\b)"
    r"|(?:goes|is|be) against my (?:\w+ )?(?:guidelines|polic\w+|programming|rules|principles)"
    r"|\bsorry,? (?:but )?i (?:can't|cannot|can not|am unable)\W*\Z"
    r"|\A(?:unfortunately,? |sorry,? (?:but )?)?i (?:do not|don't) know(?: the answer| how)?\W*\Z"
    r"|\b(?:that's|that is|it's|this is|not) something (?:that )?i (?:can(?: do)?|am unable|am"
    r" not able|won't)"
    r"|\b(?:beyond|outside)(?: of)? what i (?:can|am able|was)\b|\bi (?:can't|cannot) help you"
    r" (?:there|here|with)"
    r"|\b(?:beyond|outside)(?: of)? my (?:capabilit|abilit|scope|knowledge|expertise)"
    r"|\bi(?:'d| would) (?:rather|prefer) not (?:to )?(?:answer|say|discuss|comment)"
    r"|violates? (?:my|our|the) (?:\w+ )?(?:content )?(?:polic\w+|guidelines)"
    r"|(?:not appropriate|inappropriate) (?:for me )?to (?:answer|provide|discuss|respond)"
    r"|(?:there is|i have|this is) (?:not enough|insufficient) (?:information|context) (?:to|for)"
    r"|\b(?:please|could you|can you) (?:please )?(?:provide|clarify|give|share|specify|rephrase)"
    r"(?:\?|(?: me)?(?: with)?(?: \w+){0,3}? (?:more|further|additional|full|your question"
    r"|your request|the text|the article|the input|the missing)\b)"
)
_AS_AN_AI = re.compile(
    r"\b(?:as|i am|i'm|being|am just|am only) (?:just |only )?an? (?:ai\b|artificial intelligence"
    r"|(?:\w+ )?language model|machine learning model|virtual assistant|computer program|chatbot)"
)
_SIGNS_OF_REFUSAL = (
    *(
        "can't",
        "cannot",
        "can not",
        "could",
        "unable",
        "not able",
        "'m",
        "i am",
        "decline",
        "refuse",
    ),
    *("as a", "don't", "do not", "my ", "polic", "guidelin", "appropriate", "clarify", "please"),
    *(
        "enough",
        "insufficient",
        "lack",
        "won't",
        "something i",
        "beyond",
        "outside",
        "rather",
        "prefer",
        "will not",
        "can you",
    ),
    *("not programmed", "programming", "training", "comfortable", "not designed", "i regret"),
)
_DECLINES = re.compile(
    r"\b(?:declin\w*|refus\w*|reject\w*|apolog\w*|say(?:s|ing)? no|turn(?:s|ing)? down|excuses?"
    r"|dialog\w*|role-?play\w*|chatbots?|assistant|monologue|lyrics|voicemail|in character|as an ai"
    r"|cannot|can['’]t|unable|sorry)\b",
    re.IGNORECASE,
)
_SALUTATION = re.compile(
    r"(?:\*\*)?(?:dear|subject|hi|hello|to)\b[^.!?\n]{0,60}[,:\n]", re.IGNORECASE
)

_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[^\n`]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.M | re.S)
_FENCED_NOTHING = re.compile(
    r"(?:\s|(?:#|//|--|/\*|<!--|;)\s?[^\n]*|n/?a|none|pass|\.\.\.|…|todo|null|\*/|-->)*",
    re.IGNORECASE,
)
_CODE_COMES_HERE = re.compile(
    r"(?:#|//|--|/\*|<!--|\")\s*(?:\(?(?:todo:? )?(?:your|insert|add|write|put|implement)"
    r"(?: your| the| my)? (?:\w+ )?(?:code|query|logic|implementation|function|solution|html|script"
    r"|content|program|here)|code)\b(?: goes)?(?: here)?",
    re.IGNORECASE,
)
_ASKS_FOR_A_FRAME = re.compile(
    r"\b(?:templates?|skeletons?|boilerplate|stubs?|exercises?|placeholders?|scaffold\w*"
    r"|comments?|worksheet|starter)\b",
    re.IGNORECASE,
)


_HEAD = re.compile(
    r"(?:async )?(?:def|class) \w+[^\n]*:$|[^;=\n]*\b\w+ ?\([^()\n]*\)[^;\n]{0,40}\{\s*\}?;?$"
    r"|(?:export )?(?:const|let|var) \w+ ?= ?[^\n]*=> ?\{\s*\};?$|[^;=\n]*\bclass \w+[^;\n]*\{\s*\}?$"
)
_NO_BODY = re.compile(
    r"pass|\.\.\.|return(?: None| null)?;?|raise NotImplementedError\b.*|[{}]+;?"
    r"|throw new \w+\(.{0,60}(?i:implemented).{0,20}\);?|(?:todo|unimplemented)!\(\);?"
)
_REMARKS = re.compile(
    r"^[ \t]*(\"\"\"|\'\'\').*?\1|/\*.*?\*/|//[^\n]*|#(?!include)[^\n]*", re.DOTALL | re.MULTILINE
)
_MAY_BE_HOLLOW = re.compile(
    r"\b(?:templates?|skeletons?|boilerplate|stubs?|placeholders?|scaffold\w*|abstract|interface"
    r"|protocol|exceptions?|errors?|empty|nothing|no-?op|base class|marker|signature|starter)\b",
    re.IGNORECASE,
)


_TO_BE_DERIVED = re.compile(
    r"subclass|overrid|derived|abstract|[Cc]alled (?:when|if)|hook|protocol|Exception\)|Error\)|\(self"
)
"""Words of code whose body belongs to another class."""


def _is_hollow(code: str) -> bool:
    """Tell whether code has the head of a function or class, and no body anywhere."""
    if len(code) > 1500 or not ("(" in code or "class " in code) or _TO_BE_DERIVED.search(code):
        return False
    lines = [line.strip() for line in _REMARKS.sub("", code).splitlines()]
    lines = [re.sub(r":\s*(?:pass|\.\.\.)$", ":", line) for line in lines if line]
    heads = sum(_HEAD.match(line) is not None for line in lines)
    return heads > 0 and all(_HEAD.match(line) or _NO_BODY.fullmatch(line) for line in lines)


def empty(request: str, output: str) -> str | None:
    """Reject an answer without a letter, a digit or a sign of its own."""
    bare = output.strip()
    if not bare:
        return "nothing in the output"
    if len(bare) > 200 or not _NOTHING.fullmatch(bare):
        return None
    asked = _ASKS_FOR_A_COLLECTION if bare[0] in "[{(" else _ASKS_FOR_MARKS
    return None if asked.search(request) else f"only {bare[:20]!r}"


def non_answer(instruction: str, given: str, output: str) -> str | None:
    """Reject words that stand for no answer, unless the request may well be answered by them."""
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
        return said in _ABSENT_ALONE and bool(marked or _WANTS_TEXT.match(instruction))
    if said in f"{instruction} {given}".casefold():
        return False
    return _ABSENT.search(said) is not None


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(text.casefold())


def echo(instruction: str, given: str, output: str) -> str | None:
    """Reject a question given back: in another case, after an opener, twice, with its input."""
    if len(output) > 4 * (len(instruction) + len(given)) + 80:
        return None
    first = _TOKEN.search(instruction)
    if first is None or first[0].casefold() not in output[:80].casefold():
        return None
    asked = _tokens(instruction)
    if len(asked) < 3:
        return None
    start = output.lstrip("\"'“”*# \n")
    opener = _OPENER.match(start)
    said = _tokens(start[opener.end() :] if opener and asked[0] not in opener[0].lower() else start)
    if said[: len(asked)] != asked:
        return None
    rest = said[len(asked) :]
    if not rest or (rest == asked[: len(rest)] and len(rest) >= 0.5 * len(asked)):
        return "the output is the instruction"
    return "the output is the instruction with its input" if rest == _tokens(given) else None


def refusal(instruction: str, given: str, output: str) -> str | None:
    """Reject an answer that declines early on, also after an opener."""
    start = output.strip()[:260].lower().replace("’", "'")
    if not any(map(start.__contains__, _SIGNS_OF_REFUSAL)):
        return None
    found = _AS_AN_AI.search(start) or _REFUSALS.search(start)
    if not found or _SALUTATION.match(start) or _DECLINES.search(f"{instruction}\n{given[:2000]}"):
        return None
    return f"says {found[0][:80]!r}"


def empty_code(instruction: str, output: str) -> str | None:
    """Reject code that is not there: an empty fence, or a comment in its place."""
    fences = list(_FENCE.finditer(output)) if "```" in output or "~~~" in output else []
    hollow = [fence for fence in fences if _FENCED_NOTHING.fullmatch(fence[2][:2000])]
    if hollow and len(hollow) == len(fences) and not _ASKS_FOR_A_FRAME.search(instruction):
        return f"no code in {hollow[0][0][:40]!r}"
    texts = [fence[2] for fence in fences] or [output]
    if not _MAY_BE_HOLLOW.search(instruction) and all(map(_is_hollow, texts)):
        return f"no body in {texts[0].strip()[:40]!r}"
    if "here" not in output and "ode" not in output:
        return None
    match = _CODE_COMES_HERE.search(output)
    if (
        match
        and ("here" in match[0] or len(output) < 80)
        and not _ASKS_FOR_A_FRAME.search(instruction)
    ):
        return f"only {match[0][:60]!r}"
    return None
