"""What every tab is told of without asking: the storage is nearly full, or nothing moves although nothing known holds it back.

The leader looks, every minute and never within a drain: a drain that never ends is what the second alarm is for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from holdfast.errors import StorageError
from holdfast.moments import is_recent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from holdfast.ports import Clock, Event, Millis

EVERY_MS = 30_000
"""The least time between two looks, however often the leader wakes."""


class Alarms:
    """`look` is for the leader's wakes, `heard` for `Outbox.listen`.

    Events: `{"kind": "storage", "nearly_full", "usage", "quota"}` and `{"kind": "stalled", "stalled", "since"}`, each once when
    it becomes true and once when it no longer is; what is true is said once more after a page was opened, which has not heard it.
    """

    def __init__(
        self, clock: Clock, stats: Callable[[], Awaitable[dict[str, Any]]], publish: Callable[[Event], None]
    ) -> None:
        """Describe it.

        Args:
            clock: of its context.
            stats: as `Outbox.stats`.
            publish: as `Outbox.publish`.
        """
        self._clock = clock
        self._stats = stats
        self._publish = publish
        self._told = {"storage": False, "stalled": False}
        self._again: set[str] = set()
        self._since: Millis | None = None
        self._looked_at: Millis | None = None
        self._looking: asyncio.Task[None] | None = None

    def heard(self, event: Event) -> None:
        """Another context has rung or stopped an alarm, or a page was opened."""
        match event.get("kind"):
            case "storage":
                self._told["storage"] = event["nearly_full"]
            case "stalled":
                self._told["stalled"] = event["stalled"]
            case "opened":
                self._again.update(self._told)

    def look(self) -> None:
        """Look soon, unless that was done a moment ago; returns at once."""
        now = self._clock.now()
        if self._looked_at is not None and is_recent(self._looked_at, now, EVERY_MS):
            return
        if self._looking is None or self._looking.done():
            self._looked_at = now
            self._looking = asyncio.ensure_future(self._look())

    async def _look(self) -> None:
        try:
            stats = await self._stats()
        except StorageError:
            return  # the next look opens the database anew
        storage, since = stats["storage"], stats["stalled_since"]
        if storage is not None:
            self._tell("storage", "nearly_full", storage)
        # What waited behind a gate that has opened just now is due as well, and moves before the next look.
        stalled = since is not None and (since == self._since or self._told["stalled"])
        self._since = since
        self._tell("stalled", "stalled", {"stalled": stalled, "since": since})

    def _tell(self, kind: str, name: str, facts: dict[str, Any]) -> None:
        again, on = kind in self._again, facts[name]
        self._again.discard(kind)
        if on != self._told[kind] or (on and again):
            self._told[kind] = on
            self._publish({"kind": kind, **facts})
