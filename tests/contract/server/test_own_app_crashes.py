"""An app that is not ours, killed under load: what its endpoint writes and its key are both there or neither is."""

import asyncio
import os
import random
from collections import Counter
from uuid import uuid4

import httpx
import pytest

from tests.support.server import Program
from tests.support.shop import shop

CRASHES = 100 if os.environ.get("HOLDFAST_LONG") else 10
CLIENTS = 8
LEASE_MS = 1_000


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
async def test_orders_equal_keys_however_often_the_app_is_killed(request, tmp_path, store):
    """SIGKILL at random moments, clients that retry until they have an answer: each key has one order, the one answered."""
    database = request.getfixturevalue("postgres").new_database() if store == "postgres" else ""
    answered, placed = await killed_under_load(shop(tmp_path, database, lease_ms=LEASE_MS))
    assert [key for key, count in Counter(key for key, _ in placed).items() if count > 1] == []
    assert dict(placed) == answered


async def test_in_two_phases_a_death_may_leave_an_order_too_many_and_nothing_worse(tmp_path, redis_server):
    """Keys in Redis, orders in SQLite without a column that would tell: what runs when the app dies may run again. No order
    that was answered is ever lost or another.
    """
    answered, placed = await killed_under_load(shop(tmp_path, keys=redis_server.new_database(), lease_ms=LEASE_MS))
    assert {key for key, _ in placed} == set(answered)
    assert set(answered.items()) <= set(placed)
    assert len(placed) - len(answered) <= CRASHES * CLIENTS


async def killed_under_load(app: Program) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Kill it again and again; returns each key's order as it was answered, and all keys and orders that the app has."""
    dice = random.Random(20261122)
    answered: dict[str, str] = {}
    up, over = asyncio.Event(), asyncio.Event()

    async def keep_ordering(client: httpx.AsyncClient) -> None:
        while not over.is_set():
            key = str(uuid4())
            while key not in answered:
                try:
                    answer = await client.post("/orders", json={"item": key}, headers={"Idempotency-Key": key})
                except httpx.TransportError:
                    await up.wait()  # knocking all the while would only take the processor from the start
                    continue
                assert answer.status_code in (201, 409), answer.text
                if answer.status_code == 201:
                    answered[key] = answer.json()["id"]

    def orders() -> list[tuple[str, str]]:
        return [(item, number) for number, item in httpx.get(f"{app.url}/orders", timeout=30).json()]

    with app:
        async with httpx.AsyncClient(base_url=app.url, timeout=30) as client:
            up.set()
            senders = [asyncio.create_task(keep_ordering(client)) for _ in range(CLIENTS)]
            for _ in range(CRASHES):
                enough = len(answered) + dice.randint(1, 40)
                while len(answered) < enough:
                    await asyncio.wait(senders, timeout=dice.random() / 50)
                    assert not any(sender.done() for sender in senders)
                up.clear()
                app.kill()
                acknowledged = set(answered.items())
                await asyncio.to_thread(app.start)
                up.set()
                assert acknowledged <= set(await asyncio.to_thread(orders))
            over.set()
            await asyncio.gather(*senders)
        return answered, await asyncio.to_thread(orders)
