"""The reference app's server: API, built PWA, probe, health and metrics in one ASGI app. The parts are put together here only."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from holdfast_server import flags, openapi, records
from holdfast_server.attachments import Attachments
from holdfast_server.batch import Batch
from holdfast_server.cleaning import clean_now_and_then
from holdfast_server.clients import Clients, as_samples
from holdfast_server.errors import StoreUnavailableError
from holdfast_server.inspections import InspectionRules, Inspections
from holdfast_server.logs import LogRequests
from holdfast_server.measured import MeasuredStore
from holdfast_server.metrics import CountRequests, Metrics
from holdfast_server.middleware import EchoKey, wall_clock_ms
from holdfast_server.opening import open_stores
from holdfast_server.problems import HANDLERS
from holdfast_server.security import SecurityHeaders
from holdfast_server.sessions import Sessions
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
    keys = MeasuredStore(stores.keys, metrics.store_seconds)
    attachments = Attachments(settings.data / "attachments")
    clients = Clients(stores.database, now_ms)
    sessions = Sessions(stores.database, now_ms, settings.sign_in)
    inspections = Inspections(
        database=stores.database,
        keys=keys,
        attachments=attachments,
        rules=rules or reference_rules(),
        limits=settings.limits(),
        metrics=metrics,
        account_of=sessions.account_of,
        now_ms=now_ms,
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await keys.open()
        try:
            if await asyncio.to_thread(attachments.open):
                await asyncio.to_thread(attachments.clean, await stores.database.read(records.referenced()))
                if stores.in_one_folder is not None:
                    await stores.in_one_folder.release_all()
            await asyncio.to_thread(attachments.share)
            async with clean_now_and_then([keys.clean, clients.clean, sessions.clean], now_ms):
                yield
        finally:
            attachments.close()
            await keys.close()

    async def show_flags(_: Request) -> Response:
        disabled = await stores.database.read(flags.read())
        document = {"disabled": disabled, "key_lifetime_ms": KEY_LIFETIME_MS}
        return JSONResponse(document, headers={"Cache-Control": "no-store"})

    async def alive(_: Request) -> Response:
        return JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})

    async def ready(_: Request) -> Response:
        await keys.ready()
        return JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})

    async def show_metrics(_: Request) -> Response:
        try:
            gauges = {"holdfast_store_up": 1.0, **as_samples(await clients.totals())}
        except StoreUnavailableError:
            gauges = {"holdfast_store_up": 0.0}
        return metrics.response(gauges)

    async def show_openapi(_: Request) -> Response:
        return JSONResponse(openapi.document(reference_schema()), headers={"Cache-Control": "no-cache"})

    app = Starlette(
        routes=[
            Route("/api/inspections", inspections.collection, methods=["GET", "POST"]),
            Route("/api/inspections/{id}/photos/{place}", inspections.photo),
            Route("/api/batch", Batch(inspections).answer, methods=["POST"]),
            Route("/api/flags", show_flags),
            Route("/api/metrics", clients.answer, methods=["POST"]),
            Route("/api/openapi.json", show_openapi),
            Route("/api/session", sessions.answer, methods=["GET", "POST", "DELETE"]),
            Route("/submit", Submit(inspections, settings.dist / "index.html").answer, methods=["POST"]),
            Route("/healthz", alive),
            Route("/readyz", ready),
            Route("/metrics", show_metrics),
        ],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.router.default = StaticFiles(settings.dist)
    # Around Starlette as a whole, since its own handler of faults stands outside its middleware.
    return LogRequests(SecurityHeaders(CountRequests(EchoKey(app), metrics)))


def reference_rules() -> InspectionRules:
    """The rules of the reference app's form, the same object that page and worker ask."""
    from app.forms import FORMS  # noqa: PLC0415  (a server with rules of its own does not need the reference app)

    return FORMS[FORM]


def reference_schema() -> Mapping[str, Any]:
    """The JSON schema of that form."""
    from app.forms import SCHEMA  # noqa: PLC0415  (likewise)

    return SCHEMA
