"""Leasing the due heads of lanes: highest priority first, only what this context knows and no gate forbids.

Only heads are in the index `ready`, and the type is part of its key: a type that must wait is one jump, not a walk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.gates import Gates
from holdfast.job import is_due
from holdfast.lifecycle import Reason, State
from holdfast.storage import ABOVE_ALL, Get, GetAll, KeyRange, Put, transaction
from holdfast.transactions.lane import promote
from holdfast.transactions.moving import move, read_queue, store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.ports import Attachment, Millis
    from holdfast.storage import Record, Steps

STORES = ("jobs", "bodies", "attachments", "queues", "gates", "holders")
TIDY_LIMIT = 100
"""How many jobs one claim recovers or lets expire at most."""


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who claims, for whom, and what it can handle."""

    holder: str
    lock: str
    account: str
    queue: str
    origins: Mapping[str, str]
    """The types this context knows, with the origin each one is delivered to."""
    app_version: int
    lease_ms: Millis
    granted: bool
    """The queue's lock was granted, not stolen: every other holder is gone, whatever its lease says."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job to send now, with its body and attachments."""

    record: Record
    payload: object
    attachments: list[tuple[Record, Attachment]]


@dataclass(slots=True)
class Claim:
    """What a look at the queue found."""

    jobs: list[Claimed] = field(default_factory=list)
    next_at: Millis | None = None
    """When something could go by itself, if nobody else comes before."""
    changed: list[str] = field(default_factory=list)
    """Jobs that were recovered, expired or put aside on the way."""


@transaction(*STORES, durability="relaxed")
def claim(who: Claimant, limit: int, now: Millis) -> Steps[Claim]:
    """Recover what ended contexts left, let expire what is over, then lease up to `limit` due heads."""
    found = Claim()
    gates = Gates.of((yield GetAll("gates")))
    yield Put("holders", {"name": who.lock, "holder": who.holder, "until": now + who.lease_ms})
    yield from _recover(who, now, found)
    yield from _expire(who, now, found)
    yield from _lease(who, gates, limit, now, found)
    return found


def _recover(who: Claimant, now: Millis, found: Claim) -> Steps[None]:
    """Give back the claims whose holder is gone. A claim that ended by death uses no attempt."""
    start = [who.account, who.queue]
    leases = yield GetAll("jobs", KeyRange([*start, 0], [*start, ABOVE_ALL]), "leases", TIDY_LIMIT)
    for record in leases:
        ended = record["lease_until"] <= now or record["lease_until"] - now > who.lease_ms
        if not ended and not (who.granted and record["holder"] != who.holder):
            _look_again(found, record["lease_until"])
            continue
        queue = yield from read_queue(who.account, who.queue)
        released = move(record, queue, State.PENDING, Reason.INTERRUPTED, now)
        released |= {"run_at": now, "wait_ms": 0, "crashes": record["crashes"] + 1}
        yield from store(released, queue)
        yield from promote(released)
        found.changed.append(record["id"])


def _expire(who: Claimant, now: Millis, found: Claim) -> Steps[None]:
    """End what was not delivered in the time set for it; it is kept, and a person can send it anyway."""
    expiring = KeyRange([who.account, 0], [who.account, ABOVE_ALL])
    for _ in range(TIDY_LIMIT):
        record = yield Get("jobs", expiring, "expiring")
        if record is None:
            return
        if record["expire_by"] > now:
            _look_again(found, record["expire_by"])
            return
        queue = yield from read_queue(record["account"], record["queue"])
        expired = move(record, queue, State.EXPIRED, Reason.TTL, now)
        yield from store(expired, queue)
        yield from promote(expired)
        found.changed.append(record["id"])


def _lease(who: Claimant, gates: Gates, limit: int, now: Millis, found: Claim) -> Steps[None]:
    start = [who.account, who.queue]
    lower: list[str | int | list[object]] = [*start, 0]
    while len(found.jobs) < limit:
        head = yield Get("jobs", KeyRange(lower, [*start, ABOVE_ALL]), "ready")
        if head is None:
            return
        past_type = [*start, head["rank"], head["type"], ABOVE_ALL]
        origin = who.origins.get(head["type"])
        if origin is None:
            if head["app_version"] <= who.app_version:
                yield from _park(head, Reason.UNKNOWN_TYPE, now, found)
            else:
                lower = past_type
            continue
        breaker = gates.breaker(origin)
        if not gates.lets_pass(who.account, who.queue, head["type"], origin):
            if breaker is not None:
                _look_again(found, breaker["open_until"])
            lower = past_type
            continue
        if not is_due(head, now):
            _look_again(found, head["ready_at"])
            lower = past_type
            continue
        lifetime = gates.key_lifetime_ms(origin)
        unknown_since = head["unknown_since"]
        if lifetime is not None and unknown_since is not None and now - unknown_since > lifetime:
            yield from _park(head, Reason.OUTCOME_UNKNOWN, now, found)
            continue
        yield from _take(who, head, now, found)


def _take(who: Claimant, head: Record, now: Millis, found: Claim) -> Steps[None]:
    queue = yield from read_queue(who.account, who.queue)
    taken = move(head, queue, State.PROCESSING, None, now)
    taken |= {
        "fence": head["fence"] + 1,
        "holder": who.holder,
        "lease_until": now + who.lease_ms,
        "unknown_since": head["unknown_since"] if head["unknown_since"] is not None else now,
        "reason": None,
    }
    yield from store(taken, queue)
    body = yield Get("bodies", head["id"])
    described = body["attachments"] if body else []
    handles = []
    if described:
        handles = yield GetAll("attachments", KeyRange([head["id"], 0], [head["id"], len(described)]))
    found.jobs.append(Claimed(taken, body["payload"] if body else None, list(zip(described, handles, strict=True))))


def _park(head: Record, reason: Reason, now: Millis, found: Claim) -> Steps[None]:
    """Put a head aside for a person to decide; its lane goes on."""
    queue = yield from read_queue(head["account"], head["queue"])
    parked = move(head, queue, State.FAILED, reason, now)
    yield from store(parked, queue)
    yield from promote(parked)
    found.changed.append(head["id"])


def _look_again(found: Claim, at: Millis) -> None:
    found.next_at = at if found.next_at is None else min(found.next_at, at)
