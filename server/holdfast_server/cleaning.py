"""What is past its life goes in the background, a little at a time, while requests are served."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, Protocol

from holdfast_server.errors import StoreUnavailableError

EVERY_SECONDS: Final = 600
_LOG: Final = logging.getLogger("holdfast_server")


class Clean(Protocol):
    """Forgets some of what is past its life; says how many."""

    async def __call__(self, *, now_ms: int) -> int:
        """Forget some."""
        ...


@asynccontextmanager
async def clean_now_and_then(tasks: Sequence[Clean], now_ms: Callable[[], int]) -> AsyncIterator[None]:
    """Clean at once and every few minutes, until the end of the block. Several processes may do so at the same time."""
    running = asyncio.ensure_future(_clean_on(tasks, now_ms))
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def _clean_on(tasks: Sequence[Clean], now_ms: Callable[[], int]) -> None:
    while True:
        for clean in tasks:
            try:
                while await clean(now_ms=now_ms()):
                    pass
            except StoreUnavailableError as error:
                _LOG.warning("Old keys could not be removed: %s", error)
        await asyncio.sleep(EVERY_SECONDS)
