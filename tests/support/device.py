"""A device for tests of the engine: contexts (tabs, a worker) that share one store, one inbox, one network, one clock.

And the laws that a store of jobs must keep at any moment, whatever has happened to it.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from holdfast import Backoff, Outbox
from holdfast.lifecycle import REASONS_OF, State
from holdfast.memory import MemoryStore
from holdfast.ports import Answer, InboxEntry, Request
from holdfast.testing import Laboratory, receipt
from holdfast.transactions.claim import Claimant
from holdfast.transactions.tidy import Retention

WHO = Claimant("h", "lock", "", "notes", {"note": "", "memo": ""}, app_version=1, lease_ms=60_000, granted=True)
"""Claims jobs of `notes` for nobody."""
STEADY = Backoff(base_ms=1_000, jitter="none")


def describe(
    *,
    app_version: int = 1,
    attempts: int = 8,
    retention: Retention | None = None,
    concurrency: int | None = None,
    batch: bool | int = False,
) -> Outbox:
    """An outbox with two types in the queue `notes`, of which `concurrency` lanes go at once, and one in the queue `photos`.

    `batch` is that of the first type, `note`.
    """
    outbox = Outbox("test", app_version=app_version, retention=retention)
    if concurrency is not None:
        outbox.queue("notes", concurrency=concurrency)
    common: dict[str, Any] = {"attempts": attempts, "backoff": STEADY}
    outbox.route("note", "POST", "/api/notes", queue="notes", summary=("text",), batch=batch, **common)
    outbox.route("memo", "POST", "/api/memos", queue="notes", **common)
    outbox.route("photo", "POST", "/api/photos", queue="photos", **common)
    return outbox


class Device:
    """One device with its network. `context` opens a tab or a worker on it."""

    def __init__(self, *, seed: int = 0) -> None:
        self.store = MemoryStore()
        self.lab = Laboratory(seed=seed, store=self.store)
        self.clock = self.lab.clock
        self.network = self.lab.transport
        self.inbox = self.lab.inbox

    async def context(self, outbox: Outbox | None = None, **options: Any) -> Outbox:
        outbox = outbox or describe(**options)
        await outbox.open(self.lab.ports())
        return outbox

    async def rest(self) -> None:
        """Let everything run that can run without time passing."""
        await self.clock.settle()

    async def crash(self) -> None:
        """The browser is killed: every context is gone in the middle of what it was doing, and none of it runs again."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def record(self, job_id: str) -> dict[str, Any]:
        """A job as it is stored."""
        [found] = [record for record in self.store.records("jobs") if record["id"] == job_id]
        return found

    def end(self, job_id: str) -> tuple[str, str | None]:
        """A job's state and reason."""
        record = self.record(job_id)
        return record["state"], record["reason"]

    def sent(self) -> list[str]:
        """What was handed to the network: the payloads' texts, in order."""
        return [request.payload["text"] for request in self.network.sent]

    def offline(self) -> None:
        self.network.reachable = False

    def online(self) -> None:
        self.network.reachable = True

    async def deliver_all(self, outbox: Outbox, *, span_ms: int = 3_600_000) -> None:
        """Drain whenever the drain before said that something could go, for `span_ms` at most."""
        end = self.clock.now() + span_ms
        while True:
            draining = asyncio.ensure_future(outbox.drain())
            await self.rest()
            wake_at = (await draining)["next_wake_at"]
            if wake_at is None or wake_at > end:
                return
            await self.clock.advance(max(1, wake_at - self.clock.now()))


class Outage:
    """The network goes away while a request is under way."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def __call__(self, request: Request) -> Answer:
        del request
        self._device.offline()
        self._device.network.answer = receipt
        return Answer(failure="network")


class Silence:
    """A server that does not answer until the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Request, asyncio.Future[Answer]]] = []

    async def __call__(self, request: Request) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.waiting.append((request, future))
        return await future

    def answer(self, how: Callable[[Request], Answer] = receipt) -> None:
        """Answer the request that waits longest."""
        request, future = self.waiting.pop(0)
        if not future.done():
            future.set_result(how(request))


def in_turn(*answers: Callable[[Request], Any]) -> Callable[[Request], Any]:
    """A server that gives these answers one after the other, then receipts."""
    left = list(answers)

    def answer(request: Request) -> Any:
        return (left.pop(0) if left else receipt)(request)

    return answer


def entry(job_id: str, text: str, **changed: Any) -> InboxEntry:
    """A submission that JavaScript took."""
    fields: dict[str, Any] = {
        "position": 0,
        "id": job_id,
        "key": f"key-{job_id}",
        "type": "note",
        "account": "",
        "taken_at": 1_800_000_000_000,
        "fields": None,
        "payload": {"text": text},
        "options": {},
        "files": [],
    }
    return InboxEntry(**(fields | changed))


def check_laws(store: MemoryStore) -> None:
    """What must hold after every transaction: sparse fields, one head per lane in the index, counters equal to the whole."""
    lanes: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    counted: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for record in store.records("jobs"):
        state = State(record["state"])
        waits = state in {State.PENDING, State.PROCESSING}
        assert record["reason"] in REASONS_OF[state], record
        assert "place" in record or not waits, record
        assert "place" not in record or waits or record.get("halt"), record
        assert ("lease_until" in record) == (state is State.PROCESSING), record
        assert ("expire_by" in record) == (state is State.PENDING and record["expires_at"] is not None), record
        assert state is State.PENDING or "ready_at" not in record, record
        counted[record["account"], record["queue"]][state] += 1
        if "place" in record:
            lanes[record["account"], record["queue"], record["lane_key"]].append(record)
    for lane in lanes.values():
        lane.sort(key=lambda record: record["place"])
        assert len({record["place"] for record in lane}) == len(lane), lane
        for first, behind in pairwise(lane):
            assert "ready_at" not in behind, behind
            assert behind["state"] != State.PROCESSING or first["state"] == State.PROCESSING, behind
        if lane[0]["state"] == State.PENDING:
            assert lane[0].get("ready_at") == lane[0]["run_at"], lane[0]
    stored = {
        (queue["account"], queue["queue"]): {state: number for state, number in queue["states"].items() if number}
        for queue in store.records("queues")
    }
    stored = {name: counts for name, counts in stored.items() if counts}
    assert stored == {name: dict(counts) for name, counts in counted.items()}
