"""Check who made a localinstruct bundle: Ed25519 (RFC 8032), verification only. Python 3.8 or newer, nothing to install.

    python3 -I SIGNATURE.py PUBLIC.pem [FOLDER]

Exit code 0: MANIFEST.sig was made over this MANIFEST.json with the private half of the key. 1: it was not, or is missing.
2: nothing could be checked. The same question for OpenSSL 3, whose answer must be the same:

    openssl pkeyutl -verify -pubin -inkey PUBLIC.pem -rawin -in MANIFEST.json -sigfile MANIFEST.sig

Only public values are handled here, so time tells nobody anything; signing, which has a secret, is left to the package
`cryptography`. Not covered: whether the key is the right one. Compare its fingerprint with one that came another way.
"""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from pathlib import Path

MANIFEST, SIGNATURE = "MANIFEST.json", "MANIFEST.sig"
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
KEY_PREFIX = bytes.fromhex("302a300506032b6570032100")
"""DER before the 32 bytes of an Ed25519 public key (RFC 8410)."""

Point = tuple
"""(X, Y, Z, T): x = X / Z, y = Y / Z, x * y = T / Z, all modulo P."""


def point(y: int, odd: int) -> Point:
    """The point with this y and this parity of x; ValueError when the curve has none."""
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - square) % P or (x == 0 and odd):
        raise ValueError("not a point of the curve")
    x = P - x if x % 2 != odd else x
    return (x, y, 1, x * y % P)


def add(one: Point, two: Point) -> Point:
    """The sum of two points."""
    a, b = (one[1] - one[0]) * (two[1] - two[0]) % P, (one[1] + one[0]) * (two[1] + two[0]) % P
    c, d = 2 * one[3] * two[3] * D % P, 2 * one[2] * two[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(number: int, factor: Point) -> Point:
    """`factor` added to itself, `number` times in all."""
    total: Point = (0, 1, 1, 0)
    while number:
        total = add(total, factor) if number & 1 else total
        factor, number = add(factor, factor), number >> 1
    return total


def encode(any_point: Point) -> bytes:
    """The 32 bytes of a point: y, and the parity of x in the highest bit."""
    inverse = pow(any_point[2], P - 2, P)
    x, y = any_point[0] * inverse % P, any_point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


BASE = point(4 * pow(5, P - 2, P) % P, 0)


def signed_by(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) over `message` was made with the private half of `key` (32 bytes)."""
    s = int.from_bytes(signature[32:], "little")
    if len(key) != 32 or len(signature) != 64 or s >= ORDER:
        return False
    encoded = int.from_bytes(key, "little")
    try:
        x, y, z, t = point(encoded % 2**255, encoded >> 255)
    except ValueError:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    return encode(add(times(s, BASE), times(h, (P - x, y, z, P - t)))) == signature[:32]


def read_key(pem: bytes) -> bytes:
    """The 32 bytes of an Ed25519 public key in PEM; ValueError for anything else."""
    match = re.fullmatch(rb"\s*-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*", pem)
    der = base64.b64decode(b"".join(match.group(1).split()), validate=True) if match else b""
    if len(der) != 44 or der[:12] != KEY_PREFIX:
        raise ValueError("expected an Ed25519 public key in PEM (-----BEGIN PUBLIC KEY-----)")
    return der[12:]


def fingerprint(key: bytes) -> str:
    """SHA-256 of the key in DER, as `openssl pkey -pubin -in KEY -outform DER | sha256sum` prints it."""
    return hashlib.sha256(KEY_PREFIX + key).hexdigest()


def signature_problem(folder: Path, key: bytes, message: bytes) -> str:
    """Why MANIFEST.sig in `folder` is not a signature over `message` by the owner of `key`, or ''."""
    path = folder / SIGNATURE
    if path.is_symlink() or not path.is_file():
        return "missing, so the key proves nothing"
    with path.open("rb") as file:
        signature = file.read(65)
    return "" if signed_by(key, message, signature) else "not made with this key over this manifest"


def main(arguments: list[str]) -> int:
    """The command."""
    say = sys.stdout.write
    if len(arguments) not in (1, 2):
        say("Usage: python3 -I SIGNATURE.py PUBLIC.pem [FOLDER]\n")
        return 2
    try:
        key = read_key(Path(arguments[0]).read_bytes())
        folder = Path(arguments[1]) if len(arguments) == 2 else Path(__file__).parent
        problem = signature_problem(folder, key, (folder / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        say(f"Nothing was checked: {error}\n")
        return 2
    say(f"BAD   {SIGNATURE}: {problem}\n" if problem else f"{MANIFEST} is signed by the key {fingerprint(key)}.\n")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
