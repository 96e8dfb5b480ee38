"""What a key costs on the wire: one round trip before the handler's own, and one after."""

import asyncio
from contextlib import asynccontextmanager
from uuid import uuid4

from holdfast_server.idempotency import KeyedRequest, StoredResponse
from holdfast_server.stores.port import Claim, Done
from holdfast_server.stores.postgres import PostgresDatabase
from holdfast_server.stores.redis import RedisKeyStore
from holdfast_server.stores.sql_keys import POSTGRES_KEYS, SqlKeyStore

RESPONSE = StoredResponse(201, (("Content-Type", "application/json"),), b"{}")
ORDERS = {"shop": [["CREATE TABLE orders (id TEXT PRIMARY KEY)"]]}
WARM = 10
"""Until then clients load scripts and prepare statements, once a connection."""


class Wire:
    """Stands between a client and its server, and counts how often the client spoke after the server had."""

    def __init__(self, port: int) -> None:
        self.round_trips = 0
        self._port = port
        self._server_spoke = True
        self._connections: list[asyncio.Task] = []

    @asynccontextmanager
    async def to(self, url: str):
        """The URL with this wire's port for the server's."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        yield url.replace(f":{self._port}/", f":{port}/")
        server.close()
        await asyncio.gather(*self._connections)

    async def _connected(self, reader, writer) -> None:
        self._connections.append(asyncio.current_task())
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._pass_on(reader, back, asked=True), self._pass_on(there, writer, asked=False))

    async def _pass_on(self, reader, writer, *, asked: bool) -> None:
        while data := await reader.read(65_536):
            self.round_trips += asked and self._server_spoke
            self._server_spoke = not asked
            writer.write(data)
        writer.close()
        await writer.wait_closed()


def port_of(url: str) -> int:
    """The port in a URL."""
    return int(url.rpartition(":")[2].partition("/")[0])


async def claimed(store) -> Claim:
    """A new key's claim."""
    claim = await store.begin(KeyedRequest("POST /orders", str(uuid4()), "fingerprint"), now_ms=0)
    assert isinstance(claim, Claim)
    return claim


async def test_a_key_costs_postgres_two_round_trips(postgres):
    """Beside those of the handler's own transaction."""
    url = postgres.new_database()
    wire = Wire(port_of(url))
    async with wire.to(url) as through:
        database = PostgresDatabase(through, {"keys": POSTGRES_KEYS, **ORDERS}, pool=1)
        store = SqlKeyStore(database)
        await store.open()

        async def spent(*, keyed: bool) -> int:
            before = wire.round_trips
            claim = await claimed(store) if keyed else None
            async with database.transaction() as transaction:
                await transaction.connection.execute("INSERT INTO orders VALUES (%s)", (str(uuid4()),))
                if claim is None:
                    await transaction.commit()
                else:
                    assert await store.finish(claim, RESPONSE, now_ms=0, transaction=transaction) == Done(RESPONSE)
            return wire.round_trips - before

        for _ in range(WARM):
            await spent(keyed=True)
        assert await spent(keyed=True) - await spent(keyed=False) == 2
        await store.close()


async def test_a_key_costs_redis_two_round_trips(redis_server):
    """One to claim it, one to remember the answer."""
    url = redis_server.new_database()
    wire = Wire(port_of(url))
    async with wire.to(url) as through:
        store = RedisKeyStore(through)
        await store.open()
        for _ in range(WARM):
            before = wire.round_trips
            assert await store.finish(await claimed(store), RESPONSE, now_ms=0) == Done(RESPONSE)
        assert wire.round_trips - before == 2
        await store.close()
