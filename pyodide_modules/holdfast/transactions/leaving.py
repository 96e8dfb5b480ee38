"""Signing out: from that commit until its account signs in again, what is finished of it holds no content."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.gates import Gates, left_name
from holdfast.lifecycle import UNSENT, State
from holdfast.storage import ABOVE_ALL, Delete, GetAll, KeyRange, Put, transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.storage import Record, Steps


@transaction("jobs", "bodies", "attachments", "queues", "gates", "quarantine", durability="strict")
def leave(account: str) -> Steps[int]:
    """Remove what finished jobs of an account hold, now and as they finish; returns how many of its jobs are unsent.

    Those are left alone. Nobody, '', never leaves.
    """
    if account:
        yield Put("gates", {"name": left_name(account)})
    for state in (State.COMPLETED, State.CANCELLED):
        span = KeyRange([account, state, 0], [account, state, ABOVE_ALL])
        for record in (yield GetAll("jobs", span, "list")):
            yield from _wipe(record)
    queues = yield GetAll("queues", KeyRange([account, ""], [account, ABOVE_ALL]))
    return sum(queue["states"].get(state, 0) for queue in queues for state in UNSENT)


def forget(finished: Sequence[Record]) -> Steps[None]:
    """Of jobs that have just finished, wipe those of an account that has left: in the same commit."""
    if not finished:
        return
    gates = Gates.of((yield GetAll("gates")))
    for record in finished:
        if gates.has_left(record["account"]):
            yield from _wipe(record)


def _wipe(record: Record) -> Steps[None]:
    yield Put("jobs", record | {"summary": {}, "said": {}})
    yield Delete("quarantine", record["id"])
    yield Delete("bodies", record["id"])
    yield Delete("attachments", KeyRange([record["id"], 0], [record["id"], ABOVE_ALL]))
