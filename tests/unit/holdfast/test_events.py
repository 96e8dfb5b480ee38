"""Events as something to loop over."""

import asyncio
from contextlib import aclosing

from holdfast.events import KEPT
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
