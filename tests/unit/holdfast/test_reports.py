"""What a device tells of its queues: four numbers under an id of chance, seldom, and never in the way of a send."""

import asyncio
from typing import Any

import pytest

from holdfast import InvalidOptionError, Outbox
from holdfast.reports import CALM_MS, Reporter
from holdfast.testing import answer_with
from holdfast.transactions.reporting import EVERY_MS
from tests.support.device import Device


class Desk:
    """Where reports arrive."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []
        self.answers = True
        self.may_tell = True

    async def tell(self, report: dict[str, Any]) -> None:
        self.reports.append(report)
        if not self.answers:
            await asyncio.Event().wait()

    def numbers(self) -> list[tuple[int, int, int, int]]:
        return [
            (each["depth"], each["retries"], each["oldest_pending_age_ms"], each["permanent_failures"])
            for each in self.reports
        ]


async def reporting(device: Device) -> tuple[Outbox, Desk]:
    """A tab that tells."""
    desk, outbox = Desk(), await device.context()
    outbox.listen(Reporter(outbox.ports, desk.tell, lambda: desk.may_tell).heard)
    return outbox, desk


async def drained(device: Device, outbox: Outbox) -> None:
    await outbox.drain()
    await device.clock.advance(CALM_MS)


async def test_a_drain_that_moved_something_is_told_in_four_numbers() -> None:
    """And the id that the device drew; no type, no payload, no account."""
    device = Device()
    device.inbox.signed_in_account = "ann"
    device.network.answer = answer_with(422)
    outbox, desk = await reporting(device)
    await outbox.enqueue("note", {"text": "a"})
    await device.clock.advance(CALM_MS)
    [report] = desk.reports
    assert report.keys() == {"client", "depth", "retries", "oldest_pending_age_ms", "permanent_failures"}
    assert desk.numbers() == [(1, 0, 0, 1)]
    assert not {"ann", "note", "a"} & {str(value) for value in report.values()}


async def test_it_is_told_at_most_every_five_minutes_under_the_same_id() -> None:
    """Whatever happens in between; what is unsent grows old, and that is news."""
    device = Device()
    outbox, desk = await reporting(device)
    await outbox.pause()
    await outbox.enqueue("note", {"text": "a"})
    await device.clock.advance(CALM_MS)
    for _ in range(4):
        await device.clock.advance(EVERY_MS // 5)
        await drained(device, outbox)
    assert desk.numbers() == [(1, 0, CALM_MS, 0)]
    await device.clock.advance(EVERY_MS // 5)
    await drained(device, outbox)
    assert desk.numbers() == [(1, 0, CALM_MS, 0), (1, 0, EVERY_MS + 6 * CALM_MS, 0)]
    assert len({report["client"] for report in desk.reports}) == 1


async def test_who_has_nothing_new_to_tell_is_silent() -> None:
    """A device that never saved anything, and one whose work was received before its last report."""
    device = Device()
    outbox, desk = await reporting(device)
    await drained(device, outbox)
    assert desk.reports == []
    await outbox.enqueue("note", {"text": "a"})
    await device.clock.advance(2 * EVERY_MS)
    await drained(device, outbox)
    assert desk.numbers() == [(0, 0, 0, 0)]
    await outbox.enqueue("note", {"text": "b"})
    await device.clock.advance(CALM_MS)
    assert desk.numbers() == [(0, 0, 0, 0), (0, 0, 0, 0)]


async def test_all_accounts_of_a_device_are_one_client() -> None:
    """The numbers are those of the device; whose they are nobody can tell."""
    device = Device()
    device.offline()
    outbox, desk = await reporting(device)
    for account in ("ann", "bob"):
        device.inbox.signed_in_account = account
        await outbox.enqueue("note", {"text": account})
        await device.clock.advance(60_000)
    device.online()
    device.network.answer = answer_with(503)
    await drained(device, outbox)
    assert desk.numbers() == [(2, 1, 120_000 + CALM_MS, 0)]


async def test_a_server_that_is_away_or_wants_silence_is_not_told() -> None:
    """An open breaker, the kill switch, and a person who does not want it."""
    device = Device()
    device.offline()
    outbox, desk = await reporting(device)
    await outbox.enqueue("note", {"text": "a"})
    await device.clock.advance(CALM_MS)
    assert desk.reports == []
    device.online()
    device.network.flags["disabled"]["all"] = True
    await drained(device, outbox)
    assert desk.reports == []
    desk.may_tell = False
    device.network.flags["disabled"]["all"] = False
    await device.clock.advance(60_000)
    await drained(device, outbox)
    assert (device.sent(), desk.reports) == (["a"], [])
    desk.may_tell = True
    await drained(device, outbox)
    assert desk.numbers() == [(0, 0, 0, 0)]


@pytest.mark.parametrize("reports", ["", "api/metrics", "//other.example/", "https://other.example/", 7, True])
def test_reports_stay_on_our_own_origin(reports: Any) -> None:
    """A path, or nothing at all."""
    with pytest.raises(InvalidOptionError, match="reports takes a path"):
        Outbox("test", app_version=1, reports=reports)
    assert Outbox("test", app_version=1, reports="/api/metrics").reports == "/api/metrics"
    assert Outbox("test", app_version=1).reports is None


async def test_a_report_that_nobody_answers_holds_nothing_up() -> None:
    """Jobs go out as if there were no report, and no second one piles up behind it."""
    device = Device()
    outbox, desk = await reporting(device)
    desk.answers = False
    for text in ("a", "b"):
        await outbox.enqueue("note", {"text": text})
        await device.clock.advance(EVERY_MS)
    assert device.sent() == ["a", "b"]
    assert len(desk.reports) == 1
    await device.crash()
