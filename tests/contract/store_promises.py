"""What every `Store` promises, as plain functions: the same file runs on CPython and inside Pyodide on real IndexedDB.

Each takes a place, whose `open()` gives a store on one and the same database, empty at the start of each promise.
`PROMISES` holds for every store; `DATABASE_PROMISES` are about opening, upgrading and losing a real database.
"""

import asyncio
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum

from holdfast.errors import ActionRefusedError, NewerStorageError, NotUniqueError, Obstacle, StorageClosedError
from holdfast.storage import (
    ABOVE_ALL,
    Count,
    Delete,
    Get,
    GetAll,
    GetEach,
    KeyRange,
    Migration,
    MistakenError,
    ObjectStore,
    Proviso,
    Put,
    reading,
    transaction,
)

FIRST = Migration(
    adds={
        "things": ObjectStore(key="id", indexes={"by": ("a", "b"), "own": ("own",)}, unique=("own",)),
        "pairs": ObjectStore(key=("left", "right"), indexes={}),
        "blobs": ObjectStore(key=None, indexes={}, opaque=True),
    },
)
SCHEMA = (FIRST,)


@transaction("things", "pairs", "blobs", durability="strict")
def do(*requests):
    """Make these requests in one transaction; returns their results."""
    results = []
    for request in requests:
        results.append((yield request))  # noqa: PERF401  (a generator cannot yield from inside a comprehension)
    return results


@reading("things", "pairs", "blobs")
def look(*requests):
    """The same, where all of them only read."""
    results = []
    for request in requests:
        results.append((yield request))  # noqa: PERF401  (a generator cannot yield from inside a comprehension)
    return results


async def one(store, request):
    [result] = await store.run(look(request))
    return result


async def ids(store, *arguments, **options):
    return [record["id"] for record in await one(store, GetAll("things", *arguments, **options))]


@contextmanager
def raises(*kinds):
    """A promise runs without pytest too."""
    try:
        yield
    except kinds:
        return
    raise AssertionError(f"nothing of {kinds} was raised")


async def what_was_stored_is_there_for_the_next_transaction(place):
    """Also for another context on the same database."""
    store = place.open(SCHEMA)
    assert await store.run(do(Put("things", {"id": 1}), Get("things", 1))) == [None, {"id": 1}]
    assert await one(place.open(SCHEMA), Get("things", 1)) == {"id": 1}


async def what_is_not_there_is_none(place):
    """By key, by range and by index; an empty range has no records and counts none."""
    store = place.open(SCHEMA)
    nothing = KeyRange([0, 0], [9, 9])
    requests = (Get("things", 1), Get("things", nothing, "by"), GetAll("things", nothing, "by"), GetAll("things"))
    assert await store.run(look(*requests, Count("things"), Get("blobs", [1, 0]))) == [None, None, [], [], 0, None]


async def many_keys_are_read_as_each_alone(place):
    """In the order asked for: what is not there, a key twice, and what the same transaction wrote or deleted before."""
    store = place.open(SCHEMA)
    one, two, three = ({"id": number} for number in (1, 2, 3))
    await store.run(do(*map(Put, ["things"] * 3, (one, two, three))))
    each = GetEach("things", (3, 9, 1, 3, 2))
    assert await store.run(look(each, GetEach("things", ()))) == [[three, None, one, three, two], []]
    assert await store.run(look(Get("things", 9), each, each)) == [None, *[[three, None, one, three, two]] * 2]
    changed = Put("things", one | {"n": 1})
    found = await store.run(do(changed, Delete("things", 3), each))
    assert found[-1] == [None, None, one | {"n": 1}, None, two]


async def the_last_write_counts(place):
    """In one transaction, whatever lies between two writes of one record; a delete too."""
    store = place.open(SCHEMA)
    pair = {"left": 1, "right": 1}
    other = {"left": 1, "right": 2}
    await store.run(do(Put("pairs", pair | {"n": 1}), Delete("pairs", [1, 1]), Put("pairs", pair | {"n": 2})))
    assert await one(store, Get("pairs", [1, 1])) == pair | {"n": 2}
    every = Delete("pairs", KeyRange([1], [1, ABOVE_ALL]))
    await store.run(
        do(Put("pairs", other), Put("pairs", pair), every, Put("pairs", pair | {"n": 3}), Put("pairs", other))
    )
    assert await one(store, GetAll("pairs")) == [pair | {"n": 3}, other]
    await store.run(
        do(Put("pairs", pair), Put("pairs", other), Delete("pairs", [1, 1]), Put("pairs", other | {"n": 4}))
    )
    assert await one(store, GetAll("pairs")) == [other | {"n": 4}]
    many = [Put("things", {"id": number}) for number in range(250)]
    first, last, gone = Put("pairs", pair | {"n": 5}), Put("pairs", pair | {"n": 6}), Delete("pairs", [1, 2])
    await store.run(do(first, *many, gone, last, *many))
    assert await one(store, GetAll("pairs")) == [pair | {"n": 6}]
    again = Put("blobs", place.handle(b"b"), 1)
    await store.run(do(Put("blobs", place.handle(b"a"), 1), Delete("blobs", 1), again))
    assert await place.read(await one(store, Get("blobs", 1))) == b"b"
    found = await store.run(do(Delete("blobs", 1), again, Get("blobs", 1)))
    assert await place.read(found[-1]) == b"b"


class Side(StrEnum):
    """A text that Python writes in another way."""

    LEFT = "left"


async def a_key_is_one_however_it_is_written(place):
    """A whole number as a float, a text as a member of an enumeration, alone and in a list."""
    store = place.open(SCHEMA)
    thing, pair = {"id": 1}, {"left": "left", "right": 1}
    looks = [Get("things", 1.0), Get("pairs", [Side.LEFT, 1.0]), GetEach("pairs", ([Side.LEFT, 1],))]
    found = await store.run(do(*looks, Put("things", thing), Put("pairs", pair), *looks))
    assert found == [None, None, [None], None, None, thing, pair, [pair]]
    found = await store.run(do(Put("pairs", {"left": Side.LEFT, "right": 1.0, "n": 2}), Get("pairs", ["left", 1])))
    assert found[-1] == pair | {"n": 2}
    assert await one(store, GetAll("pairs")) == [pair | {"n": 2}]


async def nothing_is_stored_if_the_steps_raise(place):
    """All of it or none, and the error comes out as it is."""

    @transaction("things", "blobs", durability="strict")
    def half():
        yield Put("things", {"id": 1, "text": "new"})
        yield Delete("things", 2)
        yield Put("blobs", place.handle(b"x"), [1, 0])
        yield Get("things", 1)
        raise ActionRefusedError(Obstacle.OVER, "no")

    store = place.open(SCHEMA)
    await store.run(do(Put("things", {"id": 1, "text": "old"}), Put("things", {"id": 2})))
    with raises(ActionRefusedError):
        await store.run(half())
    assert await one(store, GetAll("things")) == [{"id": 1, "text": "old"}, {"id": 2}]
    assert await one(store, Count("blobs")) == 0


async def nothing_is_stored_if_the_steps_raise_at_once(place):
    """Before the first request, or after a write that waits for no answer."""

    @transaction("things", durability="strict")
    def broken(*writes):
        yield from writes
        raise ActionRefusedError(Obstacle.OVER, "no")

    store = place.open(SCHEMA)
    for writes in ((), (Put("things", {"id": 1}),)):
        with raises(ActionRefusedError):
            await store.run(broken(*writes))
    assert await one(store, Count("things")) == 0


async def transactions_do_not_interleave(place):
    """Fifty read-and-write transactions at once, from two contexts, count to fifty."""

    @transaction("things", durability="relaxed")
    def count_up():
        known = yield Get("things", 1)
        number = known["number"] + 1 if known else 1
        yield Get("things", 2)
        yield Put("things", {"id": 1, "number": number})
        return number

    contexts = [place.open(SCHEMA), place.open(SCHEMA)]
    numbers = await asyncio.gather(*(contexts[turn % 2].run(count_up()) for turn in range(50)))
    assert sorted(numbers) == list(range(1, 51))


async def one_that_fails_among_many_at_once_fails_alone(place):
    """Each of the others has its own result, and the order in which they were asked for."""

    @transaction("things", durability="strict")
    def add(number):
        before = yield Count("things")
        yield Put("things", {"id": number})
        if number == 3:
            raise LookupError("no")
        return before

    store = place.open(SCHEMA)
    results = await asyncio.gather(*(store.run(add(number)) for number in range(6)), return_exceptions=True)
    assert [result for result in results if isinstance(result, int)] == [0, 1, 2, 3, 4]
    assert isinstance(results[3], LookupError)
    assert await ids(store) == [0, 1, 2, 4, 5]


LAST, FIRST_OF_ALL = Get("pairs", ["the", "last"]), Get("things", KeyRange("a", "z"))


@transaction("things", "pairs", durability="strict", ahead=lambda _id: (LAST, FIRST_OF_ALL))
def append(id_):
    """Reads what the one before it may have written; says how many came before it, and which is the first."""
    last = (yield LAST) or {"left": "the", "right": "last", "number": 0}
    first = (yield FIRST_OF_ALL) or {"id": id_}
    if last["number"] == FULL:
        raise OverflowError
    yield Put("things", {"id": id_, "own": last["number"]})
    yield Put("pairs", last | {"number": last["number"] + 1})
    return last["number"], first["id"]


FULL = 100


def counted(number):
    return Put("pairs", {"left": "the", "right": "last", "number": number})


async def writes_of_a_kind_go_by_what_there_is(place):
    """Whatever the last one has left: other writes, of this context or another, come between them."""
    store, other = place.open(SCHEMA), place.open(SCHEMA)
    assert [await store.run(append(id_)) for id_ in "bcd"] == [(0, "b"), (1, "b"), (2, "b")]
    assert await other.run(append("a")) == (3, "b")
    assert [await store.run(append(id_)) for id_ in "ef"] == [(4, "a"), (5, "a")]
    await other.run(do(Delete("things", "a")))
    assert await store.run(append("g")) == (6, "b")
    await store.run(do(counted(40)))
    assert await asyncio.gather(*(store.run(append(id_)) for id_ in "hij")) == [(40, "b"), (41, "b"), (42, "b")]
    assert await ids(other) == [*"bcdefghij"]


async def what_the_steps_raise_goes_by_what_there_is(place):
    """A store that was full a moment ago need not be so now, nor the other way round."""
    store, other = place.open(SCHEMA), place.open(SCHEMA)
    await store.run(append("a"))
    await other.run(do(counted(FULL)))
    with raises(OverflowError):
        await store.run(append("b"))
    await other.run(do(counted(FULL - 1)))
    await store.run(append("b"))
    await other.run(do(counted(1)))
    assert await store.run(append("c")) == (1, "a")
    assert await ids(other) == ["a", "b", "c"]


def soon(value, *, turns):
    """What is found out so many turns of the event loop from now."""

    async def find():
        for _ in range(turns):
            await asyncio.sleep(0)
        if isinstance(value, Exception):
            raise value
        return value

    return asyncio.ensure_future(find())


async def nothing_is_stored_unless_what_it_takes_for_granted_is_so(place):
    """Known already or found out meanwhile, alone or with others; those beside it are stored."""
    store = place.open(SCHEMA)

    def given(id_, found, turns):
        return replace(append(id_), provided=(Proviso(soon(found, turns=turns), "so"),))

    for turns in (0, 1, 3, 30):
        await store.run(given(f"{turns} so", "so", turns))
        for found in ("not so", OSError("nobody knows")):
            with raises(MistakenError):
                await store.run(given(f"{turns} {found}", found, turns))
    assert await ids(store) == ["0 so", "1 so", "3 so", "30 so"]
    many = [given(id_, "not so" if id_ == "c" else "so", turns) for turns, id_ in enumerate("abcde")]
    told = await asyncio.gather(*(store.run(one) for one in many), return_exceptions=True)
    assert [isinstance(one, MistakenError) for one in told] == [False, False, True, False, False]
    assert await ids(store) == ["0 so", "1 so", "3 so", "30 so", *"abde"]


async def one_transaction_can_be_part_of_another(place):
    """Both commit together or not at all."""

    @transaction("things", durability="strict")
    def inner():
        yield Put("things", {"id": 1})
        return (yield Get("things", 1))

    @transaction("things", durability="strict")
    def outer(fails):
        found = yield from inner()
        if fails:
            raise ActionRefusedError(Obstacle.OVER, "no")
        return found

    store = place.open(SCHEMA)
    with raises(ActionRefusedError):
        await store.run(outer(fails=True))
    assert await one(store, Count("things")) == 0
    assert await store.run(outer(fails=False)) == {"id": 1}


async def keys_sort_numbers_before_strings(place):
    """Numbers by value, then strings by UTF-16 code unit: an emoji comes before the last letters of the plane."""
    store = place.open(SCHEMA)
    keys = [-1, 0, 0.5, 2, 10, "", "10", "A", "a", "aa", "ä", "😀", "\uffff"]
    await store.run(do(*(Put("things", {"id": key}) for key in reversed(keys))))
    assert await ids(store) == keys


async def compound_keys_sort_part_by_part(place):
    """A shorter list before a longer one, lists above all numbers and strings."""
    store = place.open(SCHEMA)
    keys = [[1, 0], [1, 2], [1, "a"], [1, []], ["a", 0], ["a", "b"], ["b", 0]]
    await store.run(do(*(Put("blobs", place.handle(str(key).encode()), key) for key in reversed(keys))))
    handles = await one(store, GetAll("blobs"))
    assert [await place.read(handle) for handle in handles] == [str(key).encode() for key in keys]
    assert len(await one(store, GetAll("blobs", KeyRange([1, 0], [1, ABOVE_ALL])))) == 4


async def a_key_of_two_fields_is_read_from_the_record(place):
    """And finds it again."""
    store = place.open(SCHEMA)
    await store.run(do(Put("pairs", {"left": "a", "right": "", "n": 1}), Put("pairs", {"left": "a", "right": "b"})))
    await store.run(do(Put("pairs", {"left": "a", "right": "", "n": 2})))
    assert await one(store, Get("pairs", ["a", ""])) == {"left": "a", "right": "", "n": 2}
    assert await one(store, Count("pairs", KeyRange(["a", ""], ["a", ABOVE_ALL]))) == 2


async def a_record_is_in_an_index_only_with_all_its_fields(place):
    """Absent, null and true keep it out; empty text, zero and another record's equal key do not."""
    store = place.open(SCHEMA)
    fields = [{"a": 1, "b": 1}, {"a": 0, "b": ""}, {"a": 1}, {"b": 1}, {}, {"a": 1, "b": None}, {"a": True, "b": 1}]
    records = [{"id": number} | some for number, some in enumerate(fields)]
    await store.run(do(*(Put("things", record) for record in records), Put("things", {"id": 7, "a": 1, "b": 1})))
    assert await ids(store, None, "by") == [1, 0, 7]
    assert await one(store, Count("things", None, "by")) == 3


async def an_index_follows_its_records(place):
    """A field that goes, comes or changes moves the record at once, within the same transaction."""
    store = place.open(SCHEMA)
    everything = GetAll("things", None, "by")
    results = await store.run(
        do(
            Put("things", {"id": 1, "a": 1, "b": 1}),
            everything,
            Put("things", {"id": 1, "a": 2, "b": 1}),
            Get("things", KeyRange([1, 0], [1, 9]), "by"),
            everything,
            Put("things", {"id": 1}),
            everything,
        ),
    )
    assert [results[1], results[3], results[4], results[6]] == [
        [{"id": 1, "a": 1, "b": 1}],
        None,
        [{"id": 1, "a": 2, "b": 1}],
        [],
    ]


async def ranges_include_both_ends(place):
    """Of keys and of indexes, with the first one as the answer to a get."""
    store = place.open(SCHEMA)
    await store.run(do(*(Put("things", {"id": number, "a": 1, "b": number}) for number in range(10))))
    assert await ids(store, KeyRange(3, 5)) == [3, 4, 5]
    assert await ids(store, KeyRange([1, 3], [1, 5]), "by") == [3, 4, 5]
    assert await ids(store, KeyRange([1, 8], [1, ABOVE_ALL]), "by") == [8, 9]
    assert await ids(store, KeyRange([0, 0], [0, ABOVE_ALL]), "by") == []
    assert (await one(store, Get("things", KeyRange([1, 4], [9, 0]), "by")))["id"] == 4
    assert await one(store, Count("things", KeyRange([1, 3], [1, 5]), "by")) == 3


async def a_limit_takes_the_first_ones(place):
    """In key order."""
    store = place.open(SCHEMA)
    await store.run(do(*(Put("things", {"id": number, "a": 1, "b": -number}) for number in range(10))))
    assert await ids(store, None, None, 3) == [0, 1, 2]
    assert await ids(store, KeyRange([1, -9], [1, 0]), "by", 2) == [9, 8]
    assert await ids(store, None, None, 99) == list(range(10))


async def newest_first_is_the_order_backwards(place):
    """With a limit, without one, and for more records than a page of them."""
    store = place.open(SCHEMA)
    await store.run(do(*(Put("things", {"id": number, "a": 1, "b": number}) for number in range(1_200))))
    assert await ids(store, KeyRange([1, 5], [1, 9]), "by", 3, newest_first=True) == [9, 8, 7]
    assert await ids(store, KeyRange([1, 5], [1, 7]), "by", newest_first=True) == [7, 6, 5]
    assert await ids(store, None, None, newest_first=True) == list(range(1_199, -1, -1))
    assert await ids(store, KeyRange([2, 0], [2, 9]), "by", 3, newest_first=True) == []


async def two_backward_looks_fit_into_one_transaction(place):
    """What one of them found is not in the other."""
    store = place.open(SCHEMA)
    await store.run(do(*(Put("things", {"id": number}) for number in range(4))))
    low, high = await store.run(
        look(
            GetAll("things", KeyRange(0, 1), newest_first=True),
            GetAll("things", KeyRange(2, 3), newest_first=True),
        ),
    )
    assert [[record["id"] for record in found] for found in (low, high)] == [[1, 0], [3, 2]]


async def what_is_deleted_is_gone(place):
    """By key and by range, from the indexes too; deleting what is not there is no error."""
    store = place.open(SCHEMA)
    await store.run(do(*(Put("things", {"id": number, "a": 1, "b": 1}) for number in range(6))))
    await store.run(do(Delete("things", 0), Delete("things", KeyRange(2, 4)), Delete("things", 99)))
    assert await ids(store) == await ids(store, None, "by") == [1, 5]


async def a_record_comes_back_as_it_was_put(place):
    """Any JSON: nesting, every kind of text, numbers up to where browsers are exact."""
    store = place.open(SCHEMA)
    record = {
        "id": "😀\u0000\ud800",
        "list": [[], {}, None, True, False, 0, -1, 0.1, 1e300, 2**53 - 1, -(2**53) + 1],
        "texts": ["", "\u2028", "\ud800", "ä", '"\\'],
        "__proto__": {"a": 1},
        "constructor": 1,
        "": 0,
    }
    await store.run(do(Put("things", record)))
    assert await one(store, Get("things", record["id"])) == record


async def a_record_is_a_copy(place):
    """Neither who stored it nor who read it can change it afterwards."""
    store = place.open(SCHEMA)
    record = {"id": 1, "list": [1]}
    await store.run(do(Put("things", record)))
    record["list"].append(2)
    (await one(store, Get("things", 1)))["list"].append(3)
    assert await one(store, Get("things", 1)) == {"id": 1, "list": [1]}


async def a_unique_index_takes_each_key_once(place):
    """A second record with it is refused with all of its transaction; the first one can change, go, and make room."""
    store = place.open(SCHEMA)
    await store.run(do(Put("things", {"id": 1, "own": "x"}), Put("things", {"id": 2}), Put("things", {"id": 3})))
    with raises(NotUniqueError):
        await store.run(do(Put("things", {"id": 4, "own": "y"}), Put("things", {"id": 2, "own": "x"})))
    assert await ids(store, None, "own") == [1]
    await store.run(do(Put("things", {"id": 1, "own": "x", "a": 1})))
    await store.run(do(Delete("things", 1), Put("things", {"id": 2, "own": "x"})))
    assert await ids(store, None, "own") == [2]


async def what_is_no_json_is_refused(place):
    """With nothing stored of its transaction."""
    store = place.open(SCHEMA)
    with raises(TypeError):
        await store.run(do(Put("things", {"id": 1}), Put("things", {"id": 2, "bad": {1, 2}})))
    assert await one(store, Count("things")) == 0


async def opaque_values_come_back_with_their_bytes(place):
    """Also empty ones and large ones, one by one and as a range in order."""
    store = place.open(SCHEMA)
    contents = [b"", b"abc", bytes(range(256)) * 4_000]
    puts = [Put("blobs", place.handle(content), ["j", number]) for number, content in enumerate(contents)]
    await store.run(do(*puts))
    handles = await one(store, GetAll("blobs", KeyRange(["j", 0], ["j", 9])))
    assert [await place.read(handle) for handle in handles] == contents
    assert await place.read(await one(store, Get("blobs", ["j", 1]))) == b"abc"
    await store.run(do(Delete("blobs", KeyRange(["j", 0], ["j", ABOVE_ALL]))))
    assert await one(store, Count("blobs")) == 0


async def an_object_store_that_was_not_named_is_refused(place):
    """A transaction touches what it declares; nothing of it is stored."""

    @transaction("things", durability="strict")
    def greedy(request):
        yield Put("things", {"id": 1})
        yield request

    store = place.open(SCHEMA)
    for request in (Get("pairs", ["a", "b"]), Put("pairs", {"left": 1, "right": 1})):
        with raises(KeyError):
            await store.run(greedy(request))
    assert await one(store, Count("things")) == 0


async def a_reading_transaction_cannot_write(place):
    """It holds up nobody who writes, because it never does."""
    store = place.open(SCHEMA)
    for request in (Put("things", {"id": 1}), Delete("things", 1)):
        with raises(TypeError):
            await store.run(look(request))
    assert await one(store, Count("things")) == 0


async def a_thousand_writes_are_one_commit(place):
    """All of them are there, in order, and a failure at the end takes all of them back."""

    @transaction("things", durability="strict")
    def flood(fails):
        for number in range(1_000):
            yield Put("things", {"id": number, "a": 1, "b": number, "text": "x" * 100})
        if fails:
            raise ActionRefusedError(Obstacle.OVER, "no")

    store = place.open(SCHEMA)
    with raises(ActionRefusedError):
        await store.run(flood(fails=True))
    assert await one(store, Count("things")) == 0
    await store.run(flood(fails=False))
    assert await ids(store, None, "by") == list(range(1_000))


async def a_closed_store_opens_again(place):
    """Closing lets the database go, no more."""
    store = place.open(SCHEMA)
    await store.run(do(Put("things", {"id": 1})))
    store.close()
    store.close()
    assert await ids(store) == [1]


async def a_transaction_outlives_who_waits_for_it(place):
    """Cancelling the wait does not leave half of it, and the store goes on working."""
    store = place.open(SCHEMA)
    waiting = asyncio.ensure_future(store.run(do(Put("things", {"id": 1}), Put("things", {"id": 2}))))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await ids(store) in ([], [1, 2])
    await store.run(do(Put("things", {"id": 3})))
    assert 3 in await ids(store)


def converted():
    """Give every thing a size, and keep the rest."""
    for record in (yield GetAll("things")):
        yield Put("things", record | {"size": len(record["text"])})


SECOND = Migration(
    adds={
        "things": ObjectStore(key="id", indexes={"size": ("size",)}),
        "notes": ObjectStore(key="id", indexes={}),
    },
    convert=converted,
)


async def an_upgrade_converts_what_is_there(place):
    """New stores and indexes are added, each record converted, nothing dropped; and it is done once."""
    await place.open(SCHEMA).run(do(*(Put("things", {"id": n, "a": 1, "b": n, "text": "x" * n}) for n in range(3))))
    store = place.open((FIRST, SECOND))
    assert await ids(store, KeyRange([1], [2]), "size") == [1, 2]
    assert await ids(store, None, "by") == [0, 1, 2]
    again = place.open((FIRST, SECOND))
    assert (await one(again, Get("things", 2)))["size"] == 2


async def a_new_database_takes_every_step(place):
    """A device that skipped versions, or begins with the last one, ends at the same schema."""
    store = place.open((FIRST, SECOND))
    await store.run(do(Put("things", {"id": 1, "a": 1, "b": 1, "size": 5})))
    assert await ids(store, KeyRange([5], [5]), "size") == await ids(store, None, "by") == [1]


async def a_newer_database_is_left_alone(place):
    """The older app gets a clear error, and the data stays for the newer one."""
    newer = place.open((FIRST, SECOND))
    await newer.run(do(Put("things", {"id": 1, "text": "x"})))
    older = place.open(SCHEMA)
    for _ in range(2):
        with raises(NewerStorageError):
            await older.run(do(Put("things", {"id": 2, "text": "y"})))
    assert await ids(newer) == [1]


async def an_open_store_makes_room_for_an_upgrade(place):
    """An old tab lets go by itself; from then on it is told that the database is newer."""
    older = place.open(SCHEMA)
    await older.run(do(Put("things", {"id": 1, "text": "x"})))
    newer = place.open((FIRST, SECOND))
    assert await ids(newer) == [1]
    with raises(NewerStorageError):
        await ids(older)


async def an_upgrade_that_fails_leaves_the_database_as_it_was(place):
    """The error says that nothing was changed; the older version still opens it."""

    def broken():
        yield Put("things", {"id": 1, "text": "half"})
        raise RuntimeError("cannot convert")

    await place.open(SCHEMA).run(do(Put("things", {"id": 1, "text": "whole"})))
    failing = place.open((FIRST, Migration(adds=SECOND.adds, convert=broken)))
    for _ in range(2):
        with raises(StorageClosedError):
            await ids(failing)
    assert await one(place.open(SCHEMA), Get("things", 1)) == {"id": 1, "text": "whole"}


async def an_upgrade_that_another_tab_blocks_is_made_once_it_can(place):
    """Who waits is told at once, every time; when the other tab has closed, the upgrade is whole."""
    await place.open(SCHEMA).run(do(Put("things", {"id": 1, "text": "abc"})))
    let_go = await place.hold_open()
    store = place.open((FIRST, SECOND))
    for _ in range(2):
        with raises(StorageClosedError):
            await ids(store)
    let_go()
    assert await place.eventually(lambda: ids(store, KeyRange([3], [3]), "size")) == [1]


async def a_lost_connection_is_opened_again(place):
    """A background tab's connection that the browser has closed costs nothing."""
    store = place.open(SCHEMA)
    await store.run(do(Put("things", {"id": 1})))
    await place.lose_connection(store)
    await store.run(do(Put("things", {"id": 2})))
    assert await ids(store) == [1, 2]


async def all_who_meet_a_lost_connection_are_served(place):
    """One opens another, and nobody closes that under the others."""
    store = place.open(SCHEMA)
    await store.run(do(Put("things", {"id": 1})))
    await place.lose_connection(store)
    writes = [do(Put("things", {"id": number})) for number in (2, 3)]
    found = await asyncio.gather(*(one(store, Get("things", 1)) for _ in range(3)), *map(store.run, writes))
    assert found == [{"id": 1}] * 3 + [[None]] * 2
    assert [thing["id"] for thing in await one(store, GetAll("things"))] == [1, 2, 3]


async def a_deleted_database_begins_anew(place):
    """Clearing the site's data is not held up by an open store, which then starts with an empty database."""
    store = place.open(SCHEMA)
    await store.run(do(Put("things", {"id": 1})))
    await place.delete()
    assert await ids(store) == []
    await store.run(do(Put("things", {"id": 2})))
    assert await ids(store) == [2]


PROMISES = [
    what_was_stored_is_there_for_the_next_transaction,
    what_is_not_there_is_none,
    many_keys_are_read_as_each_alone,
    the_last_write_counts,
    a_key_is_one_however_it_is_written,
    nothing_is_stored_if_the_steps_raise,
    nothing_is_stored_if_the_steps_raise_at_once,
    transactions_do_not_interleave,
    one_that_fails_among_many_at_once_fails_alone,
    writes_of_a_kind_go_by_what_there_is,
    what_the_steps_raise_goes_by_what_there_is,
    nothing_is_stored_unless_what_it_takes_for_granted_is_so,
    one_transaction_can_be_part_of_another,
    keys_sort_numbers_before_strings,
    compound_keys_sort_part_by_part,
    a_key_of_two_fields_is_read_from_the_record,
    a_record_is_in_an_index_only_with_all_its_fields,
    an_index_follows_its_records,
    ranges_include_both_ends,
    a_limit_takes_the_first_ones,
    newest_first_is_the_order_backwards,
    two_backward_looks_fit_into_one_transaction,
    what_is_deleted_is_gone,
    a_record_comes_back_as_it_was_put,
    a_record_is_a_copy,
    a_unique_index_takes_each_key_once,
    what_is_no_json_is_refused,
    opaque_values_come_back_with_their_bytes,
    an_object_store_that_was_not_named_is_refused,
    a_reading_transaction_cannot_write,
    a_thousand_writes_are_one_commit,
    a_closed_store_opens_again,
    a_transaction_outlives_who_waits_for_it,
]
DATABASE_PROMISES = [
    an_upgrade_converts_what_is_there,
    a_new_database_takes_every_step,
    a_newer_database_is_left_alone,
    an_open_store_makes_room_for_an_upgrade,
    an_upgrade_that_fails_leaves_the_database_as_it_was,
    an_upgrade_that_another_tab_blocks_is_made_once_it_can,
    a_lost_connection_is_opened_again,
    all_who_meet_a_lost_connection_are_served,
    a_deleted_database_begins_anew,
]
