"""Trial of a chat template: rendered in a guarded child process with little time and memory.

Only templates with loops or calls are tried for their own sake (`bomb_problem`); rows are rendered
here before any loader or server renders them (`rendered`). A template is a program, and one that
does not end keeps the server busy with the first request (CVE-2026-115911 was a way to do that), or
fills its memory. A template that raises is not refused: many refuse conversations of a form they do
not know. Not covered: one that ends in the trial and not in some conversation.
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache

from localinstruct.records import Message
from localinstruct.templates.chat import Refusal, Rendered, Talk

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
import json, resource, signal, sys
from datetime import datetime
seconds, memory, output = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
job = json.loads(sys.stdin.buffer.read())
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
cpu = 10 + int(seconds * len(job["talks"]))
resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
try:
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    class Generation(Extension):  # a tag of transformers that marks a stretch of text
        tags = {{"generation"}}
        def parse(self, parser):
            next(parser.stream)
            return nodes.Scope(parser.parse_statements(["name:endgeneration"], drop_needle=True))
    def raise_exception(words=""):
        raise TemplateError(words)
    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                          sort_keys=sort_keys)
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form="": datetime.now().strftime(form)
except MemoryError:
    sys.exit({SPENT})

def render(template, talk):
    pieces, length = [], 0
    limit = output + 4 * len(json.dumps(talk))
    for piece in template.generate(messages=talk["turns"], tools=talk["tools"], documents=None,
                                   add_generation_prompt=talk["opened"], **job["tokens"]):
        pieces.append(piece)
        length += len(piece)
        if length > limit: sys.exit({TOO_LONG})
    return "".join(pieces)

results = []
for text in job["templates"]:
    rendered, template, fault = [], None, None
    signal.setitimer(signal.ITIMER_PROF, seconds)  # for the compiler and the first talk
    try:
        template = environment.from_string(text)
    except (MemoryError, OverflowError):
        sys.exit({SPENT})
    except Exception as error:
        fault = error
    for talk in job["talks"]:
        try:
            rendered.append(render(template, talk) if template else dict(error=str(fault)[:300]))
        except (MemoryError, OverflowError):
            sys.exit({SPENT})
        except Exception as error:
            rendered.append(dict(error=" ".join(str(error).split())[:300]))
        signal.setitimer(signal.ITIMER_PROF, seconds)
    results.append(rendered)
signal.setitimer(signal.ITIMER_PROF, 0)
sys.stdout.write(json.dumps(results))
"""
TURNS = (Message("user", "Hello"), Message("assistant", "Hello."), Message("user", "Why?"))
USUAL = {"bos_token": "<s>", "eos_token": "</s>"}


def bomb_problem(template: str) -> str:
    """The reason why a server should not get this template, or "".

    "" when it renders, or fails, within the limits.
    """
    return _trial(template, SECONDS, MEMORY_BYTES, OUTPUT_BYTES) if _can_grow(template) else ""


def rendered(
    templates: Sequence[str], talks: Sequence[Talk], tokens: Mapping[str, str]
) -> list[list[Rendered]]:
    """The text of every talk in every template, or its refusal, from the guarded child.

    `tokens` are the special tokens by name. All are refusals where the child was ended.
    """
    child = _child(templates, talks, tokens, (SECONDS, MEMORY_BYTES, OUTPUT_BYTES))
    if isinstance(child, str) or child.returncode or not child.stdout:
        words = child if isinstance(child, str) else _ending(child.returncode, SECONDS)
        return [[Refusal(words or "cannot be rendered") for _ in talks] for _ in templates]
    return [
        [text if isinstance(text, str) else Refusal(str(text["error"])) for text in texts]
        for texts in json.loads(child.stdout)
    ]


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

    text = WORDS_OF_TRANSFORMERS.sub("", text)
    try:
        tree = Environment(extensions=["jinja2.ext.loopcontrols"]).parse(text)
    except (TemplateError, RecursionError):
        return False
    repeating = (nodes.For, nodes.Macro, nodes.Call, nodes.Filter, nodes.Include, nodes.Import)
    return next(tree.find_all((*repeating, nodes.Mul, nodes.Pow)), None) is not None


@lru_cache(maxsize=64)
def _trial(text: str, seconds: float, memory: int, output: int) -> str:
    child = _child([text], [Talk(TURNS, opened=True)], USUAL, (seconds, memory, output))
    return child if isinstance(child, str) else _ending(child.returncode, seconds, memory, output)


def _child(
    templates: Sequence[str],
    talks: Sequence[Talk],
    tokens: Mapping[str, str],
    limits: tuple[float, int, int],
) -> "subprocess.CompletedProcess[bytes] | str":
    """The ended child, or the reason why it had to be stopped."""
    turns = [
        {
            "turns": talk.as_dicts(),
            "opened": talk.opened,
            "tools": json.loads(talk.tools) if talk.tools else None,
        }
        for talk in talks
    ]
    job = {"templates": list(templates), "talks": turns, "tokens": dict(tokens)}
    command = [sys.executable, "-I", "-c", CHILD, *map(str, limits)]
    patience = PATIENCE + limits[0] * len(talks)
    given = json.dumps(job).encode()
    try:
        return subprocess.run(command, input=given, capture_output=True, timeout=patience)
    except subprocess.TimeoutExpired:
        return f"a chat template that does not end (stopped after {patience:g} s)"


def _ending(
    code: int, seconds: float, memory: int = MEMORY_BYTES, output: int = OUTPUT_BYTES
) -> str:
    if code == TOO_LONG:
        return f"a chat template that writes more than {output:,} bytes for three short turns"
    if code == SPENT or code < 0:
        return (
            f"a chat template that does not end within {seconds:g} s and "
            f"{memory // 2**20:,} MiB for three short turns"
        )
    return ""
