"""One request on its way through somebody's app: its key, what the app writes, what it answers, and how these are kept.

An answer is held back until the key remembers it, up to a limit. A longer one (a large file, a stream) is kept without its
body: the effect commits when the limit is passed, the rest flows through, and a repeat gets status and headers alone.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Send

from holdfast_server.digest import TeeBody
from holdfast_server.errors import NotBehindMiddlewareError, NoTransactionError, StoreUnavailableError
from holdfast_server.idempotency import KeyedRequest, StoredResponse, is_final, scope_of
from holdfast_server.metrics import Metrics
from holdfast_server.once import Clock, Held, answer
from holdfast_server.problems import Problem, unavailable
from holdfast_server.stores.port import Claim, Done, KeyStore, Outcome, Transaction

KEPT_HEADERS: Final = frozenset(
    {b"content-type", b"content-language", b"content-encoding", b"content-disposition", b"etag", b"link", b"location"}
)
"""Headers that are part of the answer. Cookies and dates belong to one delivery of it and are not replayed."""

NOT_KEPT: Final = ("Idempotency-Body", "not-kept")
"""Says on a replay that the first answer's body was too long to keep."""

_HELD: Final = frozenset({"http.response.start", "http.response.body"})
_CURRENT: Final[ContextVar["Exchange"]] = ContextVar("holdfast_exchange")


class Answered(HTTPException):
    """The request is answered without the app. The status is for frameworks that insist on one; nobody sees it."""

    def __init__(self) -> None:
        super().__init__(409)


def current_exchange() -> "Exchange":
    """The exchange of the request that is being served.

    Raises:
        NotBehindMiddlewareError: there is none.
    """
    exchange = _CURRENT.get(None)
    if exchange is None:
        raise NotBehindMiddlewareError("Add IdempotencyMiddleware to the app: this endpoint relies on it.")
    return exchange


async def transaction(request: Request) -> Any:  # noqa: ARG001  (so that FastAPI takes it for a dependency)
    """The connection on which this request's writes commit together with its key: a dependency in FastAPI, a call elsewhere.

    It is a `psycopg.AsyncConnection`, or a `SqliteConnection` with `await execute(sql, values)`, inside a transaction that
    ends with the request: committed with an answer below 400, undone with any other and when the handler raises.

    Raises:
        NoTransactionError: the key store has none to offer.
        NotBehindMiddlewareError: the app lacks the middleware.
    """
    return (await current_exchange().transaction()).connection


@dataclass(frozen=True, slots=True)
class Rules:
    """What the middleware was told."""

    store: KeyStore
    account: Callable[[Request], str | Awaitable[str]]
    answer_limit: int
    metrics: Metrics
    now_ms: Clock
    read_key: Callable[[Request], str]
    opened: Callable[[], Awaitable[None]]


class Exchange:
    """See the module. `body` stands between connection and app."""

    def __init__(self, rules: Rules, request: Request, body: TeeBody, send: Send) -> None:
        self._rules = rules
        self._request = request
        self._body = body
        self._send = send
        self._begun = False
        self._claim: Claim | None = None
        self._held: Held | None = None
        self._transaction: Transaction | None = None
        self._instead: Outcome | Problem | None = None
        self._writing: AbstractAsyncContextManager[Transaction] | None = None
        self._start: Message | None = None
        self._chunks: list[Message] = []
        self._size = 0
        self._passes = False
        self._token: Token[Exchange] | None = None

    async def __aenter__(self) -> Self:
        self._token = _CURRENT.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        token, self._token = self._token, None
        if token is not None:
            _CURRENT.reset(token)
        try:
            await self._end_writing(kind, error, trace)
        finally:
            self._body.close()
            if self._held is not None:
                await self._held.__aexit__(kind, error, trace)

    async def _end_writing(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        """What was not committed is undone."""
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing.__aexit__(kind, error, trace)

    async def begin(self, *, required: bool = True) -> None:
        """Claim the key, once.

        Raises:
            Answered: there is nothing to run.
        """
        if self._claim is not None or (self._begun and not required):
            return
        self._begun = True
        try:
            await self._begin(required=required)
        except Problem as problem:
            self._instead = problem
        except StoreUnavailableError:
            self._instead = unavailable()
        if self._instead is not None:
            raise Answered

    async def begin_before_app(self, *, required: bool) -> None:
        """The same where no framework stands around to answer what `account` raises.

        Raises:
            Answered: there is nothing to run.
        """
        try:
            await self.begin(required=required)
        except Answered:
            raise
        except HTTPException as refusal:
            self._instead = Problem(refusal.status_code, detail=str(refusal.detail), headers=refusal.headers)
            raise Answered from refusal

    async def _begin(self, *, required: bool) -> None:
        rules, request = self._rules, self._request
        await rules.opened()
        if not required and "idempotency-key" not in request.headers:
            return
        key = rules.read_key(request)
        account = rules.account(request)
        name = account if isinstance(account, str) else await account
        method, path = request.method, request.scope["path"]
        query = request.scope["query_string"].decode("latin-1")
        fingerprint = await self._body.fingerprint(method, f"{path}?{query}")
        asked = KeyedRequest(scope_of(f"{method} {path}", name), key, fingerprint)
        outcome = await rules.store.begin(asked, now_ms=rules.now_ms())
        if isinstance(outcome, Claim):
            self._claim = outcome
            self._held = await Held(rules.store, outcome, rules.now_ms).__aenter__()
        else:
            self._instead = outcome

    async def transaction(self) -> Transaction:
        """The request's transaction, begun when it is first asked for."""
        await self.begin(required=False)
        if self._transaction is None:
            begin = getattr(self._rules.store, "transaction", None)
            if begin is None:
                raise NoTransactionError("This key store holds keys only: write to your own database instead.")
            writing: AbstractAsyncContextManager[Transaction] = begin()
            self._transaction = await writing.__aenter__()
            self._writing = writing
        return self._transaction

    def instead(self) -> Response | None:
        """The answer that takes the place of the app's."""
        if isinstance(self._instead, Problem):
            return self._instead.response()
        if self._instead is None:
            return None
        try:
            return answer(self._instead, self._rules.metrics)
        except Problem as problem:
            return problem.response()

    async def send(self, message: Message) -> None:
        """Take what the app sends."""
        if self._instead is not None:
            return
        before = self._start is None and message["type"] not in _HELD  # an early hint, a template's name for a test
        if not before and self._claim is None and self._transaction is None:
            self._passes = True
        if not (self._passes or before):
            await self._hold(message)
            if message["type"] in _HELD:
                return
        if self._passes or before:
            await self._send(message)

    async def _hold(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            self._chunks.append(message)
            self._size += len(message.get("body", b""))
            if not message.get("more_body", False):
                await self._finish(b"".join(chunk.get("body", b"") for chunk in self._chunks))
            elif self._size > self._rules.answer_limit:
                await self._finish(None)
        else:
            await self._finish(None)  # a file that the server itself sends, or the like

    async def _finish(self, body: bytes | None) -> None:
        """Keep effect and answer, then let the answer out."""
        assert self._start is not None  # noqa: S101  (ASGI: a body comes after a start)
        status: int = self._start["status"]
        if body is not None and len(body) > self._rules.answer_limit:
            body = None
        kept = tuple(
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in self._start.get("headers", ())
            if name.lower() in KEPT_HEADERS
        )
        response = StoredResponse(status, kept if body is not None else (*kept, NOT_KEPT), body or b"")
        transaction = self._transaction
        if transaction is not None and status >= 400:
            await self._end_writing()  # undone and over: what is remembered now is a transaction of its own
            transaction = None
        if self._claim is not None and self._held is not None and is_final(status):
            now_ms = self._rules.now_ms()
            outcome = await self._rules.store.finish(self._claim, response, now_ms=now_ms, transaction=transaction)
            if not isinstance(self._held.finished(outcome), Done):
                self._instead = outcome
                return
        elif transaction is not None:
            await transaction.commit()
        self._passes = True
        for message in (self._start, *self._chunks):
            await self._send(message)
