"""What can be looked at: a page of jobs, one job with its body, the counters, the next time something can go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.gates import Gates
from holdfast.lifecycle import UNSENT, State
from holdfast.storage import ABOVE_ALL, Count, Get, GetAll, KeyRange, reading

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.lifecycle import Reason
    from holdfast.ports import Attachment, Millis
    from holdfast.storage import Record, Steps


@reading("jobs", "gates")
def list_jobs(account: str, states: Iterable[State], limit: int) -> Steps[tuple[list[Record], list[Record]]]:
    """Up to `limit` jobs of each state, the last changed ones, and all gates."""
    found: list[Record] = []
    for state in states:
        span = KeyRange([account, state, 0], [account, state, ABOVE_ALL])
        found += yield GetAll("jobs", span, "list", limit, newest_first=True)
    gates = yield GetAll("gates")
    return found, gates


@reading("jobs", "bodies", "attachments", "gates")
def read_job(account: str, job_id: str) -> Steps[tuple[Record, Record, list[Attachment], list[Record]] | None]:
    """One job with its body, its attachments' handles (None for one that the browser has lost) and all gates."""
    record: Record | None = yield Get("jobs", job_id)
    if record is None or record["account"] != account:
        return None
    body = yield Get("bodies", job_id)
    handles: list[Attachment | None] = []
    for number in range(len(body["attachments"]) if body else 0):
        handles.append((yield Get("attachments", [job_id, number])))  # noqa: PERF401  (it yields)
    gates = yield GetAll("gates")
    return record, body or {"id": job_id, "payload": None, "attachments": []}, handles, gates


@reading("jobs")
def list_unsent(account: str, batch: int) -> Steps[dict[str, Millis]]:
    """When each unsent job was made, by id: all at one moment, `batch` records or little more at once."""
    made_at: dict[str, Millis] = {}
    for state in sorted(UNSENT):
        since, more = 0, True
        while more:
            span = KeyRange([account, state, since], [account, state, ABOVE_ALL])
            found = yield GetAll("jobs", span, "list", batch)
            made_at |= {record["id"]: record["created_at"] for record in found}
            more = len(found) == batch
            if more and found[-1]["updated_at"] == since:
                batch *= 2  # as many changed in one moment
            since = found[-1]["updated_at"] if found else since
    return made_at


@reading("jobs", "gates")
def list_by_reason(account: str, reason: Reason, limit: int) -> Steps[tuple[list[Record], list[Record]]]:
    """Up to `limit` jobs with this reason, the last changed ones, and all gates."""
    span = KeyRange([account, reason, 0], [account, reason, ABOVE_ALL])
    found = yield GetAll("jobs", span, "reasons", limit, newest_first=True)
    gates = yield GetAll("gates")
    return found, gates


@dataclass(frozen=True, slots=True)
class Figures:
    """What the statistics are made of."""

    queues: list[Record]
    gates: list[Record]
    oldest_unsent_at: Millis | None
    oldest_pending_at: Millis | None
    due: list[Record]
    """The first head of each kind: the one that can go, or could have gone, before all others of its kind."""
    claims: list[Record]
    """Of each queue that is sending, the claim whose lease ends last."""
    held: int
    """Heads that wait for their account's sign-in."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What a screen shows of an account, however many jobs it has."""

    figures: Figures
    records: list[Record]
    waited: int
    """How many unsent jobs were made no later than asked for."""


@reading("queues", "jobs", "gates")
def read_figures(account: str) -> Steps[Figures]:
    """Counters, and the first record of a few index ranges; nothing is walked."""
    return (yield from _read_figures(account))


@reading("queues", "jobs", "gates")
def read_overview(account: str, limit: int, made_by: Millis) -> Steps[Overview]:
    """Figures, and up to `limit` jobs of each kind: the last changed of each state; of what waits also heads and oldest."""
    figures = yield from _read_figures(account)
    found: list[Record] = []
    waited = 0
    for state in State:
        found += yield GetAll("jobs", _up_to([account, state]), "list", limit, newest_first=True)
    for queue in figures.queues:
        name, states = queue["queue"], queue["states"]
        if states.get(State.PENDING):
            found += yield GetAll("jobs", _up_to([account, name]), "ready", limit)
            found += yield GetAll("jobs", _up_to([account, name, State.PENDING]), "oldest", limit)
        for state in sorted(UNSENT):
            if states.get(state) and figures.oldest_unsent_at is not None and figures.oldest_unsent_at <= made_by:
                span = [account, name, state]
                waited += yield Count("jobs", KeyRange([*span, 0], [*span, made_by]), "oldest")
    return Overview(figures, list({record["id"]: record for record in found}.values()), waited)


def _up_to(start: list[str]) -> KeyRange:
    return KeyRange([*start, 0], [*start, ABOVE_ALL])


def _read_figures(account: str) -> Steps[Figures]:
    queues = yield GetAll("queues", KeyRange([account, ""], [account, ABOVE_ALL]))
    gates = yield GetAll("gates")
    oldest: dict[State, Millis] = {}
    due: list[Record] = []
    claims: list[Record] = []
    held = 0
    signed_out = Gates.of(gates).held(account)
    for queue in queues:
        for state in sorted(UNSENT):
            if not queue["states"].get(state):
                continue
            span = [account, queue["queue"], state]
            first = yield Get("jobs", KeyRange([*span, 0], [*span, ABOVE_ALL]), "oldest")
            if first is not None:
                oldest[state] = min(first["created_at"], oldest.get(state, first["created_at"]))
        if queue["states"].get(State.PENDING):
            due += yield from _first_heads(account, queue["queue"])
            if signed_out:
                held += yield Count("jobs", _up_to([account, queue["queue"]]), "ready")
        if queue["states"].get(State.PROCESSING):
            claims += yield GetAll("jobs", _up_to([account, queue["queue"]]), "leases", 1, newest_first=True)
    oldest_pending_at = oldest.get(State.PENDING)
    return Figures(queues, gates, min(oldest.values(), default=None), oldest_pending_at, due, claims, held)


def _first_heads(account: str, queue: str) -> Steps[list[Record]]:
    """For each priority and type in the index of heads, the one with the earliest time."""
    heads: list[Record] = []
    start = [account, queue]
    lower: list[str | int | list[object]] = [*start, 0]
    while True:
        head = yield Get("jobs", KeyRange(lower, [*start, ABOVE_ALL]), "ready")
        if head is None:
            return heads
        heads.append(head)
        lower = [*start, head["rank"], head["type"], ABOVE_ALL]


@reading("jobs")
def read_before(record: Record) -> Steps[tuple[int, str | None]]:
    """How many jobs of its lane go before this one, and the id of the last of them."""
    lane = [record["account"], record["queue"], record["lane_key"]]
    span = KeyRange([*lane, 0], [*lane, record["place"] - 1])
    number = yield Count("jobs", span, "lanes")
    last = yield GetAll("jobs", span, "lanes", 1, newest_first=True)
    return number, last[0]["id"] if last else None
