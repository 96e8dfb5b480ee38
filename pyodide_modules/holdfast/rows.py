"""Public rows from stored records: what everybody may see, and what each job waits for. Pure."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from holdfast.job import public_row
from holdfast.lifecycle import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.gates import Gates
    from holdfast.ports import Millis
    from holdfast.registry import Registry
    from holdfast.storage import Record
    from holdfast.transactions.tidy import Retention


def rows(
    records: Iterable[Record],
    gates: Gates,
    registry: Registry,
    retention: Retention,
    now: Millis,
    *,
    all_waiting: bool = True,
) -> list[Record]:
    """A public row for each record, with these beside the fields of a job: `waits`, `after`, `ahead`, `unknown_since`,
    `prunes_at` (when a failure that was warned of is deleted; None for all that stays) and `durability`.

    `waits` says what a pending job waits for: `turn`, `pause`, `sign-in`, `network`, `retry`, `time`, `space` (in the inbox,
    for room), or None if it can go at once. `after` is the id of the job before it in its lane, `ahead` how many of the lane's given jobs go first;
    None where not `all_waiting` jobs are given, so that nobody knows.
    """
    records = list(records)
    before = _before(records) if all_waiting else {}
    nobody_ahead = (0, None)
    return [
        public_row(record)
        | {
            "waits": waits_for(record, gates, registry.origin_of(record["type"]), now),
            "ahead": before.get(record["id"], nobody_ahead)[0] if all_waiting or not _waits_its_turn(record) else None,
            "after": before.get(record["id"], nobody_ahead)[1],
            "unknown_since": record["unknown_since"],
            "prunes_at": retention.prunes_at(record),
            "durability": registry.durability_of(record["type"]),
        }
        for record in records
    ]


def row_in_inbox(record: Record, registry: Registry) -> Record:
    """The row of a submission that waits for room in the queue: `waits` is `space`."""
    more = {"waits": "space", "ahead": 0, "after": None, "unknown_since": None, "prunes_at": None}
    return public_row(record) | more | {"durability": registry.durability_of(record["type"])}


def waits_for(record: Record, gates: Gates, origin: str, now: Millis) -> str | None:  # noqa: PLR0911  (one line a wait)
    """What a pending job waits for; None if it is not pending or can go at once."""
    if record["state"] != State.PENDING:
        return None
    if _waits_its_turn(record):
        return "turn"
    if gates.held(record["account"]):
        return "sign-in"
    if gates.paused(record["queue"], record["type"]) or gates.switched_off(origin, record["queue"], record["type"]):
        return "pause"
    if gates.away(origin):
        return "network"
    if record["run_at"] > now:
        return "retry" if record["attempts"] or record["reason"] else "time"
    return None


def _waits_its_turn(record: Record) -> bool:
    return record["state"] == State.PENDING and "ready_at" not in record


def _before(records: list[Record]) -> dict[str, tuple[int, str]]:
    """For each job with a place: how many of its lane go first, and the last of them."""
    lanes: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        if "place" in record:
            lanes.setdefault((record["account"], record["queue"], record["lane_key"]), []).append(record)
    before: dict[str, tuple[int, str]] = {}
    for lane in lanes.values():
        lane.sort(key=lambda record: int(record["place"]))
        for number, (first, second) in enumerate(pairwise(lane), start=1):
            before[second["id"]] = (number, first["id"])
    return before
