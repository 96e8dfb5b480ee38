"""The app of the row `companion`: one route that writes one row, with the middleware around it or without."""

import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from holdfast_server.exchange import transaction
from holdfast_server.marking import idempotent
from holdfast_server.middleware import IdempotencyMiddleware
from holdfast_server.stores.port import Database, KeyStore
from holdfast_server.stores.postgres import PostgresDatabase
from holdfast_server.stores.redis import RedisKeyStore
from holdfast_server.stores.sql_keys import POSTGRES_KEYS, SQLITE_KEYS, SqlKeyStore
from holdfast_server.stores.sqlite import SqliteDatabase

ORDERS = {"shop": [["CREATE TABLE orders (id TEXT PRIMARY KEY, item TEXT NOT NULL)"]]}
INSERT = {"sqlite": "INSERT INTO orders VALUES (?, ?)", "postgres": "INSERT INTO orders VALUES (%s, %s)"}


def create() -> Any:
    """The app that the environment asks for: BENCH_STORE, BENCH_URL, BENCH_FOLDER, BENCH_KEYED."""
    kind, url, keyed = os.environ["BENCH_STORE"], os.environ["BENCH_URL"], os.environ["BENCH_KEYED"] == "1"
    database: Database
    if kind == "postgres":
        database, insert = PostgresDatabase(url, {"keys": POSTGRES_KEYS, **ORDERS}), INSERT["postgres"]
    else:
        path = Path(os.environ["BENCH_FOLDER"]) / "bench.sqlite3"
        database, insert = SqliteDatabase(path, {"keys": SQLITE_KEYS, **ORDERS}), INSERT["sqlite"]

    async def bare(request: Request) -> JSONResponse:
        order = await request.json()
        values = (uuid4().hex, order["item"])
        async with database.transaction() as writing:
            await writing.connection.execute(insert, values)
            await writing.commit()
        return JSONResponse({"id": values[0]}, 201)

    @idempotent()
    async def with_its_key(request: Request) -> JSONResponse:
        order = await request.json()
        values = (uuid4().hex, order["item"])
        connection = await transaction(request)
        await connection.execute(insert, values)
        return JSONResponse({"id": values[0]}, 201)

    @asynccontextmanager
    async def lifespan(_: Starlette):
        await database.open()
        yield
        await database.close()

    # With keys in Redis the effect goes to SQLite as before: two-phase.
    endpoint = with_its_key if keyed and kind != "redis" else idempotent()(bare) if keyed else bare
    app = Starlette(routes=[Route("/orders", endpoint, methods=["POST"])], lifespan=lifespan)
    if keyed:
        store: KeyStore = RedisKeyStore(url) if kind == "redis" else SqlKeyStore(database)
        app.add_middleware(IdempotencyMiddleware, store=store)
    return app
