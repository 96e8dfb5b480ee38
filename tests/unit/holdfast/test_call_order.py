"""Calls of one context that nobody awaits in between are stored in their order, whatever each finds in the inbox."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import Outbox
from holdfast.commits import GroupCommit
from holdfast.ports import InboxEntry
from holdfast.storage import Transaction
from holdfast.testing import MemoryInbox, MemoryStore
from tests.support.device import Device


class SlowInbox(MemoryInbox):
    """An inbox that is looked at until it is told to answer, and listed for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: list[asyncio.Future[tuple[str, int]]] = []

    def look(self) -> asyncio.Future[tuple[str, int]]:
        self.looks.append(asyncio.Future())
        return self.looks[-1]

    async def entries(self, limit: int) -> list[InboxEntry]:
        found = await super().entries(limit)
        await turns(5)
        return found


class Grouping:
    """A store as in a browser: a commit takes a while, and writers share it."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._writers = GroupCommit(self._slowly)

    async def run(self, transaction: Transaction[Any]) -> Any:
        return await (self._slowly if transaction.durability is None else self._writers.run)(transaction)

    async def _slowly(self, transaction: Transaction[Any]) -> Any:
        await turns(3)
        return await self._store.run(transaction)

    def close(self) -> None:
        """Nothing to let go."""


class Writer:
    """A page in which much is saved at once. Nothing is sent."""

    def __init__(self) -> None:
        self.device = Device()
        self.device.lab.store = Grouping(self.device.store)
        self.device.lab.inbox = self.device.inbox = self.inbox = SlowInbox()
        self.calls: list[asyncio.Task[Any]] = []

    async def open(self) -> "Writer":
        """With who is signed in known: from there on most is stored on a guess."""
        self.outbox = Outbox("test", app_version=1)
        self.outbox.route("note", "POST", "/api/notes", queue="notes")
        self.outbox.route("beat", "POST", "/api/beats", queue="notes", durability="relaxed")
        await self.device.context(self.outbox)
        await self.outbox.pause()
        await self.call("first")
        self.answer(0)
        await self.all()
        return self

    async def call(self, id_: str, type_: str = "note") -> None:
        self.calls.append(asyncio.ensure_future(self.outbox.enqueue(type_, {"text": id_}, id=id_)))
        await turns(1)

    def answer(self, *counts: int) -> None:
        """What the next looks find."""
        for count in counts:
            next(look for look in self.inbox.looks if not look.done()).set_result(("", count))

    async def all(self) -> list[str]:
        """The jobs in their order, once all calls have ended."""
        await asyncio.gather(*self.calls)
        self.calls.clear()
        return self.stored()

    def stored(self) -> list[str]:
        return [job["id"] for job in sorted(self.device.store.records("jobs"), key=lambda job: job["place"])]


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_write_waits_for_one_before_it_that_takes_the_inbox_in() -> None:
    """Its own look may find nothing any more."""
    writer = await Writer().open()
    writer.inbox.add(InboxEntry(0, "waited", "key", "note", "", 0, None, {"text": "waited"}, {}, []))
    await writer.call("a")
    writer.answer(1)
    await turns(5)
    await writer.call("b")
    while writer.inbox.kept:
        await turns(1)
    writer.answer(0)
    assert await writer.all() == ["first", "waited", "a", "b"]


async def test_a_guess_that_was_wrong_takes_those_after_it_along() -> None:
    """Somebody else takes in what it has found, and the next look finds nothing: that guess was right."""
    writer = await Writer().open()
    await writer.call("a")
    await writer.call("b")
    writer.answer(1, 0)
    assert await writer.all() == ["first", "a", "b"]


async def test_a_relaxed_write_does_not_overtake_strict_ones() -> None:
    """They wait for the disk; it does so with them."""
    writer = await Writer().open()
    for id_, type_ in (("a", "note"), ("b", "note"), ("c", "beat")):
        await writer.call(id_, type_)
    writer.answer(0, 0, 0)
    assert await writer.all() == ["first", "a", "b", "c"]


async def test_a_call_that_is_cancelled_is_not_waited_for() -> None:
    """Whether it was its turn or not."""
    writer = await Writer().open()
    for id_ in "abc":
        await writer.call(id_)
    first, second, _third = writer.calls
    writer.answer(1)
    second.cancel()
    await turns(1)
    first.cancel()
    writer.answer(0, 0)
    [third] = writer.calls[2:]
    await third
    assert writer.stored()[-1] == "c"


steps = st.lists(
    st.one_of(st.sampled_from(["note", "beat"]), st.integers(0, 1), st.just("turn")), min_size=4, max_size=30
)


@settings(deadline=None)
@given(steps)
def test_whatever_the_looks_find_the_order_is_that_of_the_calls(taken: list[str | int]) -> None:
    """Looks are answered in the order in which they were begun, as the inbox's are."""

    async def day() -> None:
        writer = await Writer().open()
        called = ["first"]
        for step in taken:
            if isinstance(step, int):
                if not all(look.done() for look in writer.inbox.looks):
                    writer.answer(step)
            elif step == "turn":
                await turns(1)
            else:
                called.append(f"{len(called)}")
                await writer.call(called[-1], step)
        while not all(call.done() for call in writer.calls):
            for look in writer.inbox.looks:
                if not look.done():
                    look.set_result(("", 0))
            await turns(1)
        assert await writer.all() == called

    asyncio.run(day())
