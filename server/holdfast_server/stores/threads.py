"""Threads for calls that block, and the least that stands between them and the event loop: every request passes here."""

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

Result = TypeVar("Result")
_Call = tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]


class Threads:
    """A few threads that take calls in order; one thread runs one call after the other.

    Args:
        name: of the threads.
        number: how many, started at the first call.
    """

    def __init__(self, name: str, number: int = 1) -> None:
        self._name = name
        self._number = number
        self._threads: list[threading.Thread] = []
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._closed = False

    def call(self, function: Callable[..., Result], *arguments: Any) -> asyncio.Future[Result]:
        """Have it called. A future that is cancelled changes nothing about the call.

        Raises:
            RuntimeError: after `close`.
        """
        if self._closed:
            raise RuntimeError(f"{self._name} has ended.")
        if not self._threads:
            self._threads = [
                threading.Thread(target=self._work, name=self._name, daemon=True) for _ in range(self._number)
            ]
            for thread in self._threads:
                thread.start()
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._calls.put((done, function, arguments))
        return done

    def close(self) -> None:
        """Finish what was called, then end. Blocks."""
        self._closed = True
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            done, function, arguments = call
            result, error = None, None
            try:
                result = function(*arguments)
            except BaseException as raised:  # noqa: BLE001  (it belongs to the caller)
                error = raised
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                done.get_loop().call_soon_threadsafe(_settle, done, result, error)


def _settle(done: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if done.done():  # cancelled
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
