"""The reference app's server: API, built PWA, probe, health and metrics in one ASGI app. The parts are put together here only."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from holdfast_server import records
from holdfast_server.attachments import Attachments
from holdfast_server.cleaning import clean_now_and_then
from holdfast_server.inspections import InspectionRules, Inspections
from holdfast_server.metrics import CountRequests, Metrics
from holdfast_server.middleware import EchoKey, wall_clock_ms
from holdfast_server.opening import open_stores
from holdfast_server.problems import HANDLERS
from holdfast_server.security import SecurityHeaders
from holdfast_server.settings import Settings
from holdfast_server.static import StaticFiles
from holdfast_server.submit import Submit

FORM: Final = "inspection.create"
KEY_LIFETIME_MS: Final = None
"""Inspections keep their keys for ever, in a unique column, whatever becomes of the key store: a repeat is always told."""


def create_app(
    settings: Settings, *, rules: InspectionRules | None = None, now_ms: Callable[[], int] = wall_clock_ms
) -> ASGIApp:
    """Put the app together. Nothing is opened before its lifespan starts.

    Args:
        settings: where everything is.
        rules: of the form; by default those of `app.forms`.
        now_ms: the clock.

    Raises:
        UnsupportedStoreError: a URL names another kind of store.
    """
    metrics = Metrics()
    stores = open_stores(
        settings.store,
        settings.database,
        settings.data,
        key_lifetime_ms=settings.key_lifetime_ms,
        lease_ms=settings.lease_ms,
    )
    attachments = Attachments(settings.data / "attachments")

    async def nobody(_: Request) -> str:
        return ""

    inspections = Inspections(
        database=stores.database,
        keys=stores.keys,
        attachments=attachments,
        rules=rules or reference_rules(),
        limits=settings.limits(),
        metrics=metrics,
        account_of=nobody,
        now_ms=now_ms,
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await stores.keys.open()
        try:
            if await asyncio.to_thread(attachments.open):
                await asyncio.to_thread(attachments.clean, await stores.database.read(records.referenced()))
                if stores.in_one_folder is not None:
                    await stores.in_one_folder.release_all()
            await asyncio.to_thread(attachments.share)
            async with clean_now_and_then([stores.keys.clean], now_ms):
                yield
        finally:
            attachments.close()
            await stores.keys.close()

    async def flags(_: Request) -> Response:
        document = {"disabled": {"all": False, "queues": [], "types": []}, "key_lifetime_ms": KEY_LIFETIME_MS}
        return JSONResponse(document, headers={"Cache-Control": "no-store"})

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})

    async def show_metrics(_: Request) -> Response:
        return metrics.response()

    app = Starlette(
        routes=[
            Route("/api/inspections", inspections.collection, methods=["GET", "POST"]),
            Route("/api/inspections/{id}/photos/{place}", inspections.photo),
            Route("/api/flags", flags),
            Route("/submit", Submit(inspections, settings.dist / "index.html").answer, methods=["POST"]),
            Route("/healthz", health),
            Route("/metrics", show_metrics),
        ],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.router.default = StaticFiles(settings.dist)
    # Around Starlette as a whole, since its own handler of faults stands outside its middleware.
    return SecurityHeaders(CountRequests(EchoKey(app), metrics))


def reference_rules() -> InspectionRules:
    """The rules of the reference app's form, the same object that page and worker ask."""
    from app.forms import FORMS  # noqa: PLC0415  (a server with rules of its own does not need the reference app)

    return FORMS[FORM]
