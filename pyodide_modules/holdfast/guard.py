"""The store as the engine uses it: a record that cannot be read is set aside, and the transaction begins anew.

So no verb has to expect anything but sound records, and one damaged record, of a job or of a queue, a gate or a lease, never
stops the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from holdfast.errors import NewerStorageError
from holdfast.soundness import damage_of, is_body, is_newer
from holdfast.transactions.quarantine import mend_gate, mend_lease, mend_queue, set_aside
from holdfast.upkeep import is_gate, is_lease, is_queue

if TYPE_CHECKING:
    from holdfast.ports import Clock, Millis, Store
    from holdfast.storage import Record, Transaction

T = TypeVar("T")


STORES = frozenset({"jobs", "queues", "gates", "holders"})
"""Where records are checked; bodies are read beside their jobs."""


class DamagedRecordError(Exception):
    """A record that cannot be read; undoes the transaction that met it."""

    def __init__(self, store: str, record: Record) -> None:
        super().__init__(f"A record of {store!r} cannot be read: {record!r}")
        self.store = store
        self.record = record


class GuardedStore:
    """The `Store` port over another one."""

    def __init__(self, store: Store, clock: Clock, *, name: str, app_version: int) -> None:
        self._store = store
        self._clock = clock
        self._name = name
        self._app_version = app_version

    async def run(self, transaction: Transaction[T]) -> T:
        """Run it on sound records alone.

        Raises:
            NewerStorageError: a record cannot be read and was made by a newer version of the app: it is left alone.
        """
        if STORES.isdisjoint(transaction.stores):
            return await self._store.run(transaction)
        checked = transaction.vetted(self._vet)
        while True:
            try:
                return await self._store.run(checked)
            except DamagedRecordError as found:
                await self._store.run(self._mend(found, self._clock.now()))

    def close(self) -> None:
        self._store.close()

    def _vet(self, store: str, record: Record) -> None:
        if not self._is_sound(store, record):
            raise DamagedRecordError(store, record)

    def _is_sound(self, store: str, record: Record) -> bool:
        match store:
            case "jobs":
                damaged = damage_of(record)
                if damaged and is_newer(record, self._app_version):
                    raise NewerStorageError(self._name)
                return not damaged
            case "bodies":
                return is_body(record)
            case "queues":
                return is_queue(record)
            case "gates":
                return is_gate(record)
            case "holders":
                return is_lease(record)
        return True

    def _mend(self, found: DamagedRecordError, now: Millis) -> Transaction[None]:
        match found.store:
            case "queues":
                return mend_queue([found.record["account"], found.record["queue"]], now)
            case "gates":
                return mend_gate(found.record["name"], now)
            case "holders":
                return mend_lease(found.record["name"])
        return set_aside(found.record["id"], self._app_version, now)
