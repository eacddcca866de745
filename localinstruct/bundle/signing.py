"""Keys and signatures (Ed25519) for those who pack; `ed25519` checks without any dependency.

Keys are PEM (PKCS 8 and SubjectPublicKeyInfo) and a signature is its 64 bytes, so OpenSSL 3 reads
and makes the same files. Not covered: keys on a token (PKCS 11): sign MANIFEST.json there and put
the 64 bytes into MANIFEST.sig; and model-signing, whose key mode knows the curves of NIST only.
"""

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from localinstruct.bundle.ed25519 import fingerprint, read_key
from localinstruct.errors import BundleError
from localinstruct.store.durable import create_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

BY_HAND = (
    "pip install cryptography, or use OpenSSL 3:\n"
    "openssl genpkey -algorithm ed25519 -out KEY && openssl pkey -in KEY -pubout -out KEY.pub\n"
    "openssl pkeyutl -sign -rawin -inkey KEY -in MANIFEST.json -out MANIFEST.sig"
)


def keygen(path: Path) -> str:
    """Make a key pair at `path` (private, mode 0600) and `path`.pub; the public key's fingerprint.

    BundleError when one of the files is there already: a key is never replaced.
    """
    serialization, ed25519 = _library()
    key, public = ed25519.Ed25519PrivateKey.generate(), path.with_name(f"{path.name}.pub")
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    shown = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    if public.exists():
        raise BundleError(
            f"{public}: already there; a key is never replaced.", "Choose another name."
        )
    _create(path, private, 0o600)
    _create(public, shown, 0o644)
    return fingerprint(read_key(shown))


def load_public(path: Path) -> bytes:
    """The 32 bytes of a public key file; BundleError for anything else."""
    try:
        return read_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(
            f"{path}: {_reason(error)}.", "Give the .pub file that bundle keygen wrote."
        ) from None


def load_private(path: Path) -> "Ed25519PrivateKey":
    """The private key of a file, to be given to `sign`; BundleError for anything else."""
    serialization, ed25519 = _library()
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise BundleError(
            f"{path}: {_reason(error)}.",
            "Expected a private key in PEM without a passphrase: bundle keygen",
        ) from None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise BundleError(
            f"{path}: expected an Ed25519 key, found another kind.", "Make one: bundle keygen"
        )
    return key


def public_of(key: "Ed25519PrivateKey") -> bytes:
    """The 32 bytes of the public half of a private key."""
    return key.public_key().public_bytes_raw()


def sign(message: bytes, key: "Ed25519PrivateKey") -> bytes:
    """The 64 bytes of a signature over `message`."""
    return key.sign(message)


def _library() -> tuple[ModuleType, ModuleType]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise BundleError(
            "Keys and signatures are made by the package cryptography, which is missing.", BY_HAND
        ) from None
    return serialization, ed25519


def _create(path: Path, content: bytes, mode: int) -> None:
    try:
        create_file(path, content, mode)
    except FileExistsError:
        raise BundleError(
            f"{path}: already there; a key is never replaced.", "Choose another name."
        ) from None
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be written: {error.strerror}.", "Choose another place."
        ) from None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "cannot be read"
    return str(error).splitlines()[0][:120]
