"""The port between the HTTP layer and a database that remembers keys. One contract suite runs over every implementation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from holdfast_server.idempotency import InFlight, KeyedRequest, Mismatch, Replay, StoredResponse

Unit_co = TypeVar("Unit_co", covariant=True)


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """The right to run a request, until `lease_until`. Two claims are never equal, so an old one frees nothing of a new one."""

    request: KeyedRequest
    lease_until: int


@dataclass(frozen=True, slots=True)
class Done:
    """The effect and the key are committed; this is the answer."""

    response: StoredResponse


class KeyStore(Protocol[Unit_co]):
    """Remembers keys together with the effects of their requests. `Unit_co` is what an effect writes with, inside the transaction.

    begin → effect → finish: once `finish` has returned `Done`, effect and key are on disk, both; before that neither is. A
    process that dies in between has done nothing.
    """

    key_lifetime_ms: int | None
    """How long a key is kept; None is for ever."""

    async def begin(self, request: KeyedRequest, *, now_ms: int) -> Claim | Replay | InFlight | Mismatch:
        """Look the request up; if nobody runs it or has run it, claim it."""
        ...

    async def finish(
        self, claim: Claim, effect: Callable[[Unit_co], StoredResponse], *, now_ms: int
    ) -> Done | Replay | InFlight | Mismatch:
        """Run the effect and remember its answer, in one transaction; anything but `Done` means that it was rolled back.

        Raises whatever the effect raises, after rolling back; StoreUnavailableError when the database cannot take it.
        """
        ...

    async def release(self, claim: Claim) -> None:
        """Give the claim back. Does nothing if it is finished, released or taken over."""
        ...
