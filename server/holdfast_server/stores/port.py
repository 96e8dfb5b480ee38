"""The ports between the HTTP layer and where keys and effects are kept. One contract suite runs over every implementation.

Two strengths. *Transactional* (`EffectStore.run`, or `finish` with a transaction): effect and key commit together, so a
crash anywhere leaves both or neither. *Two-phase* (`finish` without a transaction): the effect happens elsewhere, between
`begin` and `finish`; a crash in that gap lets it happen again once the claim's lease is over.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast_server.idempotency import InFlight, KeyedRequest, Mismatch, Replay, StoredResponse
from holdfast_server.stores.statements import Result, Steps

Migration = Sequence[str]
Schema = Mapping[str, Sequence[Migration]]
"""The migrations of each part of a database, oldest first. Parts grow apart from each other; chains are only appended to."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run a request, until `lease_until`. Its token fences it: whoever took over has another one."""

    request: KeyedRequest
    token: str
    lease_until: int


@dataclass(frozen=True, slots=True)
class Done:
    """The effect has happened and the key remembers this answer."""

    response: StoredResponse


Outcome = Done | Replay | InFlight | Mismatch
Effect = Callable[[], Steps[StoredResponse | Replay | Mismatch]]
"""What a request does to the database. Replay: the database itself shows that it was done before; Mismatch: as something else."""


class Transaction(Protocol):
    """A transaction that a handler writes in over several awaits."""

    @property
    def connection(self) -> Any:
        """What the handler writes with: a `psycopg.AsyncConnection`, or a `SqliteConnection`."""
        ...

    async def run(self, steps: Steps[Result]) -> Result:
        """Run steps in it."""
        ...

    async def commit(self) -> None:
        """Make it last; on return it survives a power cut."""
        ...

    async def commit_after(self, steps: Steps[None]) -> None:
        """Run steps in it, then make it last. If they raise, it is still open."""
        ...

    async def rollback(self) -> None:
        """Undo it. Does nothing after it has ended."""
        ...


class Database(Protocol):
    """A database that runs steps. What it cannot do right now raises StoreUnavailableError and has changed nothing."""

    async def open(self) -> None:
        """Connect, and create or migrate the schema; several processes may do so at once. Harmless while it is open.

        Raises:
            SchemaTooNewError: a newer version was here; nothing was changed.
        """
        ...

    async def close(self) -> None:
        """Finish what runs, then let go."""
        ...

    async def read(self, steps: Steps[Result]) -> Result:
        """Run steps that only read; they see one consistent state."""
        ...

    async def write(self, steps: Steps[Result]) -> Result:
        """Run steps as one transaction, which on return survives a power cut. If they raise, nothing is changed."""
        ...

    async def write_in_turn(self, steps: Steps[Result]) -> Result:
        """As `write`, and such transactions commit in the order in which they ran: who lists by id misses none."""
        ...

    async def write_relaxed(
        self, steps: Steps[Result], *, meanwhile: Callable[[], Steps[Result | None]] | None = None
    ) -> Result:
        """Run steps that may be lost in a power cut, and each of which may be seen alone. Cheap: nobody waits for a disk.

        Args:
            meanwhile: only reads. If the steps have to wait for other writers for long, what this gives, unless it is
                None, is the result, and they do not run.
        """
        ...

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction over several awaits; rolled back unless it was committed by the end of the block."""
        ...


class KeyStore(Protocol):
    """Remembers keys and their answers."""

    key_lifetime_ms: int | None
    """How long a key is kept; None is for ever."""

    lease_ms: int
    """How long a claim holds unless it is renewed. A holder that died blocks its key for that long."""

    async def open(self) -> None:
        """Connect."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...

    async def ready(self) -> None:
        """See that it answers. Raises StoreUnavailableError."""
        ...

    async def begin(self, request: KeyedRequest, *, now_ms: int) -> Claim | Replay | InFlight | Mismatch:
        """Look the request up; if nobody runs it or has run it, claim it. One round trip for a new request."""
        ...

    async def finish(
        self, claim: Claim, response: StoredResponse, *, now_ms: int, transaction: Transaction | None = None
    ) -> Outcome:
        """Remember the answer; with a transaction of the same database, commit both together.

        Anything but Done means that the claim had been taken over: a transaction was rolled back, and this is how things
        stand. Raises StoreUnavailableError; then the caller does not know, and asking again tells.
        """
        ...

    async def renew(self, claim: Claim, *, now_ms: int) -> bool:
        """Let the claim hold for another lease. False: it was taken over."""
        ...

    async def release(self, claim: Claim) -> None:
        """Give the claim back. Does nothing if it is finished, released or taken over."""
        ...

    async def clean(self, *, now_ms: int) -> int:
        """Forget some of the keys that are past their life; says how many. The store may do so by itself."""
        ...


class TransactionalKeyStore(KeyStore, Protocol):
    """A key store whose keys can commit together with a handler's own writes."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """See `Database.transaction`; hand it to `finish`."""
        ...


class EffectStore(KeyStore, Protocol):
    """A key store that also runs effects on a database."""

    async def run(self, claim: Claim, effect: Effect, *, now_ms: int) -> Outcome:
        """Run the effect and remember its answer. Raises whatever the effect raises, after undoing it."""
        ...

    async def run_lanes(
        self, lanes: Sequence[Sequence["BatchItem"]], *, now_ms: int
    ) -> list[list[Outcome | Exception | None]]:
        """Run many requests at once, each lane in its order. A lane stops after an item whose `stops` says so: None for the rest."""
        ...


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One request of many. Nothing of one item's failure reaches another."""

    request: KeyedRequest
    effect: Effect
    stops: Callable[[Outcome | Exception], bool]
