"""The public face: routes and tasks, enqueue, what is there, retry, cancel, edit, drain.

An `Outbox` is described at import and opened on ports later, so that the same module serves page, worker and tests.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from holdfast.backoff import Backoff
from holdfast.errors import (
    InvalidOptionError,
    InvalidPayloadError,
    JobNotFoundError,
    NewerStorageError,
    StorageClosedError,
    UnknownTypeError,
    WaitTimeoutError,
)
from holdfast.gates import Gates
from holdfast.inbox import take_in
from holdfast.job import DEFAULT_PRIORITY, Draft, File, new_job, public_row, waits_for
from holdfast.lifecycle import STATES, UNSENT, State
from holdfast.limits import check_content, check_limit, check_options
from holdfast.ports import InboxEntry
from holdfast.processor import Processor
from holdfast.routes import Route, Task
from holdfast.transactions.enqueue import enqueue
from holdfast.transactions.gating import look_now as look_now_verb
from holdfast.transactions.gating import signed_in
from holdfast.transactions.reading import list_jobs, read_job, read_stats
from holdfast.transactions.redrive import cancel, edit, retry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from holdfast.ports import Event, Millis, Ports
    from holdfast.routes import Form, Handler
    from holdfast.storage import Record

SOON_MS = 900_000
"""What can go by itself within this is worth another wake of a worker."""
EXPORT_LIMIT = 10_000
"""Jobs of each state that an export holds at most."""


class Accepted(NamedTuple):
    """A write that is durable on this device."""

    id: str
    key: str


class Outbox:
    """A durable write queue.

    ```python
    outbox = Outbox("field", app_version=1)
    outbox.route("inspection.create", "POST", "/api/inspections", form=INSPECTION)
    accepted = await outbox.enqueue("inspection.create", {"site": "Lock 7"})
    ```
    """

    def __init__(self, name: str, *, app_version: int) -> None:
        """Describe an outbox.

        Args:
            name: its database and its locks are named after it; one an app is usual.
            app_version: a whole number that grows with every release that knows more types.
        """
        if not name:
            raise InvalidOptionError("An outbox needs a name; its database is named after it.")
        self.name = name
        self.app_version = app_version
        self._handlers: dict[str, Handler] = {}
        self._ports: Ports | None = None
        self._processors: dict[str, Processor] = {}
        self._draining: dict[str, asyncio.Task[Millis | None]] = {}
        self._once_more: set[str] = set()
        self._listeners: list[Callable[[Event], None]] = []

    # Describing

    def route(
        self,
        type_: str,
        method: str,
        url: str,
        *,
        queue: str = "default",
        form: Form | None = None,
        attempts: int = 8,
        backoff: Backoff | None = None,
        summary: Iterable[str] = (),
        files_field: str = "files",
        probe: str = "/api/flags",
    ) -> Route:
        """Deliver jobs of this type over HTTP.

        Args:
            type_: the name of the type.
            method: POST, PUT, PATCH or DELETE.
            url: a path of our origin or a URL; `{name}` is filled from the payload.
            queue: jobs of one queue run one at a time, apart from other queues.
            form: the rules its payload must keep; checked before anything is stored.
            attempts: failed attempts before a job is put aside.
            backoff: how the waits between them grow.
            summary: fields of the payload that lists show.
            files_field: the part name of attachments that name none of their own.
            probe: the flags document of its server.
        """
        handler = Route(
            type_,
            method,
            url,
            queue,
            form,
            backoff or Backoff(),
            attempts,
            tuple(summary),
            files_field,
            probe,
        )
        self._register(handler)
        return handler

    def task(
        self,
        type_: str,
        *,
        queue: str = "default",
        attempts: int = 8,
        backoff: Backoff | None = None,
    ) -> Callable[[Callable[[Any], Awaitable[None]]], Callable[[Any], Awaitable[None]]]:
        """Run jobs of this type by the decorated function, on this device. It may run twice: make that harmless."""

        def register(run: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
            self._register(Task(type_, run, queue, backoff or Backoff(), attempts))
            return run

        return register

    def _register(self, handler: Handler) -> None:
        if handler.type in self._handlers:
            raise InvalidOptionError(f"The type {handler.type!r} has a route or task already.")
        self._handlers[handler.type] = handler

    # Opening

    async def open(self, ports: Ports) -> None:
        """Attach the outbox to a context."""
        self._ports = ports
        queues = {handler.queue for handler in self._handlers.values()}
        self._processors = {
            queue: Processor(
                ports,
                self.name,
                queue,
                handlers=self._handlers,
                app_version=self.app_version,
                publish=self.publish,
            )
            for queue in queues
        }
        ports.channel.listen(self._hear)

    @property
    def ports(self) -> Ports:
        if self._ports is None:
            raise InvalidOptionError(f"The outbox {self.name!r} is not open yet; await `open` first.")
        return self._ports

    # Taking in

    async def enqueue(
        self,
        type_: str,
        payload: Any,
        *,
        id: str | None = None,  # noqa: A002  (the field's word)
        key: str | None = None,
        lane: str | None = None,
        priority: int = DEFAULT_PRIORITY,
        delay_ms: Millis = 0,
        ttl_ms: Millis | None = None,
        attachments: Sequence[File] = (),
    ) -> Accepted:
        """Store a write. When this returns, it is durable on this device and goes out by itself.

        Args:
            type_: the name of a route or task.
            payload: any JSON value.
            id: the job's id; a second enqueue with the same id is the same job. Made if absent.
            key: the idempotency key. Made if absent.
            lane: jobs of one lane are delivered in the order in which they were enqueued.
            priority: 0 to 9; chooses among the heads of lanes.
            delay_ms: not before this has passed.
            ttl_ms: worth delivering for this long; then it ends as `expired` and is kept.
            attachments: files that go with it.

        Raises:
            UnknownTypeError, InvalidOptionError: the call is wrong.
            InvalidPayloadError: the payload breaks its form's rules.
            TooLargeError: it is over a limit.
            StorageFullError, StorageClosedError: it could not be stored.
        """
        handler = self._handler(type_)
        check_options(lane=lane, priority=priority, delay_ms=delay_ms, ttl_ms=ttl_ms)
        check_content(payload, attachments)
        _check_form(handler, payload, attachments)
        options = {"lane": lane, "priority": priority, "delay_ms": delay_ms, "ttl_ms": ttl_ms}
        id_, key_ = id or self.ports.entropy.uuid(), key or self.ports.entropy.uuid()
        account = await self.ports.inbox.account()
        try:
            await take_in(self)
            draft = self.draft(type_, payload, attachments, id=id_, key=key_, account=account, options=options)
            await self.ports.store.run(enqueue(draft))
        except (NewerStorageError, StorageClosedError):
            # A newer version or a lost database must not cost a write: the inbox has one schema for ever.
            await self._append(type_, payload, attachments, Accepted(id_, key_), account=account, options=options)
        self._told(id_)
        return Accepted(id_, key_)

    async def submit(
        self,
        type_: str,
        fields: list[tuple[str, str]],
        files: Sequence[File] = (),
        *,
        id: str,  # noqa: A002  (the field's word)
        key: str,
    ) -> Accepted:
        """Store a form's raw fields, read and checked by the rules of the type's form. As `enqueue` otherwise."""
        handler = self._handler(type_)
        if not isinstance(handler, Route) or handler.form is None:
            raise InvalidOptionError(f"The type {type_!r} has no form; enqueue a payload instead.")
        return await self.enqueue(type_, handler.form.parse(fields), id=id, key=key, attachments=files)

    def draft(
        self,
        type_: str,
        payload: Any,
        files: Sequence[File],
        *,
        id: str,  # noqa: A002  (the field's word)
        key: str,
        account: str,
        options: dict[str, Any],
        created_at: Millis | None = None,
    ) -> Draft:
        """The job a write would become; also for types this app does not know (they go to the default queue)."""
        handler = self._handlers.get(type_)
        summary = handler.summary if isinstance(handler, Route) else ()
        field = handler.files_field if isinstance(handler, Route) else "files"
        return new_job(
            id=id,
            key=key,
            type=type_,
            queue=handler.queue if handler else "default",
            account=account,
            payload=payload,
            files=tuple(File(f.field or field, f.name, f.media_type, f.size, f.handle) for f in files),
            summary={name: payload.get(name) for name in summary} if isinstance(payload, dict) else {},
            max_attempts=handler.attempts if handler else 1,
            app_version=self.app_version,
            now=self.ports.clock.now() if created_at is None else created_at,
            **options,
        )

    async def _append(
        self,
        type_: str,
        payload: Any,
        files: Sequence[File],
        accepted: Accepted,
        *,
        account: str,
        options: dict[str, Any],
    ) -> None:
        kept = [(f.field, f.name, f.media_type, f.size, f.handle) for f in files]
        given = {name: value for name, value in options.items() if value is not None}
        now = self.ports.clock.now()
        await self.ports.inbox.append(InboxEntry(0, *accepted, type_, account, now, None, payload, given, kept))

    # Looking

    async def jobs(self, *, state: str | None = None, limit: int = 100) -> list[Record]:
        """The account's jobs as public rows, newest first; up to `limit` of each state. Raises InvalidOptionError.

        Beside the documented fields a row has `waits` (`turn`, `network`, `retry`, `time`, `sign-in` or None) and, for a
        job that waits its turn, `after` (the id of the one before it) and `ahead` (how many go first).
        """
        if state is not None and state not in STATES:
            raise InvalidOptionError(f"state takes one of {', '.join(STATES)}; not {state!r}.")
        check_limit(limit)
        account = await self.ports.inbox.account()
        await take_in(self)
        states = STATES if state is None else (State(state),)
        records, gates = await self.ports.store.run(list_jobs(account, states, limit))
        rows = self._rows(records, Gates.of(gates))
        return sorted(rows, key=lambda row: (row["created_at"], row["seq"]), reverse=True)

    async def job(self, job_id: str) -> Record | None:
        """One job with its `payload` and its attachments' `field`, `name`, `type`, `size`; None if there is none."""
        found = await self._read(job_id)
        if found is None:
            return None
        record, body, _, gates = found
        [row] = self._rows([record], Gates.of(gates))
        return row | {"payload": body["payload"], "attachments": body["attachments"]}

    async def files(self, job_id: str) -> list[File]:
        """The attachments of a job with their handles, for editing or export."""
        found = await self._read(job_id)
        if found is None:
            raise JobNotFoundError(job_id)
        _, body, handles, _ = found
        pairs = zip(body["attachments"], handles, strict=True)
        return [File(a["field"], a["name"], a["type"], a["size"], handle) for a, handle in pairs]

    async def stats(self) -> dict[str, Any]:
        """Depth by queue and state, what is unsent, retries, failures by reason, ages. Read from counters."""
        account = await self.ports.inbox.account()
        await take_in(self)
        queues, oldest = await self.ports.store.run(read_stats(account))
        states = {state: sum(queue["states"].get(state, 0) for queue in queues) for state in STATES}
        received = [queue["last_received_at"] for queue in queues if queue["last_received_at"] is not None]
        return {
            "states": states,
            "unsent": sum(states[state] for state in UNSENT),
            "queues": {queue["queue"]: queue["states"] for queue in queues},
            "retries": sum(queue["retries"] for queue in queues),
            "failures": _sums(queue["failures"] for queue in queues),
            "oldest_unsent_at": oldest,
            "last_received_at": max(received, default=None),
        }

    async def wait(self, job_id: str, *, timeout_ms: Millis = 10_000) -> Record:
        """The job once it no longer goes by itself: received, or in need of a person. Works after a reload.

        Raises:
            JobNotFoundError: there is none.
            WaitTimeoutError: it still goes by itself; it goes on doing so.
        """
        changed = asyncio.Event()
        stop = self.listen(lambda _event: changed.set())
        deadline = asyncio.ensure_future(self.ports.clock.sleep(timeout_ms))
        try:
            while True:
                changed.clear()
                row = await self.job(job_id)
                if row is None:
                    raise JobNotFoundError(job_id)
                if row["state"] not in {State.PENDING, State.PROCESSING}:
                    return row
                waiting = asyncio.ensure_future(changed.wait())
                await asyncio.wait((waiting, deadline), return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if deadline.done() and not changed.is_set():
                    raise WaitTimeoutError(f"Job {job_id!r} is still {row['state']} after {timeout_ms} ms. It goes on.")
        finally:
            deadline.cancel()
            stop()

    def listen(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Hear of every change, whichever context made it; call what it returns to stop."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    # Acting

    async def retry(self, job_id: str, *, accept_duplicate: bool = False) -> Record:
        """Send a job now, or once more. Raises JobNotFoundError, ActionRefusedError (it says why)."""
        account = await self.ports.inbox.account()
        origin = await self._origin_of(job_id)
        verb = retry(account, job_id, origin, self.ports.clock.now(), accept_duplicate=accept_duplicate)
        record = await self.ports.store.run(verb)
        self._told(job_id)
        return public_row(record)

    async def cancel(self, job_id: str) -> Record:
        """End a job for good; what was handed to the network may have arrived. Raises as `retry`."""
        account = await self.ports.inbox.account()
        await take_in(self)
        record = await self.ports.store.run(cancel(account, job_id, self.ports.clock.now()))
        self._abort(job_id)
        self._told(job_id, also={"cancelled": True})
        return public_row(record)

    async def edit(self, job_id: str, payload: Any, *, attachments: Sequence[File] | None = None) -> Accepted:
        """Replace a job by a corrected one (new id, new key) in its place; the old one is cancelled in the same commit.

        Without `attachments` it keeps those it has. Raises as `enqueue` and `retry`.
        """
        found = await self._read(job_id)
        if found is None:
            raise JobNotFoundError(job_id)
        record = found[0]
        files = list(await self.files(job_id)) if attachments is None else list(attachments)
        check_content(payload, files)
        _check_form(self._handler(record["type"]), payload, files)
        accepted = Accepted(self.ports.entropy.uuid(), self.ports.entropy.uuid())
        options = {"lane": record["lane"], "priority": record["priority"]}
        draft = self.draft(
            record["type"],
            payload,
            files,
            id=accepted.id,
            key=accepted.key,
            account=record["account"],
            options=options,
        )
        await self.ports.store.run(edit(record["account"], job_id, draft, self.ports.clock.now()))
        self._told(job_id, accepted.id)
        return accepted

    async def signed_in(self) -> None:
        """The account has signed in again: its jobs may go."""
        await self.ports.store.run(signed_in(await self.ports.inbox.account()))
        self.wake()

    async def export(self) -> dict[str, Any]:
        """Everything unsent with its payload and its files, to be kept elsewhere by a person; JSON-safe.

        Shape: `{"holdfast": 1, "exported_at", "jobs": [row with "payload" and "attachments"]}`; an attachment has its
        bytes as base64 in `data`.
        """
        unsent: list[Record] = []
        for row in await self.jobs(limit=EXPORT_LIMIT):
            job = await self.job(row["id"]) if row["state"] in UNSENT else None
            if job is None:
                continue
            for attachment, file in zip(job["attachments"], await self.files(row["id"]), strict=True):
                attachment["data"] = b64encode(await self.ports.read_bytes(file.handle)).decode()
            unsent.append(job)
        return {"holdfast": 1, "exported_at": self.ports.clock.now(), "jobs": unsent}

    # Sending

    def wake(self) -> None:
        """Look at the queue soon; returns at once. Many wakes are one drain."""
        for queue in self._processors:
            self._start(queue)

    async def drain(self, *, timeout_ms: Millis | None = None, look_now: bool = False) -> dict[str, Any]:
        """Send what is due. Returns `next_wake_at` and `remaining`: whether something could go by itself soon.

        Args:
            timeout_ms: return by then; sending itself goes on.
            look_now: look at servers that did not answer again at once (the network is back, or a person asks).
        """
        if look_now:
            await self.ports.store.run(look_now_verb(self.ports.clock.now()))
        tasks = [self._start(queue) for queue in self._processors]
        timer = asyncio.ensure_future(self.ports.clock.sleep(timeout_ms)) if timeout_ms is not None else None
        try:
            everything = asyncio.gather(*(asyncio.shield(task) for task in tasks))
            await asyncio.wait((everything, timer) if timer else (everything,), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if timer:
                timer.cancel()
        if not everything.done():
            everything.cancel()
            return {"next_wake_at": self.ports.clock.now(), "remaining": True}
        wakes = [at for at in everything.result() if at is not None]
        next_wake_at = min(wakes, default=None)
        remaining = next_wake_at is not None and next_wake_at - self.ports.clock.now() < SOON_MS
        return {"next_wake_at": next_wake_at, "remaining": remaining}

    def _start(self, queue: str) -> asyncio.Task[Millis | None]:
        """One drain at a time in this context; a wake during one makes it look once more at its end."""
        running = self._draining.get(queue)
        if running is not None and not running.done():
            self._once_more.add(queue)
            return running
        task = asyncio.ensure_future(self._drain_queue(queue))
        self._draining[queue] = task
        # A drain nobody waits for reports nothing: what it left undone is in the store, and the next wake takes it.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def _drain_queue(self, queue: str) -> Millis | None:
        while True:
            self._once_more.discard(queue)
            account = await self.ports.inbox.account()
            await take_in(self)
            drained = await self._processors[queue].drain(account)
            if queue not in self._once_more:
                break
        self.publish({"kind": "drained", "queue": queue, "wake_at": drained.next_wake_at})
        return drained.next_wake_at

    # Inside

    def _handler(self, type_: str) -> Handler:
        handler = self._handlers.get(type_)
        if handler is None:
            raise UnknownTypeError(type_, list(self._handlers))
        return handler

    def handler(self, type_: str) -> Handler | None:
        """The route or task of a type, if this app has one."""
        return self._handlers.get(type_)

    async def _read(self, job_id: str) -> Any:
        account = await self.ports.inbox.account()
        await take_in(self)
        return await self.ports.store.run(read_job(account, job_id))

    async def _origin_of(self, job_id: str) -> str:
        found = await self._read(job_id)
        if found is None:
            raise JobNotFoundError(job_id)
        handler = self._handlers.get(found[0]["type"])
        return handler.origin if isinstance(handler, Route) else ""

    def _rows(self, records: list[Record], gates: Gates) -> list[Record]:
        now = self.ports.clock.now()
        rows = []
        lanes: dict[tuple[str, str], list[Record]] = {}
        for record in records:
            if "place" in record:
                lanes.setdefault((record["queue"], record["lane_key"]), []).append(record)
        ahead: dict[str, tuple[int, str]] = {}
        for lane in lanes.values():
            lane.sort(key=lambda record: int(record["place"]))
            for number, (before, record) in enumerate(pairwise(lane), start=1):
                ahead[record["id"]] = (number, before["id"])
        for record in records:
            handler = self._handlers.get(record["type"])
            origin = handler.origin if isinstance(handler, Route) else ""
            waits = waits_for(
                record,
                at_head="ready_at" in record,
                breaker_open=gates.breaker(origin) is not None,
                held=gates.held(record["account"]),
                now=now,
            )
            number, before_id = ahead.get(record["id"], (0, None))
            unknown = record["unknown_since"]
            rows.append(
                public_row(record) | {"waits": waits, "ahead": number, "after": before_id, "unknown_since": unknown},
            )
        return rows

    def _abort(self, job_id: str) -> None:
        for processor in self._processors.values():
            processor.abort(job_id)

    def _told(self, *ids: str, also: dict[str, Any] | None = None) -> None:
        """Tell everybody of a change a caller made, ask the platform for a wake, and look at the queue."""
        self.publish({"kind": "change", "ids": list(ids), **(also or {})})
        self.ports.wakeup.request()
        self.wake()

    def _hear(self, event: Event) -> None:
        """What other contexts say."""
        if event.get("kind") == "inbox":
            self.wake()
        if event.get("cancelled"):
            for job_id in event.get("ids", ()):
                self._abort(job_id)
        self._hand_on(event)

    def publish(self, event: Event) -> None:
        """Tell every context, this one too."""
        self.ports.channel.post(event)
        self._hand_on(event)

    def _hand_on(self, event: Event) -> None:
        # Each in a turn of its own: what a listener raises is reported by the event loop and stops no delivery.
        loop = asyncio.get_running_loop()
        for listener in list(self._listeners):
            loop.call_soon(listener, event)


def _check_form(handler: Handler, payload: Any, files: Sequence[File]) -> None:
    if not isinstance(handler, Route) or handler.form is None:
        return
    described = [
        {"field": f.field or handler.files_field, "name": f.name, "type": f.media_type, "size": f.size} for f in files
    ]
    violations = handler.form.violations(payload, described)
    if violations:
        raise InvalidPayloadError(violations)


def _sums(counters: Iterable[dict[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for counter in counters:
        for name, number in counter.items():
            sums[name] = sums.get(name, 0) + number
    return sums
