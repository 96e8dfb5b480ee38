"""Real IndexedDB in place of the store in memory, for unit tests: each transaction is committed before the test goes on.

The browser runs its callbacks while Python's stack is suspended (JavaScript Promise Integration), so to the test's own event
loop a transaction is one step, as it is in memory.
"""

import asyncio
import itertools
from dataclasses import replace
from typing import Any

from pyodide.ffi import run_sync, to_js

from holdfast.browser.idb import IndexedDBStore
from holdfast.schema import MIGRATIONS
from holdfast.storage import GetAll, Put, Transaction, schema_of

_numbers = itertools.count()
FILL = 5_000
"""Records that one transaction puts."""


def _blobs(request: Any) -> Any:
    """In memory a handle is its bytes; IndexedDB keeps them as an array."""
    return replace(request, value=to_js(request.value)) if isinstance(request, Put) else request


def _bytes(result: Any) -> Any:
    if isinstance(result, list):
        return [handle.to_bytes() for handle in result]
    return None if result is None else result.to_bytes()


class IndexedStore:
    """What tests use of `MemoryStore`, on a database of its own."""

    outer: asyncio.AbstractEventLoop
    """The browser's event loop."""

    def __init__(self) -> None:
        self._store = IndexedDBStore(f"unit-{next(_numbers)}", MIGRATIONS)
        self.requests = 0

    async def run(self, transaction: Transaction[Any]) -> Any:
        await transaction.surely()  # on the test's own loop, which stands still while the browser's runs
        return self._wait(self._counted(transaction))

    def records(self, store: str) -> list[Any]:
        return list(self._wait(self._all(store)))

    def fill(self, store: str, records: list[Any]) -> None:
        for first in range(0, len(records), FILL):
            self._wait(self._put(store, records[first : first + FILL]))

    def close(self) -> None:
        self._store.close()

    def _wait(self, transaction: Transaction[Any]) -> Any:
        inner = asyncio._get_running_loop()
        asyncio._set_running_loop(self.outer)
        try:
            return run_sync(self.outer.create_task(self._store.run(transaction)))
        finally:
            asyncio._set_running_loop(inner)

    def _counted(self, transaction: Transaction[Any]) -> Transaction[Any]:
        def steps():
            inner, result = transaction.start(), None
            while True:
                try:
                    request = inner.send(result)
                except StopIteration as end:
                    return end.value
                self.requests += 1
                if request.store == "attachments":
                    result = _bytes((yield _blobs(request)))
                else:
                    result = yield request

        return Transaction(transaction.name, transaction.stores, transaction.durability, steps)

    def _all(self, store: str) -> Transaction[Any]:
        def steps():
            found = yield GetAll(store)
            return _bytes(found) if store == "attachments" else found

        return Transaction("look", (store,), None, steps)

    def _put(self, store: str, records: list[Any]) -> Transaction[None]:
        def steps():
            for record in records:
                yield Put(store, record)

        return Transaction("fill", tuple(schema_of(MIGRATIONS)), "relaxed", steps)
