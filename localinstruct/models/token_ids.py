"""Token ids of a tokenizer, held against the rows of the embedding.

An id without a row ends a training or a server with an error of an index, long after the start.
Left alone are marks of pictures and sounds (a text model may keep them in its tokenizer, as Gemma 3
1B does). Not covered: tokenizers without a tokenizer.json.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from localinstruct.models.json_files import load_object
from localinstruct.models.safetensors import read_header

_MEDIA = re.compile(r"image|audio|video|vision|speech", re.IGNORECASE)
SHOWN = 3


def id_problems(core: Path, weights: list[Path]) -> list[str]:
    """The problem of token ids beyond the embedding of the model in `core`, or []."""
    rows = _rows(core, weights)
    if rows is None:
        return []
    beyond = {text: number for text, number in _ids(core) if number >= rows}
    beyond = {text: number for text, number in beyond.items() if not _MEDIA.search(text)}
    if not beyond:
        return []
    named = ", ".join(f"{text} ({number:,})" for text, number in list(beyond.items())[:SHOWN])
    more = f" and {len(beyond) - SHOWN:,} more" if len(beyond) > SHOWN else ""
    return [
        f"tokenizer.json: {len(beyond):,} tokens have ids beyond the embedding, which has {rows:,} "
        f"rows: {named}{more}; take the tokenizer that belongs to these weights, or enlarge them "
        "(transformers: model.resize_token_embeddings(len(tokenizer)), then save both)"
    ]


def vocabulary_words(core: Path, weights: list[Path]) -> str:
    """The number of tokens held against the rows of the embedding; "" without a tokenizer.json."""
    count, rows = len({number for _, number in _ids(core)}), _rows(core, weights)
    if not count:
        return ""
    if not rows:
        return f"{count:,} tokens"
    spare = f"; {rows - count:,} stand for no token" if rows > count else ""
    return f"{count:,} tokens for {rows:,} rows of the embedding{spare}"


def _rows(core: Path, weights: list[Path]) -> int | None:
    """Rows of the embedding: the fewer of config.json's and the weights', None for neither."""
    config = load_object(core / "config.json")
    text = config.get("text_config")
    places = [config, text if isinstance(text, dict) else {}]
    sizes = [size for place in places if type(size := place.get("vocab_size")) is int]
    sizes += [size for path in weights if (size := read_header(path).embedding_rows)]
    return min(sizes, default=None)


def _ids(core: Path) -> Iterator[tuple[str, int]]:
    """Every token with its id, of the vocabulary and of what was added to it."""
    tokenizer = load_object(core / "tokenizer.json")
    model = tokenizer.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, dict):
        yield from ((text, number) for text, number in vocabulary.items() if type(number) is int)
    elif isinstance(vocabulary, list):
        for number, entry in enumerate(vocabulary):
            yield str(entry[0] if isinstance(entry, list) and entry else entry), number
    added = tokenizer.get("added_tokens")
    for token in added if isinstance(added, list) else []:
        if isinstance(token, dict) and type(token.get("id")) is int:
            yield str(token.get("content")), token["id"]
    for text, number in load_object(core / "added_tokens.json").items():
        if type(number) is int:
            yield text, number
    decoder = load_object(core / "tokenizer_config.json").get("added_tokens_decoder")
    for number, token in decoder.items() if isinstance(decoder, dict) else ():
        if str(number).isdigit() and isinstance(token, dict):
            yield str(token.get("content")), int(number)
