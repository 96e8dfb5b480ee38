"""Which requests go by their key: endpoints marked with `@idempotent()` (Starlette, FastAPI), or paths (any ASGI app)."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from starlette.concurrency import run_in_threadpool
from starlette.routing import compile_path
from starlette.types import Scope

from holdfast_server.exchange import current_exchange

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
Find = Callable[[Scope], bool | None]
"""Whether a request goes by its key: None, it does not; else whether it must have one."""


def idempotent(*, required: bool = True) -> Callable[[Endpoint], Endpoint]:
    """Mark an endpoint: behind `IdempotencyMiddleware` its body runs at most once for a key. Put it below the route:

        @app.post("/orders")
        @idempotent()
        async def create(order: Order): ...

    What runs before the endpoint (validation, dependencies) runs at every attempt, and a refusal there is not remembered.

    Args:
        required: refuse a request without a key (400). Turn it off while old clients that send none are about.
    """

    def mark(endpoint: Endpoint) -> Endpoint:
        is_async = inspect.iscoroutinefunction(endpoint)

        @wraps(endpoint)
        async def once(*arguments: Any, **named: Any) -> Any:
            await current_exchange().begin(required=required)
            if is_async:
                return await endpoint(*arguments, **named)
            return await run_in_threadpool(endpoint, *arguments, **named)

        return cast("Endpoint", once)

    return mark


def paths(*templates: str, required: bool = True) -> Find:
    """The requests for `"POST /orders"`, `"PUT /orders/{id}"` and so on, in an app of any framework."""
    known = [(method, compile_path(path)[0]) for method, _, path in (text.partition(" ") for text in templates)]

    def find(scope: Scope) -> bool | None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        return required if any(method == scope["method"] and regex.match(path) for method, regex in known) else None

    return find
