"""What keys cost: time per request of an app that writes one row, with the middleware and without, over each store."""

import asyncio
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

from tests.bench.table import Line, Side, row
from tests.bench.workshop import Workshop
from tests.support.databases import running_postgres, running_redis
from tests.support.shop import COMMITTED, shop

TURNS, QUICK_TURNS = 5, 3
REQUESTS = 80
CLIENTS = 8
BODY = b'{"item": "rope, 40 m"}'
KEPT = {"sqlite": 0.7}
"""At least this share of the other side's rate. PostgreSQL's own write takes three round trips, and keys add two; the figure tells what that is."""


@row
def companion(workshop: Workshop) -> list[Line]:
    """Both sides write the same row durably to a database of the same kind; with keys in Redis that is SQLite."""
    return measured(workshop.rounds * (QUICK_TURNS if workshop.quick else TURNS))


def measured(turns: int) -> list[Line]:
    """The lines, from so many turns of each side."""
    with running_postgres() as postgres, running_redis() as redis:
        return [
            _line("sqlite", turns, keys=COMMITTED),
            _line("postgres", turns, keys=COMMITTED, databases=[postgres.new_database(), postgres.new_database()]),
            _line("redis", turns, keys=redis.new_database()),
        ]


def _line(store: str, turns: int, *, keys: str, databases: list[str] | None = None) -> Line:
    """Each side has a database of its own, so that neither writes the other's pages to disk. Turns are short, and many: how
    long a disk takes changes from one second to the next.
    """
    ours, other = databases or ["", ""]
    with_keys: list[float] = []
    without: list[float] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        shop(Path(folder), ours, keys=keys) as keyed,
        shop(Path(folder), other, keys="") as bare,
        ThreadPoolExecutor(1) as thread,  # Playwright's loop runs in this one
    ):
        for port in (keyed.port, bare.port):
            thread.submit(asyncio.run, _microseconds_a_request(port)).result()  # until it has done some, it starts up
        for number in range(turns):
            sides = [(keyed.port, with_keys), (bare.port, without)]
            for port, values in sides if number % 2 else reversed(sides):
                values.append(thread.submit(asyncio.run, _microseconds_a_request(port)).result())
    return Line(
        what=f"companion on {store}, a request that writes",
        unit="us",
        ours=Side(name="with keys", values=with_keys),
        other=Side(name="without", values=without),
        at_least=KEPT.get(store),
    )


async def _microseconds_a_request(port: int) -> float:
    begun = time.perf_counter()
    await asyncio.gather(*(_send(port, REQUESTS // CLIENTS) for _ in range(CLIENTS)))
    return 1e6 * (time.perf_counter() - begun) / REQUESTS


async def _send(port: int, requests: int) -> None:
    """One connection that is kept, one request after the other; a client that costs little beside the server."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(requests):
        head = (
            "POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Idempotency-Key: {uuid4()}\r\nContent-Length: {len(BODY)}\r\n\r\n"
        )
        writer.write(head.encode() + BODY)
        status = await reader.readline()
        assert status.startswith(b"HTTP/1.1 201"), status
        length = 0
        while (line := await reader.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        await reader.readexactly(length)
    writer.close()
    await writer.wait_closed()
