"""What the engine promises on every store, as plain functions: the same file runs on memory and on real IndexedDB.

Each takes a place as in `store_promises.py`, whose `open()` gives a store on one and the same database; `fresh()` gives a
place with another one.
"""

import asyncio

from holdfast.errors import ActionRefusedError, InvalidOptionError, NewerStorageError
from holdfast.gates import pause_name
from holdfast.job import File
from holdfast.schema import MIGRATIONS
from holdfast.storage import Delete, Get, GetAll, Put, transaction
from holdfast.testing import Laboratory, MemoryInbox, answer_with, receipt
from holdfast.transactions.claim import Claimant, begin
from holdfast.transactions.tidy import Retention
from tests.contract.store_promises import raises
from tests.support.device import describe, entry, in_turn

DAMAGE = {
    "run_at": "soon",
    "wait_ms": None,
    "attempts": -1,
    "expires_at": "never",
    "fence": [1],
    "app_version": "1",
    "halt": 0,
    "said": "nothing",
    "rank": 9,
    "max_attempts": True,
    "lane_key": None,
    "unknown_since": "x",
}
"""Fields of a job with what cannot be there, none of them needed to send it again."""


@transaction("jobs", "bodies", "attachments", "queues", "gates", "holders", "quarantine", durability="strict")
def do(*requests):
    """Make these requests in one transaction; returns their results."""
    results = []
    for request in requests:
        results.append((yield request))  # noqa: PERF401  (a generator cannot yield from inside a comprehension)
    return results


class Bench:
    """A store with a laboratory around it."""

    def __init__(self, place):
        self.store = place.open(MIGRATIONS)
        self.handle = place.handle
        self.lab = Laboratory(store=self.store)

    async def outbox(self, *, paused=True, **options):
        """A context on it; paused, so that jobs can be looked at before they leave."""
        outbox = describe(**options)
        outbox.queue("notes", concurrency=1)
        await outbox.open(self.lab.ports())
        if paused:
            await outbox.pause()
        return outbox

    async def record(self, job_id):
        [found] = await self.store.run(do(Get("jobs", job_id)))
        return found

    async def damage(self, job_id, **fields):
        """Spoil a stored job behind the engine's back; None takes a field away."""
        record = await self.record(job_id) | fields
        spoilt = {name: value for name, value in record.items() if value is not None or name not in fields}
        await self.store.run(do(Put("jobs", spoilt)))
        return spoilt

    async def deliver(self, outbox):
        """Everything that can go, goes."""
        await outbox.resume()
        while (await outbox.drain())["remaining"]:
            await self.lab.clock.advance(1_000)

    def sent(self):
        return [request.payload["text"] for request in self.lab.transport.sent]


async def jobs_are_sent_in_order_and_counted(place):
    """From enqueue to receipt, with what the statistics say."""
    bench = Bench(place)
    outbox = await bench.outbox()
    for text in "abc":
        await outbox.enqueue("note", {"text": text})
    assert (await outbox.stats())["states"]["pending"] == 3
    await bench.deliver(outbox)
    assert bench.sent() == ["a", "b", "c"]
    stats = await outbox.stats()
    assert (stats["states"]["completed"], stats["states"]["pending"], stats["unsent"]) == (3, 0, 0)
    assert [row["state"] for row in await outbox.jobs()] == ["completed"] * 3


class SlowInbox(MemoryInbox):
    """An inbox that is looked at until it is told to answer."""

    def __init__(self):
        super().__init__()
        self.looks = []

    def look(self):
        self.looks.append(asyncio.Future())
        return self.looks[-1]


async def a_write_does_not_overtake_one_that_still_looks_who_is_signed_in(place):
    """Once one knows that, later ones take it for granted; they would be stored first."""
    bench = Bench(place)
    bench.lab.inbox = inbox = SlowInbox()
    outbox = await bench.outbox()
    writes = []

    async def begin_to_write(text):
        writes.append(asyncio.ensure_future(outbox.enqueue("note", {"text": text}, id=text)))
        await asyncio.sleep(0)

    await begin_to_write("a")
    await begin_to_write("b")
    inbox.looks[0].set_result(("", 0))
    await writes[0]
    await begin_to_write("c")
    for look in inbox.looks[1:]:
        look.set_result(("", 0))
    await asyncio.gather(*writes)
    assert [(await bench.record(text))["place"] for text in "abc"] == [1, 2, 3]


async def a_retry_waits_and_holds_its_own_lane_only(place):
    """And goes when its time has come; a dead letter lets its lane go on."""
    bench = Bench(place)
    answers = {"a": [answer_with(503)], "c": [answer_with(422)]}
    bench.lab.transport.answer = lambda request: (answers.get(request.payload["text"]) or [receipt]).pop()(request)
    outbox = await bench.outbox()
    for text, lane in (("a", "x"), ("b", "x"), ("c", "y"), ("d", "y")):
        await outbox.enqueue("note", {"text": text}, lane=lane)
        await bench.lab.clock.advance(1)
    await bench.deliver(outbox)
    assert bench.sent() == ["a", "c", "d", "a", "b"]
    stats = await outbox.stats()
    assert (stats["retries"], stats["failures"], stats["states"]["failed"]) == (1, {"refused": 1}, 1)
    assert [row["reason"] for row in await outbox.jobs(reason="refused")] == ["refused"]


async def an_overview_of_many_jobs_leaves_out_nothing_that_matters(place):
    """What needs the person, the heads, what has waited longest and what came last; all of them counted."""
    bench = Bench(place)
    outbox = await bench.outbox(paused=False)
    bench.lab.transport.answer = answer_with(422)
    await outbox.enqueue("note", {"text": "refused"})
    await bench.deliver(outbox)
    await outbox.pause()
    for text, options in (("high", {"priority": 9}), ("own", {"lane": "x"})):
        await bench.lab.clock.advance(1)
        await outbox.enqueue("note", {"text": text}, **options)
    for number in range(20):
        await bench.lab.clock.advance(1)
        await outbox.enqueue("note", {"text": f"n{number}"})
    found = await outbox.overview(limit=3, waited_ms=20)
    rows = {row["summary"]["text"]: (row["state"], row["ahead"]) for row in found["jobs"]}
    heads = {"high": ("pending", 0), "own": ("pending", 0), "n0": ("pending", 0)}
    assert rows == {"refused": ("failed", 0), **heads, **dict.fromkeys(("n17", "n18", "n19"), ("pending", None))}
    assert (found["stats"]["unsent"], found["stats"]["states"]["pending"], found["waited"]) == (23, 22, 3)
    whole = await outbox.overview(limit=100)
    assert len(whole["jobs"]) == whole["waited"] == 23
    assert max(row["ahead"] for row in whole["jobs"]) == 19
    assert whole["jobs"] == await outbox.jobs()
    storage = (await outbox.stats())["storage"]
    assert whole["stats"] | {"storage": storage} == await outbox.stats()


async def what_a_dead_context_was_sending_is_sent_again(place):
    """Under the same key, by whoever is granted the lock; the death burns no attempt."""
    bench = Bench(place)
    outbox = await bench.outbox()
    accepted = await outbox.enqueue("note", {"text": "a"})
    who = Claimant("gone", "test:queue:notes", "", "notes", {"note": ""}, 1, 60_000, granted=True)
    flags = Put("gates", {"name": "flags:", "flags": {}, "read_at": bench.lab.clock.now()})
    await bench.store.run(do(flags, Delete("gates", pause_name(None, None))))  # behind its back: it must not drain yet
    found = await bench.store.run(begin(who, 1, Retention(), bench.lab.clock.now()))
    assert [claimed.record["id"] for claimed in found.jobs] == [accepted.id]
    await bench.deliver(await bench.outbox())
    [request] = bench.lab.transport.sent
    record = await bench.record(accepted.id)
    assert (request.headers["Idempotency-Key"], record["state"]) == (accepted.key, "completed")
    assert (record["attempts"], record["fence"]) == (0, 2)


async def finished_jobs_are_pruned_by_age_and_number(place):
    """With their bodies and attachments; what failed stays."""
    bench = Bench(place)
    bench.lab.transport.answer = in_turn(answer_with(422))
    retention = Retention(finished_ms=7_200_000, finished_count=2)
    outbox = await bench.outbox(retention=retention)
    photo = File("files", "a.jpg", "image/jpeg", 3, bench.handle(b"abc"))
    for text in "abcd":
        await outbox.enqueue("note", {"text": text}, attachments=[photo])
        await bench.lab.clock.advance(1)
    await bench.deliver(outbox)
    await bench.lab.clock.advance(3_600_001)
    await outbox.drain()
    left = [row["summary"]["text"] for row in await outbox.jobs()]
    assert left == ["d", "c", "a"]
    await bench.lab.clock.advance(7_200_000)
    await outbox.drain()
    assert [(row["summary"]["text"], row["reason"]) for row in await outbox.jobs()] == [("a", "refused")]
    bodies, attachments = await bench.store.run(do(GetAll("bodies"), GetAll("attachments")))
    assert (len(bodies), len(attachments)) == (1, 1)


async def one_key_is_one_job(place):
    """Another write under the key of a job is refused and not stored; the same write under its id is the same job."""
    bench = Bench(place)
    outbox = await bench.outbox()
    accepted = await outbox.enqueue("note", {"text": "a"}, key="mine")
    with raises(InvalidOptionError):
        await outbox.enqueue("note", {"text": "b"}, key="mine")
    assert await outbox.enqueue("note", {"text": "a"}, id=accepted.id, key="mine") == accepted
    bench.lab.inbox.add(entry("e1", "c", key="mine"))
    bench.lab.inbox.add(entry("e2", "d"))
    await bench.deliver(outbox)
    assert sorted(bench.sent()) == ["a", "d"]
    job = await outbox.job("e1")
    assert (job["state"], job["reason"], job["payload"]) == ("failed", "invalid", {"text": "c"})
    assert (await outbox.stats())["states"]["completed"] == 2


async def a_damaged_job_is_set_aside_and_the_others_go_on(place):
    """It is listed, counted, exported with what was found, and can be sent once more where enough of it is left."""
    for name, value in DAMAGE.items():
        bench = Bench(place.fresh())
        outbox = await bench.outbox()
        ids = [(await outbox.enqueue("note", {"text": text}, lane="x")).id for text in "abc"]
        spoilt = [await bench.damage(job_id, **{name: value}) for job_id in ids[:2]]
        await bench.deliver(outbox)
        assert bench.sent() == ["c"], name
        rows = {row["id"]: (row["state"], row["reason"]) for row in await outbox.jobs()}
        assert rows == dict.fromkeys(ids[:2], ("failed", "undecodable")) | {ids[2]: ("completed", None)}, name
        stats = await outbox.stats()
        counts = {state: number for state, number in stats["states"].items() if number}
        assert (counts, stats["failures"]) == ({"failed": 2, "completed": 1}, {"undecodable": 2}), name
        jobs = {job["id"]: job async for job in outbox.export()}
        for job_id, record in zip(ids, spoilt, strict=False):
            assert jobs[job_id]["raw"]["record"] == record, name
            assert jobs[job_id]["payload"]["text"] in "ab"
            assert name in jobs[job_id]["said"]["detail"]
        await outbox.retry(ids[0])
        await bench.deliver(outbox)
        assert bench.sent() == ["c", "a"], name


async def a_job_without_its_identity_is_kept_and_never_sent(place):
    """Nobody may send it again; nobody can find it by its lists, so a visit looks for it."""
    for name, value in {"key": 5, "type": None, "account": None, "state": "odd", "updated_at": None}.items():
        bench = Bench(place.fresh())
        outbox = await bench.outbox()
        accepted = await outbox.enqueue("note", {"text": "a"})
        other = await outbox.enqueue("note", {"text": "b"})
        await bench.damage(accepted.id, **{name: value})
        await outbox.visit()
        await bench.deliver(outbox)
        assert bench.sent() == ["b"], name
        assert {row["id"]: row["reason"] for row in await outbox.jobs()} == {accepted.id: "undecodable", other.id: None}
        if name in {"key", "type", "account"}:
            with raises(ActionRefusedError):
                await outbox.retry(accepted.id)
        await outbox.cancel(accepted.id)
        assert {row["state"] for row in await outbox.jobs()} == {"cancelled", "completed"}


async def a_damaged_body_is_set_aside_with_what_is_left_of_it(place):
    """No half of a write is sent, and what is there can be exported."""
    bench = Bench(place)
    outbox = await bench.outbox()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await outbox.enqueue("note", {"text": "b"})
    await bench.store.run(do(Put("bodies", {"id": accepted.id, "payload": {"text": "a"}})))
    await bench.deliver(outbox)
    assert bench.sent() == ["b"]
    [job] = [job async for job in outbox.export()]
    assert (job["id"], job["reason"], job["payload"]) == (accepted.id, "undecodable", {"text": "a"})
    assert job["raw"]["body"] == {"id": accepted.id, "payload": {"text": "a"}}
    with raises(ActionRefusedError):
        await outbox.retry(accepted.id)


async def lost_bytes_do_not_stop_an_export(place):
    """A browser that dropped one of two files: the job fails, and the other file is exported."""
    bench = Bench(place)
    outbox = await bench.outbox()
    photos = [File("files", f"{n}.jpg", "image/jpeg", 3, bench.handle(b"abc")) for n in range(2)]
    accepted = await outbox.enqueue("note", {"text": "a"}, attachments=photos)
    await bench.store.run(do(Delete("attachments", [accepted.id, 0])))
    await bench.deliver(outbox)
    assert bench.sent() == []
    row = await outbox.job(accepted.id)
    assert (row["state"], row["reason"]) == ("failed", "undecodable")
    assert [file.name for file in await outbox.files(accepted.id)] == ["1.jpg"]


async def a_damaged_queue_is_counted_anew_and_delivery_goes_on(place):
    """Whatever is stored in its place: nothing is lost, sent twice or overtaken, and what was found is kept."""
    damage = {"last_place": "x", "states": {"pending": -1}, "failures": [], "latency": {"a": 1}, "retries": None}
    for name, value in damage.items():
        bench = Bench(place.fresh())
        outbox = await bench.outbox()
        for text in "ab":
            await outbox.enqueue("note", {"text": text})
        [queue] = await bench.store.run(do(GetAll("queues")))
        [queue] = queue
        await bench.store.run(do(Put("queues", queue | {name: value})))
        assert (await outbox.stats())["states"]["pending"] == 2, name
        await outbox.enqueue("note", {"text": "c"})
        await bench.deliver(outbox)
        assert bench.sent() == ["a", "b", "c"], name
        stats = await outbox.stats()
        assert (stats["states"]["completed"], stats["unsent"]) == (3, 0), name
        [kept] = await bench.store.run(do(GetAll("quarantine")))
        assert [raw["record"][name] for raw in kept] == [value]


async def a_queue_that_lost_its_counters_is_counted_anew(place):
    """Readable, but wrong: as soon as a count would go below none."""
    bench = Bench(place)
    outbox = await bench.outbox()
    for text in "ab":
        await outbox.enqueue("note", {"text": text})
    [[queue]] = await bench.store.run(do(GetAll("queues")))
    await bench.store.run(do(Put("queues", queue | {"states": {}})))
    await bench.deliver(outbox)
    assert bench.sent() == ["a", "b"]
    assert (await outbox.stats())["states"]["completed"] == 2


async def a_queue_whose_record_is_gone_gets_it_back(place):
    """With the next job, or the next drain: no job is given a place before those that wait, and all are counted."""
    for is_next in ("a job", "a drain"):
        bench = Bench(place.fresh())
        outbox = await bench.outbox()
        for text in "ab":
            await outbox.enqueue("note", {"text": text})
        await bench.store.run(do(Delete("queues", ["", "notes"])))
        if is_next == "a drain":
            await bench.deliver(outbox)
            assert (await outbox.stats())["states"]["completed"] == 2
        await outbox.enqueue("note", {"text": "c"})
        assert (await outbox.stats())["unsent"] == (3 if is_next == "a job" else 1)
        await bench.deliver(outbox)
        assert bench.sent() == ["a", "b", "c"], is_next
        stats = await outbox.stats()
        assert (stats["states"]["completed"], stats["unsent"]) == (3, 0), is_next


async def a_damaged_gate_stops_nothing_but_what_it_stopped(place):
    """A pause stays a pause. A server of which nobody knows any more is asked first: what it has switched off stays off."""
    junk = {"flags": 7, "read_at": "x", "failures": None, "open_until": [], "sign_ins": "x", "since": {}}
    for name in ("breaker:", "flags:", "session:", "breaker:https://gone.example", "odd", 5):
        bench = Bench(place.fresh())
        outbox = await bench.outbox()
        await outbox.enqueue("note", {"text": "a"})
        await bench.store.run(do(Put("gates", {"name": name} | junk)))
        await outbox.drain(wake="wake")
        await outbox.visit()
        assert [row["waits"] for row in await outbox.jobs()] == ["pause"], name
        await bench.store.run(do(Put("gates", {"name": "pause:all"} | junk)))
        await outbox.drain()
        assert bench.sent() == [], name
        bench.lab.transport.flags = {"disabled": {"all": True}, "key_lifetime_ms": None}
        await bench.store.run(do(Put("gates", {"name": name} | junk)))
        await outbox.resume()
        await outbox.drain()
        assert bench.sent() == [], name
        bench.lab.transport.flags = {"disabled": {"all": False}, "key_lifetime_ms": None}
        await bench.lab.clock.advance(60_000)
        await bench.deliver(outbox)
        assert bench.sent() == ["a"], name
        await bench.store.run(do(Put("gates", {"name": "hold:"} | junk)))
        accepted = await outbox.enqueue("note", {"text": "b"})
        await outbox.drain()
        assert (await outbox.job(accepted.id))["waits"] == "sign-in"
        await outbox.sign_in("")
        await bench.deliver(outbox)
        assert bench.sent() == ["a", "b"], name


async def a_damaged_lease_is_nobodys(place):
    """It cannot say until when it holds, so it holds nothing."""
    bench = Bench(place)
    outbox = await bench.outbox()
    await outbox.enqueue("note", {"text": "a"})
    await bench.store.run(do(Put("holders", {"name": "test:queue:notes", "until": "x"})))
    await bench.lab.clock.advance(-60_000)  # set back: when the lock was last held is asked for
    await bench.deliver(outbox)
    assert bench.sent() == ["a"]


async def what_a_newer_version_has_made_is_left_alone(place):
    """A record that nobody here can read and that a newer app made is not touched; the error says what to do."""
    bench = Bench(place)
    outbox = await bench.outbox()
    accepted = await outbox.enqueue("note", {"text": "a"})
    newer = await bench.damage(accepted.id, app_version=2, attempts={"of": "another kind"})
    for look in (outbox.jobs, outbox.drain):
        with raises(NewerStorageError):
            await look()
    with raises(NewerStorageError):
        await outbox.cancel(accepted.id)
    assert await bench.record(accepted.id) == newer
    await outbox.enqueue("note", {"text": "b"})
    assert await bench.lab.inbox.count() == 1


async def a_submission_that_cannot_be_read_is_set_aside(place):
    """Whatever is wrong with an entry of the inbox, it is kept as it was, and the one behind it is sent."""
    damage = {"id": 5, "key": None, "type": [], "account": 7, "taken_at": "now", "fields": [["one"]], "options": "none"}
    for number, (name, value) in enumerate(damage.items()):
        bench = Bench(place.fresh())
        outbox = await bench.outbox()
        bench.lab.inbox.add(entry(f"bad{number}", "bad") if name != "id" else entry(5, "bad"))
        kept = bench.lab.inbox.kept.pop()
        fields = {field: getattr(kept, field) for field in type(kept).__slots__}
        bench.lab.inbox.kept.append(type(kept)(**(fields | {name: value})))
        bench.lab.inbox.add(entry(f"good{number}", "good"))
        await bench.deliver(outbox)
        assert bench.sent() == ["good"], name
        [row] = [row for row in await outbox.jobs(reason="undecodable") if row["said"]["detail"].find(name) > 0]
        assert row["state"] == "failed"
        job = await outbox.job(row["id"])
        assert job["raw"]["record"][name] == value
        with raises(ActionRefusedError):
            await outbox.retry(row["id"])
        assert await bench.lab.inbox.count() == 0


ENGINE_PROMISES = [
    jobs_are_sent_in_order_and_counted,
    a_write_does_not_overtake_one_that_still_looks_who_is_signed_in,
    a_retry_waits_and_holds_its_own_lane_only,
    an_overview_of_many_jobs_leaves_out_nothing_that_matters,
    what_a_dead_context_was_sending_is_sent_again,
    finished_jobs_are_pruned_by_age_and_number,
    one_key_is_one_job,
    a_damaged_job_is_set_aside_and_the_others_go_on,
    a_job_without_its_identity_is_kept_and_never_sent,
    a_damaged_body_is_set_aside_with_what_is_left_of_it,
    lost_bytes_do_not_stop_an_export,
    a_damaged_queue_is_counted_anew_and_delivery_goes_on,
    a_queue_that_lost_its_counters_is_counted_anew,
    a_queue_whose_record_is_gone_gets_it_back,
    a_damaged_gate_stops_nothing_but_what_it_stopped,
    a_damaged_lease_is_nobodys,
    what_a_newer_version_has_made_is_left_alone,
    a_submission_that_cannot_be_read_is_set_aside,
]
