"""What is kept and for how long: finished jobs by age and number, failures until a person or a stated rule says so."""

from typing import Any

import pytest

from holdfast import Outbox
from holdfast.errors import InvalidOptionError
from holdfast.job import File
from holdfast.storage import Transaction
from holdfast.testing import answer_with, receipt
from holdfast.transactions.tidy import Retention
from tests.support.device import Device, check_laws, describe, entry, in_turn

HOUR_MS = 3_600_000
DAY_MS = 86_400_000


def texts(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(row["summary"]["text"] for row in rows)


async def test_failures_stay_for_ever_by_default() -> None:
    """Finished jobs go after a week; what failed waits for a person."""
    device = Device()
    device.network.answer = in_turn(answer_with(422), answer_with(412))
    outbox = await device.context()
    for text in ("failed", "conflict", "completed"):
        await outbox.enqueue("note", {"text": text})
    await device.deliver_all(outbox)
    await device.clock.advance(400 * DAY_MS)
    await device.deliver_all(outbox)
    assert texts(await outbox.jobs()) == ["conflict", "failed"]
    check_laws(device.store)


async def test_what_has_just_finished_is_kept_whatever_is_set() -> None:
    """A late copy of an inbox entry must still find its job."""
    device = Device()
    outbox = await device.context(retention=Retention(finished_ms=0, finished_count=0))
    await outbox.enqueue("note", {"text": "a"})
    await device.deliver_all(outbox)
    await device.clock.advance(HOUR_MS - 1)
    await outbox.drain()
    assert texts(await outbox.jobs()) == ["a"]
    await device.clock.advance(1)
    await outbox.drain()
    assert await outbox.jobs() == []
    assert (await outbox.stats())["failures"] == {}


async def test_an_app_that_prunes_failures_warns_a_day_before() -> None:
    """Nothing fails silently: the warning names the job, and a retry in time saves it."""
    device = Device()
    device.network.answer = answer_with(422)
    outbox = await device.context(retention=Retention(failed_ms=7 * DAY_MS))
    lost, saved = [await outbox.enqueue("note", {"text": text}) for text in ("lost", "saved")]
    await device.deliver_all(outbox)
    warnings: list[list[str]] = []
    outbox.listen(lambda event: warnings.append(event["ids"]) if event["kind"] == "about_to_prune" else None)
    await device.clock.advance(6 * DAY_MS - 1)
    await outbox.drain()
    assert warnings == []
    await device.clock.advance(1)
    await outbox.drain()
    await device.rest()
    assert sorted(warnings[0]) == sorted([lost.id, saved.id])
    await outbox.retry(saved.id)
    await device.deliver_all(outbox)
    await device.clock.advance(DAY_MS)
    await device.deliver_all(outbox)
    assert texts(await outbox.jobs()) == ["saved"]
    assert len(warnings) == 1
    check_laws(device.store)


async def test_a_failure_that_was_redriven_is_warned_of_anew() -> None:
    """The warning was about the failure before: this one is kept for its whole time, and announced a day before its end."""
    device = Device()
    device.network.answer = answer_with(422)
    outbox = await device.context(retention=Retention(failed_ms=7 * DAY_MS))
    job = await outbox.enqueue("note", {"text": "a"})
    await device.deliver_all(outbox)
    warnings = []
    outbox.listen(lambda event: warnings.append(event["ids"]) if event["kind"] == "about_to_prune" else None)
    await device.clock.advance(6 * DAY_MS)
    await outbox.drain()
    await device.rest()
    assert warnings == [[job.id]]
    await outbox.retry(job.id)
    await device.deliver_all(outbox)
    assert device.end(job.id) == ("failed", "refused")
    await device.clock.advance(6 * DAY_MS)
    await device.deliver_all(outbox)
    assert [row["id"] for row in await outbox.jobs()] == [job.id]
    assert warnings == [[job.id], [job.id]]


async def test_a_failure_says_in_its_row_when_it_is_deleted() -> None:
    """Who opens a page hears no event of before; from the warning on the row names the moment, and not a day less is given."""
    device = Device()
    device.network.answer = answer_with(422)
    worker = await device.context(retention=Retention(failed_ms=7 * DAY_MS))
    job = await worker.enqueue("note", {"text": "a"})
    await device.deliver_all(worker)
    assert [row["prunes_at"] for row in await worker.jobs()] == [None]
    await device.clock.advance(6 * DAY_MS)
    changed: list[str] = []
    worker.listen(lambda event: changed.extend(event["ids"]) if event["kind"] == "change" else None)
    await worker.drain()
    await device.rest()
    assert changed == [job.id]
    page = await device.context(retention=Retention(failed_ms=7 * DAY_MS))
    warned_at = device.clock.now()
    [row] = await page.jobs()
    assert row["prunes_at"] == warned_at + DAY_MS
    assert (await page.overview())["jobs"] == [row]
    keeps = await device.context()
    assert [row["prunes_at"] for row in await keeps.jobs()] == [None]
    keeps_longer = await device.context(retention=Retention(failed_ms=30 * DAY_MS))
    assert [row["prunes_at"] - row["updated_at"] for row in await keeps_longer.jobs()] == [30 * DAY_MS]
    await device.clock.advance(row["prunes_at"] - warned_at - 1)
    await page.drain()
    assert [row["id"] for row in await page.jobs()] == [job.id]
    await device.clock.advance(1)
    await page.drain()
    assert await page.jobs() == []


async def test_a_failure_stays_for_its_whole_time_although_it_was_warned_of_under_a_shorter_one() -> None:
    """A release that keeps failures for longer keeps those too of which the one before has warned."""
    device = Device()
    device.network.answer = answer_with(422)
    outbox = await device.context(retention=Retention(failed_ms=7 * DAY_MS))
    await outbox.enqueue("note", {"text": "a"})
    await device.deliver_all(outbox)
    await device.clock.advance(6 * DAY_MS)
    await outbox.drain()
    outbox = await device.context(retention=Retention(failed_ms=30 * DAY_MS))
    await device.clock.advance(24 * DAY_MS - 1)
    await outbox.drain()
    assert texts(await outbox.jobs()) == ["a"]
    await device.clock.advance(1)
    await outbox.drain()
    assert await outbox.jobs() == []


async def test_a_failure_is_warned_of_however_late_the_app_is_opened() -> None:
    """Long past its time it still has a day from the warning on."""
    device = Device()
    device.network.answer = answer_with(422)
    outbox = await device.context(retention=Retention(failed_ms=7 * DAY_MS))
    await outbox.enqueue("note", {"text": "a"})
    await device.deliver_all(outbox)
    await device.clock.advance(365 * DAY_MS)
    await outbox.drain()
    assert texts(await outbox.jobs()) == ["a"]
    await device.clock.advance(DAY_MS)
    await outbox.drain()
    assert await outbox.jobs() == []


async def test_sign_out_wipes_what_is_finished_and_nothing_that_is_unsent() -> None:
    """Drafts and the content of finished jobs go; what is unsent waits, whole, until its account is back."""
    device = Device()
    device.network.answer = in_turn(receipt, answer_with(422))
    outbox = await device.context()
    await outbox.sign_in("ann")
    device.inbox.drafts["form"] = "half typed"
    photo = File("files", "a.jpg", "image/jpeg", 3, b"abc")
    received = await outbox.enqueue("note", {"text": "received"}, attachments=[photo])
    refused = await outbox.enqueue("note", {"text": "refused"}, attachments=[photo])
    await device.deliver_all(outbox)
    waiting = await outbox.enqueue("note", {"text": "waiting"}, delay_ms=DAY_MS)
    assert await outbox.sign_out() == 2
    assert await outbox.jobs() == []
    assert device.inbox.drafts == {}
    assert [body["id"] for body in device.store.records("bodies")] == sorted([refused.id, waiting.id])
    assert len(device.store.records("attachments")) == 1
    assert device.record(received.id)["summary"] == {}
    await outbox.sign_in("ann")
    job = await outbox.job(waiting.id)
    assert job is not None
    assert (job["state"], job["payload"]) == ("pending", {"text": "waiting"})
    check_laws(device.store)


async def wiped(device: Device) -> Outbox:
    """An outbox whose job `j1` with the key `k1` was received; then its account signed out and in again."""
    outbox = await device.context()
    await outbox.sign_in("ann")
    await outbox.enqueue("note", {"text": "first"}, id="j1", key="k1")
    await device.deliver_all(outbox)
    await outbox.sign_out()
    await outbox.sign_in("ann")
    return outbox


async def test_an_id_whose_content_was_wiped_takes_no_other_write_for_the_same() -> None:
    """With its key it is the same write; without, nobody can tell: the caller hears so, and nothing is taken for sent."""
    device = Device()
    outbox = await wiped(device)
    again = await outbox.enqueue("note", {"text": "first"}, id="j1", key="k1")
    assert again == ("j1", "k1")
    with pytest.raises(InvalidOptionError, match=r"'j1'.*wiped.*key"):
        await outbox.enqueue("note", {"text": "another"}, id="j1")
    await device.deliver_all(outbox)
    assert device.sent() == ["first"]
    assert len(device.store.records("jobs")) == 1
    memo = await outbox.enqueue("memo", {"text": "of another type"}, id="j1")
    await device.deliver_all(outbox)
    assert device.end(memo.id) == ("completed", None)


@pytest.mark.parametrize("again", [False, True])
async def test_a_submission_under_an_id_whose_content_was_wiped_waits_for_a_person(again: bool) -> None:
    """It is put aside with its content, once; corrected, it goes."""
    device = Device()
    outbox = await wiped(device)
    for _ in range(1 + again):
        device.inbox.add(entry("j1", "another", account="ann", key="k2"))
        await device.deliver_all(outbox)
    [row] = await outbox.jobs(state="failed")
    assert (row["reason"], row["summary"]) == ("invalid", {"text": "another"})
    assert "wiped" in row["said"]["errors"][0]["message"]
    assert device.sent() == ["first"]
    await outbox.edit(row["id"], {"text": "another"})
    await device.deliver_all(outbox)
    assert device.sent() == ["first", "another"]
    check_laws(device.store)


@pytest.mark.parametrize("durability", ["strict", "relaxed"])
async def test_a_write_waits_for_the_disk_unless_its_route_says_otherwise(durability: Any) -> None:
    """Relaxed is for many cheap jobs; the app must not call those saved."""
    device = Device()
    outbox = describe()
    route = outbox.route("event", "POST", "/api/events", durability=durability)
    asked: list[str | None] = []

    class Watched:
        async def run(self, transaction: Transaction[Any]) -> Any:
            if transaction.name.startswith("enqueue"):
                asked.append(transaction.durability)
            return await device.store.run(transaction)

        def close(self) -> None:
            """Nothing to let go."""

    device.lab.store = Watched()
    await device.context(outbox)
    await outbox.enqueue("event", {"text": "a"})
    assert (asked, route.durability) == ([durability], durability)
