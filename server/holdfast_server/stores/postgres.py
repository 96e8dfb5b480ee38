"""PostgreSQL through psycopg: a pool per process, and a schema that the first process to come brings up to date."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from typing import Any, Final

import psycopg
from psycopg_pool import AsyncConnectionPool

from holdfast_server.errors import SchemaTooNewError, StoreUnavailableError
from holdfast_server.stores.port import Schema
from holdfast_server.stores.statements import Result, Rows, Statement, Steps

POOL: Final = 8
WAIT_SECONDS: Final = 5
LOCK_WAIT_MS: Final = 5_000
RECONNECT_SECONDS: Final = 2
"""The pool waits twice as long after each look at a server that is away; after this it starts with a short wait again."""

# Advisory locks are numbers that all who use a database share: these are drawn at random, once.
_MIGRATION_LOCK: Final = 4_716_063_910_246_387_001
_TURN_LOCK: Final = 4_716_063_910_246_387_002

# A session's own statements do not wait for the disk; a transaction that must last goes back to what the server is set to.
_BEGIN: Final = b"BEGIN; SET LOCAL synchronous_commit TO DEFAULT"
_BEGIN_IN_TURN: Final = b"%b; SELECT pg_advisory_xact_lock(%d)" % (_BEGIN, _TURN_LOCK)
_BEGIN_READING: Final = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class PostgresDatabase:
    """One PostgreSQL database (see `port.Database`).

    Args:
        url: `postgresql://user@host/name`, or anything else libpq takes.
        schema: the migrations of each part that lives in it.
        pool: the most connections this process opens.
    """

    def __init__(self, url: str, schema: Schema, *, pool: int = POOL) -> None:
        self._schema = schema
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=pool,
            timeout=WAIT_SECONDS,
            kwargs={"autocommit": True, "connect_timeout": WAIT_SECONDS},
            configure=_configure,
            reconnect_timeout=RECONNECT_SECONDS,
            reconnect_failed=AsyncConnectionPool.check,
            open=False,
        )
        self._checks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Connect and bring the schema up to date."""
        with self._faults():
            await self._pool.open(wait=True, timeout=WAIT_SECONDS)
        await self.write(_migrate(self._schema))

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def read(self, steps: Steps[Result]) -> Result:
        """Run steps on one snapshot."""
        return await self._run(steps, _BEGIN_READING)

    async def write(self, steps: Steps[Result]) -> Result:
        """Run steps as one transaction."""
        return await self._run(steps, _BEGIN)

    async def write_in_turn(self, steps: Steps[Result]) -> Result:
        """Run steps as one transaction, after those that came before have committed."""
        return await self._run(steps, _BEGIN_IN_TURN)

    async def write_relaxed(
        self,
        steps: Steps[Result],
        *,
        meanwhile: Callable[[], Steps[Result | None]] | None = None,  # noqa: ARG002  (writers wait only for the same row)
    ) -> Result:
        """Run each statement by itself, without waiting for the disk."""
        with self._faults():
            async with self._pool.connection() as connection:
                return await drive(connection, steps)

    async def _run(self, steps: Steps[Result], begin: bytes) -> Result:
        with self._faults():
            async with self._pool.connection() as connection:
                try:
                    await connection.execute(begin)
                    result = await drive(connection, steps)
                    await connection.execute("COMMIT")
                finally:
                    await _undo(connection)
        return result

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["PostgresTransaction"]:
        """A transaction over several awaits."""
        with self._faults():
            async with self._pool.connection() as connection:
                await connection.execute(_BEGIN)
                try:
                    yield PostgresTransaction(connection)
                finally:
                    await _undo(connection)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (psycopg.OperationalError, psycopg.InternalError) as error:
            # One broken connection seldom comes alone: the server went away, so the pool looks at the others now.
            check = asyncio.ensure_future(self._pool.check())
            self._checks.add(check)
            check.add_done_callback(self._checks.discard)
            said = error.diag.message_primary or type(error).__name__
            raise StoreUnavailableError(f"PostgreSQL cannot do this now: {said}") from error


class PostgresTransaction:
    """See `port.Transaction`. Handlers write with `connection`; ending the transaction is not theirs."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def run(self, steps: Steps[Result]) -> Result:
        """Run steps in it."""
        return await drive(self.connection, steps)

    async def commit(self) -> None:
        """Make it last."""
        await self.connection.execute("COMMIT")

    async def commit_after(self, steps: Steps[None]) -> None:
        """Run steps in it, then make it last."""
        await self.run(steps)
        await self.commit()

    async def rollback(self) -> None:
        """Undo it."""
        await _undo(self.connection)


async def drive(connection: Connection, steps: Steps[Result]) -> Result:
    """Run steps on a connection."""
    try:
        statement = next(steps)
        while True:
            try:
                rows = await _rows(connection, statement)
            except psycopg.Error as error:
                statement = steps.throw(error)
            else:
                statement = steps.send(rows)
    except StopIteration as end:
        result: Result = end.value
        return result


async def _rows(connection: Connection, statement: Statement) -> Rows:
    cursor = await connection.execute(_translated(statement.sql), statement.values or None)
    if statement.counts:
        return [(cursor.rowcount,)]
    return await cursor.fetchall() if cursor.description else []


@lru_cache(maxsize=512)
def _translated(sql: str) -> bytes:
    return sql.replace("?", "%s").encode()


async def _undo(connection: Connection) -> None:
    if not connection.closed and connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
        await connection.execute("ROLLBACK")


async def _configure(connection: Connection) -> None:
    await connection.execute(
        b"SET synchronous_commit TO off; SET client_min_messages TO warning; SET lock_timeout TO %d" % LOCK_WAIT_MS
    )


def _migrate(schema: Schema) -> Steps[None]:
    """Bring every part up to date.

    Raises:
        SchemaTooNewError: a part has seen more migrations than this version knows; nothing was changed.
    """
    yield Statement(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
    yield Statement("CREATE TABLE IF NOT EXISTS holdfast_schema (part TEXT PRIMARY KEY, version INTEGER NOT NULL)")
    for part, migrations in schema.items():
        rows = yield Statement("SELECT version FROM holdfast_schema WHERE part = ?", (part,))
        version = rows[0][0] if rows else 0
        if version > len(migrations):
            raise SchemaTooNewError(
                f"The database has version {version} of {part!r}; this program knows {len(migrations)}. "
                "Start the newer version."
            )
        for migration in migrations[version:]:
            for sql in migration:
                yield Statement(sql)
        yield Statement(
            "INSERT INTO holdfast_schema VALUES (?, ?) ON CONFLICT (part) DO UPDATE SET version = excluded.version",
            (part, len(migrations)),
        )
