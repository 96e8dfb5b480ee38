"""What becomes of jobs after their attempt: the fence is checked, the job moves, its lane's next one is promoted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.gates import Gates, Miss, breaker_name, hold_name, one_by_one_name, opened
from holdfast.lifecycle import Reason, State
from holdfast.outcome import Alone, AuthRequired, Conflict, Delivered, NotRun, Rejected, Retry, Unreachable, Wait
from holdfast.storage import Get, GetAll, GetEach, KeyRange, Put, transaction
from holdfast.transactions.claim import STORES, Claim, Claimant, claim, claim_behind, first_looks, look_behind
from holdfast.transactions.lane import promote
from holdfast.transactions.leaving import forget
from holdfast.transactions.moving import move, read_queue
from holdfast.transactions.tidy import leases
from holdfast.transactions.together import straight_behind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from holdfast.backoff import Backoff
    from holdfast.outcome import Outcome
    from holdfast.ports import Millis
    from holdfast.storage import Read, Record, Steps


@dataclass(frozen=True, slots=True)
class Attempt:
    """One finished attempt, ready to be settled."""

    job_id: str
    fence: int
    lease_until: Millis
    """Of its claim; where it was renewed meanwhile settling costs a read more."""
    outcome: Outcome
    origin: str
    backoff: Backoff
    random: float
    offline: bool


@transaction(*STORES, durability="relaxed")
def settle(attempts: Sequence[Attempt], who: Claimant, now: Millis) -> Steps[list[Record]]:
    """Settle what one request came to, for all its jobs or none. Returns the jobs as they are now, without those whose claim
    was no longer ours.

    Relaxed on purpose: after a power cut the jobs are claimed and sent again under the same keys.
    """
    settled = yield from _settle_each(attempts, who, now)
    yield from _promote_lanes(settled)
    return settled


def _settle_each(attempts: Sequence[Attempt], who: Claimant, now: Millis) -> Steps[list[Record]]:
    settled: list[Record] = []
    away: Attempt | None = None
    queue: Record | None = None
    # What was claimed together is read at once; who is no longer there was renewed, or cancelled, or has lost its claim.
    leased = {record["id"]: record for record in (yield _claims(attempts, who))} if attempts else {}
    for attempt in attempts:
        record: Record | None = leased.pop(attempt.job_id, None) or (yield Get("jobs", attempt.job_id))
        if record is None or not _is_ours(record, attempt):
            continue
        queue = queue or (yield from read_queue(record["account"], record["queue"]))
        settled.append(_settled(record, queue, attempt, now))
        yield Put("jobs", settled[-1])
        match attempt.outcome.verdict:
            case Unreachable():
                away = attempt
            case AuthRequired():
                yield from _hold(record, now)
            case Alone(refused=True):
                yield Put("gates", {"name": one_by_one_name(attempt.origin), "since": now})
    if queue is not None:
        yield Put("queues", queue)
    yield from forget([record for record in settled if record["state"] == State.COMPLETED])
    if away is not None:
        breaker = yield Get("gates", breaker_name(away.origin))
        yield Put("gates", opened(breaker, Miss(away.origin, away.backoff, away.random, away.offline), now))
    return settled


def _promote_lanes(settled: Sequence[Record]) -> Steps[None]:
    for record in {record["lane_key"]: record for record in settled}.values():
        yield from promote(record)


def _is_ours(record: Record, attempt: Attempt) -> bool:
    late_receipt = record["state"] == State.CANCELLED and isinstance(attempt.outcome.verdict, Delivered)
    return record["fence"] == attempt.fence and (record["state"] == State.PROCESSING or late_receipt)


def _hold(record: Record, now: Millis) -> Steps[None]:
    """The account has to sign in; not if it has done so since this job was claimed."""
    gates = Gates.of((yield GetAll("gates")))
    if gates.sign_ins(record["account"]) == record["sign_ins"]:
        yield Put("gates", {"name": hold_name(record["account"]), "since": now})


def _claims(attempts: Sequence[Attempt], who: Claimant) -> Read:
    """What is read to find the claims of these."""
    ends = [attempt.lease_until for attempt in attempts]
    return leases(who.account, who.queue, KeyRange(min(ends), max(ends)))


def _first_reads(attempts: Sequence[Attempt], who: Claimant, _limit: int, _now: Millis) -> tuple[Read, ...]:
    return first_looks(who) if not attempts else (_claims(attempts, who), *first_looks(who))


@transaction(*STORES, durability="relaxed", ahead=_first_reads)
def settle_and_claim(attempts: Sequence[Attempt], who: Claimant, limit: int, now: Millis) -> Steps[Claim]:
    """Settle what one request came to and claim what is next, in one commit."""
    yield from settle(attempts, who, now)
    return (yield from claim(who, limit, now))


def _looks_behind(attempts: Sequence[Attempt], last: Record, who: Claimant, now: Millis) -> tuple[Read, ...]:
    first = _first_reads(attempts, who, 0, now)
    return *first, Get("jobs", last["id"]), straight_behind(last, who.prefetch - 1)


@transaction(*STORES, durability="relaxed", ahead=_looks_behind)
def settle_and_claim_behind(attempts: Sequence[Attempt], last: Record, who: Claimant, now: Millis) -> Steps[Claim]:
    """Settle what was delivered of a lane and claim more of it, behind the `last` that is claimed and still to be settled.

    What can be read is read before anything is written, or each in turn would wait for the other.
    """
    known = yield Get("jobs", last["id"])
    is_ours = known is not None and (known["state"], known["fence"]) == (State.PROCESSING, last["fence"])
    behind = (yield from look_behind(last, who, now)) if is_ours else []
    settled = yield from _settle_each(attempts, who, now)
    if not is_ours:  # else it is behind these in their lane, and nobody between them is free to go
        yield from _promote_lanes(settled)
    return (yield from claim_behind(behind, who, now))


@transaction("jobs", "holders", durability="relaxed")
def renew(fences: Mapping[str, int], who: Claimant, now: Millis) -> Steps[bool]:
    """Prolong the leases of jobs while a long send runs. False: no claim of them is ours any more, stop sending."""
    ours = False
    records: list[Record | None] = yield GetEach("jobs", tuple(fences))
    for record, fence in zip(records, fences.values(), strict=True):
        if record is not None and record["state"] == State.PROCESSING and record["fence"] == fence:
            yield Put("jobs", record | {"lease_until": now + who.lease_ms})
            ours = True
    if ours:
        yield Put("holders", {"name": who.lock, "holder": who.holder, "until": now + who.lease_ms})
    return ours


def _settled(  # noqa: C901, PLR0911  (a table of verdicts, one line each)
    record: Record, queue: Record, attempt: Attempt, now: Millis
) -> Record:
    outcome = attempt.outcome
    base = record | {"said": outcome.said, "crashes": 0}
    if outcome.answered:
        base |= {"no_receipts": 0, "unknown_since": _unknown_since(record, outcome)}
    elif isinstance(outcome.verdict, Alone) and outcome.verdict.refused:
        base |= {"unknown_since": _unknown_since(record, outcome)}  # nobody there has looked into it
    match outcome.verdict:
        case Delivered():
            return move(base, queue, State.COMPLETED, None, now)
        case Conflict():
            base["attempts"] += 1
            return move(base, queue, State.CONFLICT, Reason.SERVER_CONFLICT, now)
        case Rejected(reason):
            base["attempts"] += 1
            return move(base, queue, State.FAILED, reason, now)
        case Retry() as verdict:
            return _retried(base, queue, attempt, verdict, now)
        case Wait(after_ms):
            return _again(base, queue, Reason.IN_PROGRESS, after_ms, now)
        case AuthRequired():
            return _again(base, queue, Reason.SIGNED_OUT, 0, now)
        case Unreachable():
            return _again(base, queue, Reason.UNREACHABLE, 0, now)
        case NotRun():
            # It was due when it was claimed, and still is where the clock was set back since.
            return move(base, queue, State.PENDING, None, now) | {"run_at": min(base["run_at"], now)}
        case Alone(reason, after_ms):
            return _again(base, queue, reason, after_ms, now)


def _unknown_since(record: Record, outcome: Outcome) -> Millis | None:
    """Since when it is open what became of a sent job, after an answer that names its key."""
    since: Millis | None = record["unknown_since"]
    of_this_claim = since == record["updated_at"]
    # A refusal at the door speaks of this attempt alone.
    at_the_door = isinstance(outcome.verdict, AuthRequired | NotRun | Alone)
    return since if at_the_door and not of_this_claim else None


def _retried(base: Record, queue: Record, attempt: Attempt, verdict: Retry, now: Millis) -> Record:
    base["attempts"] += 1
    if verdict.reason is Reason.NO_RECEIPT:
        base["no_receipts"] += 1
    if base["attempts"] >= base["max_attempts"]:
        return move(base, queue, State.FAILED, Reason.EXHAUSTED, now)
    queue["retries"] += 1
    wait_ms = max(verdict.after_ms, attempt.backoff.wait_ms(base["attempts"], attempt.random, base["wait_ms"]))
    return _again(base, queue, verdict.reason, wait_ms, now)


def _again(base: Record, queue: Record, reason: Reason, wait_ms: Millis, now: Millis) -> Record:
    return move(base, queue, State.PENDING, reason, now) | {"run_at": now + wait_ms, "wait_ms": wait_ms}
