"""Passwords as they are kept: scrypt (RFC 7914) with a salt each. Nothing here knows whose they are."""

import base64
import hashlib
import hmac
import secrets
from typing import Final

LEAST_LENGTH: Final = 8
LONGEST: Final = 1_000

_COST: Final = 2**15
_BLOCK: Final = 8
_LANES: Final = 1
_MEMORY: Final = 64 * 1024 * 1024


def hashed(password: str) -> str:
    """The text to keep."""
    salt = secrets.token_bytes(16)
    return _text(salt, _scrypt(password, salt, _COST, _BLOCK, _LANES), _COST, _BLOCK, _LANES)


def fits(password: str, kept: str) -> bool:
    """Whether the password is the one that was kept. Takes as long for a wrong one."""
    _, cost, block, lanes, salt, digest = kept.split("$")
    made = _scrypt(password, base64.b64decode(salt), int(cost), int(block), int(lanes))
    return hmac.compare_digest(made, base64.b64decode(digest))


def _scrypt(password: str, salt: bytes, cost: int, block: int, lanes: int) -> bytes:
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"), salt=salt, n=cost, r=block, p=lanes, maxmem=_MEMORY, dklen=32
    )


def _text(salt: bytes, digest: bytes, cost: int, block: int, lanes: int) -> str:
    parts = ("scrypt", cost, block, lanes, base64.b64encode(salt).decode(), base64.b64encode(digest).decode())
    return "$".join(str(part) for part in parts)


NOBODYS: Final = _text(secrets.token_bytes(16), secrets.token_bytes(32), _COST, _BLOCK, _LANES)
"""What an unknown name's password is compared with, so that names cannot be told by the time an answer takes."""
