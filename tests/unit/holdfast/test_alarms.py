"""What every tab is told of without asking: a storage that is nearly full, a queue that stands still for no known reason."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from holdfast import Outbox, StorageClosedError
from holdfast.alarms import EVERY_MS, Alarms
from holdfast.statistics import ONE_SUBMISSION, STALLED_MS, described_storage
from tests.support.device import Device, Silence, describe

DISK = 1_000 * ONE_SUBMISSION


class Tab:
    """A tab with its alarms, on a device of which the browser says how full it is."""

    def __init__(self, device: Device, outbox: Outbox, room: dict[str, Any]) -> None:
        self.device = device
        self.outbox = outbox
        self.room = room
        self.heard: list[dict[str, Any]] = []
        self.alarms = Alarms(device.clock, outbox.stats, outbox.publish)
        outbox.listen(self.alarms.heard)
        outbox.listen(lambda event: self.heard.append(event) if event["kind"] in ("storage", "stalled") else None)

    async def look(self) -> list[dict[str, Any]]:
        """The leader wakes, as it does now and then; what was told since the last look."""
        await self.device.clock.advance(EVERY_MS)
        self.alarms.look()
        await self.device.rest()
        heard, self.heard = self.heard, []
        return heard


async def tab(device: Device, room: dict[str, Any]) -> Tab:
    """One more tab."""

    async def estimate() -> dict[str, int] | None:
        return room["is"]

    outbox = describe()
    await outbox.open(replace(device.lab.ports(), storage_estimate=estimate))
    outbox.wake = lambda: None  # type: ignore[method-assign]
    return Tab(device, outbox, room)


@pytest.mark.parametrize(
    ("usage", "quota", "nearly_full"),
    [
        (0, DISK, False),
        (DISK - ONE_SUBMISSION, DISK, False),
        (DISK - ONE_SUBMISSION + 1, DISK, True),
        (DISK + 1, DISK, True),
        (0, ONE_SUBMISSION, False),
        (90, 100, False),
        (91, 100, True),
        (0, 0, False),
    ],
)
def test_storage_is_nearly_full_where_the_next_submission_may_not_fit(
    usage: int, quota: int, *, nearly_full: bool
) -> None:
    """At its limit; a quota that is too small for ten of those is judged by its last tenth."""
    estimate = {"usage": usage, "quota": quota}
    assert described_storage(estimate) == {"usage": usage, "quota": quota, "nearly_full": nearly_full}


def test_a_browser_that_does_not_say_is_believed_to_have_room() -> None:
    """Nobody is warned of what nobody knows."""
    assert described_storage(None) is None


async def test_every_tab_hears_once_that_the_storage_is_nearly_full_and_once_that_there_is_room() -> None:
    """The figures come with it, and the statistics say the same."""
    device, room = Device(), {"is": {"usage": 0, "quota": DISK}}
    first, second = await tab(device, room), await tab(device, room)
    assert await first.look() == []
    room["is"] = {"usage": DISK - 5, "quota": DISK}
    full = {"kind": "storage", "nearly_full": True, "usage": DISK - 5, "quota": DISK}
    assert await first.look() == [full]
    assert second.heard == [full]
    assert (await second.outbox.stats())["storage"] == {"usage": DISK - 5, "quota": DISK, "nearly_full": True}
    assert await first.look() == []
    room["is"] = {"usage": 5, "quota": DISK}
    # The second leads from here on: it knows what the first has told.
    assert [event["nearly_full"] for event in (await second.look())[1:]] == [False]
    assert [event["nearly_full"] for event in await first.look()] == [False]
    room["is"] = None
    assert await second.look() == []


async def test_what_is_true_is_said_again_after_a_page_was_opened() -> None:
    """It has not heard it; what is not true needs no saying."""
    device, room = Device(), {"is": {"usage": DISK, "quota": DISK}}
    first = await tab(device, room)
    assert len(await first.look()) == 1
    second = await tab(device, room)
    second.outbox.publish({"kind": "opened"})
    await first.look()
    assert [event["nearly_full"] for event in second.heard] == [True]
    assert await first.look() == []


async def test_every_tab_hears_of_a_queue_that_stands_still_for_no_known_reason() -> None:
    """Ten minutes, at two looks; a pause is a known reason, and ends the alarm."""
    device = Device()
    first, second = await tab(device, {"is": None}), await tab(device, {"is": None})
    since = device.clock.now()
    await first.outbox.enqueue("note", {"text": "a"})
    await device.clock.advance(STALLED_MS)
    assert await first.look() == []
    stalled = {"kind": "stalled", "stalled": True, "since": since}
    assert await first.look() == [stalled]
    assert second.heard == [stalled]
    assert await first.look() == []
    await first.outbox.pause()
    assert await first.look() == [{"kind": "stalled", "stalled": False, "since": None}]


async def test_work_that_was_held_back_for_hours_and_goes_now_raises_no_alarm() -> None:
    """After a pause all of it is long due: it is at the next look that it must have moved. What is being sent moves too."""
    device = Device()
    only = await tab(device, {"is": None})
    await only.outbox.pause()
    for text in "ab":
        await only.outbox.enqueue("note", {"text": text}, lane=text)
    await device.clock.advance(5 * STALLED_MS)
    await only.outbox.resume()
    assert (await only.outbox.stats())["stalled"] is True
    assert await only.look() == []
    device.network.answer = silence = Silence()
    draining = asyncio.ensure_future(only.outbox.drain())
    await device.rest()
    for _ in range(3):
        assert await only.look() == []
    assert (len(silence.waiting), (await only.outbox.stats())["stalled_since"]) == (1, None)
    while silence.waiting:
        silence.answer()
        await device.rest()
    await draining
    assert sorted(device.sent()) == ["a", "b"]


async def test_storage_that_is_lost_for_a_moment_stops_no_later_look() -> None:
    """The alarm comes with the look after it."""
    device = Device()
    only = await tab(device, {"is": {"usage": DISK, "quota": DISK}})
    stats = only.alarms._stats

    async def lost() -> dict[str, Any]:
        raise StorageClosedError("The connection was lost.")

    only.alarms._stats = lost
    assert await only.look() == []
    only.alarms._stats = stats
    assert len(await only.look()) == 1
