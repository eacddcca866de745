"""What a prompt, a template or a chat leaves in a row: the next task, role tokens, placeholders.

Each function returns the words it found, or None. A row that is about such marks (a dialogue, a
template, a question on a token) keeps them.
"""

import re
from itertools import chain

from localinstruct.curate import next_task
from localinstruct.curate.languages import common_words
from localinstruct.curate.next_task import ASKS_FOR_TASKS, ASKS_FOR_TURNS, asks_for, says
from localinstruct.curate.texts import Signs, folded, has, quoted, words_of

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
    r"^[ \t>#*_-]{0,8}(?:next|new|another) (?:instruction|task"
    r"|question)(?: ?#?\d{1,3})?\**[ \t]?:",
    re.IGNORECASE | re.MULTILINE,
)
_OPENS_WITH_QUESTION = re.compile(r"[ \t>#*_-]{0,8}(?:q|question|example|task|problem)\b", re.I)

_TOKEN = re.compile(
    r"<\|(?:[a-z]{2,20}_[a-z_]{2,20}|endof\w+|start\w*|end\w*|user|assistant|system|human|bot"
    r"|pad|[be]os|\w{0,20}(?:special_token|fim)\w{0,20}"
    r"|eo[tm]|sep|unk|model|tool\w*|function|prompter|channel|message|return)\|>|\[/?INST\]"
    r"|<</?SYS>>|</?(?:start|end)_of_(?:turn|text)>"
    r"|<(?:eos|bos|pad|eot|sep)>|(?:<unk>\s*){2,}|<unk>\s*\Z|(?-i:\[(?:PAD|EOS|BOS|SEP|CLS)\])"
    r"|<｜[^｜\n]{1,30}｜>"
    r"|<\|\w[\w -]{0,30}(?:\|>|\|(?=\s|\Z)|>|\Z)|<(?:begin|start|end|eos|bos"
    r"|pad)(?:_\w{2,12}){1,4}>"
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
_NAMES = (
    r"(?:your|insert|enter|add|recipient|sender|name|first name|last name|full name|date"
    r"|company|product"
    r"|city|address|phone|email|e-mail|title|number|amount|time|location|place|link|url"
    r"|position|job|hotel|phone|fax|author|book|shop|store|restaurant|brand|more details"
    r"|signature"
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
    r"|<<[a-z][\w ]{1,30}>>(?!\s*=)|<(?:first|last|full|company|product|customer|client|user"
    r"|order|phone)"
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
_MAY_MERGE = re.compile(r"[%$\[][A-Z{]|X")
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
_MARKS = Signs(
    *("lorem", "todo", "tbd", "fixme", "tba", "to be ", "placeh", "dummy", "your own", "a sample "),
    *("...", "xx", "asdf", "foo", "qwerty", "blah"),
)
_BLANK = re.compile(r"(?<![\w_`*])_{3,}(?![\w_`*])")
_ASKS_FOR_PLACES = re.compile(
    r"\b(?:templates?|placeholders?|fill[ -]?in|fill|blanks?|forms?|format|mad ?libs?|cloze"
    r"|missing|mail merge"
    r"|boilerplate|variables?|lorem|filler|dummy|anonymi[sz]\w*|redact\w*|mask\w*|cv|invoice"
    r"|todo|to-do|signature line|gap|underscores?|regex\w*|f-strings?|jinja|syntax|usage|cite\w*"
    r"|citations?)\b",
    re.IGNORECASE,
)
_CODE = re.compile(r"```|^\s*(?:def|class|import|from|function|const|#include)\b|</\w|\{\n", re.M)


_REQUEST = (
    r"(?:what|how|why|who|when|where|which|is|are|do|does|can|should|explain|write|describe"
    r"|list|name"
    r"|give|create|generate|suggest|find|tell|compare|discuss|identify|provide|summari[sz]e"
    r"|design"
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
_NUMBER = re.compile(r"\d[*_]{0,2}[.):]")
_ANSWERED_THEN_ASKED = re.compile(
    r"^\W{0,6}(?:output|response)[^\w\n]{0,4}:.{1,4000}?^\W{0,6}(?:\d{1,3}[.)] ?)?"
    r"(?:instruction|task)(?: ?#?\d{1,3})?[^\w\n]{0,4}:",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)
_PARTS = re.compile(r"\n\s*|(?<=[.?!]) (?=[Aa]lso, )")
_MARK_OF_A_PART = re.compile(
    r"^(?:\(?\d{1,2}[.):] |[-*•] |(?:task|question|q|part) ?#?\d{1,2}[.):] ?|also, )", re.IGNORECASE
)
_WHOLE_REQUEST = re.compile(rf"(?:{_REQUEST})\b[^\n]{{8,200}}[.?!]$", re.IGNORECASE)
_POINTS_BACK = re.compile(
    r"\b(?:it|its|this|that|these|those|them|they|their|he|she|his|her|him|one|ones|same|other"
    r"|another|answer|each|both|such|above|following|response|list|words?|sentences?|output"
    r"|format|text|examples?|please|sure|you|your)\b",
    re.IGNORECASE,
)
_NO_SUBJECTS = common_words() | frozenset(
    "long explain describe write suggest compare provide difference sentence paragraph".split()  # noqa: SIM905
)
_STARTS_LATER = re.compile(
    rf"\s*(?:[2-9]|[1-9]\d)[.):] ?(?=[A-Z])(?i:{_REQUEST})\b[^\n]*[.?!]?\n\s*\d{{1,3}}[.):] "
)
"""Lines of a list whose first number is not 1."""
_LIST_BEGINS = re.compile(r"(?:^|\s)(?:\(?1[.):]|a[.)]|(?:step|task|question) 1\b)", re.IGNORECASE)

_ASKED = rf"(?P<asked>(?=[A-Z])(?i:{_REQUEST})\b[^\n.?!]{{8,160}}[.?!])(?=\s+\S)"
_MARKED_REQUEST = re.compile(
    r"\n\s*(?:#{2,4} |(?:-{3,}|\*{3,})\s*\n\s*|(?P<n>[2-9]|[1-9]\d)[.):] )" + _ASKED
)
"""A whole request on a line with a mark before it, and something behind it."""
_REQUEST_INSIDE = re.compile(r"(?P<n>[2-9](?<=[\w.?!\"')] .)|1\d(?<=[\w.?!\"')] ..))\. " + _ASKED)
"""The same behind a number inside a line."""

_MATERIAL_BEGINS = re.compile(
    r"\W*(?:text|passage|context|paragraph|article|document|sentence|data|background|source|story"
    r"|input|scenario)\b ?\d?\**\s?:",
    re.IGNORECASE,
)
_ABOUT_PROMPTS = Signs("instruction:", "input:", "prompt", "training data")


def merged_task(instruction: str, given: str, output: str) -> str | None:
    """Find a second task in the answer, the instruction or the input."""
    if runs_on := _run_on(instruction) or _two_requests(instruction, output):
        return runs_on
    if another := _another_request(instruction, given, output) or (
        _run_on(given) if given else None
    ):
        return another
    if "utput" in given and (match := _ANSWERED_THEN_ASKED.search(given)):
        return quoted(match[0])
    about_prompts = _ABOUT_PROMPTS.stand_in(instruction)
    for text in (output, instruction, given):
        if ":" in text and not (about_prompts and text is output):
            match = _NUMBERED_FIELD.search(text) or _NEXT_ALONE.search(text)
            match = match or _AFTER_A_RULE.search(text) or _INLINE.search(text)
            if match:
                return quoted(match[0])
    match = _next(instruction) or _next(output)
    if match is None:
        return None if about_prompts else next_task.header(instruction, output)
    kind = match[0].strip(" \t>#*_-").casefold()
    if kind.startswith(("q", "example", "exercise", "problem")):
        spared = _OPENS_WITH_QUESTION.match(output) or asks_for(ASKS_FOR_TASKS, instruction)
    else:
        spared = about_prompts or says(instruction, "instruction", "tasks")
    return None if spared and match.string is output else quoted(match[0])


def _run_on(instruction: str) -> str | None:
    """Find a list of tasks that runs on: a number after a whole request, but no list begins there.

    A numbered list that starts with 1 belongs to its request.
    """
    marked = has(instruction, ("\n", "#", "nstruction", "ask"))
    if not (_MAY_RUN_ON if marked else _NUMBER).search(instruction):
        return None
    first = _STARTS_LATER.match(instruction)
    if first is None:
        first = _NUMBERED_REQUEST.search(instruction)
    if first is None or _LIST_BEGINS.search(instruction[: first.start() + 1]):
        return None
    if _MATERIAL_BEGINS.match(instruction) and first[0].strip()[:1].isalpha():
        return None  # "Text: … Task: …" is one task
    return quoted(first[0])


def _two_requests(instruction: str, output: str) -> str | None:
    """Find a second request that has nothing to do with the first, nor with the answer.

    Both are whole sentences, and the second points back at nothing.
    """
    if len(instruction) > 500 or not has(instruction, ("\n", " Also, ", " also, ")):
        return None
    parts = [_MARK_OF_A_PART.sub("", part) for part in _PARTS.split(instruction.strip())]
    parts = [part.strip() for part in parts if part.strip()]
    if not 2 <= len(parts) <= 6 or not all(map(_WHOLE_REQUEST.match, parts)):
        return None
    words = [{word for word in words_of(part) if len(word) > 3} for part in parts]
    first, last = set[str]().union(*words[:-1]) - common_words(), words[-1] - _NO_SUBJECTS
    answered = len(last & words_of(output)) > 0.34 * len(last)
    if not last or first & last or _POINTS_BACK.search(parts[-1]) or answered:
        return None
    return quoted(parts[-1])


def _another_request(instruction: str, given: str, output: str) -> str | None:
    """Find a request behind an answer that has nothing to do with what was asked or answered."""
    lines = _MARKED_REQUEST.finditer(output) if "\n" in output else ()
    inside = _REQUEST_INSIDE.finditer(output) if ". " in output else ()
    for match in chain(lines, inside):
        asked, before, number = match["asked"], output[: match.start()], int(match["n"] or 0)
        listed = number and re.search(rf"(?:^|\s)\(?{number - 1}[.):]", before)
        if listed or not before.strip() or _POINTS_BACK.search(asked):
            continue
        subjects = {one.rstrip("s") for one in words_of(asked) - _NO_SUBJECTS if len(one) > 2}
        known = {one.rstrip("s") for one in words_of(f"{instruction}\n{given}\n{before}")}
        if subjects and not subjects & known and not asks_for(ASKS_FOR_TASKS, instruction):
            return quoted(asked)
    return None


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


def role_tokens(instruction: str, given: str, output: str) -> str | None:
    """Find a special token, a template's heading or a speaker in the answer or the request."""
    if "<" in output or "[" in output:
        match = _TOKEN.search(output)
        html = match and match[0] == "<s>" and "<s>" in output[1:] and "</s>" in output
        if match and not html and not says(f"{instruction}\n{given}", match[0].strip().casefold()):
            return quoted(match[0])
    if match := _HEADER.search(output) if "##" in output or "Below" in output else None:
        alone = len(_MARKDOWN_HEADING.findall(output)) <= len(_HEADER.findall(output))
        if (alone or match[0].endswith(":")) and not says(instruction, "###", "markdown"):
            return quoted(match[0])
    if ":" in output:
        match = _LABEL.match(output)
        if match and not says(instruction, "output", "response", "completion", "format"):
            return quoted(match[0])
        match = _ROLE.search(output)
        speaker = match[0].strip(" \t*[]<>:").casefold() if match else ""
        if match and not (asks_for(ASKS_FOR_TURNS, instruction) or says(instruction, speaker)):
            return quoted(match[0])
    if "<" in instruction or "[" in instruction:
        match = _TOKEN.match(instruction) or _TOKEN.search(instruction[-24:])
        if (match and instruction.rstrip().endswith(match[0].strip())) or (
            match and match.start() == 0
        ):
            return quoted(match[0])
    return None


def placeholder(instruction: str, given: str, output: str) -> str | None:
    """Find a place that was to be filled in, unless the request is about such places."""
    lower = folded(output)
    match = _STANDS_FOR.search(lower) if _MARKS.stand_in(output) else None
    if not match and " here" in lower:
        match = _GOES_HERE.search(lower)
    if not match and has(output, ("[", "<", "(")):
        match = _BRACKETED.search(output)
        if match and match[0][0] == "[" and _CODE.search(output):
            match = None
        if match and match[0][:2] == "<<" and "<<" in instruction:  # a title is asked for so
            match = None
    if not match and has(output, ("%", "$", "X")) and _MAY_MERGE.search(output):
        match = None if _CODE.search(output) else _MERGE_FIELD.search(output)
    if not match and "{" in output and not _CODE.search(output):
        match = _BRACED.search(output)
    if not match and "___" in output and not _CODE.search(output):
        match = _BLANK.search(output) if output.count("\n|") == 0 else None
    if not match and has(output, ("[", "<", "{")) and _A_LETTER.search(output):
        match = _ANY_PLACE.search(output)
    if not match or asks_for(_ASKS_FOR_PLACES, instruction) or match[0] in given:
        return None
    return quoted(match[0])
