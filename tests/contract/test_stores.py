"""The store in memory keeps the promises of every store; tests/browser/engine holds IndexedDB to the same ones."""

import pytest

from holdfast.memory import MemoryStore
from tests.contract.engine_promises import ENGINE_PROMISES
from tests.contract.store_promises import PROMISES


class Memory:
    """One database in memory; its handles are bytes."""

    def __init__(self) -> None:
        self._store: MemoryStore | None = None

    def open(self, migrations):
        self._store = self._store or MemoryStore(migrations)
        return self._store

    def fresh(self):
        return Memory()

    def handle(self, content: bytes) -> bytes:
        return content

    async def read(self, handle: bytes) -> bytes:
        return handle


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_memory_promises_that(promise) -> None:
    """Each promise in its own words."""
    await promise(Memory())


@pytest.mark.parametrize("promise", ENGINE_PROMISES, ids=lambda promise: promise.__name__)
async def test_on_memory_the_engine_promises_that(promise) -> None:
    """Each promise in its own words."""
    await promise(Memory())
