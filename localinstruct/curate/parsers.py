"""PROGRAM, run alone: parse code that strangers wrote, with limits of time and memory.

It reads requests as lines of JSON ({"language", "text", "seconds"}) and answers each with a line:
"" where the text parses, else what is wrong. The kernel ends it when a text takes too long (an
alarm) or too much memory. YAML is read as events, so that aliases are never expanded; XML may not
declare entities. Nothing of ours is imported, nothing is executed.
"""

import ast
import json
import resource
import signal
import sys
import textwrap
import warnings
from xml.parsers import expat


def python(text: str) -> str:
    """Parse Python; of a session with >>> its inputs."""
    if text.lstrip().startswith(">>>"):
        lines = [line.strip() for line in text.splitlines()]
        text = "\n".join(line[4:] for line in lines if line.startswith((">>> ", "... ")))
    try:
        ast.parse(textwrap.dedent(text))
    except IndentationError as error:
        return "" if _parses(f"if 1:\n{text}") else f"line {error.lineno}: {error.msg}"
    except SyntaxError as error:
        return f"line {error.lineno}: {error.msg}"
    except ValueError as error:
        return str(error)
    return ""


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def json_values(text: str) -> str:
    """Parse JSON: one value, or several below each other."""
    decoder, place, text = json.JSONDecoder(), 0, text.strip()
    while place < len(text):
        try:
            _, place = decoder.raw_decode(text, place)
        except ValueError as error:
            return str(error)
        rest = text[place:].lstrip()
        if rest and "\n" not in text[place : len(text) - len(rest)]:
            return f"more text after the value: {rest[:20]!r}"
        place = len(text) - len(rest)
    return ""


def yaml(text: str) -> str:
    """Parse YAML as events."""
    import yaml as library

    loader = getattr(library, "CSafeLoader", library.SafeLoader)
    try:
        for _ in library.parse(text, Loader=loader):
            pass
    except library.YAMLError as error:
        return " ".join(str(error).split())
    return ""


def xml(text: str) -> str:
    """Parse XML; several elements below each other are read as one document's."""
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise ValueError("declares entities")

    parser.EntityDeclHandler = refuse
    body = text.strip()
    whole = body if body.startswith(("<?xml", "<!DOCTYPE")) else f"<r>{body}</r>"
    try:
        parser.Parse(whole, True)
    except expat.ExpatError as error:
        return str(error)
    return ""


PARSERS = {"python": python, "json": json_values, "yaml": yaml, "xml": xml}


def answer(language: str, text: str) -> str:
    """Say what is wrong with a text, "" if nothing."""
    try:
        return PARSERS[language](text)
    except (RecursionError, MemoryError):
        return "nested too deeply"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main(memory_mib: int) -> None:
    """Answer requests until there are no more."""
    for name in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (memory_mib * 2**20, memory_mib * 2**20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, request["seconds"])
        said = json.dumps(answer(request["language"], request["text"])[:200])
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.stdout.write(said + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
