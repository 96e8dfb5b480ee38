"""What the server counts, for Prometheus. One registry per app, so that two apps in a process do not mix."""

from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
        self.in_flight = Gauge("holdfast_in_flight", "Requests being answered now.", registry=self._registry)

    def response(self) -> Response:
        """All metrics in Prometheus' text format."""
        headers = {"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"}
        return Response(generate_latest(self._registry), headers=headers)


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
