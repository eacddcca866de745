"""Facts of a model directory to be shown when it is entered: what decides how it is used.

Read from its files alone. Not covered: whether they are right.
"""

from pathlib import Path

from localinstruct.models.chat_template import own_templates, special_tokens
from localinstruct.models.completeness import transformer_folder, weight_files
from localinstruct.models.facts import read_facts
from localinstruct.models.json_files import load_object
from localinstruct.models.safetensors import read_header
from localinstruct.models.token_ids import vocabulary_words


def described(directory: Path) -> tuple[tuple[str, str], ...]:
    """Name and value of each fact about a complete directory."""
    facts, core, files = (
        read_facts(directory),
        transformer_folder(directory),
        weight_files(directory),
    )
    found_types = {dtype for path in files for dtype in read_header(path).dtypes}
    dtypes = sorted(dtype for dtype in found_types if "F" in dtype)  # positions are counted in I64
    size = sum(path.stat().st_size for path in files) / 2**30
    found = [
        ("weights", f"{facts.parameters:,} in {', '.join(dtypes)}, {size:.2f} GiB"),
        ("context", f"{facts.context:,} tokens"),
        ("vocabulary", vocabulary_words(core, files)),
    ]
    if not facts.encoder:
        found += [("chat template", _templates(directory)), ("end of text", _ends(core))]
    return tuple((name, value) for name, value in found if value)


def _templates(directory: Path) -> str:
    named = own_templates(directory)
    if not named:
        return "none: a base model, continued as text"
    if list(named) == ["default"]:
        return f"its own, {len(named['default']):,} characters"
    return f"its own: {', '.join(named)}"


def _ends(core: Path) -> str:
    """The token that ends a text, and the one that fills up short rows."""
    tokens = dict(special_tokens(core))
    end, pad = tokens.get("eos_token"), tokens.get("pad_token")
    number = load_object(core / "config.json").get("eos_token_id")
    if not end:
        return "none named"
    said = f"{end} ({number})" if number is not None else end
    if pad is None:
        return f"{said}; no token to fill up short rows, which masks by position do without"
    return f"{said}; " + ("rows are filled up with it too" if pad == end else f"filled up: {pad}")
