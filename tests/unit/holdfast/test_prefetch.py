"""Jobs of a fast lane that are claimed at once and sent one after the other: when, and what stops them."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from holdfast import Outbox
from holdfast.errors import StorageClosedError
from holdfast.ports import Answer, Next, Request
from holdfast.prefetch import FRESH_MS, MOST, how_many, is_fresh
from holdfast.storage import Transaction
from holdfast.testing import answer_with, receipt
from tests.support.device import Device, Silence, check_laws, describe

LANE = "abcdefgh"


async def waiting(device: Device, texts: Sequence[str] = LANE) -> Outbox:
    """A context with jobs of one lane that wait, paused."""
    outbox = await device.context()
    await outbox.pause()
    for text in texts:
        await outbox.enqueue("note", {"text": text}, id=text, key=f"key-{text}")
    return outbox


async def go(device: Device, outbox: Outbox) -> None:
    """Everything that can go by itself goes."""
    await outbox.resume()
    await device.deliver_all(outbox)
    check_laws(device.store)


def under_way(device: Device) -> str:
    """What is claimed."""
    return "".join(sorted(record["id"] for record in device.store.records("jobs") if record["state"] == "processing"))


def at(text: str, how: Callable[[Request], Any]) -> Callable[[Request], Any]:
    """A server that treats one job in a way of its own, the first time it comes."""
    met: list[str] = []

    def answer(request: Request) -> Any:
        first = request.payload["text"] == text and not met
        met.extend([text] if first else [])
        return (how if first else receipt)(request)

    return answer


def test_how_many_go_by_how_long_one_takes() -> None:
    """So that the last of them is still fresh; nobody knows as a drain begins."""
    assert [how_many(took_ms) for took_ms in (None, 0, 1, 20, 100, 125, 126, 5_000)] == [1, MOST, MOST, 12, 2, 2, 1, 1]
    assert [is_fresh(1_000, 1_000 + span_ms) for span_ms in (0, FRESH_MS - 1, FRESH_MS, -60_000)] == [
        True,
        True,
        False,
        False,
    ]


async def test_a_fast_lane_is_claimed_many_at_once_and_goes_in_order() -> None:
    """The first tells how fast it is. Each goes in a request of its own, under its own key."""
    device = Device()
    outbox = await waiting(device)
    seen: list[str] = []

    def answer(request: Request) -> Answer:
        seen.append(under_way(device))
        return receipt(request)

    device.network.answer = answer
    before = len(device.network.sent)
    await go(device, outbox)
    assert seen[:2] == ["a", "bcdefgh"]
    assert all(LANE.endswith(claimed) and LANE[n] in claimed for n, claimed in enumerate(seen[1:], 1))
    assert [request.headers["Idempotency-Key"] for request in device.network.sent[before:]] == [
        f"key-{t}" for t in LANE
    ]
    assert {device.end(text) for text in LANE} == {("completed", None)}


async def test_a_slow_lane_is_claimed_one_by_one() -> None:
    """What is claimed early would only go back."""
    device = Device()
    outbox = await waiting(device)

    async def answer(request: Request) -> Answer:
        await device.clock.sleep(FRESH_MS)
        assert under_way(device) == request.payload["text"]
        return receipt(request)

    device.network.answer = answer
    await outbox.resume()
    drained = asyncio.ensure_future(outbox.drain())
    await device.clock.advance(FRESH_MS * len(LANE))
    await drained
    assert {(device.end(text), device.record(text)["fence"]) for text in LANE} == {(("completed", None), 1)}


@pytest.mark.parametrize("how", [answer_with(503), answer_with(401), answer_with(422), answer_with(409)])
async def test_behind_anything_but_a_receipt_the_others_go_back_as_they_were(how: Callable[[Request], Answer]) -> None:
    """No attempt is used, nothing is unknown about them, and nobody overtakes it."""
    device = Device()
    outbox = await waiting(device)
    went_back: list[Any] = []

    def answer(request: Request) -> Answer:
        outbox.listen(
            lambda _event: went_back.extend(
                device.record(text) for text in "efgh" if device.record(text)["state"] == "pending"
            )
        )
        return how(request)

    device.network.answer = at("d", answer)
    await outbox.resume()
    drained = asyncio.ensure_future(outbox.drain())
    await device.rest()
    await drained
    assert device.sent()[:4] == list("abcd")
    assert went_back
    for record in went_back:
        assert (record["attempts"], record["unknown_since"], record["reason"]) == (0, None, None)
    check_laws(device.store)


async def test_what_waited_too_long_behind_others_is_claimed_anew() -> None:
    """Gates are read with a claim, and are not believed for ever."""
    device = Device()
    outbox = await waiting(device)

    async def answer(request: Request) -> Answer:
        await device.clock.sleep(FRESH_MS)
        return receipt(request)

    device.network.answer = at("c", answer)
    await outbox.resume()
    drained = asyncio.ensure_future(outbox.drain())
    await device.clock.advance(FRESH_MS)
    await drained
    assert device.sent() == list(LANE)
    assert [device.record(text)["fence"] for text in LANE] == [1, 1, 1, 2, 2, 2, 2, 2]


async def test_a_pause_beside_it_stops_it_after_the_request_that_runs() -> None:
    """So does a sign-out, and anything that changes in the queue; in the context that sends as in another."""
    for stop in (
        lambda tab, _: tab.pause(),
        lambda _, own: own.pause(),
        lambda tab, _: tab.sign_in("bob"),
        lambda _, own: own.sign_in("bob"),
    ):
        device = Device()
        outbox = await waiting(device)
        tab = await device.context()
        silence = Silence()
        device.network.answer = at("c", silence)
        await outbox.resume()
        await device.rest()
        assert (device.sent(), under_way(device)) == (list("abc"), "cdefgh")
        await stop(tab, outbox)
        await device.rest()
        silence.answer()
        await device.rest()
        assert device.sent() == list("abc")
        assert under_way(device) == ""
        check_laws(device.store)


async def test_the_next_goes_before_anybody_here_has_heard_of_the_receipt() -> None:
    """It is named when the one before it is asked for."""
    device = Device()
    outbox = await waiting(device)
    left_already: list[str] = []
    send = device.network.send

    async def watched(request: Request, progress: Any, then: Next | None = None) -> Answer:
        left_already.extend(request.job_id for sent in device.network.sent if sent is request)
        return await send(request, progress, then)

    async def answer(request: Request) -> Answer:
        await device.rest()
        return receipt(request)

    device.network.send = watched  # type: ignore[method-assign]
    device.network.answer = answer
    await go(device, outbox)
    assert device.sent() == list(LANE)
    assert left_already == list("defgh")


@pytest.mark.parametrize(
    "news",
    [
        {"kind": "change", "ids": ["x"]},
        {"kind": "change", "ids": ["d"], "cancelled": True},
        {"kind": "account", "account": "bob"},
    ],
    ids=lambda news: news["kind"],
)
async def test_what_had_left_before_the_news_came_is_settled_by_what_it_comes_to(news: dict[str, Any]) -> None:
    """It was on its way, though nobody here had heard of the receipt before it; nothing goes behind it by that claim."""
    device = Device()
    outbox = await waiting(device)
    tab = await device.context()

    def answer(request: Request) -> Answer:
        tab.publish(news)
        return receipt(request)

    device.network.answer = at("d", answer)
    await outbox.resume()
    await device.rest()
    assert device.sent() == list(LANE)
    assert {device.end(text) for text in LANE} == {("completed", None)}
    assert [device.record(text)["fence"] for text in LANE] == [1, 1, 1, 1, 2, 2, 2, 2]
    check_laws(device.store)


async def test_what_only_the_app_can_judge_is_not_followed_by_anything_by_itself() -> None:
    """What `classify` says of an answer is known once it has been asked."""
    device = Device()
    outbox = Outbox("test", app_version=1)
    outbox.route("judged", "POST", "/api/notes", queue="notes", classify=lambda _answer: None)
    await device.context(outbox)
    await outbox.pause()
    for text in LANE:
        await outbox.enqueue("judged", {"text": text}, id=text)
    named: list[Next | None] = []
    send = device.network.send

    async def watched(request: Request, progress: Any, then: Next | None = None) -> Answer:
        named.append(then)
        return await send(request, progress, then)

    device.network.send = watched  # type: ignore[method-assign]
    await go(device, outbox)
    assert (device.sent(), named) == (list(LANE), [None] * len(LANE))


async def test_what_is_cancelled_behind_others_is_not_sent() -> None:
    """The others are."""
    device = Device()
    outbox = await waiting(device)
    silence = Silence()
    device.network.answer = at("c", silence)
    await outbox.resume()
    await device.rest()
    await outbox.cancel("e")
    silence.answer()
    await device.deliver_all(outbox)
    assert device.sent() == list("abcdfgh")
    assert device.end("e") == ("cancelled", "in_flight")
    check_laws(device.store)


async def test_what_is_more_urgent_goes_next() -> None:
    """It waits for one request, not for all that was claimed."""
    device = Device()
    outbox = await waiting(device)
    silence = Silence()
    device.network.answer = at("c", silence)
    await outbox.resume()
    await device.rest()
    await outbox.enqueue("note", {"text": "!"}, priority=9)
    await device.rest()
    silence.answer()
    await device.deliver_all(outbox)
    assert device.sent() == list("abc!defgh")


async def test_after_a_death_each_is_claimed_by_itself() -> None:
    """One of them may have been to blame."""
    device = Device()
    outbox = await waiting(device)
    device.network.answer = at("c", Silence())
    await outbox.resume()
    await device.rest()
    await device.crash()
    tab = await device.context(describe())
    seen: list[str] = []

    def answer(request: Request) -> Answer:
        seen.append(under_way(device))
        return receipt(request)

    device.network.answer = answer
    await device.deliver_all(tab)
    assert seen == list("cdefgh")
    assert {device.record(text)["attempts"] for text in LANE} == {0}


async def test_what_goes_by_itself_is_not_claimed_with_others() -> None:
    """A type that shares requests, a task, a server that may not know a repeat: each has a claim of its own."""
    device = Device()
    outbox = Outbox("test", app_version=1)
    ran: list[str] = []

    @outbox.task("tidy", queue="notes")
    async def tidy(payload: Any) -> None:
        ran.append(under_way(device))
        assert payload == {"text": "b"}

    outbox.route("note", "POST", "/api/notes", queue="notes")
    outbox.route(
        "away", "POST", "https://other.example/notes", queue="notes", receipt=lambda answer, _key: answer.status == 201
    )
    outbox.route("many", "POST", "/api/many", queue="notes", batch=True)
    await device.context(outbox)
    await outbox.pause()
    for text, type_ in zip("abcdefg", ("note", "tidy", "note", "away", "away", "note", "many"), strict=True):
        await outbox.enqueue(type_, {"text": text}, id=text)
    seen: list[str] = []

    def answer(request: Request) -> Answer:
        seen.append(under_way(device))
        return receipt(request)

    device.network.answer = answer
    await go(device, outbox)
    assert (seen, ran) == (["a", "c", "d", "e", "f", "g"], ["b"])


async def test_many_in_a_fast_lane_cost_few_storage_requests_each() -> None:
    """The lane is read once for many, the counters are written once for all."""
    device = Device()
    outbox = await waiting(device, [f"{number:03}" for number in range(160)])
    await outbox.resume()
    before = device.store.requests
    await device.deliver_all(outbox)
    assert len(device.sent()) == 160
    assert (device.store.requests - before) / 160 <= 6


@pytest.mark.parametrize("later", [False, True])
async def test_while_the_second_half_is_sent_the_first_is_settled_and_more_is_claimed(later: bool) -> None:
    """No request waits for a commit, and never more than so many are under way; also beside a lane whose time has not come."""
    device = Device()
    jobs = [f"{number:02}" for number in range(40)]
    outbox = await waiting(device, jobs)
    if later:
        await outbox.enqueue("note", {"text": "later"}, priority=9, delay_ms=3_600_000)
    claimed: list[int] = []
    completed: list[int] = []

    async def answer(request: Request) -> Answer:
        await device.rest()  # whatever is done beside a request
        states = [device.end(job)[0] for job in jobs]
        claimed.append(states.count("processing"))
        completed.append(states.count("completed"))
        assert states[: completed[-1] + claimed[-1]] == ["completed"] * completed[-1] + ["processing"] * claimed[-1]
        return receipt(request)

    device.network.answer = answer
    await outbox.resume()
    await outbox.drain()
    assert device.sent() == jobs
    assert max(claimed) == MOST
    assert completed[30] >= 16  # long before the end, and with a request under way
    assert min(claimed[1:30]) > 1
    assert {(device.end(job), device.record(job)["fence"]) for job in jobs} == {(("completed", None), 1)}
    check_laws(device.store)


async def test_nothing_more_is_claimed_behind_where_another_lane_waits() -> None:
    """What is more urgent and becomes due meanwhile has its turn when what was claimed is sent."""
    device = Device()
    outbox = await waiting(device, [f"{number:02}" for number in range(40)])
    await outbox.enqueue("note", {"text": "urgent"}, priority=9, delay_ms=50)

    async def answer(request: Request) -> Answer:
        await device.clock.sleep(10)
        return receipt(request)

    device.network.answer = answer
    await outbox.resume()
    draining = asyncio.ensure_future(outbox.drain())
    await device.clock.advance(1_000)
    await draining
    assert 5 <= device.sent().index("urgent") <= 1 + MOST


async def test_where_the_middle_cannot_be_stored_it_is_settled_with_the_rest() -> None:
    """A store that fails for a while costs no receipt."""
    device = Device()
    jobs = [f"{number:02}" for number in range(20)]
    outbox = await waiting(device, jobs)
    run = device.store.run
    refused: list[str] = []

    async def refuse(transaction: Transaction[Any]) -> Any:
        if transaction.name == "settle_and_claim_behind":
            refused.append(transaction.name)
            raise StorageClosedError("The connection was lost.")
        return await run(transaction)

    device.store.run = refuse  # type: ignore[method-assign]
    await go(device, outbox)
    assert refused
    assert device.sent() == jobs
    assert {(device.end(job), device.record(job)["fence"]) for job in jobs} == {(("completed", None), 1)}
