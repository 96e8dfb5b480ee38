"""Group commit: many writers, few commits, and each with its own result."""

import asyncio

import pytest

from holdfast.commits import TOGETHER, GroupCommit
from holdfast.memory import MemoryStore
from holdfast.storage import GetAll, Migration, ObjectStore, Put, reading, transaction

SCHEMA = (Migration(adds={"things": ObjectStore(key="id", indexes={})}),)


@transaction("things", durability="strict")
def add(id_, *, fails=False):
    found = yield GetAll("things")
    yield Put("things", {"id": id_})
    if fails:
        raise LookupError(f"{id_} no")
    return len(found)


@transaction("things", durability="relaxed")
def add_relaxed(id_):
    yield Put("things", {"id": id_})


@reading("things")
def ids():
    return [thing["id"] for thing in (yield GetAll("things"))]


class Disk:
    """A store that commits when it is told to."""

    def __init__(self):
        self.store = MemoryStore(SCHEMA)
        self.begun = []
        self.durabilities = []
        self.vetted = []
        self.turn = asyncio.Semaphore(0)

    async def run(self, transaction):
        self.begun.append(transaction.name)
        self.durabilities.append(transaction.durability)
        self.vetted.append(transaction.vet is not add(0).vet)
        await self.turn.acquire()
        return await self.store.run(transaction)

    async def commit(self, times):
        """Let so many commits go on, and everything run that can run before, between and after them."""
        await self.rest()
        for _ in range(times):
            self.turn.release()
            await self.rest()

    async def rest(self):
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
def disk():
    return Disk()


@pytest.fixture
def writers(disk):
    return GroupCommit(disk.run)


async def test_who_writes_alone_waits_for_nobody(disk, writers):
    writing = asyncio.ensure_future(writers.run(add(1)))
    await disk.commit(1)
    assert await writing == 0


async def test_those_who_come_meanwhile_share_one_commit_in_the_order_in_which_they_came(disk, writers):
    writing = [asyncio.ensure_future(writers.run(add(number))) for number in range(5)]
    await disk.commit(2)
    assert await asyncio.gather(*writing) == [0, 1, 2, 3, 4]
    assert len(disk.begun) == 2


async def test_a_group_is_bounded(disk, writers):
    writing = [asyncio.ensure_future(writers.run(add(number))) for number in range(2 * TOGETHER + 1)]
    await disk.commit(3)
    assert await asyncio.gather(*writing) == list(range(2 * TOGETHER + 1))
    assert len(disk.begun) == 3


async def test_one_that_raises_costs_the_others_nothing(disk, writers):
    """Each gets its own result or error, and nothing of the one that raised is stored."""
    writing = [asyncio.ensure_future(writers.run(add(number, fails=number == 2))) for number in range(5)]
    await disk.commit(10)
    results = await asyncio.gather(*writing, return_exceptions=True)
    assert isinstance(results[2], LookupError)
    assert await disk.store.run(ids()) == [0, 1, 3, 4]
    assert [result for result in results if isinstance(result, int)] == [0, 1, 2, 3]


async def test_one_that_raises_first_holds_nobody_up(disk, writers):
    writing = [asyncio.ensure_future(writers.run(add(number, fails=number == 0))) for number in range(3)]
    await disk.commit(2)
    results = await asyncio.gather(*writing, return_exceptions=True)
    assert isinstance(results[0], LookupError)
    assert results[1:] == [0, 1]


async def test_what_was_asked_for_is_stored_though_nobody_waits_for_it_any_more(disk, writers):
    """A tab may drop a task; as alone, its transaction goes on to its end, and so do those that wait behind it."""
    writing = [asyncio.ensure_future(writers.run(add(number))) for number in range(4)]
    await asyncio.sleep(0)
    writing[2].cancel()
    await disk.commit(2)
    await asyncio.gather(*writing, return_exceptions=True)
    assert await disk.store.run(ids()) == [0, 1, 2, 3]


async def test_a_group_waits_for_the_disk_if_one_of_it_does(disk, writers):
    """A strict write is never stored relaxed, nor is one that was asked for before it stored after it."""
    begun = [writers.run(verb(number)) for number, verb in enumerate((add_relaxed, add_relaxed, add, add_relaxed))]
    writing = [asyncio.ensure_future(each) for each in begun]
    await disk.commit(2)
    await asyncio.gather(*writing)
    assert disk.begun == ["add_relaxed", "add_relaxed and add"]
    assert disk.durabilities == ["relaxed", "strict"]


async def test_what_is_vetted_shares_no_commit_with_what_is_not(disk, writers):
    """One is for all of a group."""

    def vet(_store, _record):
        """Any will do."""

    begun = [add(0), add(1), add(2).vetted(vet), add(3).vetted(vet), add(4)]
    writing = [asyncio.ensure_future(writers.run(each)) for each in begun]
    await disk.commit(4)
    await asyncio.gather(*writing)
    assert disk.vetted == [False, True, False, True]
