"""Whether a stored job or its body can be read at all, and what can be saved of one that cannot. Pure."""

from __future__ import annotations

from functools import lru_cache
from types import NoneType
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

from holdfast.job import DEFAULT_PRIORITY, LAST_RANK, PRIORITIES, lane_key
from holdfast.lifecycle import REASONS_OF, STATES, Reason, State

if TYPE_CHECKING:
    from holdfast.ports import Millis
    from holdfast.storage import Record

FIELDS: dict[str, frozenset[type]] = {
    name: frozenset(kinds)
    for kinds, names in {
        (str,): ("id", "key", "type", "queue", "lane_key", "account", "state", "holder"),
        (str, NoneType): ("lane", "reason"),
        (int,): (
            *("priority", "rank", "files", "attempts", "max_attempts", "run_at", "wait_ms", "created_at", "updated_at"),
            *("fence", "crashes", "no_receipts", "payload_version", "app_version", "seq"),
        ),
        (int, NoneType): ("expires_at", "unknown_since"),
        (dict,): ("said", "summary"),
        (bool,): ("halt",),
    }.items()
    for name in names
}
"""The types of what every record has."""
SPARSE = ("place", "ready_at", "lease_until", "expire_by", "sign_ins", "warned_at")
"""Whole numbers that a record has at times."""
NEEDED = {State.PENDING: ("place",), State.PROCESSING: ("place", "lease_until", "sign_ins")}
IDENTITY = frozenset({"id", "key", "type", "account", "payload_version", "body"})
"""What says which write it is, to whom and whose: without all of it nothing can be sent again."""


def damage_of(record: Record) -> list[str]:
    """The fields that a stored job should have and has not, or has with what cannot be there. Usually none."""
    wrong, numbers = _by_type(tuple(record), tuple(map(type, record.values())))
    damaged = list(wrong)
    if min(map(record.__getitem__, numbers), default=0) < 0:
        damaged += [name for name in numbers if record[name] < 0]
    # All that is wrong is named, since whatever is not named is kept as it is.
    if "priority" not in damaged and record["priority"] not in PRIORITIES:
        damaged.append("priority")
    elif {"priority", "rank"}.isdisjoint(damaged) and record["rank"] != LAST_RANK - record["priority"]:
        damaged.append("rank")
    if "state" in damaged or record["state"] not in STATES:
        return [*damaged, *({"state"} - set(damaged))]
    state = record["state"]
    damaged += [name for name in NEEDED.get(state, ()) if name not in record]
    if "reason" not in damaged and record["reason"] not in REASONS_OF[state]:
        damaged.append("reason")
    return damaged


@lru_cache(maxsize=100)
def _by_type(names: tuple[str, ...], kinds: tuple[type, ...]) -> tuple[list[str], list[str]]:
    """Of records with these fields of these types, which is nearly always known: the fields that are wrong or not there,
    and those that are a whole number, of which none is ever below zero.
    """
    given = dict(zip(names, kinds, strict=True))
    # By `type`: a truth value is no number.
    wrong = [name for name, expected in FIELDS.items() if given.get(name) not in expected]
    wrong += [name for name in SPARSE if given.get(name, int) is not int]
    return wrong, [name for name in (*FIELDS, *SPARSE) if given.get(name) is int and name not in wrong]


def is_newer(record: Record, app_version: int) -> bool:
    """Whether a newer version of the app has made it, whose records nobody older can judge."""
    made_by = record.get("app_version")
    return type(made_by) is int and made_by > app_version


def is_body(body: Any) -> bool:
    """Whether a stored body has what a body has."""
    described = body.get("attachments")
    return (
        "payload" in body
        and isinstance(described, list)
        and all(isinstance(one, dict) and {"field", "name", "type", "size"} <= one.keys() for one in described)
    )


def saved_record(record: Record, damaged: list[str], now: Millis) -> Record:
    """A job that can be read, from what is sound of one that cannot: failed as undecodable, unless it was over already."""
    sound = {name: record[name] for name in (*FIELDS, *SPARSE) if name in record and name not in damaged}
    saved = _defaults(record, now) | sound
    saved |= {"rank": LAST_RANK - saved["priority"], "updated_at": now, "holder": ""}
    if "lane_key" in damaged:  # the lane it was most likely in, so that it goes on
        saved["lane_key"] = lane_key(saved["id"], saved["lane"], saved["priority"], delayed=False)
    for name in ("ready_at", "lease_until", "expire_by"):
        saved.pop(name, None)
    over = saved["state"] in {State.COMPLETED, State.CANCELLED}
    if over or not saved["halt"]:
        saved.pop("place", None)
    if not over:
        saved |= {"state": State.FAILED, "reason": Reason.UNDECODABLE, "said": said_of(damaged)}
    elif "reason" in damaged:
        saved["reason"] = None if saved["state"] == State.COMPLETED else Reason.IN_FLIGHT
    return saved


def said_of(damaged: list[str]) -> Record:
    """What a person is told, in place of what a server would say."""
    return {"title": "The stored record cannot be read.", "detail": f"Damaged: {', '.join(damaged)}."}


def saved_body(body: Record) -> Record:
    """A body that can be read, with whatever payload there is; the bytes of its attachments stay where they are."""
    return {"id": body["id"], "payload": body.get("payload"), "attachments": []}


def _defaults(record: Record, now: Millis) -> Record:
    id_ = f"damaged {record['id']!r}"
    return {
        "id": id_,
        "key": str(uuid5(NAMESPACE_OID, id_)),
        "type": "unknown",
        "queue": "default",
        "lane": None,
        "lane_key": "",
        "priority": DEFAULT_PRIORITY,
        "rank": LAST_RANK - DEFAULT_PRIORITY,
        "account": "",
        "state": State.FAILED,
        "reason": Reason.UNDECODABLE,
        "said": {},
        "summary": {},
        "files": 0,
        "attempts": 0,
        "max_attempts": 1,
        "run_at": now,
        "wait_ms": 0,
        "created_at": now,
        "updated_at": now,
        "expires_at": None,
        # Higher than any it can have had, so that none is used twice.
        "fence": now,
        "holder": "",
        "crashes": 0,
        "halt": False,
        "no_receipts": 0,
        # It may have been sent.
        "unknown_since": now,
        "payload_version": 1,
        "app_version": 1,
        "seq": 0,
    }
