"""What becomes of a job after its attempt: the fence is checked, the job moves, its lane's next one is promoted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.gates import Gates, Miss, breaker_name, hold_name, opened
from holdfast.lifecycle import Reason, State
from holdfast.outcome import AuthRequired, Conflict, Delivered, Rejected, Retry, Unreachable, Wait
from holdfast.storage import Get, GetAll, Put, transaction
from holdfast.transactions.claim import STORES, Claim, Claimant, claim
from holdfast.transactions.lane import promote
from holdfast.transactions.moving import move, read_queue, store

if TYPE_CHECKING:
    from holdfast.backoff import Backoff
    from holdfast.outcome import Outcome
    from holdfast.ports import Millis
    from holdfast.storage import Record, Steps


@dataclass(frozen=True, slots=True)
class Attempt:
    """One finished attempt, ready to be settled."""

    job_id: str
    fence: int
    outcome: Outcome
    origin: str
    backoff: Backoff
    random: float
    offline: bool


@transaction(*STORES, durability="relaxed")
def settle(attempt: Attempt, now: Millis) -> Steps[Record | None]:
    """Settle one attempt. Returns the job as it is now, or None if the claim was no longer ours.

    Relaxed on purpose: after a power cut the job is claimed and sent again under the same key.
    """
    record: Record | None = yield Get("jobs", attempt.job_id)
    if record is None or record["fence"] != attempt.fence:
        return None
    late_receipt = record["state"] == State.CANCELLED and isinstance(attempt.outcome.verdict, Delivered)
    if record["state"] != State.PROCESSING and not late_receipt:
        return None
    queue = yield from read_queue(record["account"], record["queue"])
    settled = _settled(record, queue, attempt, now)
    yield from store(settled, queue)
    yield from promote(settled)
    if isinstance(attempt.outcome.verdict, Unreachable):
        breaker = yield Get("gates", breaker_name(attempt.origin))
        miss = Miss(attempt.origin, attempt.backoff, attempt.random, attempt.offline)
        yield Put("gates", opened(breaker, miss, now))
    elif isinstance(attempt.outcome.verdict, AuthRequired):
        yield from _hold(record, now)
    return settled


def _hold(record: Record, now: Millis) -> Steps[None]:
    """The account has to sign in; not if it has done so since this job was claimed."""
    gates = Gates.of((yield GetAll("gates")))
    if gates.sign_ins(record["account"]) == record["sign_ins"]:
        yield Put("gates", {"name": hold_name(record["account"]), "since": now})


@transaction(*STORES, durability="relaxed")
def settle_and_claim(
    attempt: Attempt,
    who: Claimant,
    limit: int,
    now: Millis,
) -> Steps[tuple[Record | None, Claim]]:
    """Settle one attempt and claim what is next, in one commit."""
    settled = yield from settle(attempt, now)
    found = yield from claim(who, limit, now)
    return settled, found


@transaction("jobs", "holders", durability="relaxed")
def renew(job_id: str, fence: int, who: Claimant, now: Millis) -> Steps[bool]:
    """Prolong the lease while a long send runs. False: the claim is no longer ours, stop sending."""
    record: Record | None = yield Get("jobs", job_id)
    if record is None or record["state"] != State.PROCESSING or record["fence"] != fence:
        return False
    yield Put("jobs", record | {"lease_until": now + who.lease_ms})
    yield Put("holders", {"name": who.lock, "holder": who.holder, "until": now + who.lease_ms})
    return True


def _settled(  # noqa: PLR0911  (a table of verdicts, one line each)
    record: Record, queue: Record, attempt: Attempt, now: Millis
) -> Record:
    outcome = attempt.outcome
    base = record | {"said": outcome.said, "crashes": 0}
    if outcome.answered:
        base |= {"no_receipts": 0, "unknown_since": _unknown_since(record, attempt.outcome)}
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


def _unknown_since(record: Record, outcome: Outcome) -> Millis | None:
    """Since when it is open what became of a sent job, after an answer that names its key."""
    since: Millis | None = record["unknown_since"]
    of_this_claim = since == record["updated_at"]
    # A refusal at the door speaks of this attempt alone.
    return since if isinstance(outcome.verdict, AuthRequired) and not of_this_claim else None


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
