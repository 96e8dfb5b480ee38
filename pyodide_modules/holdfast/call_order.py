"""The order of calls: what is asked for one after the other is stored so, whatever each has to wait for.

Most writes are handed to the store at once, on what the last one has found (`Guess`); some have to look first. The store keeps
the order in which it is asked. Where a write comes to nothing there, those that were called after it lose their guess: they are
not stored, and queue behind it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from holdfast.storage import MistakenError, Proviso


class CallOrder:
    """The writes of one context that are not stored yet, by their places in the order of the calls."""

    def __init__(self) -> None:
        self._calls = 0
        self._under_way: set[int] = set()
        self._turn = 1
        """The first of those that have to look first, which are all that were called after it, too; the next call's if nobody has to."""
        self._waiting: dict[int, asyncio.Future[None]] = {}

    def join(self) -> int:
        """Somebody calls: their place."""
        self._calls += 1
        self._under_way.add(self._calls)
        if self._turn == self._calls:
            self._turn += 1
        return self._calls

    def may_guess(self, place: int) -> bool:
        """Whether it need not look first: nobody who was called before it has to, or came to nothing since it was handed over."""
        return place < self._turn and place in self._under_way

    def look_first(self, place: int) -> None:
        """It has no guess, or lost it; and so have all that were called after it."""
        if place in self._under_way:
            self._turn = min(self._turn, place)

    def is_turn_of(self, place: int) -> bool:
        """Whether all before it were handed over to the store, or have ended."""
        return place <= self._turn

    async def turn_of(self, place: int) -> None:
        """Wait for its turn."""
        while not self.is_turn_of(place):
            turn = self._waiting[place] = asyncio.Future()
            try:
                await turn
            finally:
                del self._waiting[place]

    def hand_over(self, place: int) -> None:
        """It has looked, and goes to the store now: the next one's turn, on the guess that this one is stored."""
        if place == self._turn:
            self._turn += 1
            self._give_turn()

    def leave(self, place: int) -> None:
        """It is stored, or has come to another end. May be said twice."""
        self._under_way.discard(place)
        self._give_turn()

    def _give_turn(self) -> None:
        while self._turn <= self._calls and self._turn not in self._under_way:
            self._turn += 1
        waiting = self._waiting.get(self._turn)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)


@dataclass(frozen=True, slots=True)
class Guess(Proviso):
    """What a write takes for granted beside what it expects to be found: that nobody who was called before it came to nothing."""

    order: CallOrder
    place: int

    def check(self) -> None:
        if not (self.order.may_guess(self.place) and self.holds()):
            self.lose()
            raise MistakenError

    def lose(self) -> None:
        self.order.look_first(self.place)
