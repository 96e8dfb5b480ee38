"""The language of transactions: the requests a generator yields, and the schema they work on.

A transaction is a generator that yields requests and is resumed with their results: read, decide and write are one
atomic step, on IndexedDB as in memory. Writes are yielded too; they are resumed with None at once, in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, Generic, Literal, ParamSpec, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
P = ParamSpec("P")

Key = str | int | float | list[Any]
"""What IndexedDB takes as a key. Numbers sort before strings, strings before lists."""

ABOVE_ALL: list[Any] = []
"""As the last part of a compound key it sorts above every number and string."""

Durability = Literal["strict", "relaxed"]
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Keys from `lower` to `upper`, both included."""

    lower: Key
    upper: Key


@dataclass(frozen=True, slots=True)
class Get:
    """The record under a key, or the first one in a range; None if there is none."""

    store: str
    query: Key | KeyRange
    index: str | None = None


@dataclass(frozen=True, slots=True)
class GetAll:
    """The records in a range, in key order, `limit` at most, which is one or more; all of the store without a range."""

    store: str
    query: KeyRange | None = None
    index: str | None = None
    limit: int | None = None
    newest_first: bool = False


@dataclass(frozen=True, slots=True)
class GetEach:
    """The records under these keys, in their order, None where there is none. Where each is a journey of its own, all are
    made in one. Not for handles.
    """

    store: str
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """How many records a range has."""

    store: str
    query: KeyRange | None = None
    index: str | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """Insert or replace a record. `key` only for stores without a key of their own in the record."""

    store: str
    value: Any
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove what is under a key or in a range."""

    store: str
    query: Key | KeyRange


WRITES = (Put, Delete)
Read = Get | GetAll | Count
Request = Read | GetEach | Put | Delete
Ahead = Callable[..., tuple[Read, ...]]
Steps = Generator[Request, Any, T_co]


class MistakenError(Exception):
    """Something that a transaction took for granted is not so: nothing of it was stored."""


@dataclass(frozen=True, slots=True)
class Proviso:
    """What a transaction takes for granted, while somebody else is still finding it out: it is committed only if it is so."""

    found: asyncio.Future[Any]
    expected: Any

    @property
    def is_known(self) -> bool:
        return self.found.done()

    def holds(self) -> bool:
        """Whether it is known to be so."""
        found = self.found
        return found.done() and not found.cancelled() and not found.exception() and found.result() == self.expected

    def check(self) -> None:
        """Let through what is known to be so. Raises MistakenError."""
        if not self.holds():
            raise MistakenError

    def lose(self) -> None:
        """The transaction came to nothing, for whatever reason; said before any that was asked for after it is committed."""


@dataclass(frozen=True, slots=True)
class Joint:
    """What transactions that do the same to different subjects do as one, where that costs less than one after the other."""

    steps: Callable[[Sequence[Any]], Steps[list[Any]]]
    """From the subjects; returns their results, in order: an exception for whose part there was nothing to write."""
    ahead: Callable[[Sequence[Any]], tuple[Read, ...]]


@dataclass(frozen=True, slots=True)
class Part:
    """How a transaction starts that can be done as one with others of the same `joint`."""

    joint: Joint
    subject: Any

    def __call__(self) -> Steps[Any]:
        [result] = yield from self.joint.steps((self.subject,))
        if isinstance(result, Exception):
            raise result
        return result

    def ahead(self) -> tuple[Read, ...]:
        return self.joint.ahead((self.subject,))


def _believe(_store: str, _record: Record) -> None:
    """Any record will do."""


@dataclass(frozen=True, slots=True)
class Transaction(Generic[T_co]):
    """Steps that can be started, and started again if the connection was lost before they began."""

    name: str
    stores: tuple[str, ...]
    durability: Durability | None
    """None: it only reads, and so it holds up nobody who writes."""
    start: Callable[[], Steps[T_co]]
    ahead: Callable[[], tuple[Read, ...]] = tuple
    """Gives the reads that it begins with, in whatever order: where each is a journey of its own, a store makes them in one."""
    provided: tuple[Proviso, ...] = ()
    vet: Callable[[str, Record], None] = _believe
    """Each record that it gets from the database goes through this, with its object store; what this raises undoes it all."""

    def vetted(self, vet: Callable[[str, Record], None]) -> Transaction[T_co]:
        """The same on records that go through `vet`. By hand: `replace` takes several times as long, and every write has this."""
        return Transaction(
            self.name, self.stores, self.durability, self.start, self.ahead, provided=self.provided, vet=vet
        )

    async def surely(self) -> None:
        """Wait until all that it takes for granted is known. Raises MistakenError: not all of it is so."""
        for proviso in self.provided:
            if not proviso.is_known:
                await asyncio.wait([proviso.found])
            proviso.check()

    def lose(self) -> None:
        """It came to nothing."""
        for proviso in self.provided:
            proviso.lose()

    def __iter__(self) -> Steps[T_co]:
        """So that one transaction can `yield from` another and be one atomic step with it."""
        return self.start()

    def check(self, request: Request) -> None:
        """Let through what the transaction declared. Raises KeyError (another object store), TypeError (a write)."""
        if request.store not in self.stores:
            raise KeyError(f"{self.name} did not name the store {request.store!r}")
        if self.durability is None and isinstance(request, WRITES):
            raise TypeError(f"{self.name} only reads; it cannot write to {request.store!r}")

    def accept(self, request: Request, result: Any) -> None:
        """Let through what the database has answered. Raises what `vet` raises."""
        if isinstance(request, Count):
            return
        for record in result if isinstance(request, GetAll | GetEach) else (result,):
            if record is not None:
                self.vet(request.store, record)


def transaction(
    *stores: str,
    durability: Durability,
    ahead: Ahead | None = None,
) -> Callable[[Callable[P, Steps[T_co]]], Callable[P, Transaction[T_co]]]:
    """Make a generator function a transaction over these object stores; `ahead` says from its arguments what it reads first."""
    return _transaction(stores, durability, ahead)


def reading(*stores: str) -> Callable[[Callable[P, Steps[T_co]]], Callable[P, Transaction[T_co]]]:
    """Make a generator function a transaction that only reads these object stores."""
    return _transaction(stores, None, None)


def _transaction(
    stores: tuple[str, ...],
    durability: Durability | None,
    ahead: Ahead | None,
) -> Callable[[Callable[P, Steps[T_co]]], Callable[P, Transaction[T_co]]]:
    def decorate(steps: Callable[P, Steps[T_co]]) -> Callable[P, Transaction[T_co]]:
        @wraps(steps)
        def begin(*args: P.args, **kwargs: P.kwargs) -> Transaction[T_co]:
            first = partial(ahead, *args, **kwargs) if ahead else tuple
            return Transaction(steps.__name__, stores, durability, partial(steps, *args, **kwargs), first)

        return begin

    return decorate


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """An object store: where its key is found in a record (None: given with each put) and its indexes."""

    key: str | tuple[str, ...] | None
    indexes: dict[str, tuple[str, ...]]
    opaque: bool = False
    """Its values are handles to bytes, not records."""
    unique: tuple[str, ...] = ()
    """The indexes in which no two records may have the same key."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema: what it adds, and how it converts the records that are there. Nothing is ever dropped."""

    adds: dict[str, ObjectStore]
    """New object stores, or known ones with their new indexes."""
    convert: Callable[[], Steps[None]] | None = None


def schema_of(migrations: tuple[Migration, ...]) -> dict[str, ObjectStore]:
    """The object stores after all migrations. The database's version is their number."""
    stores: dict[str, ObjectStore] = {}
    for migration in migrations:
        for name, added in migration.adds.items():
            known = stores.get(name)
            indexes = {**known.indexes, **added.indexes} if known else added.indexes
            unique = (*known.unique, *added.unique) if known else added.unique
            stores[name] = ObjectStore(added.key, indexes, added.opaque, unique)
    return stores
