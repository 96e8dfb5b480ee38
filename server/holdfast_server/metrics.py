"""What the server counts, for Prometheus. One registry per app, so that two apps in a process do not mix.

Where several processes serve, each writes its numbers to files in one folder (`shared_between_processes`), and whichever is
asked gives the sums of all.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
_LIVE_FILE: Final = re.compile(r"gauge_live\w*_(\d+)\.db")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The counters, and the answer of `/metrics`."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "holdfast_requests", "Requests answered.", ["method", "status"], registry=self._registry
        )
        self.replays = Counter(
            "holdfast_replays", "Requests answered with the stored answer of their key.", registry=self._registry
        )
        self.conflicts = Counter(
            "holdfast_conflicts", "Requests refused because their key was still running.", registry=self._registry
        )
        self.mismatches = Counter(
            "holdfast_mismatches", "Requests refused because their key had another body.", registry=self._registry
        )
        self.in_flight = Gauge(
            "holdfast_in_flight",
            "Requests being answered now.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self.store_seconds = Histogram(
            "holdfast_store_seconds",
            "How long a step of the key store took.",
            ["step"],
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=self._registry,
        )

    def response(self, gauges: Mapping[str, float]) -> Response:
        """All metrics in Prometheus' text format, and what was looked up just now."""
        registry = self._registry
        folder = os.environ.get(_FOLDER)
        if folder:
            _forget_the_dead(Path(folder))
            registry = CollectorRegistry()
            MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]  # the library's signature lacks types
        text = generate_latest(registry)
        for name, value in gauges.items():
            text += f"# TYPE {name} gauge\n{name} {float(value)}\n".encode()
        return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})


@contextmanager
def shared_between_processes() -> Iterator[None]:
    """Let processes that are started inside this block count together."""
    with TemporaryDirectory(prefix="holdfast-metrics-") as folder:
        os.environ[_FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[_FOLDER]


def _forget_the_dead(folder: Path) -> None:
    """A process that was killed runs nothing any more."""
    for path in folder.iterdir():
        match = _LIVE_FILE.fullmatch(path.name)
        if match and not Path("/proc", match[1]).exists() and Path("/proc/self").exists():
            path.unlink(missing_ok=True)


class CountRequests:
    """Counts every request by method and status, and those in flight."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "other"

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests.labels(method, message["status"]).inc()
            await send(message)

        with self._metrics.in_flight.track_inprogress():
            await self._app(scope, receive, counted)
