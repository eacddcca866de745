"""Code that is not there: an empty fence, "your code here", a function without a body."""

import re

_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[^\n`]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.M | re.S)
_FENCED_NOTHING = re.compile(
    r"(?:\s|(?:#|//|--|/\*|<!--|;)\s?[^\n]*|n/?a|none|pass|\.\.\.|…|todo|null|\*/|-->)*",
    re.IGNORECASE,
)
_CODE_COMES_HERE = re.compile(
    r"(?:#|//|--|/\*|<!--|\")\s*(?:\(?(?:todo:? )?(?:your|insert|add|write|put|implement)"
    r"(?: your| the| my)? (?:\w+ )?(?:code|query|logic|implementation|function|solution|html"
    r"|script"
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
    r"|(?:export )?(?:const|let|var) \w+ ?= ?[^\n]*=> ?\{\s*\};?$"
    r"|[^;=\n]*\bclass \w+[^;\n]*\{\s*\}?$"
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
    r"subclass|overrid|derived|abstract|[Cc]alled (?:when|if)|hook|protocol|Exception\)|Error\)"
    r"|\(self"
)
"""Words of code whose body belongs to another class."""


def _is_hollow(code: str) -> bool:
    """Tell whether code has the head of a function or class, and no body anywhere."""
    if len(code) > 1500 or not ("{" in code or "def " in code or "class " in code):
        return False
    if not ("(" in code or "class " in code) or _TO_BE_DERIVED.search(code):
        return False
    lines = [line.strip() for line in _REMARKS.sub("", code).splitlines()]
    lines = [re.sub(r":\s*(?:pass|\.\.\.)$", ":", line) for line in lines if line]
    heads = sum(_HEAD.match(line) is not None for line in lines)
    return heads > 0 and all(_HEAD.match(line) or _NO_BODY.fullmatch(line) for line in lines)


def empty_code(instruction: str, output: str) -> str | None:
    """Reject code that is not there: an empty fence, or a comment in its place."""
    fences = list(_FENCE.finditer(output)) if "```" in output or "~~~" in output else []
    hollow = [fence for fence in fences if _FENCED_NOTHING.fullmatch(fence[2][:2000])]
    if hollow and len(hollow) == len(fences) and not _ASKS_FOR_A_FRAME.search(instruction):
        return f"no code in {hollow[0][0][:40]!r}"
    texts = [fence[2] for fence in fences] or [output]
    if all(map(_is_hollow, texts)) and not _MAY_BE_HOLLOW.search(instruction):
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
