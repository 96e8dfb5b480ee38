"""The key over HTTP: read from the request, named on every answer."""

from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast_server.idempotency import key_fault
from holdfast_server.problems import MALFORMED_KEY, MISSING_KEY, Problem

KEY: Final = "Idempotency-Key"


class EchoKey:
    """Names the request's key on its answer, whatever the answer is: a client takes one without it for nobody's answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        keys = Headers(scope=scope).getlist(KEY) if scope["type"] == "http" else []
        await self._app(scope, receive, echoing(keys, send) if keys else send)


def echoing(keys: list[str], send: Send) -> Send:
    """A `send` that names the keys on the answer."""
    echo = [(KEY.lower().encode(), key.encode("latin-1")) for key in keys]

    async def echoed(message: Message) -> None:
        if message["type"] == "http.response.start":
            others = [(name, value) for name, value in message.get("headers", ()) if name.lower() != echo[0][0]]
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
