"""A crash anywhere is harmless: contexts die in mid-send, locks are lost and stolen, claims are settled by their owner only."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from holdfast import File
from holdfast.backoff import Backoff
from holdfast.errors import NewerStorageError, StorageClosedError
from holdfast.held import HeldLock
from holdfast.leader import Leader
from holdfast.outcome import Delivered, NotRun, Outcome
from holdfast.ports import Answer, Request
from holdfast.storage import Delete, Transaction, transaction
from holdfast.testing import Laboratory, MemoryLocks, answer_with, receipt
from holdfast.transactions.gating import take_lease
from holdfast.transactions.settle import Attempt, settle
from tests.support.device import WHO, Device, Silence, check_laws, describe, in_turn


async def test_a_job_whose_context_died_in_mid_send_is_sent_again_under_its_key() -> None:
    """The next context that is granted the lock takes it over at once; the death burns no attempt."""
    device = Device()
    device.network.answer = Silence()
    accepted = await (await device.context()).enqueue("note", {"text": "a"})
    await device.rest()
    assert device.end(accepted.id) == ("processing", None)
    await device.crash()
    device.network.answer = receipt
    outbox = await device.context()
    await outbox.drain()
    record = device.record(accepted.id)
    assert (record["state"], record["attempts"], record["fence"]) == ("completed", 0, 2)
    assert [request.headers["Idempotency-Key"] for request in device.network.sent] == [accepted.key] * 2
    check_laws(device.store)


async def test_a_job_survives_the_browser() -> None:
    """Another start on the same store, with locks, channel and clock of its own, finds and sends it."""
    device = Device()
    device.offline()
    accepted = await (await device.context()).enqueue("note", {"text": "a"})
    await device.crash()
    later = Laboratory(seed=1, store=device.store)
    outbox = describe()
    await outbox.open(later.ports())
    await outbox.drain()
    assert device.end(accepted.id) == ("completed", None)


async def test_a_context_that_dies_at_any_step_loses_nothing_and_doubles_nothing() -> None:
    """Killed after each possible number of turns of the event loop, both jobs arrive, in order, each under one key."""
    for turns in range(60):
        device = Device(seed=turns)
        outbox = await device.context()
        first = await outbox.enqueue("note", {"text": "a"})
        second = await outbox.enqueue("note", {"text": "b"})
        for _ in range(turns):
            await asyncio.sleep(0)
        await device.crash()
        check_laws(device.store)
        await device.deliver_all(await device.context())
        keys: dict[str, None] = dict.fromkeys(request.headers["Idempotency-Key"] for request in device.network.sent)
        assert list(keys) == [first.key, second.key]
        assert device.end(first.id) == device.end(second.id) == ("completed", None)
        check_laws(device.store)


async def test_who_loses_the_lock_aborts_its_sends_and_settles_nothing() -> None:
    """The job stays claimed until its lease ends; then somebody else sends it."""
    device = Device()
    device.network.answer = silence = Silence()
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    device.lab.locks.steal("test:queue:notes")
    await device.rest()
    assert silence.waiting[0][1].cancelled()
    assert device.record(accepted.id)["fence"] == 1
    assert device.end(accepted.id) == ("processing", None)
    device.network.answer = receipt
    await device.clock.advance(60_000)
    await outbox.drain()
    assert device.end(accepted.id) == ("completed", None)


class StolenLocks(MemoryLocks):
    """Every lock is taken from a holder that may still be at work."""

    def hold(self, name, stale):  # type: ignore[no-untyped-def]
        held = super().hold(name, stale)
        enter = held.__aenter__

        async def stolen():  # type: ignore[no-untyped-def]
            lock = await enter()
            lock.stolen = True
            return lock

        held.__aenter__ = stolen  # type: ignore[method-assign]
        return _Entered(held, stolen)


class _Entered:
    def __init__(self, held: object, enter: object) -> None:
        self._held, self._enter = held, enter

    async def __aenter__(self) -> object:
        return await self._enter()  # type: ignore[operator]

    async def __aexit__(self, *error: object) -> object:
        return await self._held.__aexit__(*error)  # type: ignore[attr-defined]


async def test_a_thief_waits_for_the_lease() -> None:
    """The robbed context may still be sending: its claim counts until its lease is over."""
    device = Device()
    device.network.answer = Silence()
    accepted = await (await device.context()).enqueue("note", {"text": "a"})
    await device.rest()
    await device.crash()
    device.network.answer = receipt
    device.lab.locks = StolenLocks()
    outbox = await device.context()
    drained = await outbox.drain()
    lease_until = device.record(accepted.id)["lease_until"]
    assert device.end(accepted.id) == ("processing", None)
    assert drained["next_wake_at"] == lease_until
    await device.clock.advance(lease_until - device.clock.now())
    await outbox.drain()
    assert device.end(accepted.id) == ("completed", None)


async def test_a_thief_does_not_wait_for_a_lease_from_before_the_clock_was_set_back() -> None:
    """It has longer to go than any lease was given: the job leaves within two minutes, not a day later."""
    device = Device()
    device.network.answer = Silence()
    accepted = await (await device.context()).enqueue("note", {"text": "a"})
    await device.rest()
    await device.crash()
    device.network.answer = receipt
    device.lab.locks = StolenLocks()
    device.clock._now -= 86_400_000
    await device.deliver_all(await device.context(), span_ms=120_000)
    assert device.end(accepted.id) == ("completed", None)


async def test_what_a_robbed_context_still_sends_takes_room_in_its_queue() -> None:
    """Until its lease is over it may be under way: at no moment more lanes than the queue allows, whoever serves them."""
    device = Device()
    device.network.answer = Silence()
    robbed = await device.context(concurrency=2)
    await robbed.enqueue("note", {"text": "a"}, lane="a")
    await device.rest()
    await device.crash()
    device.network.answer = silence = Silence()
    device.network.sent.clear()
    device.lab.locks = StolenLocks()
    outbox = await device.context(concurrency=2)
    await outbox.pause()
    for text in "bcd":
        await outbox.enqueue("note", {"text": text}, lane=text)
        await device.clock.advance(1)
    await outbox.resume()
    for sent in ("b", "bc", "bcd"):
        await device.rest()
        assert device.sent() == list(sent)
        silence.answer()
    await device.clock.advance(60_000)
    outbox.wake()
    await device.rest()
    assert device.sent() == list("bcda")
    check_laws(device.store)


class Taken(MemoryLocks):
    """Locks that somebody holds for ever; what those who wait ask about the holder is kept for the test."""

    def __init__(self) -> None:
        super().__init__()
        self.gone: dict[str, Callable[[], Awaitable[bool]]] = {}

    @asynccontextmanager
    async def hold(self, name: str, stale: Callable[[], Awaitable[bool]]) -> AsyncIterator[HeldLock]:
        self.gone[name] = stale
        await asyncio.Event().wait()
        yield HeldLock(stolen=False)


@pytest.mark.parametrize("lock", ["test:queue:notes", "test:leader"])
async def test_whoever_holds_a_lock_is_gone_unless_its_lease_runs(lock: str) -> None:
    """A tab that froze before its first lease, one whose lease has ended, one with a lease from before the clock was set back."""
    device, taken = Device(), Taken()
    device.lab.locks = taken
    outbox = await device.context()
    outbox.wake()
    leader = asyncio.ensure_future(Leader(outbox.ports, outbox.name, outbox.wake, outbox.listen).run())
    await device.rest()
    gone = taken.gone[lock]
    assert await gone()
    assert await device.store.run(take_lease(lock, "frozen", 60_000, device.clock.now()))
    assert not await gone()
    await device.clock.advance(59_999)
    assert not await gone()
    await device.clock.advance(1)
    assert await gone()
    assert await device.store.run(take_lease(lock, "frozen", 60_000, device.clock.now() + 86_400_000))
    assert await gone()
    leader.cancel()


class Outdated:
    """A database that a newer version has converted, as a page of the older one sees it."""

    async def run(self, transaction: Transaction[Any]) -> Any:
        raise NewerStorageError(transaction.name)

    def close(self) -> None: ...


async def test_a_page_that_an_update_left_behind_does_not_lead() -> None:
    """It could wake nothing. Where it led before, the page of the new version leads at once, and need not rob it."""
    device = Device()
    outbox = await device.context()
    old = Leader(replace(outbox.ports, store=Outdated()), outbox.name, outbox.wake, outbox.listen)
    new = Leader(outbox.ports, outbox.name, outbox.wake, outbox.listen)
    running = [asyncio.ensure_future(leader.run()) for leader in (old, new)]
    await device.rest()
    assert (old.leads, new.leads) == (False, True)
    await device.clock.advance(200_000)
    assert (old.leads, new.leads) == (False, True)
    for task in running:
        task.cancel()


def attempt_of(job_id: str, fence: int) -> Attempt:
    """A receipt in hand."""
    outcome = Outcome(Delivered(), answered=True)
    return Attempt(job_id, fence, 0, outcome, origin="", backoff=Backoff(), random=0.5, offline=False)


async def test_a_settle_with_an_old_fence_changes_nothing() -> None:
    """Whoever comes back late, even with a receipt in hand, is not the owner any more."""
    device = Device()
    device.network.answer = Silence()
    accepted = await (await device.context()).enqueue("note", {"text": "a"})
    await device.rest()
    before = device.record(accepted.id)
    for fence in (0, 2):
        attempt = attempt_of(accepted.id, fence)
        assert await device.store.run(settle([attempt], WHO, device.clock.now())) == []
    assert device.record(accepted.id) == before


async def test_an_attempt_is_settled_once() -> None:
    """The second settle of one claim finds it gone."""
    device = Device()
    device.network.answer = Silence()
    accepted = await (await device.context()).enqueue("note", {"text": "a"})
    await device.rest()
    attempt = attempt_of(accepted.id, 1)
    assert await device.store.run(settle([attempt], WHO, device.clock.now()))
    assert await device.store.run(settle([attempt], WHO, device.clock.now())) == []
    check_laws(device.store)


async def test_what_was_not_run_is_due_though_the_clock_was_set_back_meanwhile() -> None:
    """It was due when it was claimed, by a clock that nobody has any more."""
    device = Device()
    device.network.answer = Silence()
    accepted = await (await device.context()).enqueue("note", {"text": "a"})
    await device.rest()
    attempt = replace(attempt_of(accepted.id, 1), outcome=Outcome(NotRun(), answered=True))
    day_ago = device.clock.now() - 86_400_000
    [settled] = await device.store.run(settle([attempt], WHO, day_ago))
    assert (settled["state"], settled["run_at"]) == ("pending", day_ago)
    check_laws(device.store)


async def test_a_fence_is_never_lowered() -> None:
    """Over retries, deaths and redrives it only grows."""
    device = Device()
    device.network.answer = in_turn(answer_with(503), answer_with(422))
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    fences = []
    for _ in range(2):
        await device.deliver_all(outbox)
        fences.append(device.record(accepted.id)["fence"])
        if device.record(accepted.id)["state"] == "failed":
            await outbox.retry(accepted.id)
    assert fences == [2, 3]


async def test_a_job_that_takes_its_context_down_again_and_again_is_put_aside() -> None:
    """A poisonous job ends as crashed instead of blocking its lane for ever."""
    device = Device()
    device.network.answer = Silence()
    accepted = await (await device.context()).enqueue("note", {"text": "poison"})
    await device.rest()
    for _ in range(20):
        await device.crash()
        outbox = await device.context()
        outbox.wake()
        await device.rest()
    assert device.end(accepted.id) == ("failed", "crashed")


def _look_slowly(device: Device, span_ms: int) -> None:
    """The server takes so long to say that it is there."""
    look = device.network.fetch_json

    async def late(url: str, timeout_ms: int) -> object:
        await device.clock.sleep(span_ms)
        return await look(url, timeout_ms)

    device.network.fetch_json = late  # type: ignore[method-assign]


async def test_a_death_soon_after_its_claim_counts_though_the_drain_began_long_before() -> None:
    """The server was slow to say that it is there; what tells of the job is the time since it was claimed."""
    device = Device()
    device.network.answer = Silence()
    _look_slowly(device, 6_000)
    accepted = await (await device.context()).enqueue("note", {"text": "poison"})
    for _ in range(8):
        await device.clock.advance(21_000)
        await device.crash()
        outbox = await device.context()
        outbox.wake()
        await device.rest()
    assert device.end(accepted.id) == ("failed", "crashed")


async def test_a_death_more_than_20_s_after_its_claim_says_nothing_of_the_job() -> None:
    """Whenever within its drain the claim was made."""
    device = Device()
    device.network.answer = Silence()
    _look_slowly(device, 1_000)
    accepted = await (await device.context()).enqueue("note", {"text": "a"})
    for _ in range(8):
        await device.clock.advance(1_000)
        assert device.end(accepted.id) == ("processing", None)
        await device.clock.advance(20_100)
        await device.crash()
        outbox = await device.context()
        outbox.wake()
        await device.rest()


async def test_deaths_count_in_a_row() -> None:
    """An answer between them, whatever it says, starts the count anew: then it was not this job that took its context down."""
    device = Device()
    device.network.answer = silence = Silence()
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    for _ in range(3):
        for _ in range(4):
            await device.crash()
            device.network.answer = silence = Silence()
            outbox = await device.context()
            outbox.wake()
            await device.rest()
        assert device.end(accepted.id) == ("processing", None)
        silence.answer(answer_with(503))
        await device.rest()
        await device.clock.advance(300_000)
        outbox.wake()
        await device.rest()
    silence.answer()
    await device.rest()
    assert device.end(accepted.id) == ("completed", None)


async def test_jobs_that_were_beside_it_are_not_put_aside_for_its_deaths() -> None:
    """Whoever of them takes the context down is found out alone; nobody can tell while others are under way too."""
    device = Device()
    device.network.answer = Silence()
    outbox = await device.context(concurrency=2)
    jobs = [await outbox.enqueue("note", {"text": text}, lane=text) for text in "ab"]
    await device.rest()
    for _ in range(8):
        assert [device.record(job.id)["state"] for job in jobs] == ["processing", "processing"]
        await device.crash()
        outbox = await device.context(concurrency=2)
        outbox.wake()
        await device.rest()


@transaction("bodies", "attachments", durability="relaxed")
def lose(job_id: str, store: str):  # type: ignore[no-untyped-def]
    yield Delete(store, [job_id, 0] if store == "attachments" else job_id)


@pytest.mark.parametrize("store", ["bodies", "attachments"])
async def test_a_job_whose_content_was_lost_fails_and_lets_the_others_go(store: str) -> None:
    """A browser that dropped a blob or a body must not stop the queue, and no half of a job is sent."""
    device = Device()
    device.offline()
    outbox = await device.context()
    photo = File("photos", "a.jpg", "image/jpeg", 3, b"abc")
    broken = await outbox.enqueue("note", {"text": "a"}, attachments=[photo])
    await outbox.enqueue("note", {"text": "b"})
    await device.rest()
    device.network.sent.clear()
    await device.store.run(lose(broken.id, store))
    device.online()
    await outbox.drain()
    assert device.sent() == ["b"]
    assert device.end(broken.id) == ("failed", "undecodable")
    check_laws(device.store)


async def test_an_unknown_type_is_left_to_a_newer_version() -> None:
    """An older context neither sends nor fails what a newer one made."""
    device = Device()
    newer = describe(app_version=2)
    newer.route("new", "POST", "/api/new", queue="notes")
    device.offline()
    await device.context(newer)
    accepted = await newer.enqueue("new", {"text": "a"}, lane="n")
    await device.crash()
    device.online()
    device.network.sent.clear()
    older = await device.context()
    await older.drain()
    assert device.end(accepted.id) == ("pending", None)
    assert device.sent() == []


async def test_a_type_nobody_knows_any_more_is_a_dead_letter() -> None:
    """A context at least as new as the one that made it may say so; the lane goes on."""
    device = Device()
    device.offline()
    old = describe()
    old.route("gone", "POST", "/api/gone", queue="notes")
    await device.context(old)
    accepted = await old.enqueue("gone", {"text": "a"})
    await old.enqueue("note", {"text": "b"})
    await device.crash()
    device.online()
    device.network.sent.clear()
    outbox = await device.context(app_version=2)
    await outbox.drain()
    assert device.end(accepted.id) == ("failed", "unknown_type")
    assert device.sent() == ["b"]
    check_laws(device.store)


async def test_many_jobs_of_a_type_nobody_knows_are_put_aside_in_bounded_steps() -> None:
    """A lane of a thousand of them holds no transaction open for long, and what is behind it is sent in the same drain."""
    device = Device()
    older = describe()
    older.route("gone", "POST", "/api/gone", queue="notes")
    outbox = await device.context(older)
    await outbox.pause()
    for _ in range(250):
        await outbox.enqueue("gone", {"text": "x"})
    last = await outbox.enqueue("note", {"text": "last"})
    await device.crash()
    outbox = await device.context()
    await outbox.resume()
    longest = 0
    run = device.store.run

    async def counted(transaction):  # type: ignore[no-untyped-def]
        nonlocal longest
        before = device.store.requests
        try:
            return await run(transaction)
        finally:
            longest = max(longest, device.store.requests - before)

    device.store.run = counted  # type: ignore[method-assign]
    await outbox.drain()
    assert device.end(last.id) == ("completed", None)
    assert (await outbox.stats())["failures"] == {"unknown_type": 250}
    assert longest <= 100 * 6 + 20
    check_laws(device.store)


@pytest.mark.parametrize("shift_ms", [-86_400_000, -3_600_000, -30_000])
async def test_a_clock_set_back_is_noticed_behind_the_first_head_too(shift_ms: int) -> None:
    """A delayed job that rightly waits hides nobody whose wait is longer now than it ever was."""
    device = Device()
    device.network.answer = in_turn(answer_with(503))
    outbox = await device.context()
    delayed = await outbox.enqueue("note", {"text": "delayed"}, delay_ms=2_000)
    await outbox.enqueue("note", {"text": "a"}, lane="x")
    await outbox.enqueue("note", {"text": "b"}, lane="x")
    await device.rest()
    await outbox.pause()
    for minutes in range(3):
        await outbox.enqueue("note", {"text": f"m{minutes}"}, delay_ms=(2 * 86_400_000) + minutes)
    await outbox.resume()
    await device.rest()
    device.clock._now += shift_ms
    early = await outbox.enqueue("note", {"text": "early"}, delay_ms=1_000)
    await outbox.drain()
    await device.clock.advance(120_000)
    await outbox.drain()
    assert {"a", "b", "delayed", "early"} <= set(device.sent())
    assert not {"m0", "m1", "m2"} & set(device.sent())
    assert device.record(delayed.id)["attempts"] == 0
    assert device.end(early.id) == ("completed", None)
    check_laws(device.store)


async def _robbed_of_a_lane(device: Device) -> str:
    """A context has died in mid-send, and whoever comes next steals its lock; returns the job that was under way."""
    device.network.answer = Silence()
    outbox = await device.context(concurrency=2)
    robbed = await outbox.enqueue("note", {"text": "robbed"}, lane="a")
    await device.rest()
    await device.crash()
    device.lab.locks = StolenLocks()
    device.network.sent.clear()
    return robbed.id


async def test_a_claim_of_another_is_recovered_while_a_long_send_goes_on() -> None:
    """Its lease ends in the middle of an upload that takes minutes: its lane goes on beside it."""
    device = Device()
    robbed = await _robbed_of_a_lane(device)
    upload = Silence()
    device.network.answer = lambda request: (upload if request.payload["text"] == "long" else receipt)(request)
    outbox = await device.context(concurrency=2)
    long = await outbox.enqueue("note", {"text": "long"}, lane="b")
    await device.rest()
    assert device.sent() == ["long"]
    await device.clock.advance(60_000)
    assert device.sent() == ["long", "robbed"]
    assert (device.end(long.id), device.end(robbed)) == (("processing", None), ("completed", None))
    upload.answer()
    await device.rest()
    assert device.end(long.id) == ("completed", None)
    check_laws(device.store)


async def test_a_claim_of_another_is_recovered_though_a_busy_pass_never_ends() -> None:
    """There is always something more to send in the other lane."""
    device = Device()
    robbed = await _robbed_of_a_lane(device)

    async def slowly(request: Request) -> Answer:
        await device.clock.sleep(1_000)
        return receipt(request)

    device.network.answer = slowly
    outbox = await device.context(concurrency=2)
    others = [await outbox.enqueue("note", {"text": str(number)}, lane="b") for number in range(90)]
    await device.clock.advance(70_000)
    assert device.end(robbed) == ("completed", None)
    assert device.end(others[-1].id) == ("pending", None)
    check_laws(device.store)


async def test_a_claim_that_ended_beside_a_long_send_was_alone_where_it_was() -> None:
    """What counts is what its own context was sending."""
    device = Device()
    robbed = await _robbed_of_a_lane(device)
    device.network.answer = Silence()
    outbox = await device.context(concurrency=2)
    await outbox.enqueue("note", {"text": "long"}, lane="b")
    await device.rest()
    assert device.record(robbed)["crashes"] == 0
    await device.clock.advance(60_000)
    assert device.record(robbed)["crashes"] == 1


async def test_a_look_for_ended_claims_that_fails_is_made_once_more() -> None:
    """The upload beside it goes on, and a minute later its lane does."""
    device = Device()
    robbed = await _robbed_of_a_lane(device)
    upload = Silence()
    device.network.answer = lambda request: (upload if request.payload["text"] == "long" else receipt)(request)
    outbox = await device.context(concurrency=2)
    await outbox.enqueue("note", {"text": "long"}, lane="b")
    await device.rest()
    run = device.store.run

    async def fails_once(transaction: Transaction[Any]) -> Any:
        if transaction.name == "begin":
            device.store.run = run  # type: ignore[method-assign]
            raise StorageClosedError("The connection was lost.")
        return await run(transaction)

    device.store.run = fails_once  # type: ignore[assignment, method-assign]
    await device.clock.advance(60_000)
    assert device.sent() == ["long"]
    await device.clock.advance(60_000)
    assert device.sent() == ["long", "robbed"]
    assert device.end(robbed) == ("completed", None)
