"""A chat template named in models.yaml: its text or a .jinja file, checked for a server.

A template is a small program that the server runs on every request, in Jinja's sandbox. It must be
a regular file of an acceptable size that is Jinja. Not covered: the text that the template writes,
which only a look at a rendered prompt tells.
"""

from pathlib import Path

from localinstruct.models.json_files import MAX_TEMPLATE_BYTES
from localinstruct.models.template_trial import bomb_problem


def template_problems(given: str) -> list[str]:
    """Problems of a template given as text or as the path of a .jinja file; [] for a good one."""
    path = Path(given)
    if is_file_name(given) and not path.is_file():
        there = "a folder" if path.is_dir() else "nothing there"
        return [f"chat_template: looked for a file at {path}, found {there}"]
    size = path.stat().st_size if is_file_name(given) else len(given.encode())
    if size > MAX_TEMPLATE_BYTES:
        return [f"chat_template: expected at most {MAX_TEMPLATE_BYTES:,} bytes, found {size:,}"]
    try:
        return _syntax_problems(template_text(given))
    except (OSError, UnicodeDecodeError) as error:
        return [f"chat_template: {path} cannot be read as UTF-8 text: {error}"]


def template_text(given: str) -> str:
    """The template itself, whether it was given as text or as a file."""
    return Path(given).read_text(encoding="utf-8") if is_file_name(given) else given


def is_file_name(given: str) -> bool:
    """Tell whether this names a file: one line that ends in .jinja, as no template does."""
    return "\n" not in given and given.endswith(".jinja")


def _syntax_problems(text: str) -> list[str]:
    from jinja2 import TemplateSyntaxError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    try:
        ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"]).parse(text)
    except TemplateSyntaxError as error:
        return [f"chat_template: not Jinja: line {error.lineno}: {error.message}"]
    if "message" not in text:
        return ["chat_template: expected a template that renders `messages`"]
    return [f"chat_template: {problem}"] if (problem := bomb_problem(text)) else []
