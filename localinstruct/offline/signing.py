"""Signed files: canonical JSON, its digest, and an Ed25519 signature by a key of this user.

The file must be byte for byte what its content renders to, so a changed space is found as surely as
a changed number. The private key lies in the user's data folder (mode 0600) and is made on first
use. Without the library `cryptography` a file stays unsigned and says so: a digest or a keyed hash
proves nothing to somebody else. Not covered: who holds the key. The reader compares its fingerprint
with one they were given by another road.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.errors import UsageError
from localinstruct.records import Json, JsonObject, canonical_json
from localinstruct.store import durable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HEX_KEY, MOST_KEY_BYTES = re.compile("[0-9a-fA-F]{64}"), 100
MOST_BYTES = 64 * 2**20
"""A larger report is not read."""


def sign_file(path: Path, body: JsonObject) -> str:
    """Write `body` with digest and signature, whole or not at all; why it is unsigned, or ""."""
    text = canonical_json(body, strict=True)
    signature, reason = _sign(text)
    document = {"body": body, "sha256": hashlib.sha256(text).hexdigest(), "signature": signature}
    with durable.atomic_write(path) as file:
        file.write(_render(document))
    return reason


def read_signed(path: Path, key: str = "") -> tuple[JsonObject, list[str]]:
    """The body of a signed file, and everything that is wrong with the file.

    `key` (hex) is the only public key accepted, "" for any. The body is {} when the file cannot be
    read at all.
    """
    if not path.is_file():
        kind = "found a folder" if path.is_dir() else "found nothing: No such file"
        inside = path / "egress.json"
        hint = f"; try {inside}" if inside.is_file() else ""
        return {}, [f"{path}: expected a signed report such as egress.json, {kind}{hint}"]
    try:
        raw = _read(path)
        document = json.loads(raw)
        body, digest, signature = document["body"], document["sha256"], document["signature"]
        text = canonical_json(body, strict=True)
        rendered = _render(document)
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as problem:
        return {}, [f"{path}: not a readable report ({type(problem).__name__}: {problem})"]
    problems = [] if raw == rendered else [f"{path}: its bytes are not those it was written with"]
    if set(document) != {"body", "sha256", "signature"} or not isinstance(body, dict):
        problems.append(f"{path}: has parts that do not belong to a report")
    if digest != hashlib.sha256(text).hexdigest():
        problems.append(f"{path}: its content does not match its digest")
    problems += [f"{path}: {problem}" for problem in _signature_problems(text, signature, key)]
    return body if isinstance(body, dict) else {}, problems


def public_key(path: Path) -> str:
    """The public key (64 hex digits) that a file names as its signer's, "" when it is unsigned."""
    try:
        signature = json.loads(_read(path))["signature"]
        return str(signature["public_key"]) if signature else ""
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ""


def own_public_key() -> str:
    """The public key of this user, made if missing; "" without `cryptography` or a home."""
    try:
        return _public_hex(_private_key())
    except (ImportError, OSError, RuntimeError, ValueError):
        return ""


def require_own_public_key() -> str:
    """`own_public_key`, or a UsageError that says what is missing."""
    if key := own_public_key():
        return key
    raise UsageError(
        f"There is no key to sign with: {key_file()} cannot be used, or the library cryptography "
        "is not installed.",
        "pip install cryptography, or set XDG_DATA_HOME to a folder you may write to.",
    )


def read_public_key(text: str) -> str:
    """The 64 hex digits of a public key, given as they are or as a file; UsageError for others."""
    digits = text.strip()
    if not HEX_KEY.fullmatch(digits):
        with contextlib.suppress(OSError, ValueError), Path(text).open(encoding="ascii") as file:
            digits = file.read(MOST_KEY_BYTES).strip()
    if HEX_KEY.fullmatch(digits):
        return digits.lower()
    raise UsageError(
        f"--key {text}: expected the 64 hex digits of a public key, or a file that holds them "
        "and nothing else.",
        "Whoever made the report prints it with: localinstruct verify-report --own-key",
    )


def key_file() -> Path:
    """The private key's file: localinstruct/egress.key in $XDG_DATA_HOME or ~/.local/share."""
    root = os.environ.get("XDG_DATA_HOME", "")
    base = Path(root) if root.startswith("/") else Path("~/.local/share").expanduser()
    return base / "localinstruct" / "egress.key"


def _render(document: Json) -> bytes:
    return (json.dumps(document, sort_keys=True, indent=1, allow_nan=False) + "\n").encode("ascii")


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        raw = file.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise ValueError(f"larger than {MOST_BYTES} bytes")
    return raw


def _sign(text: bytes) -> tuple[dict[str, str] | None, str]:
    try:
        key = _private_key()
    except ImportError:
        return None, "the library cryptography is not installed"
    except (OSError, RuntimeError, ValueError) as problem:
        return None, f"the key cannot be used: {problem}"
    return {
        "algorithm": "Ed25519",
        "public_key": _public_hex(key),
        "value": key.sign(text).hex(),
    }, ""


def _signature_problems(text: bytes, signature: object, key: str) -> list[str]:
    if signature is None:
        return ["unsigned: whoever may write the file may have changed it"]
    if not isinstance(signature, dict) or set(signature) != {"algorithm", "public_key", "value"}:
        return ["its signature is not one"]
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return ["its signature cannot be checked: the library cryptography is not installed"]
    try:
        public, value = bytes.fromhex(signature["public_key"]), bytes.fromhex(signature["value"])
        Ed25519PublicKey.from_public_bytes(public).verify(value, text)
    except (InvalidSignature, ValueError, TypeError):
        return ["its signature is wrong"]
    wrong = []
    if signature["algorithm"] != "Ed25519":
        wrong.append(f"unknown algorithm {signature['algorithm']!r}")
    if (public.hex(), value.hex()) != (signature["public_key"], signature["value"]):
        wrong.append("its signature is written in another way than we write it")
    if key and public.hex() != key.lower():
        wrong.append(f"signed by {public.hex()}, expected {key.lower()}")
    return wrong


def _private_key() -> "Ed25519PrivateKey":
    """Ed25519PrivateKey of this user: 32 bytes as hex in `key_file`, made on first use."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path = key_file()
    if not path.exists():
        _make_key(path)
    return Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex(path.read_text(encoding="ascii").strip())
    )


def _make_key(path: Path) -> None:
    """Write 32 random bytes, 0600 from the first moment; of two processes the first one's stay."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        durable.create_file(temporary, f"{secrets.token_bytes(32).hex()}\n".encode("ascii"), 0o600)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
            durable.sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _public_hex(key: "Ed25519PrivateKey") -> str:
    return key.public_key().public_bytes_raw().hex()
