"""The nano models that ship: a task grammar, and the teacher and student trained on it.

`build` makes them again. They prove that every part works on a bare CPU; they are not a source of
useful data.
"""

LABEL = "proof that every part works, not a source of useful data"
"""Sentence about these models that stands wherever their rows or results are shown."""


def is_nano(name: str) -> bool:
    """Tell whether a name in models.yaml is that of a model that ships with the package."""
    return name.startswith("nano-")
