"""What a person does to a job: retry it, cancel it, replace it by a corrected one. Strict: they are told that it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import ActionRefusedError, JobNotFoundError, Obstacle
from holdfast.gates import Gates, breaker_name, hold_name, left_name
from holdfast.job import may_have_arrived
from holdfast.lifecycle import REDRIVABLE, Reason, State
from holdfast.soundness import IDENTITY
from holdfast.storage import ABOVE_ALL, Delete, Get, GetAll, KeyRange, Put, transaction
from holdfast.transactions.enqueue import identify, insert
from holdfast.transactions.lane import head_of, promote
from holdfast.transactions.leaving import forget
from holdfast.transactions.moving import move, read_queue, store
from holdfast.transactions.tidy import CRASHES

if TYPE_CHECKING:
    from holdfast.job import Draft
    from holdfast.ports import Millis
    from holdfast.storage import Record, Steps

VISIT_LIMIT = 100
STORES = ("jobs", "bodies", "attachments", "queues", "gates", "quarantine")


@transaction(*STORES, durability="strict")
def retry(account: str, job_id: str, origin: str, now: Millis, *, accept_duplicate: bool) -> Steps[Record]:
    """Send it again: a waiting head at once, an ended one from the end of its lane, under the same id and key.

    Raises:
        ActionRefusedError: it is being sent, waits behind another, is held, or may be done twice by a repeat.
    """
    record = yield from _find(account, job_id)
    if record["state"] == State.PENDING:
        return (yield from _hurry(record, origin, now))
    if record["state"] not in REDRIVABLE:
        raise ActionRefusedError(_ended(record), f"Job {job_id!r} is {record['state']}; there is nothing to retry.")
    if record["reason"] == Reason.OUTCOME_UNKNOWN and not accept_duplicate:
        raise ActionRefusedError(
            Obstacle.MAY_HAVE_ARRIVED,
            f"Job {job_id!r} may have arrived, and the server can no longer tell a repeat from a new one. "
            "Look whether it is there; to send it all the same, retry with accept_duplicate.",
        )
    if record["reason"] == Reason.UNDECODABLE:
        raw = yield Get("quarantine", job_id)
        if raw is not None and not IDENTITY.isdisjoint(raw["damaged"]):
            raise ActionRefusedError(
                Obstacle.DAMAGED,
                f"Too much of job {job_id!r} was damaged ({', '.join(raw['damaged'])}) to send it again. "
                "Export it, and enter it anew if the server has not got it.",
            )
    queue = yield from read_queue(account, record["queue"])
    fresh = {"attempts": 0, "no_receipts": 0, "crashes": 0, "run_at": now, "wait_ms": 0, "expires_at": None}
    if record["reason"] == Reason.OUTCOME_UNKNOWN:
        fresh["unknown_since"] = None
    again = move(record | fresh, queue, State.PENDING, None, now)
    if "place" not in again:  # the lane went on without it; one that halted its lane kept its place
        queue["last_place"] += 1
        again["place"] = queue["last_place"]
    yield from store(again, queue)
    yield from promote(again)
    yield from _look_now(origin, now)
    return again


@transaction(*STORES, durability="strict")
def cancel(account: str, job_id: str, now: Millis) -> Steps[Record]:
    """End it for good. What has been handed to the network may have arrived all the same; the reason says so.

    Raises:
        ActionRefusedError: it is over already.
    """
    record = yield from _find(account, job_id)
    if record["state"] in {State.COMPLETED, State.CANCELLED}:
        raise ActionRefusedError(Obstacle.OVER, f"Job {job_id!r} is {record['state']}; there is nothing to cancel.")
    queue = yield from read_queue(account, record["queue"])
    reason = Reason.IN_FLIGHT if may_have_arrived(record) else Reason.BY_PERSON
    cancelled = move(record, queue, State.CANCELLED, reason, now)
    yield from store(cancelled, queue)
    yield from forget([cancelled])
    yield from promote(cancelled)
    return cancelled


@transaction(*STORES, durability="strict")
def edit(account: str, job_id: str, draft: Draft, now: Millis) -> Steps[Record]:
    """Put a corrected job in the place of an old one, which is cancelled: new id, new key, one commit. A repeat finds it done.

    Raises:
        ActionRefusedError: the old one is being sent or over, or nobody knows whether it has arrived.
    """
    draft, is_new, _ = yield from identify(draft)
    if not is_new:
        return draft.record
    record = yield from _find(account, job_id)
    if record["state"] in {State.PROCESSING, State.COMPLETED, State.CANCELLED}:
        raise ActionRefusedError(_ended(record), f"Job {job_id!r} is {record['state']}; it can no longer be edited.")
    if may_have_arrived(record):
        raise ActionRefusedError(
            Obstacle.MAY_HAVE_ARRIVED,
            f"Job {job_id!r} has been handed to the network and no answer came, so it may have arrived. "
            "Editing would send a second one. Retry it until the answer is known, or cancel it.",
        )
    # A place counts in its own lane only: a delayed job's early one must not jump the queue's.
    place = record.get("place") if draft.record["lane_key"] == record["lane_key"] else None
    queue = yield from read_queue(account, record["queue"])
    cancelled = move(record, queue, State.CANCELLED, Reason.REPLACED, now)
    yield from store(cancelled, queue)
    yield from forget([cancelled])
    yield from insert(draft, queue, place)
    yield from promote(draft.record)
    yield from promote(cancelled)
    return draft.record


@transaction(*STORES, durability="relaxed")
def visit(account: str, now: Millis) -> Steps[list[str]]:
    """A person is here: what was put aside for taking its context down is tried once more, a held account once.

    Returns the ids of the jobs that go again.
    """
    yield Delete("gates", hold_name(account))
    yield Delete("gates", left_name(account))  # a sign-in that a full device did not store
    span = KeyRange([account, Reason.CRASHED, 0], [account, Reason.CRASHED, ABOVE_ALL])
    again: list[str] = []
    for record in (yield GetAll("jobs", span, "reasons", VISIT_LIMIT)):
        queue = yield from read_queue(account, record["queue"])
        moved = move(record, queue, State.PENDING, None, now) | {"run_at": now, "wait_ms": 0, "crashes": CRASHES - 1}
        if "place" not in moved:
            queue["last_place"] += 1
            moved["place"] = queue["last_place"]
        yield from store(moved, queue)
        yield from promote(moved)
        again.append(record["id"])
    return again


def _find(account: str, job_id: str) -> Steps[Record]:
    record: Record | None = yield Get("jobs", job_id)
    if record is None or record["account"] != account:
        raise JobNotFoundError(job_id)
    return record


def _ended(record: Record) -> Obstacle:
    return Obstacle.BEING_SENT if record["state"] == State.PROCESSING else Obstacle.OVER


def _hurry(record: Record, origin: str, now: Millis) -> Steps[Record]:
    """A waiting head goes at once; nobody jumps a lane."""
    head = yield from head_of(record)
    if head is not None and head["id"] != record["id"]:
        raise ActionRefusedError(
            Obstacle.NOT_ITS_TURN,
            f"Job {record['id']!r} waits behind {head['id']!r} in its lane; retry that one.",
        )
    gates = Gates.of((yield GetAll("gates")))
    if gates.held(record["account"]):
        raise ActionRefusedError(
            Obstacle.SIGN_IN, "The server wants this account to sign in first; then it goes by itself."
        )
    if gates.paused(record["queue"], record["type"]):
        raise ActionRefusedError(
            Obstacle.PAUSED, "Jobs of this kind are paused; resume them, then they go by themselves."
        )
    if gates.switched_off(origin, record["queue"], record["type"]):
        raise ActionRefusedError(
            Obstacle.SWITCHED_OFF, "The server has asked to send nothing of this kind for now; it goes when that ends."
        )
    hurried = record | {"run_at": now, "wait_ms": 0, "ready_at": now, "updated_at": now}
    yield Put("jobs", hurried)
    yield from _look_now(origin, now)
    return hurried


def _look_now(origin: str, now: Millis) -> Steps[None]:
    """An open breaker looks at the server again at once."""
    breaker = yield Get("gates", breaker_name(origin))
    if breaker is not None:
        yield Put("gates", breaker | {"open_until": now, "wait_ms": 0})
