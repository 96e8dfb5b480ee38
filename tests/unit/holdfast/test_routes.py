"""What an app may say about its types, and where a job goes."""

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import Outbox
from holdfast.errors import InvalidOptionError, InvalidPayloadError
from holdfast.routes import Route
from holdfast.transactions.tidy import Retention
from tests.support.device import Device


def test_a_placeholder_is_filled_from_the_payload() -> None:
    """Text and whole numbers; other fields do not matter."""
    route = Route("t", "PUT", "/sites/{site}/reports/{number}")
    assert route.url_for({"site": "Lock 7", "number": 12, "x": 1}) == "/sites/Lock%207/reports/12"


@given(st.text(min_size=1))
def test_no_text_can_leave_its_place_in_the_address(text: str) -> None:
    """A payload changes one segment of the path: never the host, the query or the number of segments."""
    if text in {".", ".."} or any("\ud800" <= letter <= "\udfff" for letter in text):
        return  # refused, as other tests show
    url = Route("t", "POST", "/a/{name}/b").url_for({"name": text})
    assert urlsplit(url).netloc == ""
    first, a, segment, b = url.split("/")
    assert (first, a, b) == ("", "a", "b")
    assert unquote(segment) == text


@pytest.mark.parametrize("name", [".", ".."])
def test_a_dot_segment_does_not_climb(name: str) -> None:
    """A browser resolves `..` in a path even when it is percent-encoded, so it must not get there."""
    with pytest.raises(InvalidPayloadError):
        Route("t", "POST", "/a/{name}/b").url_for({"name": name})


@pytest.mark.parametrize("value", [None, "", True, 1.5, [], {}, "\ud800"], ids=repr)
def test_a_field_that_is_no_address_is_refused(value: object) -> None:
    """Only text and whole numbers make an address; the violation points at the field."""
    with pytest.raises(InvalidPayloadError) as refused:
        Route("t", "POST", "/a/{name}").url_for({"name": value})
    assert [violation.pointer for violation in refused.value.violations] == ["/name"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "post", "", "OPTIONS", "TRACE"])
def test_only_methods_that_write_make_a_route(method: str) -> None:
    """A queue of writes refuses the rest at once."""
    with pytest.raises(InvalidOptionError, match="method"):
        Route("t", method, "/x")


def test_a_route_gives_a_job_at_least_one_attempt() -> None:
    """None would fail before it was tried."""
    with pytest.raises(InvalidOptionError, match="attempts"):
        Route("t", "POST", "/x", attempts=0)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("/api/x", ""),
        ("api/x", ""),
        ("/", ""),
        ("/sites/{the site: its name}/a:b?c=d#é", ""),
        ("https://other.example/x", "https://other.example"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("https://[::1]:8443/{site}", "https://[::1]:8443"),
    ],
)
def test_the_origin_is_that_of_the_address(url: str, origin: str) -> None:
    """'' is our own."""
    assert Route("t", "POST", url).origin == origin


def test_a_type_has_one_route() -> None:
    """The second one is refused instead of winning silently."""
    outbox = Outbox("test", app_version=1)
    outbox.route("t", "POST", "/x")
    with pytest.raises(InvalidOptionError, match="'t'"):
        outbox.route("t", "POST", "/y")


async def never(*_given: object) -> bool:
    """What it returns is true whatever comes: no judge of answers."""
    return False


class Never:
    """The same as an object."""

    async def __call__(self, *_given: object) -> bool:
        return False


@pytest.mark.parametrize(
    "wrong",
    [
        {"type_": ""},
        {"type_": 5},
        {"method": ["POST"]},
        {"url": ""},
        {"url": None},
        {"url": "//other.example/x"},
        {"url": "/\\other.example/x"},
        {"url": "/\t/other.example/x"},
        {"url": "ftp://other.example/x"},
        {"url": "javascript:x"},
        {"url": "http://"},
        {"url": "https://me:pin@other.example/x"},
        {"url": "https://other.example:x/"},
        {"url": "https://[other/"},
        {"url": "/x\ud800"},
        {"url": "/x{"},
        {"url": "/x}"},
        {"url": "/x{}"},
        {"form": "x"},
        {"form": {}},
        {"queue": ""},
        {"queue": 1},
        {"attempts": 0},
        {"attempts": "8"},
        {"attempts": True},
        {"attempts": 1.5},
        {"backoff": 1_000},
        {"backoff": 0},
        {"backoff": {}},
        {"summary": "text"},
        {"summary": [1]},
        {"summary": None},
        {"summary": 5},
        {"files_field": ""},
        {"probe": None},
        {"probe": "x"},
        {"probe": "//other.example/x"},
        {"probe": "https://other.example/x"},
        {"halt": 1},
        {"durability": "eventual"},
        {"durability": []},
        {"batch": 0},
        {"batch": 1},
        {"batch": -5},
        {"batch": 1_001},
        {"batch": "yes"},
        {"batch": 2.0},
        {"batch": None},
        {"secrets": "pin"},
        {"secrets": [""]},
        {"secrets": None},
        {"secrets": b"pin"},
        {"receipt": "2xx"},
        {"receipt": never},
        {"receipt": Never()},
        {"classify": True},
        {"classify": never},
    ],
    ids=lambda wrong: repr(wrong).split(" at 0x")[0],
)
def test_every_option_of_a_route_is_checked(wrong: dict[str, object]) -> None:
    """At import, by name, and nothing is registered."""
    outbox = Outbox("test", app_version=1)
    right: dict[str, object] = {"type_": "t", "method": "POST", "url": "/x"}
    [name] = wrong
    with pytest.raises(InvalidOptionError, match=name.removesuffix("_")):
        outbox.route(**(right | wrong))  # type: ignore[arg-type]
    assert outbox.handlers == {}


@pytest.mark.parametrize(
    "other",
    [{"url": "/sites/{site}"}, {"receipt": lambda _answer, _key: True}, {"classify": lambda _answer: None}],
    ids=lambda other: next(iter(other)),
)
def test_what_cannot_go_in_a_batch_is_refused_with_it(other: dict[str, object]) -> None:
    """The server says where a lane stops, by the usual rules, and items of a batch have one address each."""
    right: dict[str, object] = {"type_": "t", "method": "POST", "url": "/x"}
    Outbox("test", app_version=1).route(**(right | other))  # type: ignore[arg-type]
    with pytest.raises(InvalidOptionError, match="batch"):
        Outbox("test", app_version=1).route(**(right | other), batch=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(("batch", "most"), [(False, 1), (True, 100), (2, 2), (1_000, 1_000)])
def test_a_batch_has_a_limit(batch: bool | int, most: int) -> None:
    """A hundred unless the app says otherwise."""
    assert Route("t", "POST", "/x", batch=batch).most_together == most


@pytest.mark.parametrize(
    "wrong", [{"queue": ""}, {"attempts": -1}, {"backoff": None, "attempts": None}, {"backoff": False}], ids=repr
)
def test_every_option_of_a_task_is_checked(wrong: dict[str, object]) -> None:
    """As those of a route."""
    outbox = Outbox("test", app_version=1)
    with pytest.raises(InvalidOptionError):

        @outbox.task("t", **wrong)  # type: ignore[arg-type]
        async def run(payload: object) -> None: ...


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"name": None}, {"concurrency": 0}, {"concurrency": "2"}, {"depth": -1}], ids=repr
)
def test_every_option_of_a_queue_is_checked(wrong: dict[str, object]) -> None:
    """By name; a queue is set up once."""
    outbox = Outbox("test", app_version=1)
    [name] = wrong
    with pytest.raises(InvalidOptionError, match=name):
        outbox.queue(**({"name": "q"} | wrong))  # type: ignore[arg-type]
    outbox.queue("q")
    with pytest.raises(InvalidOptionError, match="already"):
        outbox.queue("q")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": 5},
        {"app_version": -1},
        {"app_version": "1"},
        {"retention": {"failed_ms": 5}},
        {"retention": 0},
        {"reports": 5},
        {"reports": "/\\other.example"},
    ],
    ids=repr,
)
def test_every_option_of_an_outbox_is_checked(wrong: dict[str, object]) -> None:
    """Its database is named after it."""
    with pytest.raises(InvalidOptionError, match=next(iter(wrong))):
        Outbox(**({"name": "test", "app_version": 1} | wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"finished_ms": -1}, {"finished_count": "many"}, {"failed_ms": -1}, {"failed_ms": 1.5}], ids=repr
)
def test_every_option_of_a_retention_is_checked(wrong: dict[str, object]) -> None:
    """A negative time would prune what has just come."""
    with pytest.raises(InvalidOptionError, match=next(iter(wrong))):
        Retention(**wrong)  # type: ignore[arg-type]


async def test_a_queue_that_nobody_would_serve_is_refused() -> None:
    """Once the outbox is open: a type may still join a queue that is served."""
    outbox = await Device().context()
    with pytest.raises(InvalidOptionError, match=r"'late' is new .* before `open`"):
        outbox.route("late", "POST", "/api/late", queue="late")
    assert "late" not in outbox.handlers
    outbox.route("late", "POST", "/api/late", queue="notes")
    assert "late" in outbox.handlers
    with pytest.raises(InvalidOptionError, match=r"open already: set up the queue 'photos' before `open`"):
        outbox.queue("photos", concurrency=4)
