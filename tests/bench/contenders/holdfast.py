"""Holdfast as an app uses it: an outbox with one queue, described and opened as `app/jobs.py` and `app/page/` do.

Run in the page, in the Python that this build's snapshot starts.
"""

import asyncio
import json

import js
from pyodide.ffi import create_proxy

from holdfast import Outbox
from holdfast.browser import host

LANES = 6
ROOM = 1_000_000
STRICT, RELAXED, LANED, BATCHED = "strict", "relaxed", "laned", "batched"
INSPECTION = json.loads(js.JSON.stringify(js.benchPayload(0)))

outbox = Outbox("bench", app_version=1)
outbox.queue("bench", depth=ROOM)
outbox.route(STRICT, "POST", "/sink", queue="bench")
outbox.route(RELAXED, "POST", "/sink", queue="bench", durability="relaxed")

# Several lanes at a time is a property of a queue; a wake looks at every queue, so this one has an outbox of its own.
laned = Outbox("bench-lanes", app_version=1)
laned.queue("lanes", concurrency=LANES, depth=ROOM)
laned.route(LANED, "POST", "/sink", queue="lanes")

# For the same reason this one too has its own.
batched = Outbox("bench-batch", app_version=1)
batched.queue("batches", depth=ROOM)
batched.route(BATCHED, "POST", "/sink", queue="batches", batch=1_000)


async def begin():
    for each in (outbox, laned, batched):
        await host.start(each, role="page")


def answer(message, files):
    return host.answer(outbox, message, files)


async def one_by_one(count, durability):
    """Each awaited before the next."""
    for payload in payloads(count):
        await outbox.enqueue(durability, payload)


async def at_once(count, durability):
    """All asked for before the first is awaited."""
    await asyncio.gather(*(outbox.enqueue(durability, payload) for payload in payloads(count)))


async def in_lanes(count):
    """Jobs of as many lanes as are served at once."""
    numbered = enumerate(payloads(count))
    await asyncio.gather(*(laned.enqueue(LANED, payload, lane=f"{number % LANES}") for number, payload in numbered))


async def for_a_batch(count):
    """Jobs that may share a request, as many as go into one."""
    await asyncio.gather(*(batched.enqueue(BATCHED, payload) for payload in payloads(count)))


async def gate(*, shut):
    """Nothing is sent while it is shut; capture goes on."""
    for each in (outbox, laned, batched):
        await (each.pause() if shut else each.resume())


async def drain():
    await outbox.drain()


async def drain_lanes():
    await laned.drain()


async def drain_batch():
    await batched.drain()


async def look(limit):
    """The first page of a list."""
    return len(await outbox.jobs(limit=limit))


async def figures():
    return json.dumps(await outbox.stats())


def payloads(count):
    """What the others store, as an app in Python holds it."""
    return [INSPECTION | {"site": f"Lock {number}"} for number in range(count)]


def methods():
    """What holdfast.js calls."""
    return create_proxy(
        {
            "begin": begin,
            "answer": answer,
            "one_by_one": one_by_one,
            "at_once": at_once,
            "in_lanes": in_lanes,
            "for_a_batch": for_a_batch,
            "shut": lambda: gate(shut=True),
            "open": lambda: gate(shut=False),
            "drain": drain,
            "drain_lanes": drain_lanes,
            "drain_batch": drain_batch,
            "look": look,
            "figures": figures,
        }
    )
