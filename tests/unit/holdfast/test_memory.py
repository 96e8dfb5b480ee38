"""The store in memory sorts as IndexedDB does, against a plain model of its specification."""

import math
from functools import cmp_to_key
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.memory import MemoryStore, encode
from holdfast.storage import ABOVE_ALL, Count, Delete, Get, GetAll, KeyRange, Migration, ObjectStore, Put, transaction

keys = st.recursive(
    st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


def compare(one: Any, other: Any) -> int:
    """Indexed Database API 3.0, "compare two keys": number < string < array; strings by UTF-16 code unit."""
    ranks = [3 if isinstance(key, list) else 2 if isinstance(key, str) else 1 for key in (one, other)]
    if ranks[0] != ranks[1]:
        return 1 if ranks[0] > ranks[1] else -1
    if ranks[0] == 3:
        for left, right in zip(one, other, strict=False):
            if (difference := compare(left, right)) != 0:
                return difference
        return (len(one) > len(other)) - (len(one) < len(other))
    if ranks[0] == 2:
        one, other = ([*key.encode("utf-16-be", "surrogatepass")] for key in (one, other))
        one, other = (list(zip(units[::2], units[1::2], strict=True)) for units in (one, other))
    return (one > other) - (one < other)


@given(st.lists(keys, max_size=8))
def test_keys_sort_as_the_specification_says(some: list[Any]) -> None:
    """Whatever is compared with whatever."""
    assert sorted(some, key=encode) == sorted(some, key=cmp_to_key(compare))


@given(keys)
def test_above_all_is_above_every_number_and_string(key: Any) -> None:
    """As the last part of a range."""
    if not isinstance(key, list):
        assert encode([key]) < encode([ABOVE_ALL])


@pytest.mark.parametrize("bad", [True, None, {}, math.nan, b"x"], ids=repr)
def test_what_is_no_key_is_refused(bad: Any) -> None:
    """IndexedDB raises DataError; so does memory raise."""
    with pytest.raises(TypeError):
        encode(bad)


SCHEMA = (Migration(adds={"things": ObjectStore(key="id", indexes={"by": ("a", "b")})}),)
things = st.fixed_dictionaries(
    {"id": st.integers(0, 6)},
    optional={"a": st.integers(0, 2) | st.none() | st.booleans(), "b": st.integers(0, 2) | st.text("ab", max_size=1)},
)
bounds = st.tuples(st.integers(0, 2), st.integers(0, 2))


@transaction("things", durability="relaxed")
def play(moves: list[Any]):  # type: ignore[no-untyped-def]
    for move in moves:
        yield Delete("things", move) if isinstance(move, int) else Put("things", move)


@transaction("things", durability="relaxed")
def look(lower: Any, upper: Any, limit: int):  # type: ignore[no-untyped-def]
    span = KeyRange(lower, upper)
    found = yield GetAll("things", span, "by")
    first = yield Get("things", span, "by")
    count = yield Count("things", span, "by")
    newest = yield GetAll("things", span, "by", limit, newest_first=True)
    everything = yield GetAll("things")
    return found, first, count, newest, everything


@given(st.lists(things | st.integers(0, 6), max_size=12), bounds, bounds, st.integers(1, 3))
async def test_the_store_follows_a_plain_model(moves: list[Any], one: Any, other: Any, limit: int) -> None:
    """Any puts and deletes, then any range of an index: the same records in the same order as a sorted list."""
    store = MemoryStore(SCHEMA)
    await store.run(play(moves))
    model: dict[int, Any] = {}
    for move in moves:
        if isinstance(move, int):
            model.pop(move, None)
        else:
            model[move["id"]] = move
    lower, upper = sorted((list(one), list(other)))
    indexed = [
        record
        for record in model.values()
        if isinstance(record.get("a"), int) and not isinstance(record.get("a"), bool) and record.get("b") is not None
    ]
    indexed.sort(key=lambda record: encode([record["a"], record["b"], record["id"]]))
    expected = [record for record in indexed if encode(lower) <= encode([record["a"], record["b"]]) <= encode(upper)]
    found, first, count, newest, everything = await store.run(look(lower, upper, limit))
    assert found == expected
    assert first == (expected[0] if expected else None)
    assert count == len(expected)
    assert newest == expected[::-1][:limit]
    assert everything == [model[key] for key in sorted(model)]


async def test_a_stored_record_is_a_copy() -> None:
    """Neither who stored it nor who read it can change it afterwards, as in a browser."""
    store = MemoryStore(SCHEMA)
    record: dict[str, Any] = {"id": 1, "list": [1]}
    await store.run(play([record]))
    record["list"].append(2)
    store.records("things")[0]["list"].append(3)
    assert store.records("things") == [{"id": 1, "list": [1]}]
