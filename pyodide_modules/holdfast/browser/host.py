"""Starting an outbox in a browser context: the ports for this very runtime, and in a page the leader and its wakes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import js

from holdfast.alarms import Alarms
from holdfast.browser import marker, turns
from holdfast.browser.channel import BrowserChannel
from holdfast.browser.clock import BrowserClock, BrowserEntropy
from holdfast.browser.files import from_js, read_bytes
from holdfast.browser.idb import IndexedDBStore
from holdfast.browser.inbox import BrowserInbox
from holdfast.browser.locks import WebLocks
from holdfast.browser.net import BrowserTransport, post
from holdfast.browser.wake import BrowserWakeup, on_return
from holdfast.leader import Leader
from holdfast.leases import LeaseLocks
from holdfast.messages import dispatch
from holdfast.ports import Ports
from holdfast.reports import Reporter

if TYPE_CHECKING:
    from holdfast.outbox import Outbox
    from holdfast.ports import Locks

_tasks: set[asyncio.Task[Any]] = set()


async def start(outbox: Outbox, *, role: Literal["page", "worker"]) -> None:
    """Open the outbox here. A page also stands for leader, drains on its wakes, and drains once at its start."""
    turns.share(asyncio.get_running_loop())
    store = IndexedDBStore(f"holdfast:{outbox.name}")
    clock, entropy = BrowserClock(), BrowserEntropy()
    locks: Locks = WebLocks() if hasattr(js.navigator, "locks") else LeaseLocks(store, clock, entropy)
    ports = Ports(
        store=store,
        inbox=BrowserInbox(),
        transport=BrowserTransport(),
        locks=locks,
        clock=clock,
        entropy=entropy,
        channel=BrowserChannel(outbox.name),
        wakeup=BrowserWakeup(),
        read_bytes=read_bytes,
        storage_estimate=_storage_estimate,
        offline=lambda: not js.navigator.onLine,
    )
    if role == "page":
        await store.opened()  # a page that gave up here would go on without Python until it is loaded anew
    await outbox.open(ports)
    if role == "page":
        # Before anything is written here: afterwards nobody could tell a wiped store from a new one.
        await marker.look(outbox.name, store, clock.now())
        await outbox.visit()
        on_return(lambda: _keep(outbox.drain(wake="person")))
        alarms = Alarms(clock, outbox.stats, outbox.publish)
        outbox.listen(alarms.heard)

        def look() -> None:
            outbox.wake()
            alarms.look()

        leader = Leader(ports, outbox.name, look, outbox.listen)
        if outbox.reports is not None:
            url = outbox.reports
            reporter = Reporter(
                ports, lambda report: post(url, report), lambda: leader.leads and not _wants_no_reports()
            )
            outbox.listen(reporter.heard)
        outbox.publish({"kind": "opened"})
        _keep(leader.run())


async def wiped_after(outbox: Outbox) -> int | None:
    """When this page was last here before its storage was cleared, until the person has understood; None if it was not."""
    return await marker.wiped_after(outbox.ports.store)


async def forget_wipe(outbox: Outbox) -> None:
    """The person has understood."""
    await marker.forget(outbox.ports.store, outbox.ports.clock.now())


async def answer(outbox: Outbox, message: str, files: Any = ()) -> str:
    """Answer one message of JavaScript; `files` are `[field, Blob]` pairs, as in the inbox."""
    return await dispatch(outbox, message, from_js(files))


async def _storage_estimate() -> dict[str, int] | None:
    """Plain http has no storage manager."""
    if getattr(js.navigator, "storage", None) is None:
        return None
    estimate = await js.navigator.storage.estimate()
    return {"usage": int(estimate.usage), "quota": int(estimate.quota)}


def _wants_no_reports() -> bool:
    """Global Privacy Control: a person who asks sites to keep what they learn to themselves is taken at their word."""
    return getattr(js.navigator, "globalPrivacyControl", False) is True


def _keep(work: Any) -> None:
    """Let it run; the event loop itself holds tasks only weakly."""
    task = asyncio.ensure_future(work)
    _tasks.add(task)

    def ended(done: asyncio.Task[Any]) -> None:
        _tasks.discard(done)
        if not done.cancelled():
            done.exception()  # storage that failed for this look is opened anew by the next one

    task.add_done_callback(ended)
