"""What the figures say, and the verbs that work on many jobs at once."""

from holdfast.testing import answer_with, receipt
from tests.support.device import Device


async def test_the_statistics_tell_ages_and_the_time_to_receipt() -> None:
    """Instants of the oldest ones, and how long it took from enqueue to receipt."""
    device = Device()
    outbox = await device.context()
    began = device.clock.now()
    await outbox.pause()
    await outbox.enqueue("note", {"text": "a"})
    await outbox.enqueue("note", {"text": "later"}, delay_ms=60_000)
    await device.clock.advance(8_000)
    stats = await outbox.stats()
    assert (stats["oldest_pending_at"], stats["oldest_due_at"], stats["oldest_unsent_at"]) == (began, began, began)
    assert stats["time_to_receipt"] == {"median_ms": None, "p95_ms": None}
    await outbox.resume()
    await outbox.drain()
    stats = await outbox.stats()
    assert (stats["oldest_due_at"], stats["last_received_at"]) == (None, began + 8_000)
    assert 4_000 <= stats["time_to_receipt"]["median_ms"] <= 16_000


async def test_a_queue_that_stands_still_for_no_known_reason_raises_the_alarm() -> None:
    """After ten minutes; a pause is a known reason."""
    device = Device()
    outbox = await device.context()
    outbox.wake = lambda: None  # type: ignore[method-assign]
    await outbox.enqueue("note", {"text": "a"})
    await device.clock.advance(600_000)
    assert (await outbox.stats())["stalled"] is False
    await device.clock.advance(1)
    assert (await outbox.stats())["stalled"] is True
    await outbox.pause(type_="note")
    assert (await outbox.stats())["stalled"] is False


async def test_counters_survive_restart_and_failures_are_counted_by_reason() -> None:
    """A retry of all failures with one reason sends just those, in their order."""
    device = Device()
    device.network.answer = answer_with(422)
    outbox = await device.context()
    refused = [(await outbox.enqueue("note", {"text": text})).id for text in "ab"]
    await device.deliver_all(outbox)
    await device.crash()
    outbox = await device.context()
    assert (await outbox.stats())["failures"] == {"refused": 2}
    device.network.answer = receipt
    assert await outbox.retry_all(reason="exhausted") == []
    assert await outbox.retry_all(reason="refused") == refused
    await device.deliver_all(outbox)
    assert [device.end(job_id)[0] for job_id in refused] == ["completed", "completed"]
    assert device.sent() == ["a", "b", "a", "b"]


async def test_all_that_failed_goes_again_whatever_cannot() -> None:
    """One of them was cancelled in another tab meanwhile, which is no reason to leave the rest behind."""
    device = Device()
    device.network.answer = answer_with(422)
    outbox = await device.context()
    first, second, third = [(await outbox.enqueue("note", {"text": text})).id for text in "abc"]
    await device.deliver_all(outbox)
    retry = outbox.retry

    async def other_tab_was_first(job_id: str) -> object:
        if job_id == second:
            await outbox.cancel(second)
        return await retry(job_id)

    outbox.retry = other_tab_was_first  # type: ignore[method-assign, assignment]
    assert await outbox.retry_all() == [first, third]


async def test_a_pause_is_stored_and_holds_in_every_context() -> None:
    """Of one type or one queue: the others go on, after a restart too, until somebody resumes it."""
    device = Device()
    outbox = await device.context()
    await outbox.pause(type_="note")
    await device.crash()
    outbox, other = await device.context(), await device.context()
    paused = await outbox.enqueue("note", {"text": "note"}, lane="a")
    await other.enqueue("memo", {"text": "memo"}, lane="b")
    await other.drain()
    assert device.sent() == ["memo"]
    job = await other.job(paused.id)
    assert job is not None
    assert job["waits"] == "pause"
    await other.resume(type_="note")
    await device.rest()
    assert device.sent() == ["memo", "note"]


async def test_what_waits_for_sign_in_is_counted_whole_and_ends_with_it() -> None:
    """One of each lane, as its row says; those behind them wait their turn."""
    device = Device()
    device.network.answer = answer_with(401)
    outbox = await device.context()
    for number in range(7):
        await outbox.enqueue("note", {"text": "a"}, lane=str(number % 5))
    await outbox.drain()
    rows = await outbox.jobs()
    assert (await outbox.stats())["held"] == sum(row["waits"] == "sign-in" for row in rows) == 5
    device.network.answer = receipt
    await outbox.sign_in("")
    assert (await outbox.stats())["held"] == 0
