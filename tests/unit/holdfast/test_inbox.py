"""What JavaScript took before Python could becomes jobs: once, in order, whatever it holds."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from holdfast import File, Outbox
from holdfast.errors import (
    ActionRefusedError,
    InvalidOptionError,
    NewerStorageError,
    StorageClosedError,
    StorageFullError,
)
from holdfast.memory import MemoryStore
from holdfast.ports import InboxEntry
from holdfast.routes import Violation
from holdfast.storage import Put, Steps, Transaction
from holdfast.testing import MemoryInbox
from holdfast.transactions.tidy import Retention
from tests.support.device import Device, check_laws, describe, entry

DAY_MS = 86_400_000


class Fussy:
    """A form that refuses, or breaks, on demand."""

    def parse(self, fields: list[tuple[str, str]]) -> dict[str, object]:
        if ("break", "parse") in fields:
            raise RuntimeError("no idea")
        odd = {"set": {1}, "nan": float("nan")}
        return {name: odd.get(value, value) for name, value in fields}

    def violations(self, payload: dict[str, object], files: object = ()) -> list[Violation]:
        del files
        if payload.get("break") == "rules":
            raise RuntimeError("no idea")
        return [] if payload.get("text") else [Violation("/text", "Enter a text")]


def with_form() -> Outbox:
    outbox = describe()
    outbox.route("form", "POST", "/api/form", queue="notes", form=Fussy())
    return outbox


async def test_submissions_are_taken_in_and_sent_in_their_order() -> None:
    """In the order of arrival, before what is enqueued after them, under the id and key they were given."""
    device = Device()
    for number in range(120):
        device.inbox.add(entry(f"e{number}", f"e{number}"))
    outbox = await device.context()
    await outbox.enqueue("note", {"text": "after"})
    await device.deliver_all(outbox)
    assert device.sent() == [f"e{number}" for number in range(120)] + ["after"]
    assert device.network.sent[0].headers["Idempotency-Key"] == "key-e0"
    assert await device.inbox.count() == 0


@pytest.mark.parametrize("look", ["jobs", "stats", "drain", "unsent"])
async def test_every_look_takes_the_inbox_in(look: str) -> None:
    """A list that left out what is only in the inbox would look like a loss."""
    device = Device()
    device.inbox.add(entry("e1", "a"))
    outbox = await device.context()
    await getattr(outbox, look)()
    assert [record["id"] for record in device.store.records("jobs")] == ["e1"]


class FreezingInbox(MemoryInbox):
    """Whoever reads it first is frozen with that in its hands, until the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen: asyncio.Future[None] | None = None

    async def entries(self, limit: int) -> list[InboxEntry]:
        found = await super().entries(limit)
        if self.frozen is None:
            self.frozen = asyncio.get_running_loop().create_future()
            await self.frozen
        return found


async def test_what_a_tab_read_days_ago_is_looked_up_again_before_it_is_taken_in() -> None:
    """Meanwhile another one has taken it in, sent it, and forgotten it in due time: it does not come back and go again."""
    device = Device()
    device.lab.inbox = inbox = FreezingInbox()
    inbox.add(entry("e1", "a"))
    outbox = await device.context()
    taking_in = asyncio.ensure_future(outbox.jobs())
    await device.rest()
    assert inbox.frozen is not None
    awake = await device.context(retention=Retention(finished_ms=DAY_MS))
    await device.deliver_all(awake)
    await device.clock.advance(2 * DAY_MS)
    await device.deliver_all(awake)
    assert device.store.records("jobs") == []
    inbox.add(entry("e2", "b"))
    inbox.frozen.set_result(None)
    assert [row["id"] for row in await taking_in] == ["e2"]
    await device.deliver_all(outbox)
    assert device.sent() == ["a", "b"]


class MortalInbox(MemoryInbox):
    """A context that dies after the commit and before the delete."""

    async def remove(self, positions: object) -> None:
        raise StorageClosedError(f"dead before {positions}")


async def test_a_submission_is_taken_in_once_even_if_its_context_dies_in_between() -> None:
    """The entry is still there, but so is its job."""
    device = Device()
    device.offline()
    mortal = MortalInbox()
    device.lab.inbox = mortal
    mortal.add(entry("e1", "a"))
    outbox = await device.context()
    assert [row["id"] for row in await outbox.jobs()] == ["e1"]
    assert await mortal.count() == 1
    survivor = MemoryInbox()
    survivor.kept = mortal.kept
    device.lab.inbox = survivor
    second = await device.context()
    assert [row["id"] for row in await second.jobs()] == ["e1"]
    assert await survivor.count() == 0
    assert (await second.stats())["unsent"] == 1
    check_laws(device.store)


async def test_another_submission_under_a_known_id_is_taken_in_once_too() -> None:
    """Same id, other content: one new job, however often its taking-in was cut off."""
    device = Device()
    outbox = await device.context()
    await outbox.enqueue("note", {"text": "first"}, id="e1", key="key-e1", delay_ms=60_000)
    mortal = MortalInbox()
    mortal.add(entry("e1", "other"))
    device.lab.inbox = mortal
    for _ in range(3):
        assert len(await (await device.context()).jobs()) == 2
    texts = sorted(record["summary"]["text"] for record in device.store.records("jobs"))
    assert texts == ["first", "other"]
    check_laws(device.store)


async def test_a_submission_that_breaks_the_rules_is_kept_to_be_corrected() -> None:
    """It fails as invalid with what to enter, is not sent, and an edit sends it."""
    device = Device()
    device.inbox.add(entry("e1", "", type="form", payload=None, fields=[("site", "Lock 7")]))
    outbox = await device.context(with_form())
    await device.deliver_all(outbox)
    job = await outbox.job("e1")
    assert job is not None
    assert (job["state"], job["reason"], job["payload"]) == ("failed", "invalid", {"site": "Lock 7"})
    assert job["said"]["errors"] == [{"pointer": "/text", "message": "Enter a text"}]
    assert device.network.sent == []
    edited = await outbox.edit("e1", {"text": "now right"})
    await device.deliver_all(outbox)
    assert device.end(edited.id) == ("completed", None)
    check_laws(device.store)


@pytest.mark.parametrize(
    "bad",
    [
        {"type": "form", "payload": None, "fields": [("break", "parse")]},
        {"type": "form", "payload": None, "fields": [("text", "set"), ("more", "7")]},
        {"type": "form", "payload": None, "fields": [("text", "nan")]},
        {"type": "form", "payload": {"break": "rules"}},
        {"type": "form", "payload": ["no", "object"]},
        {"options": {"priority": "urgent"}},
        {"options": {"delay_ms": -1}},
        {"options": {"delay": 5_000}},
        {"payload": {"n": 2**60}},
        {"key": "no\nheader"},
        {"key": ""},
    ],
    ids=repr,
)
async def test_no_submission_can_block_those_behind_it(bad: dict[str, object]) -> None:
    """Whatever is wrong with it, it becomes a dead letter of its own; the next one is sent."""
    device = Device()
    device.inbox.add(entry("bad", "bad", **bad))
    device.inbox.add(entry("good", "good"))
    outbox = await device.context(with_form())
    await device.deliver_all(outbox)
    assert device.end("bad") == ("failed", "invalid")
    assert device.end("good") == ("completed", None)
    assert await device.inbox.count() == 0
    check_laws(device.store)


async def test_what_a_form_makes_that_cannot_be_stored_is_kept_as_it_was_typed() -> None:
    """A number that is none, a set, a date: an error of the app, which costs nobody what they entered, nor tells a secret."""
    device = Device()
    device.inbox.add(entry("e1", "", type="form", payload=None, fields=[("text", "set"), ("cookie", "4711")]))
    outbox = await device.context(with_form())
    job = await outbox.job("e1")
    assert job is not None
    assert (job["reason"], job["payload"]) == ("invalid", {"text": "set"})
    assert "JSON" in job["said"]["errors"][0]["message"]


async def test_an_option_that_nobody_knows_is_named_not_dropped() -> None:
    """What was to wait must not go at once: the job says what is wrong with it, each option by name."""
    device = Device()
    device.inbox.add(entry("e1", "a", options={"delay": 5_000, "priority": 7, "ttl": 1}))
    outbox = await device.context()
    await device.deliver_all(outbox)
    job = await outbox.job("e1")
    assert job is not None
    assert (job["state"], job["reason"], job["payload"]) == ("failed", "invalid", {"text": "a"})
    assert [error["message"].partition(";")[0] for error in job["said"]["errors"]] == [
        "There is no option 'delay'",
        "There is no option 'ttl'",
    ]
    assert device.network.sent == []


async def test_a_submission_of_an_unknown_type_is_kept() -> None:
    """As a dead letter with its content, for a person or a newer version."""
    device = Device()
    device.inbox.add(entry("e1", "a", type="nobody.knows"))
    outbox = await device.context()
    await device.deliver_all(outbox)
    job = await outbox.job("e1")
    assert job is not None
    assert (job["state"], job["reason"], job["payload"]) == ("failed", "unknown_type", {"text": "a"})
    check_laws(device.store)


async def test_a_submission_keeps_its_account() -> None:
    """It belongs to who was signed in when it was taken, not to who is now."""
    device = Device()
    device.inbox.add(entry("e1", "hers", account="ann"))
    device.inbox.signed_in_account = "bob"
    outbox = await device.context()
    await device.deliver_all(outbox)
    assert device.sent() == []
    assert await outbox.jobs() == []
    device.inbox.signed_in_account = "ann"
    await device.deliver_all(outbox)
    assert device.sent() == ["hers"]


async def test_a_submission_keeps_its_files_and_options() -> None:
    """Files join the job, options count as in `enqueue`, its time is when it was taken."""
    device = Device()
    handle = ("", "a.jpg", "image/jpeg", 3, b"abc")
    device.inbox.add(entry("e1", "a", type="photo", files=[handle], options={"lane": "site", "priority": 9}))
    outbox = await device.context()
    await device.clock.advance(5_000)
    [row] = await outbox.jobs()
    assert (row["lane"], row["priority"], row["created_at"]) == ("site", 9, 1_800_000_000_000)
    assert await outbox.files("e1") == [File("files", "a.jpg", "image/jpeg", 3, b"abc")]


class ShutStore(MemoryStore):
    """A database that cannot be opened."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error: Exception | None = error

    async def run(self, transaction):  # type: ignore[no-untyped-def]
        if self.error is not None:
            raise self.error
        return await super().run(transaction)


@pytest.mark.parametrize("error", [NewerStorageError("test"), StorageClosedError("lost")], ids=["newer", "lost"])
async def test_a_write_goes_to_the_inbox_while_the_database_is_shut(error: Exception) -> None:
    """A newer version or a lost database costs no write; once it opens, it is one job with the same id."""
    device = Device()
    shut = ShutStore(error)
    device.lab.store = shut
    outbox = await device.context()
    photo = File("photos", "a.jpg", "image/jpeg", 3, b"abc")
    accepted = await outbox.enqueue("photo", {"text": "a"}, attachments=[photo], lane="site", priority=7)
    again = await outbox.enqueue("photo", {"text": "a"}, id=accepted.id, key=accepted.key)
    assert again == accepted
    assert await device.inbox.count() == 1
    shut.error = None
    [row] = await outbox.jobs()
    assert (row["id"], row["key"], row["lane"], row["priority"]) == (*accepted, "site", 7)
    assert await outbox.files(accepted.id) == [photo]


async def test_a_full_device_says_so() -> None:
    """No space for the job is no space for the inbox; the caller hears it and the form keeps its content."""
    device = Device()
    device.lab.store = ShutStore(StorageFullError())
    outbox = await device.context()
    with pytest.raises(StorageFullError):
        await outbox.enqueue("note", {"text": "a"})
    assert await device.inbox.count() == 0


class FullStore(MemoryStore):
    """A device with room for records, and none for files, or for nothing at all."""

    def __init__(self) -> None:
        super().__init__()
        self.full: tuple[str, ...] = ("attachments",)
        self.refused = 0
        self.unreadable = False
        """Nobody can look up what is there already."""

    async def run(self, transaction: Transaction[Any]) -> Any:
        if self.unreadable and transaction.name == "look_up":
            raise StorageClosedError("The connection was lost.")
        return await super().run(replace(transaction, start=lambda: self._refuse(transaction)))

    def _refuse(self, transaction: Transaction[Any]) -> Steps[Any]:
        steps, result = transaction.start(), None
        while True:
            try:
                request = steps.send(result)
            except StopIteration as end:
                return end.value
            if isinstance(request, Put) and request.store in self.full:
                self.refused += 1
                raise StorageFullError
            result = yield request


PHOTO = ("", "a.jpg", "image/jpeg", 3, b"abc")


def full_device() -> tuple[Device, FullStore]:
    device = Device()
    device.store = device.lab.store = store = FullStore()
    return device, store


async def test_what_finds_no_room_is_shown_counted_and_exported_with_its_files() -> None:
    """It is saved, in the inbox; no list, number, export or account may leave it out, and it can be opened."""
    device, _ = full_device()
    device.inbox.add(entry("e1", "a", type="photo", files=[PHOTO]))
    device.inbox.add(entry("e2", "b", type="photo", files=[PHOTO], account="ann"))
    outbox = await device.context()
    await outbox.visit()
    await device.clock.advance(5_000)
    for only in ({}, {"state": "pending"}):
        [row] = await outbox.jobs(**only)
        assert (row["id"], row["key"], row["state"], row["waits"]) == ("e1", "key-e1", "pending", "space")
        assert (row["summary"], row["files"], row["created_at"]) == ({}, 1, 1_800_000_000_000)
    assert await outbox.jobs(state="failed") == await outbox.jobs(reason="refused") == []
    stats = await outbox.stats()
    assert (stats["unsent"], stats["states"]["pending"], stats["queues"]["photos"]) == (1, 1, {"pending": 1})
    assert stats["oldest_unsent_at"] == stats["oldest_pending_at"] == 1_800_000_000_000
    overview = await outbox.overview()
    assert (overview["jobs"], overview["stats"]["unsent"], overview["waited"]) == (await outbox.jobs(), 1, 1)
    job = await outbox.job("e1")
    assert job is not None
    assert (job["payload"], job["attachments"][0]["name"]) == ({"text": "a"}, "a.jpg")
    assert await outbox.files("e1") == [File("files", "a.jpg", "image/jpeg", 3, b"abc")]
    [exported] = [job async for job in outbox.export()]
    assert (exported["id"], exported["attachments"][0]["data"]) == ("e1", "YWJj")
    assert await outbox.waiting_accounts() == {"": 1, "ann": 1}
    assert await outbox.sign_out() == 1
    for act in (outbox.retry("e1"), outbox.edit("e1", {"text": "b"})):
        with pytest.raises(ActionRefusedError, match=r"room.* to change it, cancel it and enter it anew"):
            await act


async def test_what_finds_no_room_holds_up_its_own_lane_and_nothing_else() -> None:
    """Everything else is taken in, stored and sent; its own lane goes on in order as soon as there is room."""
    device, store = full_device()
    outbox = await device.context()
    device.offline()
    await outbox.enqueue("photo", {"text": "before"})
    device.inbox.add(entry("e1", "big", type="photo", files=[PHOTO]))
    device.inbox.add(entry("e2", "behind it", type="photo"))
    device.inbox.add(entry("e3", "other lane", type="photo", options={"lane": "x"}))
    device.inbox.add(entry("e4", "other queue"))
    device.inbox.add(entry("e5", "fails", type="nobody.knows", files=[PHOTO]))
    await outbox.enqueue("photo", {"text": "last"})
    await outbox.enqueue("photo", {"text": "high"}, priority=9)
    device.online()
    result = await outbox.drain()
    await device.rest()
    assert sorted(device.sent()) == ["before", "high", "other lane", "other queue"]
    assert result["remaining"]
    waiting = [row["id"] for row in await outbox.jobs(state="pending")]
    assert {"e1", "e2", "e5"} < set(waiting)
    assert len(waiting) == 4
    store.full = ()
    await device.deliver_all(outbox)
    assert device.sent()[4:] == ["big", "behind it", "last"]
    assert device.end("e5") == ("failed", "unknown_type")
    assert await device.inbox.count() == 0
    check_laws(store)


async def test_what_finds_no_room_is_not_overtaken_because_it_could_not_be_looked_up() -> None:
    """The look for it fails too; what is saved next in its lane joins it in the inbox all the same."""
    device, store = full_device()
    device.inbox.add(entry("e1", "big", type="photo", files=[PHOTO]))
    outbox = await device.context()
    store.unreadable = True
    second = await outbox.enqueue("photo", {"text": "second"})
    store.unreadable = False
    assert [entry.id for entry in await device.inbox.entries(9)] == ["e1", second.id]
    store.full = ()
    await device.deliver_all(outbox)
    assert device.sent() == ["big", "second"]


async def test_room_that_comes_by_itself_is_found_without_a_wake() -> None:
    """The next look is a minute away at most, and mere looks do not copy the files again and again."""
    device, store = full_device()
    device.inbox.add(entry("e1", "a", type="photo", files=[PHOTO]))
    outbox = await device.context()
    result = await outbox.drain()
    assert result["next_wake_at"] == device.clock.now() + 60_000
    assert store.refused > 0
    store.refused = 0
    for _ in range(10):
        await outbox.jobs(limit=1)
    assert store.refused == 0
    store.full = ()
    assert (await outbox.jobs())[0]["waits"] == "space"
    await device.clock.advance(10_000)
    assert (await outbox.jobs())[0]["waits"] is None


@pytest.mark.parametrize("full", [("attachments",), ("jobs", "bodies", "queues")], ids=["files", "everything"])
async def test_what_finds_no_room_can_be_cancelled(full: tuple[str, ...]) -> None:
    """Nothing of it is sent, its lane goes on, and a context that is just taking it in finds that it is over."""
    device, store = full_device()
    store.full = full
    device.inbox.add(entry("e1", "big", type="photo", files=[PHOTO]))
    device.inbox.add(entry("e2", "next", type="photo"))
    late = await device.inbox.entries(1)
    outbox = await device.context()
    assert (await outbox.cancel("e1"))["state"] == "cancelled"
    store.full = ()
    await device.deliver_all(outbox)
    assert device.sent() == ["next"]
    if full == ("attachments",):
        device.inbox.kept += late
        await device.deliver_all(outbox)
        assert device.sent() == ["next"]
        assert device.end("e1") == ("cancelled", "by_person")
    check_laws(store)


async def test_a_submission_under_the_id_of_another_job_waits_for_room_under_its_own() -> None:
    """Both are shown, and cancelling one does not touch the other."""
    device, _ = full_device()
    outbox = await device.context()
    await outbox.enqueue("note", {"text": "first"}, id="e1", key="key-e1", delay_ms=60_000)
    device.inbox.add(entry("e1", "other", type="photo", files=[PHOTO]))
    rows = {row["waits"]: row["id"] for row in await outbox.jobs()}
    assert rows["time"] == "e1" != rows["space"]
    await outbox.cancel(rows["space"])
    assert [(row["id"], row["state"]) for row in await outbox.jobs(state="pending")] == [("e1", "pending")]


class UnreadableInbox(MemoryInbox):
    """An inbox database that is lost."""

    async def count(self) -> int:
        raise StorageClosedError("the inbox is lost")


async def test_an_unreadable_inbox_does_not_stop_writes() -> None:
    """Enqueue still accepts; sending waits until the inbox can be read, so that nothing is overtaken."""
    device = Device()
    device.lab.inbox = UnreadableInbox()
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    assert device.end(accepted.id) == ("pending", None)
    assert device.network.sent == []


async def test_news_of_the_inbox_wakes_every_context() -> None:
    """Another tab's entry is taken in and sent at once."""
    device = Device()
    await device.context()
    device.inbox.add(entry("e1", "a"))
    for end in device.lab._ends:
        end.hear({"kind": "inbox", "id": "e1"})
    await device.rest()
    assert device.end("e1") == ("completed", None)


async def test_a_secret_that_javascript_could_not_know_goes_no_further() -> None:
    """The rest of what was handed over is kept, as invalid and editable; the secret is in no store."""
    device = Device()
    device.offline()
    outbox = describe()
    outbox.route("login", "POST", "/api/login", queue="notes", secrets=["pin"])
    payload = {"text": "a", "pin": "4711", "inner": [{"Authorization": "Bearer 4712", "kept": 1}]}
    device.inbox.add(entry("e1", "a", type="login", payload=payload))
    outbox = await device.context(outbox)
    (row,) = await outbox.jobs()
    assert (row["state"], row["reason"]) == ("failed", "invalid")
    job = await outbox.job("e1")
    assert job is not None
    assert job["payload"] == {"text": "a", "inner": [{"kept": 1}]}
    everything = repr([device.store.records(store) for store in ("jobs", "bodies", "quarantine")])
    assert "471" not in everything


def test_a_form_always_waits_for_the_disk() -> None:
    """Who submits one is told that it is saved."""
    with pytest.raises(InvalidOptionError, match="strict"):
        describe().route("form", "POST", "/api/form", form=Fussy(), durability="relaxed")
