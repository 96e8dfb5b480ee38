"""What the simulation found, each in the few steps that show it."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from holdfast import Outbox
from holdfast.errors import StorageClosedError
from holdfast.leader import Leader
from holdfast.leases import LeaseLocks
from holdfast.memory import MemoryStore
from holdfast.ports import Answer, Request
from holdfast.storage import Transaction
from holdfast.testing import Laboratory, ManualClock, answer_with, receipt
from holdfast.transactions.claim import Claimant, begin
from holdfast.transactions.gating import read_holder, take_lease
from holdfast.transactions.tidy import Retention
from tests.support.device import Device, Silence, describe, in_turn

T = TypeVar("T")


class FailingStore(MemoryStore):
    """A database that is lost whenever the test says so."""

    fails = False

    async def run(self, transaction: Transaction[T]) -> T:
        if self.fails:
            raise StorageClosedError("The connection was lost.")
        return await super().run(transaction)


class LateStore(MemoryStore):
    """A database that makes writes late, also those that nobody waits for any more."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = False
        self.late: list[Transaction[Any]] = []

    async def run(self, transaction: Transaction[T]) -> T:
        if self.slow:
            self.late.append(transaction)
            await asyncio.Future()
        return await super().run(transaction)


class Asking:
    """Locks that are granted when the test says so, and let it ask what a waiting context asks."""

    def __init__(self) -> None:
        self.stale: Callable[[], Awaitable[bool]] | None = None
        self.granted = asyncio.Event()

    @asynccontextmanager
    async def hold(self, name: str, stale: Callable[[], Awaitable[bool]]) -> AsyncIterator[Any]:
        self.stale = stale
        await self.granted.wait()
        async with Laboratory().locks.hold(name, stale) as lock:
            yield lock


def lead(outbox: Outbox) -> "asyncio.Task[None]":
    """A page's leader."""
    return asyncio.ensure_future(Leader(outbox.ports, outbox.name, outbox.wake, outbox.listen).run())


def with_chores(done: list[Any]) -> Outbox:
    """An outbox with a route and, in a queue of its own, a task that writes down what it was given."""
    outbox = Outbox("test", app_version=1)
    outbox.route("note", "POST", "/api/notes", queue="notes")

    @outbox.task("chore", queue="chores")
    async def chore(payload: Any) -> None:
        done.append(payload)

    return outbox


async def test_a_queue_of_tasks_alone_is_worked_off() -> None:
    """No server is looked at for what runs on the device."""
    device, done = Device(), list[Any]()
    outbox = await device.context(with_chores(done))
    accepted = await outbox.enqueue("chore", {"n": 1})
    await device.deliver_all(outbox)
    assert (device.end(accepted.id), done, device.network.probes) == (("completed", None), [{"n": 1}], 0)


async def test_a_task_runs_while_the_server_is_away() -> None:
    """Its breaker stops what is sent, not what runs here."""
    device, done = Device(), list[Any]()
    device.offline()
    outbox = await device.context(with_chores(done))
    note = await outbox.enqueue("note", {"n": 1})
    await device.rest()
    chore = await outbox.enqueue("chore", {"n": 2})
    await device.rest()
    assert (device.end(note.id)[0], device.end(chore.id)[0], done) == ("pending", "completed", [{"n": 2}])
    row = await outbox.job(note.id)
    assert row is not None
    assert row["waits"] == "network"


async def test_a_task_that_was_switched_off_runs_once_it_is_switched_on() -> None:
    """The server's kill switch holds for tasks too, and is read again though nothing else is to be sent."""
    device, done = Device(), list[Any]()
    device.network.flags["disabled"]["types"] = ["chore"]
    outbox = await device.context(with_chores(done))
    await outbox.enqueue("note", {"n": 1})
    await device.rest()
    chore = await outbox.enqueue("chore", {"n": 2})
    await device.rest()
    assert (device.end(chore.id)[0], done) == ("pending", [])
    device.network.flags["disabled"]["types"] = []
    await device.deliver_all(outbox)
    assert (device.end(chore.id)[0], done) == ("completed", [{"n": 2}])


async def test_a_slow_queue_does_not_hold_up_the_retries_of_another() -> None:
    """While a long send runs, the leader still wakes what is due elsewhere."""
    device = Device()
    silence = Silence()
    first = [answer_with(503)]

    def answer(request: Request) -> Any:
        if request.url == "/api/notes":
            return silence(request)
        return (first.pop() if first else receipt)(request)

    device.network.answer = answer
    outbox = await device.context()
    leader = lead(outbox)
    await outbox.enqueue("note", {"text": "slow"})
    photo = await outbox.enqueue("photo", {"text": "quick"})
    await device.rest()
    assert device.end(photo.id) == ("pending", "server_error")
    await device.clock.advance(3_000)
    assert device.end(photo.id) == ("completed", None)
    leader.cancel()


async def test_a_leader_that_waits_outlives_a_lost_database() -> None:
    """The look whether the holder is gone fails; it goes on waiting, and leads when it is its turn."""
    device = Device()
    store = FailingStore()
    lab = Laboratory(store=store)
    outbox = describe()
    ports = lab.ports()
    await outbox.open(ports)
    asking = Asking()
    leader = Leader(replace(ports, locks=asking), "test", outbox.wake, outbox.listen)
    running = asyncio.ensure_future(leader.run())
    await device.rest()
    store.fails = True
    assert asking.stale is not None
    assert await asking.stale() is False
    store.fails = False
    asking.granted.set()
    await device.rest()
    assert leader.leads
    assert not running.done()
    running.cancel()


async def test_a_leader_stands_again_after_its_lock_could_not_be_asked_for() -> None:
    """Where locks live in the store, a lost database must not end the candidacy for the life of the page."""
    store = FailingStore()
    lab = Laboratory(store=store)
    ports = lab.ports()
    ports = replace(ports, locks=LeaseLocks(store, ports.clock, ports.entropy))
    outbox = describe()
    await outbox.open(ports)
    store.fails = True
    leader = Leader(ports, "test", outbox.wake, outbox.listen)
    running = asyncio.ensure_future(leader.run())
    await lab.clock.advance(1_000)
    store.fails = False
    await lab.clock.advance(120_000)
    assert leader.leads
    running.cancel()


async def test_a_lease_that_was_given_back_is_not_prolonged_by_a_renewal_on_its_way() -> None:
    """Else whoever comes next waits for the end of a lease that nobody holds."""
    store = LateStore()
    lab = Laboratory(store=store)
    ports = lab.ports()
    locks = LeaseLocks(store, ports.clock, ports.entropy)

    async def alive() -> bool:
        return False

    async def take() -> None:
        async with locks.hold("queue", alive):
            pass

    async with locks.hold("queue", alive):
        store.slow = True
        await lab.clock.advance(5_000)
        store.slow = False
    [renewal] = store.late
    await store.run(renewal)
    taken = asyncio.ensure_future(take())
    await lab.clock.advance(1_000)
    assert taken.done()


async def test_a_new_leader_shows_that_it_lives_at_once() -> None:
    """The lease of the one that died says nothing about it, so nobody robs it when that one ends."""
    device = Device()
    outbox = await device.context()
    await device.store.run(take_lease("test:leader", "one that died", 180_000, device.clock.now()))
    leader = lead(outbox)
    await device.clock.advance(1_000)
    record = await device.store.run(read_holder("test:leader"))
    assert record is not None
    assert record["holder"] != "one that died"
    leader.cancel()


async def test_a_drain_that_runs_out_of_time_leaves_no_noise() -> None:
    """What goes on is waited for by nobody, and nobody is told of an exception that was never retrieved."""
    device, told = Device(), list[Any]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    silence = device.network.answer = Silence()
    outbox = await device.context()
    await outbox.enqueue("note", {"text": "a"})
    draining = asyncio.ensure_future(outbox.drain(timeout_ms=1_000))
    await device.clock.advance(1_000)
    assert (await draining)["remaining"] is True
    await device.rest()
    gc.collect()
    silence.answer()
    await device.rest()
    assert told == []


async def test_a_context_whose_time_is_a_moment_old_takes_no_wait_for_over() -> None:
    """It took its time before its transaction had to wait for another context's, and no clock was set back."""
    device = Device()
    device.network.answer = in_turn(answer_with(503))
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    record = device.record(accepted.id)
    who = Claimant("other", "test:queue:notes", "", "notes", {"note": ""}, 1, 60_000, granted=True)
    await device.store.run(begin(who, 1, Retention(), record["updated_at"] - 20))
    assert device.record(accepted.id) == record
    hour_ago = record["updated_at"] - 3_600_000
    await device.store.run(begin(who, 1, Retention(), hour_ago))
    assert device.record(accepted.id)["run_at"] == hour_ago + record["wait_ms"]


async def test_a_lease_that_was_renewed_a_moment_ago_is_not_taken_over() -> None:
    """Even if the renewal is later than the time of whoever wants it."""
    device, now = Device(), 1_800_000_000_000
    assert await device.store.run(take_lease("lock", "a", 15_000, now))
    assert not await device.store.run(take_lease("lock", "b", 15_000, now - 20))
    assert await device.store.run(take_lease("lock", "b", 15_000, now - 3_600_000))


class WallClock:
    """A clock whose hands can be moved while its timers go on."""

    offset_ms = 0

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def now(self) -> int:
        return self._clock.now() + self.offset_ms

    async def sleep(self, span_ms: int) -> None:
        await self._clock.sleep(span_ms)


async def test_a_clock_set_back_does_not_make_the_leader_sleep_until_then() -> None:
    """It looks at the queues within a minute."""
    lab, wakes = Laboratory(), list[int]()
    clock = WallClock(lab.clock)
    outbox = describe()
    ports = replace(lab.ports(), clock=clock)
    await outbox.open(ports)
    leader = asyncio.ensure_future(Leader(ports, "test", lambda: wakes.append(clock.now()), outbox.listen).run())
    await lab.clock.advance(1_000)
    clock.offset_ms = -3_600_000
    before = len(wakes)
    await lab.clock.advance(61_000)
    assert len(wakes) > before
    leader.cancel()


@pytest.mark.parametrize("earlier", [0, 1, 2])
async def test_a_refusal_from_before_the_sign_in_holds_nobody(earlier: int) -> None:
    """The answer to a request of before comes late; who has signed in meanwhile, once more, is not asked to do so again."""
    device = Device()
    silence = device.network.answer = Silence()
    device.inbox.signed_in_account = "ann"
    outbox = await device.context()
    for _ in range(earlier):
        await outbox.sign_in("ann")
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    await outbox.sign_in("ann")
    silence.answer(answer_with(401))
    await device.rest()
    silence.answer()
    await device.rest()
    assert device.end(accepted.id) == ("completed", None)


async def test_a_refusal_at_the_door_says_nothing_of_an_earlier_attempt() -> None:
    """A 401 after a lost answer leaves open whether the first attempt was done; a first attempt it settles."""
    device = Device()
    silence = device.network.answer = Silence()
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    silence.answer(lambda _request: Answer(failure="timeout"))
    await device.clock.advance(2_000)
    outbox.wake()
    await device.rest()
    silence.answer(answer_with(401))
    await device.rest()
    record = device.record(accepted.id)
    assert (record["reason"], record["unknown_since"] is None) == ("signed_out", False)


async def test_what_took_long_to_arrive_is_not_pruned_at_once() -> None:
    """A late copy of its inbox entry must still find it: it counts from its end, not from its making."""
    device = Device()
    device.offline()
    outbox = describe()
    outbox.retention = Retention(finished_count=1)
    outbox = await device.context(outbox)
    ids = [(await outbox.enqueue("note", {"text": text})).id for text in "abc"]
    await device.clock.advance(7_200_000)
    device.online()
    await outbox.drain()
    await outbox.drain()
    assert [device.end(job_id)[0] for job_id in ids] == ["completed"] * 3


def slow_looks(device: Device) -> None:
    """A look at the server takes a second, so that others come to want one meanwhile."""
    look = device.network.fetch_json

    async def fetch_json(url: str, timeout_ms: int) -> Any:
        found = await look(url, timeout_ms)
        await device.clock.sleep(1_000)
        return found

    device.network.fetch_json = fetch_json  # type: ignore[method-assign]


async def test_many_queues_look_at_a_silent_server_once() -> None:
    """One looks for all: at most two looks a minute and device, however many queues and contexts have work."""
    device = Device()
    slow_looks(device)
    contexts = [await device.context() for _ in range(2)]
    device.offline()
    for text in "abc":
        await contexts[0].enqueue("note", {"text": text})
        await contexts[1].enqueue("photo", {"text": text})
    leaders = [lead(outbox) for outbox in contexts]
    await device.clock.advance(60_000)
    for _ in range(10):
        before = device.network.probes
        await device.clock.advance(60_000)
        assert device.network.probes - before <= 2
    for leader in leaders:
        leader.cancel()


async def test_whoever_waits_for_anothers_look_goes_as_soon_as_the_server_is_there() -> None:
    """The queue that did not look itself is woken by the one that did, and a drain waits for both."""
    device = Device()
    slow_looks(device)
    outbox = await device.context()
    note = await outbox.enqueue("note", {"text": "a"})
    photo = await outbox.enqueue("photo", {"text": "b"})
    draining = asyncio.ensure_future(outbox.drain(wake="timer"))  # nobody asks for a look of his own
    await device.clock.advance(1_000)
    assert await draining == {"next_wake_at": None, "remaining": False}
    assert (device.end(note.id)[0], device.end(photo.id)[0], device.network.probes) == ("completed", "completed", 1)


async def test_the_rest_of_what_was_under_way_is_not_looked_for() -> None:
    """When an outage begins, the first request that fails asks whether the server is there; the others need not."""
    device = Device()
    silence = device.network.answer = Silence()
    outbox = describe()
    outbox.queue("notes", concurrency=5)
    outbox = await device.context(outbox)
    for lane in "abcde":
        await outbox.enqueue("note", {"text": lane}, lane=lane)
    await device.rest()
    before = device.network.probes
    device.offline()
    while silence.waiting:
        silence.answer(lambda _request: Answer(failure="network"))
        await device.rest()
    assert device.network.probes - before == 1


async def test_the_wait_of_a_delayed_job_that_was_edited_does_not_grow_with_the_clock() -> None:
    """It waits no longer than it was to wait at first, though the clock was set back meanwhile."""
    lab = Laboratory()
    clock = WallClock(lab.clock)
    outbox = describe()
    await outbox.open(replace(lab.ports(), clock=clock))
    accepted = await outbox.enqueue("note", {"text": "a"}, delay_ms=5_000)
    clock.offset_ms = -3_600_000
    edited = await outbox.edit(accepted.id, {"text": "b"})
    row = await outbox.job(edited.id)
    assert row is not None
    assert row["run_at"] - clock.now() <= 5_000


async def test_a_free_lane_is_served_while_another_one_sends_for_long() -> None:
    """What is enqueued, or due again, in the middle of a long send does not wait for its end where concurrency allows."""
    device = Device()
    silence = Silence()
    again = [answer_with(503)]

    def answer(request: Request) -> Any:
        if request.payload["text"] == "long":
            return silence(request)
        return (again.pop() if again else receipt)(request)

    device.network.answer = answer
    outbox = await device.context(describe(concurrency=2))
    long = await outbox.enqueue("note", {"text": "long"}, lane="a")
    await device.rest()
    short = await outbox.enqueue("note", {"text": "short"}, lane="b")
    await device.rest()
    assert device.end(short.id) == ("pending", "server_error")
    await device.clock.advance(1_000)
    assert (device.end(short.id)[0], device.end(long.id)[0]) == ("completed", "processing")


async def test_a_look_at_the_server_does_not_wait_for_a_long_send() -> None:
    """Its flags are old by then; the free lane asks for them and goes on."""
    device = Device()
    silence = Silence()
    device.network.answer = lambda request: (silence if request.payload["text"] == "long" else receipt)(request)
    outbox = await device.context(describe(concurrency=2))
    await outbox.enqueue("note", {"text": "long"}, lane="a")
    await device.clock.advance(120_000)
    short = await outbox.enqueue("note", {"text": "short"}, lane="b")
    await device.rest()
    assert device.end(short.id)[0] == "completed"
