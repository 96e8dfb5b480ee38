"""Errors as problem documents (RFC 9457). A problem says what is wrong with the request; it never says how the server works."""

import json
import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from holdfast_server.errors import StoreUnavailableError

_LOG: Final = logging.getLogger("holdfast_server")

MEDIA_TYPE: Final = "application/problem+json"
_TYPES: Final = "urn:holdfast:problem:"

MISSING_KEY: Final = f"{_TYPES}missing-key"
MALFORMED_KEY: Final = f"{_TYPES}malformed-key"
IN_PROGRESS: Final = f"{_TYPES}in-progress"
KEY_REUSED: Final = f"{_TYPES}key-reused"
INVALID: Final = f"{_TYPES}invalid"
MALFORMED_BODY: Final = f"{_TYPES}malformed-body"
TOO_LARGE: Final = f"{_TYPES}too-large"
UNAVAILABLE: Final = f"{_TYPES}unavailable"
SIGNED_OUT: Final = f"{_TYPES}signed-out"
OTHER_ACCOUNT: Final = f"{_TYPES}other-account"
SIGN_IN_REFUSED: Final = f"{_TYPES}sign-in-refused"
TOO_MANY_SIGN_INS: Final = f"{_TYPES}too-many-sign-ins"
OTHER_SITE: Final = f"{_TYPES}other-site"
NOT_RUN: Final = f"{_TYPES}not-run"
NOT_BATCHED: Final = f"{_TYPES}not-batched"
PLAIN: Final = "about:blank"
"""The problem is the status itself (RFC 9457, 4.2.1)."""


class Problem(Exception):  # noqa: N818  (the RFC's word for it)
    """A request that gets no success. Raise it anywhere below a route.

    Args:
        status: the HTTP status.
        type: a URI that names the kind of problem; PLAIN where the status says it all.
        detail: for the person or developer who sent this request: what happened, and what to do.
        errors: `(JSON pointer, detail)` of each broken rule.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        type: str = PLAIN,  # noqa: A002  (the member's name in RFC 9457)
        *,
        title: str = "",
        detail: str = "",
        errors: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.type = type
        self.title = title or HTTPStatus(status).phrase
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})
        super().__init__(f"{status} {self.title}: {detail}")

    def document(self) -> dict[str, Any]:
        """The members of the problem document."""
        document: dict[str, Any] = {"type": self.type, "title": self.title, "status": self.status}
        if self.detail:
            document["detail"] = self.detail
        if self.errors:
            document["errors"] = [{"pointer": pointer, "detail": detail} for pointer, detail in self.errors]
        return document

    def response(self) -> Response:
        """The answer."""
        body = json.dumps(self.document(), ensure_ascii=False).encode("utf-8", "replace")
        return Response(body, self.status, {"Cache-Control": "no-store", **self.headers}, media_type=MEDIA_TYPE)


def refuse_other_sites(request: Request) -> None:
    """A page elsewhere could make a visitor's browser send a request; browsers say where one comes from.

    Raises:
        Problem: 403, it comes from there.
    """
    if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise Problem(403, OTHER_SITE, detail="This was sent from another site.")


def too_large(detail: str) -> Problem:
    """The body, or a part of it, is over its cap."""
    return Problem(413, TOO_LARGE, detail=detail)


def malformed_body(detail: str) -> Problem:
    """The body cannot be read as what it says it is."""
    return Problem(400, MALFORMED_BODY, title="Malformed body", detail=detail)


def malformed_request() -> Problem:
    """What came is no HTTP request, or its headers are too long."""
    return Problem(400, detail="This is no well-formed HTTP request, or its headers are too long.")


def unavailable() -> Problem:
    """The database or the disk cannot take the write right now."""
    detail = "The server cannot store this right now. Nothing was changed; send it again."
    return Problem(503, UNAVAILABLE, detail=detail, headers={"Retry-After": "5"})


async def answer_problem(_: Request, error: Exception) -> Response:
    """Starlette's handler for `Problem`."""
    assert isinstance(error, Problem)  # noqa: S101  (registered for this class)
    return error.response()


async def answer_http(_: Request, error: Exception) -> Response:
    """Starlette's handler for its own 404, 405 and the like."""
    assert isinstance(error, HTTPException)  # noqa: S101  (registered for this class)
    return Problem(error.status_code, headers=error.headers).response()


async def answer_store(_: Request, error: Exception) -> Response:
    """Starlette's handler for a database or disk that cannot take a write."""
    assert isinstance(error, StoreUnavailableError)  # noqa: S101  (registered for this class)
    _LOG.error("The store cannot take a write: %s", error)
    return unavailable().response()


async def answer_disk(_: Request, error: Exception) -> Response:
    """Starlette's handler for a disk that is full or gone."""
    _LOG.error("The disk cannot take a file.", exc_info=error)
    return unavailable().response()


def fault(error: Exception) -> Problem:
    """One of many requests failed by a fault of the server: the log has the error, the answer does not."""
    _LOG.error("An item of a batch failed.", exc_info=error)
    return _fault()


def _fault() -> Problem:
    return Problem(500, detail="The server failed on this request. Nothing was stored; send it again later.")


async def answer_fault(_: Request, __: Exception) -> Response:
    """Starlette's handler for a fault of the server: uvicorn logs the error, the answer says nothing of it."""
    return _fault().response()


HANDLERS: Final = {
    Problem: answer_problem,
    HTTPException: answer_http,
    StoreUnavailableError: answer_store,
    OSError: answer_disk,
    Exception: answer_fault,
}
