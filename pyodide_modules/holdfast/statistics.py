"""The statistics of an outbox from counters and a few first records. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.gates import Gates
from holdfast.histogram import quantile
from holdfast.lifecycle import STATES, UNSENT, State
from holdfast.limits import ATTACHMENTS_BYTES, PAYLOAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from holdfast.ports import Millis
    from holdfast.registry import Registry
    from holdfast.storage import Record
    from holdfast.transactions.reading import Figures

STALLED_MS = 600_000
"""A job that could have gone this long ago, with nothing known to hold it back, means that something is wrong."""
ONE_SUBMISSION = PAYLOAD_BYTES + ATTACHMENTS_BYTES
"""The most that one job may hold, in bytes."""


def statistics(figures: Figures, registry: Registry, now: Millis, *, in_inbox: Sequence[Record] = ()) -> dict[str, Any]:
    """Depths, ages and counters; instants in milliseconds since 1970, spans in `…_ms`, None where there is nothing.

    `states` and `queues` count jobs by state; `unsent` is what was neither received nor cancelled; `oldest_due_at` is
    since when the longest-waiting head could have gone; `stalled` says that nothing known has held one back for ten
    minutes, `stalled_since` since when it could have gone; `held` counts the pending jobs that wait for their account's
    sign-in, each behind none of its lane; `inbox` those that wait for room (`in_inbox`), which count as pending too;
    `time_to_receipt` is from enqueue to receipt.
    """
    gates = Gates.of(figures.gates)
    queues = {queue["queue"]: queue["states"] for queue in figures.queues}
    for record in in_inbox:
        counted = queues.get(record["queue"], {})
        queues[record["queue"]] = counted | {State.PENDING: counted.get(State.PENDING, 0) + 1}
    taken_at = [record["created_at"] for record in in_inbox]
    states = {state: sum(queue.get(state, 0) for queue in queues.values()) for state in STATES}
    received = [queue["last_received_at"] for queue in figures.queues if queue["last_received_at"] is not None]
    due = [head for head in figures.due if head["ready_at"] <= now]
    sending = {claim["queue"] for claim in figures.claims if claim["lease_until"] > now}
    free = [
        head["ready_at"]
        for head in due
        if not gates.held(head["account"])
        and not gates.paused(head["queue"], head["type"])
        and gates.shut_until(registry.origin_of(head["type"]), head["queue"], head["type"], now) is None
        and head["queue"] not in sending
    ]
    stalled_since = min(free) if free and now - min(free) > STALLED_MS else None
    latencies = [queue["latency"] for queue in figures.queues]
    return {
        "states": states,
        "unsent": sum(states[state] for state in UNSENT),
        "queues": queues,
        "retries": sum(queue["retries"] for queue in figures.queues),
        "failures": _sums(queue["failures"] for queue in figures.queues),
        "oldest_unsent_at": _first(figures.oldest_unsent_at, *taken_at),
        "oldest_pending_at": _first(figures.oldest_pending_at, *taken_at),
        "oldest_due_at": min((head["ready_at"] for head in due), default=None),
        "stalled": stalled_since is not None,
        "stalled_since": stalled_since,
        "held": figures.held,
        "inbox": len(in_inbox),
        "last_received_at": max(received, default=None),
        "time_to_receipt": {"median_ms": quantile(latencies, 0.5), "p95_ms": quantile(latencies, 0.95)},
    }


def described_storage(estimate: dict[str, int] | None) -> dict[str, Any] | None:
    """What the browser says of its storage, in bytes, with `nearly_full`; None where it says nothing.

    Nearly full is where the next submission may not fit: there is less room than one may take at most. A quota below ten of
    those is nearly full at nine tenths, or a small device would be warned from its first day on.
    """
    if estimate is None:
        return None
    room = estimate["quota"] - estimate["usage"]
    return {**estimate, "nearly_full": room < min(ONE_SUBMISSION, estimate["quota"] / 10)}


def _first(*instants: Millis | None) -> Millis | None:
    return min((at for at in instants if at is not None), default=None)


def _sums(counters: Iterable[dict[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for counter in counters:
        for name, number in counter.items():
            sums[name] = sums.get(name, 0) + number
    return sums
