"""Web Locks as the `Locks` port: wait for a lock, steal it from a holder that no longer answers, hear of being robbed."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import js
from pyodide.ffi import JsException, create_once_callable

from holdfast.held import HeldLock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

LOOK_MS = 20_000
"""How often a waiting context looks whether the holder's lease still runs; two looks in a row must find it over."""
PREFIX = "holdfast:"


class WebLocks:
    """The `Locks` port on `navigator.locks`."""

    @asynccontextmanager
    async def hold(self, name: str, stale: Callable[[], Awaitable[bool]]) -> AsyncIterator[HeldLock]:
        """Wait for the lock; a holder whose lease has ended (a frozen tab keeps its lock) is robbed."""
        request = _Request(PREFIX + name)
        try:
            await self._until_granted(request, stale)
        except BaseException:
            request.give_up()
            raise
        try:
            yield request.lock
        finally:
            request.release()

    async def _until_granted(self, request: _Request, stale: Callable[[], Awaitable[bool]]) -> None:
        request.ask(steal=False)
        looks = 0
        while not await request.granted_within(LOOK_MS):
            looks = looks + 1 if await stale() else 0
            if looks == 2 and not request.granted:
                request.give_up()
                request.ask(steal=True)


class _Request:
    """One wait for a lock, and then the lock itself."""

    def __init__(self, name: str) -> None:
        self.lock = HeldLock(stolen=False)
        self._name = name
        self._granted = asyncio.Event()
        self._release: Any = None
        self._abort: Any = None
        self._released = False

    @property
    def granted(self) -> bool:
        return self._granted.is_set()

    def ask(self, *, steal: bool) -> None:
        """Ask for it. The callback's promise is the lock: it is held until that resolves."""
        self.lock = HeldLock(stolen=steal)
        lock = self.lock
        options = js.Object.new()
        if steal:
            options.steal = True
        else:
            self._abort = js.AbortController.new()
            options.signal = self._abort.signal
        promise = js.navigator.locks.request(self._name, options, create_once_callable(self._on_grant))
        asyncio.ensure_future(self._watch(promise, lock))  # noqa: RUF006  (the lock's promise keeps it alive)

    async def granted_within(self, span_ms: int) -> bool:
        try:
            async with asyncio.timeout(span_ms / 1_000):
                await self._granted.wait()
        except TimeoutError:
            return False
        return True

    def give_up(self) -> None:
        """Stop waiting; if it was granted meanwhile, let it go."""
        if self.granted:
            self.release()
        elif self._abort is not None:
            self._abort.abort()

    def release(self) -> None:
        self._released = True
        if self._release is not None:
            self._release(None)

    def _on_grant(self, _lock: Any) -> Any:
        deferred = js.Promise.withResolvers()
        self._release = deferred.resolve
        self._granted.set()
        return deferred.promise

    async def _watch(self, promise: Awaitable[Any], lock: HeldLock) -> None:
        """The request's promise rejects when the lock is stolen, and when waiting was given up."""
        try:
            await promise
        except JsException:
            if self.granted and not self._released and lock is self.lock:
                lock.lose()
