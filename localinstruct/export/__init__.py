"""A trained student as files that other tools load: an adapter, merged weights, an Ollama folder,
or GGUF.

Every export is a new folder that appears whole or not at all. A merged student is loaded again and
its logits compared with those of base and adapter before anybody gets it. Nothing is pushed
anywhere. Rows are exported by `formats`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from localinstruct.export import adapter, gguf, merged, ollama
from localinstruct.export.request import Exported, ExportRequest
from localinstruct.models.catalog import ModelSpec
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.report.cards import CARD
from localinstruct.store.durable import write_text
from localinstruct.store.whole_folder import new_folder
from localinstruct.training.student import artefact, quiet

__all__ = ["MODEL_FORMATS", "ExportRequest", "Exported", "export_request", "export_student"]


Card = Callable[[Path], str]


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write a student: how many bytes it takes, and the function that writes it into an
    empty folder."""

    size: Callable[[ExportRequest], int]
    write: Callable[[ExportRequest, Path, Progress], Exported]
    check: Callable[[ExportRequest], object] = field(default=lambda _: None)
    """Refuses, before anything is written, an order that cannot be filled."""


MODEL_FORMATS: dict[str, Format] = {
    "adapter": Format(adapter.size, adapter.write, adapter.require_adapter),
    "merged": Format(merged.size, merged.write),
    "ollama": Format(merged.size, ollama.write),
    "gguf": Format(gguf.size, gguf.write, gguf.require_converter),
}
"""--format -> how it is written."""


def export_request(
    recipe: Recipe, spec: ModelSpec, run_path: Path, converter: str = ""
) -> ExportRequest:
    """What there is to export of a run; DataError while it has no trained student."""
    log = run_path / "logs" / "export.log"
    return ExportRequest(
        run_path.name, recipe.train.template, spec, artefact(run_path), log, converter
    )


def export_student(
    wanted: ExportRequest, format: str, output: Path, progress: Progress, card: Card | None = None
) -> Exported:
    """Write the student as `format` (a key of MODEL_FORMATS) into the new folder `output`, with its
    model card.

    `card` writes the text of README.md, given the folder with everything else in it.

    UsageError for a place that is taken, StoreError for one that is too small, DataError for a
    format this student has not got, ModelError for a base that is missing or unsafe, TrainerError
    when the written student does not compute what the trained one does.
    """
    way = MODEL_FORMATS[format]
    way.check(wanted)
    with new_folder(output, way.size(wanted)) as folder, quiet(wanted.log):
        done = way.write(wanted, folder, progress)
        if card:
            write_text(folder / CARD, card(folder))
        return done
