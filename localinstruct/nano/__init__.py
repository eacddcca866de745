"""The nano models we ship: a task grammar, the teacher and student trained on it, and how to build
them again.

They prove that every part works on a bare CPU; they are not a source of useful data.
"""

LABEL = "proof that every part works, not a source of useful data"
"""What is said of these models wherever their rows or results are shown."""


def is_nano(name: str) -> bool:
    """Whether a model's name in models.yaml is that of one that ships with the package."""
    return name.startswith("nano-")
