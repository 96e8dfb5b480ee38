"""Leasing the due heads of lanes: highest priority first, only what this context knows and no gate forbids.

Only heads are in the index `ready`, and the type is part of its key: a type that must wait is one jump, not a walk. Among
heads of one priority the one that is due for longest goes first, whatever its type. Where a type allows it, a head takes its
direct followers along (`together.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.gates import FLAGS_MS, HERE, PROBE_WAIT_MS, Gates, awaited, looked_at
from holdfast.lifecycle import Reason, State
from holdfast.storage import ABOVE_ALL, Get, GetAll, KeyRange, Put, transaction
from holdfast.transactions.lane import promote
from holdfast.transactions.moving import move, read_queue, store
from holdfast.transactions.tidy import LIMIT, end_by_time, expire, mend_waits, prune, recover, tidying
from holdfast.transactions.together import followers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.ports import Attachment, Millis
    from holdfast.storage import Key, Read, Record, Steps
    from holdfast.transactions.tidy import Retention

STORES = ("jobs", "bodies", "attachments", "queues", "gates", "holders", "quarantine")
NOTHING: frozenset[str] = frozenset()


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
    batches: Mapping[str, int] = field(default_factory=dict)
    """How many jobs may share a request with one of such a type; types that are not here go by themselves."""
    in_turn: frozenset[str] = NOTHING
    """The types of which several of a lane may be claimed at once, to go one after the other."""
    prefetch: int = 1
    """How many."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job to send now, with its body and attachments."""

    record: Record
    payload: object
    attachments: list[tuple[Record, Attachment]]


@dataclass(slots=True)
class Claim:
    """What a look at the queue found."""

    lanes: list[list[Claimed]] = field(default_factory=list)
    """What was claimed: of each lane its head, and the followers that go with it, in order."""
    next_at: Millis | None = None
    """When something could go by itself, if nobody else comes before."""
    look_at: set[str] = field(default_factory=set)
    """Servers to look at before anything is sent to them."""
    shut: set[str] = field(default_factory=set)
    """Servers that are away, or that somebody else looks at just now."""
    changed: list[str] = field(default_factory=list)
    """Jobs that were recovered, ended or put aside on the way."""
    outlive_key: list[tuple[str, Millis]] = field(default_factory=list)
    """Jobs worth sending for longer than their server keeps their key, as they are first claimed; and how long that is."""
    about_to_prune: list[str] = field(default_factory=list)
    """Failures that will be deleted in a day unless somebody acts; only where the app has asked for that."""
    more: bool = False
    """It stopped at the bound of one transaction: look again at once."""
    taken: int = 0
    """Lanes in which claims of other holders still run, as a drain begins."""
    recover_at: Millis | None = None
    """When the first of those claims can be recovered."""
    fresh_ms: Millis = PROBE_WAIT_MS
    """How long it believes what a server said of itself: not for long as a drain begins, longer while it goes on."""

    @property
    def jobs(self) -> list[Claimed]:
        return [claimed for lane in self.lanes for claimed in lane]

    def look_again(self, at: Millis) -> None:
        self.next_at = at if self.next_at is None else min(self.next_at, at)


def _tidying(
    who: Claimant, _limit: int, retention: Retention, now: Millis, _sending: frozenset[str] = NOTHING
) -> tuple[Read, ...]:
    return (*tidying(who.account, who.queue, retention, now), *first_looks(who))


def first_looks(who: Claimant) -> tuple[Read, ...]:
    """What a claim reads at first."""
    start = [who.account, who.queue]
    first = Get("jobs", KeyRange([*start, 0], [*start, ABOVE_ALL]), "ready")
    return GetAll("gates"), first, Get("queues", start)


@transaction(*STORES, durability="relaxed", ahead=_tidying)
def begin(
    who: Claimant, limit: int, retention: Retention, now: Millis, sending: frozenset[str] = NOTHING
) -> Steps[Claim]:
    """The first look of a drain that is `sending` nothing yet, or one when claims it had found have ended: tidy up, then claim."""
    tidied = yield from recover(
        who.account,
        who.queue,
        who.holder,
        who.lease_ms,
        sending,
        granted=who.granted,
        now=now,
    )
    yield from expire(who.account, now, tidied)
    yield from prune(who.account, who.queue, retention, now, tidied)
    yield from mend_waits(who.account, who.lock, who.lease_ms, now, tidied)
    found = Claim(next_at=tidied.next_at, changed=tidied.changed, about_to_prune=tidied.about_to_prune)
    found.taken, found.recover_at, found.fresh_ms = len(tidied.leased), tidied.recover_at, FLAGS_MS
    yield from _lease(who, limit - found.taken, now, found)
    return found


@transaction(*STORES, durability="relaxed", ahead=lambda who, _limit, _now: first_looks(who))
def claim(who: Claimant, limit: int, now: Millis) -> Steps[Claim]:
    """Lease the due heads of up to `limit` lanes."""
    found = Claim()
    yield from _lease(who, limit, now, found)
    return found


def look_behind(last: Record, who: Claimant, now: Millis) -> Steps[list[Claimed]]:
    """What may go straight after a job of ours that is being sent; nothing where another lane has anything that is due."""
    gates = Gates.of((yield GetAll("gates")))
    is_other_due = yield from _is_any_due(who, gates, now)
    if is_other_due or _must_wait(who, gates, last | {"ready_at": now}, now, Claim()):
        return []
    behind = yield from followers(who, last, None, gates, now)
    return [Claimed(record, payload, []) for record, payload in behind]


def claim_behind(behind: list[Claimed], who: Claimant, now: Millis) -> Steps[Claim]:
    """Lease what was found to be able to go."""
    found = Claim()
    if behind:
        yield Put("holders", _lease_of(who, now))
        yield from _take_all(who, behind, Gates.of((yield GetAll("gates"))), now, found)
    return found


def _is_any_due(who: Claimant, gates: Gates, now: Millis) -> Steps[bool]:
    """Whether the head of any lane wants a look: it is due, and not of a type that is paused."""
    start = [who.account, who.queue]
    lower: Key = [*start, 0]
    while (head := (yield Get("jobs", KeyRange(lower, [*start, ABOVE_ALL]), "ready"))) is not None:
        if head["ready_at"] <= now and not gates.paused(who.queue, head["type"]):
            return True
        lower = [*start, head["rank"], head["type"], ABOVE_ALL]
    return False


def _lease_of(who: Claimant, now: Millis) -> Record:
    return {"name": who.lock, "holder": who.holder, "until": now + who.lease_ms}


def _lease(who: Claimant, limit: int, now: Millis, found: Claim) -> Steps[None]:
    gates = Gates.of((yield GetAll("gates")))
    yield Put("holders", _lease_of(who, now))
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
    lower: Key = [*start, 0]
    ended = len(found.changed)
    due: list[Record] = []
    """The first head of each type of one priority that can go."""
    while len(found.lanes) < limit:
        if len(found.changed) - ended >= LIMIT:
            found.more = True
            return
        head = yield Get("jobs", KeyRange(lower, [*start, ABOVE_ALL]), "ready")
        if due and (head is None or head["rank"] != due[0]["rank"]):
            first = min(due, key=lambda record: (record["ready_at"], record["type"]))
            yield from _take(who, first, gates, now, found)
            lower, due = [*start, first["rank"]], []
        elif head is None:
            return
        elif _must_wait(who, gates, head, now, found):
            lower = [*start, head["rank"], head["type"], ABOVE_ALL]
        elif not (yield from _is_over(who, gates, head, now, found)):
            if len(who.origins) > 1:
                due.append(head)
                lower = [*start, head["rank"], head["type"], ABOVE_ALL]
            else:
                yield from _take(who, head, gates, now, found)


def _is_over(who: Claimant, gates: Gates, head: Record, now: Millis, found: Claim) -> Steps[bool]:
    """Whether this head can no longer be sent; it is ended or put aside, and its lane goes on."""
    origin = who.origins.get(head["type"])
    if origin is None:
        yield from _park(head, Reason.UNKNOWN_TYPE, now, found)
    elif head["expires_at"] is not None and head["expires_at"] <= now:
        yield from end_by_time(head, now)
        found.changed.append(head["id"])
    elif gates.has_forgotten(origin, head["unknown_since"], now):
        yield from _park(head, Reason.OUTCOME_UNKNOWN, now, found)
    else:
        return False
    return True


def _must_wait(who: Claimant, gates: Gates, head: Record, now: Millis, found: Claim) -> bool:
    """Whether no job of this head's priority and type can go now; notes when to look again, and at whom."""
    origin = who.origins.get(head["type"])
    if origin is None:  # made by a newer version of the app, which will send it; else it is over
        return bool(head["app_version"] > who.app_version)
    if gates.held(who.account) or gates.paused(who.queue, head["type"]):
        return True
    if head["ready_at"] > now:
        found.look_again(head["ready_at"])
        return True
    shut_until = gates.shut_until(origin, who.queue, head["type"], now)
    server = "" if origin == HERE else origin
    if (origin != HERE or shut_until is not None) and gates.wants_look(server, now, found.fresh_ms):
        found.look_at.add(server)
        return True
    if shut_until is not None:
        found.look_again(shut_until)
        found.shut.add(server)
    return shut_until is not None


def _note_long_life(who: Claimant, head: Record, gates: Gates, found: Claim) -> None:
    """A job that may still be waiting for an answer when the server has forgotten its key: said once, before it is sent."""
    origin = who.origins[head["type"]]
    key_lifetime_ms = None if origin == HERE else gates.key_lifetime_ms(origin)
    if head["fence"] or head["expires_at"] is None or key_lifetime_ms is None:
        return
    if head["expires_at"] - head["created_at"] > key_lifetime_ms:
        found.outlive_key.append((head["id"], key_lifetime_ms))


def _take(who: Claimant, head: Record, gates: Gates, now: Millis, found: Claim) -> Steps[None]:
    body = yield Get("bodies", head["id"])
    described = body["attachments"] if body else []
    handles = []
    if described:
        handles = yield GetAll("attachments", KeyRange([head["id"], 0], [head["id"], ABOVE_ALL]))
    if body is None or len(handles) != len(described):  # no half of a write is ever sent
        yield from _park(head, Reason.UNDECODABLE, now, found)
        return
    lane = [Claimed(head, body["payload"], list(zip(described, handles, strict=True)))]
    for record, payload in (yield from followers(who, head, body["payload"], gates, now)):
        lane.append(Claimed(record, payload, []))
    yield from _take_all(who, lane, gates, now, found)


def _take_all(who: Claimant, lane: list[Claimed], gates: Gates, now: Millis, found: Claim) -> Steps[None]:
    queue = yield from read_queue(who.account, who.queue)
    for number, claimed in enumerate(lane):
        record = claimed.record
        _note_long_life(who, record, gates, found)
        taken = move(record, queue, State.PROCESSING, None, now)
        taken |= {
            "fence": record["fence"] + 1,
            "holder": who.holder,
            "sign_ins": gates.sign_ins(who.account),
            "lease_until": now + who.lease_ms,
            "unknown_since": record["unknown_since"] if record["unknown_since"] is not None else now,
        }
        yield Put("jobs", taken)
        lane[number] = Claimed(taken, claimed.payload, claimed.attachments)
    yield Put("queues", queue)
    found.lanes.append(lane)


def _park(head: Record, reason: Reason, now: Millis, found: Claim) -> Steps[None]:
    """Put a head aside for a person to decide; its lane goes on."""
    queue = yield from read_queue(head["account"], head["queue"])
    parked = move(head, queue, State.FAILED, reason, now)
    yield from store(parked, queue)
    yield from promote(parked)
    found.changed.append(head["id"])
