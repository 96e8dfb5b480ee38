"""The reference app's server: API, built PWA, probe, health and metrics in one ASGI app. The parts are put together here only."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from holdfast_server import records
from holdfast_server.attachments import Attachments
from holdfast_server.errors import UnsupportedStoreError
from holdfast_server.inspections import InspectionRules, Inspections
from holdfast_server.limits import Limits
from holdfast_server.metrics import CountRequests, Metrics
from holdfast_server.middleware import EchoKey
from holdfast_server.problems import HANDLERS
from holdfast_server.security import SecurityHeaders
from holdfast_server.static import StaticFiles
from holdfast_server.stores.sqlite import SqliteDatabase, SqliteKeyStore
from holdfast_server.submit import Submit

SQLITE: Final = "sqlite:///"
FORM: Final = "inspection.create"


def wall_clock_ms() -> int:
    """Now, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def create_app(
    data_dir: Path,
    dist_dir: Path,
    store_url: str = "",
    *,
    rules: InspectionRules | None = None,
    limits: Limits | None = None,
    now_ms: Callable[[], int] = wall_clock_ms,
) -> ASGIApp:
    """Put the app together. Nothing is opened before its lifespan starts.

    Args:
        data_dir: holds database and attachments; made if absent.
        dist_dir: what `holdfast build` wrote.
        store_url: `sqlite:///path`; '' is a file in `data_dir`.
        rules: of the form; by default those of `app.forms`.
        limits: on request bodies.
        now_ms: the clock.

    Raises:
        UnsupportedStoreError: the URL names another kind of store.
    """
    metrics = Metrics()
    database = SqliteDatabase(sqlite_path(store_url, data_dir), records.MIGRATIONS)
    keys = SqliteKeyStore(database)
    attachments = Attachments(data_dir / "attachments")
    inspections = Inspections(
        database=database,
        keys=keys,
        attachments=attachments,
        rules=rules or reference_rules(),
        limits=limits or Limits(),
        metrics=metrics,
        now_ms=now_ms,
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await database.open()
        try:
            if await asyncio.to_thread(attachments.open):
                await asyncio.to_thread(attachments.clean, await database.read(records.referenced))
            await asyncio.to_thread(attachments.share)
            yield
        finally:
            attachments.close()
            await database.close()

    async def flags(_: Request) -> Response:
        document = {"disabled": {"all": False, "queues": [], "types": []}, "key_lifetime_ms": keys.key_lifetime_ms}
        return JSONResponse(document, headers={"Cache-Control": "no-store"})

    async def health(_: Request) -> Response:
        await database.read(lambda connection: connection.execute("SELECT 1").fetchone())
        return JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})

    async def show_metrics(_: Request) -> Response:
        return metrics.response()

    app = Starlette(
        routes=[
            Route("/api/inspections", inspections.collection, methods=["GET", "POST"]),
            Route("/api/inspections/{id}/photos/{place}", inspections.photo),
            Route("/api/flags", flags),
            Route("/submit", Submit(inspections, dist_dir / "index.html").answer, methods=["POST"]),
            Route("/healthz", health),
            Route("/metrics", show_metrics),
        ],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.router.default = StaticFiles(dist_dir)
    # Around Starlette as a whole, since its own handler of faults stands outside its middleware.
    return SecurityHeaders(CountRequests(EchoKey(app), metrics))


def sqlite_path(store_url: str, data_dir: Path) -> Path:
    """The database file a store URL names: `sqlite:///relative` or `sqlite:////absolute`; '' is a file in `data_dir`.

    Raises:
        UnsupportedStoreError: it names another kind of store, or no file.
    """
    if not store_url:
        return data_dir / "holdfast.sqlite3"
    path = store_url.removeprefix(SQLITE)
    if path in (store_url, ""):
        raise UnsupportedStoreError(
            f"The store {store_url!r} is none this version can open. Use sqlite:///path/to/file."
        )
    return Path(path)


def reference_rules() -> InspectionRules:
    """The rules of the reference app's form, the same object that page and worker ask."""
    from app.forms import FORMS  # noqa: PLC0415  (a server with rules of its own does not need the reference app)

    return FORMS[FORM]
