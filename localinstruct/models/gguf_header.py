"""The header of a GGUF file: its metadata by name, and where its tensors lie.

Not covered: files in several parts, big-endian machines.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localinstruct.errors import ModelError

if TYPE_CHECKING:
    from gguf import ReaderTensor

ADDING_BOS = {"llama-bpe", "tekken", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral"}
"""Names of cuts under which llama.cpp begins a text with bos where the file does not say."""
INSTALL = "pip install 'localinstruct[gguf]'"


@dataclass(frozen=True, slots=True)
class Header:
    """Metadata and tensors of one file; the tensors' data stay on the disk until they are read."""

    path: Path
    fields: dict[str, Any]
    tensors: "dict[str, ReaderTensor]"

    @property
    def architecture(self) -> str:
        """llama.cpp's name of the architecture, such as llama."""
        return self.text("general.architecture")

    def text(self, key: str) -> str:
        """The value of a key as text; "" where the file has none."""
        value = self.fields.get(key)
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> Any:
        """The value of one of the architecture's own keys; None where the file has none."""
        return self.fields.get(f"{self.architecture}.{key}")

    def token_id(self, name: str) -> int | None:
        """The id of a special token of llama.cpp's naming, such as eos; None where there is none.

        An id beyond the vocabulary is none.
        """
        value = self.fields.get(f"tokenizer.ggml.{name}_token_id")
        known = isinstance(value, int) and 0 <= value < len(self.tokens)
        return value if known else None

    def special(self, name: str) -> str:
        """The text of a special token; "" where there is none."""
        number = self.token_id(name)
        return "" if number is None else self.tokens[number]

    @property
    def tokens(self) -> list[str]:
        """The vocabulary, by id."""
        found = self.fields.get("tokenizer.ggml.tokens")
        return found if isinstance(found, list) else []

    @property
    def adds_bos(self) -> bool:
        """True where llama.cpp begins a text with bos: as the file says, or by its tokenizer."""
        usual = self.text("tokenizer.ggml.model") == "llama"
        usual = usual or self.text("tokenizer.ggml.pre") in ADDING_BOS
        return bool(self.fields.get("tokenizer.ggml.add_bos_token", usual))

    @property
    def types(self) -> dict[str, int]:
        """Kinds in which weights are stored, with the number of weights of each, most first."""
        counts: dict[str, int] = {}
        for tensor in self.tensors.values():
            kind = tensor.tensor_type.name
            counts[kind] = counts.get(kind, 0) + int(tensor.n_elements)
        return dict(sorted(counts.items(), key=lambda item: -item[1]))


def read_header(path: Path) -> Header:
    """Read a file's header; ModelError for one that is no whole model in GGUF."""
    _require_file(path)
    try:
        import gguf
    except ImportError:
        raise ModelError(
            f"{path}: GGUF is read with the package gguf, which is not installed.", INSTALL
        ) from None
    try:
        reader = gguf.GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        tensors = {tensor.name: tensor for tensor in reader.tensors}
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise ModelError(
            f"{path}: the GGUF header cannot be read: {' '.join(str(error).split())[:200]}",
            "The file may be cut short: compare its size and SHA-256 with its source.",
        ) from None
    if fields.get("split.count", 1) not in (0, 1):
        raise ModelError(
            f"{path}: one of {fields['split.count']} parts of a model, expected a whole one.",
            "Join them with llama.cpp's llama-gguf-split --merge, then import the result.",
        )
    return Header(path, fields, tensors)


def _require_file(path: Path) -> None:
    """ModelError for a place without a GGUF file."""
    found = "nothing there" if not path.exists() else "a folder"
    if path.is_file():
        with path.open("rb") as file:
            if file.read(4) == b"GGUF":
                return
        found = "another kind of file"
    raise ModelError(
        f"{path}: expected a GGUF file, found {found}.",
        "A directory with safetensors needs no import: localinstruct models add NAME DIR",
    )
