"""Small writes that share a turn: what comes while others write waits, and then goes in one transaction with all that wait."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from holdfast_server.errors import StoreUnavailableError
from holdfast_server.stores.statements import Result, Steps

PATIENCE_SECONDS: Final = 0.05
"""How long one waits for others before looking whether there is something to wait for."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    steps: Steps[Any]
    meanwhile: Callable[[], Steps[Any]] | None
    done: asyncio.Future[Any]


class Together:
    """See the module.

    Args:
        turn: held by whoever writes.
        write: runs many steps as one transaction, gives for each what it returned or raised; None where another process
            writes.
        read: runs steps that only read.
        give_up_seconds: how long another process may write.
    """

    def __init__(
        self,
        turn: asyncio.Lock,
        write: Callable[[list[Steps[Any]]], Awaitable[list[Any] | None]],
        read: Callable[[Steps[Any]], Awaitable[Any]],
        *,
        give_up_seconds: float,
    ) -> None:
        self._turn = turn
        self._write = write
        self._read = read
        self._give_up_seconds = give_up_seconds
        self._waiting: list[_Waiting] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, steps: Steps[Result], meanwhile: Callable[[], Steps[Result | None]] | None) -> Result:
        """See `port.Database.write_relaxed`."""
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(steps, meanwhile, done))
        if len(self._waiting) == 1:
            task = asyncio.ensure_future(self._take_turn())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await done

    async def _take_turn(self) -> None:
        turn = asyncio.ensure_future(self._turn.acquire())
        while not (await asyncio.wait((turn,), timeout=PATIENCE_SECONDS))[0]:
            with suppress(StoreUnavailableError):  # then the write tells
                await _look(self._read, self._waiting)
        waiting, self._waiting = self._waiting, []
        try:
            await self._write_all(waiting)
        except Exception as error:  # noqa: BLE001  (it belongs to those who wait)
            _settle(waiting, [error] * len(waiting))
        finally:
            self._turn.release()

    async def _write_all(self, waiting: list[_Waiting]) -> None:
        """What was answered meanwhile, or whose caller went away, is not written."""
        clock = asyncio.get_running_loop().time
        end = clock() + self._give_up_seconds
        while waiting := _still(waiting):
            ends = await self._write([one.steps for one in waiting])
            if ends is not None:
                _settle(waiting, ends)
                return
            if clock() > end:
                raise StoreUnavailableError("Another process has been writing for too long.")
            await _look(self._read, waiting)


async def _look(read: Callable[[Steps[Any]], Awaitable[Any]], waiting: list[_Waiting]) -> None:
    """Ask for all at once what each would like to know meanwhile."""
    asking = [(one, one.meanwhile()) for one in _still(waiting) if one.meanwhile is not None]
    if not asking:
        return
    for (one, _), found in zip(asking, await read(_all([steps for _, steps in asking])), strict=True):
        if found is not None:
            _settle([one], [found])


def _all(many: list[Steps[Any]]) -> Steps[list[Any]]:
    found = []
    for steps in many:
        found.append((yield from steps))  # noqa: PERF401  (a comprehension cannot yield)
    return found


def _still(waiting: list[_Waiting]) -> list[_Waiting]:
    return [one for one in waiting if not one.done.done()]


def _settle(waiting: list[_Waiting], ends: list[Any]) -> None:
    for one, end in zip(waiting, ends, strict=True):
        if one.done.done():
            continue
        if isinstance(end, Exception):
            one.done.set_exception(end)
        else:
            one.done.set_result(end)
