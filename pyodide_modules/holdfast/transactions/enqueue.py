"""Taking a job in: the record, its body and its attachments in one strict transaction, at the end of its lane."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from holdfast.errors import HoldfastError, InvalidOptionError, QueueFullError
from holdfast.gates import Gates
from holdfast.job import another, same_write
from holdfast.lifecycle import ON_THE_WAY, Reason, State, check_move
from holdfast.soundness import said_of
from holdfast.storage import Get, GetAll, Joint, Part, Put, Transaction, reading, transaction
from holdfast.transactions.lane import head_of, whole_lane
from holdfast.transactions.leaving import forget
from holdfast.transactions.moving import count_in, read_queue, store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.job import Draft
    from holdfast.storage import Durability, Proviso, Read, Record, Steps


class Stored(NamedTuple):
    """A job that is stored."""

    id: str
    key: str
    kept_back: bool = False
    """Until a pause or a hold ends, which is a wake of its own, there is nothing to look at the queue for."""


STORES = ("jobs", "bodies", "attachments", "queues")


@dataclass(slots=True)
class Arrival:
    """A job to take in."""

    draft: Draft
    depth: int | None
    is_new: bool
    """It cannot be there: its id was made a moment ago, and nobody has heard of it. At the first try only, since a commit that
    was taken for lost may have been done.
    """

    def is_still_new(self) -> bool:
        is_new, self.is_new = self.is_new, False
        return is_new


def enqueue(
    draft: Draft, depth: int | None = None, *, is_new: bool = False, provided: tuple[Proviso, ...] = ()
) -> Transaction[Stored]:
    """Store a job unless it is there already: a repeated submit is the same job, other content a new one.

    `is_new` says that it cannot be there: its id was made a moment ago, and nobody has heard of it.

    Raises:
        QueueFullError: the queue holds `depth` jobs on their way already.
        NotUniqueError: another job has its key.
        InvalidOptionError: its id is that of a job whose content was wiped, so that nobody can tell whether it is the same.
    """
    return _enqueue(Arrival(draft, depth, is_new), "strict", provided)


def enqueue_relaxed(
    draft: Draft, depth: int | None = None, *, is_new: bool = False, provided: tuple[Proviso, ...] = ()
) -> Transaction[Stored]:
    """The same without waiting for the disk, for many cheap jobs; a power cut may lose the last of them."""
    return _enqueue(Arrival(draft, depth, is_new), "relaxed", provided)


def _enqueue(arrival: Arrival, durability: Durability, provided: tuple[Proviso, ...]) -> Transaction[Stored]:
    part = Part(_JOINT, arrival)
    return Transaction("enqueue", (*STORES, "gates"), durability, part, part.ahead, provided)


def _first_reads(arrivals: Sequence[Arrival]) -> tuple[Read, ...]:
    known: list[Read] = []
    queues: dict[tuple[str, ...], Read] = {}
    lanes: dict[tuple[str, ...], Read] = {}
    for arrival in arrivals:
        record = arrival.draft.record
        queue = record["account"], record["queue"]
        if not arrival.is_new:
            known.append(Get("jobs", record["id"]))
        queues.setdefault(queue, Get("queues", [*queue]))
        lanes.setdefault((*queue, record["lane_key"]), Get("jobs", whole_lane(record), "lanes"))
    return *known, *queues.values(), *lanes.values(), GetAll("gates")


def _take_in(arrivals: Sequence[Arrival]) -> Steps[list[Stored | HoldfastError]]:
    """What they share is read and written once: the gates, their queues' records, the heads of their lanes.

    One that is refused does not hold up the others: its error is its result.
    """
    taken: list[Stored | HoldfastError] = []
    queues: dict[tuple[str, str], Record] = {}
    headed: set[tuple[str, str, str]] = set()
    gates: Gates | None = None
    for arrival in arrivals:
        try:
            draft, is_new = yield from _looked_up(arrival)
        except InvalidOptionError as refused:
            taken.append(refused)
            continue
        job = draft.record
        if not is_new:
            taken.append(Stored(job["id"], job["key"]))
            continue
        name, lane = (job["account"], job["queue"]), (job["account"], job["queue"], job["lane_key"])
        queue = queues.get(name)
        if queue is None:
            queue = queues[name] = yield from read_queue(*name)
        if arrival.depth is not None and sum(queue["states"].get(each, 0) for each in ON_THE_WAY) >= arrival.depth:
            taken.append(QueueFullError(job["queue"], arrival.depth))
            continue
        record = _placed(draft, queue)
        if lane not in headed:
            headed.add(lane)
            if (yield from head_of(record)) is None:
                record["ready_at"] = record["run_at"]
        yield from _store(draft, record)
        if gates is None:
            gates = Gates.of((yield GetAll("gates")))
        shut = gates.held(job["account"]) or gates.paused(job["queue"], job["type"])
        taken.append(Stored(job["id"], job["key"], kept_back=shut and job["expires_at"] is None))
    for queue in queues.values():
        yield Put("queues", queue)
    return taken


def _looked_up(arrival: Arrival) -> Steps[tuple[Draft, bool]]:
    """The job as it is to be stored, and whether it is new."""
    if arrival.is_still_new():
        return arrival.draft, True
    draft, is_new, is_certain = yield from identify(arrival.draft)
    if not is_certain:
        raise InvalidOptionError(
            f"The id {arrival.draft.record['id']!r} is that of a job whose content was wiped, and nobody can tell whether this "
            "is the same write. Leave the id out if it is another one; name the key of that job too if it is the same."
        )
    return draft, is_new


_JOINT = Joint(_take_in, _first_reads)


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
        yield from _store(draft, record | {"said": said})
        yield Put("queues", queue)
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
    record = _placed(draft, queue, place)
    head = yield from head_of(record)
    if head is None or record["place"] < head["place"]:
        record["ready_at"] = record["run_at"]
    yield from _store(draft, record)
    yield Put("queues", queue)


def _placed(draft: Draft, queue: Record, place: int | None = None) -> Record:
    queue["last_place"] += 1
    count_in(queue, State.PENDING)
    last = queue["last_place"]
    return draft.record | {"seq": last, "place": last if place is None else place}


def _store(draft: Draft, record: Record) -> Steps[None]:
    yield Put("jobs", record)
    yield Put("bodies", draft.body)
    for number, file in enumerate(draft.files):
        yield Put("attachments", file.handle, [record["id"], number])
