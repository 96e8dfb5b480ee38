"""What an app's own functions get wrong costs attempts, never the queue: each failure counts, ends, and is told."""

import asyncio
from collections.abc import Iterator

import pytest

from holdfast import Outbox
from tests.support.device import STEADY, Device, Outage, check_laws, describe


def breaks(*_given: object) -> None:
    raise ValueError("no such field")


class _JudgedLater:
    """What an async function returns is always true; nobody awaits this one."""

    def __await__(self) -> Iterator[None]:
        yield


@pytest.mark.parametrize(
    ("options", "title"),
    [
        ({"receipt": breaks}, "ValueError"),
        ({"receipt": lambda _answer, _key: _JudgedLater()}, "TypeError"),
        ({"classify": breaks}, "ValueError"),
        ({"classify": lambda _answer: "yes"}, "TypeError"),
        ({"classify": lambda _answer: True}, "TypeError"),
    ],
)
async def test_a_judgement_that_raises_is_a_failed_attempt(options: dict[str, object], title: str) -> None:
    """It ends as a dead letter that names the error; what became of it on the server stays open, and its queue goes on."""
    device = Device()
    outbox = Outbox("test", app_version=1)
    outbox.route("odd", "POST", "/api/odd", attempts=3, backoff=STEADY, **options)  # type: ignore[arg-type]
    outbox.route("note", "POST", "/api/notes")
    await device.context(outbox)
    odd = await outbox.enqueue("odd", {"text": "a"}, lane="a")
    await outbox.enqueue("note", {"text": "b"}, lane="a")
    await device.deliver_all(outbox)
    assert device.sent() == ["a", "a", "a", "b"]
    assert device.end(odd.id) == ("failed", "exhausted")
    row = await outbox.job(odd.id)
    assert row is not None
    assert row["said"]["title"] == title
    assert device.record(odd.id)["unknown_since"] is not None
    check_laws(device.store)


async def test_a_judgement_that_raises_during_an_outage_burns_no_attempt() -> None:
    """It expects an answer and there is none: what counts is whether the server is there."""
    device = Device()
    device.network.answer = Outage(device)
    outbox = Outbox("test", app_version=1)
    outbox.route("odd", "POST", "/api/odd", attempts=3, backoff=STEADY, receipt=breaks)  # type: ignore[arg-type]
    await device.context(outbox)
    odd = await outbox.enqueue("odd", {"text": "a"})
    await device.deliver_all(outbox)
    assert device.end(odd.id) == ("pending", "unreachable")
    assert device.record(odd.id)["attempts"] == 0


async def test_a_judgement_that_raises_does_not_fail_those_that_share_the_request() -> None:
    """Each then goes by itself."""
    device = Device()
    outbox = await device.context(batch=True)
    device.network.answer = breaks  # type: ignore[assignment]
    ids = [(await outbox.enqueue("note", {"text": text})).id for text in "ab"]
    await device.rest()
    assert {device.record(job_id)["attempts"] for job_id in ids} <= {0, 1}
    assert {device.record(job_id)["state"] for job_id in ids} == {"pending"}


async def test_a_task_that_cancels_itself_is_a_failed_attempt() -> None:
    """Nobody has cancelled the job, so it has to end some day."""
    device = Device()
    outbox = describe()
    ran = []

    @outbox.task("rash", queue="notes", attempts=3)
    async def rash(_payload: object) -> None:
        ran.append(1)
        raise asyncio.CancelledError

    await device.context(outbox)
    accepted = await outbox.enqueue("rash", None)
    await device.deliver_all(outbox)
    assert (len(ran), device.end(accepted.id)) == (3, ("failed", "exhausted"))


async def _tasks_only(device: Device) -> tuple[Outbox, list[str]]:
    """A newer version of an app that had routes, with what its tasks have run; its server has switched off the type `sweep`."""
    device.network.flags["disabled"]["types"] = ["sweep"]
    before = describe()
    await device.context(before)
    await before.enqueue("note", {"text": "a"})
    await device.deliver_all(before)
    await device.crash()
    outbox = Outbox("test", app_version=2)
    ran: list[str] = []

    async def run(payload: str) -> None:
        ran.append(payload)

    for type_ in ("sweep", "fold"):
        outbox.task(type_, queue="notes")(run)
    return await device.context(outbox), ran


async def test_tasks_go_on_where_no_route_is_left_to_ask_what_is_switched_off() -> None:
    """What the server said last still counts."""
    device = Device()
    outbox, ran = await _tasks_only(device)
    await outbox.enqueue("sweep", "off", lane="a")
    await outbox.enqueue("fold", "on", lane="b")
    await device.deliver_all(outbox)
    await device.clock.advance(600_000)
    await device.deliver_all(outbox)
    assert ran == ["on"]


async def test_tasks_are_switched_on_again_where_no_route_is_left() -> None:
    """The server is asked where an app usually asks it, and does not want silence any more."""
    device = Device()
    outbox, ran = await _tasks_only(device)
    await outbox.enqueue("sweep", "now")
    await device.deliver_all(outbox, span_ms=60_000)
    assert ran == []
    device.network.flags["disabled"]["types"] = []
    await device.deliver_all(outbox)
    assert ran == ["now"]
