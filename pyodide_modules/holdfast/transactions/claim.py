"""Leasing the due heads of lanes: highest priority first, only what this context knows and no gate forbids.

Only heads are in the index `ready`, and the type is part of its key: a type that must wait is one jump, not a walk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.gates import HERE, Gates, awaited, looked_at
from holdfast.job import is_due
from holdfast.lifecycle import Reason, State
from holdfast.storage import ABOVE_ALL, Get, GetAll, KeyRange, Put, transaction
from holdfast.transactions.lane import promote
from holdfast.transactions.moving import move, read_queue, store
from holdfast.transactions.tidy import end_by_time, expire, prune, recover

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.ports import Attachment, Millis
    from holdfast.storage import Record, Steps
    from holdfast.transactions.tidy import Retention

STORES = ("jobs", "bodies", "attachments", "queues", "gates", "holders")


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
    look_at: set[str] = field(default_factory=set)
    """Servers to look at before anything is sent to them."""
    shut: set[str] = field(default_factory=set)
    """Servers that are away, or that somebody else looks at just now."""
    changed: list[str] = field(default_factory=list)
    """Jobs that were recovered, ended or put aside on the way."""
    about_to_prune: list[str] = field(default_factory=list)
    """Failures that will be deleted in a day unless somebody acts; only where the app has asked for that."""

    def look_again(self, at: Millis) -> None:
        self.next_at = at if self.next_at is None else min(self.next_at, at)


@transaction(*STORES, durability="relaxed")
def begin(who: Claimant, limit: int, retention: Retention, now: Millis) -> Steps[Claim]:
    """The first look of a drain: tidy up, then claim."""
    tidied = yield from recover(
        who.account,
        who.queue,
        who.holder,
        who.lease_ms,
        granted=who.granted,
        now=now,
    )
    yield from expire(who.account, now, tidied)
    yield from prune(who.account, who.queue, retention, now, tidied)
    found = Claim(next_at=tidied.next_at, changed=tidied.changed, about_to_prune=tidied.about_to_prune)
    yield from _lease(who, max(0, limit - tidied.leased), now, found)
    return found


@transaction(*STORES, durability="relaxed")
def claim(who: Claimant, limit: int, now: Millis) -> Steps[Claim]:
    """Lease up to `limit` due heads."""
    found = Claim()
    yield from _lease(who, limit, now, found)
    return found


def _lease(who: Claimant, limit: int, now: Millis, found: Claim) -> Steps[None]:
    gates = Gates.of((yield GetAll("gates")))
    yield Put("holders", {"name": who.lock, "holder": who.holder, "until": now + who.lease_ms})
    yield from _take_heads(who, gates, limit, now, found)
    for origin in sorted(found.look_at):
        yield Put("gates", looked_at(gates.breaker(origin), origin, now))
    for origin in sorted(found.shut):
        breaker = gates.breaker(origin)
        waited_for = awaited(breaker) if breaker else None
        if waited_for:
            yield Put("gates", waited_for)


def _take_heads(who: Claimant, gates: Gates, limit: int, now: Millis, found: Claim) -> Steps[None]:
    start = [who.account, who.queue]
    lower: list[str | int | list[object]] = [*start, 0]
    while len(found.jobs) < limit:
        head = yield Get("jobs", KeyRange(lower, [*start, ABOVE_ALL]), "ready")
        if head is None:
            return
        origin = who.origins.get(head["type"])
        past_type = [*start, head["rank"], head["type"], ABOVE_ALL]
        if origin is None:
            if head["app_version"] <= who.app_version:
                yield from _park(head, Reason.UNKNOWN_TYPE, now, found)
            else:  # made by a newer version of the app, which will send it
                lower = past_type
            continue
        if _must_wait(who, gates, head, now, found):
            lower = past_type
        elif head["expires_at"] is not None and head["expires_at"] <= now:
            yield from end_by_time(head, now)
            found.changed.append(head["id"])
        elif _outcome_is_lost(head, gates.key_lifetime_ms(origin), now):
            yield from _park(head, Reason.OUTCOME_UNKNOWN, now, found)
        else:
            yield from _take(who, head, gates.sign_ins(who.account), now, found)


def _must_wait(who: Claimant, gates: Gates, head: Record, now: Millis, found: Claim) -> bool:
    """Whether no job of this head's priority and type can go now; notes when to look again, and at whom."""
    origin = who.origins[head["type"]]
    if gates.held(who.account) or gates.paused(who.queue, head["type"]):
        return True
    if not is_due(head, now):
        found.look_again(head["ready_at"])
        return True
    shut_until = gates.shut_until(origin, who.queue, head["type"], now)
    server = "" if origin == HERE else origin
    if (origin != HERE or shut_until is not None) and gates.wants_look(server, now):
        found.look_at.add(server)
        return True
    if shut_until is not None:
        found.look_again(shut_until)
        found.shut.add(server)
    return shut_until is not None


def _outcome_is_lost(head: Record, key_lifetime_ms: Millis | None, now: Millis) -> bool:
    """Whether it was sent, never answered, and the server no longer knows its key: a repeat could be done twice."""
    unknown_since: Millis | None = head["unknown_since"]
    return key_lifetime_ms is not None and unknown_since is not None and now - unknown_since > key_lifetime_ms


def _take(who: Claimant, head: Record, sign_ins: int, now: Millis, found: Claim) -> Steps[None]:
    body = yield Get("bodies", head["id"])
    described = body["attachments"] if body else []
    handles = []
    if described:
        handles = yield GetAll("attachments", KeyRange([head["id"], 0], [head["id"], len(described)]))
    if body is None or len(handles) != len(described):  # no half of a write is ever sent
        yield from _park(head, Reason.UNDECODABLE, now, found)
        return
    queue = yield from read_queue(who.account, who.queue)
    taken = move(head, queue, State.PROCESSING, None, now)
    taken |= {
        "fence": head["fence"] + 1,
        "holder": who.holder,
        "sign_ins": sign_ins,
        "lease_until": now + who.lease_ms,
        "unknown_since": head["unknown_since"] if head["unknown_since"] is not None else now,
    }
    yield from store(taken, queue)
    found.jobs.append(Claimed(taken, body["payload"], list(zip(described, handles, strict=True))))


def _park(head: Record, reason: Reason, now: Millis, found: Claim) -> Steps[None]:
    """Put a head aside for a person to decide; its lane goes on."""
    queue = yield from read_queue(head["account"], head["queue"])
    parked = move(head, queue, State.FAILED, reason, now)
    yield from store(parked, queue)
    yield from promote(parked)
    found.changed.append(head["id"])
