"""An app that is not ours: it places orders in a database of its own, with keys around its route or without.

The environment says how: SHOP_DATABASE (a file's path or `postgresql://…`), SHOP_KEYS (empty: none; `database`: in the orders'
own database, committed with them; `redis://…`), SHOP_LEASE_MS.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from holdfast_server.exchange import transaction
from holdfast_server.marking import idempotent
from holdfast_server.middleware import IdempotencyMiddleware
from holdfast_server.stores.port import Database, KeyStore
from holdfast_server.stores.postgres import PostgresDatabase
from holdfast_server.stores.redis import RedisKeyStore
from holdfast_server.stores.sql_keys import LEASE_MS, POSTGRES_KEYS, SQLITE_KEYS, SqlKeyStore
from holdfast_server.stores.sqlite import SqliteDatabase
from holdfast_server.stores.statements import Rows, Statement, Steps
from tests.support.server import Program, free_port

ORDERS = {"shop": [["CREATE TABLE orders (id TEXT PRIMARY KEY, item TEXT NOT NULL)"]]}
COMMITTED = "database"


def shop(folder: Path, database: str = "", *, keys: str = COMMITTED, lease_ms: int = LEASE_MS) -> Program:
    """The app as a process of its own; nothing is started yet.

    Args:
        folder: for its log, and its database where no other is given.
        database: `postgresql://…`.
        keys: see the module.
        lease_ms: how long a dead holder blocks its key.
    """
    port = free_port()
    return Program(
        ["-m", "uvicorn", "tests.support.shop:create", "--factory", "--port", str(port), "--no-access-log"],
        log=folder / f"shop-{port}.log",
        port=port,
        environment={
            "SHOP_DATABASE": database or str(folder / f"shop-{port}.sqlite3"),
            "SHOP_KEYS": keys,
            "SHOP_LEASE_MS": str(lease_ms),
        },
    )


def create() -> ASGIApp:
    """The app that the environment asks for."""
    url, keys = os.environ["SHOP_DATABASE"], os.environ["SHOP_KEYS"]
    lease_ms = int(os.environ["SHOP_LEASE_MS"])
    database: Database
    if url.startswith("postgresql://"):
        database, insert = (
            PostgresDatabase(url, {"keys": POSTGRES_KEYS, **ORDERS}),
            "INSERT INTO orders VALUES (%s, %s)",
        )
    else:
        database, insert = (
            SqliteDatabase(Path(url), {"keys": SQLITE_KEYS, **ORDERS}),
            "INSERT INTO orders VALUES (?, ?)",
        )

    async def by_itself(request: Request) -> JSONResponse:
        order = await request.json()
        number = uuid4().hex
        async with database.transaction() as writing:
            await writing.connection.execute(insert, (number, order["item"]))
            await writing.commit()
        return JSONResponse({"id": number}, 201)

    @idempotent()
    async def with_its_key(request: Request) -> JSONResponse:
        order = await request.json()
        number = uuid4().hex
        connection = await transaction(request)
        await connection.execute(insert, (number, order["item"]))
        return JSONResponse({"id": number}, 201)

    async def list_orders(_: Request) -> JSONResponse:
        return JSONResponse(await database.read(_orders()))

    async def alive(_: Request) -> JSONResponse:
        return JSONResponse("ok")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await database.open()
        yield
        await database.close()

    endpoint: Any = {"": by_itself, COMMITTED: with_its_key}.get(keys) or idempotent()(by_itself)
    routes = [
        Route("/orders", endpoint, methods=["POST"]),
        Route("/orders", list_orders),
        Route("/healthz", alive),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    if keys:
        store: KeyStore = (
            SqlKeyStore(database, lease_ms=lease_ms) if keys == COMMITTED else RedisKeyStore(keys, lease_ms=lease_ms)
        )
        app.add_middleware(IdempotencyMiddleware, store=store)
    return app


def _orders() -> Steps[Rows]:
    return (yield Statement("SELECT id, item FROM orders ORDER BY id"))
