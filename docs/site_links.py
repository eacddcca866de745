"""Links of the site's pages to files outside docs/: those files lie beside the pages as text.

mkdocs calls these functions (`hooks` in mkdocs.yml). On a code host the links lead to the files
themselves. Of a folder the names of its files are shown.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
_LINK = re.compile(r"\]\(\.\./([\w./-]+?)(#[\w-]*)?\)")


def _place(name: str) -> str:
    return f"files/{name}.txt"


def _text(path: Path) -> str:
    if path.is_dir():
        return "\n".join(sorted(one.name for one in path.iterdir()))
    return path.read_text(encoding="utf-8")


def on_files(files: Any, config: Any) -> Any:
    """Add the files that pages link to."""
    pages = (Path(config["docs_dir"]) / page.src_uri for page in files.documentation_pages())
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    for name in sorted({match[1] for match in _LINK.finditer(text)}):
        files.append(File.generated(config, _place(name), content=_text(ROOT / name)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Point the page's links at them."""
    return _LINK.sub(lambda match: f"]({_place(match[1])})", markdown)
