"""Setting aside what cannot be read: the raw record is kept as it was found, a sound one stands in its place, failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.lifecycle import ON_THE_WAY, STATES, Reason
from holdfast.soundness import damage_of, is_body, is_newer, saved_body, saved_record
from holdfast.storage import ABOVE_ALL, Count, Delete, Get, GetAll, KeyRange, Put, reading, transaction
from holdfast.transactions.lane import head_of, promote
from holdfast.transactions.moving import read_queue, remake_queue
from holdfast.upkeep import damage_of_queue, gate_anew, is_gate, is_lease, is_queue

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


@transaction("queues", "jobs", "quarantine", durability="strict")
def mend_queue(key: list[Any], now: Millis) -> Steps[None]:
    """Count a queue anew whose record cannot be read; the record is kept as it was found. Nothing if it is sound (again)."""
    record: Record | None = yield Get("queues", key)
    if record is None or is_queue(record):
        return
    yield from _keep_raw("queues", key, record, damage_of_queue(record), now)
    account, queue = key
    if not isinstance(account, str) or not isinstance(queue, str):
        yield Delete("queues", key)
        return
    yield from remake_queue(record)


@transaction("gates", "quarantine", durability="strict")
def mend_gate(name: Any, now: Millis) -> Steps[None]:
    """Put what is safe in the place of a gate that cannot be read; it is kept as it was found."""
    record: Record | None = yield Get("gates", name)
    if record is None or is_gate(record):
        return
    yield from _keep_raw("gates", name, record, [], now)
    anew = gate_anew(record, now)
    yield Delete("gates", name) if anew is None else Put("gates", anew)


@transaction("holders", durability="relaxed")
def mend_lease(name: Any) -> Steps[None]:
    """Forget a lease that cannot be read: nobody is known to hold that lock."""
    record: Record | None = yield Get("holders", name)
    if record is not None and not is_lease(record):
        yield Delete("holders", name)


def _keep_raw(store: str, key: Any, record: Record, damaged: list[str], now: Millis) -> Steps[None]:
    kept = {"id": f"{store} {key!r}", "found_at": now, "damaged": damaged, "record": record, "body": None}
    yield Put("quarantine", kept)


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
    if not is_queue(own):
        return  # whoever reads it next counts it anew
    if saved["reason"] == Reason.UNDECODABLE:
        own["failures"][Reason.UNDECODABLE] = own["failures"].get(Reason.UNDECODABLE, 0) + 1
    yield Put("queues", own)
    for queue in (yield GetAll("queues")):
        if not is_queue(queue):
            continue
        states = {}
        for state in STATES:
            span = [queue["account"], queue["queue"], state]
            states[state] = yield Count("jobs", KeyRange([*span, 0], [*span, ABOVE_ALL]), "oldest")
        yield Put("queues", queue | {"states": states})
