"""The store in memory keeps the promises of every store; tests/browser/engine holds IndexedDB to the same ones."""

from holdfast.memory import MemoryStore
from tests.contract.store_promises import PROMISES


class Memory:
    """One database in memory; its handles are bytes."""

    def __init__(self) -> None:
        self._store: MemoryStore | None = None

    def open(self, migrations):
        self._store = self._store or MemoryStore(migrations)
        return self._store

    def handle(self, content: bytes) -> bytes:
        return content

    async def read(self, handle: bytes) -> bytes:
        return handle


def pytest_generate_tests(metafunc):
    metafunc.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)


async def test_memory_promises_that(promise) -> None:
    """Each promise in its own words."""
    await promise(Memory())
