"""`answer_once` in an app that is not ours: what a route gets for its key."""

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from holdfast_server.idempotency import KeyedRequest, StoredResponse, fingerprint_json
from holdfast_server.metrics import Metrics
from holdfast_server.middleware import EchoKey, require_key
from holdfast_server.once import answer_once
from holdfast_server.problems import HANDLERS, Problem
from holdfast_server.stores.sql_keys import SQLITE_KEYS, SqlKeyStore
from holdfast_server.stores.sqlite import SqliteDatabase
from holdfast_server.stores.statements import Statement


class Orders:
    """A route whose work can be held up and made to fail."""

    def __init__(self, keys: SqlKeyStore) -> None:
        self.keys = keys
        self.now_ms = 0
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()
        self.fails: Exception | None = None
        self.metrics = Metrics()

    async def create(self, request):
        """The route."""
        keyed = KeyedRequest(
            "POST /orders", require_key(request), fingerprint_json("POST", "/orders", await request.json())
        )

        async def prepare():
            self.entered.set()
            await self.go_on.wait()
            if self.fails:
                raise self.fails
            return effect

        def effect():
            ((number,),) = yield Statement("INSERT INTO orders DEFAULT VALUES RETURNING id")
            return StoredResponse(201, (("Location", f"/orders/{number}"),), str(number).encode())

        return await answer_once(self.keys, keyed, prepare, now_ms=lambda: self.now_ms, metrics=self.metrics)


@pytest.fixture
async def orders(tmp_path):
    """The route on a real database."""
    schema = {"keys": SQLITE_KEYS, "shop": [["CREATE TABLE orders (id INTEGER PRIMARY KEY)"]]}
    database = SqliteDatabase(tmp_path / "x.sqlite3", schema)
    await database.open()
    yield Orders(SqlKeyStore(database))
    await database.close()


@pytest.fixture
async def client(orders):
    """A client of that app."""
    app = EchoKey(Starlette(routes=[Route("/orders", orders.create, methods=["POST"])], exception_handlers=HANDLERS))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        client.headers["Idempotency-Key"] = "key"
        yield client


async def test_while_the_first_runs_the_second_is_told_to_wait(orders, client):
    """409 with a type of its own and Retry-After; then the first's answer, its location included."""
    first = asyncio.create_task(client.post("/orders", json={}))
    await orders.entered.wait()
    second = await client.post("/orders", json={})
    assert second.status_code == 409
    assert second.json()["type"] == "urn:holdfast:problem:in-progress"
    assert second.headers["retry-after"] == "1"
    assert second.headers["idempotency-key"] == "key"
    mismatch = await client.post("/orders", json={"another": "body"})
    assert (mismatch.status_code, mismatch.json()["type"]) == (422, "urn:holdfast:problem:key-reused")
    orders.go_on.set()
    done = await first
    assert (done.status_code, done.headers["location"]) == (201, "/orders/1")
    third = await client.post("/orders", json={})
    assert (third.status_code, third.content, third.headers["location"]) == (201, done.content, "/orders/1")
    assert third.headers["idempotency-replayed"] == "true"
    counters = (orders.metrics.replays, orders.metrics.conflicts, orders.metrics.mismatches)
    assert [counter._value.get() for counter in counters] == [1, 1, 1]


@pytest.mark.parametrize(
    ("error", "status"), [(Problem(422, detail="Not like this."), 422), (RuntimeError("secret detail"), 500)]
)
async def test_an_answer_without_effect_is_not_remembered(orders, client, error, status):
    """Refused or failed, the key is free at once; a fault says nothing of the server's inside and names the key all the same."""
    orders.go_on.set()
    orders.fails = error
    refused = await client.post("/orders", json={})
    assert refused.status_code == status
    assert refused.headers["idempotency-key"] == "key"
    assert refused.headers["content-type"] == "application/problem+json"
    assert "secret" not in refused.text
    orders.fails = None
    done = await client.post("/orders", json={})
    assert (done.status_code, done.content) == (201, b"1")
    assert "idempotency-replayed" not in done.headers


async def test_a_request_whose_task_is_cancelled_frees_its_key(orders, client):
    """A server that shuts down, or a framework that cancels: nobody waits for a lease."""
    first = asyncio.create_task(client.post("/orders", json={}))
    await orders.entered.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    orders.go_on.set()
    assert (await client.post("/orders", json={})).status_code == 201


async def test_a_database_that_cannot_write_is_503(orders, client):
    """The answer says to come again, and coming again works."""

    def run(sql):
        return (yield Statement(sql))

    def fill():
        """What the file has left, so that the next row needs a page."""
        yield Statement("INSERT INTO holdfast_keys VALUES ('', '', '', '', 0, 0, 0, '[]', zeroblob(500))")
        ((pages,),) = yield Statement("PRAGMA page_count")
        return pages

    async def limit(pages: int) -> None:
        for write in (database.write, database.write_relaxed):
            await write(run(f"PRAGMA max_page_count = {pages}"))

    database = orders.keys._database
    await limit(await database.write(fill()))
    orders.go_on.set()
    answers = [
        await client.post("/orders", json={"n": n}, headers={"Idempotency-Key": f"{n:0>250}"}) for n in range(40)
    ]
    refused = answers[-1]
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:holdfast:problem:unavailable")
    assert refused.headers["retry-after"] == "5"
    await limit(100_000)
    assert (await client.post("/orders", json={"n": 39}, headers={"Idempotency-Key": f"{39:0>250}"})).status_code == 201
