"""Which models play which part: the `models` section of a recipe."""

from pydantic import Field

from localinstruct.config import Section


class Models(Section):
    """Names in models.yaml."""

    teacher: str
    """Writes the rows."""
    student: str
    """Is fine-tuned on them."""
    encoder: str = "all-minilm-l6-v2"
    """Embeds instructions for novelty."""
    answerer: str | None = None
    """Answers the instructions in `then.answer`, in place of the teacher that wrote them: a
    stronger model, say."""
    rivals: list[str] = Field(default_factory=list)
    """More models whose answers compete in `then.preference`."""
    judge: str | None = None
    """Grades answers; None lets the teacher do it."""

    @property
    def asked(self) -> dict[str, str]:
        """Role of a prompt -> name of the model that is asked; the teacher where none is named."""
        named = {"answerer": self.answerer, "judge": self.judge}
        rivals = {f"rival-{number}": name for number, name in enumerate(self.rivals, 1)}
        return {
            "teacher": self.teacher,
            **{role: name or self.teacher for role, name in named.items()},
            **rivals,
        }
