"""What every `Transport` promises about requests that go one behind the other, as plain functions: the same file runs on
CPython and inside Pyodide, with real requests to a real server.

Each takes a place: its `transport`, `request` makes one that its server answers as asked, once `let_go` where it is held, and
`arrived` says what came there, in order.
"""

import asyncio

from holdfast.ports import Next

SOON_MS = 60_000


def behind(request, *, since=0, until=None, now=0):
    return Next(request, since, now + SOON_MS if until is None else until)


def nobody(_sent, _total):
    """Of what has no files nobody is told how much has left."""


async def what_is_behind_a_receipt_goes_by_itself(place):
    """Before anybody was told of the receipt; its own `send` gives its answer and sends nothing."""
    first, second = place.request("a", held=True), place.request("b", status=422)
    sending = asyncio.ensure_future(place.transport.send(first, nobody, behind(second, now=place.now())))
    await place.until_arrived("a")
    await place.let_go("a")
    await place.until_arrived("a", "b")
    assert (await sending).status == 201
    assert place.transport.withdraw("b")
    answer = await place.transport.send(second, nobody)
    assert (answer.status, answer.headers["idempotency-key"]) == (422, "key-b")
    assert await place.arrived() == ["a", "b"]


async def a_row_of_them_goes_in_order(place):
    """Each is named when the one before it is asked for."""
    names = [f"{number:02}" for number in range(12)]
    requests = [place.request(name) for name in names]
    for request, next_ in zip(requests, [*requests[1:], None], strict=True):
        then = None if next_ is None else behind(next_, now=place.now())
        assert (await place.transport.send(request, nobody, then)).status == 201
    assert await place.arrived() == names


async def behind_anything_else_it_waits_to_be_asked_for(place):
    """A refusal, a server's fault, and what names no key or another one are no receipts."""
    for how in ({"status": 422}, {"status": 503}, {"echo": ""}, {"echo": "key-of-another"}):
        first, second = place.request("a", **how), place.request("b")
        await place.transport.send(first, nobody, behind(second, now=place.now()))
        assert not place.transport.withdraw("b")
        assert await place.arrived() == ["a"]
        assert (await place.transport.send(second, nobody)).status == 201
        assert await place.arrived() == ["a", "b"]
        await place.forget()


async def what_was_withdrawn_waits_to_be_asked_for(place):
    """Also where it is withdrawn twice."""
    first, second = place.request("a", held=True), place.request("b")
    sending = asyncio.ensure_future(place.transport.send(first, nobody, behind(second, now=place.now())))
    await place.until_arrived("a")
    assert [place.transport.withdraw("b") for _ in range(2)] == [False, False]
    await place.let_go("a")
    assert (await sending).status == 201
    assert await place.arrived() == ["a"]
    assert (await place.transport.send(second, nobody)).status == 201
    assert await place.arrived() == ["a", "b"]


async def outside_of_its_time_it_waits_to_be_asked_for(place):
    """A clock may be set either way meanwhile."""
    now = place.now()
    for time in ({"until": now - 1}, {"since": now + SOON_MS, "until": now + 2 * SOON_MS}):
        first, second = place.request("a"), place.request("b")
        await place.transport.send(first, nobody, behind(second, **time))
        assert not place.transport.withdraw("b")
        assert await place.arrived() == ["a"]
        await place.forget()


async def who_stops_waiting_stops_what_is_behind_too(place):
    """A task that is cancelled leaves nothing that goes by itself."""
    first, second = place.request("a", held=True), place.request("b")
    sending = asyncio.ensure_future(place.transport.send(first, nobody, behind(second, now=place.now())))
    await place.until_arrived("a")
    sending.cancel()
    await asyncio.wait([sending])
    await place.let_go("a")
    assert not place.transport.withdraw("b")
    assert (await place.transport.send(place.request("c"), nobody)).status == 201
    assert await place.arrived() == ["a", "c"]


async def what_was_dropped_is_sent_anew_if_it_is_asked_for(place):
    """Whether it had left or not."""
    first, second = place.request("a"), place.request("b", held=True)
    await place.transport.send(first, nobody, behind(second, now=place.now()))
    await place.until_arrived("a", "b")
    place.transport.drop("b")
    place.transport.drop("b")
    assert not place.transport.withdraw("b")
    await place.let_go("b")
    assert (await place.transport.send(place.request("b"), nobody)).status == 201
    assert await place.arrived() == ["a", "b", "b"]


PROMISES = [
    what_is_behind_a_receipt_goes_by_itself,
    a_row_of_them_goes_in_order,
    behind_anything_else_it_waits_to_be_asked_for,
    what_was_withdrawn_waits_to_be_asked_for,
    outside_of_its_time_it_waits_to_be_asked_for,
    who_stops_waiting_stops_what_is_behind_too,
    what_was_dropped_is_sent_anew_if_it_is_asked_for,
]
