"""Trial of a chat template: rendered once, in a child process with little time and memory.

Only templates with loops or calls are tried. A template is a program, and one that does not end
keeps the server busy with the first request (CVE-2026-115911 was a way to do that), or fills its
memory. The trial renders two turns in Jinja's sandbox, as a server does. A template that raises is
not refused: many refuse conversations of a form they do not know. Not covered: one that ends in
the trial and not in some conversation.
"""

import re
import subprocess
import sys
from functools import lru_cache

SECONDS, MEMORY_BYTES, OUTPUT_BYTES = 2.0, 2**30, 2**20
"""Limits of CPU time, address space and rendered text.

An honest template takes milliseconds and a few hundred bytes.
"""
PATIENCE = 20
"""Seconds by the clock, on a machine that has other work."""
WORDS_OF_TRANSFORMERS = re.compile(r"{%-?\s*(?:end)?generation\s*-?%}")
"""A tag that transformers adds to Jinja; it only marks a stretch of text."""
SPENT, TOO_LONG = 61, 62
CHILD = f"""
import resource, signal, sys
seconds, memory, output = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
try:
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.globals["raise_exception"] = lambda words="": 1 / 0
    environment.globals["strftime_now"] = lambda form="": "01 Jan 2026"
    texts = [("user", "Hello"), ("assistant", "Hello."), ("user", "Why?")]
    turns = [dict(role=role, content=text) for role, text in texts]
    variables = dict(messages=turns, add_generation_prompt=True, tools=None, documents=None,
                     bos_token="<s>", eos_token="</s>")
    length = 0
    signal.setitimer(signal.ITIMER_PROF, seconds)
    for piece in environment.from_string(sys.stdin.read()).generate(**variables):
        length += len(piece)
        if length > output: sys.exit({TOO_LONG})
except (MemoryError, OverflowError):
    sys.exit({SPENT})
except Exception:
    sys.exit(0)
"""


def bomb_problem(template: str) -> str:
    """The reason why a server should not get this template, or "".

    "" when it renders, or fails, within the limits.
    """
    text = WORDS_OF_TRANSFORMERS.sub("", template)
    return _trial(text, SECONDS, MEMORY_BYTES, OUTPUT_BYTES) if _can_grow(text) else ""


def templates_in(value: object) -> list[str]:
    """The templates of a tokenizer_config.json or chat_template.json, one or several."""
    given = value.get("chat_template") if isinstance(value, dict) else None
    entries = given if isinstance(given, list) else [given]
    texts = [entry.get("template") if isinstance(entry, dict) else entry for entry in entries]
    return [text for text in texts if isinstance(text, str)]


def _can_grow(text: str) -> bool:
    """Tell whether anything in it repeats or computes; one that only writes values needs no trial.

    False for a text that is not Jinja: the loader says so.
    """
    from jinja2 import Environment, TemplateError, nodes

    try:
        tree = Environment(extensions=["jinja2.ext.loopcontrols"]).parse(text)
    except (TemplateError, RecursionError):
        return False
    repeating = (nodes.For, nodes.Macro, nodes.Call, nodes.Filter, nodes.Include, nodes.Import)
    return next(tree.find_all((*repeating, nodes.Mul, nodes.Pow)), None) is not None


@lru_cache(maxsize=64)
def _trial(text: str, seconds: float, memory: int, output: int) -> str:
    command = [sys.executable, "-I", "-c", CHILD, str(seconds), str(memory), str(output)]
    template = text.encode("utf-8", "replace")
    try:
        child = subprocess.run(command, input=template, capture_output=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return f"a chat template that does not end (stopped after {PATIENCE} s)"
    if child.returncode == TOO_LONG:
        return f"a chat template that writes more than {output:,} bytes for three short turns"
    if child.returncode == SPENT or child.returncode < 0:
        return (
            f"a chat template that does not end within {seconds:g} s and "
            f"{memory // 2**20:,} MiB for three short turns"
        )
    return ""
