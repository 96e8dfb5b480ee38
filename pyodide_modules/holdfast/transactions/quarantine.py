"""Setting aside what cannot be read: the raw record is kept as it was found, a sound one stands in its place, failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.lifecycle import ON_THE_WAY, STATES, Reason
from holdfast.soundness import damage_of, is_body, is_newer, saved_body, saved_record
from holdfast.storage import ABOVE_ALL, Count, Delete, Get, GetAll, KeyRange, Put, reading, transaction
from holdfast.transactions.lane import head_of, promote
from holdfast.transactions.moving import read_queue

if TYPE_CHECKING:
    from holdfast.ports import Millis
from holdfast.storage import Record, Steps

AUDITED = 100
"""How many jobs of a state a visit reads."""


@transaction("jobs", "bodies", "queues", "quarantine", durability="strict")
def set_aside(job_id: Any, app_version: int, now: Millis) -> Steps[None]:
    """Take a damaged job out of the way of the others; nothing if it is sound (again).

    Its lane goes on, as after any failure, and the queues are counted anew.
    """
    record: Record | None = yield Get("jobs", job_id)
    while record is not None:
        saved = yield from _stand_in(record, now)
        if saved is None:
            return
        record = yield from head_of(saved)
        if record is None or not damage_of(record):
            yield from promote(saved)
            return
        if is_newer(record, app_version):
            return


@reading("queues", "jobs")
def audit() -> Steps[None]:
    """Read the jobs that wait for longest, and all if some are in no list: whoever reads a damaged one sets it aside."""
    listed = 0
    for account in sorted({queue["account"] for queue in (yield GetAll("queues"))}):
        for state in STATES:
            span = KeyRange([account, state, 0], [account, state, ABOVE_ALL])
            listed += yield Count("jobs", span, "list")
            if state in ON_THE_WAY:
                yield GetAll("jobs", span, "list", AUDITED)
    if listed != (yield Count("jobs")):
        yield GetAll("jobs")


@reading("quarantine")
def read_raw(job_id: str) -> Steps[Record | None]:
    """What was found where a job should have been: `record`, `body`, `damaged` (names of fields), `found_at`."""
    raw: Record | None = yield Get("quarantine", job_id)
    return raw


def _stand_in(record: Record, now: Millis) -> Steps[Record | None]:
    body = yield Get("bodies", record["id"])
    broken_body = body is not None and not is_body(body)
    damaged = damage_of(record) + ["body"] * broken_body
    if not damaged:
        return None
    saved = saved_record(record, damaged, now)
    yield Put("quarantine", {"id": saved["id"], "found_at": now, "damaged": damaged, "record": record, "body": body})
    if saved["id"] != record["id"]:
        yield Delete("jobs", record["id"])
    yield Put("jobs", saved)
    if broken_body:
        yield Put("bodies", saved_body(body))
    yield from _count_anew(saved)
    return saved


def _count_anew(saved: Record) -> Steps[None]:
    """Nobody knows where a damaged record was counted."""
    own = yield from read_queue(saved["account"], saved["queue"])
    if saved["reason"] == Reason.UNDECODABLE:
        own["failures"][Reason.UNDECODABLE] = own["failures"].get(Reason.UNDECODABLE, 0) + 1
    yield Put("queues", own)
    for queue in (yield GetAll("queues")):
        states = {}
        for state in STATES:
            span = [queue["account"], queue["queue"], state]
            states[state] = yield Count("jobs", KeyRange([*span, 0], [*span, ABOVE_ALL]), "oldest")
        yield Put("queues", queue | {"states": states})
