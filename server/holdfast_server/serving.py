"""From settings to running processes: uvicorn with one process, or several behind one socket."""

import asyncio
import multiprocessing
import signal
from contextlib import nullcontext

import uvicorn
from starlette.types import ASGIApp

from holdfast_server.app import create_app
from holdfast_server.logs import CONFIG
from holdfast_server.metrics import shared_between_processes
from holdfast_server.protocol import Protocol
from holdfast_server.settings import Settings

GRACE_SECONDS = 30
"""How long what runs may take to finish after SIGTERM."""

KEEP_ALIVE_SECONDS = 75
"""Longer than clients and proxies keep a connection: who closes last never cuts off a request that is on its way."""


def worker_app() -> ASGIApp:
    """The app of a worker process."""
    _end_with_parent()
    return create_app(Settings.received())


def _end_with_parent() -> None:
    """Shut down as after SIGTERM when the parent dies, however it dies: workers left alone would keep its address."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101  (only workers come here)
    loop, sentinel = asyncio.get_running_loop(), parent.sentinel

    def end() -> None:
        loop.remove_reader(sentinel)
        signal.raise_signal(signal.SIGTERM)

    loop.add_reader(sentinel, end)


def run(settings: Settings, *, host: str, port: int, workers: int) -> None:
    """Serve until a signal ends it.

    Raises:
        UnsupportedStoreError: a URL names another kind of store.
    """
    app = create_app(settings)  # whatever is wrong with the settings is said once, here
    settings.pass_on()
    with shared_between_processes() if workers > 1 else nullcontext():
        uvicorn.run(
            app if workers == 1 else "holdfast_server.serving:worker_app",
            factory=workers > 1,
            workers=workers,
            host=host,
            port=port,
            http=Protocol,
            ws="none",
            lifespan="on",
            server_header=False,
            access_log=False,
            log_config=CONFIG,
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
