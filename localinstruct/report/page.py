"""A page: one file that loads nothing, with its few scripts in it; the shell of every report.

Everything is escaped, hidden characters become names, and the page's own policy forbids every
request, and every script and style but those in it, which it names by their SHA-256. Data for a
script is JSON in an element that no text in it can end.
"""

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from markupsafe import Markup

from localinstruct.progress import duration, loss, percent, similarity
from localinstruct.records import Json, JsonObject

if TYPE_CHECKING:
    from jinja2 import Environment

CLIP = 900
"""Characters of one text that are shown."""
# Controls but tab and newline; zero-width and bidirectional formatting; line separators;
# surrogates; tags. The joiners U+200C and U+200D stay: Persian, Hindi and emoji are wrong without
# them.
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)
ENDS = str.maketrans({letter: f"\\u{ord(letter):04x}" for letter in "<>&"})
"""Letters that could end an element, or begin one, as JSON spells them inside a text."""


def rendered(template: str, values: JsonObject, scripts: Sequence[str] = ()) -> str:
    """A whole page: a template that extends shell.html.j2, with the scripts of these names in it.

    It depends on no clock and no environment: the same values give the same bytes.
    """
    style = source("style.css.j2") + source("report.css")
    texts = [source(f"scripts/{name}.js") for name in scripts]
    shell: JsonObject = {"css": Markup(style), "scripts": [Markup(text) for text in texts]}
    shell["policy"] = Markup(policy([style], texts))
    return environment().get_template(template).render({**values, **shell}) + "\n"


def policy(styles: Sequence[str], scripts: Sequence[str]) -> str:
    """The Content-Security-Policy of a page with these texts in its style and script elements."""
    kinds = {"style-src": styles, "script-src": scripts}
    allowed = "".join(
        f" {kind} {' '.join(map(_allowed, texts))};" for kind, texts in kinds.items() if texts
    )
    return f"default-src 'none';{allowed} img-src data:; base-uri 'none'; form-action 'none'"


def _allowed(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def source(name: str) -> str:
    """The text of a file that stands in pages as it is."""
    return (resources.files("localinstruct.report") / name).read_text(encoding="utf-8")


def environment() -> "Environment":
    """Jinja for pages: everything is escaped, and what is hidden in a text becomes visible."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("localinstruct", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"clip": clip, "percent": percent, "duration": duration}
    made.filters |= {"loss": loss, "similarity": similarity}
    return made


def visible(value: object) -> str:
    """A value as the template prints it: our markup as it is, hidden characters of others named."""
    if isinstance(value, Markup):
        return value
    text = str(value).replace("\r\n", "\n")
    return HIDDEN.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", text)


def clip(text: str, limit: int = CLIP) -> str:
    """The beginning of a text longer than `limit`, with its length in characters."""
    if len(text) <= limit:
        return text
    return f"{text[:limit].rstrip()} … ({len(text):,} characters in all)"


def data_block(value: Json) -> Markup:
    """JSON for a script element of type application/json; no text in it can end that element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # json.dumps leaves hidden characters above U+001F as they are; in a page they stay spelt
    spelt = HIDDEN.sub(lambda match: json.dumps(match[0])[1:-1], text)
    return Markup(spelt.translate(ENDS))
