"""Custom templates: Jinja in a sandbox, or plain text with placeholders.

A plain text has one part for all rows, or one for rows with an input and one for those without. A
recipe holds the template's text, not its path (`recipe.load_recipe` reads the file), so that a run
has all that shapes it. The sandbox has no loaders, changes nothing and refuses names it does not
know. Not covered: the end of the answer, which is always the end-of-text token.
"""

import re
from functools import lru_cache

from localinstruct.errors import RecipeError
from localinstruct.records import Instance, Message

NAMES = ("alpaca", "chat")
"""Templates that the program knows by name."""
ENDINGS = (".jinja", ".j2", ".txt")
RULE = "---"
"""Line of a plain template between the part for rows with an input and the part for the others."""
FIELDS = ("instruction", "input", "system")
_RENDER_ERRORS = (
    TypeError,
    ValueError,
    ZeroDivisionError,
    OverflowError,
    AttributeError,
    KeyError,
)
_PLACEHOLDER = re.compile("{(" + "|".join(FIELDS) + ")}")


def is_custom(template: str) -> bool:
    """True when this is a template's text, not the name of one."""
    return template not in NAMES


def fault(template: str) -> str | None:
    """The reason why this is no usable template, or None."""
    if not is_custom(template):
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


@lru_cache(maxsize=16)
def has_place_for(template: str, field: str) -> bool:
    """True when a custom template writes the field (`system` or `history`) of every row."""
    if not is_jinja(template):
        given = "{" + field + "}"
        return given in without_input(template) and given in template.partition(f"\n{RULE}\n")[0]
    mark = "Nightingale"
    history = (Message("user", mark), Message("assistant", "Heron."))
    part = {"system": mark} if field == "system" else {"history": history}
    try:
        return all(
            mark in prompt_of(Instance("Woodpecker?", input, **part), template)
            for input in ("", "Goldcrest.")
        )
    except RecipeError:
        return False


def prompt_of(instance: Instance, template: str) -> str:
    """The prompt of a row; RecipeError when the template cannot be rendered."""
    return _jinja(instance, template) if is_jinja(template) else _plain(instance, template)


def is_jinja(template: str) -> bool:
    """True when a custom template is Jinja, not plain text with placeholders."""
    return "{{" in template or "{%" in template


def _plain(instance: Instance, template: str) -> str:
    """Fill the placeholders in one pass: braces in a row's own text are text."""
    part = template.partition(f"\n{RULE}\n")[0] if instance.input else without_input(template)
    return _PLACEHOLDER.sub(lambda match: str(getattr(instance, match[1]) or ""), part)


def without_input(template: str) -> str:
    """The part of a plain template for rows without an input: the second, or the only one."""
    with_input, rule, without = template.partition(f"\n{RULE}\n")
    return without if rule else with_input


def _jinja(instance: Instance, template: str) -> str:
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    sandbox = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    values: dict[str, object] = {name: getattr(instance, name) or "" for name in FIELDS}
    values["history"] = [_turn(turn) for turn in instance.history]
    try:
        return sandbox.from_string(template).render(values)
    except (TemplateError, *_RENDER_ERRORS) as error:
        raise RecipeError(
            f"train.template: the template cannot be rendered ({type(error).__name__}: {error}).",
            "It may use instruction, input, system and history (turns with role and content): "
            "docs/templates.md",
        ) from None


def _turn(turn: Message) -> dict[str, str]:
    return {"role": turn.role, "content": turn.content}
