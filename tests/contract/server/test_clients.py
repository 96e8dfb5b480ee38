"""What strangers can do with the clients' reports, which anybody may send: nothing to those of others."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from holdfast_server.clients import LARGEST, NUMBERS, Clients
from holdfast_server.opening import open_database
from holdfast_server.stores.statements import Statement


@pytest.fixture(params=["sqlite", "postgres"])
async def clients(request, tmp_path):
    """The intake on a real database."""
    url = request.getfixturevalue("postgres").new_database() if request.param == "postgres" else ""
    database = open_database(url, tmp_path)
    await database.open()
    yield Clients(database, lambda: 1_000)
    await database.close()


@pytest.fixture
async def report(clients):
    """Sends a report, with the same number four times."""
    app = Starlette(routes=[Route("/api/metrics", clients.answer, methods=["POST"])])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as http:

        async def report(client: str, number: int) -> None:
            answer = await http.post("/api/metrics", json={"client": client, **dict.fromkeys(NUMBERS, number)})
            assert answer.status_code == 204

        yield report


def strangers(count: int, number: int):
    """As if that many had reported."""
    yield Statement(
        "INSERT INTO clients WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)"
        " SELECT 'stranger-' || n, 1000, ?, ?, ?, ? FROM numbers",
        (count, *[number] * 4),
    )


async def test_the_largest_numbers_of_very_many_clients_have_a_sum(clients, report):
    """However many say the most that a report may: all gauges are there, about right."""
    await clients.database.write(strangers(2_000, LARGEST))
    await report("mara", LARGEST)
    totals = await clients.totals()
    assert (totals.clients, totals.oldest_pending_age_ms) == (2_001, LARGEST)
    for total in (totals.depth, totals.retries, totals.permanent_failures):
        assert total == pytest.approx(2_001 * LARGEST)


async def test_a_known_client_is_heard_however_many_strangers_report(clients, report, monkeypatch):
    """A full table takes no new client in; those that are in it go on."""
    monkeypatch.setattr("holdfast_server.clients.CLIENTS_LIMIT", 4)
    await report("mara", 1)
    await clients.database.write(strangers(3, 0))
    await report("mara", 5)
    await report("late", 7)
    totals = await clients.totals()
    assert (totals.clients, totals.depth) == (4, 5)
