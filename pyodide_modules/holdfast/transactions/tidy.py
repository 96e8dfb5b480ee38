"""What every drain does before it sends: recover ended claims, end what is over, prune what is finished. Bounded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.lifecycle import REDRIVABLE, Reason, State
from holdfast.limits import check_whole_number
from holdfast.moments import SLACK_MS, is_over
from holdfast.storage import ABOVE_ALL, Delete, Get, GetAll, KeyRange, Put
from holdfast.transactions.lane import promote
from holdfast.transactions.moving import count_out, move, read_queue, store

if TYPE_CHECKING:
    from holdfast.ports import Millis
    from holdfast.storage import Read, Record, Steps

LIMIT = 100
"""How many jobs each part changes at most; recovery gives back all that was claimed."""
EVER = KeyRange(0, ABOVE_ALL)
"""Every instant there is."""
CRASHES = 5
"""Deaths in a row, alone and quick, after which a job is put aside."""
PRUNED = (State.COMPLETED, State.CANCELLED)
KEEP_AT_LEAST_MS = 3_600_000
"""Nothing younger is pruned: a late copy of an inbox entry must still find its job."""
WARNING_MS = 86_400_000
"""The least time between the warning that a failure will be pruned and its pruning."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long finished jobs stay. What failed stays until a person dismisses it, unless the app sets `failed_ms`."""

    finished_ms: Millis = 604_800_000
    finished_count: int = 1_000
    failed_ms: Millis | None = None
    """Prune what failed, expired or conflicted after this. It is announced a day before: in its row (`prunes_at`), by an event."""

    def __post_init__(self) -> None:
        """Raises InvalidOptionError."""
        check_whole_number("finished_ms", self.finished_ms, least=0)
        check_whole_number("finished_count", self.finished_count, least=0)
        if self.failed_ms is not None:
            check_whole_number("failed_ms", self.failed_ms, least=0)

    def prunes_at(self, record: Record) -> Millis | None:
        """When a failure that was warned of is deleted at the earliest; None for all that stays."""
        if self.failed_ms is None or "warned_at" not in record:
            return None
        return int(max(record["warned_at"] + WARNING_MS, record["updated_at"] + self.failed_ms))


@dataclass(slots=True)
class Tidied:
    """What was found on the way."""

    changed: list[str] = field(default_factory=list)
    next_at: Millis | None = None
    """When the first living lease or time limit ends."""
    leased: set[str] = field(default_factory=set)
    """Lanes in which claims of other holders still run."""
    recover_at: Millis | None = None
    """When the first of those claims ends."""
    about_to_prune: list[str] = field(default_factory=list)

    def look_again(self, at: Millis) -> None:
        self.next_at = at if self.next_at is None else min(self.next_at, at)


def tidying(account: str, queue_name: str, retention: Retention, now: Millis) -> tuple[Read, ...]:
    """What is read to find that there is nothing to tidy."""
    finished = (_old(account, state, retention, now) for state in PRUNED)
    return leases(account, queue_name), _expiring(account), *finished, _waiting_longer(account, now)


def leases(account: str, queue_name: str, ends: KeyRange = EVER) -> GetAll:
    """All that end between two instants, few as they are: part of what went together must not go before the rest."""
    start = [account, queue_name]
    return GetAll("jobs", KeyRange([*start, ends.lower], [*start, ends.upper]), "leases")


def _expiring(account: str) -> Get:
    return Get("jobs", KeyRange([account, 0], [account, ABOVE_ALL]), "expiring")


def _waiting_longer(account: str, now: Millis) -> GetAll:
    """What was set to wait until a time that is the future still, by more than clocks differ."""
    pending = [account, State.PENDING]
    return GetAll("jobs", KeyRange([*pending, now + SLACK_MS], [*pending, ABOVE_ALL]), "list", LIMIT)


def _old(account: str, state: State, retention: Retention, now: Millis) -> GetAll:
    before = now - max(KEEP_AT_LEAST_MS, retention.finished_ms)
    return GetAll("jobs", KeyRange([account, state, 0], [account, state, before]), "list", LIMIT)


def recover(
    account: str,
    queue_name: str,
    holder: str,
    lease_ms: Millis,
    sending: frozenset[str],
    *,
    granted: bool,
    now: Millis,
) -> Steps[Tidied]:
    """Give back the claims whose holder is gone: at once if the queue's lock was granted to us, else after their lease.

    Those of jobs that are `sending` live. A claim that ended by death uses no attempt. A job that takes its context down again
    and again is put aside.
    """
    found = Tidied()
    leased = [record for record in (yield leases(account, queue_name)) if record["id"] not in sending]
    for record in leased:
        ours = record["holder"] == holder  # of a drain that lost its lock: nothing of it runs any more
        if not ours and not granted and not is_over(record["lease_until"], now, lease_ms):
            found.leased.add(record["lane_key"])
            found.recover_at = min(record["lease_until"], found.recover_at or record["lease_until"])
            continue
        # A lease that was never renewed ended soon after its claim; beside others nobody knows who was to blame.
        quick = not ours and record["lease_until"] - record["updated_at"] <= lease_ms and len(leased) == 1
        crashes = record["crashes"] + 1 if quick else 0
        queue = yield from read_queue(account, queue_name)
        if crashes >= CRASHES:
            released = move(record, queue, State.FAILED, Reason.CRASHED, now)
        else:
            released = move(record, queue, State.PENDING, Reason.INTERRUPTED, now) | {"run_at": now, "wait_ms": 0}
        yield from store(released | {"crashes": crashes}, queue)
        yield from promote(released)
        found.changed.append(record["id"])
    if found.recover_at is not None:
        found.look_again(found.recover_at)
    return found


def expire(account: str, now: Millis, found: Tidied) -> Steps[None]:
    """End what was not delivered in the time set for it; it is kept, and a person can send it anyway."""
    for _ in range(LIMIT):
        record = yield _expiring(account)
        if record is None:
            return
        if record["expire_by"] > now:
            found.look_again(record["expire_by"])
            return
        yield from end_by_time(record, now)
        found.changed.append(record["id"])


def end_by_time(record: Record, now: Millis) -> Steps[None]:
    """One pending job whose time is over."""
    queue = yield from read_queue(record["account"], record["queue"])
    expired = move(record, queue, State.EXPIRED, Reason.TTL, now)
    yield from store(expired, queue)
    yield from promote(expired)


def mend_waits(account: str, lock: str, lease_ms: Millis, now: Millis, found: Tidied) -> Steps[None]:
    """After the clock was set back: move the waits from before along with it, so that they neither stall nor end early.

    They were set in what is the future now. By how much the clock went back is known from them, and to the minute from when
    the queue's lock was last claimed under; no wait grows longer than it was given.
    """
    records = yield _waiting_longer(account, now)
    if not records:
        return
    holder = yield Get("holders", lock)
    seen_at = holder["until"] - lease_ms if holder else now
    for record in records:
        back_ms = max(seen_at, record["updated_at"]) - now
        run_at = max(0, min(record["run_at"] - back_ms, now + record["wait_ms"]))
        mended = record | {"run_at": run_at, "updated_at": now}
        if "ready_at" in record:
            mended["ready_at"] = mended["run_at"]
        yield Put("jobs", mended)
    if len(records) == LIMIT:
        found.look_again(now)


def prune(account: str, queue_name: str, retention: Retention, now: Millis, found: Tidied) -> Steps[None]:
    """Delete finished jobs that are old or too many, with their bodies and attachments."""
    for state in PRUNED:
        for record in (yield _old(account, state, retention, now)):
            yield from _delete(record)
    queue = yield from read_queue(account, queue_name)
    for state in PRUNED:
        excess = queue["states"].get(state, 0) - retention.finished_count
        if excess > 0:
            span = [account, queue_name, state]
            limits = KeyRange([*span, 0], [*span, now - KEEP_AT_LEAST_MS])
            for record in (yield GetAll("jobs", limits, "oldest", min(excess, LIMIT))):
                # By age, but what took long to arrive has been finished for a moment only.
                if record["updated_at"] <= now - KEEP_AT_LEAST_MS:
                    yield from _delete(record)
    if retention.failed_ms is not None:
        yield from _prune_failed(account, retention, now - retention.failed_ms, now, found)


def _prune_failed(account: str, retention: Retention, before: Millis, now: Millis, found: Tidied) -> Steps[None]:
    for state in sorted(REDRIVABLE):
        span = KeyRange([account, state, 0], [account, state, before + WARNING_MS])
        for record in (yield GetAll("jobs", span, "list", LIMIT)):
            prunes_at = retention.prunes_at(record)
            if prunes_at is None:
                yield Put("jobs", record | {"warned_at": now})
                found.about_to_prune.append(record["id"])
                found.changed.append(record["id"])
            elif prunes_at <= now:
                yield from _delete(record)
                yield from promote(record)


def _delete(record: Record) -> Steps[None]:
    queue = yield from read_queue(record["account"], record["queue"])
    count_out(queue, State(record["state"]))
    yield Put("queues", queue)
    yield Delete("jobs", record["id"])
    yield Delete("quarantine", record["id"])
    yield Delete("bodies", record["id"])
    yield Delete("attachments", KeyRange([record["id"], 0], [record["id"], ABOVE_ALL]))
