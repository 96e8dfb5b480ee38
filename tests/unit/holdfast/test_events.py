"""Events as something to loop over."""

import asyncio
from contextlib import aclosing

from holdfast.events import KEPT
from holdfast.testing import receipt
from tests.support.device import Device


async def test_a_loop_over_the_events_hears_every_context_until_it_ends() -> None:
    """In their order; afterwards nobody listens any more."""
    device = Device()
    outbox, other = await device.context(), await device.context()
    heard: list[int] = []

    async def follow() -> None:
        async for event in outbox.events():
            heard.append(event["n"])
            if len(heard) == 3:
                break

    following = asyncio.ensure_future(follow())
    await device.rest()
    for number, context in enumerate((outbox, other, outbox, other)):
        context.publish({"kind": "test", "n": number})
        await device.rest()
    await following
    await device.rest()
    assert (heard, outbox._listeners) == ([0, 1, 2], [])


async def test_events_that_nobody_takes_do_not_pile_up() -> None:
    """The newest wait for whoever looks again."""
    device = Device()
    outbox = await device.context()
    async with aclosing(outbox.events()) as events:
        first = asyncio.ensure_future(anext(events))
        await device.rest()
        outbox.publish({"kind": "test", "n": 0})
        assert (await first)["n"] == 0
        for number in range(1, KEPT + 10):
            outbox.publish({"kind": "test", "n": number})
        await device.rest()
        assert [(await anext(events))["n"] for _ in range(KEPT)] == list(range(10, KEPT + 10))


async def test_what_is_taken_in_together_is_told_of_together_and_before_what_comes_after_it() -> None:
    """Every context hears of each job once, in one event for all, and each is sent though one look began for all."""
    device = Device()
    outbox, other = await device.context(), await device.context()
    heard: list[dict[str, object]] = []
    for context in (outbox, other):
        context.listen(heard.append)
    device.network.answer = receipt
    accepted = await asyncio.gather(*(outbox.enqueue("note", {"text": f"{number}"}) for number in range(20)))
    outbox.publish({"kind": "test"})
    await device.rest()
    ids = {one.id for one in accepted}
    changes = [event["ids"] for event in heard if event["kind"] == "change" and "queue" not in event]
    assert len(changes) == 2
    assert all(set(found) == ids for found in changes)
    assert [event["kind"] for event in heard[:2]].count("test") == 0
    assert {device.end(one.id) for one in accepted} == {("completed", None)}


async def test_a_pause_is_told_of_once_for_all_that_it_keeps_back() -> None:
    """Beside them one of a type that is not paused: it is told of by itself, and goes."""
    device = Device()
    outbox = await device.context()
    await outbox.pause(type_="note")
    heard: list[dict[str, object]] = []
    outbox.listen(heard.append)
    device.network.answer = receipt
    notes = await asyncio.gather(*(outbox.enqueue("note", {"text": f"{number}"}) for number in range(3)))
    photo = await outbox.enqueue("photo", {"text": "p"})
    await device.rest()
    kept = [event["ids"] for event in heard if event.get("kept_back")]
    assert kept == [[one.id for one in notes]]
    assert device.end(photo.id) == ("completed", None)
    assert {device.end(one.id) for one in notes} == {("pending", None)}
