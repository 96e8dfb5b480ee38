"""The one place where a job changes state: the move is checked, sparse index fields follow, and the counters are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.histogram import add
from holdfast.lifecycle import REDRIVABLE, STATES, Reason, State, check_move
from holdfast.storage import ABOVE_ALL, Get, GetAll, KeyRange, Put
from holdfast.upkeep import queue_anew

if TYPE_CHECKING:
    from holdfast.ports import Millis
    from holdfast.storage import Record, Steps


def read_queue(account: str, queue: str) -> Steps[Record]:
    """The queue's own record: its last place, and counters that survive restart and pruning.

    A queue has none before its first job. One that has jobs and lost its record gets it back, or the next job would be given
    a place before theirs.
    """
    found: Record | None = yield Get("queues", [account, queue])
    if found is not None:
        return found
    first = yield Get("jobs", KeyRange([account, queue], [account, queue, ABOVE_ALL]), "oldest")
    if first is None:
        return queue_anew({"account": account, "queue": queue}, {}, 0)
    return (yield from remake_queue({"account": account, "queue": queue}))


def remake_queue(record: Record) -> Steps[Record]:
    """Store a queue's record as its jobs say that it should be, with what is sound of the one there was."""
    account, queue = record["account"], record["queue"]
    states: dict[str, int] = {}
    last_place = 0
    for state in STATES:
        jobs = yield GetAll("jobs", KeyRange([account, queue, state, 0], [account, queue, state, ABOVE_ALL]), "oldest")
        states[state] = len(jobs)
        places = [job.get(name) for job in jobs for name in ("seq", "place")]
        last_place = max([last_place, *(place for place in places if type(place) is int)])
    anew = queue_anew(record, states, last_place)
    yield Put("queues", anew)
    return anew


def count_in(queue: Record, state: State) -> None:
    """One more job in this state."""
    queue["states"][state] = queue["states"].get(state, 0) + 1


def count_out(queue: Record, state: State) -> None:
    """One job less. Below none is a count that was damaged: whoever reads it next counts anew (guard.py)."""
    queue["states"][state] = queue["states"].get(state, 0) - 1


def move(record: Record, queue: Record, state: State, reason: Reason | None, now: Millis) -> Record:
    """The record after a move; `queue` is counted along. The caller stores both and promotes the lane.

    Raises:
        IllegalMoveError: nothing was changed.
    """
    before = State(record["state"])
    check_move(record["id"], before, state, reason)
    moved = record | {"state": state, "reason": reason, "updated_at": now, "holder": ""}
    for field in ("ready_at", "lease_until", "expire_by", "warned_at"):
        moved.pop(field, None)
    if state not in {State.PENDING, State.PROCESSING} and not (record["halt"] and state in REDRIVABLE):
        moved.pop("place", None)
    if state is State.PENDING and record["expires_at"] is not None:
        moved["expire_by"] = record["expires_at"]
    count_out(queue, before)
    count_in(queue, state)
    if state is State.FAILED and reason is not None:
        queue["failures"][reason] = queue["failures"].get(reason, 0) + 1
    if state is State.COMPLETED:
        queue["last_received_at"] = now
        add(queue["latency"], now - record["created_at"])
    return moved


def store(record: Record, queue: Record) -> Steps[None]:
    """Write what `move` made."""
    yield Put("jobs", record)
    yield Put("queues", queue)
