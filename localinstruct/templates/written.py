"""Templates that somebody wrote: Jinja in a sandbox, or plain text with a part for rows with input
and one for rows without.

A recipe holds the template's text, not its path (`recipe.load_recipe` reads the file), so that a
run has all that shapes it. The sandbox has no loaders, changes nothing and refuses names it does
not know. Not covered: what comes after the answer, which is always the end-of-text token.
"""

import re
from typing import Any

from localinstruct.errors import RecipeError
from localinstruct.records import Instance, Message

NAMES = ("alpaca", "chat")
"""Templates that are not written but known."""
ENDINGS = (".jinja", ".j2", ".txt")
RULE = "---"
"""The line between the part for rows with an input and the part for rows without, in a plain
template."""
FIELDS = ("instruction", "input", "system")
_HOLE = re.compile("{(" + "|".join(FIELDS) + ")}")


def is_written(template: str) -> bool:
    """Whether this is a template's text rather than the name of one."""
    return template not in NAMES


def fault(template: str) -> str | None:
    """Why this is no usable template, or None."""
    if not is_written(template):
        return None
    if "{" not in template:
        return f"expected alpaca, chat or a file ending in {', '.join(ENDINGS)}, found {template!r}"
    sample = Instance("An instruction.", "An input.", "An output.", system="A system prompt.")
    for row in (sample, Instance("An instruction.")):
        try:
            prompt = prompt_of(row, template)
        except RecipeError as error:
            return error.message
        if row.instruction not in prompt:
            return (
                "the template leaves the instruction out; it must stand in both parts, as "
                "{instruction} or {{ instruction }}"
            )
    return None


def has_place_for(template: str, field: str) -> bool:
    """Whether a written template can hold `system` or `history`."""
    return field in template and (is_jinja(template) or f"{{{field}}}" in template)


def prompt_of(instance: Instance, template: str) -> str:
    """The prompt of a row; RecipeError when the template cannot be rendered."""
    return _jinja(instance, template) if is_jinja(template) else _plain(instance, template)


def is_jinja(template: str) -> bool:
    """Whether a written template is Jinja rather than text with holes."""
    return "{{" in template or "{%" in template


def _plain(instance: Instance, template: str) -> str:
    """Fill the holes in one pass: braces in a row's own text are text."""
    part = template.partition(f"\n{RULE}\n")[0] if instance.input else without_input(template)
    return _HOLE.sub(lambda hole: str(getattr(instance, hole[1]) or ""), part)


def without_input(template: str) -> str:
    """The part of a plain template that is for rows without an input: the second, or the only
    one."""
    with_input, rule, without = template.partition(f"\n{RULE}\n")
    return without if rule else with_input


def _jinja(instance: Instance, template: str) -> str:
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    sandbox = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    known: dict[str, Any] = {name: getattr(instance, name) or "" for name in FIELDS}
    try:
        return sandbox.from_string(template).render(
            known | {"history": [_turn(turn) for turn in instance.history]}
        )
    except (
        TemplateError,
        TypeError,
        ValueError,
        ZeroDivisionError,
        OverflowError,
        AttributeError,
        KeyError,
    ) as error:
        raise RecipeError(
            f"train.template: the template cannot be rendered ({type(error).__name__}: {error}).",
            "It may use instruction, input, system and history (turns with role and content): "
            "docs/templates.md",
        ) from None


def _turn(turn: Message) -> dict[str, str]:
    return {"role": turn.role, "content": turn.content}
