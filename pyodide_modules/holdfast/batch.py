"""Many jobs of one lane in one request: what its answer means for each. Pure; `docs/batch.md` has the law.

A request of many counts for none of its jobs: only what the server says of a job by its key does. If it fails as a whole,
nobody knows whose fault that was, so each of its jobs goes again by itself, and there an attempt counts.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from holdfast.lifecycle import Reason
from holdfast.limits import read_json
from holdfast.outcome import (
    Alone,
    NotRun,
    Outcome,
    Unreachable,
    is_receipt,
    judge,
    needs_probe,
    retry_after_ms,
    said_by,
)
from holdfast.ports import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.ports import Millis
    from holdfast.transactions.claim import Claimed

ADDRESS = "/api/batch"
"""Where a server takes many requests in one; `holdfast_server.batch` has the wire format."""
BYTES = 500_000
"""The most JSON that jobs may bring along to share a request: half a minute on a slow line, and servers have limits."""
TOGETHER = frozenset({None, Reason.UNREACHABLE, Reason.SIGNED_OUT})
"""What may have held a job back that goes with others. After anything else it goes by itself, so that a job which no
server answers, or which takes its context down, harms no other and is found out."""

NOT_RUN = "urn:holdfast:problem:not-run"
"""The problem type of an item whose lane was stopped before it."""
NOT_BATCHED = "urn:holdfast:problem:not-batched"
"""The problem type of an item whose path or method takes no part in batches."""

_NO_SUCH_ADDRESS = frozenset({404, 405, 501})


def results_of(answer: Answer, number: int) -> list[Answer] | None:
    """One answer for each job, as it would have got by itself; None if this is no answer to a batch."""
    if answer.failure or answer.status != 200:
        return None
    try:
        document = read_json(answer.body)
    except ValueError:
        return None
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(results, list) or len(results) != number:
        return None
    return [_result(result) for result in results]


def needs_look(results: Sequence[Answer] | None, jobs: Sequence[Claimed]) -> bool:
    """Whether their meaning depends on whether the server can be reached."""
    if results is None:
        return True
    return any(
        needs_probe(result, answered=is_receipt(result, job.record["key"]))
        for result, job in zip(results, jobs, strict=True)
    )


def judge_all(
    answer: Answer, results: Sequence[Answer] | None, jobs: Sequence[Claimed], *, reached: bool, now: Millis
) -> list[Outcome]:
    """The outcome of each job, in the order of their lane."""
    if results is None:
        return [Outcome(_failed(answer, reached=reached, now=now), answered=False, said=said_by(answer))] * len(jobs)
    return [
        _judge(result, job, is_first=job is jobs[0], reached=reached, now=now)
        for result, job in zip(results, jobs, strict=True)
    ]


def _judge(result: Answer, job: Claimed, *, is_first: bool, reached: bool, now: Millis) -> Outcome:
    answered = is_receipt(result, job.record["key"])
    said = said_by(result)
    if answered and result.status == 424 and said.get("type") == NOT_RUN and not is_first:
        return Outcome(NotRun(), answered=True)
    if answered and said.get("type") == NOT_BATCHED:
        return Outcome(Alone(Reason.NO_RECEIPT, refused=True), answered=True, said=said)
    if not answered or said.get("type") == NOT_RUN:
        verdict = Alone(Reason.NO_RECEIPT) if reached else Unreachable()
        return Outcome(verdict, answered=False, said=said)
    return judge(result, answered=True, reached=reached, no_receipts=job.record["no_receipts"], now=now)


def _failed(answer: Answer, *, reached: bool, now: Millis) -> Alone | Unreachable:
    """What a request comes to that was not answered job by job."""
    if not reached:
        return Unreachable()
    if answer.failure:
        return Alone(Reason.NO_ANSWER)
    after_ms = retry_after_ms(answer.headers.get("retry-after", ""), now)
    if answer.status == 429:
        return Alone(Reason.THROTTLED, after_ms)
    if answer.status >= 500 and answer.status not in _NO_SUCH_ADDRESS:
        return Alone(Reason.SERVER_ERROR, after_ms)
    return Alone(Reason.NO_RECEIPT, refused=answer.status in _NO_SUCH_ADDRESS)


def _result(result: Any) -> Answer:
    """Nobody has checked it; what is no result names no key."""
    if (
        not isinstance(result, dict)
        or type(result.get("status")) is not int
        or not isinstance(result.get("headers"), dict)
    ):
        return Answer()
    headers = {name: value for name, value in result["headers"].items() if isinstance(value, str)}
    return Answer(result["status"], headers, json.dumps(result.get("body")) if result["status"] >= 400 else "")
