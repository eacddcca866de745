"""Read a teacher's numbered list back into rows and rejects.

The text continues an open slot, so it begins in the middle of item `first`. `list_items.py` finds
the items; here their fields are taken apart. Every item becomes a row or a reject, and no text
raises. Where it is unclear at which line an answer ends the row is rejected, because two tasks
merged into one poison a data set (Alpaca's "merged instructions").
"""

import re
from dataclasses import replace
from textwrap import dedent

from localinstruct.curate.invisible import clean
from localinstruct.methods.list_items import Item, Line, split_items
from localinstruct.records import Instance, Reject

REASONS = {
    "empty completion": "the teacher wrote nothing",
    "no list": "no header of any item: the reply of a chat model, or a list in a form of its own",
    "text before the list": "words before the first item, for example a greeting",
    "truncated": "the last item of a completion that ran out of tokens, even if it looks whole",
    "beyond the list": "more items than the prompt asked for",
    "missing instruction": "an input or output whose instruction header was lost",
    "missing input": "no input header before the output",
    "missing output": "no output header",
    "empty instruction": "an instruction header with nothing after it",
    "empty output": "an output header with nothing, or only an empty code block, after it",
    "repeated field": "a header of the same item twice, so it is unclear which one counts",
    "two items in one": "the item holds another item's header in the middle of its text",
}
"""Every reason this parser gives -> its meaning."""

_EMPTY_BLOCK = re.compile(r"^[ \t]*(`{3,}|~{3,})([^`\n]*)\n\s*^[ \t]*\1[ \t]*$", re.MULTILINE)
_INLINE_ITEM = re.compile(
    r"\b([0-9]{1,4})[.):][ \t]?[*_]{0,3}Instruction[*_]{0,3}[ \t]?:", re.IGNORECASE
)
_NO_INPUT = re.compile(
    r"[<(\[{*_\"'`\s]*"
    r"(?:no[\s_-]?inputs?(?:\s(?:is\s)?(?:needed|required|necessary|provided|given))?"
    r"|none(?:\s(?:needed|required|necessary))?|n\s?/\s?a|n\.a|not\sapplicable|[-–—]{1,3})"
    r"[>)\]}*_\"'`.!\s]*",
    re.IGNORECASE,
)
_NO_OUTPUT = re.compile(r"[<(\[]\s?no[\s_-]?(?:in|out)put\s?[>)\]]", re.IGNORECASE)


def parse_list(
    text: str, first: int, last: int, finish_reason: str = "stop", *, faithful: bool = False
) -> list[Instance | Reject]:
    """Rows and rejects of a completion that continues `{first}. Instruction:`, in its order.

    The list has `last` tasks. Any finish_reason but "stop" means that the text was cut off.
    `faithful` wants every item whole, as Alpaca does; otherwise an item that has an output and no
    input header has no input, and an empty header said again counts once. Rows have no lineage
    yet. Never raises.
    """
    items = split_items(clean(text), first)
    if not items:
        return [_reject("empty completion", "")]
    if not faithful:
        items = [_without_empty_headers(item) for item in items]
        if finish_reason == "stop" and not any(line.header for i in items for line in i.lines):
            return [_reject("no list", items[0].text)]
    results: list[Instance | Reject] = []
    room = last - first + 1
    for item in items:
        if finish_reason != "stop" and item is items[-1]:
            results.append(_reject("truncated", item.text, f"finish_reason {finish_reason!r}"))
        elif item.preface:
            results.append(_reject("text before the list", item.text))
        elif room <= 0:
            results.append(_reject("beyond the list", item.text, f"the list ends with item {last}"))
        else:
            results.append(_read(item, faithful))
        room -= not item.preface
    return results


def _without_empty_headers(item: Item) -> Item:
    """The item less the headers with nothing behind them that its next line repeats."""
    lines = [line for line in item.lines if not line.blank]
    following = dict(zip(map(id, lines), lines[1:], strict=False))

    def is_repeated(line: Line) -> bool:
        header, after = line.header, following.get(id(line))
        again = after.header if after else None
        if header is None or again is None or header.rest.strip():
            return False
        return (header.field, header.number) == (again.field, again.number)

    return replace(item, lines=[line for line in item.lines if not is_repeated(line)])


def _read(item: Item, faithful: bool) -> Instance | Reject:
    """Take the row out of an item, or say why it holds none."""
    lines = item.lines
    output_at = _find(item, "output", len(lines))
    input_at = _find(item, "input", len(lines) if output_at is None else output_at)
    reason = _shape_problem(item, input_at, output_at)
    if reason == "missing input" and not faithful and not any(x.opens("input") for x in lines):
        input_at = output_at
        reason = _shape_problem(item, input_at, output_at)
    if reason or input_at is None or output_at is None:
        return _reject(reason, item.text)
    instruction = _unbold(_value(lines[:input_at]))
    given = _value(lines[input_at:output_at]) if input_at < output_at else ""
    output = _value(lines[output_at:])
    if not instruction:
        return _reject("empty instruction", item.text)
    if _is_empty(output):
        return _reject("empty output", item.text)
    return Instance(instruction, "" if _NO_INPUT.fullmatch(given) else given, output)


def _find(item: Item, field: str, end: int) -> int | None:
    """Find a field's header above line `end`.

    The item's own number counts most, then any number, then none.
    """
    headers = [(at, line.header) for at, line in enumerate(item.lines[:end]) if line.header]
    ranked = sorted(
        (header.number != item.number, header.number is None, at)
        for at, header in headers
        if header.field == field
    )
    return ranked[0][-1] if ranked else None


def _shape_problem(item: Item, input_at: int | None, output_at: int | None) -> str:
    """Say why the headers of an item cannot be trusted, or ""."""
    if not item.continues and not item.lines[0].opens("instruction"):
        return "missing instruction"
    if output_at is None:
        return "missing output"
    if input_at is None:
        return "missing input"
    if _holds_another(item, output_at):
        return "two items in one"
    headers = [line.header for line in item.lines if line.header and line.header.number]
    fields = [header.field for header in headers if header.number == item.number]
    repeated = any(fields.count(field) > 1 for field in ("input", "output"))
    return "repeated field" if repeated else ""


def _holds_another(item: Item, output_at: int) -> bool:
    """True when another item's instruction header stands inside.

    Its number is not an earlier item's.
    """
    start, *others = item.lines
    first_line = start.header.rest if start.header else start.text
    inside = "\n".join([first_line, *(line.text for line in others)])
    if any(int(match[1]) >= (item.number or 0) for match in _INLINE_ITEM.finditer(inside)):
        return True
    answer = item.lines[output_at + 1 :]
    headers = [(at, line.header) for at, line in enumerate(answer) if line.header]
    unnumbered = [at for at, header in headers if header.number is None]
    again = [at for at in unnumbered if answer[at].opens("instruction")]
    return bool(again) and any(line.opens("output") for line in answer[again[0] :])


def _value(lines: list[Line]) -> str:
    """Take the text of a field behind its header, without blank lines and stray "###" around it."""
    header = lines[0].header if lines else None
    if header:
        lines = [replace(lines[0], text=header.rest, header=None), *lines[1:]]
    filled = [at for at, line in enumerate(lines) if not line.blank and not line.hashes]
    if not filled:
        return ""
    text = "\n".join(line.text for line in lines[filled[0] : filled[-1] + 1])
    # code that begins below its header keeps its shape
    return (dedent(text) if filled[0] else text).strip()


def _unbold(instruction: str) -> str:
    """Remove the end of "**7. Instruction: …**", whose beginning went with the header."""
    half = instruction.endswith("**") and instruction.count("**") % 2
    return instruction[:-2].rstrip() if half else instruction


def _is_empty(output: str) -> bool:
    """True when nothing was answered: blank, <nooutput>, or a code block with nothing in it."""
    return not output or bool(_NO_OUTPUT.fullmatch(output) or _EMPTY_BLOCK.search(output))


def _reject(reason: str, text: str, detail: str = "") -> Reject:
    return Reject(stage="parse", reason=reason, text=text, detail=detail or REASONS[reason])
