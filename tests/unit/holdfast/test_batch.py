"""Jobs of one lane that share a request: which do, what its answer means for each, and what a failure costs whom."""

import asyncio
import json

import pytest

from holdfast import Outbox
from holdfast.job import File
from holdfast.ports import Answer, Request
from holdfast.testing import answer_with, receipt
from tests.support.device import STEADY, Device, Outage, Silence, check_laws, in_turn

BATCH = "/api/batch"


def describe(batch: bool | int = True, **queue: int) -> Outbox:
    """Notes and memos go together, stops halt their lane, photos go one by one."""
    outbox = Outbox("test", app_version=1)
    outbox.queue("notes", **queue)
    outbox.route("note", "POST", "/api/notes", queue="notes", backoff=STEADY, batch=batch)
    outbox.route("memo", "PUT", "/api/memos", queue="notes", backoff=STEADY, batch=3)
    outbox.route("stop", "POST", "/api/stops", queue="notes", backoff=STEADY, batch=True, halt=True)
    outbox.route("photo", "POST", "/api/photos", queue="notes", backoff=STEADY)
    outbox.route("away", "POST", "https://other.example/notes", queue="notes", backoff=STEADY, batch=True)
    return outbox


async def waiting(device: Device, *texts: str, type_: str = "note", batch: bool | int = True) -> Outbox:
    """A context with jobs that wait, paused."""
    outbox = await device.context(describe(batch))
    await outbox.pause()
    for text in texts:
        await outbox.enqueue(type_, {"text": text}, id=text, key=f"key-{text}")
    return outbox


async def go(device: Device, outbox: Outbox) -> None:
    """Everything that can go by itself goes."""
    await outbox.resume()
    await device.deliver_all(outbox)
    check_laws(device.store)


def texts(request: Request) -> str:
    """What a request carried."""
    if request.url.endswith(BATCH):
        return "".join(item["body"]["text"] for item in request.payload["items"])
    return str(request.payload["text"])


def sent(device: Device) -> list[str]:
    """What each request carried."""
    return [texts(request) for request in device.network.sent]


def completed(device: Device) -> str:
    """What has arrived."""
    return "".join(sorted(record["id"] for record in device.store.records("jobs") if record["state"] == "completed"))


async def test_what_waits_in_a_lane_goes_in_one_request() -> None:
    """In order, each item with the key, method and path it would have by itself."""
    device = Device()
    outbox = await waiting(device, "a", "b", "c")
    await outbox.enqueue("memo", {"text": "d"}, id="d", key="key-d")
    await go(device, outbox)
    assert sent(device) == ["abc", "d"]  # a memo goes with two others at most
    assert completed(device) == "abcd"
    request = device.network.sent[0]
    assert (request.method, request.url, request.headers) == ("POST", BATCH, {"Holdfast-Account": ""})
    common = {"method": "POST", "path": "/api/notes", "lane": "1", "halts": False}
    assert request.payload["items"] == [{"key": f"key-{text}", "body": {"text": text}, **common} for text in "abc"]
    assert request.answer_limit == 300_000


async def test_another_server_gets_its_own() -> None:
    """At its own address, with paths below its own origin; nobody's job says nothing of an account there."""
    device = Device()
    outbox = await waiting(device, "a", "b", type_="away")
    await outbox.enqueue("note", {"text": "c"}, id="c")
    await go(device, outbox)
    assert [request.url for request in device.network.sent] == ["https://other.example/api/batch", "/api/notes"]
    request = device.network.sent[0]
    assert ([item["path"] for item in request.payload["items"]], request.headers) == (["/notes"] * 2, {})


async def test_a_batch_is_as_long_as_the_route_says() -> None:
    """And no longer than what half a megabyte holds."""
    device = Device()
    await go(device, await waiting(device, *"abcdefg", batch=3))
    assert sent(device) == ["abc", "def", "g"]
    device = Device()
    outbox = await waiting(device)
    for letter in "abcd":
        await outbox.enqueue("note", {"text": letter * 200_000})
    await go(device, outbox)
    assert [len(carried) for carried in sent(device)] == [400_000, 400_000]


async def test_what_may_not_go_now_goes_later_and_nobody_jumps_it() -> None:
    """Another priority, attachments, another type, a delay, a pause: the lane's batch ends before it."""
    device = Device()
    outbox = await waiting(device, "a", "b")
    photo = File("files", "a.jpg", "image/jpeg", 3, b"abc")
    await outbox.enqueue("note", {"text": "c"}, attachments=[photo])
    await outbox.enqueue("note", {"text": "d"})
    await outbox.enqueue("photo", {"text": "e"})
    await outbox.enqueue("note", {"text": "f"})
    await outbox.enqueue("memo", {"text": "g"})
    await go(device, outbox)
    assert sent(device) == ["ab", "c", "d", "e", "fg"]

    device = Device()
    outbox = await waiting(device)
    for text, priority in (("a", 5), ("b", 5), ("c", 4)):
        await outbox.enqueue("note", {"text": text}, lane="x", priority=priority)
    await outbox.enqueue("note", {"text": "d"}, lane="x", delay_ms=1_000)
    await outbox.enqueue("note", {"text": "e"}, lane="x", ttl_ms=500)
    await outbox.pause(type_="memo")
    await outbox.enqueue("note", {"text": "f"}, lane="y", priority=6)
    await outbox.enqueue("memo", {"text": "g"}, lane="y")
    await device.clock.advance(600)
    await go(device, outbox)
    assert sent(device) == ["f", "ab", "c", "d"]


async def test_one_lane_never_waits_in_the_request_of_another() -> None:
    """Each lane has its own, as many at once as the queue serves lanes."""
    device = Device()
    device.network.answer = silence = Silence()
    outbox = await device.context(describe(concurrency=2))
    await outbox.pause()
    for text, lane in (("a", "x"), ("b", "x"), ("c", "y"), ("d", "z")):
        await outbox.enqueue("note", {"text": text}, id=text, lane=lane)
        await device.clock.advance(1)
    await outbox.resume()
    await device.rest()
    assert sent(device) == ["ab", "c"]
    silence.waiting[1][1].set_result(receipt(silence.waiting[1][0]))
    await device.rest()
    assert sent(device) == ["ab", "c", "d"]
    assert completed(device) == "c"


async def test_behind_a_failure_nothing_happens_and_nothing_is_used_up() -> None:
    """The failed one goes again by itself; those behind it wait as if they had not been sent, then go together."""
    device = Device()
    answers = {"b": [answer_with(503)]}
    device.network.answer = lambda request: (answers.get(request.payload["text"]) or [receipt]).pop()(request)
    outbox = await waiting(device, *"abcd")
    await outbox.resume()
    await device.rest()
    assert completed(device) == "a"
    records = {text: device.record(text) for text in "bcd"}
    assert [(records[text]["reason"], records[text]["attempts"]) for text in "bcd"] == [
        ("server_error", 1),
        (None, 0),
        (None, 0),
    ]
    assert {record["unknown_since"] for record in records.values()} == {None}
    check_laws(device.store)
    await device.deliver_all(outbox)
    assert sent(device) == ["abcd", "b", "cd"]
    assert completed(device) == "abcd"


async def test_a_refusal_ends_one_job_and_its_lane_goes_on() -> None:
    """Unless its route halts the lane: then the rest waits for a person, as ever."""
    for type_, done in (("note", "ac"), ("stop", "a")):
        device = Device()
        device.network.answer = lambda request: (
            answer_with(422, {"title": "No"})(request) if request.payload["text"] == "b" else receipt(request)
        )
        outbox = await waiting(device, *"abc", type_=type_)
        await go(device, outbox)
        assert sent(device) == ["abc"]
        assert completed(device) == done
        assert device.end("b") == ("failed", "refused")
        assert device.record("b")["said"] == {"status": 422, "title": "No"}
        assert device.record("c")["attempts"] == 0


@pytest.mark.parametrize(
    ("whole", "reason"),
    [
        (Answer(failure="network"), "no_answer"),
        (Answer(failure="timeout"), "no_answer"),
        (Answer(500, {}, ""), "server_error"),
        (Answer(429, {}, ""), "throttled"),
        (Answer(413, {}, ""), "no_receipt"),
        (Answer(200, {}, "<h1>Welcome</h1>"), "no_receipt"),
        (Answer(200, {}, '{"results": []}'), "no_receipt"),
        (Answer(200, {}, '{"results": 5}'), "no_receipt"),
        (Answer(200, {}, '{"results": [null, {"status": "201"}, {"status": 201, "headers": {}}]}'), "no_receipt"),
    ],
    ids=str,
)
async def test_a_request_that_fails_as_a_whole_counts_for_none_of_its_jobs(whole: Answer, reason: str) -> None:
    """Nobody knows whose fault it was: each goes again by itself, under its own key, and what comes later together."""
    device = Device()
    outbox = await waiting(device, *"abc")
    left = [whole]
    device.network.answer_to_many = lambda _request: left.pop()
    await outbox.resume()
    draining = asyncio.ensure_future(outbox.drain())
    await device.rest()
    await draining
    assert sent(device) == ["abc", "a", "b", "c"]
    for text in "abc":
        assert (device.record(text)["state"], device.record(text)["attempts"]) == ("completed", 0)
    keys = [request.headers.get("Idempotency-Key") for request in device.network.sent]
    assert keys == [None, "key-a", "key-b", "key-c"]

    device = Device()
    outbox = await waiting(device, *"abc")
    device.network.answer_to_many = lambda _request: whole
    device.network.answer = Silence()
    await outbox.resume()
    await device.rest()
    assert device.end("b") == ("pending", reason)
    assert device.record("b")["unknown_since"] is not None


async def test_the_time_a_server_asks_for_is_kept() -> None:
    """Also where it asks on behalf of the whole."""
    device = Device()
    outbox = await waiting(device, *"ab")
    device.network.answer_to_many = lambda _request: Answer(503, {"retry-after": "20"}, "")
    await outbox.resume()
    await device.rest()
    assert device.record("a")["run_at"] == device.clock.now() + 20_000
    await device.deliver_all(outbox)
    assert sent(device) == ["ab", "a", "b"]


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_server_without_batches_is_not_asked_again_for_an_hour(status: int) -> None:
    """All goes one by one meanwhile."""
    device = Device()
    outbox = await waiting(device, *"ab")
    device.network.answer_to_many = answer_to_many = lambda _request: Answer(status, {}, "")
    await go(device, outbox)
    assert sent(device) == ["ab", "a", "b"]
    await outbox.pause()
    for text in "cd":
        await outbox.enqueue("note", {"text": text})
    await go(device, outbox)
    assert sent(device)[3:] == ["c", "d"]
    device.network.answer_to_many = None
    await device.clock.advance(3_600_000)
    await outbox.pause()
    for text in "ef":
        await outbox.enqueue("note", {"text": text})
    await go(device, outbox)
    assert sent(device)[5:] == ["ef"]
    assert answer_to_many is not None


async def test_a_server_without_batches_has_looked_into_none_of_them() -> None:
    """Whatever becomes of the first one then, the others can be edited: they have certainly not been done."""
    device = Device()
    outbox = await waiting(device, *"ab")
    device.network.answer_to_many = lambda _request: Answer(404, {}, "")
    device.network.answer = lambda _request: Answer(failure="network")
    await outbox.resume()
    await outbox.drain()
    assert sent(device) == ["ab", "a"]
    assert device.record("a")["unknown_since"] is not None
    assert device.record("b")["unknown_since"] is None
    await outbox.edit("b", {"text": "c"})


async def test_a_path_that_takes_no_part_in_batches_goes_by_itself() -> None:
    """Its 404 speaks of the batch, not of the job; nothing behind it has been run."""
    device = Device()
    outbox = await waiting(device, *"ab")

    def refuse(request: Request) -> Answer:
        results = []
        for item, (status, type_) in zip(
            request.payload["items"], ((404, "not-batched"), (424, "not-run")), strict=True
        ):
            body = {"type": f"urn:holdfast:problem:{type_}"}
            headers = {"idempotency-key": item["key"], "content-type": "application/problem+json"}
            results.append({"status": status, "headers": headers, "body": body})
        return Answer(200, {}, json.dumps({"results": results}))

    device.network.answer_to_many = refuse
    await go(device, outbox)
    assert sent(device) == ["ab", "a", "b"]
    assert completed(device) == "ab"


async def test_what_was_open_before_a_batch_did_not_run_it_stays_open() -> None:
    """The first time nobody answered, so it may have been done; the second time it was not run, which says nothing of that."""
    device = Device()
    outbox = await waiting(device, *"ab")
    flags = device.network.flags

    def go_away(_request: Request) -> Answer:
        device.network.flags = {}
        return Answer(failure="network")

    device.network.answer_to_many = go_away
    await outbox.resume()
    await outbox.drain()
    assert device.record("b")["unknown_since"] is not None
    device.network.flags = flags
    await device.clock.advance(1_000)
    device.network.answer_to_many = None
    device.network.answer = answer_with(503)
    await outbox.retry("a")
    await outbox.drain()
    assert sent(device)[:2] == ["ab", "ab"]
    assert device.record("b")["state"] == "pending"
    assert device.record("b")["unknown_since"] is not None


async def test_a_type_that_is_paused_does_not_go_along() -> None:
    """Its job waits in its place, and those behind it wait for it."""
    device = Device()
    outbox = await waiting(device, "a")
    await outbox.enqueue("memo", {"text": "b"}, id="b", key="key-b")
    await outbox.enqueue("note", {"text": "c"}, id="c", key="key-c")
    await outbox.pause(type_="memo")
    await go(device, outbox)
    assert sent(device) == ["a"]
    await outbox.resume(type_="memo")
    await device.deliver_all(outbox)
    assert sent(device) == ["a", "bc"]


async def test_a_job_that_is_cancelled_costs_the_others_of_its_request_nothing() -> None:
    """However long that takes: the leases of the others are renewed, and their results are settled."""
    device = Device()
    outbox = await waiting(device, *"abc")
    silence = device.network.answer = Silence()
    await outbox.resume()
    await device.rest()
    await outbox.cancel("a")
    for _ in range(6):
        await device.clock.advance(20_000)
    device.network.answer = receipt
    silence.answer()
    await device.rest()
    assert sent(device) == ["abc"]
    assert [device.record(job)["state"] for job in "bc"] == ["completed", "completed"]


async def test_a_server_that_runs_nothing_at_all_is_asked_for_one() -> None:
    """The first of a lane cannot have been stopped by another; no circle comes of it."""
    device = Device()
    outbox = await waiting(device, *"ab")

    def run_nothing(request: Request) -> Answer:
        headers = {"content-type": "application/problem+json"}
        body = {"type": "urn:holdfast:problem:not-run"}
        keys = [item["key"] for item in request.payload["items"]]
        results = [{"status": 424, "headers": headers | {"idempotency-key": key}, "body": body} for key in keys]
        return Answer(200, {}, json.dumps({"results": results}))

    device.network.answer_to_many = run_nothing
    await go(device, outbox)
    assert sent(device) == ["ab", "a", "b"]


async def test_an_outage_uses_nothing_up_and_counts_once() -> None:
    """One miss for one request; when the network is back, the same go together again."""
    device = Device()
    outbox = await waiting(device, *"abc")

    def go_away(_request: Request) -> Answer:
        device.offline()
        return Answer(failure="network")

    device.network.answer_to_many = go_away
    await outbox.resume()
    await device.rest()
    assert {device.end(text) for text in "abc"} == {("pending", "unreachable")}
    [breaker] = [gate for gate in device.store.records("gates") if gate["name"] == "breaker:"]
    assert breaker["failures"] == 1
    device.network.answer_to_many = None
    device.online()
    await device.deliver_all(outbox)
    assert sent(device) == ["abc", "abc"]
    assert {device.record(text)["attempts"] for text in "abc"} == {0}


async def test_what_the_server_can_no_longer_tell_from_a_repeat_does_not_go_along() -> None:
    """A person takes that risk for the first of two; nobody has taken it for the second, which waits for its own answer."""
    device = Device()
    device.network.flags["key_lifetime_ms"] = 3_600_000
    outbox = await waiting(device, *"ab", type_="stop")
    device.network.answer = Outage(device)
    await outbox.resume()
    await device.rest()
    assert [device.end(text) for text in "ab"] == [("pending", "unreachable")] * 2
    await device.clock.advance(3_600_001)
    device.online()
    await outbox.drain()
    assert [device.end(text) for text in "ab"] == [("failed", "outcome_unknown"), ("pending", "unreachable")]
    await outbox.retry("a", accept_duplicate=True)
    await device.deliver_all(outbox)
    assert sent(device) == ["ab", "a"]
    assert [device.end(text) for text in "ab"] == [("completed", None), ("failed", "outcome_unknown")]
    check_laws(device.store)


async def test_signed_out_holds_the_account_and_burns_nothing() -> None:
    """The first refusal at the door stops the lane."""
    device = Device()
    device.network.answer = in_turn(answer_with(401))
    outbox = await waiting(device)
    await outbox.sign_in("ann")
    for text in "abc":
        await outbox.enqueue("note", {"text": text}, id=text)
    await outbox.resume()
    await device.rest()
    assert [device.end(text) for text in "abc"] == [("pending", "signed_out"), ("pending", None), ("pending", None)]
    assert device.network.sent[0].headers == {"Holdfast-Account": "ann"}
    await outbox.sign_in("ann")
    await device.deliver_all(outbox)
    assert sent(device) == ["abc", "abc"]
    assert {device.record(text)["attempts"] for text in "abc"} == {0}


async def test_one_job_of_a_running_batch_can_be_cancelled() -> None:
    """The request goes on for the others; a receipt that comes for it all the same completes it, nothing else does."""
    for answer, end in ((receipt, ("completed", None)), (answer_with(422), ("cancelled", "in_flight"))):
        device = Device()
        outbox = await waiting(device, *"abc")
        silence = Silence()
        device.network.answer = lambda request, silence=silence, answer=answer: (
            silence(request) if request.payload["text"] == "a" else answer(request)
        )
        await outbox.resume()
        await device.rest()
        await outbox.cancel("b")
        assert device.end("b") == ("cancelled", "in_flight")
        check_laws(device.store)
        await device.rest()
        silence.answer()
        await device.deliver_all(outbox)
        assert sent(device) == ["abc"]
        assert device.end("b") == end
        assert device.end("a") == ("completed", None)
        check_laws(device.store)


async def test_a_batch_of_which_all_is_cancelled_is_aborted() -> None:
    """Nobody waits for it any more, and the next ones go at once."""
    device = Device()
    outbox = await waiting(device, *"ab")
    silence = Silence()
    device.network.answer = silence
    await outbox.resume()
    await device.rest()
    await outbox.cancel("a")
    await outbox.cancel("b")
    await device.rest()
    assert silence.waiting[0][1].cancelled()
    device.network.answer = receipt
    await outbox.enqueue("note", {"text": "c"}, id="c")
    await device.rest()
    assert (sent(device), completed(device)) == (["ab", "c"], "c")


async def test_after_a_death_each_goes_by_itself_under_its_own_key() -> None:
    """Nobody knows which of them was to blame; the death burns no attempt, and what the server has done is replayed."""
    device = Device()
    outbox = await waiting(device, *"abc")
    device.network.answer = Silence()
    await outbox.resume()
    await device.rest()
    await device.crash()
    device.network.answer = receipt
    await device.deliver_all(await device.context(describe()))
    assert sent(device) == ["abc", "a", "b", "c"]
    assert [request.headers["Idempotency-Key"] for request in device.network.sent[1:]] == ["key-a", "key-b", "key-c"]
    assert {(device.record(text)["attempts"], device.record(text)["fence"]) for text in "abc"} == {(0, 2)}


async def test_a_job_that_takes_its_context_down_is_found_out_among_others() -> None:
    """After the first death it goes by itself, so its deaths are counted; the others arrive."""
    device = Device()
    outbox = await waiting(device, *"abc")
    await outbox.resume()
    silence = Silence()
    device.network.answer = lambda request: silence(request) if request.payload["text"] == "b" else receipt(request)
    await device.rest()
    for _ in range(6):
        await device.crash()
        asyncio.ensure_future((await device.context(describe())).drain())  # noqa: RUF006  (it dies in the next turn)
        await device.rest()
    assert device.end("b") == ("failed", "crashed")
    assert completed(device) == "ac"


async def test_every_lease_of_a_long_batch_is_renewed() -> None:
    """Nobody else claims any of it."""
    device = Device()
    outbox = await waiting(device, *"abc")
    silence = Silence()
    device.network.answer = silence
    await outbox.resume()
    await device.rest()
    await device.clock.advance(100_000)
    leases = {device.record(text)["lease_until"] - device.clock.now() for text in "abc"}
    assert leases == {60_000}
    device.network.answer = receipt
    silence.answer()
    await device.rest()
    assert completed(device) == "abc"
    assert len(device.network.sent) == 1


async def test_a_network_that_raises_is_a_failure_of_the_whole() -> None:
    """An adapter's bug does not stop the queue."""
    device = Device()
    outbox = await waiting(device, *"ab")

    def broken(_request: Request) -> Answer:
        raise RuntimeError("no such port")

    device.network.answer_to_many = broken
    await go(device, outbox)
    assert sent(device) == ["ab", "a", "b"]
    assert completed(device) == "ab"


async def test_many_in_a_batch_cost_few_storage_requests_each() -> None:
    """The lane is read once, the counters are written once for all."""
    device = Device()
    outbox = await waiting(device, *(f"{number:03}" for number in range(100)))
    await outbox.resume()
    before = device.store.requests
    await device.deliver_all(outbox)
    assert len(completed(device)) == 300
    assert (device.store.requests - before) / 100 <= 5
