"""What can be stored is let through, everything else is refused before anything is stored."""

import json
from typing import Any

import pytest

from holdfast.errors import InvalidOptionError, QueueFullError, SecretError, TooLargeError, UsageError
from holdfast.job import File
from holdfast.limits import (
    ATTACHMENTS,
    ATTACHMENTS_BYTES,
    PAYLOAD_BYTES,
    check_content,
    check_options,
    check_secrets,
    check_whole_number,
    read_json,
    without_secrets,
)
from holdfast.routes import Violation
from holdfast.testing import answer_with
from tests.support.device import Device, describe, in_turn


def photo(size: int = 1) -> File:
    return File("photos", "a.jpg", "image/jpeg", size, b"")


class Lenient:
    """A form without rules."""

    def parse(self, fields: list[tuple[str, str]]) -> dict[str, Any]:
        return dict(fields)

    def violations(self, payload: Any, files: object = ()) -> list[Violation]:
        del payload, files
        return []


def options(**changed: object) -> dict[str, object]:
    return {"lane": None, "priority": 5, "delay_ms": 0, "ttl_ms": None} | changed


@pytest.mark.parametrize("payload", [None, 0, 1.5, "x", [], {}, {"a": [1, {"b": None}]}, 2**53 - 1], ids=repr)
def test_every_json_value_can_be_a_payload(payload: object) -> None:
    """Objects are usual, not required."""
    check_content(payload, [])


@pytest.mark.parametrize(
    "payload",
    [float("nan"), float("inf"), {1}, b"x", Ellipsis, {"a": b""}, 2**53, {"a": [-(2**53)]}],
    ids=repr,
)
def test_what_does_not_survive_json_is_refused(payload: object) -> None:
    """A whole number beyond 2⁵³ would come out of the browser's store as another number."""
    with pytest.raises(InvalidOptionError):
        check_content(payload, [])


def test_a_payload_that_nests_too_deeply_is_refused() -> None:
    """It is an error of the caller, not of the interpreter."""
    payload: list[object] = []
    for _ in range(100_000):
        payload = [payload]
    with pytest.raises(InvalidOptionError):
        check_content(payload, [])
    while payload:  # unwound by hand: freeing it by recursion is what deep nesting cannot do
        payload = payload[0]  # type: ignore[assignment]


def test_limits_count_bytes() -> None:
    """The last byte that fits passes, one more does not; letters count as UTF-8."""
    check_content("x" * (PAYLOAD_BYTES - 2), [])
    with pytest.raises(TooLargeError):
        check_content("x" * (PAYLOAD_BYTES - 1), [])
    with pytest.raises(TooLargeError):
        check_content("ä" * (PAYLOAD_BYTES // 2), [])


def test_attachments_are_limited_in_number_and_size() -> None:
    """Up to the limit, not beyond."""
    check_content({}, [photo()] * ATTACHMENTS)
    check_content({}, [photo(ATTACHMENTS_BYTES)])
    with pytest.raises(TooLargeError):
        check_content({}, [photo()] * (ATTACHMENTS + 1))
    with pytest.raises(TooLargeError):
        check_content({}, [photo(ATTACHMENTS_BYTES), photo()])


@pytest.mark.parametrize(
    "good", [{}, {"lane": "site-7"}, {"priority": 0}, {"priority": 9}, {"delay_ms": 10**9}, {"ttl_ms": 1}], ids=repr
)
def test_options_in_range_pass(good: dict[str, object]) -> None:
    """Their ends are included."""
    check_options(**options(**good))


@pytest.mark.parametrize(
    "bad",
    [
        {"lane": ""},
        {"lane": 7},
        {"priority": 10},
        {"priority": -1},
        {"priority": "5"},
        {"priority": True},
        {"priority": 5.0},
        {"delay_ms": -1},
        {"delay_ms": 0.5},
        {"delay_ms": None},
        {"delay_ms": False},
        {"delay_ms": 2**53},
        {"ttl_ms": 0},
        {"ttl_ms": "1"},
        {"ttl_ms": True},
    ],
    ids=repr,
)
def test_options_out_of_range_are_named(bad: dict[str, object]) -> None:
    """The error says which option, and what it takes."""
    with pytest.raises(InvalidOptionError, match=next(iter(bad))):
        check_options(**options(**bad))


@pytest.mark.parametrize("number", [0, -1, True, "5", None, 1.0, 2**53])
def test_a_whole_number_is_one_that_survives_the_browser(number: object) -> None:
    """From the least one on, no text, no truth value, nothing that would be rounded."""
    with pytest.raises(InvalidOptionError, match="limit"):
        check_whole_number("limit", number, least=1)


@pytest.mark.parametrize(
    "payload",
    [{"password": 1}, {"a": [{"PIN": 2}]}, {"Authorization": "x"}, [{"cookie": "x"}], {"a": ({"PIN": 2},)}],
    ids=repr,
)
def test_a_secret_is_refused_however_deep_it_hides(payload: object) -> None:
    """What is stored on a device can be read by whoever holds it; the error names the field, not its value."""
    with pytest.raises(SecretError, match=r"(?i)password|pin|authorization|cookie"):
        check_secrets(payload, {"password", "PIN"})


def test_what_is_left_out_of_a_payload_is_its_secrets_alone() -> None:
    """However deep they hide; a name that is no text cannot be one."""
    payload = {"text": "a", "a": ({"PIN": 2, "b": [{"Cookie": 3}]}, 4), 5: 6}
    assert without_secrets(payload, {"PIN"}) == {"text": "a", "a": [{"b": [{}]}, 4], 5: 6}


def test_what_is_no_secret_passes() -> None:
    """Names alone decide."""
    check_secrets({"text": "password", "list": ["cookie"]}, {"password"})


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "[" * 101 + "]" * 101, "NaN", "[1e999]", "-Infinity", "", "x"], ids=len
)
def test_a_document_from_outside_cannot_break_the_interpreter(text: str) -> None:
    """In a browser deep nesting would end Python itself, and a number that is none could not be stored."""
    with pytest.raises(ValueError, match=r"."):
        read_json(text)


@pytest.mark.parametrize("value", [1, "[[[{{{" * 100, '"\\[', {"a": [1.5, None, {"[": "]"}]}, [[1]] * 500], ids=repr)
def test_a_document_from_outside_is_read_as_it_is(value: object) -> None:
    """Brackets in texts and many short lists do not count as depth."""
    assert read_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("verb", "arguments", "options"),
    [
        ("enqueue", (5, {}), {}),
        ("enqueue", ([], {}), {}),
        ("enqueue", ("note", {}), {"id": ""}),
        ("enqueue", ("note", {}), {"id": 5}),
        ("enqueue", ("note", {}), {"key": ""}),
        ("enqueue", ("note", {}), {"attachments": ["a.jpg"]}),
        ("enqueue", ("note", {}), {"attachments": None}),
        ("enqueue", ("note", {}), {"attachments": 5}),
        ("enqueue", ("note", {}), {"attachments": photo()}),
        ("enqueue", ("note", {}), {"attachments": [File("", None, "image/jpeg", 1, b"")]}),  # type: ignore[arg-type]
        ("submit", ("note", []), {"id": "a", "key": "a"}),
        ("submit", ("form", 5), {"id": "a", "key": "a"}),
        ("submit", ("form", [("text", 5)]), {"id": "a", "key": "a"}),
        ("submit", ("form", ["ab"]), {"id": "a", "key": "a"}),
        ("enqueue", ("note", {}), {"delay_ms": -1}),
        ("enqueue", ("note", {}), {"ttl_ms": 0}),
        ("enqueue", ("nobody.knows", {}), {}),
        ("jobs", (), {"state": "done"}),
        ("jobs", (), {"state": []}),
        ("jobs", (), {"reason": "bad"}),
        ("jobs", (), {"reason": []}),
        ("jobs", (), {"limit": 0}),
        ("job", (None,), {}),
        ("wait", (5,), {}),
        ("wait", ("x",), {"timeout_ms": -1}),
        ("retry", ([],), {}),
        ("retry", ("x",), {"accept_duplicate": "false"}),
        ("retry", ("x",), {"accept_duplicate": 1}),
        ("listen", (None,), {}),
        ("cancel", ("",), {}),
        ("edit", (5, {}), {}),
        ("files", (None,), {}),
        ("pause", (), {"queue": "nowhere"}),
        ("pause", (), {"type_": "nobody.knows"}),
        ("pause", (), {"type_": []}),
        ("pause", (), {"queue": []}),
        ("pause", (), {"queue": "notes", "type_": "note"}),
        ("resume", (), {"queue": 5}),
        ("drain", (), {"timeout_ms": -1}),
        ("drain", (), {"wake": "never"}),
        ("sign_in", (None,), {}),
    ],
    ids=repr,
)
async def test_every_option_of_every_verb_is_checked(
    verb: str, arguments: tuple[object, ...], options: dict[str, object]
) -> None:
    """A wrong type, a negative time, an unknown type or queue: an error that says so, and nothing is stored."""
    device = Device()
    outbox = describe()
    outbox.route("form", "POST", "/api/form", form=Lenient())
    await device.context(outbox)
    with pytest.raises(UsageError):
        await getattr(outbox, verb)(*arguments, **options)
    assert device.store.records("jobs") == device.store.records("gates") == []


@pytest.mark.parametrize("attachments", [5, "a.jpg", [None], photo()], ids=repr)
async def test_an_edit_with_wrong_attachments_leaves_the_job_as_it_is(attachments: Any) -> None:
    """The call is refused as an enqueue would be, and the job keeps those it has."""
    device = Device()
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"}, delay_ms=60_000, attachments=[photo()])
    with pytest.raises(InvalidOptionError, match="attachments"):
        await outbox.edit(accepted.id, {"text": "b"}, attachments=attachments)
    job = await outbox.job(accepted.id)
    assert job is not None
    assert (job["state"], job["payload"], len(job["attachments"])) == ("pending", {"text": "a"}, 1)


async def test_an_edit_stores_no_secret_either() -> None:
    """What an enqueue refuses cannot come in by the back door."""
    device = Device()
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"}, delay_ms=60_000)
    with pytest.raises(SecretError):
        await outbox.edit(accepted.id, {"text": "a", "Authorization": "Bearer x"})


async def test_dead_letters_do_not_fill_a_queue() -> None:
    """What waits for a person takes no place from what can still go; what can still go does, up to the queue's depth."""
    device = Device()
    device.network.answer = in_turn(answer_with(422), answer_with(422))
    outbox = describe()
    outbox.queue("notes", depth=2)
    await device.context(outbox)
    for text in ("refused", "refused too"):
        await outbox.enqueue("note", {"text": text})
    await device.rest()
    device.offline()
    for text in ("first", "second"):
        await outbox.enqueue("note", {"text": text})
    with pytest.raises(QueueFullError, match="notes"):
        await outbox.enqueue("note", {"text": "one too many"})
