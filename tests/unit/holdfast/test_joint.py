"""Jobs that share a commit share its steps, and are stored as each would be by itself."""

import asyncio
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as some

from holdfast.commits import GroupCommit
from holdfast.errors import HoldfastError, QueueFullError
from holdfast.job import new_job
from holdfast.memory import MemoryStore
from holdfast.transactions.enqueue import Stored, enqueue

ARRIVALS = some.lists(
    some.fixed_dictionaries(
        {
            "id": some.sampled_from("abcdef"),
            "account": some.sampled_from(["ada", "bo"]),
            "queue": some.sampled_from(["q", "r"]),
            "lane": some.sampled_from([None, "cellar"]),
            "delay_ms": some.sampled_from([0, 5]),
            "payload": some.integers(0, 1),
        }
    ),
    max_size=12,
)
STORES = ("jobs", "bodies", "queues")


def taking_in(arrival, is_new):
    draft = new_job(
        **arrival, type="inspection", key=f"{arrival['id']} {arrival['payload']}", max_attempts=3, app_version=1, now=7
    )
    return enqueue(draft, 4, is_new=is_new)


async def outcome(storing):
    try:
        return await storing
    except HoldfastError as error:
        return str(error)


@given(ARRIVALS, ARRIVALS)
async def test_as_one_they_are_stored_as_one_by_one(before, arrivals):
    alone, together = MemoryStore(), MemoryStore()
    for store in (alone, together):
        for arrival in before:
            await outcome(store.run(taking_in(arrival, is_new=False)))
    named = [arrival["id"] for arrival in [*before, *arrivals]]
    new = [id_ not in named[: len(before) + number] for number, id_ in enumerate(named[len(before) :])]

    async def slowly(transaction):
        await asyncio.sleep(0)  # those behind the first one share the next commit
        return await together.run(transaction)

    writers = GroupCommit(slowly)
    expected = [await outcome(alone.run(taking_in(*one))) for one in zip(arrivals, new, strict=True)]
    found = await asyncio.gather(*(outcome(writers.run(taking_in(*one))) for one in zip(arrivals, new, strict=True)))
    assert found == expected
    for name in STORES:
        assert together.records(name) == alone.records(name)


async def test_what_one_of_them_adds_to_its_steps_is_done_among_others_too():
    """As the inbox does, which gives up what it has read too long ago."""
    store = MemoryStore()
    plain, added = (taking_in({"id": id_, "account": "ada", "queue": "q", "payload": 0}, True) for id_ in "ab")

    def too_late():
        yield from added
        raise LookupError("too late")

    async def slowly(transaction):
        await asyncio.sleep(0)
        return await store.run(transaction)

    writers = GroupCommit(slowly)
    first = taking_in({"id": "c", "account": "ada", "queue": "q", "payload": 0}, True)
    stored = await asyncio.gather(
        *(writers.run(one) for one in (first, plain, replace(added, start=too_late))), return_exceptions=True
    )
    assert [type(one) for one in stored] == [Stored, Stored, LookupError]
    assert [record["id"] for record in store.records("jobs")] == ["a", "c"]


async def test_one_that_is_refused_costs_the_others_no_commit_of_their_own() -> None:
    """Such as the last of many for which a queue has no room."""
    store, commits = MemoryStore(), []

    async def slowly(transaction):
        commits.append(transaction.name)
        await asyncio.sleep(0)
        return await store.run(transaction)

    writers = GroupCommit(slowly)
    arrivals = [
        {"id": f"{number}", "account": "ada", "queue": "q", "lane": None, "delay_ms": 0, "payload": 0}
        for number in range(6)
    ]
    found = await asyncio.gather(
        *(writers.run(taking_in(one, is_new=True)) for one in arrivals), return_exceptions=True
    )
    assert [type(each) for each in found] == [Stored] * 4 + [QueueFullError] * 2
    assert [job["id"] for job in store.records("jobs")] == ["0", "1", "2", "3"]
    assert len(commits) == 2
