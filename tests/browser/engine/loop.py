"""An event loop for tests whose time and network are all in memory: nothing outside can ever wake it."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class InnerLoop(asyncio.BaseEventLoop):
    """Runs to the end of a coroutine inside one turn of the browser's own loop."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = self

    def select(self, timeout: float | None) -> list[Any]:
        """Nobody calls from outside. No timeout means that nothing is left to run."""
        if timeout is None:
            raise RuntimeError("The test waits for something that never comes.")
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run it as pytest-asyncio would, on a loop of its own, and let nothing of it go on afterwards."""
    outer = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    loop = InnerLoop()
    try:
        try:
            loop.run_until_complete(work)
        finally:
            loop.run_until_complete(_cancel_what_is_left())
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
    finally:
        asyncio._set_running_loop(outer)


async def _cancel_what_is_left() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
