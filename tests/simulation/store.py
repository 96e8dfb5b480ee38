"""The store as one context sees it: slow, full, closed at times, and written down for the laws at every commit."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.memory import MemoryStore
from holdfast.storage import Delete, Put, Transaction

if TYPE_CHECKING:
    from tests.simulation.device import Context, Device
    from tests.simulation.laws import Change

T = TypeVar("T")


class WatchedStore(MemoryStore):
    """Remembers what each transaction wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[Change] = []

    def _serve(self, request: Any, undo: Any) -> Any:
        if isinstance(request, Put):
            self.changes.append((request.store, "put", request.value))
        elif isinstance(request, Delete):
            self.changes.append((request.store, "delete", request.query))
        return super()._serve(request, undo)

    def commit(self, transaction: Transaction[T]) -> tuple[T, list[Change]]:
        """Run it; what it wrote is told as it was at that moment."""
        self.changes = []
        try:
            self.run(transaction).send(None)
        except StopIteration as end:
            return end.value, self.changes
        raise RuntimeError("A store in memory never waits.")


@dataclass
class SimStore:
    """The store as one context sees it."""

    device: Device
    context: Context

    async def run(self, transaction: Transaction[T]) -> T:
        """What was begun is committed even if its caller is cancelled meanwhile, as in IndexedDB."""
        await transaction.surely()
        device = self.device
        ended: asyncio.Future[T] = device.loop.create_future()
        device.loop.after(device.moment(), self._commit, transaction, ended, owner=self.context)
        return await ended

    def _commit(self, transaction: Transaction[T], ended: asyncio.Future[T]) -> None:
        device = self.device
        if device.dies(self.context):
            return
        try:
            device.storage_fails(writes=transaction.durability is not None)
            result, changes = device.store.commit(transaction)
        except Exception as error:  # noqa: BLE001  (what the steps raise is their caller's)
            if not ended.done():
                ended.set_exception(error)
            return
        if changes:
            device.laws.committed(transaction.name, self.context, changes)
        if not device.dies(self.context):
            device.loop.after(device.moment(), _end, ended, result, owner=self.context)

    def close(self) -> None:
        """Nothing to let go."""


def _end(ended: asyncio.Future[T], result: T) -> None:
    if not ended.done():
        ended.set_result(result)
