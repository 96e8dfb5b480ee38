"""What an answer means: the whole table, and what a hostile or confused server cannot do."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.lifecycle import Reason
from holdfast.outcome import (
    IN_PROGRESS,
    AuthRequired,
    Conflict,
    Delivered,
    Outcome,
    Rejected,
    Retry,
    Unreachable,
    Wait,
    is_receipt,
    judge,
    needs_probe,
    retry_after_ms,
)
from holdfast.ports import Answer

NOW = 1_800_000_000_000
KEY = "key-1"


def said_by_companion(status: int, body: object = None, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    problem = {"content-type": "application/problem+json"} if body is not None else {}
    return Answer(status, {"idempotency-key": KEY} | problem | named, json.dumps(body))


def outcome(answer: Answer, *, reached: bool = True, no_receipts: int = 0) -> Outcome:
    return judge(answer, answered=is_receipt(answer, KEY), reached=reached, no_receipts=no_receipts, now=NOW)


def meaning(answer: Answer, *, reached: bool = True, no_receipts: int = 0) -> object:
    return outcome(answer, reached=reached, no_receipts=no_receipts).verdict


STATUSES = [
    *((status, Delivered()) for status in (200, 201, 202, 204, 299)),
    *((status, Retry(Reason.SERVER_ERROR)) for status in (408, 425, 500, 502, 503, 504, 507, 599)),
    (429, Retry(Reason.THROTTLED)),
    (401, AuthRequired()),
    (409, Conflict()),
    (412, Conflict()),
    *(
        (status, Rejected(Reason.REFUSED))
        for status in (400, 402, 403, 404, 405, 410, 411, 413, 415, 418, 422, 451, 499)
    ),
]


@pytest.mark.parametrize(("status", "verdict"), STATUSES)
def test_each_status_of_the_companion_has_its_one_meaning(status: int, verdict: object) -> None:
    """The table of the contract, with the echo of our key and the server reachable."""
    assert meaning(said_by_companion(status)) == verdict


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_fault_while_the_server_cannot_be_reached_is_no_attempt(status: int) -> None:
    """Offline is not failure: a gateway's 503 during an outage burns nothing."""
    assert meaning(said_by_companion(status), reached=False) == Unreachable()


@pytest.mark.parametrize("failure", ["network", "timeout"])
def test_no_answer_counts_only_if_the_server_can_be_reached(failure: str) -> None:
    """The probe tells an outage from a request that is too much for the server."""
    answer = Answer(failure=failure)  # type: ignore[arg-type]
    assert meaning(answer, reached=True) == Retry(Reason.NO_ANSWER)
    assert meaning(answer, reached=False) == Unreachable()


@pytest.mark.parametrize("status", [0, 200, 201, 302, 400, 401, 404, 409, 422, 500])
def test_an_answer_that_does_not_name_our_key_is_nobodys(status: int) -> None:
    """A captive portal's 200 completes nothing, its 404 refuses nothing, its 401 signs nobody out."""
    for headers in ({}, {"idempotency-key": "another"}, {"idempotency-key": KEY.upper()}):
        answer = Answer(status, headers)
        assert meaning(answer, reached=False) == Unreachable()
        assert meaning(answer, no_receipts=0) == Retry(Reason.NO_RECEIPT)
        assert meaning(answer, no_receipts=1) == Retry(Reason.NO_RECEIPT)
        assert meaning(answer, no_receipts=2) == Rejected(Reason.NO_RECEIPT)


def test_the_third_answer_without_a_receipt_does_not_count_during_an_outage() -> None:
    """Three foreign answers put a job aside only with the server reachable."""
    assert meaning(Answer(200), reached=False, no_receipts=5) == Unreachable()


def test_a_run_that_goes_on_is_waited_for() -> None:
    """409 with the companion's problem type is no conflict; it waits as long as the server says, else a second."""
    running = {"type": IN_PROGRESS, "title": "Still running"}
    assert meaning(said_by_companion(409, running, retry_after="7")) == Wait(7_000)
    assert meaning(said_by_companion(409, running)) == Wait(1_000)
    assert meaning(said_by_companion(409, {"type": "urn:other"})) == Conflict()


def test_an_earlier_attempt_that_still_runs_leaves_the_outcome_unknown() -> None:
    """The key was named, yet nobody knows how it ends: editing now could do it twice."""
    running = said_by_companion(409, {"type": IN_PROGRESS})
    assert not outcome(running).answered
    assert outcome(said_by_companion(422)).answered
    assert not outcome(Answer(422)).answered


def test_the_server_may_ask_for_a_longer_wait() -> None:
    """`Retry-After` in seconds is taken over."""
    assert meaning(said_by_companion(503, retry_after="120")) == Retry(Reason.SERVER_ERROR, 120_000)
    assert meaning(said_by_companion(429, retry_after=" 3 ")) == Retry(Reason.THROTTLED, 3_000)


@contextmanager
def device_in(zone: str) -> Iterator[None]:
    """This device's time zone, where Python can set it (in a browser it cannot)."""
    tzset = getattr(time, "tzset", lambda: None)
    before = os.environ.get("TZ")
    os.environ["TZ"] = zone
    tzset()
    try:
        yield
    finally:
        os.environ.pop("TZ")
        if before is not None:
            os.environ["TZ"] = before
        tzset()


LATER = datetime.fromtimestamp(NOW / 1_000 + 90, UTC)


@pytest.mark.parametrize(
    "text",
    [
        format_datetime(LATER, usegmt=True),
        LATER.strftime("%A, %d-%b-%y %H:%M:%S GMT"),
        LATER.strftime("%a %b %d %H:%M:%S %Y"),
    ],
    ids=["IMF-fixdate", "RFC 850", "asctime"],
)
def test_a_retry_date_is_understood_in_every_form_of_http(text: str) -> None:
    """RFC 9110, 5.6.7: all three forms are UTC, whatever the zone of this device."""
    for zone in ("UTC", "Asia/Tokyo"):
        with device_in(zone):
            assert retry_after_ms(text, NOW) == 90_000


@pytest.mark.parametrize("text", ["", "soon", "-5", "1.5", "²", "١٢", "Mon, 99 Foo 2026 99:99:99 GMT", "0", "\x00"])
def test_a_malformed_or_past_wait_is_none(text: str) -> None:
    """Garbage asks for nothing."""
    assert retry_after_ms(text, NOW) == 0


def test_a_past_date_asks_for_nothing() -> None:
    """A server whose clock is behind does not make waits negative."""
    assert retry_after_ms("Sun, 06 Nov 1994 08:49:37 GMT", NOW) == 0


@given(st.text(max_size=80))
@example("Fri, 31 Dec 9999 23:59:59 -1200")
@example("Mon, 01 Jan 0001 00:00:00 +1400")
@example("Mon, 01 Jan 0001 00:00:00 -0000")
@example("9" * 5_000)
def test_no_text_in_retry_after_breaks_anything(text: str) -> None:
    """Whatever a server sends there, a wait comes out, and one that ends in a person's lifetime."""
    assert 0 <= retry_after_ms(text, NOW) <= 1_000_000_000_000


@given(
    st.integers(0, 999),
    st.dictionaries(st.sampled_from(["idempotency-key", "content-type", "retry-after"]), st.text(max_size=20)),
    st.text(max_size=40),
    st.sampled_from(["", "network", "timeout"]),
    st.booleans(),
    st.integers(0, 5),
)
@example(500, {"idempotency-key": KEY, "content-type": "application/problem+json"}, "[" * 100_000, "", True, 0)
@example(400, {"idempotency-key": KEY, "content-type": "application/json"}, '{"detail": NaN}', "", True, 0)
@example(400, {"idempotency-key": KEY, "content-type": "application/json"}, '{"detail": 1e999}', "", True, 0)
def test_every_answer_means_something_that_can_be_stored(
    status: int, headers: dict[str, str], body: str, failure: str, reached: bool, no_receipts: int
) -> None:
    """No answer raises, only a receipt delivers, and what is kept of it is strict JSON."""
    answer = Answer(status, headers, body, failure)  # type: ignore[arg-type]
    found = outcome(answer, reached=reached, no_receipts=no_receipts)
    json.dumps(found.said, allow_nan=False)
    if found.verdict == Delivered():
        assert headers.get("idempotency-key") == KEY
        assert 200 <= status < 300
        assert not failure
    if not needs_probe(answer, answered=is_receipt(answer, KEY)):
        assert found == outcome(answer, reached=not reached, no_receipts=no_receipts)


def test_the_problem_documents_words_are_kept_for_the_person() -> None:
    """Status, type, title, detail and errors of RFC 9457; nothing else, and nothing of a success."""
    problem = {"type": "urn:x", "title": "No", "detail": "Why", "errors": [{"pointer": "/a"}], "trace": "secret"}
    said = outcome(said_by_companion(422, problem)).said
    assert said == {"status": 422} | {name: problem[name] for name in ("type", "title", "detail", "errors")}
    done = outcome(said_by_companion(201, problem))
    assert done.said == {"status": 201}
