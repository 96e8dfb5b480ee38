"""What an answer means for a job. One pure function, no I/O: the answer and whether the server can be reached come in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from holdfast.lifecycle import Reason
from holdfast.limits import read_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.ports import Answer, Millis

IN_PROGRESS = "urn:holdfast:problem:in-progress"
"""The problem type with which the companion says that an earlier attempt with this key is still running."""

NO_RECEIPT_LIMIT = 3
"""Answers in a row that name no key, with the server reachable, before the job is put aside."""

LONGEST_ASK_MS = 86_400_000
"""A server that asks for more time than this is asked again after this."""

_ASKS_FOR_TIME = frozenset({408, 425, 429})
_CONFLICTS = frozenset({409, 412})


@dataclass(frozen=True, slots=True)
class Delivered:
    """A receipt came: the server has it."""


@dataclass(frozen=True, slots=True)
class Retry:
    """It counts as a failed attempt; try again later, or put it aside if this was the last one."""

    reason: Reason
    after_ms: Millis = 0
    """The least wait the server asked for."""


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Nobody was there. No attempt is used."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The server still works on an earlier attempt with this key. No attempt is used."""

    after_ms: Millis


@dataclass(frozen=True, slots=True)
class AuthRequired:
    """The account has to sign in first. No attempt is used."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """The server has a different version and kept it."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The server said no for good, or nobody ever gives a receipt."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class NotRun:
    """It went with others, and the server stopped its lane before it. No attempt is used."""


@dataclass(frozen=True, slots=True)
class Alone:
    """It went with others, and nobody knows what it came to: it goes again, by itself. No attempt is used."""

    reason: Reason
    after_ms: Millis = 0
    """The least wait the server asked for."""
    refused: bool = False
    """The server takes no such requests of many."""


Verdict = Delivered | Retry | Unreachable | Wait | AuthRequired | Conflict | Rejected | NotRun | Alone


@dataclass(frozen=True, slots=True)
class Outcome:
    """What to do, and what the answer said about it."""

    verdict: Verdict
    answered: bool
    """The answer named our key, so the server's side of this attempt is known."""
    said: dict[str, Any] = field(default_factory=dict)
    """For the person: `status`, and `title`, `detail`, `errors` of a problem document (RFC 9457) where there was one."""


def is_receipt(answer: Answer, key: str) -> bool:
    """Whether the answer names our key: the companion does so on all its answers, and on a 2xx that is the receipt."""
    return answer.headers.get("idempotency-key") == key


def needs_probe(answer: Answer, *, answered: bool) -> bool:
    """Whether the meaning of this answer depends on whether the server can be reached."""
    if answer.failure or not answered:
        return True
    return answer.status in _ASKS_FOR_TIME or answer.status >= 500


def judge(
    answer: Answer,
    *,
    answered: bool,
    reached: bool,
    no_receipts: int,
    now: Millis,
    classify: Callable[[Answer], Verdict | None] | None = None,
) -> Outcome:
    """Name the outcome of one attempt.

    Args:
        answer: what came back.
        answered: whether it is an answer of the server we sent to: it names our key, or the route's own `receipt` says so.
        reached: whether the server's flags document could be read just now (asked where `needs_probe` says so).
        no_receipts: how many answers before this one were nobody's, in a row.
        now: the wall clock, for a `Retry-After` that is a date.
        classify: a route's own reading of an answer of its server; what it leaves open is read by the usual rules.

    Raises:
        TypeError: `classify` gave something else than a verdict or None.
    """
    said = said_by(answer)
    if answer.failure:
        return Outcome(Retry(Reason.NO_ANSWER) if reached else Unreachable(), answered=False, said=said)
    if not answered:
        if not reached:
            return Outcome(Unreachable(), answered=False, said=said)
        if no_receipts + 1 >= NO_RECEIPT_LIMIT:
            return Outcome(Rejected(Reason.NO_RECEIPT), answered=False, said=said)
        return Outcome(Retry(Reason.NO_RECEIPT), answered=False, said=said)
    own = None if classify is None else classify(answer)
    if own is not None and not isinstance(own, Verdict):
        raise TypeError(f"classify gives a verdict of holdfast.outcome, or None for the usual rules; not {own!r}.")
    verdict = own or _verdict(answer, reached=reached, now=now, said=said)
    # Where an earlier attempt still runs nobody knows yet how it ends, so the job may not be edited either.
    return Outcome(verdict, answered=not isinstance(verdict, Wait), said=said)


def _verdict(  # noqa: PLR0911  (a table of statuses, one line each)
    answer: Answer,
    *,
    reached: bool,
    now: Millis,
    said: dict[str, Any],
) -> Verdict:
    status = answer.status
    if 200 <= status < 300:
        return Delivered()
    after_ms = retry_after_ms(answer.headers.get("retry-after", ""), now)
    if status in _ASKS_FOR_TIME or status >= 500:
        if not reached:
            return Unreachable()
        return Retry(Reason.THROTTLED if status == 429 else Reason.SERVER_ERROR, after_ms)
    if status == 409 and said.get("type") == IN_PROGRESS:
        return Wait(after_ms or 1_000)
    if status == 401:
        return AuthRequired()
    if status in _CONFLICTS:
        return Conflict()
    return Rejected(Reason.REFUSED)


def retry_after_ms(value: str, now: Millis) -> Millis:
    """`Retry-After` (RFC 9110, 10.2.3) in milliseconds from now: seconds or a date; 0 if absent, past or malformed."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(LONGEST_ASK_MS, int(text[:9]) * 1_000)
    try:
        instant = parsedate_to_datetime(text)
        if instant.tzinfo is None:  # asctime names no zone; every date of HTTP is UTC
            instant = instant.replace(tzinfo=UTC)
        asked_ms = int(instant.timestamp() * 1_000) - now
    except (ValueError, OverflowError):
        return 0
    return max(0, min(LONGEST_ASK_MS, asked_ms))


def said_by(answer: Answer) -> dict[str, Any]:
    """What an answer said, for the person: see `Outcome.said`."""
    if answer.failure:
        return {}
    said: dict[str, Any] = {"status": answer.status}
    if answer.status >= 400 and "json" in answer.headers.get("content-type", ""):
        try:
            document = read_json(answer.body)
        except ValueError:
            return said
        if isinstance(document, dict):
            said |= {name: document[name] for name in ("type", "title", "detail", "errors") if name in document}
    return said
