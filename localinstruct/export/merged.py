"""The student as a whole model: its adapter merged into the base, as exactly as its effect needs.

Before it is handed out it is loaded again from the folder and measured on held-out rows
(`training.merging`): it keeps at least 98 % of what training changed, or it is refused. Not
covered: how well it answers, which `evaluate` measures.
"""

from pathlib import Path

from localinstruct.export.chat_template import give_chat_template
from localinstruct.export.request import ExportRequest, ExportResult
from localinstruct.progress import Progress
from localinstruct.training import student
from localinstruct.training.merging import whole_bytes, write_whole


def size(request: ExportRequest) -> int:
    """Bytes: as many numbers as the base, in float32 if its student needs that."""
    return whole_bytes(request.base_folder(), request.trained)


def write(request: ExportRequest, folder: Path, progress: Progress) -> ExportResult:
    """Merge, measure, write, load again, measure; TrainerError when too little is kept."""
    base = request.base_folder()
    is_adapter = request.trained.kind == "adapter"
    source = base if is_adapter else request.trained.folder
    tokenizer = student.load_tokenizer(source, request.base.template)
    give_chat_template(request.template, tokenizer)
    progress.update("merging and measuring", 0, 1)
    home = request.trained.folder.parent
    whole = write_whole(home, base, request.trained, request.template, tokenizer, folder)
    progress.update("merging and measuring", 1, 1)
    facts = [("weights", f"safetensors, {whole.precision}")]
    if whole.rounded:
        facts.append(("precision", f"{whole}; twice the size"))
    facts.append(("checked", f"loaded again: it loses {whole.kept}"))
    return ExportResult(tuple(facts), "localinstruct models add NAME {}")
