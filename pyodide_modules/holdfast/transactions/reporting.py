"""What a device reports of its queues: counters and a few first records of all its accounts together, and when it last did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.gates import Gates
from holdfast.lifecycle import REDRIVABLE, UNSENT, State
from holdfast.moments import is_recent
from holdfast.storage import ABOVE_ALL, Get, GetAll, KeyRange, Put, transaction

if TYPE_CHECKING:
    from holdfast.ports import Millis
    from holdfast.storage import Record, Steps

NAME = "report"
EVERY_MS = 300_000
"""The least time between two reports of a device, whatever becomes of them."""


@transaction("queues", "jobs", "gates", "meta", durability="relaxed")
def take_report(fresh_id: str, now: Millis) -> Steps[dict[str, Any] | None]:
    """The report that is due, noted as made; None if none is: too soon, nothing new, or the server is not to be asked.

    As long as something is unsent its age is news. `fresh_id` names a device that has not reported before. Members:
    `client`, `depth` (unsent jobs), `retries` (so far), `oldest_pending_age_ms`, `permanent_failures` (jobs put aside for
    a person).
    """
    gates = Gates.of((yield GetAll("gates")))
    if gates.breaker("") is not None or gates.all_off(""):
        return None
    last: Record | None = yield Get("meta", NAME)
    if last is not None and is_recent(last["reported_at"], now, EVERY_MS):
        return None
    queues = yield GetAll("queues")
    depth = sum(_number(queue, UNSENT) for queue in queues)
    retries = sum(queue["retries"] for queue in queues)
    failures = sum(_number(queue, REDRIVABLE) for queue in queues)
    seen = [depth, retries, failures, max((queue["last_received_at"] or 0 for queue in queues), default=0)]
    if not depth and seen == (last["seen"] if last else [0, 0, 0, 0]):
        return None
    oldest_at = yield from _oldest_pending_at(queues)
    client = last["client"] if last else fresh_id
    yield Put("meta", {"name": NAME, "client": client, "reported_at": now, "seen": seen})
    return {
        "client": client,
        "depth": depth,
        "retries": retries,
        "oldest_pending_age_ms": 0 if oldest_at is None else max(0, now - oldest_at),
        "permanent_failures": failures,
    }


def _number(queue: Record, states: frozenset[State]) -> int:
    return sum(queue["states"].get(state, 0) for state in states)


def _oldest_pending_at(queues: list[Record]) -> Steps[Millis | None]:
    oldest: list[Millis] = []
    for queue in queues:
        if queue["states"].get(State.PENDING):
            span = [queue["account"], queue["queue"], State.PENDING]
            first = yield Get("jobs", KeyRange([*span, 0], [*span, ABOVE_ALL]), "oldest")
            if first is not None:
                oldest.append(first["created_at"])
    return min(oldest, default=None)
