"""Drain: hold the queue's lock, claim what is due, send it, settle it, until nothing is due or the time is up.

It awaits ports only, keeps nothing that matters in memory, and may be killed at any await: the leases it leaves behind
end, and what it was sending is sent again under the same key.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, NamedTuple

from holdfast.batch import judge_all, needs_look, results_of
from holdfast.errors import InvalidPayloadError, StorageError
from holdfast.gates import Miss, valid_flags
from holdfast.lifecycle import Reason
from holdfast.moments import is_over, is_recent
from holdfast.outcome import (
    Alone,
    Delivered,
    NotRun,
    Outcome,
    Rejected,
    Retry,
    Unreachable,
    is_receipt,
    judge,
    needs_probe,
)
from holdfast.outgoing import request_of, request_of_all
from holdfast.ports import Next
from holdfast.prefetch import FRESH_MS, how_many, how_many_behind, is_fresh
from holdfast.routes import Route, Task
from holdfast.transactions.claim import Claim, Claimant, begin, claim
from holdfast.transactions.gating import not_reached, reached, read_away, read_holder
from holdfast.transactions.settle import Attempt, renew, settle_and_claim, settle_and_claim_behind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from holdfast.outcome import Verdict
    from holdfast.ports import Event, Lock, Millis, Ports, Request
    from holdfast.registry import Queue, Registry
    from holdfast.storage import Record
    from holdfast.transactions.claim import Claimed
    from holdfast.transactions.tidy import Retention

LEASE_MS = 60_000
RENEW_MS = 20_000
PROBE_TIMEOUT_MS = 10_000
LOOK_MS = 60_000
"""How often a pass with a lane free looks whether there is more to send."""
SHORTEST_MS = 50
OWN_ORIGIN = Route("flags", "POST", "/")
"""Where our own server is asked what it has switched off by an app that has tasks, and no route to it any more."""


@dataclass(slots=True)
class Send:
    """What of a lane is being sent: one job, many in one request, or several one after the other."""

    fences: dict[str, int]
    """Of its jobs."""
    wanted: set[str]
    """Its jobs that nobody has cancelled."""
    kept_at: Millis
    """When its leases were made or renewed last."""
    task: asyncio.Task[list[Attempt]] = field(init=False)
    """Ends with what is to be settled; cancelled where nobody wants that any more, or the claims are no longer ours."""


class _Behind(NamedTuple):
    """What was claimed behind jobs that are being sent."""

    jobs: list[Claimed]
    unsettled: list[Attempt]
    """What could not be settled by the way."""


class Processor:
    """Drains one queue for one account at a time. One instance a queue and context."""

    def __init__(
        self,
        ports: Ports,
        outbox: str,
        queue: Queue,
        registry: Registry,
        *,
        app_version: int,
        retention: Retention,
        take_in: Callable[[], Awaitable[object]],
        publish: Callable[[Event], None],
    ) -> None:
        """Describe one.

        Args:
            ports: of its context.
            outbox: the name of the outbox; its locks are named after it.
            queue: which one, and how many of its lanes are served at once.
            registry: what each type is.
            app_version: of this app.
            retention: how long finished jobs stay.
            take_in: moves the inbox into the queue, before anything is claimed.
            publish: tells every context.
        """
        self._ports = ports
        self._queue = queue
        self._lock_name = f"{outbox}:queue:{queue.name}"
        self._registry = registry
        self._app_version = app_version
        self._retention = retention
        self._take_in = take_in
        self._publish = publish
        self._holder = ports.entropy.uuid()
        self._sending: dict[str, Send] = {}
        self._nexts: dict[str, Request] = {}
        """What may go by itself behind what is being sent, by job."""
        self._nudged = asyncio.Event()
        self._nudges = 0
        self._took_ms: Millis | None = None
        """What the last jobs that went one after the other took each, if all were delivered."""
        self._account = ""
        self._has_left = False
        """That account: what is being sent is settled, and no more of it is claimed."""

    async def drain(self, account: str) -> Millis | None:
        """One pass over the queue; returns when something could go by itself, None if nothing waits for that.

        Whoever holds the queue's lock is waited for, unless its lease has ended.
        """
        self._account, self._has_left = account, False
        self._took_ms = None
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
                return self._ports.clock.now() + LEASE_MS

    def abort(self, job_id: str) -> None:
        """Stop sending a job that was cancelled; a request that has others in it goes on for them."""
        self._ports.transport.withdraw(job_id)
        send = self._sending.pop(job_id, None)
        if send is not None:
            send.wanted.discard(job_id)
            if not send.wanted:
                send.task.cancel()

    def signed_in(self, account: str) -> None:
        """Who is signed in on this device now, '' being nobody."""
        self._has_left |= account != self._account
        self.nudge()

    def nudge(self) -> None:
        """There may be more to send, or less: a pass that runs looks at once, with a lane free, or after the next request."""
        self._nudges += 1
        for job_id in self._nexts:
            self._ports.transport.withdraw(job_id)
        self._nudged.set()

    async def _pass(self, account: str, lock: Lock) -> Millis | None:
        who = self._claimant(account, granted=not lock.stolen)
        self._nudged.clear()
        first = await self._ports.store.run(
            begin(who, self._room(self._queue.concurrency), self._retention, self._ports.clock.now())
        )
        self._tell(first)
        sending: list[Send] = []
        renewal = asyncio.ensure_future(self._keep(sending, who))
        try:
            last = await self._send_all(first, sending, who)
        finally:
            renewal.cancel()
            for send in sending:
                send.task.cancel()
                self._forget(send)
        return _earliest(first.next_at, last.next_at)

    async def _send_all(self, found: Claim, sending: list[Send], who: Claimant) -> Claim:
        """Send what was claimed and whatever can be claimed until all is settled; returns the last look."""
        begun = found
        while True:
            most = self._queue.concurrency - begun.taken
            sending += [self._begin(lane, who) for lane in found.lanes]
            if found.look_at or found.more:
                for origin in sorted(found.look_at):
                    await self._look_at(origin)
                found = await self._claim_more(who, sending, most - len(sending))
            elif begun.recover_at is not None and is_over(begun.recover_at, self._ports.clock.now(), LEASE_MS):
                begun = found = await self._begin_again(who, sending, begun)
            elif not sending:
                return found
            else:
                next_at = _earliest(found.next_at, begun.recover_at)
                await self._until_something_to_do(sending, next_at, has_room=len(sending) < self._queue.concurrency)
                ended = next((send for send in sending if send.task.done()), None)
                if ended is None:
                    found = await self._claim_more(who, sending, most - len(sending))
                else:
                    sending.remove(ended)
                    self._forget(ended)
                    found = await self._settle(ended, who, free=most - len(sending))

    def _begin(self, jobs: list[Claimed], who: Claimant) -> Send:
        """Send what was claimed of a lane."""
        fences = {claimed.record["id"]: claimed.record["fence"] for claimed in jobs}
        send = Send(fences, set(fences), self._ports.clock.now())
        send.task = asyncio.ensure_future(self._attempts(send, jobs, who))
        self._sending |= dict.fromkeys(fences, send)
        return send

    def _forget(self, send: Send) -> None:
        for job_id in send.fences:
            self._sending.pop(job_id, None)

    async def _keep(self, sending: Sequence[Send], who: Claimant) -> None:
        """Renew the leases of all that is being sent for a while; what is no longer ours is not sent on.

        Each in its time, and not before: that a lease was never renewed tells who recovers it that its holder died soon.
        """
        while True:
            now = self._ports.clock.now()
            oldest = min((send.kept_at for send in sending), default=now)
            await self._ports.clock.sleep(max(SHORTEST_MS, min(oldest + RENEW_MS - now, RENEW_MS)))
            for send in list(sending):
                now = self._ports.clock.now()
                if is_recent(send.kept_at, now, RENEW_MS):
                    continue
                send.kept_at = now
                # Where nothing can be stored the leases may still run; whose a claim is shows at settle, by the fence.
                with suppress(StorageError):
                    if not await self._ports.store.run(renew(dict(send.fences), who, now)):
                        send.task.cancel()

    async def _until_something_to_do(self, sending: Sequence[Send], next_at: Millis | None, *, has_room: bool) -> None:
        """Until a send ends; with a lane free, also until there may be something to send in it."""
        tasks = [send.task for send in sending]
        if not has_room:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return
        span_ms = LOOK_MS if next_at is None else max(SHORTEST_MS, min(LOOK_MS, next_at - self._ports.clock.now()))
        others = [asyncio.ensure_future(self._nudged.wait()), asyncio.ensure_future(self._ports.clock.sleep(span_ms))]
        try:
            await asyncio.wait((*tasks, *others), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for other in others:
                other.cancel()

    async def _claim_more(self, who: Claimant, sending: Sequence[Send], free: int) -> Claim:
        """Look once more. What is being sent does not suffer from a look that fails; the next one is a minute away."""
        self._nudged.clear()
        try:
            await self._take_in()
            found = await self._ports.store.run(claim(self._ahead(who), self._room(free), self._ports.clock.now()))
        except StorageError:
            if not sending:
                raise
            return Claim()
        self._tell(found)
        return found

    async def _begin_again(self, who: Claimant, sending: Sequence[Send], begun: Claim) -> Claim:
        """Look as at the beginning: a lease that somebody else had left is over. As with any look, one that fails is made later."""
        free, now = self._queue.concurrency - len(sending), self._ports.clock.now()
        ours = frozenset(job_id for send in sending for job_id in send.fences)
        try:
            found = await self._ports.store.run(begin(who, self._room(free), self._retention, now, ours))
        except StorageError:
            if not sending:
                raise
            return Claim(taken=begun.taken, recover_at=now + LOOK_MS)
        self._tell(found)
        return found

    async def _settle(self, ended: Send, who: Claimant, free: int) -> Claim:
        """Settle what a request came to and claim what is next."""
        attempts = [] if ended.task.cancelled() else ended.task.result()
        now = self._ports.clock.now()
        found = await self._ports.store.run(settle_and_claim(attempts, self._ahead(who), self._room(free), now))
        self._tell(found, *ended.fences)
        return found

    def _room(self, free: int) -> int:
        """How many more lanes are to be served, of those that are free."""
        return 0 if self._has_left else free

    def _ahead(self, who: Claimant) -> Claimant:
        """Who claims, as many of a lane as go quickly one after the other."""
        return replace(who, prefetch=how_many(self._took_ms))

    def _claimant(self, account: str, *, granted: bool) -> Claimant:
        return Claimant(
            holder=self._holder,
            lock=self._lock_name,
            account=account,
            queue=self._queue.name,
            origins={type_: self._registry.origin_of(type_) for type_ in self._types()},
            app_version=self._app_version,
            lease_ms=LEASE_MS,
            granted=granted,
            batches={route.type: route.most_together for route in self._routes() if route.batch},
            in_turn=frozenset(route.type for route in self._routes() if not route.batch and route.receipt is None),
        )

    def _types(self) -> list[str]:
        return [type_ for type_, handler in self._registry.handlers.items() if handler.queue == self._queue.name]

    async def _holder_is_gone(self) -> bool:
        """Whether the lease of whoever holds this queue's lock has ended: a frozen tab keeps its lock, not its lease."""
        try:
            record = await self._ports.store.run(read_holder(self._lock_name))
        except StorageError:
            return False  # nobody knows; the next look opens the database anew
        now = self._ports.clock.now()
        return record is None or is_over(record["until"], now, LEASE_MS)

    async def _look_at(self, origin: str) -> None:
        """Ask a server whether it is there and what it has switched off; its breaker closes or opens accordingly."""
        route = next((route for route in self._routes() if route.origin == origin), OWN_ORIGIN)
        if not await self._probe(route):
            miss = Miss(origin, route.backoff, self._ports.entropy.random(), self._ports.offline())
            await self._ports.store.run(not_reached(miss, self._ports.clock.now()))

    def _routes(self) -> list[Route]:
        # Of every queue: what switches a task off is said by a server that its own queue need not know.
        return [handler for handler in self._registry.handlers.values() if isinstance(handler, Route)]

    async def _probe(self, route: Route) -> bool:
        """Whether the server answers with its flags document; if so, what it says is kept and its breaker closes."""
        flags = valid_flags(await self._ports.transport.fetch_json(route.origin + route.probe, PROBE_TIMEOUT_MS))
        if flags is None:
            return False
        if await self._ports.store.run(reached(route.origin, flags, self._ports.clock.now())):
            self._publish({"kind": "reached", "origin": route.origin})
        return True

    async def _attempts(self, send: Send, jobs: list[Claimed], who: Claimant) -> list[Attempt]:
        """What was claimed of a lane: in one request if its type allows that, else one job after the other."""
        handler = self._registry.handlers[jobs[0].record["type"]]
        if len(jobs) > 1 and isinstance(handler, Route) and handler.batch:
            return await self._attempt(jobs)
        behind: asyncio.Task[_Behind] | None = None
        then: Next | None = None
        try:
            begun, nudges, number = self._ports.clock.now(), self._nudges, 0
            attempts: list[Attempt] = []
            left = list(jobs)
            goes_on = True
            while left and goes_on:
                claimed = left.pop(0)
                then = self._next(claimed, left, nudges)
                ended = await self._attempt([claimed], then)
                number += 1
                attempts = attempts + ended
                delivered = bool(ended) and isinstance(ended[0].outcome.verdict, Delivered)
                self._took_ms = (self._ports.clock.now() - begun) // number if delivered else None
                if behind is not None and (behind.done() or not left):
                    found, unsettled = await behind
                    left, attempts, behind = left + found, unsettled + attempts, None
                is_gone = then is not None and self._ports.transport.withdraw(then.request.job_id)
                goes_on = is_gone or (delivered and bool(left) and self._goes_on(left[0], nudges))
                if goes_on and behind is None and len(left) <= how_many_behind(self._took_ms or 0):
                    behind = asyncio.ensure_future(self._claim_behind(send, attempts, left[-1].record, who))
                    attempts = []
            if behind is not None:
                found, unsettled = await behind
                left, attempts = left + found, unsettled + attempts
            return attempts + [self._ended(claimed, Outcome(NotRun(), answered=True)) for claimed in left]
        finally:
            if behind is not None:
                behind.cancel()
            if then is not None:
                self._nexts.pop(then.request.job_id, None)
                self._ports.transport.drop(then.request.job_id)

    def _next(self, claimed: Claimed, left: list[Claimed], nudges: int) -> Next | None:
        """What may go straight behind a job, before anybody here has heard of its receipt."""
        if not left or not self._goes_on(left[0], nudges):
            return None
        this, next_ = (self._registry.handlers[one.record["type"]] for one in (claimed, left[0]))
        if not (isinstance(this, Route) and isinstance(next_, Route) and this.is_plain and next_.is_plain):
            return None
        try:
            request = request_of(next_, left[0])
        except InvalidPayloadError:
            return None  # which is what it comes to in its turn
        self._nexts[request.job_id] = request
        claimed_at = left[0].record["updated_at"]
        return Next(request, claimed_at, claimed_at + FRESH_MS)

    async def _claim_behind(self, send: Send, attempts: list[Attempt], last: Record, who: Claimant) -> _Behind:
        """Settle and claim beside a request; what cannot be settled now is settled with the rest."""
        more = max(1, how_many_behind(self._took_ms or 0))  # it may have grown since, by another lane
        now = self._ports.clock.now()
        try:
            found = await self._ports.store.run(
                settle_and_claim_behind(attempts, last, replace(who, prefetch=more + 1), now)
            )
        except StorageError:
            return _Behind([], attempts)
        settled = [attempt.job_id for attempt in attempts]
        for job_id in settled:
            del send.fences[job_id]
            send.wanted.discard(job_id)
            self._sending.pop(job_id, None)
        fences = {claimed.record["id"]: claimed.record["fence"] for claimed in found.jobs}
        send.fences |= fences
        send.wanted |= fences.keys()
        self._sending |= dict.fromkeys(fences, send)
        self._tell(found, *settled)
        return _Behind(found.jobs, [])

    def _goes_on(self, claimed: Claimed, nudges: int) -> bool:
        """Whether a job that was claimed with the one before it may be sent now that that was delivered (prefetch.py)."""
        is_wanted = claimed.record["id"] in self._sending and not self._has_left
        no_news = self._nudges == nudges
        return is_wanted and no_news and is_fresh(claimed.record["updated_at"], self._ports.clock.now())

    async def _attempt(self, jobs: list[Claimed], then: Next | None = None) -> list[Attempt]:
        """What the request came to, for each of its jobs; nothing if it was aborted."""
        try:
            outcomes = await self._run(jobs, then)
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001  (a bug of the app or an adapter is a failed attempt, not a queue that stands still)
            handler = self._registry.handlers[jobs[0].record["type"]]
            verdict: Verdict = Retry(Reason.NO_ANSWER) if len(jobs) == 1 else Alone(Reason.NO_ANSWER)
            if isinstance(handler, Route) and not await self._is_there(handler):
                verdict = Unreachable()
            outcomes = [Outcome(verdict, answered=False, said=_told(error))] * len(jobs)
        return [] if outcomes is None else [self._ended(*each) for each in zip(jobs, outcomes, strict=True)]

    def _ended(self, claimed: Claimed, outcome: Outcome) -> Attempt:
        return Attempt(
            claimed.record["id"],
            claimed.record["fence"],
            claimed.record["lease_until"],
            outcome,
            origin=self._registry.origin_of(claimed.record["type"]),
            backoff=self._registry.handlers[claimed.record["type"]].backoff,
            random=self._ports.entropy.random(),
            offline=self._ports.offline(),
        )

    async def _run(self, jobs: list[Claimed], then: Next | None) -> list[Outcome] | None:
        """The outcome of each job; None if the request was aborted."""
        if len(jobs) > 1:
            return await self._run_together(jobs)
        handler = self._registry.handlers[jobs[0].record["type"]]
        if isinstance(handler, Task):
            return [await _run_task(handler, jobs[0].payload)]
        outcome = await self._run_alone(handler, jobs[0], then)
        return None if outcome is None else [outcome]

    async def _run_alone(self, route: Route, claimed: Claimed, then: Next | None) -> Outcome | None:
        try:
            request = self._nexts.pop(claimed.record["id"], None) or request_of(route, claimed)
        except InvalidPayloadError as error:
            said = {"errors": error.detail()["violations"]}
            return Outcome(Rejected(Reason.REFUSED), answered=True, said=said)
        answer = await self._ports.transport.send(request, self._progress(claimed.record["id"]), then)
        if answer.failure == "aborted":
            return None
        answered: Any = (route.receipt or is_receipt)(answer, claimed.record["key"])
        if isawaitable(answered):  # which is always true: any answer would be a receipt
            raise TypeError(f"receipt of the route {route.type!r} is not to be awaited, and returned {answered!r}.")
        reached_now = await self._is_there(route) if needs_probe(answer, answered=answered) else True
        return judge(
            answer,
            answered=answered,
            reached=reached_now,
            no_receipts=claimed.record["no_receipts"],
            now=self._ports.clock.now(),
            classify=route.classify,
        )

    async def _run_together(self, jobs: list[Claimed]) -> list[Outcome] | None:
        routes = {route.type: route for route in self._routes()}
        request = request_of_all([(routes[claimed.record["type"]], claimed) for claimed in jobs])
        answer = await self._ports.transport.send(request, lambda _sent, _total: None)
        if answer.failure == "aborted":
            return None
        route = routes[jobs[0].record["type"]]
        results = results_of(answer, len(jobs))
        reached_now = await self._is_there(route) if needs_look(results, jobs) else True
        return judge_all(answer, results, jobs, reached=reached_now, now=self._ports.clock.now())

    async def _is_there(self, route: Route) -> bool:
        """Whether the server can be reached: asked, unless somebody has just found nobody there."""
        if await self._ports.store.run(read_away(route.origin, self._ports.clock.now())):
            return False
        return await self._probe(route)

    def _progress(self, job_id: str) -> Callable[[int, int], None]:
        def told(sent: int, total: int) -> None:
            self._publish({"kind": "progress", "id": job_id, "sent": sent, "total": total})

        return told

    def _tell(self, found: Claim, *ids: str) -> None:
        changed = [*ids, *found.changed, *(claimed.record["id"] for claimed in found.jobs)]
        if changed:
            self._publish({"kind": "change", "ids": changed, "queue": self._queue.name})
        for job_id, key_lifetime_ms in found.outlive_key:
            self._publish({"kind": "outlives_key", "id": job_id, "key_lifetime_ms": key_lifetime_ms})
        if found.about_to_prune:
            self._publish({"kind": "about_to_prune", "ids": found.about_to_prune})


def _told(error: BaseException) -> dict[str, str]:
    return {"title": type(error).__name__, "detail": str(error)}


async def _run_task(task: Task, payload: Any) -> Outcome:
    try:
        await task.run(payload)
    except asyncio.CancelledError as error:
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise
        return Outcome(Retry(Reason.TASK_ERROR), answered=True, said=_told(error))
    except Exception as error:  # noqa: BLE001  (an app's function may raise anything; it is one failed attempt)
        return Outcome(Retry(Reason.TASK_ERROR), answered=True, said=_told(error))
    return Outcome(Delivered(), answered=True)


def _earliest(*instants: Millis | None) -> Millis | None:
    return min((at for at in instants if at is not None), default=None)
