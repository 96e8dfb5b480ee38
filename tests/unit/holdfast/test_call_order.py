"""Calls of one context that nobody awaits in between are stored in their order, whatever each finds and whichever fails."""

import asyncio
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import Outbox
from holdfast.commits import GroupCommit
from holdfast.errors import StorageClosedError, StorageFullError
from holdfast.ports import InboxEntry
from holdfast.storage import Part, Transaction
from holdfast.testing import MemoryInbox, MemoryStore
from holdfast.transactions.enqueue import Arrival
from tests.support.device import Device

INBOX = "from the inbox"


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
        self._writers = GroupCommit(self._twice)
        self._disk = asyncio.Lock()
        self.failures: list[tuple[str, Exception]] = []
        """What the next commits that would store a job fail with: in order, by its id, '' being any."""
        self.begun: list[list[str]] = []
        """The jobs of each commit so far."""

    async def run(self, transaction: Transaction[Any]) -> Any:
        return await (self._slowly if transaction.durability is None else self._writers.run)(transaction)

    async def _twice(self, transaction: Transaction[Any]) -> Any:
        """A full disk is tried again once there is room."""
        try:
            return await self._slowly(transaction)
        except StorageFullError:
            await turns(2)
            return await self._slowly(transaction)

    async def _slowly(self, transaction: Transaction[Any]) -> Any:
        async with self._disk:
            taken = _taken_in(transaction)
            self.begun.append(taken)
            await turns(3)
            for failure in self.failures:
                if failure[0] in taken or (taken and not failure[0]):
                    self.failures.remove(failure)
                    raise failure[1]
            return await self._store.run(transaction)

    def close(self) -> None:
        """Nothing to let go."""


def _taken_in(transaction: Transaction[Any] | Arrival) -> list[str]:
    """The ids of the jobs that a transaction would store; INBOX for one from there."""
    if isinstance(transaction, Arrival):
        return [transaction.draft.record["id"]]
    if not transaction.name.startswith("enqueue"):
        return []
    match transaction.start:
        case Part(_, arrival):
            return _taken_in(arrival)
        case partial(args=(parts,)):
            return [id_ for part in parts for id_ in _taken_in(part)]
    return [INBOX]


class Writer:
    """A page in which much is saved at once. Nothing is sent."""

    def __init__(self) -> None:
        self.device = Device()
        self.device.lab.store = self.store = Grouping(self.device.store)
        self.device.lab.inbox = self.device.inbox = self.inbox = SlowInbox()
        self.calls: list[asyncio.Task[Any]] = []

    async def open(self, account: str | None = "") -> "Writer":
        """With who is signed in known, unless it is None: from there on most is stored on a guess."""
        self.outbox = Outbox("test", app_version=1)
        self.outbox.route("note", "POST", "/api/notes", queue="notes")
        self.outbox.route("beat", "POST", "/api/beats", queue="notes", durability="relaxed")
        await self.device.context(self.outbox)
        await self.outbox.pause()
        if account is not None:
            self.inbox.signed_in_account = account
            await self.call("first")
            await self.whatever_it_takes()
        return self

    async def call(self, id_: str, type_: str = "note") -> None:
        self.calls.append(asyncio.ensure_future(self.outbox.enqueue(type_, {"text": id_}, id=id_)))
        await turns(1)

    def answer(self, *counts: int) -> None:
        """What the next looks find."""
        for count in counts:
            next(look for look in self.inbox.looks if not look.done()).set_result(("", count))

    def answer_all(self) -> None:
        """They find what there is."""
        for look in self.inbox.looks:
            if not look.done():
                look.set_result((self.inbox.signed_in_account, len(self.inbox.kept)))

    async def all(self) -> list[str]:
        """The jobs in their order, once all calls have ended."""
        await asyncio.gather(*self.calls)
        self.calls.clear()
        return self.stored()

    async def whatever_it_takes(self) -> list[str]:
        """The same, with all looks answered as it is, and what is in the inbox by then taken in."""
        for _ in range(1_000):
            self.answer_all()
            await turns(1)
        assert all(call.done() for call in self.calls)
        await self.outbox._intake.run(at_once=True)
        return await self.all()

    def stored(self) -> list[str]:
        return [job["id"] for job in sorted(self.device.store.records("jobs"), key=lambda job: job["seq"])]


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


async def test_a_call_that_was_cancelled_does_not_get_its_guess_back() -> None:
    """It would be stored before one that was called earlier and has to look."""
    writer = await Writer().open()
    writer.inbox.add(InboxEntry(0, "waited", "key", "note", "", 0, None, {"text": "waited"}, {}, []))
    await writer.call("a")
    await writer.call("b")
    writer.answer(1)
    await turns(4)
    writer.calls.pop().cancel()
    writer.answer(0)
    assert await writer.whatever_it_takes() == ["first", "waited", "a"]


async def test_a_write_that_comes_to_nothing_takes_those_after_it_along() -> None:
    """It goes to the inbox, and they go behind it, though it was with the store by the time they were called."""
    writer = await Writer().open()
    writer.store.failures += [("a", StorageClosedError("lost"))] * 2
    await writer.call("a")
    while writer.store.begun.count(["a"]) < 2:  # on its guess, and when it has looked
        writer.answer_all()
        await turns(1)
    await writer.call("b")
    await writer.call("c")
    assert await writer.whatever_it_takes() == ["first", "a", "b", "c"]


async def test_the_first_calls_of_a_page_are_stored_in_their_order_though_one_fails() -> None:
    """Nobody has looked who is signed in: all of them do."""
    writer = await Writer().open(account=None)
    writer.store.failures.append(("a", StorageClosedError("lost")))
    for id_ in "abc":
        await writer.call(id_)
    assert await writer.whatever_it_takes() == ["a", "b", "c"]


async def test_what_finds_room_at_a_second_try_is_not_overtaken_meanwhile() -> None:
    """After a group that found none each is tried alone."""
    writer = await Writer().open()
    writer.store.failures += [("a", StorageFullError())] * 3
    for id_ in ("x", "a", "b"):
        await writer.call(id_)
    assert await writer.whatever_it_takes() == ["first", "x", "a", "b"]


@pytest.mark.parametrize("store", ["jobs", "queues"])
async def test_a_write_that_met_a_damaged_record_is_not_overtaken(store: str) -> None:
    """It is begun anew once that record was set aside."""
    writer = await Writer().open()
    [record] = writer.device.store.records(store)
    writer.device.store.fill(store, [record | {"attempts": "many", "states": "many"}])
    for id_ in "abc":
        await writer.call(id_)
    assert [id_ for id_ in await writer.whatever_it_takes() if id_ != "first"] == ["a", "b", "c"]


async def test_a_write_is_for_whoever_was_signed_in_when_it_was_called() -> None:
    """Also where somebody else signs in while it waits for its turn."""
    writer = await Writer().open("ann")
    writer.inbox.add(InboxEntry(0, "waited", "key", "note", "ann", 0, None, {"text": "waited"}, {}, []))
    writer.store.failures += [(INBOX, StorageFullError())] * 9
    await writer.call("a")
    await writer.call("b")
    writer.answer_all()
    while len(writer.inbox.kept) < 2:
        await turns(1)
    writer.inbox.signed_in_account = "bob"
    await writer.whatever_it_takes()
    owners = {entry.id: entry.account for entry in writer.inbox.kept}
    owners |= {job["id"]: job["account"] for job in writer.device.store.records("jobs")}
    assert owners == dict.fromkeys(["first", "waited", "a", "b"], "ann")


steps = st.lists(
    st.one_of(st.sampled_from(["note", "beat"]), st.integers(0, 1), st.sampled_from(["turn", "lost"])),
    min_size=4,
    max_size=30,
)


@settings(deadline=None)
@given(steps)
def test_whatever_the_looks_find_the_order_is_that_of_the_calls(taken: list[str | int]) -> None:
    """Looks are answered in the order in which they were begun, as the inbox's are. One commit fails, wherever it is."""

    async def day() -> None:
        writer = await Writer().open()
        called = ["first"]
        for step in taken:
            if isinstance(step, int):
                if not all(look.done() for look in writer.inbox.looks):
                    writer.answer(step)
            elif step == "turn":
                await turns(1)
            elif step == "lost":
                writer.store.failures = [("", StorageClosedError("lost"))]
            else:
                called.append(f"{len(called)}")
                await writer.call(called[-1], step)
        while not all(call.done() for call in writer.calls):
            writer.answer_all()
            await turns(1)
        writer.store.failures.clear()
        assert await writer.whatever_it_takes() == called
        assert not writer.outbox._order._under_way

    asyncio.run(day())
