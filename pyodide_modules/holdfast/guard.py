"""The store as the engine uses it: a record that cannot be read is set aside, and the transaction begins anew.

So no verb has to expect anything but sound records, and one damaged job never stops the others.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.errors import NewerStorageError
from holdfast.soundness import damage_of, is_body, is_newer
from holdfast.transactions.quarantine import set_aside

if TYPE_CHECKING:
    from holdfast.ports import Clock, Store
    from holdfast.storage import Record, Steps, Transaction

T = TypeVar("T")


class DamagedRecordError(Exception):
    """A job that cannot be read; undoes the transaction that met it."""

    def __init__(self, job_id: Any) -> None:
        super().__init__(f"The stored record of job {job_id!r} cannot be read.")
        self.job_id = job_id


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
        if "jobs" not in transaction.stores:
            return await self._store.run(transaction)
        checked = replace(transaction, start=lambda: self._check(transaction))
        while True:
            try:
                return await self._store.run(checked)
            except DamagedRecordError as found:
                await self._store.run(set_aside(found.job_id, self._app_version, self._clock.now()))

    def close(self) -> None:
        self._store.close()

    def _check(self, transaction: Transaction[T]) -> Steps[T]:
        steps = transaction.start()
        result: Any = None
        while True:
            try:
                request = steps.send(result)
            except StopIteration as end:
                value: T = end.value
                return value
            result = yield request
            if request.store == "jobs" and not isinstance(result, int):
                for record in result if isinstance(result, list) else (result,):
                    self._check_job(record)
            elif request.store == "bodies" and result is not None and not is_body(result):
                raise DamagedRecordError(result["id"])

    def _check_job(self, record: Record | None) -> None:
        if record is None or not damage_of(record):
            return
        if is_newer(record, self._app_version):
            raise NewerStorageError(self._name)
        raise DamagedRecordError(record["id"])
