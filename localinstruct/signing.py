"""Keys and signatures of this program: Ed25519, by the package `cryptography`.

A user's own key signs egress reports: it lies in the user's data folder and is made on first use. A
pair of key files signs bundles. Both are PEM (PKCS 8 and SubjectPublicKeyInfo), which OpenSSL 3
reads and makes as well; an own key of 0.1.0, 64 hex digits, is read on. A signed file must be byte
for byte what its content renders to, so a changed space is found as surely as a changed number. Not
covered: who holds a key (compare its digits with those that came by another road); keys on a token
(PKCS 11: sign MANIFEST.json there, and put the 64 bytes into MANIFEST.sig).
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
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
    )

HEX_KEY = re.compile(rb"\s*([0-9a-fA-F]{64})\s*")
MOST_KEY_BYTES = 4096
MOST_BYTES = 64 * 2**20
"""A larger report is not read."""


def make_key_pair(path: Path) -> str:
    """Make a key pair at `path` (private, mode 0600) and `path`.pub; the public key's fingerprint.

    UsageError when one of the files is there already: a key is never replaced.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key, public = Ed25519PrivateKey.generate(), path.with_name(f"{path.name}.pub")
    shown = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for place in (path, public):
        if place.exists():
            problem = f"{place}: already there; a key is never replaced."
            raise UsageError(problem, "Choose another name.")
    try:
        durable.create_file(path, _pem(key), 0o600)
        durable.create_file(public, shown, 0o644)
    except OSError as error:
        problem = f"{error.filename}: cannot be written: {error.strerror}."
        raise UsageError(problem, "Choose another place.") from None
    return fingerprint(key.public_key().public_bytes_raw())


def load_private(path: Path) -> "Ed25519PrivateKey":
    """The private key of a file in PEM; UsageError for anything else."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("expected an Ed25519 key, found another kind")
    except (OSError, ValueError, TypeError) as error:
        hint = "Expected a private key in PEM without a passphrase: bundle keygen"
        raise UsageError(f"{path}: {_reason(error)}.", hint) from None
    return key


def load_public(key: str | Path) -> bytes:
    """The 32 bytes of a public key: its 64 hex digits, or a file that holds them or PEM.

    UsageError for anything else.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        text = os.fsencode(key)
        if not HEX_KEY.fullmatch(text):
            with Path(key).open("rb") as file:
                text = file.read(MOST_KEY_BYTES)
        if digits := HEX_KEY.fullmatch(text):
            return bytes.fromhex(digits[1].decode())
        public = load_pem_public_key(text)
        if not isinstance(public, Ed25519PublicKey):
            raise ValueError("expected an Ed25519 key, found another kind")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--key {key}: expected the 64 hex digits of a public key, or a file that holds them "
            f"or the key in PEM ({_reason(error)}).",
            "Whoever signed it prints the digits (verify-report --own-key), or has the .pub file "
            "that bundle keygen wrote.",
        ) from None
    return public.public_bytes_raw()


def fingerprint(public: bytes) -> str:
    """SHA-256 of a public key in DER: `openssl pkey -pubin -in KEY -outform DER | sha256sum`."""
    return hashlib.sha256(bytes.fromhex("302a300506032b6570032100") + public).hexdigest()


def is_signed_by(public: bytes, message: bytes, signature: bytes) -> bool:
    """True when `signature` (64 bytes) over `message` was made with the key of `public` (32)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def signature_problem(path: Path, public: bytes, message: bytes) -> str:
    """Reason why the file at `path` does not prove that `public` signed `message`, or ''."""
    if path.is_symlink() or not path.is_file():
        return "missing, so the key proves nothing"
    with path.open("rb") as file:
        sound = is_signed_by(public, message, file.read(65))
    return "" if sound else "not made with this key over this manifest"


def key_file() -> Path:
    """The user's own private key: localinstruct/egress.key in $XDG_DATA_HOME or ~/.local/share."""
    root = os.environ.get("XDG_DATA_HOME", "")
    base = Path(root) if root.startswith("/") else Path("~/.local/share").expanduser()
    return base / "localinstruct" / "egress.key"


def own_public_key() -> str:
    """The user's own public key (64 hex digits), made if missing; UsageError where it cannot be."""
    return _own_key().public_key().public_bytes_raw().hex()


def sign_file(path: Path, body: JsonObject) -> str:
    """Write `body` with digest and signature, whole or not at all; the signer's public key.

    Where there is no key to sign with, the file says that it is unsigned, and the key is "".
    """
    text, signature, signer = canonical_json(body, strict=True), None, ""
    with contextlib.suppress(UsageError):
        key = _own_key()
        signer = key.public_key().public_bytes_raw().hex()
        signature = {"algorithm": "Ed25519", "public_key": signer, "value": key.sign(text).hex()}
    document = {"body": body, "sha256": hashlib.sha256(text).hexdigest(), "signature": signature}
    with durable.atomic_write(path) as file:
        file.write(_render(document))
    return signer


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


def signer_of(path: Path) -> str:
    """The public key (64 hex digits) that a file names as its signer's, "" when it is unsigned."""
    try:
        signature = json.loads(_read(path))["signature"]
        return str(signature["public_key"]) if signature else ""
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ""


def _signature_problems(text: bytes, signature: object, key: str) -> list[str]:
    if signature is None:
        return ["unsigned: whoever may write the file may have changed it"]
    if not isinstance(signature, dict) or set(signature) != {"algorithm", "public_key", "value"}:
        return ["its signature is not one"]
    try:
        public, value = bytes.fromhex(signature["public_key"]), bytes.fromhex(signature["value"])
    except (ValueError, TypeError):
        return ["its signature is wrong"]
    if not is_signed_by(public, text, value):
        return ["its signature is wrong"]
    wrong = []
    if signature["algorithm"] != "Ed25519":
        wrong.append(f"unknown algorithm {signature['algorithm']!r}")
    if (public.hex(), value.hex()) != (signature["public_key"], signature["value"]):
        wrong.append("its signature is written in another way than we write it")
    if key and public.hex() != key:
        wrong.append(f"signed by {public.hex()}, expected {key}")
    return wrong


def _own_key() -> "Ed25519PrivateKey":
    """Private key of this user, made on first use; of two processes the first one's stays."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        path = key_file()
        if not path.exists():
            _make_own_key(path, _pem(Ed25519PrivateKey.generate()))
        if digits := HEX_KEY.fullmatch(path.read_bytes()):
            return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(digits[1].decode()))
        return load_private(path)
    except (OSError, RuntimeError, UsageError) as problem:
        raise UsageError(
            f"There is no key to sign with: {problem}.",
            "Set XDG_DATA_HOME to a folder you may write to.",
        ) from None


def _make_own_key(path: Path, pem: bytes) -> None:
    """Write a key, 0600 from the first moment."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        durable.create_file(temporary, pem, 0o600)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
            durable.sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _pem(key: "Ed25519PrivateKey") -> bytes:
    from cryptography.hazmat.primitives import serialization

    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "cannot be read"
    return str(error).splitlines()[0][:120]


def _render(document: Json) -> bytes:
    return (json.dumps(document, sort_keys=True, indent=1, allow_nan=False) + "\n").encode("ascii")


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        raw = file.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise ValueError(f"larger than {MOST_BYTES} bytes")
    return raw
