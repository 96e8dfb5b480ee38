"""A lock while it is held, for every implementation of the `Locks` port."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class HeldLock:
    """The `Lock` port."""

    def __init__(self, *, stolen: bool) -> None:
        self.stolen = stolen
        self._lost = False
        self._callbacks: list[Callable[[], object]] = []

    def on_lost(self, callback: Callable[[], object]) -> None:
        """Call back once if somebody steals it from us; at once if that has happened before anybody asked."""
        self._callbacks.append(callback)
        if self._lost:
            callback()

    def lose(self) -> None:
        """Tell the holder that somebody else has it now."""
        self._lost = True
        for callback in self._callbacks:
            callback()
