"""What an app's own tests need: the store in memory, a clock one can turn, a network that follows a script.

```python
from holdfast.testing import Laboratory
lab = Laboratory()
await outbox.open(lab.ports())
```
"""

from __future__ import annotations

import asyncio
import heapq
import json
import random  # noqa: TID251  (seeded, so that a simulation can be replayed)
import uuid
from collections import defaultdict, deque
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from holdfast.batch import ADDRESS, NOT_RUN
from holdfast.held import HeldLock
from holdfast.memory import MemoryStore
from holdfast.ports import Answer, InboxEntry, Ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from holdfast.ports import (
        Attachment,
        Channel,
        Clock,
        Entropy,
        Event,
        Inbox,
        Millis,
        Next,
        Request,
        Store,
        Transport,
    )

__all__ = [
    "Laboratory",
    "ManualClock",
    "MemoryInbox",
    "MemoryLocks",
    "MemoryStore",
    "ScriptedTransport",
    "SeededEntropy",
]

STEPS_TO_REST = 100
"""Turns of the event loop after which everything that could run has run."""


class ManualClock:
    """Time that passes only when `advance` says so."""

    def __init__(self, now: Millis = 1_800_000_000_000) -> None:
        self._now = now
        self._timers: list[tuple[Millis, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> Millis:
        return self._now

    async def sleep(self, span_ms: Millis) -> None:
        timer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._timers, (self._now + max(0, span_ms), self._count, timer))
        await timer

    async def settle(self) -> None:
        """Let everything run that can run without time passing."""
        for _ in range(STEPS_TO_REST):
            await asyncio.sleep(0)  # noqa: TID251  (a turn of the loop, not a wait)

    async def advance(self, span_ms: Millis) -> None:
        """Let time pass, timer by timer, and let each one run to rest."""
        end = self._now + span_ms
        await self.settle()
        while self._timers and self._timers[0][0] <= end:
            self._now, _, timer = heapq.heappop(self._timers)
            if not timer.done():
                timer.set_result(None)
                await self.settle()
        self._now = end


class SeededEntropy:
    """Chance that repeats itself for the same seed."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311  (to be repeatable is the point)

    def random(self) -> float:
        return self._random.random()

    def uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))


class MemoryInbox:
    """An inbox in memory; `add` plays the part of JavaScript."""

    def __init__(self, *, account: str = "") -> None:
        self.kept: list[InboxEntry] = []
        self.signed_in_account = account
        self.drafts: dict[str, Any] = {}
        self._last = 0

    def add(self, entry: InboxEntry) -> None:
        if all(known.id != entry.id for known in self.kept):
            self._last += 1
            fields = {name: getattr(entry, name) for name in InboxEntry.__slots__}
            self.kept.append(InboxEntry(**(fields | {"position": self._last})))

    async def count(self) -> int:
        return len(self.kept)

    def look(self) -> asyncio.Future[tuple[str, int]]:
        found: asyncio.Future[tuple[str, int]] = asyncio.Future()
        found.set_result((self.signed_in_account, len(self.kept)))
        return found

    async def entries(self, limit: int) -> list[InboxEntry]:
        return self.kept[:limit]

    async def remove(self, positions: Sequence[int]) -> None:
        self.kept = [entry for entry in self.kept if entry.position not in positions]

    async def append(self, entry: InboxEntry) -> None:
        self.add(entry)

    async def account(self) -> str:
        return self.signed_in_account

    async def set_account(self, account: str) -> None:
        self.signed_in_account = account

    async def wipe_drafts(self) -> None:
        self.drafts.clear()


class ScriptedTransport:
    """A network that answers what `answer` says, and writes down what was sent.

    In a request of many `answer` is asked about each item, up to the first one whose answer is not final.
    """

    def __init__(self, clock: Clock) -> None:
        self.sent: list[Request] = []
        self.reachable = True
        self.flags: dict[str, Any] = {"disabled": {"all": False, "queues": [], "types": []}, "key_lifetime_ms": None}
        self.answer: Callable[[Request], Answer | Awaitable[Answer]] = receipt
        self.answer_to_many: Callable[[Request], Answer] | None = None
        """What a server says that takes no such requests, or fails on one as a whole."""
        self.probes = 0
        self._clock = clock
        self._behind: dict[str, Next] = {}
        self._gone: dict[str, asyncio.Task[Answer]] = {}

    async def send(self, request: Request, progress: Callable[[int, int], None], then: Next | None = None) -> Answer:
        """`then` goes at once when its time has come, as in a browser."""
        if then is not None:
            self._behind[request.job_id] = then
        gone = self._gone.pop(request.job_id, None)
        try:
            return await (gone or self._exchange(request, progress))
        except asyncio.CancelledError:
            if then is not None:
                self.drop(then.request.job_id)
            raise
        finally:
            self._behind.pop(request.job_id, None)

    def withdraw(self, job_id: str) -> bool:
        self._behind = {before: then for before, then in self._behind.items() if then.request.job_id != job_id}
        return job_id in self._gone

    def drop(self, job_id: str) -> None:
        if self.withdraw(job_id):
            self._gone.pop(job_id).cancel()

    async def _exchange(self, request: Request, progress: Callable[[int, int], None]) -> Answer:
        answer = await self._reply(request, progress)
        then = self._behind.pop(request.job_id, None)
        if then is not None and then.may_go(answer, request, self._clock.now()):
            self._gone[then.request.job_id] = asyncio.ensure_future(self._exchange(then.request, progress))
        return answer

    async def _reply(self, request: Request, progress: Callable[[int, int], None]) -> Answer:
        self.sent.append(request)
        progress(0, len(json.dumps(request.payload)))
        if not self.reachable:
            return Answer(failure="network")
        if not request.url.endswith(ADDRESS):
            return await self._answer(request)
        return self.answer_to_many(request) if self.answer_to_many else await self._answer_each(request)

    async def _answer(self, request: Request) -> Answer:
        answer = self.answer(request)
        return answer if isinstance(answer, Answer) else await answer

    async def _answer_each(self, request: Request) -> Answer:
        results: list[dict[str, Any]] = []
        stopped = False
        for item in request.payload["items"]:
            headers = request.headers | {"Idempotency-Key": item["key"]}
            alone = replace(request, method=item["method"], url=item["path"], headers=headers, payload=item["body"])
            answer = answer_with(424, {"type": NOT_RUN})(alone) if stopped else await self._answer(alone)
            if answer.failure:
                return answer
            results.append(
                {"status": answer.status, "headers": answer.headers, "body": json.loads(answer.body or "null")}
            )
            is_final = answer.status < 500 and answer.status not in {401, 408, 425, 429}
            stopped = stopped or not is_final or (item["halts"] and answer.status >= 300)
        return Answer(200, {"content-type": "application/json"}, json.dumps({"results": results}))

    async def fetch_json(self, url: str, timeout_ms: Millis) -> Any:  # noqa: ARG002
        self.probes += 1
        return self.flags if self.reachable else None


def receipt(request: Request) -> Answer:
    """The companion's answer to a request it has done."""
    return Answer(201, {"idempotency-key": request.headers["Idempotency-Key"]}, "{}")


def answer_with(status: int, problem: dict[str, Any] | None = None, **headers: str) -> Callable[[Request], Answer]:
    """The companion's answer with another status."""

    def answer(request: Request) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named |= {"idempotency-key": request.headers["Idempotency-Key"]}
        if problem is not None:
            named["content-type"] = "application/problem+json"
        return Answer(status, named, json.dumps(problem or {}))

    return answer


class MemoryLocks:
    """Locks shared by all contexts of a test."""

    def __init__(self) -> None:
        self._held: dict[str, HeldLock] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = defaultdict(deque)

    @asynccontextmanager
    async def hold(self, name: str, stale: Callable[[], Awaitable[bool]]) -> AsyncIterator[HeldLock]:  # noqa: ARG002
        while name in self._held:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[name].append(turn)
            await turn
        lock = self._held[name] = HeldLock(stolen=False)
        try:
            yield lock
        finally:
            if self._held.get(name) is lock:
                self._free(name)

    def steal(self, name: str) -> None:
        """Take the lock from its holder, as a tab does that waited for a frozen one."""
        lock = self._held[name]
        self._free(name)
        lock.lose()

    def _free(self, name: str) -> None:
        del self._held[name]
        while self._waiting[name]:
            turn = self._waiting[name].popleft()
            if not turn.done():
                turn.set_result(None)
                return


class MemoryChannel:
    """One end of a channel that reaches the other contexts of a test."""

    def __init__(self, ends: list[MemoryChannel]) -> None:
        self._ends = ends
        self._callbacks: list[Callable[[Event], None]] = []
        ends.append(self)

    def post(self, event: Event) -> None:
        for end in self._ends:
            if end is not self:
                end.hear(json.loads(json.dumps(event)))

    def hear(self, event: Event) -> None:
        """Hand on what another end said."""
        for callback in list(self._callbacks):
            callback(event)

    def listen(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)


class CountingWakeup:
    """Counts how often the platform was asked for a wake."""

    def __init__(self) -> None:
        self.requests = 0

    def request(self) -> None:
        self.requests += 1


class Laboratory:
    """One device with a network: `ports()` gives each context of it its own set."""

    def __init__(self, *, seed: int = 0, store: Store | None = None) -> None:
        self.clock = ManualClock()
        self.entropy: Entropy = SeededEntropy(seed)
        self.store: Store = store or MemoryStore()
        self.inbox = MemoryInbox()
        self.transport = ScriptedTransport(self.clock)
        self.locks = MemoryLocks()
        self.wakeup = CountingWakeup()
        self._ends: list[MemoryChannel] = []

    def ports(self) -> Ports:
        channel: Channel = MemoryChannel(self._ends)
        inbox: Inbox = self.inbox
        transport: Transport = self.transport
        return Ports(
            self.store,
            inbox,
            transport,
            self.locks,
            self.clock,
            self.entropy,
            channel,
            self.wakeup,
            _read_bytes,
            _no_estimate,
            lambda: False,
        )


async def _no_estimate() -> None:
    """Memory has no quota."""


async def _read_bytes(handle: Attachment) -> bytes:
    """In memory a handle is its bytes."""
    return bytes(handle)
