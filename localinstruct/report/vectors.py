"""Vectors that a report has made, kept in the run, so that the next one loads no encoder.

`report.vectors` has a line of JSON (encoder, numbers, SHA-256 of the rest), n SHA-256 of texts and
(n, d) little-endian float32. A text is looked up by its own digest, so a changed one is encoded
again; a file of another encoder, a torn or an altered one is removed. It can be deleted: it is made
again. Not covered: the same encoder under other libraries or on another device, whose vectors
differ in their last bits.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.curate.embeddings import Encoder
from localinstruct.errors import LocalInstructError
from localinstruct.store.durable import atomic_write

if TYPE_CHECKING:
    import numpy as np

FILE = "report.vectors"
KEY_BYTES = 32


class NoEncoder(Exception):
    """The encoder is needed and cannot be loaded; says why."""


class RememberedEncoder:
    """An encoder that is loaded when a text comes whose vector is not in the file at `path`.

    `digest` stands for the encoder and all that shapes its vectors. Nothing is written before
    `keep` is called.
    """

    def __init__(self, path: Path, digest: str, load: Callable[[], Encoder]) -> None:
        self._path, self._digest, self._load = path, digest, load
        self._encoder: Encoder | None = None
        self.problem = ""
        """Why it could not be loaded, once that was tried."""
        self._known = _read(path, digest)
        self._asked = set[bytes]()
        self._made = 0

    def encode(self, texts: Sequence[str]) -> "np.ndarray":
        """(n, d) float32, rows of unit length, in the order of `texts`.

        NoEncoder where it cannot be loaded, then and each time after.
        """
        import numpy as np

        keys = [_key(text) for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True)}
        missing = {key: text for key, text in missing.items() if key not in self._known}
        if missing:
            rows = self._loaded().encode(list(missing.values()))
            self._known.update(zip(missing, rows.astype("<f4"), strict=True))
            self._made += len(missing)
        self._asked.update(keys)
        found = [self._known[key] for key in keys]
        return np.stack(found) if found else np.zeros((0, 0), np.float32)

    def _loaded(self) -> Encoder:
        try:
            if not self.problem:
                self._encoder = self._encoder or self._load()
        except (OSError, RuntimeError, ImportError, ValueError) as problem:
            self.problem = f"The encoder cannot be loaded here: {problem}"
        if self._encoder is None:
            raise NoEncoder(self.problem)
        return self._encoder

    def keep(self) -> None:
        """Write the vectors that were asked for, whole or not at all; others are dropped.

        Nothing happens where the file has them already. One that cannot be written costs time.
        """
        if not self._made:
            return
        import numpy as np

        keys = sorted(self._asked)
        vectors = np.stack([self._known[key] for key in keys]).astype("<f4")
        body = b"".join(keys) + vectors.tobytes()
        head = {
            "encoder": self._digest,
            "texts": len(keys),
            "dimensions": vectors.shape[1],
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        with suppress(LocalInstructError, OSError):
            with atomic_write(self._path, mark="report") as file:
                file.write(json.dumps(head).encode() + b"\n" + body)
            self._made = 0


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _read(path: Path, digest: str) -> "dict[bytes, np.ndarray]":
    """Digest of a text -> its (d,) vector; none, and no file, where it is not as it should be."""
    try:
        head, _, body = path.read_bytes().partition(b"\n")
        return _vectors(json.loads(head), body, digest)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        with suppress(OSError):
            path.unlink()
        return {}


def _vectors(head: dict[str, object], body: bytes, digest: str) -> "dict[bytes, np.ndarray]":
    """The content of a file; ValueError for one of another encoder, or not as it was written."""
    import numpy as np

    texts, dimensions = head["texts"], head["dimensions"]
    if not (isinstance(texts, int) and isinstance(dimensions, int)):
        raise ValueError("expected two numbers")
    is_whole = len(body) == texts * (KEY_BYTES + 4 * dimensions)
    if not is_whole or hashlib.sha256(body).hexdigest() != head["sha256"]:
        raise ValueError("torn or altered")
    if head["encoder"] != digest:
        raise ValueError("of another encoder")
    end = texts * KEY_BYTES
    rows = np.frombuffer(body, dtype="<f4", offset=end).reshape(texts, dimensions)
    return {body[n * KEY_BYTES : (n + 1) * KEY_BYTES]: rows[n] for n in range(texts)}
