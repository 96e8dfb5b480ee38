"""Idempotency over HTTP: the key is echoed on every answer, and `answer_once` runs a request's effect at most once.

What is replayed: the status, content type, location and body of a run whose effect was committed (see `idempotency.py`).
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast_server.idempotency import InFlight, KeyedRequest, Mismatch, Replay, StoredResponse, key_fault
from holdfast_server.metrics import Metrics
from holdfast_server.problems import IN_PROGRESS, KEY_REUSED, MALFORMED_KEY, MISSING_KEY, Problem
from holdfast_server.stores.port import Claim, Done, KeyStore

KEY: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"

Unit = TypeVar("Unit")


class EchoKey:
    """Names the request's key on its answer, whatever the answer is: a client takes one without it for nobody's answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        keys = Headers(scope=scope).getlist(KEY) if scope["type"] == "http" else []
        if not keys:
            await self._app(scope, receive, send)
            return
        echo = [(KEY.lower().encode(), key.encode("latin-1")) for key in keys]

        async def echoed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *echo]}
            await send(message)

        await self._app(scope, receive, echoed)


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


async def answer_once(
    store: KeyStore[Unit],
    request: KeyedRequest,
    prepare: Callable[[], Awaitable[Callable[[Unit], StoredResponse]]],
    *,
    now_ms: Callable[[], int],
    metrics: Metrics,
) -> Response:
    """Run the request unless its key says otherwise.

    Args:
        store: remembers keys.
        request: scope, key and fingerprint.
        prepare: checks the request and gets everything ready that needs no transaction; gives the effect, which runs
            inside the transaction. What either raises reaches the caller, and the key stays free.
        now_ms: the clock.
        metrics: counts replays, conflicts and mismatches.

    Raises:
        Problem: 409 while another attempt runs, 422 where the key belongs to another request.
    """
    outcome: Claim | Done | Replay | InFlight | Mismatch = await store.begin(request, now_ms=now_ms())
    if isinstance(outcome, Claim):
        claim = outcome
        try:
            effect = await prepare()
            outcome = await store.finish(claim, effect, now_ms=now_ms())
        finally:
            await store.release(claim)
    match outcome:
        case Done(response):
            return _response(response, replayed=False)
        case Replay(response):
            metrics.replays.inc()
            return _response(response, replayed=True)
        case InFlight(retry_after_ms):
            metrics.conflicts.inc()
            seconds = max(1, -(-retry_after_ms // 1_000))
            raise Problem(
                409,
                IN_PROGRESS,
                title="Still running",
                detail="An earlier attempt with this Idempotency-Key is still running. Send it again later.",
                headers={"Retry-After": str(seconds)},
            )
        case Mismatch():
            metrics.mismatches.inc()
            raise Problem(
                422,
                KEY_REUSED,
                title="Idempotency-Key reused",
                detail="This Idempotency-Key belongs to a request with another content. Send this one under a key of its own.",
            )


def _response(stored: StoredResponse, *, replayed: bool) -> Response:
    headers = {"Cache-Control": "no-store", **dict(stored.headers)}
    if replayed:
        headers[REPLAYED] = "true"
    return Response(stored.body, stored.status, headers)
