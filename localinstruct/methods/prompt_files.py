"""Prompts that ship as text files: one folder under prompts/ per wording of a method.

Each can be read and replaced. Placeholders in braces are filled in one pass, so braces in a
teacher's own words stay as they are.
"""

import re
from functools import cache
from importlib import resources


@cache
def prompt_file(folder: str, name: str) -> str:
    """The text of prompts/FOLDER/NAME.txt without its last newline."""
    file = resources.files("localinstruct.methods") / "prompts" / folder / f"{name}.txt"
    return file.read_text(encoding="utf-8").removesuffix("\n")


def fill(text: str, **values: str | int) -> str:
    """`text` with every {name} of `values` replaced; other braces stay."""
    return re.sub(r"\{(\w+)\}", lambda match: str(values.get(match[1], match[0])), text)
