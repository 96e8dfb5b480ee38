"""Who is claimed with whom: the followers of a lane's head that share its request, or go straight after it.

`docs/batch.md` has the law of the first, prefetch.py that of the second.
"""

from __future__ import annotations

import json
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

from holdfast.batch import BYTES, TOGETHER
from holdfast.lifecycle import State
from holdfast.storage import ABOVE_ALL, GetAll, GetEach, KeyRange

if TYPE_CHECKING:
    from holdfast.gates import Gates
    from holdfast.ports import Millis
    from holdfast.storage import Record, Steps
    from holdfast.transactions.claim import Claimant


AT_FIRST: Final = 8
"""Bodies read in one go, twice as many each time. The last that fits may be the first of them, and the others were read in vain."""


def followers(who: Claimant, head: Record, payload: Any, gates: Gates, now: Millis) -> Steps[list[tuple[Record, Any]]]:
    """The jobs straight behind a head that may be sent now if it is, with their payloads; none where it goes by itself.

    They have its priority, so that nothing more urgent waits for them.
    """
    found: list[tuple[Record, Any]] = []
    most = _most_with(who, head, gates, now)
    if most == 1:
        return found
    size = _size(payload)
    records = yield straight_behind(head, most - 1)
    able = list(takewhile(lambda record: _may_follow(who, head, record, gates, now), records))
    first = 0
    while first < len(able):
        some = able[first : 2 * first + AT_FIRST]
        first += len(some)
        bodies = yield GetEach("bodies", tuple(record["id"] for record in some))
        for record, body in zip(some, bodies, strict=True):
            most = min(most, _most_with(who, record, gates, now))
            size += _size(body["payload"]) if body else 0
            if body is None or len(found) + 2 > most or size > BYTES:
                return found
            found.append((record, body["payload"]))
    return found


def straight_behind(record: Record, limit: int) -> GetAll:
    """What is read to find who comes after a job in its lane."""
    lane = [record[name] for name in ("account", "queue", "lane_key")]
    return GetAll("jobs", KeyRange([*lane, record["place"] + 1], [*lane, ABOVE_ALL]), "lanes", limit)


def _most_with(who: Claimant, record: Record, gates: Gates, now: Millis) -> int:
    """How many jobs may be claimed with this one: 1 if it goes by itself."""
    type_ = record["type"]
    if record["files"] or record["reason"] not in TOGETHER:
        return 1
    if type_ in who.in_turn:
        return who.prefetch
    return 1 if gates.takes_one(who.origins[type_], now) else who.batches.get(type_, 1)


def _size(payload: Any) -> int:
    return len(json.dumps(payload))


def _may_follow(who: Claimant, head: Record, record: Record, gates: Gates, now: Millis) -> bool:
    origin = who.origins[head["type"]]
    return (
        record["state"] == State.PENDING
        and record["rank"] == head["rank"]
        and who.origins.get(record["type"]) == origin
        and (record["type"] in who.batches) == (head["type"] in who.batches)
        and record["run_at"] <= now
        and (record["expires_at"] is None or record["expires_at"] > now)
        and not gates.paused(who.queue, record["type"])
        and not gates.switched_off(origin, who.queue, record["type"])
        and not gates.has_forgotten(origin, record["unknown_since"], now)
    )
