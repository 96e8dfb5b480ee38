"""Logs as JSON lines on standard error: what happened, with the key, and never a body, a query, a cookie or a password.

An error's own words may repeat what was sent (databases quote rows), so of an error the log has its type and where it arose;
only our own errors, whose sentences are ours, are quoted.
"""

import json
import logging
import traceback
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast_server.errors import HoldfastServerError

REQUESTS: Final = logging.getLogger("holdfast_server.requests")
_PATH_LIMIT: Final = 500

CONFIG: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "holdfast_server.logs.JsonLines"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
    "loggers": {
        name: {"handlers": ["stderr"], "level": "INFO", "propagate": False} for name in ("uvicorn", "holdfast_server")
    }
    | {"psycopg.pool": {"handlers": ["stderr"], "level": "ERROR", "propagate": False}},
}


class JsonLines(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, and what the record brings in `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": "" if record.exc_info and record.name.startswith("uvicorn") else record.getMessage(),
            **getattr(record, "fields", {}),
        }
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            line["message"] = line["message"] or "A request failed."
            line["error"] = _described(error)
        return json.dumps(line, ensure_ascii=True, default=str)


def _described(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)
    described: dict[str, Any] = {
        "type": f"{type(error).__module__}.{type(error).__qualname__}",
        "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    if isinstance(error, HoldfastServerError):
        described["said"] = str(error)
    if error.__cause__ is not None:
        described["cause"] = _described(error.__cause__)
    return described


class LogRequests:
    """One line for each request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = perf_counter()
        fields: dict[str, Any] = {"method": scope["method"], "path": scope["path"][:_PATH_LIMIT], "status": None}
        key = Headers(scope=scope).get("idempotency-key")
        if key is not None:
            fields["key"] = key[:255]

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                fields["status"] = message["status"]
                if any(name.lower() == b"idempotency-replayed" for name, _ in message.get("headers", ())):
                    fields["replayed"] = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            fields["duration_ms"] = round((perf_counter() - start) * 1_000, 1)
            REQUESTS.info("request", extra={"fields": fields})
