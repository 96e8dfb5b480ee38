"""The decisions behind an idempotency key, as pure functions: what is stored, what was asked, what time it is; what to do.

No clock, no I/O, no HTTP library. The rules follow draft-ietf-httpapi-idempotency-key-header and what Stripe's API taught:
a key names one request; the same request again gets the same answer; another request under the key is refused.

What is remembered: a final answer (`is_final`). A request that ended by a fault or raised leaves its key free, so it is
judged afresh when it comes again.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

KEY_LENGTH_LIMIT: Final = 255
_KEY: Final = re.compile(r"[!-+\--~]+")


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """An answer as it is kept for replays."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def scope_of(route: str, account: str) -> str:
    """Where a key counts: on one route (method and path), for one account (not for its token, which changes)."""
    return f"{route}\n{account}" if account else route


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request that carries a key. `scope` is where the key counts, see `scope_of`; the same key elsewhere is another."""

    scope: str
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What a store knows about a key: a finished run with its answer, or one that still runs until `lease_until`.

    Its life is counted from `since`, in milliseconds since 1970: about when it was run.
    """

    fingerprint: str
    since: int
    response: StoredResponse | None = None
    lease_until: int = 0


@dataclass(frozen=True, slots=True)
class Start:
    """Nobody has run this request: run it."""


@dataclass(frozen=True, slots=True)
class Replay:
    """It has run: give the same answer."""

    response: StoredResponse


@dataclass(frozen=True, slots=True)
class InFlight:
    """It runs now: come again later."""

    retry_after_ms: int


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The key belongs to another request."""


@dataclass(frozen=True, slots=True)
class Expired:
    """The key is older than keys live here: forget the entry, then treat the request as new."""


Decision = Start | Replay | InFlight | Mismatch | Expired

RETRY_AFTER_MS: Final = 1_000
"""How long a caller whose request still runs is asked to wait: requests end within a second, as a rule."""


def decide(entry: Entry | None, fingerprint: str, *, now_ms: int, key_lifetime_ms: int | None) -> Decision:
    """Say what to do with a request.

    Args:
        entry: what is stored under its key.
        fingerprint: of the request, see `fingerprint_json` and `fingerprint_form`.
        now_ms: the time, in milliseconds since 1970.
        key_lifetime_ms: how long a finished key is kept; None is for ever.
    """
    if entry is None:
        return Start()
    finished = entry.response is not None
    if finished and key_lifetime_ms is not None and now_ms >= entry.since + key_lifetime_ms:
        return Expired()
    if not finished and now_ms >= entry.lease_until:
        return Start()
    if entry.fingerprint != fingerprint:
        return Mismatch()
    if entry.response is None:
        return InFlight(min(RETRY_AFTER_MS, entry.lease_until - now_ms))
    return Replay(entry.response)


_NOT_FINAL: Final = frozenset({401, 408, 425, 429})


def is_final(status: int) -> bool:
    """Whether an answer is remembered. A fault, a call to slow down or to sign in is no answer to the request itself."""
    return status < 500 and status not in _NOT_FINAL


def key_fault(values: list[str]) -> str | None:
    """What is wrong with the `Idempotency-Key` header of a request, as a sentence; None if nothing is.

    A key is one header of 1 to 255 visible ASCII characters. A comma is refused, since proxies join repeated headers by one.
    The quotes of a structured string (as the draft writes keys) are simply part of it.
    """
    if not values or values == [""]:
        return "Send an Idempotency-Key header: a value of your own that names this request, such as a UUID."
    if len(values) > 1:
        return "Send one Idempotency-Key header, not several."
    if len(values[0]) > KEY_LENGTH_LIMIT:
        return f"The Idempotency-Key has {len(values[0])} characters; {KEY_LENGTH_LIMIT} are allowed."
    if not _KEY.fullmatch(values[0]):
        return "The Idempotency-Key may have visible ASCII characters without the comma, and no spaces."
    return None


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a form body. A text field has no filename; `sha256` is the hex digest of the content."""

    name: str
    filename: str | None
    content_type: str
    sha256: str


def fingerprint_json(method: str, path: str, value: Any) -> str:
    """The fingerprint of a request with a JSON body: spacing and the order of members do not matter."""
    return _digest([method, path, "json", value])


def fingerprint_form(method: str, path: str, parts: Iterable[Part]) -> str:
    """The fingerprint of a form body: its parts in their order, whatever boundary was between them."""
    rows = [[part.name, part.filename, part.content_type, part.sha256] for part in parts]
    return _digest([method, path, "form", rows])


def fingerprint_bytes(method: str, path: str, content_type: str, sha256: str) -> str:
    """The fingerprint of any other body: its type and the digest of its bytes."""
    return _digest([method, path, "bytes", content_type, sha256])


_ENCODER: Final = json.JSONEncoder(ensure_ascii=True, sort_keys=True, separators=(",", ":"))


def _digest(value: Any) -> str:
    return hashlib.sha256(_ENCODER.encode(value).encode()).hexdigest()
