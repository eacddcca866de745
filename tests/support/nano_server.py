"""One real vLLM with the nano teacher for the whole test session, and workspaces whose models are
asked there."""

import gc
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from localinstruct.models.catalog import checked, load_catalog
from localinstruct.progress import Silent
from localinstruct.teacher import Serve
from localinstruct.teacher.vllm import Server

ROOT = Path(__file__).parents[2]
NAMES = ("nano-teacher", "nano-chat")
SERVED = "nano-chat"


@contextmanager
def serving_nano(home: Path) -> Iterator[str]:
    """The unix URL of a vLLM that serves the nano teacher, continued as text or through nano-chat's
    template."""
    spec = load_catalog(ROOT).get(SERVED)
    serve = Serve(max_num_seqs=64, max_model_len=1024)
    server = Server(
        checked(spec), SERVED, serve, home, "vllm", Silent(), chat_template=spec.chat_template
    )
    # httpx2 leaves the sockets of refused connections to the collector
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        server.start()
        gc.collect()
    try:
        yield server.url
    finally:
        server.stop()


def nano_workspace(folder: Path, url: str) -> Path:
    """A workspace in `folder` with our recipes and seeds, whose nano-teacher and nano-chat are
    asked at `url`."""
    folder.mkdir(exist_ok=True)
    for name in ("recipes", "seeds"):
        shutil.copytree(ROOT / name, folder / name)
    entries = yaml.safe_load((ROOT / "models.yaml").read_text("utf-8"))
    for name in NAMES:
        for key in ("package", "sha256"):
            entries[name].pop(key, None)
        entries[name] |= {"endpoint": url, "served_name": SERVED}
    (folder / "models.yaml").write_text(yaml.safe_dump(entries, sort_keys=False), "utf-8")
    return folder
