"""Drain: hold the queue's lock, claim what is due, send it, settle it, until nothing is due or the time is up.

It awaits ports only, keeps nothing that matters in memory, and may be killed at any await: the leases it leaves behind
end, and what it was sending is sent again under the same key.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.errors import InvalidPayloadError, StorageError
from holdfast.gates import Gates, may_probe, valid_flags
from holdfast.lifecycle import Reason
from holdfast.outcome import Delivered, Outcome, Rejected, Retry, judge, needs_probe
from holdfast.ports import Part, Request
from holdfast.routes import Route, Task
from holdfast.transactions.claim import Claim, Claimant, Claimed, claim
from holdfast.transactions.gating import not_reached, reached, read_gates, read_holder
from holdfast.transactions.settle import Attempt, renew, settle_and_claim

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from holdfast.ports import Event, Lock, Millis, Ports
    from holdfast.routes import Handler

LEASE_MS = 60_000
RENEW_MS = 20_000
SEND_TIMEOUT_MS = 30_000
SLOWEST_BYTES_PER_MS = 10
"""A connection slower than 10 kB/s is taken for dead; the time-out grows with the body accordingly."""
PROBE_TIMEOUT_MS = 10_000


@dataclass(frozen=True, slots=True)
class Drained:
    """What a drain leaves behind."""

    next_wake_at: Millis | None
    """When something could go by itself; None if nothing is waiting for that."""


class Processor:
    """Drains one queue for one account at a time. One instance a queue and context."""

    def __init__(
        self,
        ports: Ports,
        name: str,
        queue: str,
        *,
        handlers: Mapping[str, Handler],
        app_version: int,
        publish: Callable[[Event], None],
    ) -> None:
        self._ports = ports
        self._publish = publish
        self._queue = queue
        self._lock_name = f"{name}:queue:{queue}"
        self._handlers = handlers
        self._app_version = app_version
        self._holder = ports.entropy.uuid()
        self._sending: dict[str, asyncio.Task[Outcome | None]] = {}

    async def drain(self, account: str) -> Drained:
        """One pass over the queue. Whoever holds the lock is waited for, unless its lease has ended."""
        async with self._ports.locks.hold(self._lock_name, self._holder_is_gone) as lock:
            pass_ = asyncio.ensure_future(self._pass(account, lock))
            lock.on_lost(pass_.cancel)
            try:
                return await pass_
            except asyncio.CancelledError:
                current = asyncio.current_task()
                if current is not None and current.cancelling():
                    pass_.cancel()
                    raise
                # The lock was stolen: somebody else drains now, and what was being sent is settled by nobody here.
                return Drained(self._ports.clock.now() + LEASE_MS)

    def abort(self, job_id: str) -> None:
        """Stop sending a job that was cancelled."""
        task = self._sending.get(job_id)
        if task is not None:
            task.cancel()

    async def _pass(self, account: str, lock: Lock) -> Drained:
        store, clock = self._ports.store, self._ports.clock
        blocked_until = await self._look_at_servers()
        who = self._claimant(account, granted=not lock.stolen)
        found = await store.run(claim(who, 1, clock.now()))
        self._tell(found)
        while found.jobs:
            claimed = found.jobs[0]
            attempt = await self._attempt(claimed, who)
            if attempt is None:
                found = await store.run(claim(who, 1, clock.now()))
            else:
                _, found = await store.run(settle_and_claim(attempt, who, 1, clock.now()))
            self._tell(found, claimed.record["id"])
        return Drained(_earliest(found.next_at, blocked_until))

    def _claimant(self, account: str, *, granted: bool) -> Claimant:
        origins = {
            type_: handler.origin if isinstance(handler, Route) else ""
            for type_, handler in self._handlers.items()
            if handler.queue == self._queue
        }
        return Claimant(
            self._holder, self._lock_name, account, self._queue, origins, self._app_version, LEASE_MS, granted
        )

    async def _holder_is_gone(self) -> bool:
        """Whether the lease of whoever holds this queue's lock has ended: a frozen tab keeps its lock, not its lease."""
        now = self._ports.clock.now()
        record = await self._ports.store.run(read_holder(self._lock_name))
        return record is None or not now < record["until"] <= now + LEASE_MS

    async def _look_at_servers(self) -> Millis | None:
        """Ask the servers whose breaker is open whether they are back, if it is time to. Returns when to ask again."""
        store, clock = self._ports.store, self._ports.clock
        gates = Gates.of(await store.run(read_gates()))
        again: Millis | None = None
        for origin, route in self._routes_by_origin().items():
            breaker = gates.breaker(origin)
            if breaker is None:
                if gates.wants_look(origin, clock.now()):
                    await self._probe(route)
                continue
            if not may_probe(breaker, clock.now()):
                again = _earliest(again, breaker["open_until"])
            elif not await self._probe(route):
                random = self._ports.entropy.random()
                await store.run(not_reached(origin, route.backoff, random, clock.now()))
                again = _earliest(again, clock.now() + RENEW_MS)
        return again

    def _routes_by_origin(self) -> dict[str, Route]:
        return {h.origin: h for h in self._handlers.values() if isinstance(h, Route) and h.queue == self._queue}

    async def _probe(self, route: Route) -> bool:
        """Whether the server answers with its flags document; if so, what it says is kept and its breaker closes."""
        flags = valid_flags(await self._ports.transport.fetch_json(route.origin + route.probe, PROBE_TIMEOUT_MS))
        if flags is None:
            return False
        await self._ports.store.run(reached(route.origin, flags, self._ports.clock.now()))
        return True

    async def _attempt(self, claimed: Claimed, who: Claimant) -> Attempt | None:
        """Send one claimed job and name the outcome. None: the claim is no longer ours, there is nothing to settle."""
        record = claimed.record
        handler = self._handlers[record["type"]]
        self._tell(None, record["id"])
        task = asyncio.ensure_future(self._run(handler, claimed))
        self._sending[record["id"]] = task
        try:
            outcome = await self._until_done(task, record, who)
        finally:
            self._sending.pop(record["id"], None)
            task.cancel()
        if outcome is None:
            return None
        origin = handler.origin if isinstance(handler, Route) else ""
        return Attempt(record["id"], record["fence"], outcome, origin, handler.backoff, self._ports.entropy.random())

    async def _until_done(self, task: asyncio.Task[Outcome | None], record: Any, who: Claimant) -> Outcome | None:
        """Wait for the send, renewing the lease; a claim that is lost, or a job that is cancelled, ends it."""
        while True:
            timer = asyncio.ensure_future(self._ports.clock.sleep(RENEW_MS))
            try:
                await asyncio.wait((task, timer), return_when=asyncio.FIRST_COMPLETED)
            finally:
                timer.cancel()
            if task.cancelled():
                return None
            if task.done():
                return task.result()
            try:
                ours = await self._ports.store.run(renew(record["id"], record["fence"], who, self._ports.clock.now()))
            except StorageError:
                # The lease may still run; whether the claim is ours shows at settle, by the fence.
                continue
            if not ours:
                return None

    async def _run(self, handler: Handler, claimed: Claimed) -> Outcome | None:
        if isinstance(handler, Task):
            return await _run_task(handler, claimed.payload)
        try:
            request = _request(handler, claimed)
        except InvalidPayloadError as error:
            said = {"errors": error.detail()["violations"]}
            return Outcome(Rejected(Reason.REFUSED), answered=True, said=said)
        answer = await self._ports.transport.send(request, self._progress(claimed.record["id"]))
        if answer.failure == "aborted":
            return None
        key = claimed.record["key"]
        was_reached = await self._probe(handler) if needs_probe(answer, key) else True
        return judge(
            answer,
            key,
            reached=was_reached,
            no_receipts=claimed.record["no_receipts"],
            now=self._ports.clock.now(),
        )

    def _progress(self, job_id: str) -> Callable[[int, int], None]:
        def told(sent: int, total: int) -> None:
            self._publish({"kind": "progress", "id": job_id, "sent": sent, "total": total})

        return told

    def _tell(self, found: Claim | None, *ids: str) -> None:
        changed = [*ids, *(found.changed if found else ()), *(c.record["id"] for c in (found.jobs if found else ()))]
        if changed:
            self._publish({"kind": "change", "ids": changed})


async def _run_task(task: Task, payload: Any) -> Outcome:
    try:
        await task.run(payload)
    except Exception as error:  # noqa: BLE001  (an app's function may raise anything; it is one failed attempt)
        said = {"title": type(error).__name__, "detail": str(error)}
        return Outcome(Retry(Reason.TASK_ERROR), answered=True, said=said)
    return Outcome(Delivered(), answered=True)


def _request(route: Route, claimed: Claimed) -> Request:
    record = claimed.record
    payload = claimed.payload
    headers = {"Idempotency-Key": record["key"]}
    if record["account"]:
        headers["Holdfast-Account"] = record["account"]
    parts = tuple(
        Part(described["field"], described["name"], described["type"], described["size"], handle)
        for described, handle in claimed.attachments
    )
    size = len(json.dumps(payload)) + sum(part.size for part in parts)
    timeout_ms = SEND_TIMEOUT_MS + size // SLOWEST_BYTES_PER_MS
    url = route.url_for(payload if isinstance(payload, dict) else {})
    return Request(record["id"], route.method, url, headers, payload, parts, timeout_ms)


def _earliest(*instants: Millis | None) -> Millis | None:
    return min((at for at in instants if at is not None), default=None)
