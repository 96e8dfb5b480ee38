"""The store in memory: the same transactions, the same key order, the same indexes as IndexedDB, on plain Python.

For tests and simulation; `holdfast.testing` hands it out. It passes the same contract suite as the browser's store.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.errors import NotUniqueError
from holdfast.keys import encode, index_key, key_of
from holdfast.schema import MIGRATIONS
from holdfast.storage import Count, Delete, Get, GetAll, GetEach, KeyRange, Migration, ObjectStore, Put, schema_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.keys import Encoded
    from holdfast.storage import Key, Record, Request, Transaction

T = TypeVar("T")


class MemoryStore:
    """A database that lives as long as the object. Several contexts of a test may share one."""

    def __init__(self, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
        self._tables = {name: _Table(schema) for name, schema in schema_of(migrations).items()}
        self.requests = 0
        """How many storage requests were made; tests compare it to show that cost does not grow."""

    async def run(self, transaction: Transaction[T]) -> T:
        """Run it, with nothing in between. Raises NotUniqueError, MistakenError: nothing of it was stored."""
        await transaction.surely()
        undo: list[Callable[[], None]] = []
        steps = transaction.start()
        result: Any = None
        try:
            while True:
                request = steps.send(result)
                self.requests += 1
                transaction.check(request)
                result = self._serve(request, undo)
                transaction.accept(request, result)
        except StopIteration as end:
            value: T = end.value
            return value
        except BaseException:
            for step in reversed(undo):
                step()
            raise

    def close(self) -> None:
        """Nothing to let go."""

    def records(self, store: str) -> list[Any]:
        """Everything in an object store, in key order: for tests that look at the whole."""
        return self._tables[store].get_all(None, None, None, newest_first=False)

    def fill(self, store: str, records: list[Any]) -> None:
        """Store many records at once: for tests that need many."""
        self._tables[store].fill(records)

    def _serve(self, request: Request, undo: list[Callable[[], None]]) -> Any:
        table = self._tables[request.store]
        match request:
            case Get(_, query, index):
                return table.get(query, index)
            case GetEach(_, keys):
                self.requests += len(keys) - 1
                return [table.get(key, None) for key in keys]
            case GetAll(_, span, index, limit, newest_first):
                return table.get_all(span, index, limit, newest_first=newest_first)
            case Count(_, span, index):
                return table.count(span, index)
            case Put(_, value, key):
                undo.append(table.put(value, key))
            case Delete(_, query):
                undo.append(table.delete(query))
        return None


class _Table:
    """One object store: values by primary key, and a sorted list of keys for itself and each index."""

    def __init__(self, schema: ObjectStore) -> None:
        self._schema = schema
        self._values: dict[Encoded, Any] = {}
        self._sorted: dict[str | None, list[tuple[Encoded, Encoded]]] = {
            None: [],
            **{name: [] for name in schema.indexes},
        }

    def get(self, query: Key | KeyRange, index: str | None) -> Any:
        span = query if isinstance(query, KeyRange) else KeyRange(query, query)
        found = self._find(span, index)
        return self._read(found[0]) if found else None

    def get_all(self, span: KeyRange | None, index: str | None, limit: int | None, *, newest_first: bool) -> list[Any]:
        found = self._find(span, index)
        if newest_first:
            found.reverse()
        return [self._read(primary) for primary in found[:limit]]

    def count(self, span: KeyRange | None, index: str | None) -> int:
        return len(self._find(span, index))

    def put(self, value: Any, key: Key | None) -> Callable[[], None]:
        kept = value if self._schema.opaque else json.dumps(value)
        primary = encode(key if key is not None else key_of(value, self._schema))
        for index in self._schema.unique:
            found = index_key(value, self._schema.indexes[index])
            if found is not None and any(known != primary for known in self._find(KeyRange(found, found), index)):
                raise NotUniqueError(index)
        before = self._values.get(primary)
        self._replace(primary, kept)
        return lambda: self._replace(primary, before)

    def fill(self, records: list[Any]) -> None:
        for record in records:
            stored, primary = json.dumps(record), encode(key_of(record, self._schema))
            self._replace(primary, None)
            self._values[primary] = stored
            for index, key in self._keys(record, primary):
                self._sorted[index].append((key, primary))
        for keys in self._sorted.values():
            keys.sort()

    def delete(self, query: Key | KeyRange) -> Callable[[], None]:
        span = query if isinstance(query, KeyRange) else KeyRange(query, query)
        gone = {primary: self._values[primary] for primary in self._find(span, None)}
        for primary in gone:
            self._replace(primary, None)

        def undo() -> None:
            for primary, value in gone.items():
                self._replace(primary, value)

        return undo

    def _find(self, span: KeyRange | None, index: str | None) -> list[Encoded]:
        keys = self._sorted[index]
        if span is None:
            return [primary for _, primary in keys]
        first = bisect_left(keys, encode(span.lower), key=lambda pair: pair[0])
        last = bisect_right(keys, encode(span.upper), key=lambda pair: pair[0])
        return [primary for _, primary in keys[first:last]]

    def _read(self, primary: Encoded) -> Any:
        value = self._values[primary]
        return value if self._schema.opaque else json.loads(value)

    def _replace(self, primary: Encoded, value: Any) -> None:
        """Put a stored value in place, or remove it (None), with its index entries."""
        before = self._values.pop(primary, None)
        if before is not None:
            for index, key in self._keys(self._plain(before), primary):
                keys = self._sorted[index]
                del keys[bisect_left(keys, (key, primary))]
        if value is not None:
            self._values[primary] = value
            for index, key in self._keys(self._plain(value), primary):
                insort(self._sorted[index], (key, primary))

    def _plain(self, stored: Any) -> Record:
        return json.loads(stored) if self._schema.indexes else {}

    def _keys(self, record: Record, primary: Encoded) -> list[tuple[str | None, Encoded]]:
        keys: list[tuple[str | None, Encoded]] = [(None, primary)]
        for name, fields in self._schema.indexes.items():
            found = index_key(record, fields)
            if found is not None:
                keys.append((name, encode(found)))
        return keys
