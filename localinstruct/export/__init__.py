"""A trained student for other tools: an adapter, merged weights, an Ollama folder, or GGUF.

Every export is a new folder that appears whole or not at all. A merged student is loaded again and
its logits compared with those of base and adapter before anybody gets it. Nothing is pushed
anywhere. Rows are exported by `formats`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from localinstruct.export import adapter, gguf, merged, ollama
from localinstruct.export.request import ExportRequest, ExportResult
from localinstruct.models.catalog import ModelSpec
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.report.cards import CARD
from localinstruct.store.durable import write_text
from localinstruct.store.folder import TRAIN
from localinstruct.store.whole_folder import new_folder
from localinstruct.training.student import artefact, quiet

__all__ = ["MODEL_FORMATS", "ExportRequest", "ExportResult", "export_request", "export_student"]


Card = Callable[[Path], str]
"""Writes the text of README.md, given the folder with everything else in it."""


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write a student: the bytes it takes, and the function that fills a folder."""

    size: Callable[[ExportRequest], int]
    write: Callable[[ExportRequest, Path, Progress], ExportResult]
    check: Callable[[ExportRequest], object] = field(default=lambda _: None)
    """Refuses a request that cannot be met, before anything is written."""


MODEL_FORMATS: dict[str, Format] = {
    "adapter": Format(adapter.size, adapter.write, adapter.require_adapter),
    "merged": Format(merged.size, merged.write),
    "ollama": Format(merged.size, ollama.write),
    "gguf": Format(gguf.size, gguf.write, gguf.require_way),
}
"""--format -> how it is written."""


def export_request(
    recipe: Recipe, spec: ModelSpec, run_path: Path, converter: str = "", precision: str = "auto"
) -> ExportRequest:
    """The request for a run's student; DataError while none is trained."""
    return ExportRequest(
        run_path.name,
        recipe.train.template,
        spec,
        artefact(run_path),
        run_path / "logs" / "export.log",
        run_path / "dataset" / TRAIN,
        converter,
        precision,
    )


def export_student(
    request: ExportRequest, format: str, output: Path, progress: Progress, card: Card | None = None
) -> ExportResult:
    """Write the student and its model card into the new folder `output`.

    `format` is a key of MODEL_FORMATS. UsageError for a place that is taken, StoreError for one
    that is too small, DataError for a format this student has not got, ModelError for a base that
    is missing or unsafe, TrainerError when the written student does not compute what the trained
    one does.
    """
    writer = MODEL_FORMATS[format]
    writer.check(request)
    with new_folder(output, writer.size(request)) as folder, quiet(request.log):
        result = writer.write(request, folder, progress)
        if card:
            write_text(folder / CARD, card(folder))
        return result
