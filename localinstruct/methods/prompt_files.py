"""Prompts that ship as text files: one folder under prompts/ per wording of a method.

Each can be read and replaced. Placeholders in braces are filled by `fill` in records.py.
"""

from functools import cache
from importlib import resources


@cache
def prompt_file(folder: str, name: str) -> str:
    """The text of prompts/FOLDER/NAME.txt without its last newline."""
    file = resources.files("localinstruct.methods") / "prompts" / folder / f"{name}.txt"
    return file.read_text(encoding="utf-8").removesuffix("\n")
