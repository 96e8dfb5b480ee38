"""The order of calls: what is asked for one after the other is stored so, whatever each has to wait for.

Most writes are stored at once, on what the last one has found (`Guess`); some have to look first. One that was called after these
and could be stored before them loses its guess, and queues behind them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from holdfast.storage import MistakenError, Proviso


class CallOrder:
    """The writes of one context that have yet to be handed to its store, which keeps the order in which it is asked."""

    def __init__(self) -> None:
        self._calls = 0
        self._under_way: dict[int, None] = {}
        """By their places, in the order of the calls."""
        self._looking: set[int] = set()
        """Those of them without a guess."""
        self._waiting: dict[int, asyncio.Future[None]] = {}

    def join(self) -> int:
        """Somebody calls: their place."""
        self._calls += 1
        self._under_way[self._calls] = None
        if self._looking:
            self._looking.add(self._calls)
        return self._calls

    def may_guess(self, place: int) -> bool:
        """Whether it need not look first, and nobody who was called before it had to since it was handed to the store."""
        return place not in self._looking

    def look_first(self, place: int) -> None:
        """It has no guess, or lost it; and so have all that were called after it."""
        if place not in self._looking:
            self._looking.update(each for each in self._under_way if each >= place)

    async def turn_of(self, place: int) -> None:
        """Wait until all before it have left."""
        if next(iter(self._under_way)) != place:
            self._waiting[place] = asyncio.Future()
            try:
                await self._waiting[place]
            finally:
                self._waiting.pop(place, None)

    def leave(self, place: int) -> None:
        """It was handed to the store for good, or has come to an end. May be said twice."""
        self._under_way.pop(place, None)
        self._looking.discard(place)
        first = next(iter(self._under_way), None)
        waiting = None if first is None else self._waiting.get(first)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)


@dataclass(frozen=True, slots=True)
class Guess(Proviso):
    """What a write takes for granted beside what it expects to be found: that nobody who was called before it lost a guess."""

    order: CallOrder
    place: int

    def check(self) -> None:
        if not (self.order.may_guess(self.place) and self.holds()):
            self.order.look_first(self.place)
            raise MistakenError
