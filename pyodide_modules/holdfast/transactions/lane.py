"""Lanes: who is first, and that only the first one is in the index of what can be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.lifecycle import State
from holdfast.storage import ABOVE_ALL, Get, KeyRange, Put

if TYPE_CHECKING:
    from holdfast.storage import Record, Steps


def whole_lane(record: Record) -> KeyRange:
    """The range of a lane in the index `lanes`."""
    start = [record["account"], record["queue"], record["lane_key"]]
    return KeyRange([*start, 0], [*start, ABOVE_ALL])


def head_of(record: Record) -> Steps[Record | None]:
    """The first job of this job's lane."""
    head: Record | None = yield Get("jobs", whole_lane(record), "lanes")
    return head


def promote(record: Record) -> Steps[None]:
    """Put the lane's first job into the index of what can be sent, if it is free to go. Idempotent."""
    head = yield from head_of(record)
    if head is None or head["state"] != State.PENDING:
        return
    if head.get("ready_at") != head["run_at"]:
        yield Put("jobs", head | {"ready_at": head["run_at"]})
