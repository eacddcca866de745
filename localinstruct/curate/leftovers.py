"""What a prompt, a template or a chat leaves in a row: the next task, role tokens, placeholders.

Each function returns the words it found, or None. A row that is about such marks (a dialogue, a
template, a question on a token) keeps them.
"""

import re
from functools import lru_cache

_NUMBERED_FIELD = re.compile(
    r"(?:^|[\s#*])\d{1,3}\s?[.)]\s{0,3}(?:\*\*)?(?:instruction|input|output)\b(?:\*\*)?\s?:",
    re.IGNORECASE,
)
_NEXT_TASK = re.compile(
    r"^[ \t>#*_-]{0,8}(?:(?:next |new |another )?(?:instruction|task|question|exercise|prompt"
    r"|problem)"
    r"(?: ?#?\d{1,3})?|example \d{1,3}|q ?\d{0,3})[ \t]?[*#]*[ \t]?[:.)]",
    re.IGNORECASE | re.MULTILINE,
)
_AFTER_A_RULE = re.compile(
    r"^[ \t]*(?:#{2,3}|-{3,}|={3,})[ \t]*\n+[ \t]*(?:\d{1,3}[.)][ \t]*)?"
    r"(?:instruction|task|question)\b[ \w]{0,6}:",
    re.IGNORECASE | re.MULTILINE,
)
_INLINE = re.compile(r"[.!?>]\s+(?:Instruction|Input)\s?:\s?[A-Z<]")
_EXAMPLE = re.compile(r"^[ \t>#*_-]{0,8}example \d{1,3}[ \t]*:?[ \t]*$", re.I | re.M)
_FIELD = re.compile(
    r"^[ \t>#*_-]{0,8}(?:input|output|answer|response|a|solution|completion)"
    r"(?: ?#?\d{1,3})?[ \t]?[*#]*[ \t]?:",
    re.IGNORECASE | re.MULTILINE,
)
_NEXT_ALONE = re.compile(
    r"^[ \t>#*_-]{0,8}(?:next|new|another) (?:instruction|task|question)(?: ?#?\d{1,3})?\**[ \t]?:",
    re.IGNORECASE | re.MULTILINE,
)
_ASKS_FOR_TASKS = re.compile(
    r"\b(?:questions?|quiz\w*|faqs?|q ?& ?a|q and a|interviews?|trivia|riddles?|exercises?|tasks?"
    r"|problems|prompts?|examples?|few-shot|worksheets?|exams?|flash ?cards?|dialog\w*"
    r"|instructions?|catechism|jokes?|data ?sets?)\b",
    re.IGNORECASE,
)
_OPENS_WITH_QUESTION = re.compile(r"[ \t>#*_-]{0,8}(?:q|question|example|task|problem)\b", re.I)

_TOKEN = re.compile(
    r"<\|(?:[a-z]{2,20}_[a-z_]{2,20}|endof\w+|start\w*|end\w*|user|assistant|system|human|bot"
    r"|pad|[be]os|\w{0,20}(?:special_token|fim)\w{0,20}"
    r"|eo[tm]|sep|unk|model|tool\w*|function|prompter|channel|message|return)\|>|\[/?INST\]"
    r"|<</?SYS>>|</?(?:start|end)_of_(?:turn|text)>"
    r"|<(?:eos|bos|pad|eot|sep)>|(?:<unk>\s*){2,}|<unk>\s*\Z|(?-i:\[(?:PAD|EOS|BOS|SEP|CLS)\])"
    r"|<｜[^｜\n]{1,30}｜>"
    r"|<\|\w[\w -]{0,30}(?:\|>|\|(?=\s|\Z)|>|\Z)|<(?:begin|start|end|eos|bos|pad)(?:_\w{2,12}){1,4}>"
    r"|(?-i:\[/?(?:TOOL|AVAILABLE|SYSTEM|END|USER|ASSISTANT|UNK)(?:_[A-Z]{2,12}){0,3}\])"
    r"|<extra_id_\d{1,3}>|(?-i:\[g?MASK\])|</?s>|</?(?:assistant|human|bot|user)>\s*:?",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"^[ \t]*###[ \t]*(?:response|instruction|answer|input|human|assistant|user|output|end|system"
    r"|context)[ \t]*(?::|$)|^Below is an instruction that describes a task",
    re.IGNORECASE | re.MULTILINE,
)
_MARKDOWN_HEADING = re.compile(r"^#{1,4} (?!#)", re.MULTILINE)
_ROLE = re.compile(
    r"^[ \t]*(?:\*\*|\[|<)?(?:user|human|assistant|chatbot|ai|bot|system|gpt|chatgpt)"
    r"(?:\*\*|\]|>)?[ \t]?:(?!:)",
    re.IGNORECASE | re.MULTILINE,
)
_LABEL = re.compile(r"\s*(?:\*\*)?(?:response|output|completion)(?:\*\*)?[ \t]?:", re.IGNORECASE)
_ASKS_FOR_TURNS = re.compile(
    r"\b(?:dialog\w*|conversation\w*|chat\w*|scripts?|interviews?|transcripts?|plays?|scenes?|skit"
    r"|assistant|bots?|turns|phone call|role-?play\w*)\b",
    re.IGNORECASE,
)

_NAMES = (
    r"(?:your|insert|enter|add|recipient|sender|name|first name|last name|full name|date"
    r"|company|product"
    r"|city|address|phone|email|e-mail|title|number|amount|time|location|place|link|url"
    r"|position|job|hotel|phone|fax|author|book|shop|store|restaurant|brand|more details|signature"
    r"|client|customer|employee|manager|organi[sz]ation|school|year|month|day|state|country|topic"
    r"|subject|event|website|signature|contact|department|details?|reason|answer|example"
    r"|placeholder"
    r"|blank|to be (?:filled|completed|added)|text|image|picture|rest of|todo|tbd|x{2,}|friend"
    r"|hiring|team|brand|price|age|hobby|citation needed|source|description)"
)
_BRACKETED = re.compile(
    rf"(?<![\w\])!\"'`])(?<![=+(,] )\[(?:(?:street|mailing|postal|current|home|work|job"
    rf"|today['’]s|their|his|her|the|my|new)"
    rf" )?{_NAMES}\b(?:['’]s)?(?:[ \w'’,.&-]{{0,50}})\](?![(\[:=`\w])"
    r"|<(?:your|insert|enter|recipient|company name|example|signature|(?-i:Name|Address|City"
    r"|Date))\b[^<>\n=]{0,50}>"
    r"|\((?:insert|enter|add) [^()\n]{2,50}\)|\(your (?:answer|text|name|response"
    r"|output)[^()\n]{0,20}\)"
    r"|\.\.\.\s?\[(?:rest|remainder|continue)[^\[\]\n]{0,50}\]"
    r"|(?<=[\w,] )<(?-i:[A-Z]{3,}(?:[_ ][A-Z]+){0,3})>(?![^<]{0,400}</)"
    r"|(?<=\n)<(?-i:[A-Z]{3,}(?:[_ ][A-Z]+){0,3})>\Z"
    r"|<<[a-z][\w ]{1,30}>>(?!\s*=)|<(?:first|last|full|company|product|customer|client|user|order|phone)"
    r"[ _-](?:name|number|date|address)>|\[(?-i:[XYZ]{1,3}|ABC) \w+\]",
    re.IGNORECASE,
)
_A_LETTER = re.compile(
    r"^(?:dear|hello|hi)\b[^\n]{0,40},|\b(?:sincerely|regards|wishes|yours),\n", re.I
)
_ANY_PLACE = re.compile(
    r"\[(?:\.\.\.|…|[A-Z][\w’' ]{2,30})\](?![(\[:])|<[a-z]{3,12}>(?!.*</)|\{[a-zA-Z]{3,20}\}"
)
"""A place to be filled in, of whatever name: in a letter brackets are hardly anything else."""
_MERGE_FIELD = re.compile(
    r"(?<![\w%$])(?:%[A-Z]{2,}(?:_[A-Z]+){0,3}%|\$[A-Z]{3,}(?:_[A-Z]+){0,3}\$)(?!\w)"
    r"|(?<=[a-z,] )(?:\[[XYZ]\]|X{4,})(?=[,.;:!?]?(?:\s|$))|^(?:\[[XYZ]\]|X{3,})$"
    r"|\b(?:[Dd]ear|[Hh]ello|[Hh]i|contact|from|to|by|at|is|call) X{3}(?=[,.;:!?]?(?:\s|$))"
    r"|\$\{[a-z]\w{1,20}\}|\bXX/XX(?:/X{2,4})?\b",
    re.MULTILINE,
)
_BRACED = re.compile(
    r"(?<![\w$%\"'{=(])\{{1,2} ?(?:(?:first|last|full|user|customer|client|company|product"
    r"|order|your)"
    r"[_ ]?)?(?:name|sender|recipient|company|product|date|id|city|email|number|amount|link"
    r"|title|address"
    r"|answer|response"
    r"|output|description) ?\}{1,2}",
    re.IGNORECASE,
)
_STANDS_FOR = re.compile(
    r"lorem ipsum|\A\W*(?:todo|tbd|fixme|tba)\b|\bthis is (?:just )?a (?:placeholder|dummy"
    r" (?:text|answer)|sample (?:answer|text|response|output))\b|\breplace (?:it|this) with "
    r"your own"
    r"|\bx{3,}-x{3,}|[$€£]x{1,3}\.x{2}\b"
    r"|\A\.{3}[^.\n]{4,60}\.{3}\Z|\A\W*(?:x{3,}|asdf\w*|foo ?bar|qwerty\w*|placeholder|dummy"
    r"|blah(?: blah)*"
    r"|to be (?:completed|filled in|added(?: later)?|determined))\W*\Z"
)
_GOES_HERE = re.compile(
    r"\b(?:(?:your|the) (?:answer|text|content|response|output|summary) (?:goes )?here"
    r"|(?:write|insert|enter|type|put|add|paste)(?: your| the|(?<=insert)) ?(?:\w+ ){1,5}here)\b"
)
_MARKS = (
    *("lorem", "todo", "tbd", "fixme", "tba", "to be ", "placeh", "dummy", "your own", "a sample "),
    *("...", "xx", "asdf", "foo", "qwerty", "blah"),
)
_BLANK = re.compile(r"(?<![\w_`*])_{3,}(?![\w_`*])")
_ASKS_FOR_PLACES = re.compile(
    r"\b(?:templates?|placeholders?|fill[ -]?in|fill|blanks?|forms?|format|mad ?libs?|cloze|missing"
    r"|mail merge|boilerplate|variables?|lorem|anonymi[sz]\w*|redact\w*|mask\w*|cv|invoice"
    r"|todo|to-do|signature line|gap|underscores?|regex\w*|f-strings?|jinja|syntax|usage|cite\w*"
    r"|citations?)\b",
    re.IGNORECASE,
)
_CODE = re.compile(r"```|^\s*(?:def|class|import|from|function|const|#include)\b|</\w|\{\n", re.M)


_REQUEST = (
    r"(?:what|how|why|who|when|where|which|is|are|do|does|can|should|explain|write|describe"
    r"|list|name"
    r"|give|create|generate|suggest|find|tell|compare|discuss|identify|provide|summari[sz]e|design"
    r"|compose|classify|outline|recommend|draft|invent|rewrite|translate|edit|convert|calculate"
    r"|develop|make|define|propose|come up|imagine|construct|analy[sz]e|choose|predict|sort"
    r"|rank|plan)"
)
_NUMBERED_REQUEST = re.compile(
    r"(?:(?<=[.?!])\s+|\n\s*)(?:[-*#>_]{1,4} ?)?(?:\(?(?:(?i:task|question|instruction|q"
    r"|no\.?) ?)?#?"
    r"(?:[2-9]|[1-9]\d)[*_]{0,2}[.):][*_]{0,2}|#(?:[2-9]|[1-9]\d)) ?"
    rf"(?=[A-Z])(?i:{_REQUEST})\b"
    rf"|\n\s*(?:-{{3,}}|={{3,}}"
    rf"|#{{2,}})\s*\n\s*(?=[A-Z])(?i:{_REQUEST})\b[^\n]{{5,200}}[.?!]\s*(?:\n|\Z)"
    r"|(?<=[.?!])\s*\n\s*[-*]? ?(?i:(?:next |new |another )?(?:instruction|task))\**: "
)
"""The next number of a list, behind a whole sentence."""
_MAY_RUN_ON = re.compile(r"\d[*_]{0,2}[.):]|#\d|\n\s*(?:-{3}|={3}|##)|(?:nstruction|ask)\**:")
_STARTS_LATER = re.compile(
    rf"\s*(?:[2-9]|[1-9]\d)[.):] ?(?=[A-Z])(?i:{_REQUEST})\b[^\n]*[.?!]?\n\s*\d{{1,3}}[.):] "
)
"""Lines of a list whose first number is not 1."""
_LIST_BEGINS = re.compile(r"(?:^|\s)(?:\(?1[.):]|a[.)]|(?:step|task|question) 1\b)", re.IGNORECASE)


_HEADER_OF_A_FIELD = re.compile(
    # decoration, a number of a list, "now the next", the word, its number, what ends the header
    r"^[ \t>#*_~+=\[({<|\"'`-]{0,10}(?:\d{1,3}[.):\]]{1,2}[ \t]{0,3}[*_\[\"'<#]{0,4})?"
    r"(?P<next>(?:(?:now|and|here(?:['’]s| is)|then|finally),? )?(?:the |an? )?"
    r"(?:next|new|another|second|following|user|model|sample|correct|expected) )?"
    r"(?P<word>instructions?|tasks?|questions?|prompts?|exercise|problem|example|query|request"
    r"|input|output|response|answer|solution|completion|reply|human|user|assistant|bot|ai|model|inst|resp|q|a)(?: is(?=:))?"
    r"(?P<number>[ \t]?(?:#|no\.? ?)?\d{1,3})?"
    r"[ \t]?[*_\])}>\"'`]{0,4}[ \t]?(?P<end>[:.=|)–—-]|$|(?<=[)\]>*_]) )",
    re.IGNORECASE | re.MULTILINE,
)
"""A line that begins a field of a task, whatever marks stand around its name."""
_ASKED = frozenset(
    ("instruction", "instructions", "task", "tasks", "question", "questions", "prompt", "prompts")
    + ("exercise", "problem", "example", "query", "request", "human", "user", "q", "input", "inst")
)
_STRONG = frozenset({"instruction", "instructions"})
_NUMBERED_TASK = frozenset({"task", "question", "exercise", "problem", "prompt", "instruction"})
_FIELD_WORDS = (
    *("instruction", "task", "question", "prompt", "exercise", "problem", "example", "query"),
    *("request", "human", "user", "q:", "q.", "input"),
)
_Q_AND_NUMBER = re.compile(r"^\W{0,6}Q ?\d", re.MULTILINE)
_ABOUT_FIELDS = re.compile(
    r"\b(?:input|code|function|program|script|algorithm|python|java\w*|sql|api|cli|command|json"
    r"|xml|yaml|html|manual|docs?|documentation|readme|section)s?\b",
    re.IGNORECASE,
)
_MID_LINE = re.compile(
    r"\n[ \t]*<(?:instruction|task|prompt)>|(?:(?<=[.!?\"'”)])|(?<=\n))\s{0,4}(?:#{2,4}|\*\*|\[|<)[ \t]?(?:next |new )?"
    r"(?:instruction|prompt)s?"
    r"(?: ?#?\d{1,3})?[ \t]?(?:>|(?:\*\*|\])?:?(?:\*\*)?[ \t\n])",
    re.IGNORECASE,
)
_AS_KEYS = re.compile(
    r"[\"'](?:instruction|prompt|question|input)[\"']\s?[:=]\s?[\"'][^\n]{0,2000}?"
    r"[\"'](?:output|response|answer|completion)[\"']\s?[:=]",
    re.IGNORECASE,
)
_NUMBER_BEHIND_A_RULE = re.compile(
    r"\n[ \t]*(?:#{2,6}|[-*=_~]{3,})[ \t]*\n+[ \t]*(?:#{1,4} |\*\*)?(?P<n>[2-9]|[1-9]\d)[.):][ \t]+"
    r"[A-Z\"“]"
)
_NUMBER_BEHIND_A_TEXT = re.compile(
    r"(?:[.!?][\"”’)]?|\A[^\n]{1,300})[ \t]*\n+[ \t]*(?:#{1,4} |\*\*)?"
    r"(?P<n>[2-9]|[1-9]\d)[.):][ \t]+"
    r"(?=[A-Z][^\n]{4,300}[.?!:]\**[ \t]*(?:\n\s*(?!\(?\d{1,3}[.):])|\Z))"
)
_ITEM_NUMBERS = re.compile(r"^[ \t>#*]{0,6}\(?(\d{1,3})[.):]", re.MULTILINE)


def _next_fields(instruction: str, output: str) -> str | None:
    """Find the header of another task behind a finished answer, by its form."""
    folded = output.casefold()
    if "\n" in output and (
        any(map(folded.__contains__, _FIELD_WORDS)) or _Q_AND_NUMBER.search(output)
    ):
        fields = [
            (field, field["word"].casefold()) for field in _HEADER_OF_A_FIELD.finditer(output)
        ]
        if found := _pair(instruction, output, fields):
            return found
    if "instruction" in folded or "prompt" in folded or "<task>" in folded:
        match = _MID_LINE.search(output, 1)
        if match and not _says(instruction, "instruction", "prompt"):
            return _words(match[0])
    if ":" in output and ("output" in folded or '"answer' in folded or '"response' in folded):
        match = _AS_KEYS.search(output)
        asked = _ABOUT_FIELDS.search(instruction) or _asks_for(_ASKS_FOR_TASKS, instruction)
        if match and not asked and "```" not in output:
            return _words(match[0])
    return _next_number(output)


def _pair(instruction: str, output: str, fields: list[tuple[re.Match[str], str]]) -> str | None:
    """The first header of a request that stands behind some text and has an answer's behind it."""
    if not fields:
        return None
    asked_for = _asks_for(_ASKS_FOR_TASKS, instruction)
    if asked_for and _says(instruction, "instruction", "task", "prompt", "example", "data"):
        return None
    start = len(output) - len(output.lstrip())
    turns = _asks_for(_ASKS_FOR_TURNS, instruction)
    code = "```" in output or _ABOUT_FIELDS.search(instruction) is not None
    counts = [int(re.sub(r"\D", "", field["number"] or "0")) for field, _ in fields]
    lowest = min(filter(None, counts), default=0)
    last_answer = max((n for n, (_, word) in enumerate(fields) if word not in _ASKED), default=-1)
    last_input = max((n for n, (_, word) in enumerate(fields) if word == "input"), default=-1)
    listed = fields[0][1] if fields[0][0].start() <= start else ""
    for place, (field, word) in enumerate(fields):
        if field.start() <= start or word not in _ASKED or (code and word not in _STRONG):
            continue
        if asked_for and word not in _STRONG and not word.startswith("task"):
            continue
        if word == listed or (turns and word in ("human", "user", "q")):
            continue  # the answer itself is a list of such fields
        if output[max(0, field.start() - 40) : field.start()].rstrip().endswith((":", ",", ";")):
            continue  # it was announced
        end, number = field["end"], counts[place]
        answered = place < max(last_answer, last_input if word != "input" else -1)
        numbered = number >= 2 and number == lowest and end in ("", ":", ".", " ")
        alone = word in _NUMBERED_TASK and (numbered or (field["next"] and end in ("", ":")))
        clear = (
            end in ("", ":", " ") or number or field["next"] or word in _STRONG or end in "-–—=|)"
        )
        if alone or (word in _STRONG and end == ":") or (answered and clear):
            return _words(field[0] + output[field.end() : field.end() + 40])
    return None


def _next_number(output: str) -> str | None:
    """A number from 2 on behind an answer in which no list begins, with a request behind it."""
    if "\n" not in output:
        return None
    match = _NUMBER_BEHIND_A_RULE.search(output) or _NUMBER_BEHIND_A_TEXT.search(output)
    if match is None:
        return None
    before = {int(number) for number in _ITEM_NUMBERS.findall(output[: match.start("n")])}
    is_list = int(match["n"]) - 1 in before or 1 in before or output.lstrip()[:2] in ("1.", "1)")
    return None if is_list else _words(match[0])


@lru_cache(maxsize=8)
def _asks_for(pattern: re.Pattern[str], request: str) -> bool:
    return pattern.search(request[:4000]) is not None


def merged_task(instruction: str, given: str, output: str) -> str | None:
    """Find a second task in the answer, the instruction or the input."""
    if match := _run_on(instruction):
        return match
    about_prompts = _says(instruction, "instruction:", "input:", "prompt", "training data")
    for text in (output, instruction, given):
        if ":" in text and not (about_prompts and text is output):
            match = _NUMBERED_FIELD.search(text) or _NEXT_ALONE.search(text)
            match = match or _AFTER_A_RULE.search(text) or _INLINE.search(text)
            if match:
                return _words(match[0])
    match = _next(instruction) or _next(output)
    if match is None:
        return None if about_prompts else _next_fields(instruction, output)
    kind = match[0].strip(" \t>#*_-").casefold()
    if kind.startswith(("q", "example", "exercise", "problem")):
        spared = _OPENS_WITH_QUESTION.match(output) or _asks_for(_ASKS_FOR_TASKS, instruction)
    else:
        spared = about_prompts or _says(instruction, "instruction", "tasks")
    return None if spared and match.string is output else _words(match[0])


def _run_on(instruction: str) -> str | None:
    """Find a list of tasks that runs on: a number after a whole request, but no list begins there.

    A numbered list that starts with 1 belongs to its request.
    """
    if not _MAY_RUN_ON.search(instruction):
        return None
    first = _STARTS_LATER.match(instruction)
    if first is None:
        first = _NUMBERED_REQUEST.search(instruction)
    if first is None or _LIST_BEGINS.search(instruction[: first.start() + 1]):
        return None
    return _words(first[0])


def _next(text: str) -> re.Match[str] | None:
    """The start of a task that comes after some text and is followed by a field of its own."""
    if "\n" not in text or ":" not in text:
        return None
    last = max((field.start() for field in _FIELD.finditer(text)), default=0)
    for pattern in (_NEXT_TASK, _EXAMPLE):
        match = pattern.search(text, 1)
        if match and match.end() <= last:
            return match
    return None


def _says(text: str, *words: str) -> bool:
    folded = text.casefold()
    return any(map(folded.__contains__, words))


def role_tokens(instruction: str, given: str, output: str) -> str | None:
    """Find a special token, a template's heading or a speaker in the answer or the request."""
    if "<" in output or "[" in output:
        match = _TOKEN.search(output)
        html = match and match[0] in ("<s>", "</s>") and "<s>" in output[1:] and "</s>" in output
        if match and not html and not _says(f"{instruction}\n{given}", match[0].strip().casefold()):
            return _words(match[0])
    if match := _HEADER.search(output) if "##" in output or "Below" in output else None:
        alone = len(_MARKDOWN_HEADING.findall(output)) <= len(_HEADER.findall(output))
        if (alone or match[0].endswith(":")) and not _says(instruction, "###", "markdown"):
            return _words(match[0])
    if ":" in output:
        match = _LABEL.match(output)
        if match and not _says(instruction, "output", "response", "completion", "format"):
            return _words(match[0])
        match = _ROLE.search(output)
        speaker = match[0].strip(" \t*[]<>:").casefold() if match else ""
        if match and not (_asks_for(_ASKS_FOR_TURNS, instruction) or _says(instruction, speaker)):
            return _words(match[0])
    if "<" in instruction or "[" in instruction:
        match = _TOKEN.match(instruction) or _TOKEN.search(instruction[-24:])
        if (match and instruction.rstrip().endswith(match[0].strip())) or (
            match and match.start() == 0
        ):
            return _words(match[0])
    return None


def placeholder(instruction: str, given: str, output: str) -> str | None:
    """Find a place that was to be filled in, unless the request is about such places."""
    folded = output.casefold()
    match = _STANDS_FOR.search(folded) if any(map(folded.__contains__, _MARKS)) else None
    if not match and " here" in folded:
        match = _GOES_HERE.search(folded)
    if not match and ("[" in output or "<" in output or "(" in output):
        match = _BRACKETED.search(output)
        if match and match[0][0] == "[" and _CODE.search(output):
            match = None
    if not match and ("%" in output or "$" in output or "X" in output) and not _CODE.search(output):
        match = _MERGE_FIELD.search(output)
    if not match and "{" in output and not _CODE.search(output):
        match = _BRACED.search(output)
    if not match and "___" in output and not _CODE.search(output):
        match = _BLANK.search(output) if output.count("\n|") == 0 else None
    if not match and _A_LETTER.search(output):
        match = _ANY_PLACE.search(output)
    if not match or _asks_for(_ASKS_FOR_PLACES, instruction) or match[0] in given:
        return None
    return _words(match[0])


def _words(text: str) -> str:
    return repr(" ".join(text.split())[:80])
