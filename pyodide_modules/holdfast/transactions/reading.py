"""What can be looked at: a page of jobs, one job with its body, the counters, the next time something can go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.lifecycle import UNSENT, State
from holdfast.storage import ABOVE_ALL, Get, GetAll, KeyRange, transaction

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.ports import Attachment
    from holdfast.storage import Record, Steps


@transaction("jobs", "gates", durability="relaxed")
def list_jobs(account: str, states: Iterable[State], limit: int) -> Steps[tuple[list[Record], list[Record]]]:
    """Up to `limit` jobs of each state, the last changed ones, and all gates."""
    found: list[Record] = []
    for state in states:
        span = KeyRange([account, state, 0], [account, state, ABOVE_ALL])
        found += yield GetAll("jobs", span, "list", limit, newest_first=True)
    gates = yield GetAll("gates")
    return found, gates


@transaction("jobs", "bodies", "attachments", "gates", durability="relaxed")
def read_job(account: str, job_id: str) -> Steps[tuple[Record, Record, list[Attachment], list[Record]] | None]:
    """One job with its body, its attachments' handles and all gates."""
    record: Record | None = yield Get("jobs", job_id)
    if record is None or record["account"] != account:
        return None
    body = yield Get("bodies", job_id)
    handles = []
    if body and body["attachments"]:
        handles = yield GetAll("attachments", KeyRange([job_id, 0], [job_id, len(body["attachments"])]))
    gates = yield GetAll("gates")
    return record, body or {"id": job_id, "payload": None, "attachments": []}, handles, gates


@transaction("queues", "jobs", durability="relaxed")
def read_stats(account: str) -> Steps[tuple[list[Record], int | None]]:
    """The counters of all queues of an account, and when its oldest unsent job was made."""
    queues = yield GetAll("queues", KeyRange([account, ""], [account, ABOVE_ALL]))
    oldest: int | None = None
    for queue in queues:
        for state in UNSENT:
            if not queue["states"].get(state):
                continue
            span = [account, queue["queue"], state]
            first = yield Get("jobs", KeyRange([*span, 0], [*span, ABOVE_ALL]), "oldest")
            if first is not None and (oldest is None or first["created_at"] < oldest):
                oldest = first["created_at"]
    return queues, oldest
