"""Export request and export result: what to write, and what to say about it afterwards."""

from dataclasses import dataclass
from pathlib import Path

from localinstruct.models.catalog import ModelSpec, checked
from localinstruct.templates import Template
from localinstruct.training.student import Artefact


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """The student of a run, and what it was made from."""

    name: str
    """Name of the run."""
    template: Template
    """Template that the student was trained with."""
    base: ModelSpec
    """The student's base, as models.yaml has it."""
    trained: Artefact
    """Result of the training: an adapter, or a whole model."""
    log: Path
    """File for what libraries and converters write."""
    rows: Path = Path()
    """File of the rows it was trained on, for what is held against them; may be missing."""
    converter: str = ""
    """Path of a GGUF converter, or "" to look for one."""
    precision: str = "auto"
    """Precision of GGUF's matrices: f32, f16, bf16, q8_0, or auto for that of the weights."""

    def base_folder(self) -> Path:
        """The directory of the base, checked; ModelError when it is missing or unsafe."""
        return checked(self.base)


@dataclass(frozen=True, slots=True)
class ExportResult:
    """Facts about an export, in the order to show them, and the next command.

    `{}` in `next` stands for the folder of the export.
    """

    facts: tuple[tuple[str, str], ...]
    next: str


def weight_bytes(folder: Path) -> int:
    """Bytes of the safetensors in a folder."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
