"""What an app registers: routes, tasks and queues by name. `Outbox` is one of these with ports attached."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.backoff import Backoff
from holdfast.errors import InvalidOptionError, UnknownTypeError
from holdfast.gates import HERE
from holdfast.limits import check_text, check_whole_number
from holdfast.routes import Route, Task

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from holdfast.outcome import Verdict
    from holdfast.ports import Answer
    from holdfast.routes import Form, Handler
    from holdfast.storage import Durability

    Run = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Queue:
    """Jobs that run apart from those of other queues."""

    name: str
    concurrency: int = 1
    """How many of its lanes are served at once."""
    depth: int = 10_000
    """How many unsent jobs it takes before it refuses more."""


class Registry:
    """Types and queues by name; the same object in page, worker and tests."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        self._queues: dict[str, Queue] = {}

    def route(
        self,
        type_: str,
        method: str,
        url: str,
        *,
        queue: str = "default",
        form: Form | None = None,
        attempts: int = 8,
        backoff: Backoff | None = None,
        summary: Iterable[str] = (),
        files_field: str = "files",
        probe: str = "/api/flags",
        halt: bool = False,
        durability: Durability = "strict",
        batch: bool | int = False,
        secrets: Iterable[str] = (),
        receipt: Callable[[Answer, str], bool] | None = None,
        classify: Callable[[Answer], Verdict | None] | None = None,
    ) -> Route:
        """Deliver jobs of this type over HTTP.

        Args:
            type_: the name of the type.
            method: POST, PUT, PATCH or DELETE.
            url: a path of our origin or a URL of http or https; `{name}` is filled from the payload.
            queue: jobs of one queue run one at a time unless `queue(…)` says otherwise, apart from other queues.
            form: the rules its payload must keep; checked before anything is stored.
            attempts: failed attempts before a job is put aside.
            backoff: how the waits between them grow.
            summary: fields of the payload that lists show.
            files_field: the part name of attachments that name none of their own.
            probe: the path of the flags document of its server. Nothing is sent to a server that has none (docs/elsewhere.md).
            halt: a job that ends without success keeps its place and holds its lane until a person decides.
            durability: "relaxed" for many cheap jobs, such as analytics events; never told to anybody as saved.
            batch: let jobs that wait together share a request to `/api/batch` of their server: True, or how many at most.
                Each keeps its own key and its place in its lane; those with attachments go by themselves.
            secrets: fields of the payload that must never be stored; an enqueue that has one is refused.
            receipt: whether an answer is this server's receipt for our key; the companion's echo of the key by default.
            classify: what an answer of this server means; None for an answer leaves it to the usual rules (outcome.py).

        Raises:
            InvalidOptionError: an option is wrong, or the type has a route or task already.
        """
        handler = Route(
            type_,
            method,
            url,
            queue=queue,
            form=form,
            backoff=Backoff() if backoff is None else backoff,
            attempts=attempts,
            summary=_names("summary", summary),
            files_field=files_field,
            probe=probe,
            halt=halt,
            durability=durability,
            batch=batch,
            secrets=frozenset(_names("secrets", secrets)),
            receipt=receipt,
            classify=classify,
        )
        self._register(handler)
        return handler

    def task(
        self,
        type_: str,
        *,
        queue: str = "default",
        attempts: int = 8,
        backoff: Backoff | None = None,
    ) -> Callable[[Run], Run]:
        """Run jobs of this type by the decorated function, on this device. It may run twice: make that harmless.

        Raises InvalidOptionError as `route`.
        """

        def register(run: Run) -> Run:
            usual = Backoff() if backoff is None else backoff
            self._register(Task(type_, run, queue=queue, backoff=usual, attempts=attempts))
            return run

        return register

    def queue(self, name: str, *, concurrency: int = 1, depth: int = 10_000) -> Queue:
        """Set up a queue: how many of its lanes are served at once, and how many unsent jobs it takes.

        Raises:
            InvalidOptionError: no name, a number below one, or the queue was set up already.
        """
        check_text("name", name)
        if name in self._queues:
            raise InvalidOptionError(f"The queue {name!r} was set up already.")
        check_whole_number("concurrency", concurrency, least=1)
        check_whole_number("depth", depth, least=1)
        self._queues[name] = Queue(name, concurrency, depth)
        return self._queues[name]

    def handler_of(self, type_: Any) -> Handler:
        """The route or task of a type. Raises UnknownTypeError."""
        handler = self.handlers.get(type_) if isinstance(type_, str) else None
        if handler is None:
            raise UnknownTypeError(type_, list(self.handlers))
        return handler

    def queue_of(self, name: str) -> Queue:
        """How a queue was set up, or the usual way."""
        return self._queues.get(name, Queue(name))

    def queues(self) -> dict[str, Queue]:
        """Every queue that a type names."""
        return {handler.queue: self.queue_of(handler.queue) for handler in self.handlers.values()}

    def origin_of(self, type_: str) -> str:
        """The server a type is delivered to: '' for our own and for an unknown type, `HERE` for a task."""
        handler = self.handlers.get(type_)
        if isinstance(handler, Task):
            return HERE
        return handler.origin if handler else ""

    def durability_of(self, type_: str) -> Durability:
        """Whether a job of this type is on the disk once it is accepted; tasks and unknown types wait for it."""
        handler = self.handlers.get(type_)
        return handler.durability if isinstance(handler, Route) else "strict"

    def _register(self, handler: Handler) -> None:
        if handler.type in self.handlers:
            raise InvalidOptionError(f"The type {handler.type!r} has a route or task already.")
        self.handlers[handler.type] = handler


def _names(option: str, names: Iterable[str]) -> tuple[str, ...]:
    """The names of fields; one name alone would be taken for its letters."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise InvalidOptionError(f"{option} takes a list of names, such as ['site']; not {names!r}.")
    return tuple(names)
