"""Everything the core needs from outside, as Protocols: storage, network, locks, time, chance, and being woken.

The core awaits these and nothing else, so that a test can step it and kill it at any await. Adapters implement them
without inheriting: `holdfast.browser` on the real thing, `holdfast.testing` in memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from holdfast.storage import Transaction

T = TypeVar("T")

Millis = int
"""A span in milliseconds (names end in `_ms`) or an instant in milliseconds since 1970 (names end in `_at`)."""

Event = dict[str, Any]
"""What contexts tell each other: a `kind` and its fields; JSON-safe."""

ANSWER_LIMIT = 100_000
"""Characters of an answer that are looked at: receipts and problem documents are small."""

Attachment = Any
"""An opaque handle to bytes: a Blob in the browser, `bytes` in memory. Only adapters look inside."""


class Store(Protocol):
    """One database. `run` drives a transaction to its commit."""

    async def run(self, transaction: Transaction[T]) -> T:
        """Run it atomically and return its result after the commit.

        Raises:
            StorageFullError, StorageClosedError, NewerStorageError, NotUniqueError: nothing of it was stored.
        """
        ...

    def close(self) -> None:
        """Let the database go. A later `run` opens it again."""
        ...


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """A raw submission that JavaScript took before Python could. Nobody has checked it: any field but `position` may be
    anything.
    """

    position: int
    """Its place in the order of arrival; `Inbox.remove` takes it."""
    id: str
    key: str
    type: str
    account: str
    taken_at: Millis
    fields: list[tuple[str, str]] | None
    """The raw fields of a form, in order; None when the JavaScript client sent a payload."""
    payload: Any
    options: dict[str, Any]
    files: list[tuple[str, str, str, int, Attachment]]
    """Field, file name, media type, size in bytes, handle."""


class Inbox(Protocol):
    """The database of raw submissions. JavaScript adds; the core reads and removes, and adds when its own is shut."""

    async def count(self) -> int: ...

    def look(self) -> Awaitable[tuple[str, int]]:
        """`account` and `count` in one. It may begin before it is awaited."""
        ...

    async def entries(self, limit: int) -> list[InboxEntry]:
        """The oldest ones, in order of arrival."""
        ...

    async def remove(self, positions: Sequence[int]) -> None: ...

    async def append(self, entry: InboxEntry) -> None:
        """Durable when it returns; an entry with the same id is already saved and stays as it is."""
        ...

    async def account(self) -> str:
        """Who is signed in: '' for nobody."""
        ...

    async def set_account(self, account: str) -> None: ...

    async def wipe_drafts(self) -> None:
        """Forget what was typed and never submitted."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a request."""

    field: str
    name: str
    media_type: str
    size: int
    handle: Attachment


@dataclass(frozen=True, slots=True)
class Request:
    """What leaves the device for one attempt."""

    job_id: str
    method: str
    url: str
    headers: dict[str, str]
    payload: Any
    """JSON-safe; sent as JSON, or as one part per field when there are files."""
    parts: tuple[Part, ...]
    timeout_ms: Millis
    answer_limit: int = ANSWER_LIMIT
    """Characters of the answer that are looked at."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: an HTTP answer, or the way in which none came."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    """Names in lower case."""
    body: str = ""
    failure: Literal["", "network", "timeout", "aborted"] = ""


@dataclass(frozen=True, slots=True)
class Next:
    """The request that goes behind another one, if that comes to a receipt by its key between two instants."""

    request: Request
    since: Millis
    until: Millis

    def may_go(self, answer: Answer, to: Request, now: Millis) -> bool:
        """Whether it may go now that this is the answer to the request that it goes behind."""
        is_receipt = (
            200 <= answer.status < 300 and answer.headers.get("idempotency-key") == to.headers["Idempotency-Key"]
        )
        return is_receipt and self.since <= now < self.until


class Transport(Protocol):
    """The network. Nothing here raises for what the network does: that is an `Answer`."""

    async def send(self, request: Request, progress: Callable[[int, int], None], then: Next | None = None) -> Answer:
        """One attempt. `progress` is called with bytes handed to the network and bytes in all, where that is known.

        A transport may send `then` by itself as soon as it may go; its own `send`, which follows, gives the answer then.
        Cancelling the task aborts the request, and what went behind it.
        """
        ...

    def withdraw(self, job_id: str) -> bool:
        """What was to go behind another one does not go by itself any more; returns whether it has left."""
        ...

    def drop(self, job_id: str) -> None:
        """Nobody will ask for its answer: abort it if it has left."""
        ...

    async def fetch_json(self, url: str, timeout_ms: Millis) -> Any:
        """GET a small JSON document past every cache; None when there is no answer or it is not JSON."""
        ...


class Lock(Protocol):
    """A lock that is held."""

    stolen: bool
    """It was taken from a holder that no longer answered, which may still believe that it holds it."""

    def on_lost(self, callback: Callable[[], object]) -> None:
        """Call back once if somebody steals it from us; at once if that has happened already."""
        ...


class Locks(Protocol):
    """Mutual exclusion over all tabs and the worker. A lost lock may cost work, never data."""

    def hold(self, name: str, stale: Callable[[], Awaitable[bool]]) -> AbstractAsyncContextManager[Lock]:
        """Wait for the lock, then hold it for the length of the block.

        While waiting, `stale` is asked now and then whether the holder's lease has ended; if so the lock is stolen.
        """
        ...


class Clock(Protocol):
    """The wall clock, which people and daylight-saving bugs can set either way, and timers."""

    def now(self) -> Millis: ...

    async def sleep(self, span_ms: Millis) -> None: ...


class Entropy(Protocol):
    """Chance, so that a simulation can replay it."""

    def random(self) -> float:
        """Uniform in [0, 1)."""
        ...

    def uuid(self) -> str:
        """A version 4 UUID."""
        ...


class Channel(Protocol):
    """What every other context of this outbox hears. Best effort: a lost event costs a moment, never a job."""

    def post(self, event: Event) -> None: ...

    def listen(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Hear the events of the others; call what it returns to stop."""
        ...


class Wakeup(Protocol):
    """Asks the platform to wake somebody later, even with no page open, where it can (Background Sync)."""

    def request(self) -> None:
        """Never awaited and never raises: a write does not depend on it."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """The whole outside of one context."""

    store: Store
    inbox: Inbox
    transport: Transport
    locks: Locks
    clock: Clock
    entropy: Entropy
    channel: Channel
    wakeup: Wakeup
    read_bytes: Callable[[Attachment], Awaitable[bytes]]
    """The bytes behind a handle."""
    storage_estimate: Callable[[], Awaitable[dict[str, int] | None]]
    """`usage` and `quota` of this origin in bytes, as far as the platform tells."""
    offline: Callable[[], bool]
    """Whether the platform says that there is no network at all. It may be wrong when it says that there is one."""
