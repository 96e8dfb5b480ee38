"""The page: start the outbox, show what it says, pass on what the person does. Words are in `app/`, drawing in `screens`."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from time import monotonic
from typing import Any

import js
from pyodide.ffi import create_proxy

from app import sentences
from app.jobs import outbox
from app.page import dom
from app.page.account import AccountScreen
from app.page.form import InspectionFormView
from app.page.received import Received
from app.page.screens import GONE, KEEP, UNSENT, ListScreen, Moment, OutboxScreen, draw_header, draw_sites
from app.words import Action
from holdfast.browser import host
from holdfast.errors import HoldfastError, StorageError

LIMIT = 100
GATHER_MS = 600
TICK_MS = 1_000
PAUSE_MS = 150
LONGEST_PAUSE_MS = 2_000
PAUSE_FOR_DRAWING = 4
"""How many times as long as drawing took the page pauses before it draws once more."""
LOOK_EVERY_MS = 60_000

_tasks: set[asyncio.Future[Any]] = set()


def start() -> None:
    """Take over the page. Called once, by the page's one line of Python."""
    _run(_start())


async def _start() -> None:
    try:
        await host.start(outbox, role="page")
        page = Page()
        await page.refresh()
    except HoldfastError as error:
        # The page goes on without Python and says why; the inbox keeps what is saved.
        js.holdfast.pythonFailed(str(error))
        return
    except Exception as error:
        js.holdfast.pythonFailed(str(error))
        raise
    js.holdfast.connect(create_proxy(_answer))
    page.begin()


async def _answer(message: str, files: Any) -> str:
    return await host.answer(outbox, message, files)


def _run(work: Coroutine[Any, Any, Any]) -> None:
    task = asyncio.ensure_future(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


class Page:
    """What is on the screens now, and who asked for what."""

    def __init__(self) -> None:
        self._form = InspectionFormView(outbox)
        self._list = ListScreen()
        self._outbox = OutboxScreen()
        self._account = AccountScreen(outbox, _run, self._draw)
        self._received = Received()
        self._jobs: dict[str, dict[str, Any]] = {}
        self._sent: dict[str, tuple[int, int]] = {}
        self._asked: set[str] = set()
        self._answers: dict[str, str] = {}
        self._before: dict[str, dict[str, Any]] | None = None
        self._tally = sentences.tones(())
        self._waited: tuple[int, int | None] = (0, None)
        self._last_received_ms: int | None = None
        self._facts: dict[str, Any] = {}
        self._storage: dict[str, Any] | None = None
        self._stalled_since: int | None = None
        self._wiped_after: int | None = None
        self._wants_refresh = False
        self._refreshing = False
        self._gathering = False
        self._drawing = False
        self._drawn_s = 0.0
        self._wake_at: int | None = None
        outbox.listen(self._alarmed)  # at once: the leader looks in a moment, and says what is true once

    def begin(self) -> None:
        """Listen, and look at the server for the first time."""
        outbox.listen(self._heard)
        dom.listen(js.document, "click", self._pressed)
        dom.listen(js.window, "hashchange", lambda _event: self._look_if_listed())
        dom.listen(js.window, "online", lambda _event: self._look())
        dom.listen(js.window, "offline", lambda _event: self._draw())
        dom.listen(js.document, "visibilitychange", lambda _event: self._look_if_seen())
        dom.every(TICK_MS, self._tick)
        dom.every(LOOK_EVERY_MS, self._look_if_listed)
        self._look()
        _run(self._learn_facts())
        self._ask_again()

    async def refresh(self) -> None:
        """Read all jobs and show them."""
        found = await outbox.overview(limit=LIMIT, waited_ms=sentences.THREE_DAYS_MS)
        rows, stats = found["jobs"], found["stats"]
        held, held_before = stats["held"] > 0, self._account.who.held
        if await self._account.read(held=held):
            self._forget_the_other_account()
        elif held != held_before and self._before is not None:
            self._look()
        if found["account"] != self._account.who.account:
            # It has changed in between; nobody sees another's for a moment even.
            self._wants_refresh = True
            self._draw()
            return
        self._jobs = {row["id"]: row for row in rows}
        self._tally = sentences.tally(stats)
        self._waited = (found["waited"], stats["oldest_unsent_at"])
        self._last_received_ms = stats["last_received_at"]
        self._sent = {job: sent for job, sent in self._sent.items() if self._state(job) == "processing"}
        self._asked = {job for job in self._asked if self._state(job) in ("pending", "processing", "failed")}
        self._draw()
        if self._before is None:
            self._before = self._jobs

    def _forget_the_other_account(self) -> None:
        self._received = Received()
        self._jobs, self._tally, self._waited = {}, sentences.tones(()), (0, None)
        self._sent.clear()
        self._asked.clear()
        self._answers.clear()
        dom.by_id("alarm").textContent = ""
        if self._before is not None:
            self._before = None
            self._look()

    # Hearing

    def _heard(self, event: dict[str, Any]) -> None:
        kind = event.get("kind")
        if kind == "progress":
            self._sent[event["id"]] = (event["sent"], event["total"])
            self._draw_soon()
        elif kind in ("change", "inbox", "drained"):
            if kind == "drained":
                self._wake_at = event.get("wake_at")
            for job_id in event.get("ids", ()):
                self._answers.pop(job_id, None)
            self._ask_again()

    def _alarmed(self, event: dict[str, Any]) -> None:
        words = ""
        match event.get("kind"):
            case "storage":
                self._storage = event if event["nearly_full"] else None
                words = "Almost out of space on this device." if self._storage else ""
            case "stalled":
                self._stalled_since = event["since"] if event["stalled"] else None
                words = "Unsent work has not moved for a while." if event["stalled"] else ""
            case _:
                return
        if words:
            dom.by_id("alarm").textContent = words
        if self._before is not None:
            self._draw()

    def _ask_again(self) -> None:
        """Refresh soon; many wishes are one refresh."""
        self._wants_refresh = True
        if not self._refreshing:
            self._refreshing = True
            _run(self._refresh_while_wanted())

    async def _refresh_while_wanted(self) -> None:
        try:
            while self._wants_refresh:
                self._wants_refresh = False
                # Storage that was lost for a moment is opened anew; what is shown stays until the next change.
                with suppress(StorageError):
                    await self.refresh()
                    self._gather()
                await self._pause()
        finally:
            self._refreshing = False

    def _gather(self) -> None:
        if not self._gathering:
            self._gathering = True
            _run(self._announce())

    async def _announce(self) -> None:
        await asyncio.sleep(GATHER_MS / 1_000)
        self._gathering = False
        before, self._before = self._before or {}, self._jobs
        politely, at_once = sentences.news(before, self._jobs)
        if self._facts.get("persisted") is False and self._jobs.keys() - before.keys():
            _run(self._learn_facts())  # a first save asks the browser to keep this storage
        if politely:
            dom.by_id("status").textContent = politely
            self._look()
        if at_once:
            dom.by_id("alarm").textContent = at_once

    def _tick(self) -> None:
        if not js.document.hidden and any(
            job.get("waits") in ("retry", "time", "network") for job in self._jobs.values()
        ):
            self._draw()

    def _look_if_seen(self) -> None:
        if not js.document.hidden:
            self._look()

    def _look_if_listed(self) -> None:
        if js.document.body.dataset.screen != "outbox" and not js.document.hidden:
            self._look()

    def _look(self) -> None:
        _run(self._look_at_server())

    async def _look_at_server(self) -> None:
        with suppress(StorageError):
            await asyncio.gather(self._account.look(), self._received.look())
        self._draw_soon()

    async def _learn_facts(self) -> None:
        # First what may be bad news: the browser takes its time over the rest.
        self._wiped_after = await host.wiped_after(outbox)
        self._draw()
        facts = await js.holdfast.capabilities()
        self._facts = json.loads(js.JSON.stringify(facts))
        self._draw()

    # Drawing

    def _state(self, job_id: str) -> str | None:
        job = self._jobs.get(job_id)
        return job["state"] if job else None

    def _draw_soon(self) -> None:
        """Draw what may change many times a second."""
        if not self._drawing:
            self._drawing = True
            _run(self._draw_later())

    async def _draw_later(self) -> None:
        await self._pause()
        self._drawing = False
        self._draw()

    async def _pause(self) -> None:
        """A long drain changes many jobs a second, and its sending matters more than our drawing: that takes a small part."""
        await asyncio.sleep(min(max(PAUSE_MS / 1_000, self._drawn_s * PAUSE_FOR_DRAWING), LONGEST_PAUSE_MS / 1_000))

    def _draw(self) -> None:
        begun = monotonic()
        self._draw_screens()
        self._drawn_s = monotonic() - begun

    def _draw_screens(self) -> None:
        now = dom.now_ms()
        received = self._received
        moment = Moment(
            now_ms=now,
            jobs=self._jobs,
            tally=self._tally,
            sent=self._sent,
            asked=frozenset(self._asked),
            answers=self._answers,
            received=tuple(received.items.values()),
            last_received_ms=self._last_received_ms,
        )
        as_of = f"List as of {sentences.moment(received.as_of, now, None)}." if received.as_of else ""
        self._list.draw(
            moment,
            loaded=received.as_of is not None,
            failed=received.failed,
            as_of=as_of,
            older=received.has_older,
        )
        self._outbox.draw(moment)
        draw_header(moment)
        draw_sites(moment)
        self._draw_banners(moment)

    def _draw_banners(self, moment: Moment) -> None:
        jobs = list(moment.jobs.values())
        facts = self._facts
        waited = sentences.waited(*self._waited, moment.now_ms, None)
        dom.write(dom.part(dom.by_id("three-days"), "words"), waited)
        dom.show(dom.by_id("three-days"), bool(waited))
        self._draw_alarms(moment)
        self._account.draw()
        silent = js.navigator.onLine and any(job.get("waits") == "network" for job in jobs)
        left = self._wake_at - moment.now_ms if self._wake_at is not None else 0
        next_look = f"; the next look is in {sentences.span(left)}" if left > 0 else ""
        dom.write(dom.part(dom.by_id("silent"), "next"), next_look)
        dom.show(dom.by_id("silent"), bool(silent))
        unsent = any(moment.tally[tone] for tone in UNSENT)
        dom.show(dom.by_id("not-persistent"), unsent and facts.get("persisted") is False)
        wiped = self._wiped_after
        if wiped is not None:
            dom.write(
                dom.part(dom.by_id("wiped"), "when"), f"some time after {sentences.moment(wiped, moment.now_ms, None)}"
            )
        dom.show(dom.by_id("wiped"), wiped is not None)
        line = dom.by_id("tab-line")
        dom.write(dom.find(line, "span"), sentences.tab_line(facts) if facts else "")
        dom.show(line, bool(facts))

    def _draw_alarms(self, moment: Moment) -> None:
        storage, since = self._storage, self._stalled_since
        if storage is not None:
            words = sentences.room(storage["usage"], storage["quota"])
            dom.write(dom.part(dom.by_id("nearly-full"), "left"), words)
        dom.show(dom.by_id("nearly-full"), storage is not None)
        if since is not None:
            stalled = dom.by_id("stalled")
            dom.write(dom.part(stalled, "since"), sentences.stands_still(since, moment.now_ms, None))
            dom.write(dom.part(stalled, "what"), sentences.could_go(since, moment.jobs.values()))
        dom.show(dom.by_id("stalled"), since is not None)

    # Doing

    def _pressed(self, event: Any) -> None:
        button = dom.around(event.target, "[data-do]")
        if button is None:
            return
        do = dom.data(button, "do") or ""
        row = dom.around(button, "#outbox [data-job-id]")
        if row is not None and do in self._verbs:
            _run(self._do(do, dom.data(row, "job-id") or ""))
        elif do == "older":
            _run(self._look_further_back())
        elif do == "understood":
            _run(self._understand())
        elif do == "sign-in":
            self._account.ask_to_sign_in()
        elif do == "sign-out":
            _run(self._account.sign_out())
        elif do == "adopt":
            _run(self._account.adopt())
        elif do == "not-mine":
            self._account.leave_alone()

    @property
    def _verbs(self) -> dict[str, Callable[[str], Coroutine[Any, Any, Any]]]:
        return {
            Action.CANCEL: self._cancel,
            GONE: self._cancel_surely,
            KEEP: self._keep,
            Action.RETRY: outbox.retry,
            Action.SEND_ANYWAY: outbox.retry,
            Action.SEND_AGAIN: lambda job_id: outbox.retry(job_id, accept_duplicate=True),
            Action.EDIT: lambda job_id: self._form.edit(job_id, sentences.title(self._jobs[job_id])),
        }

    async def _do(self, do: str, job_id: str) -> None:
        self._answers.pop(job_id, None)
        try:
            await self._verbs[do](job_id)
        except HoldfastError as error:
            self._answers[job_id] = dom.by_id("status").textContent = sentences.why_not(error)
            self._draw()

    async def _cancel(self, job_id: str) -> None:
        # Asked of the store: since the row was drawn its sending may have begun.
        job = await outbox.job(job_id)
        if job is None or not sentences.confirm_cancel(job):
            await outbox.cancel(job_id)
            return
        self._asked.add(job_id)
        self._draw()
        dom.find(dom.around(dom.by_id(f"outbox-{job_id}"), "li"), f'[data-do="{KEEP}"]').focus()

    async def _cancel_surely(self, job_id: str) -> None:
        self._asked.discard(job_id)
        await outbox.cancel(job_id)

    async def _keep(self, job_id: str) -> None:
        self._asked.discard(job_id)
        self._draw()
        dom.by_id(f"outbox-{job_id}").focus()

    async def _understand(self) -> None:
        await host.forget_wipe(outbox)
        self._wiped_after = None
        self._draw()

    async def _look_further_back(self) -> None:
        await self._received.look_further_back()
        self._draw()
