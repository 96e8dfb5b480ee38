"""Telling the server how the queues of this device do: four numbers under an id drawn at random, and nothing else.

Beside the drains and never within one: a report delays no send, keeps no worker alive, and one that does not arrive is not
missed. A server that was not reached, or that has switched everything off, is left alone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from holdfast.errors import StorageError
from holdfast.moments import is_over
from holdfast.transactions.reporting import take_report

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from holdfast.ports import Event, Millis, Ports

    Tell = Callable[[dict[str, Any]], Awaitable[None]]

CALM_MS = 2_000
"""How long nothing must have changed after a drain before it is told: other queues are still at it, or a retry follows."""


class Reporter:
    """Hears what goes on in the outbox; `heard` is for `Outbox.listen`."""

    def __init__(self, ports: Ports, tell: Tell, may_tell: Callable[[], bool]) -> None:
        """Describe it.

        Args:
            ports: of its context.
            tell: hands a report to the network; never raises, and nobody waits for what becomes of it.
            may_tell: whether this context is the one that tells, and the person has nothing against it.
        """
        self._ports = ports
        self._tell = tell
        self._may_tell = may_tell
        self._calm_at: Millis = 0
        self._telling: asyncio.Task[None] | None = None

    def heard(self, event: Event) -> None:
        """Something has changed or a drain has ended, in whichever context: what it left behind may be told.

        So may what was taken in behind a pause: no drain follows.
        """
        if event.get("kind") not in ("change", "drained"):
            return
        self._calm_at = self._ports.clock.now() + CALM_MS
        ended = event["kind"] == "drained" or event.get("kept_back", False)
        if ended and self._may_tell() and (self._telling is None or self._telling.done()):
            self._telling = asyncio.ensure_future(self._look())

    async def _look(self) -> None:
        while not is_over(self._calm_at, self._ports.clock.now(), CALM_MS):
            await self._ports.clock.sleep(self._calm_at - self._ports.clock.now())
        if self._ports.offline():
            return
        try:
            report = await self._ports.store.run(take_report(self._ports.entropy.uuid(), self._ports.clock.now()))
        except StorageError:
            return  # the next drain that ends looks again
        if report is not None:
            await self._tell(report)
