"""What an app says about its job types: where a route goes, how it retries, which form checks it; or which function runs.

Pure descriptions. Sending is `processor.py`, judging answers is `outcome.py`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import quote, urlsplit

from holdfast.backoff import Backoff
from holdfast.errors import InvalidOptionError, InvalidPayloadError
from holdfast.limits import check_one_of, check_text, check_whole_number

if TYPE_CHECKING:
    from holdfast.outcome import Verdict
    from holdfast.ports import Answer
    from holdfast.storage import Durability

USUAL_BATCH = 100
LARGEST_BATCH = 1_000
"""The companion takes no more at once."""

_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
# Browsers take a backslash for a slash and drop line breaks (WHATWG URL, 4.4): with those a path could name a host.
_LETTER = r"[^\s\\{}\x00-\x1f\x7f\ud800-\udfff]"
_URL = re.compile(rf"(?!//)(https?://[\w.:\[\]-]+(?=/|$)|(?![^/]*:))({_LETTER}|\{{[^{{}}]+\}})*")
_PATH = re.compile(rf"/(?!/){_LETTER}*")


class Violation(NamedTuple):
    """One broken rule of a form."""

    pointer: str
    """RFC 6901 JSON Pointer to the field, '' for the whole."""
    message: str
    """What to enter, for the person who fills in the form."""


class Form(Protocol):
    """The rules of a form, the same object in page, worker and server."""

    def parse(self, fields: list[tuple[str, str]]) -> dict[str, Any]:
        """Raw form fields, in order, to a payload. Never raises: what does not fit is kept for `violations`."""
        ...

    def violations(self, payload: Any, files: Sequence[Mapping[str, Any]] = ()) -> list[Violation]:
        """Every broken rule, in the order of the form; `files` are `{field, name, type, size}` each."""
        ...


@dataclass(frozen=True, slots=True)
class Route:
    """A type that is delivered over HTTP. `Registry.route` says what each field is for."""

    type: str
    method: str
    url: str
    queue: str = field(default="default", kw_only=True)
    form: Form | None = field(default=None, kw_only=True)
    backoff: Backoff = field(default_factory=Backoff, kw_only=True)
    attempts: int = field(default=8, kw_only=True)
    summary: tuple[str, ...] = field(default=(), kw_only=True)
    files_field: str = field(default="files", kw_only=True)
    probe: str = field(default="/api/flags", kw_only=True)
    halt: bool = field(default=False, kw_only=True)
    durability: Durability = field(default="strict", kw_only=True)
    batch: bool | int = field(default=False, kw_only=True)
    secrets: frozenset[str] = field(default=frozenset(), kw_only=True)
    receipt: Callable[[Answer, str], bool] | None = field(default=None, kw_only=True)
    classify: Callable[[Answer], Verdict | None] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Raises InvalidOptionError."""
        _check_handler(self)
        check_one_of("method", self.method, ("POST", "PUT", "PATCH", "DELETE"))
        for name in ("url", "files_field"):
            check_text(name, getattr(self, name))
        if not _is_address(self.url):
            raise InvalidOptionError(
                f"url takes a path of our origin, such as '/api/x', or a URL such as 'https://host/x'; not {self.url!r}."
            )
        check_path("probe", self.probe)
        if self.form is not None and not all(
            callable(getattr(self.form, name, None)) for name in ("parse", "violations")
        ):
            raise InvalidOptionError(f"form takes an object with the methods parse and violations; not {self.form!r}.")
        for name in ("summary", "secrets"):
            for field_name in getattr(self, name):
                check_text(name, field_name)
        check_one_of("halt", self.halt, (False, True))
        check_one_of("durability", self.durability, ("strict", "relaxed"))
        if self.form is not None and self.durability == "relaxed":
            raise InvalidOptionError(
                f"The route {self.type!r} has a form, and who submits one is told that it is saved: its durability is strict.",
            )
        for name in ("receipt", "classify"):
            judges = getattr(self, name)
            # What an async function returns is always true: any answer would be a receipt.
            if judges is not None and (not callable(judges) or _is_async(judges)):
                raise InvalidOptionError(f"{name} takes a function that is not async, or nothing; not {judges!r}.")
        _check_batch(self)

    @property
    def is_plain(self) -> bool:
        """Its answers are read by the usual rules alone: what is a receipt shows without asking the app."""
        return self.receipt is None and self.classify is None

    @property
    def most_together(self) -> int:
        """How many of its jobs may share a request."""
        return USUAL_BATCH if self.batch is True else self.batch or 1

    @property
    def origin(self) -> str:
        """Scheme and host of another server, '' for our own."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""

    def url_for(self, payload: Mapping[str, Any]) -> str:
        """The URL with its placeholders filled.

        Raises:
            InvalidPayloadError: the payload lacks a field, or it is neither text nor a number.
        """
        problem = f"the address {self.url} needs a text or a whole number here"

        def fill(match: re.Match[str]) -> str:
            name = match[1]
            value = payload.get(name)
            # Browsers resolve "." and ".." in a path even when they are percent-encoded (WHATWG URL, 4.4).
            if isinstance(value, bool) or not isinstance(value, str | int) or value in {"", ".", ".."}:
                raise InvalidPayloadError([Violation(f"/{name}", problem)])
            try:
                return quote(str(value), safe="")
            except UnicodeEncodeError:
                raise InvalidPayloadError([Violation(f"/{name}", problem)]) from None

        return _PLACEHOLDER.sub(fill, self.url)


@dataclass(frozen=True, slots=True)
class Task:
    """A type that runs a Python function on the device."""

    type: str
    run: Callable[[Any], Awaitable[None]]
    queue: str = field(default="default", kw_only=True)
    backoff: Backoff = field(default_factory=Backoff, kw_only=True)
    attempts: int = field(default=8, kw_only=True)

    def __post_init__(self) -> None:
        """Raises InvalidOptionError."""
        _check_handler(self)
        if not callable(self.run):
            raise InvalidOptionError(f"A task takes a function; not {self.run!r}.")


Handler = Route | Task


def check_path(name: str, value: Any) -> None:
    """Let through the path of a document on a server. Raises InvalidOptionError."""
    if not isinstance(value, str) or not _PATH.fullmatch(value):
        raise InvalidOptionError(f"{name} takes a path that starts with one slash, such as '/api/x'; not {value!r}.")


def _is_address(url: str) -> bool:
    try:
        urlsplit(url).port  # noqa: B018  (raises where host or port are none)
    except ValueError:
        return False
    return _URL.fullmatch(url) is not None


def _is_async(judges: Any) -> bool:
    return iscoroutinefunction(judges) or iscoroutinefunction(type(judges).__call__)


def _check_batch(route: Route) -> None:
    if isinstance(route.batch, bool):
        if not route.batch:
            return
    else:
        check_whole_number("batch", route.batch, least=2)
        if route.batch > LARGEST_BATCH:
            raise InvalidOptionError(f"batch takes {LARGEST_BATCH:,} at most; not {route.batch!r}.")
    if _PLACEHOLDER.search(route.url):
        raise InvalidOptionError(f"batch needs one address for all jobs; {route.url!r} is filled from each payload.")
    # The server says where a lane stops, by the usual rules: a lane judged by others could go on past a failure.
    if route.receipt is not None or route.classify is not None:
        raise InvalidOptionError(
            "batch goes by the companion's receipts and the usual rules: no receipt=, no classify=."
        )


def _check_handler(handler: Handler) -> None:
    check_text("type", handler.type)
    check_text("queue", handler.queue)
    check_whole_number("attempts", handler.attempts, least=1)
    if not isinstance(handler.backoff, Backoff):
        raise InvalidOptionError(f"backoff takes a Backoff; not {handler.backoff!r}.")
