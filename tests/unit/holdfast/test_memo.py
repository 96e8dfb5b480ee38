"""What a transaction remembers of its own reads and writes is what the database would say."""

import json
from enum import StrEnum

from hypothesis import given
from hypothesis import strategies as st

from holdfast.memo import Memo
from holdfast.memory import MemoryStore
from holdfast.storage import (
    ABOVE_ALL,
    Count,
    Delete,
    Get,
    GetAll,
    KeyRange,
    Migration,
    ObjectStore,
    Put,
    schema_of,
    transaction,
)

SCHEMA = (
    Migration(
        adds={
            "things": ObjectStore(key="id", indexes={"by": ("a", "b")}),
            "pairs": ObjectStore(key=("left", "right"), indexes={}),
        },
    ),
)
numbers = st.integers(0, 3)
spans = st.tuples(numbers, numbers)
fields = st.fixed_dictionaries({}, optional={"a": numbers, "b": numbers})
operations = st.lists(
    st.one_of(
        st.builds(lambda id_, some: Put("things", {"id": id_} | some), numbers, fields),
        st.builds(
            lambda left, right, n: Put("pairs", {"left": left, "right": right, "n": n}), numbers, numbers, numbers
        ),
        st.builds(lambda id_: Delete("things", id_), numbers),
        st.builds(lambda span: Delete("things", KeyRange(*span)), spans),
        st.builds(lambda id_: Get("things", id_), numbers),
        st.builds(lambda id_: Get("things", float(id_)), numbers),
        st.builds(lambda span: Get("things", KeyRange(*span)), spans),
        st.builds(lambda a: Get("things", KeyRange([a, 0], [a, ABOVE_ALL]), "by"), numbers),
        st.builds(lambda pair: Get("pairs", list(pair)), spans),
        st.builds(lambda limit: GetAll("things", limit=limit), st.one_of(st.none(), st.integers(1, 2))),
        st.builds(lambda span: GetAll("things", KeyRange([span[0], 0], [span[1], 9]), "by"), spans),
        st.just(Count("things")),
    ),
    max_size=40,
)


@transaction("things", "pairs", durability="relaxed")
def checked(requests, memo, known):
    """Make these requests, and hold what is remembered against each answer."""
    for request in requests:
        result = yield request
        if isinstance(request, Put):
            memo.put(request, json.dumps(request.value))
        elif isinstance(request, Delete):
            memo.delete(request)
        else:
            recalled = memo.recall(request)
            if recalled is not None:
                known.append(request)
                assert json.loads(recalled) == result
            memo.learn(request, json.dumps(result))


@given(before=operations, requests=operations)
async def test_what_is_remembered_is_what_is_stored(before, requests):
    """Whatever was there, and in whatever order is read and written."""
    store = MemoryStore(SCHEMA)
    await store.run(checked(before, Memo(schema_of(SCHEMA)), []))
    await store.run(checked(requests, Memo(schema_of(SCHEMA)), []))


async def remembered(*requests):
    """Which of these reads need not be made, in an empty database."""
    known = []
    await MemoryStore(SCHEMA).run(checked(requests, Memo(schema_of(SCHEMA)), known))
    return known


async def test_a_record_is_read_once():
    """By its key, and after it was written not at all."""
    read = Get("things", 1)
    assert await remembered(read, read, Put("things", {"id": 1}), read, Put("things", {"id": 2}), Get("things", 2)) == [
        read,
        read,
        Get("things", 2),
    ]


class Side(StrEnum):
    """A text that Python writes in another way."""

    LEFT = "left"


async def test_a_key_is_known_however_it_is_written():
    """Above all, what was read of it is not remembered once it was written."""
    pair = Put("pairs", {"left": "left", "right": 1})
    looks = [Get("pairs", [Side.LEFT, 1]), Get("pairs", ["left", 1.0]), Get("things", 1.0)]
    assert await remembered(*looks, pair, Put("things", {"id": 1}), *looks) == [looks[1], *looks]


async def test_the_first_of_a_range_stays_known_while_writes_say_who_it_is():
    """Records behind it and outside change nothing, one before it is the first; who comes after it is not known."""
    read = Get("things", KeyRange([1, 0], [1, ABOVE_ALL]), "by")
    first, second, before = ({"id": number, "a": 1, "b": b} for number, b in ((1, 5), (2, 6), (3, 4)))
    writes = [Put("things", record) for record in (first, second, {"id": 9, "a": 2, "b": 0}, before)]
    looks = [request for write in writes for request in (write, read)]
    gone = Put("things", {"id": before["id"]})
    assert await remembered(read, *looks, gone, read) == [read] * len(writes)
