"""Taking a job in: the record, its body and its attachments in one strict transaction, at the end of its lane."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from holdfast.errors import InvalidOptionError, QueueFullError
from holdfast.gates import Gates
from holdfast.job import another, same_write
from holdfast.lifecycle import ON_THE_WAY, Reason, State, check_move
from holdfast.soundness import said_of
from holdfast.storage import Get, GetAll, Put, reading, transaction
from holdfast.transactions.lane import head_of, whole_lane
from holdfast.transactions.leaving import forget
from holdfast.transactions.moving import count_in, read_queue, store

if TYPE_CHECKING:
    from holdfast.job import Draft
    from holdfast.storage import Read, Record, Steps


class Stored(NamedTuple):
    """A job that is stored."""

    id: str
    key: str
    kept_back: bool = False
    """Until a pause or a hold ends, which is a wake of its own, there is nothing to look at the queue for."""


STORES = ("jobs", "bodies", "attachments", "queues")


def _first_reads(draft: Draft, _depth: int | None = None, *, is_new: bool = False) -> tuple[Read, ...]:
    record = draft.record
    known = () if is_new else (Get("jobs", record["id"]),)
    queue = Get("queues", [record["account"], record["queue"]])
    return *known, queue, Get("jobs", whole_lane(record), "lanes"), GetAll("gates")


@transaction(*STORES, "gates", durability="strict", ahead=_first_reads)
def enqueue(draft: Draft, depth: int | None = None, *, is_new: bool = False) -> Steps[Stored]:
    """Store a job unless it is there already: a repeated submit is the same job, other content a new one.

    `is_new` says that it cannot be there: its id was made a moment ago, and nobody has heard of it.

    Raises:
        QueueFullError: the queue holds `depth` jobs on their way already.
        NotUniqueError: another job has its key.
        InvalidOptionError: its id is that of a job whose content was wiped, so that nobody can tell whether it is the same.
    """
    return (yield from _enqueue(draft, depth, is_new=is_new))


@transaction(*STORES, "gates", durability="relaxed", ahead=_first_reads)
def enqueue_relaxed(draft: Draft, depth: int | None = None, *, is_new: bool = False) -> Steps[Stored]:
    """The same without waiting for the disk, for many cheap jobs; a power cut may lose the last of them."""
    return (yield from _enqueue(draft, depth, is_new=is_new))


def _enqueue(draft: Draft, depth: int | None, *, is_new: bool) -> Steps[Stored]:
    given, is_certain = draft.record["id"], True
    if not is_new:
        draft, is_new, is_certain = yield from identify(draft)
    if not is_certain:
        raise InvalidOptionError(
            f"The id {given!r} is that of a job whose content was wiped, and nobody can tell whether this is the same write. "
            "Leave the id out if it is another one; name the key of that job too if it is the same."
        )
    record = draft.record
    if not is_new:
        return Stored(record["id"], record["key"])
    queue = yield from read_queue(record["account"], record["queue"])
    if depth is not None and sum(queue["states"].get(state, 0) for state in ON_THE_WAY) >= depth:
        raise QueueFullError(record["queue"], depth)
    yield from insert(draft, queue)
    gates = Gates.of((yield GetAll("gates")))
    shut = gates.held(record["account"]) or gates.paused(record["queue"], record["type"])
    return Stored(record["id"], record["key"], kept_back=shut and record["expires_at"] is None)


@reading("jobs", "bodies")
def look_up(draft: Draft) -> Steps[tuple[Draft, bool]]:
    """The job as it would be stored now, and whether it is new; if it is not, with the key it was stored with."""
    draft, is_new, _ = yield from identify(draft)
    return draft, is_new


def identify(draft: Draft) -> Steps[tuple[Draft, bool, bool]]:
    """The job as it is to be stored, and whether it is new; if it is not, with the key it was stored with.

    And whether that is certain: it is not where the content of a job under its id was wiped.
    """
    is_certain = True
    while True:
        known = yield Get("jobs", draft.record["id"])
        if known is None:
            return draft, True, is_certain
        body = yield Get("bodies", draft.record["id"])
        is_same = same_write(draft, known, body)
        if is_same:
            return replace(draft, record=known), False, is_certain
        is_certain = is_certain and is_same is not None
        draft = another(draft)


@transaction(*STORES, durability="strict")
def enqueue_invalid(draft: Draft, violations: list[dict[str, str]]) -> Steps[Stored]:
    """Store a submission that breaks its form's rules as `failed: invalid`, so that a person can correct it."""
    return (yield from _insert_failed(draft, Reason.INVALID, {"errors": violations}))


@transaction(*STORES, durability="strict")
def enqueue_unknown(draft: Draft) -> Steps[Stored]:
    """Store a submission whose type this app does not know, for a person or a newer version to decide."""
    return (yield from _insert_failed(draft, Reason.UNKNOWN_TYPE, {}))


@transaction(*STORES, "quarantine", durability="strict")
def enqueue_undecodable(draft: Draft, found: Record, damaged: list[str]) -> Steps[Stored]:
    """Store a submission that cannot be read as a failed job, and in quarantine as it was found: nobody waits behind it."""
    stored = yield from _insert_failed(draft, Reason.UNDECODABLE, said_of(damaged))
    found_at = draft.record["created_at"]
    yield Put("quarantine", {"id": stored[0], "found_at": found_at, "damaged": damaged, "record": found, "body": None})
    return stored


@transaction("jobs", "bodies", "attachments", "queues", "gates", "quarantine", durability="strict")
def enqueue_cancelled(draft: Draft) -> Steps[Stored]:
    """Store that a submission was cancelled before it was taken in, without its content: nobody takes it in any more."""
    draft, is_new, _ = yield from identify(draft)
    if is_new:
        record, queue = yield from _ended(draft, State.CANCELLED, Reason.BY_PERSON)
        yield from store(record, queue)
        yield from forget([record])
    return Stored(draft.record["id"], draft.record["key"])


def _insert_failed(draft: Draft, reason: Reason, said: Record) -> Steps[Stored]:
    draft, is_new, _ = yield from identify(draft)
    if is_new:
        record, queue = yield from _ended(draft, State.FAILED, reason)
        queue["failures"][reason] = queue["failures"].get(reason, 0) + 1
        yield from _store(draft, record | {"said": said}, queue)
    return Stored(draft.record["id"], draft.record["key"])


def _ended(draft: Draft, state: State, reason: Reason) -> Steps[tuple[Record, Record]]:
    """The record of a job that never waits for its lane, and its queue's, counted along."""
    check_move(draft.record["id"], State.PENDING, state, reason)
    record = draft.record | {"state": state, "reason": reason}
    record.pop("expire_by", None)
    queue = yield from read_queue(record["account"], record["queue"])
    queue["last_place"] += 1
    record["seq"] = queue["last_place"]
    count_in(queue, state)
    return record, queue


def insert(draft: Draft, queue: Record, place: int | None = None) -> Steps[None]:
    """Give the job a place in its lane (the last one, or the one it takes over) and store it; `queue` is counted along."""
    record = dict(draft.record)
    queue["last_place"] += 1
    record["seq"] = queue["last_place"]
    if place is None:
        place = queue["last_place"]
    head = yield from head_of(record)
    record["place"] = place
    if head is None or place < head["place"]:
        record["ready_at"] = record["run_at"]
    count_in(queue, State.PENDING)
    yield from _store(draft, record, queue)


def _store(draft: Draft, record: Record, queue: Record) -> Steps[None]:
    yield Put("jobs", record)
    yield Put("bodies", draft.body)
    for number, file in enumerate(draft.files):
        yield Put("attachments", file.handle, [record["id"], number])
    yield Put("queues", queue)
