"""Jobs that were saved while nobody was signed in become somebody's: a person has said that they are theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.job import may_have_arrived
from holdfast.lifecycle import REDRIVABLE, Reason, State
from holdfast.storage import ABOVE_ALL, GetAll, KeyRange, Put, reading, transaction
from holdfast.transactions.lane import promote
from holdfast.transactions.moving import count_in, count_out, move, read_queue

if TYPE_CHECKING:
    from holdfast.ports import Millis
    from holdfast.storage import Record, Steps

NOBODY = ""


@transaction("jobs", "queues", durability="strict")
def adopt(account: str, now: Millis) -> Steps[list[str]]:
    """Move nobody's unsent jobs to the end of the account's lanes, in their order; returns their ids.

    A server keeps keys apart by account. So what may have arrived as nobody's is put aside for a person to decide
    (`outcome_unknown`), or stays where it is if it is over already. A lane with a job on its way stays as it is for now.
    """
    busy = {_lane(record) for record in (yield from _of_nobody(State.PROCESSING))}
    moving: list[Record] = []
    for state in (State.PENDING, *sorted(REDRIVABLE)):
        moving += yield from _of_nobody(state)
    adopted: list[str] = []
    for record in sorted(moving, key=_order):
        unknown = may_have_arrived(record)
        if _lane(record) in busy or (unknown and record["state"] != State.PENDING):
            continue
        yield from _move_to(account, record, now, unknown=unknown)
        adopted.append(record["id"])
    return adopted


def _move_to(account: str, record: Record, now: Millis, *, unknown: bool) -> Steps[None]:
    before = yield from read_queue(NOBODY, record["queue"])
    if unknown:
        record = move(record, before, State.FAILED, Reason.OUTCOME_UNKNOWN, now)
    count_out(before, State(record["state"]))
    yield Put("queues", before)
    queue = yield from read_queue(account, record["queue"])
    queue["last_place"] += 1
    count_in(queue, State(record["state"]))
    adopted = record | {"account": account, "seq": queue["last_place"]}
    if "place" in adopted:
        adopted["place"] = queue["last_place"]
    adopted.pop("ready_at", None)
    yield Put("queues", queue)
    yield Put("jobs", adopted)
    yield from promote(adopted)


def _of_nobody(state: State) -> Steps[list[Record]]:
    found: list[Record] = yield GetAll("jobs", KeyRange([NOBODY, state, 0], [NOBODY, state, ABOVE_ALL]), "list")
    return found


def _order(record: Record) -> int:
    order: int = record["place"] if "place" in record else record["seq"]
    return order


def _lane(record: Record) -> tuple[str, str]:
    return record["queue"], record["lane_key"]


@reading("queues")
def read_depths(states: frozenset[State]) -> Steps[dict[str, int]]:
    """How many jobs in these states each account has; accounts with none are left out."""
    depths: dict[str, int] = {}
    for queue in (yield GetAll("queues")):
        number = sum(queue["states"].get(state, 0) for state in states)
        if number:
            depths[queue["account"]] = depths.get(queue["account"], 0) + number
    return depths
