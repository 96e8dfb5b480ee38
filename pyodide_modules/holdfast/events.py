"""Events as something to loop over."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from holdfast.ports import Event

KEPT = 1_000
"""Events that wait for who takes them; beyond that the oldest is dropped."""


async def stream(listen: Callable[[Callable[[Event], None]], Callable[[], None]]) -> AsyncGenerator[Event]:
    """What `listen` hears, in order, until the loop over it ends."""
    waiting: deque[Event] = deque(maxlen=KEPT)
    heard = asyncio.Event()

    def take(event: Event) -> None:
        waiting.append(event)
        heard.set()

    stop = listen(take)
    try:
        while True:
            await heard.wait()
            heard.clear()
            while waiting:
                yield waiting.popleft()
    finally:
        stop()
