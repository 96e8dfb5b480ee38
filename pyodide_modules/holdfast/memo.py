"""What one transaction knows without asking the database: the records that it has read and written itself. Pure.

Nobody else can write meanwhile, so what was found once stays so, but for the transaction's own writes. That spares a
group of writers, each of whom looks at the same queue and the same lane, all looks but the first.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.keys import encode, index_key, key_of
from holdfast.storage import Get, GetAll, KeyRange

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.keys import Encoded
    from holdfast.storage import Delete, Key, ObjectStore, Put, Read, Record

Place = tuple[str, Any]
"""An object store, and a key that can be looked up."""

NOTHING = "null"
"""The JSON text of no record."""


@dataclass(slots=True)
class _First:
    """The first record of a range: where it sorts, its text; `at` is None if the range is empty."""

    lower: Encoded
    upper: Encoded
    at: tuple[Encoded, Encoded] | None
    text: str


class Memo:
    """The reads and writes of one transaction so far. Records are kept as JSON text, so that each answer is a copy."""

    def __init__(self, schema: Mapping[str, ObjectStore]) -> None:
        self._schema = schema
        self._records: dict[Place, str] = {}
        self._firsts: dict[str, dict[tuple[str | None, Any, Any], _First]] = {}
        self._lists: dict[str, list[tuple[Read, str]]] = {}

    def recall(self, read: Read) -> str | None:
        """The JSON text of the answer, if it is known."""
        match read:
            case Get(store, KeyRange(lower, upper), index):
                first = self._firsts.get(store, {}).get((index, _lookup(lower), _lookup(upper)))
                return None if first is None else first.text
            case Get(store, key, None) if not isinstance(key, KeyRange):
                return self._records.get((store, _lookup(key)))
            case GetAll(store):
                return next((text for known, text in self._lists.get(store, ()) if known == read), None)
        return None

    def learn(self, read: Read, text: str) -> None:
        """The database has answered."""
        if self._schema[read.store].opaque:
            return
        match read:
            case Get(store, KeyRange(lower, upper), index):
                record = json.loads(text)
                at = None if record is None else self._place(store, record, index)
                if record is None or at is not None:
                    first = _First(encode(lower), encode(upper), at, text)
                    self._firsts.setdefault(store, {})[index, _lookup(lower), _lookup(upper)] = first
            case Get(store, key, None) if not isinstance(key, KeyRange):
                self._records[store, _lookup(key)] = text
            case GetAll(store):
                self._lists.setdefault(store, []).append((read, text))

    def put(self, write: Put, text: str) -> Place:
        """A record was written; returns where. Raises TypeError, KeyError: it has no key."""
        store, record = write.store, write.value
        own_key = key_of(record, self._schema[store])
        place = store, _lookup(own_key)
        self._records[place] = text
        self._lists.pop(store, None)
        firsts = self._firsts.get(store)
        if not firsts:
            return place
        key = encode(own_key)
        for asked, first in list(firsts.items()):
            at = self._place(store, record, asked[0])
            inside = at is not None and first.lower <= at[0] <= first.upper
            if first.at is not None and first.at[1] == key and not (inside and at is not None and at <= first.at):
                del firsts[asked]  # who comes next is not known
            elif inside and (first.at is None or (at is not None and at <= first.at)):
                first.at, first.text = at, text
        return place

    def delete(self, write: Delete) -> None:
        """A record was deleted, or a range of them."""
        store, query = write.store, write.query
        if self._schema[store].opaque:
            return  # nothing is remembered of it
        self._firsts.pop(store, None)
        self._lists.pop(store, None)
        if isinstance(query, KeyRange):
            self._records = {known: text for known, text in self._records.items() if known[0] != store}
        else:
            self._records[store, _lookup(query)] = NOTHING

    def _place(self, store: str, record: Record, index: str | None) -> tuple[Encoded, Encoded] | None:
        """Where a record sorts in an index, or in the store itself; None if the index does not hold it."""
        schema = self._schema[store]
        key = encode(key_of(record, schema))
        if index is None:
            return key, key
        found = index_key(record, schema.indexes[index])
        return None if found is None else (encode(found), key)


def _lookup(key: Key) -> Any:
    """What is alike for keys that are one to the database, as 1 and 1.0 are, or a text and a member of a `StrEnum`."""
    if type(key) is not list:
        return key
    return tuple([part if type(part) is not list else _lookup(part) for part in key])
