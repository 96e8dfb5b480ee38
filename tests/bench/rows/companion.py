"""What keys cost: time per request of an app that writes one row, with the middleware and without, over each store."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from tests.bench.table import Line, Side, row
from tests.bench.workshop import Workshop
from tests.support.databases import running_postgres, running_redis
from tests.support.server import ROOT, free_port
from tests.support.waiting import until

REQUESTS = 400
CLIENTS = 8
BODY = b'{"item": "rope, 40 m"}'
KEPT = {"sqlite": 0.7, "postgres": 0.0, "redis": 0.0}
"""Only SQLite has a budget. PostgreSQL's own write takes three round trips, and keys add two; the figure tells what that is."""


@row
def companion(workshop: Workshop) -> list[Line]:
    """Both sides write the same row durably to the same database; with keys in Redis that is SQLite."""
    return measured(workshop.rounds)


def measured(rounds: int) -> list[Line]:
    """The lines, from so many rounds of each side in turn."""
    lines = []
    with running_postgres() as postgres, running_redis() as redis:
        for store, url in (("sqlite", ""), ("postgres", postgres.new_database()), ("redis", redis.new_database())):
            sides: dict[bool, list[float]] = {True: [], False: []}
            with tempfile.TemporaryDirectory() as folder:
                for _ in range(rounds):
                    for keyed in (True, False):
                        with _app(store, url, folder, keyed=keyed) as port:
                            sides[keyed].append(asyncio.run(_microseconds_a_request(port)))
            lines.append(
                Line(
                    what=f"companion on {store}, a request that writes",
                    unit="us",
                    ours=Side(name="with keys", values=sides[True]),
                    other=Side(name="without", values=sides[False]),
                    at_least=KEPT[store],
                )
            )
    return lines


@contextmanager
def _app(store: str, url: str, folder: str, *, keyed: bool) -> Iterator[int]:
    port = free_port()
    settings = {"BENCH_STORE": store, "BENCH_URL": url, "BENCH_FOLDER": folder, "BENCH_KEYED": str(int(keyed))}
    path = os.pathsep.join(str(part) for part in (ROOT / "pyodide_modules", ROOT / "server", ROOT))
    command = [sys.executable, "-m", "uvicorn", "tests.bench.companion_app:create", "--factory", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--log-level", "warning", "--no-access-log"], env={**os.environ, **settings, "PYTHONPATH": path}
    )
    try:
        until(lambda: asyncio.run(_answers(port)), "an answer of the app")
        yield port
    finally:
        process.terminate()
        process.wait()


async def _answers(port: int) -> bool:
    try:
        await _send(port, 1)
    except OSError:
        return False
    return True


async def _microseconds_a_request(port: int) -> float:
    await asyncio.gather(*(_send(port, 5) for _ in range(CLIENTS)))
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
