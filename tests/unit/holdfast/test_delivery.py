"""From attempt to end: retries, outages, receipts, sign-in, time limits."""

import asyncio

import pytest

from holdfast import Outbox
from holdfast.errors import JobNotFoundError, WaitTimeoutError
from holdfast.outbox import Wake
from holdfast.ports import Answer, Request
from holdfast.testing import answer_with, receipt
from tests.support.device import Device, Outage, Silence, check_laws, describe, in_turn

PORTAL = Answer(200, {"content-type": "text/html"}, "<h1>Welcome to our Wi-Fi</h1>")


async def test_the_same_key_goes_with_every_attempt() -> None:
    """One key for one content, from enqueue to receipt."""
    device = Device()
    device.network.answer = in_turn(answer_with(503), answer_with(503))
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.deliver_all(outbox)
    keys = [request.headers["Idempotency-Key"] for request in device.network.sent]
    assert keys == [accepted.key] * 3


async def test_a_portals_welcome_completes_nothing() -> None:
    """A 2xx without our key is no receipt; with the receipt the job is done."""
    device = Device()
    device.network.answer = in_turn(lambda _request: PORTAL)
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    assert (device.record(accepted.id)["state"], device.record(accepted.id)["reason"]) == ("pending", "no_receipt")
    await device.deliver_all(outbox)
    assert device.record(accepted.id)["state"] == "completed"


async def test_three_answers_without_a_receipt_put_a_job_aside() -> None:
    """With the server reachable nobody there ever gives one."""
    device = Device()
    device.network.answer = lambda _request: PORTAL
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.deliver_all(outbox)
    assert len(device.network.sent) == 3
    assert (device.record(accepted.id)["state"], device.record(accepted.id)["reason"]) == ("failed", "no_receipt")
    check_laws(device.store)


async def test_answers_without_a_receipt_count_in_a_row() -> None:
    """An answer that names the key between them starts the count anew."""
    device = Device()

    def portal(_request: object) -> Answer:
        return PORTAL

    device.network.answer = in_turn(portal, portal, answer_with(503), portal, portal)
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.deliver_all(outbox)
    assert device.record(accepted.id)["state"] == "completed"


async def test_out_of_attempts_a_job_is_kept_with_its_reason() -> None:
    """Eight by default; then it waits for a person, with what the server said."""
    device = Device()
    device.network.answer = answer_with(500, {"title": "Out of order"})
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.deliver_all(outbox)
    row = await outbox.job(accepted.id)
    assert row is not None
    assert len(device.network.sent) == 8
    assert (row["state"], row["reason"], row["attempts"]) == ("failed", "exhausted", 8)
    assert (row["said"]["title"], row["payload"]) == ("Out of order", {"text": "a"})
    check_laws(device.store)


@pytest.mark.parametrize(
    ("status", "state", "reason"),
    [(422, "failed", "refused"), (404, "failed", "refused"), (412, "conflict", "server_conflict")],
)
async def test_an_answer_for_good_ends_the_job_at_once(status: int, state: str, reason: str) -> None:
    """What the server refuses is not asked again."""
    device = Device()
    device.network.answer = answer_with(status)
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.deliver_all(outbox)
    assert len(device.network.sent) == 1
    assert (device.record(accepted.id)["state"], device.record(accepted.id)["reason"]) == (state, reason)


async def test_an_outage_burns_no_attempt() -> None:
    """Offline is not failure: after a day without network the job has all its attempts and goes."""
    device = Device()
    device.network.answer = Outage(device)
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.deliver_all(outbox, span_ms=86_400_000)
    record = device.record(accepted.id)
    assert (record["state"], record["reason"], record["attempts"]) == ("pending", "unreachable", 0)
    device.online()
    await device.deliver_all(outbox)
    assert device.record(accepted.id)["state"] == "completed"


async def test_a_device_without_network_asks_at_most_twice_a_minute() -> None:
    """Probes and sends together, for all queues of the server."""
    device = Device()
    device.offline()
    outbox = await device.context()
    for text in "abc":
        await outbox.enqueue("note", {"text": text})
    await outbox.enqueue("photo", {"text": "d"})
    await device.rest()
    asked = device.network.probes
    await device.deliver_all(outbox, span_ms=600_000)
    assert device.network.probes - asked <= 20
    assert len(device.network.sent) <= 2


async def test_an_outage_holds_no_other_server() -> None:
    """Each origin has a breaker of its own."""
    device = Device()
    outbox = describe()
    outbox.route("away", "POST", "https://away.example/api", queue="notes")
    device.network.answer = lambda request: (
        Answer(failure="network") if request.url.startswith("https:") else receipt(request)
    )
    look = device.network.fetch_json

    async def fetch_json(url: str, timeout_ms: int) -> object:
        return None if url.startswith("https:") else await look(url, timeout_ms)

    device.network.fetch_json = fetch_json  # type: ignore[method-assign]
    await device.context(outbox)
    away = await outbox.enqueue("away", {"text": "a"}, lane="away")
    home = await outbox.enqueue("note", {"text": "b"}, lane="home")
    await device.rest()
    assert (await outbox.job(away.id) or {})["waits"] == "network"
    assert device.record(home.id)["state"] == "completed"


async def test_a_task_on_this_device_runs_during_an_outage() -> None:
    """It needs no server, so none can hold it up: no breaker, no sign-in."""
    device = Device()
    device.offline()
    outbox = describe()
    ran: list[object] = []

    @outbox.task("prune", queue="notes")
    async def prune(payload: object) -> None:
        ran.append(payload)

    await device.context(outbox)
    await outbox.enqueue("note", {"text": "a"}, lane="a")
    await device.rest()
    accepted = await outbox.enqueue("prune", {"days": 7}, lane="b")
    await device.rest()
    assert ran == [{"days": 7}]
    assert device.record(accepted.id)["state"] == "completed"


async def test_a_task_that_raises_is_tried_again_and_then_kept() -> None:
    """What a function raises is a failed attempt with its name; the queue goes on."""
    device = Device()
    outbox = describe()

    @outbox.task("broken", queue="notes", attempts=2)
    async def broken(_payload: object) -> None:
        raise RuntimeError("disk on fire")

    await device.context(outbox)
    accepted = await outbox.enqueue("broken", None)
    await device.deliver_all(outbox)
    row = await outbox.job(accepted.id)
    assert row is not None
    assert (row["state"], row["attempts"]) == ("failed", 2)
    assert row["said"] == {"title": "RuntimeError", "detail": "disk on fire"}


async def test_a_signed_out_account_is_held_and_nothing_burnt() -> None:
    """401 stops that account's sending, not its saving; after sign-in all of it goes, in order."""
    device = Device()
    device.network.answer = in_turn(answer_with(401))
    outbox = await device.context()
    first = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    second = await outbox.enqueue("note", {"text": "b"})
    await device.deliver_all(outbox)
    assert device.sent() == ["a"]
    rows = {row["id"]: row for row in await outbox.jobs()}
    assert (rows[first.id]["waits"], rows[first.id]["reason"], rows[first.id]["attempts"]) == (
        "sign-in",
        "signed_out",
        0,
    )
    assert rows[second.id]["state"] == "pending"
    await outbox.sign_in("")
    await device.deliver_all(outbox)
    assert device.sent() == ["a", "a", "b"]
    assert {row["state"] for row in await outbox.jobs()} == {"completed"}


async def test_a_job_over_its_time_is_kept_as_expired() -> None:
    """It is not sent any more, not deleted, and its lane goes on."""
    device = Device()
    device.offline()
    outbox = await device.context()
    short = await outbox.enqueue("note", {"text": "short"}, ttl_ms=60_000)
    await outbox.enqueue("note", {"text": "long"})
    await device.rest()
    device.network.sent.clear()
    await device.clock.advance(60_000)
    device.online()
    await outbox.drain()
    assert device.sent() == ["long"]
    row = await outbox.job(short.id)
    assert row is not None
    assert (row["state"], row["reason"], row["payload"]) == ("expired", "ttl", {"text": "short"})
    check_laws(device.store)


async def test_a_time_limit_is_a_reason_to_wake() -> None:
    """The next wake is no later than the next end."""
    device = Device()
    device.offline()
    outbox = await device.context()
    await outbox.enqueue("note", {"text": "a"}, ttl_ms=10_000)
    drained = await outbox.drain()
    assert drained["next_wake_at"] == device.clock.now() + 10_000


async def test_the_kill_switch_stops_sending_and_not_saving() -> None:
    """What the server switched off waits without burning attempts, and goes when it is switched on again."""
    device = Device()
    device.network.flags["disabled"]["types"] = ["note"]
    outbox = await device.context()
    stopped = await outbox.enqueue("note", {"text": "a"}, lane="a")
    other = await outbox.enqueue("memo", {"text": "b"}, lane="b")
    await device.deliver_all(outbox, span_ms=600_000)
    assert device.sent() == ["b"]
    assert device.record(stopped.id)["attempts"] == 0
    assert (await outbox.job(stopped.id) or {})["waits"] == "pause"
    assert device.record(other.id)["state"] == "completed"
    device.network.flags["disabled"]["types"] = []
    await device.clock.advance(60_000)
    await device.deliver_all(outbox)
    assert device.record(stopped.id)["state"] == "completed"


@pytest.mark.parametrize("wake", ["person", "wake", "timer"])
@pytest.mark.parametrize("woken", [0, 1], ids=["the context that sent", "another context"])
async def test_a_switch_that_is_set_later_holds_from_the_next_wake_on(wake: Wake, woken: int) -> None:
    """Whatever wakes which context: what the server said a while ago is asked again before anything goes."""
    device = Device()
    contexts = [await device.context(), await device.context()]
    await contexts[0].enqueue("note", {"text": "before"})
    late = await contexts[0].enqueue("note", {"text": "late"}, delay_ms=2_000)
    await device.rest()
    assert device.sent() == ["before"]
    device.network.flags["disabled"]["queues"] = ["notes"]
    await device.clock.advance(2_000)
    await contexts[woken].drain(wake=wake)
    assert (device.end(late.id), device.record(late.id)["fence"]) == (("pending", None), 0)
    assert (await contexts[woken].job(late.id) or {})["waits"] == "pause"
    device.network.flags["disabled"]["queues"] = []
    await device.clock.advance(2_000)
    await contexts[woken].drain(wake=wake)
    assert device.end(late.id) == ("completed", None)


async def test_writes_that_follow_each_other_closely_ask_the_server_once() -> None:
    """What it said of itself within two seconds is believed; and so it is for half a minute by a drain that goes on."""
    device = Device()
    outbox = await device.context()
    for number in range(10):
        await outbox.enqueue("note", {"text": str(number)})
        await device.rest()
        await device.clock.advance(199)
    assert len(device.sent()) == 10
    assert device.network.probes == 1

    async def slowly(request: Request) -> Answer:
        await device.clock.sleep(1_000)
        return receipt(request)

    device.network.answer = slowly
    for number in range(25):
        await outbox.enqueue("note", {"text": f"slow {number}"})
    await device.clock.advance(25_000)
    assert len(device.sent()) == 35
    assert device.network.probes == 1


async def test_a_wait_the_server_asks_for_is_honoured() -> None:
    """`Retry-After` is longer than the backoff, so it counts; nothing leaves before."""
    device = Device()
    device.network.answer = in_turn(answer_with(503, retry_after="120"))
    outbox = await device.context()
    await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    await device.clock.advance(119_999)
    await outbox.drain()
    assert len(device.network.sent) == 1
    await device.clock.advance(1)
    await outbox.drain()
    assert len(device.network.sent) == 2


async def test_an_earlier_attempt_that_still_runs_costs_nothing() -> None:
    """The server still works on it: wait, burn nothing, ask again with the same key."""
    device = Device()
    running = answer_with(409, {"type": "urn:holdfast:problem:in-progress"}, retry_after="2")
    device.network.answer = in_turn(running)
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    record = device.record(accepted.id)
    assert (record["reason"], record["attempts"], record["run_at"]) == ("in_progress", 0, device.clock.now() + 2_000)
    await device.deliver_all(outbox)
    assert device.record(accepted.id)["state"] == "completed"


@pytest.mark.parametrize("shift_ms", [-86_400_000, 86_400_000], ids=["a day back", "a day ahead"])
async def test_a_clock_set_wrong_delays_a_due_job_by_two_minutes_at_most(shift_ms: int) -> None:
    """However the person's clock jumps, a job in backoff leaves soon and burns nothing by it."""
    device = Device()
    device.network.answer = in_turn(answer_with(503))
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    device.clock._now += shift_ms
    await device.clock.advance(60_000)  # the leader's next look
    await device.deliver_all(outbox, span_ms=60_000)
    record = device.record(accepted.id)
    assert (record["state"], record["attempts"]) == ("completed", 1)


async def test_a_request_names_the_account_it_is_sent_for() -> None:
    """Sign-in may have changed between claim and send; the server can tell."""
    device = Device()
    device.inbox.signed_in_account = "ann"
    outbox = await device.context()
    await outbox.enqueue("note", {"text": "a"})
    device.inbox.signed_in_account = ""
    await device.rest()
    outbox.wake()
    device.inbox.signed_in_account = "ann"
    await outbox.drain()
    assert [request.headers.get("Holdfast-Account") for request in device.network.sent] == ["ann"]


async def test_nobodys_job_says_so_to_our_own_server_alone() -> None:
    """It must not be taken for one of whoever is signed in when it arrives; another server asks for no account."""
    device = Device()
    outbox = Outbox("test", app_version=1)
    outbox.route("note", "POST", "/api/notes")
    outbox.route("elsewhere", "POST", "https://other.example/notes")
    await device.context(outbox)
    for type_ in ("note", "elsewhere"):
        await outbox.enqueue(type_, {"text": type_})
        await device.rest()
    assert [request.headers.get("Holdfast-Account") for request in device.network.sent] == ["", None]


async def test_accounts_stay_apart() -> None:
    """Only the jobs of who is signed in are claimed, listed, counted, read or acted on."""
    device = Device()
    outbox = await device.context()
    device.offline()
    device.inbox.signed_in_account = "ann"
    hers = await outbox.enqueue("note", {"text": "hers"})
    await device.rest()
    device.online()
    device.network.sent.clear()
    device.inbox.signed_in_account = "bob"
    his = await outbox.enqueue("note", {"text": "his"})
    await outbox.drain()
    assert device.sent() == ["his"]
    assert [row["id"] for row in await outbox.jobs()] == [his.id]
    assert await outbox.job(hers.id) is None
    assert (await outbox.stats())["unsent"] == 0
    assert [job async for job in outbox.export()] == []
    for act in (outbox.retry, outbox.cancel, outbox.files):
        with pytest.raises(JobNotFoundError):
            await act(hers.id)
    device.inbox.signed_in_account = "ann"
    await outbox.drain()
    assert device.sent() == ["his", "hers"]


async def test_a_long_send_keeps_its_claim() -> None:
    """The lease is renewed while the upload runs, so nobody takes it over; the receipt settles it."""
    device = Device()
    device.network.answer = silence = Silence()
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.clock.advance(300_000)
    assert device.record(accepted.id)["lease_until"] > device.clock.now()
    silence.answer()
    await device.rest()
    assert device.record(accepted.id)["state"] == "completed"
    assert len(device.network.sent) == 1


async def test_a_payload_without_its_address_fails_and_lets_the_others_go() -> None:
    """A job whose URL cannot be made is a dead letter with the field named; the queue goes on."""
    device = Device()
    outbox = describe()
    outbox.route("sited", "POST", "/sites/{site}", queue="notes")
    await device.context(outbox)
    broken = await outbox.enqueue("sited", {"text": "a"})
    await outbox.enqueue("note", {"text": "b"})
    await device.rest()
    row = await outbox.job(broken.id)
    assert row is not None
    assert (row["state"], row["said"]["errors"][0]["pointer"]) == ("failed", "/site")
    assert device.sent() == ["b"]


async def test_a_network_that_raises_is_no_answer() -> None:
    """Whatever goes wrong inside the sending counts as an attempt; the queue is never stuck on it."""
    device = Device()

    def broken(request: object) -> Answer:
        raise RuntimeError(request)

    device.network.answer = in_turn(broken)
    outbox = await device.context()
    await outbox.enqueue("note", {"text": "a"})
    await outbox.enqueue("note", {"text": "b"})
    await device.deliver_all(outbox)
    assert device.sent() == ["a", "a", "b"]


async def test_wait_ends_with_the_job() -> None:
    """It answers when the job is received."""
    device = Device()
    device.offline()
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    other_tab = await device.context()
    waiting = asyncio.ensure_future(other_tab.wait(accepted.id))
    await device.rest()
    assert not waiting.done()
    device.online()
    await outbox.drain()
    await device.rest()
    assert (await waiting)["state"] == "completed"


async def test_wait_gives_up_in_time_and_the_job_goes_on() -> None:
    """It rejects with a reason once the time given ran out."""
    device = Device()
    device.offline()
    outbox = await device.context()
    accepted = await outbox.enqueue("note", {"text": "a"})
    waiting = asyncio.ensure_future(outbox.wait(accepted.id, timeout_ms=5_000))
    await device.clock.advance(5_000)
    await device.rest()
    with pytest.raises(WaitTimeoutError):
        await waiting
    assert device.record(accepted.id)["state"] == "pending"


async def test_wait_for_a_job_that_is_not_there_rejects_at_once() -> None:
    """Nobody waits for what will never come."""
    outbox = await Device().context()
    with pytest.raises(JobNotFoundError):
        await outbox.wait("nowhere")


async def test_a_drain_returns_in_the_time_given() -> None:
    """Sending itself goes on, and more is left."""
    device = Device()
    device.network.answer = Silence()
    outbox = await device.context()
    await outbox.enqueue("note", {"text": "a"})
    draining = asyncio.ensure_future(outbox.drain(timeout_ms=1_000))
    await device.clock.advance(1_000)
    await device.rest()
    assert draining.done()
    assert (await draining)["remaining"] is True
