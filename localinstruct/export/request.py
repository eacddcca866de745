"""What is to be exported, and what is said of it when it is there."""

from dataclasses import dataclass
from pathlib import Path

from localinstruct.models.catalog import ModelSpec, checked
from localinstruct.templates import Template
from localinstruct.training.student import Artefact


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """The student of a run, and what it was made from."""

    name: str
    """The run's."""
    template: Template
    """It was trained with."""
    base: ModelSpec
    trained: Artefact
    log: Path
    """Where the libraries' words go."""
    converter: str = ""
    """Path of a GGUF converter, or "" to look for one."""

    def base_folder(self) -> Path:
        """The directory of the base, checked; ModelError when it is missing or unsafe."""
        return checked(self.base)


@dataclass(frozen=True, slots=True)
class Exported:
    """Facts about an export, in the order to show them, and the next thing to type ({} stands for
    its folder)."""

    facts: tuple[tuple[str, str], ...]
    next: str


def weight_bytes(folder: Path) -> int:
    """Bytes of the safetensors in a folder."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
