"""Order: in a lane first come, first served; between lanes nobody waits for another."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.backoff import Backoff
from holdfast.gates import flags_name
from holdfast.lifecycle import Reason
from holdfast.outcome import Delivered, Outcome, Rejected
from holdfast.storage import Put, Steps, transaction
from holdfast.testing import answer_with, receipt
from holdfast.transactions.claim import claim
from holdfast.transactions.settle import Attempt, settle
from tests.support.device import WHO, Device, Outage, Silence, check_laws, describe, entry, in_turn


async def test_jobs_of_a_queue_arrive_in_the_order_in_which_they_were_enqueued() -> None:
    """A queue is FIFO by default, over all its types."""
    device = Device()
    outbox = await device.context()
    for text in "abcdef":
        await outbox.enqueue("note" if text in "ace" else "memo", {"text": text})
    await device.deliver_all(outbox)
    assert device.sent() == list("abcdef")
    assert {row["state"] for row in await outbox.jobs()} == {"completed"}
    check_laws(device.store)


async def test_a_job_that_waits_for_its_retry_holds_its_own_lane() -> None:
    """What was enqueued behind it stays behind it, however long it takes."""
    device = Device()
    device.network.answer = in_turn(*[answer_with(503)] * 3)
    outbox = await device.context()
    for text in "abc":
        await outbox.enqueue("note", {"text": text})
    await device.deliver_all(outbox)
    assert device.sent() == list("aaaabc")
    check_laws(device.store)


async def test_a_job_that_waits_for_its_retry_holds_no_other_lane() -> None:
    """Another lane of the same queue goes on at once."""
    device = Device()
    device.network.answer = lambda request: (answer_with(503) if request.payload["text"] == "a1" else receipt)(request)
    outbox = await device.context()
    for lane, text in (("a", "a1"), ("a", "a2"), ("b", "b1"), ("b", "b2")):
        await outbox.enqueue("note", {"text": text}, lane=lane)
        await device.rest()
    assert device.sent() == ["a1", "b1", "b2"]
    check_laws(device.store)


async def test_a_head_that_fails_for_good_lets_its_lane_go_on() -> None:
    """A dead letter keeps nobody waiting."""
    device = Device()
    device.network.answer = in_turn(answer_with(422))
    outbox = await device.context()
    for text in "ab":
        await outbox.enqueue("note", {"text": text})
    await device.deliver_all(outbox)
    assert device.sent() == ["a", "b"]
    assert sorted(row["state"] for row in await outbox.jobs()) == ["completed", "failed"]


async def test_a_higher_priority_goes_first_among_lanes() -> None:
    """Of those that wait, the most urgent ones go first, each priority in its own order."""
    device = Device()
    device.offline()
    outbox = await device.context()
    await outbox.enqueue("note", {"text": "x"}, priority=9)
    await device.rest()
    for number, priority in enumerate((1, 5, 9, 5, 0, 9)):
        await outbox.enqueue("note", {"text": f"{priority}-{number}"}, priority=priority)
    device.online()
    device.network.sent.clear()
    await outbox.drain()
    assert device.sent() == ["x", "9-2", "9-5", "5-1", "5-3", "1-0", "0-4"]


async def test_priority_never_overtakes_inside_a_named_lane() -> None:
    """A lane is an order; its head decides when it goes, not who is in it."""
    device = Device()
    device.offline()
    outbox = await device.context()
    await outbox.enqueue("note", {"text": "first"}, lane="site", priority=0)
    await outbox.enqueue("note", {"text": "second"}, lane="site", priority=9)
    await device.rest()
    device.online()
    device.network.sent.clear()
    await outbox.drain()
    assert device.sent() == ["first", "second"]


async def test_a_delayed_job_waits_in_a_lane_of_its_own() -> None:
    """It holds up nobody, and goes once its time has come."""
    device = Device()
    outbox = await device.context()
    await outbox.enqueue("note", {"text": "later"}, delay_ms=60_000)
    await outbox.enqueue("note", {"text": "now"})
    drained = await outbox.drain()
    assert device.sent() == ["now"]
    assert drained == {"next_wake_at": device.clock.now() + 60_000, "remaining": True}
    await device.clock.advance(59_999)
    await outbox.drain()
    assert device.sent() == ["now"]
    await device.clock.advance(1)
    await outbox.drain()
    assert device.sent() == ["now", "later"]


async def test_a_delayed_job_in_a_named_lane_holds_that_lane() -> None:
    """Its lane was named to keep an order."""
    device = Device()
    outbox = await device.context()
    await outbox.enqueue("note", {"text": "later"}, delay_ms=60_000, lane="site")
    await outbox.enqueue("note", {"text": "behind"}, lane="site")
    await device.rest()
    assert device.sent() == []
    await device.deliver_all(outbox)
    assert device.sent() == ["later", "behind"]


async def test_queues_run_apart() -> None:
    """A request of one queue that hangs does not hold up another queue."""
    device = Device()
    slow = Silence()
    device.network.answer = lambda request: slow(request) if request.payload["text"] == "slow" else receipt(request)
    outbox = await device.context()
    await outbox.enqueue("photo", {"text": "slow"})
    quick = await outbox.enqueue("note", {"text": "quick"})
    await device.rest()
    assert len(slow.waiting) == 1
    assert device.record(quick.id)["state"] == "completed"


async def test_one_job_of_a_queue_is_sent_at_a_time() -> None:
    """Two tabs on one device send one job, not two, and none twice."""
    device = Device()
    device.network.answer = silence = Silence()
    tab, other = await device.context(), await device.context()
    await tab.enqueue("note", {"text": "a"})
    await other.enqueue("note", {"text": "b"})
    await device.rest()
    assert device.sent() == ["a"]
    assert len(silence.waiting) == 1


async def test_a_waiting_job_says_what_it_waits_for() -> None:
    """The row tells the turn, the network and the time apart, and who goes first."""
    device = Device()
    device.network.answer = Outage(device)
    outbox = await device.context()
    first = await outbox.enqueue("note", {"text": "a"})
    second = await outbox.enqueue("note", {"text": "b"})
    later = await outbox.enqueue("photo", {"text": "c"}, delay_ms=60_000)
    await device.rest()
    rows = {row["id"]: row for row in await outbox.jobs()}
    assert (rows[first.id]["waits"], rows[first.id]["reason"]) == ("network", "unreachable")
    assert (rows[second.id]["waits"], rows[second.id]["after"], rows[second.id]["ahead"]) == ("turn", first.id, 1)
    assert rows[later.id]["waits"] == "network"
    device.online()
    await outbox.drain()
    assert [row["waits"] for row in await outbox.jobs(state="pending")] == ["time"]


async def test_one_job_tells_its_turn_like_the_list_does() -> None:
    """`job` and `jobs` say the same of the same job."""
    device = Device()
    device.offline()
    outbox = await device.context()
    for text in "abc":
        last = await outbox.enqueue("note", {"text": text})
    await device.rest()
    [listed] = [row for row in await outbox.jobs() if row["id"] == last.id]
    alone = await outbox.job(last.id)
    assert alone is not None
    assert alone | listed == alone


@pytest.mark.parametrize("limit", [1, 2])
async def test_a_list_shows_the_newest_first_up_to_its_limit(limit: int) -> None:
    """Of each state."""
    device = Device()
    outbox = await device.context()
    for text in "abc":
        await outbox.enqueue("note", {"text": text}, delay_ms=60_000)
        await device.clock.advance(1)
    rows = await outbox.jobs(limit=limit)
    assert [row["summary"]["text"] for row in rows] == ["c", "b"][:limit]


async def test_a_busy_type_does_not_starve_another_one() -> None:
    """Among heads of one priority the one that waits for longest goes first, whatever its type is called."""
    device = Device()
    device.offline()
    outbox = await device.context()
    for number, type_ in enumerate(("note", "memo", "note", "memo", "memo")):
        await outbox.enqueue(type_, {"text": f"{type_}-{number}"}, lane=f"{number}")
        await device.clock.advance(1)
    await outbox.enqueue("memo", {"text": "urgent"}, lane="urgent", priority=9)
    device.online()
    device.network.sent.clear()
    await outbox.drain()
    assert device.sent() == ["urgent", "note-0", "memo-1", "note-2", "memo-3", "memo-4"]
    check_laws(device.store)


async def test_as_many_lanes_are_served_at_once_as_the_queue_allows() -> None:
    """Never more; the next lane gets its turn as soon as one is done."""
    device = Device()
    device.network.answer = silence = Silence()
    outbox = await device.context(describe(concurrency=2))
    for text, lane in (("a1", "a"), ("b1", "b"), ("c1", "c"), ("a2", "a")):
        await outbox.enqueue("note", {"text": text}, lane=lane)
        await device.clock.advance(1)
    assert device.sent() == ["a1", "b1"]
    silence.answer()
    await device.rest()
    assert device.sent() == ["a1", "b1", "c1"]
    silence.answer()
    await device.rest()
    assert device.sent() == ["a1", "b1", "c1", "a2"]
    check_laws(device.store)


async def test_a_free_lane_takes_what_another_tab_or_javascript_has_saved() -> None:
    """Whoever holds the queue's lock hears of it, while its own long send goes on."""
    device = Device()
    silence = Silence()
    device.network.answer = lambda request: (silence if request.payload["text"] == "long" else receipt)(request)
    outbox = await device.context(describe(concurrency=2))
    other = await device.context()
    long = await outbox.enqueue("note", {"text": "long"}, lane="a")
    await device.rest()
    from_other = await other.enqueue("note", {"text": "other"}, lane="b")
    await device.rest()
    assert device.end(from_other.id) == ("completed", None)
    device.inbox.add(entry("e1", "inbox", options={"lane": "c"}))
    for end in device.lab._ends:
        end.hear({"kind": "inbox", "id": "e1"})
    await device.rest()
    assert device.end("e1") == ("completed", None)
    assert device.end(long.id) == ("processing", None)
    silence.answer()
    await device.rest()
    assert device.end(long.id) == ("completed", None)


async def test_a_long_send_beside_a_free_lane_costs_a_look_a_minute() -> None:
    """Ten minutes of upload with nothing else to send: no storm of transactions."""
    device = Device()
    device.network.answer = silence = Silence()
    outbox = await device.context(describe(concurrency=2))
    await outbox.enqueue("note", {"text": "long"}, lane="a")
    await outbox.enqueue("note", {"text": "behind"}, lane="a")
    await outbox.enqueue("note", {"text": "later"}, lane="b", delay_ms=86_400_000)
    await device.rest()
    before = device.store.requests
    await device.clock.advance(600_000)
    renewals, looks = 3 * 3 * 10, 8 * 10
    assert device.store.requests - before <= renewals + looks
    assert len(silence.waiting) == 1


async def test_a_free_lane_does_not_outlive_a_lost_lock() -> None:
    """Whoever is robbed stops all its sends, and looks for nothing more."""
    device = Device()
    device.network.answer = silence = Silence()
    outbox = describe()
    outbox.queue("notes", concurrency=3)
    outbox = await device.context(outbox)
    first = await outbox.enqueue("note", {"text": "a"}, lane="a")
    second = await outbox.enqueue("note", {"text": "b"}, lane="b")
    await device.rest()
    assert len(silence.waiting) == 2
    draining = asyncio.ensure_future(outbox.drain())
    device.lab.locks.steal("test:queue:notes")
    await device.rest()
    assert [future.cancelled() for _, future in silence.waiting[:2]] == [True, True]
    assert {device.end(job.id)[0] for job in (first, second)} == {"processing"}
    draining.cancel()


lanes_of_jobs = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([1, 5, 9]), st.booleans()), max_size=12)


@transaction("gates", durability="relaxed")
def know_the_server(now: int) -> Steps[None]:
    yield Put("gates", {"name": flags_name(""), "flags": {}, "read_at": now})


@given(lanes_of_jobs, st.lists(st.integers(0, 9), min_size=24, max_size=24), st.integers(1, 3))
async def test_a_claim_takes_the_most_urgent_heads_and_nobody_else(
    jobs: list[tuple[str, int, bool]], choices: list[int], limit: int
) -> None:
    """Of several lanes, by priority and then by age, over all types. However one of them ends, or is cancelled while it waits,
    the one behind it is the head of its lane: in the end all have gone, each lane in its order.
    """
    device, left = Device(), iter(choices)
    outbox = await device.context()
    outbox.wake = lambda: None  # type: ignore[method-assign]
    waiting: list[tuple[str, str, int]] = []
    for lane, priority, is_note in jobs:
        await device.clock.advance(1)
        accepted = await outbox.enqueue("note" if is_note else "memo", {"text": ""}, lane=lane, priority=priority)
        waiting.append((accepted.id, lane, priority))
    under_way: dict[str, Attempt] = {}
    busy: dict[str, str] = {}
    while waiting or under_way:
        now = device.clock.now()
        await device.store.run(know_the_server(now))
        heads = {lane: (job_id, priority) for job_id, lane, priority in reversed(waiting) if lane not in busy.values()}
        order = sorted(heads.values(), key=lambda head: (-head[1], [job[0] for job in waiting].index(head[0])))
        found = await device.store.run(claim(WHO, limit - len(under_way), now))
        check_laws(device.store)
        assert [claimed.record["id"] for claimed in found.jobs] == [job_id for job_id, _ in order][
            : limit - len(under_way)
        ]
        for claimed in found.jobs:
            job_id, fence = claimed.record["id"], claimed.record["fence"]
            busy[job_id] = claimed.record["lane"]
            receipt, until = Outcome(Delivered(), answered=True), claimed.record["lease_until"]
            under_way[job_id] = Attempt(job_id, fence, until, receipt, "", Backoff(), 0.5, offline=False)
        waiting = [job for job in waiting if job[0] not in busy]
        choice = next(left)
        if choice > 6 and waiting:
            cancelled = waiting.pop(choice % len(waiting))
            await outbox.cancel(cancelled[0])
        else:
            job_id = list(under_way)[choice % len(under_way)]
            attempt = under_way.pop(job_id)
            if choice % 2:
                attempt = replace(attempt, outcome=Outcome(Rejected(Reason.REFUSED), answered=True))
            assert len(await device.store.run(settle([attempt], WHO, now))) == 1
            del busy[job_id]
        check_laws(device.store)
