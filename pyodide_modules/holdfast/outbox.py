"""The public face: routes and tasks, enqueue, what is there, retry, cancel, edit, drain.

An `Outbox` is described at import and opened on ports later, so that the same module serves page, worker and tests.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from holdfast.call_order import CallOrder, Guess
from holdfast.drains import Drains
from holdfast.errors import (
    ActionRefusedError,
    HoldfastError,
    InvalidOptionError,
    InvalidPayloadError,
    JobNotFoundError,
    NewerStorageError,
    NotUniqueError,
    Obstacle,
    StorageClosedError,
    StorageError,
    StorageFullError,
    TooLargeError,
    WaitTimeoutError,
)
from holdfast.events import stream
from holdfast.gates import Gates, pause_name
from holdfast.guard import GuardedStore
from holdfast.inbox import Intake, are_fields, lane_of
from holdfast.job import DEFAULT_PRIORITY, Draft, File, new_job, public_row
from holdfast.lifecycle import REASONS, STATES, UNSENT, Reason, State
from holdfast.limits import (
    MAX_INTEGER,
    check_content,
    check_names,
    check_one_of,
    check_options,
    check_secrets,
    check_text,
    check_whole_number,
)
from holdfast.ports import InboxEntry
from holdfast.processor import Processor
from holdfast.registry import Queue, Registry
from holdfast.routes import Route, check_path
from holdfast.rows import row_in_inbox, rows
from holdfast.statistics import described_storage, statistics
from holdfast.storage import MistakenError
from holdfast.transactions.adopting import adopt, read_depths
from holdfast.transactions.enqueue import enqueue, enqueue_cancelled, enqueue_relaxed
from holdfast.transactions.gating import look_now, look_soon, pause, resume, signed_in
from holdfast.transactions.leaving import leave
from holdfast.transactions.quarantine import audit, read_raw
from holdfast.transactions.reading import (
    list_by_reason,
    list_jobs,
    list_unsent,
    read_before,
    read_figures,
    read_job,
    read_overview,
)
from holdfast.transactions.redrive import cancel, edit, retry, visit
from holdfast.transactions.tidy import Retention

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

    from holdfast.inbox import Waiting
    from holdfast.ports import Attachment, Event, Millis, Ports
    from holdfast.routes import Handler
    from holdfast.storage import Record
    from holdfast.transactions.enqueue import Stored

EXPORT_BATCH = 500
"""Jobs that are read at once to find what is unsent."""
REDRIVE_LIMIT = 10_000
"""Failed jobs that one `retry_all` sends again at most."""


Wake = Literal["person", "wake", "timer"]

NO_ROOM_MS = 60_000
"""When the inbox is looked at again if something in it found no room; sooner if anything else wakes the outbox."""


class Accepted(NamedTuple):
    """A write that is durable on this device."""

    id: str
    key: str


class _Found(NamedTuple):
    """One job with its body, its attachments' handles (None: lost) and the gates; None for one that is in the inbox."""

    record: Record
    body: Record
    handles: Sequence[Attachment | None]
    gates: list[Record] | None


class Outbox(Registry):
    """A durable write queue.

    ```python
    outbox = Outbox("field", app_version=1)
    outbox.route("inspection.create", "POST", "/api/inspections", form=INSPECTION)
    accepted = await outbox.enqueue("inspection.create", {"site": "Lock 7"})
    ```
    """

    def __init__(
        self, name: str, *, app_version: int, retention: Retention | None = None, reports: str | None = None
    ) -> None:
        """Describe an outbox.

        Args:
            name: its database and its locks are named after it; one an app is usual.
            app_version: a whole number that grows with every release that knows more types.
            retention: how long finished jobs stay; what failed stays until a person dismisses it.
            reports: a path of our origin that is told, at most every five minutes, how many jobs are unsent, tried again
                and put aside, and the age of the oldest (transactions/reporting.py). Nobody is told without it.

        Raises:
            InvalidOptionError: no name, a version that is no whole number, no Retention, or reports to another origin.
        """
        super().__init__()
        check_text("name", name)
        check_whole_number("app_version", app_version, least=0)
        if retention is not None and not isinstance(retention, Retention):
            raise InvalidOptionError(f"retention takes a Retention, or nothing; not {retention!r}.")
        if reports is not None:
            check_path("reports", reports)
        self.name = name
        self.app_version = app_version
        self.retention = Retention() if retention is None else retention
        self.reports = reports
        self._ports: Ports | None = None
        self._processors: dict[str, Processor] = {}
        self._drains: Drains | None = None
        self._listeners: list[Callable[[Event], None]] = []
        self._accounts_heard = 0
        """How often it was told who is signed in."""
        self._looked: str | None = None
        """Who was signed in when an enqueue last looked."""
        self._order = CallOrder()
        self._appended = 0
        """Writes of this context that went to the inbox."""
        self._intake = Intake(self)
        self._news: dict[bool, list[str]] = {}
        """What was taken in this turn of the event loop, by whether it is kept back: told of together, when it ends."""

    # Opening

    async def open(self, ports: Ports) -> None:
        """Attach the outbox to a context."""
        guarded = GuardedStore(ports.store, ports.clock, name=self.name, app_version=self.app_version)
        ports = replace(ports, store=guarded)
        self._ports = ports
        self._processors = {
            name: Processor(
                ports,
                self.name,
                queue,
                self,
                app_version=self.app_version,
                retention=self.retention,
                take_in=self._intake.run,
                publish=self.publish,
            )
            for name, queue in self.queues().items()
        }
        self._drains = Drains(self._processors, self._drain_queue, self._nudge_queue, ports.clock)
        ports.channel.listen(self._hear)

    def _register(self, handler: Handler) -> None:
        if self._drains is not None and handler.queue not in self._processors:
            raise InvalidOptionError(
                f"The queue {handler.queue!r} is new to the outbox {self.name!r}, which is open already: register its types "
                "before `open`."
            )
        super()._register(handler)

    def queue(self, name: str, *, concurrency: int = 1, depth: int = 10_000) -> Queue:
        """Set up a queue: how many of its lanes are served at once, and how many unsent jobs it takes.

        Raises:
            InvalidOptionError: no name, a number below one, the queue was set up already, or the outbox is open.
        """
        if self._drains is not None:
            raise InvalidOptionError(
                f"The outbox {self.name!r} is open already: set up the queue {name!r} before `open`."
            )
        return super().queue(name, concurrency=concurrency, depth=depth)

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

        A route of `durability="relaxed"` does not wait for the disk: a power cut may take its newest jobs, so the page
        never calls them saved.

        Args:
            type_: the name of a route or task.
            payload: any JSON value.
            id: the job's id; the same id with the same content is the same job, with other content a new one. Made if
                absent. After the content of a finished job was wiped (sign-out) its key alone says what is the same.
            key: the idempotency key; no other job may have it. Made if absent.
            lane: jobs of one lane are delivered in the order in which they were enqueued.
            priority: 0 to 9; chooses among the heads of lanes.
            delay_ms: not before this has passed.
            ttl_ms: worth delivering for this long; then it ends as `expired` and is kept.
            attachments: files that go with it.

        Raises:
            UnknownTypeError, InvalidOptionError: the call is wrong.
            InvalidPayloadError: the payload breaks its form's rules.
            SecretError: it holds what must never be stored.
            TooLargeError, QueueFullError: it is over a limit.
            StorageFullError, StorageClosedError: it could not be stored.
        """
        handler = self.handler_of(type_)
        uuid = self.ports.entropy.uuid
        accepted = Accepted(uuid() if id is None else id, uuid() if key is None else key)
        check_names(id=accepted.id, key=accepted.key)
        check_options(lane=lane, priority=priority, delay_ms=delay_ms, ttl_ms=ttl_ms)
        # Begun now, and answered while the rest is done.
        looking = asyncio.ensure_future(self.ports.inbox.look())
        _check(handler, payload, attachments)
        options = {"lane": lane, "priority": priority, "delay_ms": delay_ms, "ttl_ms": ttl_ms}
        draft_of = partial(self.draft, type_, payload, attachments, id=accepted.id, key=accepted.key, options=options)
        is_new, appended, place = id is None, self._appended, self._order.join()
        try:
            if self._looked is not None and self._order.may_guess(place):
                # Stored only if what is found is as it was. Whatever goes wrong on this guess, below it is done without one.
                guess = Guess(looking, (self._looked, 0), self._order, place)
                with suppress(HoldfastError, MistakenError):
                    return await self._store(draft_of(account=self._looked), is_new=is_new, provided=(guess,))
                is_new = False
            self._order.look_first(place)
            while True:
                await self._order.turn_of(place)
                account, left = await self._look(looking, again=self._appended != appended)
                if not self._order.is_turn_of(place):
                    continue  # one before it came to nothing meanwhile
                draft = draft_of(account=account)
                if any(before.lane == lane_of(draft) for before in left):
                    break  # its lane waits for room with one that came before it: it joins it there
                self._order.hand_over(place)
                guess = Guess(looking, looking.result(), self._order, place)
                try:
                    return await self._store(draft, is_new=is_new, provided=(guess,))
                except MistakenError:
                    is_new = False
                except NotUniqueError:
                    raise InvalidOptionError(
                        f"The key {accepted.key!r} belongs to another job. One key stands for one write: leave it out, or name "
                        "the id of that job too if it is the same write.",
                    ) from None
                except (NewerStorageError, StorageClosedError):
                    # A newer version or a lost database must not cost a write: the inbox has one schema for ever.
                    self._order.look_first(place)
                    await self._order.turn_of(place)
                    break
            await self._append(type_, payload, attachments, accepted, account=account, options=options)
            self._told(accepted.id)
            return accepted
        finally:
            self._order.leave(place)

    async def _look(self, looking: Awaitable[tuple[str, int]], *, again: bool) -> tuple[str, list[Waiting]]:
        """Who is signed in, and what is left in the inbox after it was taken in; `again` says that it was too early to look."""
        account, count = await looking
        self._looked = account
        if again:
            self._looked, count = await self.ports.inbox.look()
        # An inbox that cannot be read must not cost a write; sending waits for it.
        with suppress(StorageError):
            return account, await self._intake.run() if count else []
        return account, []

    async def _store(self, draft: Draft, *, is_new: bool, provided: tuple[Guess, ...] = ()) -> Accepted:
        """Take a job into its queue; `is_new` says that its id was made a moment ago."""
        type_, queue = draft.record["type"], draft.record["queue"]
        verb = enqueue if self.durability_of(type_) == "strict" else enqueue_relaxed
        depth = self.queue_of(queue).depth
        stored = await self.ports.store.run(verb(draft, depth, is_new=is_new, provided=provided))
        self._tell_soon(stored)
        return Accepted(stored.id, stored.key)

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
        handler = self.handler_of(type_)
        if not isinstance(handler, Route) or handler.form is None:
            raise InvalidOptionError(f"The type {type_!r} has no form; enqueue a payload instead.")
        if not are_fields(fields):
            raise InvalidOptionError(f"fields takes a list of pairs, each a name and a text; not {fields!r}.")
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
        handler = self.handlers.get(type_)
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
            halt=isinstance(handler, Route) and handler.halt,
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
        self._appended += 1
        await self.ports.inbox.append(InboxEntry(0, *accepted, type_, account, now, None, payload, given, kept))

    # Looking

    async def jobs(self, *, state: str | None = None, reason: str | None = None, limit: int = 100) -> list[Record]:
        """The account's jobs as public rows, newest first; up to `limit` of each state. Raises InvalidOptionError.

        Beside the fields of a job a row has `waits`, `after`, `ahead`, `unknown_since` and `prunes_at` (rows.py says what they are).
        """
        if state is not None and state not in STATES:
            raise InvalidOptionError(f"state takes one of {', '.join(STATES)}; not {state!r}.")
        if reason is not None and reason not in REASONS:
            raise InvalidOptionError(f"reason takes one of {', '.join(REASONS)}; not {reason!r}.")
        check_whole_number("limit", limit, least=1)
        account = await self.ports.inbox.account()
        left = await self._left(account)
        states = STATES if state is None else (State(state),)
        if reason is None:
            records, gates = await self.ports.store.run(list_jobs(account, states, limit))
        else:
            records, gates = await self.ports.store.run(list_by_reason(account, Reason(reason), limit))
        found = [row for row in self._rows(records, gates) if row["state"] in states]
        if State.PENDING in states and reason is None:
            found += [row_in_inbox(waiting.draft.record, self) for waiting in left]
        return _newest_first(found)

    async def overview(self, *, limit: int = 100, waited_ms: Millis = 0) -> dict[str, Any]:
        """What a screen shows of an account, in one look that costs the same however many jobs there are.

        Args:
            limit: of each state the jobs that changed last, and of each queue the heads and the oldest that wait.
            waited_ms: how old an unsent job is counted as one that has waited.

        Returns:
            `account`; `jobs`, rows as of `jobs` (where they are not all that wait, `ahead` is None for those behind another);
            `stats` as of `stats` but for `storage`, over all jobs; and `waited`, how many have.
        """
        check_whole_number("limit", limit, least=1)
        check_whole_number("waited_ms", waited_ms, least=0)
        account = await self.ports.inbox.account()
        in_inbox = [waiting.draft.record for waiting in await self._left(account)]
        now = self.ports.clock.now()
        found = await self.ports.store.run(read_overview(account, limit, max(0, now - waited_ms)))
        pending = sum(queue["states"].get(State.PENDING, 0) for queue in found.figures.queues)
        listed = sum(record["state"] == State.PENDING for record in found.records)
        gates = Gates.of(found.figures.gates)
        shown = rows(found.records, gates, self, self.retention, now, all_waiting=listed == pending)
        return {
            "account": account,
            "jobs": _newest_first([*shown, *(row_in_inbox(record, self) for record in in_inbox)]),
            "stats": statistics(found.figures, self, now, in_inbox=in_inbox),
            "waited": found.waited + sum(record["created_at"] <= now - waited_ms for record in in_inbox),
        }

    async def job(self, job_id: str) -> Record | None:
        """One job with its `payload` and its attachments' `field`, `name`, `type`, `size`; None if there is none.

        Where the stored record could not be read (`undecodable`), `raw` holds what was found: `record`, `body`, `damaged`
        (names of fields) and `found_at`.
        """
        found = await self._read(job_id)
        if found is None:
            return None
        record, body, _, gates = found
        [row] = self._rows([record], gates) if gates is not None else [row_in_inbox(record, self)]
        if row["waits"] == "turn":
            row["ahead"], row["after"] = await self.ports.store.run(read_before(record))
        whole = row | {"payload": body["payload"], "attachments": body["attachments"]}
        if row["reason"] == Reason.UNDECODABLE:
            whole["raw"] = await self.ports.store.run(read_raw(job_id))
        return whole

    async def files(self, job_id: str) -> list[File]:
        """The attachments of a job with their handles; those that the browser has lost are left out."""
        found = await self._read(job_id)
        if found is None:
            raise JobNotFoundError(job_id)
        _, body, handles, _ = found
        pairs = zip(body["attachments"], handles, strict=True)
        return [File(a["field"], a["name"], a["type"], a["size"], handle) for a, handle in pairs if handle is not None]

    async def stats(self) -> dict[str, Any]:
        """Depths, ages, retries, failures by reason, time to receipt, and `storage` (statistics.py)."""
        account = await self.ports.inbox.account()
        in_inbox = [waiting.draft.record for waiting in await self._left(account)]
        figures = await self.ports.store.run(read_figures(account))
        storage = described_storage(await self.ports.storage_estimate())
        return statistics(figures, self, self.ports.clock.now(), in_inbox=in_inbox) | {"storage": storage}

    async def wait(self, job_id: str, *, timeout_ms: Millis = 10_000) -> Record:
        """The job once it no longer goes by itself: received, or in need of a person. Works after a reload.

        Raises:
            JobNotFoundError: there is none.
            WaitTimeoutError: it still goes by itself; it goes on doing so.
        """
        check_whole_number("timeout_ms", timeout_ms, least=0)
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
        """Hear of every change, whichever context made it; call what it returns to stop.

        An event is a dict with its `kind`: `change` (`ids`), `progress` (`id`, `sent`, `total` in bytes), `drained` (`queue`,
        `wake_at`), `outlives_key` and `about_to_prune` before these happen, `account` (who is signed in now), `storage` and
        `stalled` (alarms.py), and others.
        Raises InvalidOptionError.
        """
        if not callable(callback):
            raise InvalidOptionError(f"listen takes a function; not {callback!r}.")
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    def events(self) -> AsyncGenerator[Event]:
        """What `listen` hears, to loop over: `async for event in outbox.events()`, from the first look until the loop ends.

        Events are news, the jobs are the truth: of those that nobody takes the last 1,000 wait, no more.
        """
        return stream(self.listen)

    # Acting

    async def retry(self, job_id: str, *, accept_duplicate: bool = False) -> Record:
        """Send a job now, or once more; with `accept_duplicate` also one whose effect may have been done already.

        Raises:
            JobNotFoundError, InvalidOptionError: the call is wrong.
            ActionRefusedError: it cannot go; the message says why.
        """
        check_one_of("accept_duplicate", accept_duplicate, (False, True))
        account = await self.ports.inbox.account()
        found = await self._read_taken_in(job_id)
        origin = self.origin_of(found.record["type"])
        verb = retry(account, job_id, origin, self.ports.clock.now(), accept_duplicate=accept_duplicate)
        record = await self.ports.store.run(verb)
        self._told(job_id)
        return public_row(record)

    async def cancel(self, job_id: str) -> Record:
        """End a job for good; what was handed to the network may have arrived. Raises as `retry`."""
        check_text("id", job_id)
        account = await self.ports.inbox.account()
        waiting = next((one for one in await self._left(account) if one.draft.record["id"] == job_id), None)
        if waiting is None:
            record = await self.ports.store.run(cancel(account, job_id, self.ports.clock.now()))
        else:
            record = await self._cancel_in_inbox(waiting)
        self._abort(job_id)
        self._told(job_id, also={"cancelled": True})
        return public_row(record)

    async def edit(
        self,
        job_id: str,
        payload: Any,
        *,
        attachments: Sequence[File] | None = None,
        id: str | None = None,  # noqa: A002  (the field's word)
        key: str | None = None,
    ) -> Accepted:
        """Replace a job by a corrected one (new id, new key) in its place; the old one is cancelled in the same commit.

        Without `attachments` it keeps those it has. With an `id` for the new one a repeat finds it done. Raises as `enqueue`
        and `retry`.
        """
        id = self.ports.entropy.uuid() if id is None else id  # noqa: A001  (the field's word)
        accepted = Accepted(id, self.ports.entropy.uuid() if key is None else key)
        check_names(id=accepted.id, key=accepted.key)
        record = (await self._read_taken_in(job_id)).record
        files = await self.files(job_id) if attachments is None else attachments
        handler = self.handler_of(record["type"])
        _check(handler, payload, files)
        draft = self.draft(
            record["type"],
            payload,
            files,
            id=accepted.id,
            key=accepted.key,
            account=record["account"],
            options=_options_of(record, self.ports.clock.now()),
        )
        stored = await self.ports.store.run(edit(record["account"], job_id, draft, self.ports.clock.now()))
        self._told(job_id, stored["id"])
        return Accepted(stored["id"], stored["key"])

    async def retry_all(self, *, reason: str | None = None) -> list[str]:
        """Send every failed job once more, or those with one reason; returns their ids.

        Left out are jobs that may have been done already and that the server can no longer tell from new ones: those
        are retried one by one, knowingly. So are those that cannot go, such as one too damaged; `retry` says why.
        """
        rows = await self.jobs(state=State.FAILED, reason=reason, limit=REDRIVE_LIMIT)
        again = []
        for row in reversed(rows):
            if row["reason"] == Reason.OUTCOME_UNKNOWN:
                continue
            with suppress(ActionRefusedError, JobNotFoundError):
                await self.retry(row["id"])
                again.append(row["id"])
        return again

    async def pause(self, *, queue: str | None = None, type_: str | None = None) -> None:
        """Stop sending jobs of a type, of a queue, or all, in every context, until `resume`. Capture goes on."""
        await self.ports.store.run(pause(self._pause_name(queue, type_), self.ports.clock.now()))
        for name in self._processors:
            self._nudge_queue(name)
        self.publish({"kind": "change", "ids": []})

    async def resume(self, *, queue: str | None = None, type_: str | None = None) -> None:
        """End a pause that was made with the same words."""
        await self.ports.store.run(resume(self._pause_name(queue, type_)))
        self._told()

    async def visit(self) -> None:
        """A person is here: what crashed is tried once more, and a held account once. Called as a page starts."""
        account = await self.ports.inbox.account()
        again: list[str] = []
        with suppress(StorageFullError):  # a full device still shows, exports and sends what it has
            again = await self.ports.store.run(visit(account, self.ports.clock.now()))
            await self.ports.store.run(look_now(self.ports.clock.now()))
            await self._leave_again(account)
        with suppress(NewerStorageError):  # what a newer version has made is its own business
            await self.ports.store.run(audit())
        self.publish({"kind": "change", "ids": again})

    async def sign_in(self, account: str) -> None:
        """From now on jobs are made, listed and sent for this account; its own that waited for it go again."""
        if not isinstance(account, str):
            raise InvalidOptionError(f"account takes a text, '' for nobody; not {account!r}.")
        await self.ports.inbox.set_account(account)
        self.publish({"kind": "account", "account": account})
        await self.ports.store.run(signed_in(account))
        self._told()

    async def sign_out(self) -> int:
        """Nobody is signed in any more: drafts and the content of finished jobs are wiped from this device.

        What is unsent is never wiped; it waits until its account signs in. Returns how many such jobs there are. A sign-out
        that dies half-way leaves its account signed in, and keeps no content of what ends before the next visit.
        """
        account = await self.ports.inbox.account()
        left = await self._left(account)
        unsent = await self.ports.store.run(leave(account)) + len(left)
        await self.ports.inbox.wipe_drafts()
        await self.ports.inbox.set_account("")
        self.publish({"kind": "account", "account": ""})
        await self._leave_again(account)
        self.publish({"kind": "change", "ids": []})
        return unsent

    async def _leave_again(self, account: str) -> None:
        """Say once more that an account has left: a visit or a sign-in beside its sign-out may have struck it out."""
        if account and await self.ports.inbox.account() != account:
            await self.ports.store.run(leave(account))

    async def waiting_accounts(self) -> dict[str, int]:
        """How many jobs of each account are unsent on this device, '' being nobody; no more is told of another's."""
        left = Counter(waiting.draft.record["account"] for waiting in await self._intake.run())
        return dict(left + Counter(await self.ports.store.run(read_depths(UNSENT))))

    async def adopt(self) -> list[str]:
        """What was saved while nobody was signed in belongs to the account that is now; returns the jobs' ids.

        Ask the person before: whose it really is nobody knows. What may have arrived as nobody's is put aside as
        `outcome_unknown`, since a server keeps the keys of accounts apart.
        """
        account = await self.ports.inbox.account()
        await self._intake.run()
        adopted = await self.ports.store.run(adopt(account, self.ports.clock.now())) if account else []
        self._told(*adopted)
        return adopted

    async def unsent(self) -> list[str]:
        """The ids of all jobs of the account that were neither received nor cancelled, newest first."""
        account = await self.ports.inbox.account()
        made_at = {one.draft.record["id"]: one.draft.record["created_at"] for one in await self._left(account)}
        made_at |= await self.ports.store.run(list_unsent(account, EXPORT_BATCH))
        return sorted(made_at, key=lambda job_id: made_at[job_id], reverse=True)

    async def export(self) -> AsyncIterator[Record]:
        """Everything unsent with its payload and its files, newest first, to be kept elsewhere by a person; JSON-safe.

        One job after the other, since all photos together may be more than there is memory: as `job` gives it, and each
        attachment with its bytes as base64 in `data`, None where the browser has lost them. In a browser the client's
        `exportFile` writes the same to a file.
        """
        for job_id in await self.unsent():
            job, found = await self.job(job_id), await self._read(job_id)
            if job is None or found is None or job["state"] not in UNSENT:
                continue  # received or cancelled meanwhile
            for attachment, handle in zip(job["attachments"], found.handles, strict=True):
                content = None if handle is None else await self.ports.read_bytes(handle)
                attachment["data"] = None if content is None else b64encode(content).decode()
            yield job

    # Sending

    def wake(self) -> None:
        """Look at the queues soon; returns at once. Many wakes are one drain."""
        self._opened.wake()

    async def drain(self, *, timeout_ms: Millis | None = None, wake: Wake = "person") -> dict[str, Any]:
        """Send what is due. Returns `next_wake_at` and `remaining`: whether something could go by itself soon.

        Args:
            timeout_ms: return by then; sending itself goes on.
            wake: why. For a `person` (also: the network is back for certain) servers that did not answer are looked at
                again at once; for a `wake` of the platform if that is likely to help; for a `timer` in their own time.
        """
        if timeout_ms is not None:
            check_whole_number("timeout_ms", timeout_ms, least=0)
        check_one_of("wake", wake, get_args(Wake))
        now = self.ports.clock.now()
        if wake == "person":
            await self.ports.store.run(look_now(now))
        elif wake == "wake":
            await self.ports.store.run(look_soon(now, offline=self.ports.offline()))
        return await self._opened.run(timeout_ms)

    async def _drain_queue(self, queue: str) -> Millis | None:
        heard = -1
        while heard != self._accounts_heard:  # somebody else may have signed in meanwhile
            heard = self._accounts_heard
            account, count = await self.ports.inbox.look()
            left = await self._intake.run(at_once=True) if count else []
        wake_at = await self._processors[queue].drain(account)
        if left:
            again_at = self.ports.clock.now() + NO_ROOM_MS
            wake_at = again_at if wake_at is None else min(wake_at, again_at)
        self.publish({"kind": "drained", "queue": queue, "wake_at": wake_at})
        return wake_at

    def _nudge_queue(self, queue: str) -> None:
        self._processors[queue].nudge()

    # Inside

    @property
    def _opened(self) -> Drains:
        if self._drains is None:
            raise InvalidOptionError(f"The outbox {self.name!r} is not open yet; await `open` first.")
        return self._drains

    async def _read(self, job_id: str) -> _Found | None:
        check_text("id", job_id)
        account = await self.ports.inbox.account()
        for waiting in await self._left(account):
            draft = waiting.draft
            if draft.record["id"] == job_id:
                return _Found(draft.record, draft.body, [file.handle for file in draft.files], None)
        found = await self.ports.store.run(read_job(account, job_id))
        return None if found is None else _Found(*found)

    async def _read_taken_in(self, job_id: str) -> _Found:
        found = await self._read(job_id)
        if found is None:
            raise JobNotFoundError(job_id)
        if found.gates is None:
            raise ActionRefusedError(
                Obstacle.NO_ROOM,
                f"Job {job_id!r} waits for room on this device: free some space, and it goes by itself; to change it, cancel it "
                "and enter it anew.",
            )
        return found

    async def _left(self, account: str) -> list[Waiting]:
        """What of an account is left in the inbox after it was taken in."""
        return [one for one in await self._intake.run() if one.draft.record["account"] == account]

    async def _cancel_in_inbox(self, waiting: Waiting) -> Record:
        """The queue hears of it too, before or after there is room for that: another context may be taking it in."""
        record = waiting.draft.record
        with suppress(StorageError):
            await self.ports.store.run(enqueue_cancelled(waiting.draft))
        await self.ports.inbox.remove([waiting.position])
        with suppress(StorageError, JobNotFoundError, ActionRefusedError):
            await self.ports.store.run(enqueue_cancelled(waiting.draft))
            await self.ports.store.run(cancel(record["account"], record["id"], self.ports.clock.now()))
        return record | {"state": State.CANCELLED, "reason": Reason.BY_PERSON}

    def _pause_name(self, queue: str | None, type_: str | None) -> str:
        if queue is not None and type_ is not None:
            raise InvalidOptionError("A pause is one of a queue or of a type, which has one queue: name either.")
        if queue is not None:
            check_one_of("queue", queue, list(self.queues()))
        if type_ is not None:
            self.handler_of(type_)
        return pause_name(queue, type_)

    def _rows(self, records: list[Record], gates: list[Record]) -> list[Record]:
        return rows(records, Gates.of(gates), self, self.retention, self.ports.clock.now())

    def _abort(self, job_id: str) -> None:
        for processor in self._processors.values():
            processor.abort(job_id)

    def _told(self, *ids: str, also: dict[str, Any] | None = None) -> None:
        """Tell everybody of a change a caller made, ask the platform for a wake, and look at the queue."""
        self.publish({"kind": "change", "ids": list(ids), **(also or {})})
        self.ports.wakeup.request()
        self.wake()

    def _tell_soon(self, stored: Stored) -> None:
        """The same for a job that was taken in, once for all that are in this turn of the event loop."""
        ids = self._news.setdefault(stored.kept_back, [])
        if not ids:
            asyncio.get_running_loop().call_soon(self._tell, stored.kept_back)
            if not stored.kept_back:
                self.ports.wakeup.request()
                self.wake()
        ids.append(stored.id)

    def _tell(self, kept_back: bool) -> None:  # noqa: FBT001  (called by the event loop)
        ids = self._news.pop(kept_back, None)
        if ids is None:
            return  # something that came after it was told of before
        if kept_back:
            self.publish({"kind": "change", "ids": ids, "kept_back": True})
        else:
            self.publish({"kind": "change", "ids": ids})
            if len(ids) > 1:  # the look that the first one began may have been too early for the others
                self.wake()

    def _hear(self, event: Event) -> None:
        """What other contexts say."""
        if event.get("kind") == "inbox":
            self.wake()
        # A change that no drain made: who made it waits for a lock that we may hold.
        if event.get("kind") == "change" and "queue" not in event:
            for queue in self._processors:
                self._nudge_queue(queue)
        if event.get("cancelled"):
            for job_id in event.get("ids", ()):
                self._abort(job_id)
        self._heed(event)

    def publish(self, event: Event) -> None:
        """Tell every context, this one too; of what was taken in before it first."""
        for kept_back in list(self._news):
            self._tell(kept_back)
        self.ports.channel.post(event)
        self._heed(event)

    def _heed(self, event: Event) -> None:
        if event.get("kind") == "reached":  # one queue has looked at the server for all
            self.wake()
        if event.get("kind") == "account":
            self._accounts_heard += 1
            for processor in self._processors.values():
                processor.signed_in(event["account"])
            self.wake()
        self._hand_on(event)

    def _hand_on(self, event: Event) -> None:
        # Each in a turn of its own: what a listener raises is reported by the event loop and stops no delivery.
        loop = asyncio.get_running_loop()
        for listener in list(self._listeners):
            loop.call_soon(listener, event)


def _newest_first(found: list[Record]) -> list[Record]:
    # What has no place in the queue yet came after all that has one.
    return sorted(found, key=lambda row: (row["created_at"], row["seq"] or MAX_INTEGER), reverse=True)


def _options_of(record: Record, now: Millis) -> dict[str, Any]:
    """What a corrected job takes over: its lane, and the times of one that still waits for its first send."""
    options = {"lane": record["lane"], "priority": record["priority"]}
    if record["state"] == State.PENDING and record["reason"] is None:
        # No longer than it was to wait at first: the clock may have been set back since.
        options["delay_ms"] = min(record["wait_ms"], max(0, record["run_at"] - now))
    if record["state"] == State.PENDING and record["expires_at"] is not None:
        options["ttl_ms"] = max(1, record["expires_at"] - now)
    return options


def _check(handler: Handler, payload: Any, files: Sequence[File]) -> None:
    """Let through what may be stored. Where something is too large the form says which field, if it can."""
    try:
        check_content(payload, files)
    except TooLargeError:
        _check_form(handler, payload, files)
        raise
    check_secrets(payload, handler.secrets if isinstance(handler, Route) else ())
    _check_form(handler, payload, files)


def _check_form(handler: Handler, payload: Any, files: Sequence[File]) -> None:
    if not isinstance(handler, Route) or handler.form is None:
        return
    described = [
        {"field": f.field or handler.files_field, "name": f.name, "type": f.media_type, "size": f.size} for f in files
    ]
    violations = handler.form.violations(payload, described)
    if violations:
        raise InvalidPayloadError(violations)
