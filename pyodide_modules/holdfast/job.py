"""The record of a job: how it is made, what of it is public, and the few facts that can be read off it.

Plain data (a JSON-safe dict), because it crosses from Python to IndexedDB. Moves live in `transactions/`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

from holdfast.lifecycle import State

if TYPE_CHECKING:
    from holdfast.ports import Attachment, Millis
    from holdfast.storage import Record

PRIORITIES = range(10)
LAST_RANK = max(PRIORITIES)
DEFAULT_PRIORITY = 5

PUBLIC_FIELDS = (
    "id",
    "key",
    "type",
    "queue",
    "lane",
    "priority",
    "account",
    "state",
    "reason",
    "attempts",
    "max_attempts",
    "run_at",
    "created_at",
    "updated_at",
    "expires_at",
    "said",
    "summary",
    "files",
    "seq",
)


@dataclass(frozen=True, slots=True)
class File:
    """An attachment on its way into the store."""

    field: str
    name: str
    media_type: str
    size: int
    handle: Attachment


@dataclass(frozen=True, slots=True)
class Draft:
    """A job before it is stored: the record, its body and its attachments."""

    record: Record
    body: Record
    files: tuple[File, ...]


def new_job(
    *,
    id: str,  # noqa: A002  (the field's word)
    key: str,
    type: str,  # noqa: A002  (the field's word)
    queue: str,
    account: str,
    payload: Any,
    files: tuple[File, ...] = (),
    summary: Record | None = None,
    lane: str | None = None,
    priority: int = DEFAULT_PRIORITY,
    delay_ms: Millis = 0,
    ttl_ms: Millis | None = None,
    max_attempts: int,
    halt: bool = False,
    payload_version: int = 1,
    app_version: int,
    now: Millis,
) -> Draft:
    """A pending job that joins its lane: the named one, its queue's lane for its priority, or one of its own if delayed."""
    record: Record = {
        "id": id,
        "key": key,
        "type": type,
        "queue": queue,
        "lane": lane,
        "lane_key": lane_key(id, lane, priority, delayed=delay_ms > 0),
        "priority": priority,
        "rank": LAST_RANK - priority,
        "account": account,
        "state": State.PENDING,
        "reason": None,
        "said": {},
        "summary": summary or {},
        "files": len(files),
        "attempts": 0,
        "max_attempts": max_attempts,
        "run_at": now + delay_ms,
        "wait_ms": delay_ms,
        "created_at": now,
        "updated_at": now,
        "expires_at": None if ttl_ms is None else now + ttl_ms,
        "fence": 0,
        "holder": "",
        "crashes": 0,
        "halt": halt,
        "no_receipts": 0,
        "unknown_since": None,
        "payload_version": payload_version,
        "app_version": app_version,
    }
    if ttl_ms is not None:
        record["expire_by"] = now + ttl_ms
    described = [{"field": f.field, "name": f.name, "type": f.media_type, "size": f.size} for f in files]
    return Draft(record, {"id": id, "payload": payload, "attachments": described}, files)


def another(draft: Draft) -> Draft:
    """The job of a write that came under the id of a job with other content: a new id and key, made of both.

    The same write makes the same id again, so that taking it in twice finds the job of the first time.
    """
    record = draft.record
    content = json.dumps([record["account"], record["type"], _content(draft.body)], sort_keys=True)
    id_, key = (str(uuid5(NAMESPACE_OID, f"{record[name]} {content}")) for name in ("id", "key"))
    own_lane = {"lane_key": f"!{id_}"} if record["lane_key"] == f"!{record['id']}" else {}
    return replace(draft, record=record | {"id": id_, "key": key} | own_lane, body=draft.body | {"id": id_})


def same_write(draft: Draft, record: Record, body: Record | None) -> bool | None:
    """Whether a stored job is that of this very write; None if nobody can tell.

    Where the content of a finished job was wiped its key says so: one key stands for one write.
    """
    if (record["account"], record["type"]) != (draft.record["account"], draft.record["type"]):
        return False
    if body is None:
        return True if record["key"] == draft.record["key"] else None
    return _content(body) == _content(json.loads(json.dumps(draft.body)))


def _content(body: Record) -> list[Any]:
    return [body["payload"], body["attachments"]]


def lane_key(job_id: str, lane: str | None, priority: int, *, delayed: bool) -> str:
    """The ordering key: `=name`, `#priority` for the queue's own lane, `!id` for a lane of its own."""
    if lane is not None:
        return f"={lane}"
    return f"!{job_id}" if delayed else f"#{priority}"


def public_row(record: Record) -> Record:
    """What everybody may see of a job."""
    return {name: record.get(name) for name in PUBLIC_FIELDS}


def may_have_arrived(record: Record) -> bool:
    """Whether a send has started whose end nobody knows."""
    return record["unknown_since"] is not None
