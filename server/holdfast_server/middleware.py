"""The key over HTTP: read from the request, named on every answer; and a middleware that makes any ASGI app's routes go by it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast_server.digest import TeeBody
from holdfast_server.errors import StoreUnavailableError
from holdfast_server.exchange import Answered, Exchange, Rules
from holdfast_server.idempotency import key_fault
from holdfast_server.limits import MIB
from holdfast_server.marking import Find
from holdfast_server.metrics import Metrics
from holdfast_server.once import Clock
from holdfast_server.problems import MALFORMED_KEY, MISSING_KEY, Problem, unavailable
from holdfast_server.stores.port import KeyStore

KEY: Final = "Idempotency-Key"
_NAME: Final = b"idempotency-key"


class EchoKey:
    """Names the request's key on its answer, whatever the answer is: a client takes one without it for nobody's answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        keys = keys_of(scope) if scope["type"] == "http" else []
        await self._app(scope, receive, echoing(keys, send) if keys else send)


def keys_of(scope: Scope) -> list[bytes]:
    """The request's keys, as they were sent."""
    return [value for name, value in scope["headers"] if name == _NAME]


def echoing(keys: list[bytes], send: Send) -> Send:
    """A `send` that names the keys on the answer."""
    echo = [(_NAME, key) for key in keys]

    async def echoed(message: Message) -> None:
        if message["type"] == "http.response.start":
            others = [(name, value) for name, value in message.get("headers", ()) if name.lower() != _NAME]
            message = {**message, "headers": [*others, *echo]}
        await send(message)

    return echoed


def require_key(request: Request) -> str:
    """The request's key.

    Raises:
        Problem: 400, it is missing or malformed.
    """
    keys = request.headers.getlist(KEY)
    fault = key_fault(keys)
    if fault is None:
        return keys[0]
    if keys in ([], [""]):
        raise Problem(400, MISSING_KEY, title="Idempotency-Key missing", detail=fault)
    raise Problem(400, MALFORMED_KEY, title="Idempotency-Key malformed", detail=fault)


def nobody(_: Request) -> str:
    """The account of an app without accounts."""
    return ""


def only_marked(_: Scope) -> None:
    """Leave it to the endpoints, see `marking.idempotent`."""


def wall_clock_ms() -> int:
    """Now, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class IdempotencyMiddleware:
    """Runs each keyed request once, whatever is retried. Opens its store at the first such request, closes it at shutdown.

    Args:
        app: the app.
        store: remembers keys. With `SqlKeyStore` a handler's writes commit together with its key, see
            `exchange.transaction`; with any store, effects elsewhere are two-phase.
        find: requests that go by their key besides those for endpoints marked with `@idempotent()`, see `marking.paths`.
        account: whose request it is: a name that stays when tokens change. Keys of two accounts never meet. It refuses a
            request by raising Starlette's `HTTPException`; anything else it raises is a fault of the app.
        body_limit: bytes of a request with a key; more is 413.
        answer_limit: bytes of an answer that are kept; a longer one is replayed without its body.
        metrics: counts replays, conflicts and mismatches.
        now_ms: the clock.
    """

    def __init__(
        self,
        app: ASGIApp,
        store: KeyStore,
        *,
        find: Find = only_marked,
        account: Callable[[Request], str | Awaitable[str]] = nobody,
        body_limit: int = 50 * MIB,
        answer_limit: int = MIB,
        metrics: Metrics | None = None,
        now_ms: Clock = wall_clock_ms,
    ) -> None:
        self._app = app
        self._find = find
        self._store = store
        self._body_limit = body_limit
        self._opening = asyncio.Lock()
        self._opened = False
        self._rules = Rules(
            store=store,
            account=account,
            answer_limit=answer_limit,
            metrics=metrics or Metrics(),
            now_ms=now_ms,
            read_key=require_key,
            opened=self._open,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            try:
                await self._app(scope, receive, send)
            finally:
                if self._opened:
                    await self._store.close()
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        keys = keys_of(scope)
        echo = echoing(keys, send) if keys else send
        body = TeeBody(request, receive, limit=self._body_limit)
        try:
            async with Exchange(self._rules, request, body, echo) as exchange:
                with suppress(Answered):
                    required = self._find(scope)
                    if required is not None:
                        await exchange.begin_before_app(required=required)
                    await self._app(scope, body.receive, exchange.send)
                instead = exchange.instead()
        except StoreUnavailableError:
            instead = unavailable().response()
        if instead is not None:
            await body.let_pass()
            await instead(scope, receive, echo)

    async def _open(self) -> None:
        if not self._opened:
            async with self._opening:
                if not self._opened:
                    await self._store.open()
                    self._opened = True
