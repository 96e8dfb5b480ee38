"""IndexedDB as the `Store` port: one database, transactions as generators, connections that come back.

How a transaction is driven stands in steps.py; this is about having a connection to drive it on.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import js
from pyodide.ffi import JsException, create_once_callable, create_proxy

from holdfast.browser.steps import Stepper, error_of
from holdfast.commits import GroupCommit
from holdfast.errors import StorageClosedError, StorageError, StorageFullError
from holdfast.schema import MIGRATIONS
from holdfast.storage import Migration, schema_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.storage import Steps, Transaction

T = TypeVar("T")

OPEN_MS = 4_000
"""Safari can leave a request to open without any event (https://bugs.webkit.org/show_bug.cgi?id=226547).

A page gives Python 5 s to save before it turns to the inbox itself: Python has to do so before that.
"""
START_MS = 60_000
"""A start has nobody waiting for its answer, and has thousands of jobs to convert after an update."""


class IndexedDBStore:
    """The database `name`, opened when first needed and again whenever the connection was lost."""

    def __init__(self, name: str, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
        self._name = name
        self._migrations = migrations
        self._stepper = Stepper(schema_of(migrations))
        self._opening: _Opening | None = None
        self._asked_to_keep = False
        self._writers = GroupCommit(self._surely)

    async def opened(self) -> None:
        """Wait for the database for longer than a transaction would; what is wrong with it the first transaction tells."""
        with suppress(StorageError):
            await self._newest().connection(START_MS)

    async def run(self, transaction: Transaction[T]) -> T:
        """Run it and return its result after `complete`; writers that come at the same time share a commit (commits.py).

        A connection that turns out to be dead when the transaction begins (Safari drops those of background tabs, an
        upgrade in another tab closes them) is opened anew, once: nothing of it had been done yet.

        Raises:
            StorageFullError, StorageClosedError, NewerStorageError, NotUniqueError: nothing of it was stored.
        """
        if transaction.durability == "strict" and "jobs" in transaction.stores:
            self._ask_to_keep()
        if transaction.durability is None:
            return await self._surely(transaction)
        return await self._writers.run(transaction)

    async def _surely(self, transaction: Transaction[T]) -> T:
        """Once more where the first try met a dead connection or a full disk."""
        opening = self._newest()
        try:
            return await self._once(transaction, opening)
        except StorageClosedError:
            if opening.stuck:
                raise
            if opening is self._opening:  # else somebody who met it too has opened another
                self.close()
            return await self._once(transaction, self._newest())
        except StorageFullError:
            # The memory snapshot is by far the largest thing here, and can be made again.
            if not await js.holdfastInbox.freeSpace():
                raise
            return await self._once(transaction, self._newest())

    def close(self) -> None:
        """Let the connection go. A later `run` opens it again."""
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.close()

    async def _once(self, transaction: Transaction[T], opening: _Opening) -> T:
        return await self._stepper.run(await opening.connection(OPEN_MS), transaction)

    def _ask_to_keep(self) -> None:
        """Ask the browser once not to clear this storage. Not awaited: it may ask the person, or never answer."""
        if self._asked_to_keep:
            return
        self._asked_to_keep = True
        persist = getattr(getattr(js.navigator, "storage", None), "persist", None)
        if persist is not None:  # plain http has no storage manager, and a worker may not ask
            js.navigator.storage.persist().catch(js.Boolean)  # a refusal is an answer too

    def _newest(self) -> _Opening:
        """The connection there is or is to come. Raises StorageClosedError: this browser has none."""
        if self._opening is None or self._opening.gone:
            self._opening = _Opening(self._name, self._migrations, self._stepper)
        return self._opening


class _Opening:
    """One request for a connection, with its upgrade, and then the connection itself.

    A request that is blocked by another tab stays in the browser's queue and still upgrades the database once that tab
    has closed, so this keeps listening for as long as it takes; only those who wait are told to do without.
    """

    def __init__(self, name: str, migrations: tuple[Migration, ...], stepper: Stepper) -> None:
        self.gone = False
        """It failed, or its connection was closed: open another one."""
        self.stuck = False
        """It waits for another tab, or for a browser that does not answer."""
        self._name = name
        self._migrations = migrations
        self._stepper = stepper
        self._db: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._db.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._told = asyncio.Event()
        self._why_failed: Callable[[], BaseException | None] = lambda: None
        """Of an upgrade."""
        try:
            self._request = js.indexedDB.open(name, len(migrations))
        except (AttributeError, JsException) as error:
            self.gone = True
            raise StorageClosedError(f"This browser does not let the app store anything: {error}") from error
        self._callbacks = {
            "onupgradeneeded": create_proxy(self._upgrade),
            "onsuccess": create_proxy(self._succeed),
            "onerror": create_proxy(self._fail),
            "onblocked": create_proxy(self._wait_longer),
        }
        for event, callback in self._callbacks.items():
            setattr(self._request, event, callback)

    async def connection(self, limit_ms: int) -> Any:
        """The connection, once it is there.

        Raises:
            StorageClosedError: not in time, because of another tab, or because the browser does not answer.
            StorageFullError, NewerStorageError: not at all.
        """
        if self._db.done():
            return self._db.result()
        told = asyncio.ensure_future(self._told.wait())
        try:
            await asyncio.wait((self._db, told), timeout=limit_ms / 1_000, return_when=asyncio.FIRST_COMPLETED)
        finally:
            told.cancel()
        if self._db.done():
            return self._db.result()
        self._wait_longer()
        raise StorageClosedError(
            f"The database {self._name!r} does not open; an older version may hold it in another tab. Close that tab."
        )

    def close(self) -> None:
        """Let the connection go, also if it comes later."""
        self.gone = True
        if self._db.done() and self._db.exception() is None:
            self._db.result().close()

    def _upgrade(self, event: Any) -> None:
        tx = self._request.transaction
        steps = _upgrade(self._request.result, tx, self._migrations[int(event.oldVersion) :])
        self._why_failed = self._stepper.upgrade(tx, steps)

    def _succeed(self, _event: Any) -> None:
        db = self._request.result
        db.onversionchange = create_once_callable(self._lose)
        db.onclose = create_once_callable(self._lose)
        self.stuck = False
        self._release()
        self._db.set_result(db)
        if self.gone:
            db.close()

    def _fail(self, event: Any) -> None:
        event.preventDefault()
        failure = self._why_failed()
        said = self._request.error
        error: StorageError = error_of(said.name, said.message, self._name)
        if failure is not None:
            error = StorageClosedError(f"The database {self._name!r} could not be converted and was left as it was.")
            error.__cause__ = failure
        self.gone, self.stuck = True, False
        self._release()
        self._db.set_exception(error)

    def _wait_longer(self, _event: Any = None) -> None:
        self.stuck = True
        self._told.set()

    def _lose(self, _event: Any) -> None:
        """Make room for a newer version, and forget a connection that the browser closed."""
        self.close()

    def _release(self) -> None:
        for event, callback in self._callbacks.items():
            setattr(self._request, event, None)
            callback.destroy()


def _upgrade(db: Any, tx: Any, migrations: tuple[Migration, ...]) -> Steps[None]:
    """Add what is missing, then let each migration convert what is there, all in the one upgrade transaction."""
    for migration in migrations:
        for name, added in migration.adds.items():
            if db.objectStoreNames.contains(name):
                store = tx.objectStore(name)
            elif added.key is None:
                store = db.createObjectStore(name)
            else:
                options = js.JSON.parse(json.dumps({"keyPath": added.key}))
                store = db.createObjectStore(name, options)
            for index, fields in added.indexes.items():
                if not store.indexNames.contains(index):
                    unique = js.JSON.parse(json.dumps({"unique": index in added.unique}))
                    store.createIndex(index, js.JSON.parse(json.dumps(fields)), unique)
        if migration.convert is not None:
            yield from migration.convert()
