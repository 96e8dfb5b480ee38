"""SQLite: a database driven from threads, and the key store on it. Effect and key share one transaction.

A request that still runs is known to this process alone; the table knows finished ones. So a claim costs no write, and
dies with its process. A second process on the same file may run the same request at the same time: `finish` looks the
key up again inside the write transaction, and the later of the two is rolled back and replays.
"""

import asyncio
import json
import queue
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from holdfast_server.errors import SchemaTooNewError, StoreUnavailableError
from holdfast_server.idempotency import (
    Entry,
    Expired,
    InFlight,
    KeyedRequest,
    Mismatch,
    Replay,
    Start,
    StoredResponse,
    decide,
)
from holdfast_server.stores.port import Claim, Done

Result = TypeVar("Result")
Migration = Sequence[str]

KEYS_SCHEMA: Final[Migration] = (
    """
    CREATE TABLE idempotency_keys (
        scope TEXT NOT NULL,
        key TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        stored_at INTEGER NOT NULL,
        status INTEGER NOT NULL,
        headers TEXT NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (scope, key)
    ) STRICT, WITHOUT ROWID
    """,
)
"""The first migration of a database that holds keys."""

BUSY_MS: Final = 5_000
READERS: Final = 4
LEASE_MS: Final = 60_000


class SqliteDatabase:
    """One SQLite file: one thread that writes, a few that read, and a schema kept up to date by a chain of migrations.

    The event loop never waits for the disk. A write is on disk when its call returns (WAL, synchronous=FULL).
    """

    def __init__(self, path: Path, migrations: Sequence[Migration]) -> None:
        self._path = path
        self._migrations = migrations
        self._writer_thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-write")
        self._reader_threads = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-read")
        self._readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._writer: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the file, creating or migrating it.

        Raises:
            SchemaTooNewError: a newer version wrote it; it was left as it is.
        """
        await asyncio.get_running_loop().run_in_executor(self._writer_thread, self._open)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        writer = self._connect()
        try:
            writer.execute("PRAGMA journal_mode = WAL")
            writer.execute("PRAGMA synchronous = FULL")
            migrate(writer, self._migrations)
        except BaseException:
            writer.close()
            raise
        self._writer = writer
        for _ in range(READERS):
            reader = self._connect()
            reader.execute("PRAGMA query_only = ON")
            self._readers.put(reader)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=BUSY_MS / 1_000, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    async def close(self) -> None:
        """Finish what runs, then close the file."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writer_thread.shutdown()
        self._reader_threads.shutdown()
        while not self._readers.empty():
            self._readers.get().close()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def read(self, query: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run a query on one of the reading threads; it sees one consistent state."""
        return await asyncio.get_running_loop().run_in_executor(self._reader_threads, self._read, query)

    def _read(self, query: Callable[[sqlite3.Connection], Result]) -> Result:
        connection = self._readers.get()
        try:
            connection.execute("BEGIN")
            try:
                return query(connection)
            finally:
                connection.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            raise StoreUnavailableError(f"{self._path.name} cannot be read: {error}") from error
        finally:
            self._readers.put(connection)

    async def write(self, change: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run a change as one transaction on the writing thread. If it raises, nothing is changed."""
        return await asyncio.get_running_loop().run_in_executor(self._writer_thread, self._write, change)

    def _write(self, change: Callable[[sqlite3.Connection], Result]) -> Result:
        connection = self._writer
        if connection is None:
            raise StoreUnavailableError(f"{self._path.name} is not open.")
        try:
            with transaction(connection):
                return change(connection)
        except sqlite3.OperationalError as error:
            raise StoreUnavailableError(f"{self._path.name} cannot be written: {error}") from error


class transaction:  # noqa: N801  (reads as a statement: `with transaction(connection)`)
    """A write transaction: committed at the end of the block, rolled back if the block raises."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:  # the block raised, or COMMIT itself failed (a full disk)
                self._connection.execute("ROLLBACK")


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    """Bring the schema up to date. Several processes may do it at once: the write lock orders them.

    Raises:
        SchemaTooNewError: the database has seen more migrations than this version knows.
    """
    with transaction(connection):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(migrations):
            raise SchemaTooNewError(
                f"The database has schema {version}; this version knows {len(migrations)}. Start the newer version."
            )
        for migration in migrations[version:]:
            for statement in migration:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")


class SqliteKeyStore:
    """The key store (see `port.KeyStore`) on a `SqliteDatabase` whose migrations include `KEYS_SCHEMA`."""

    def __init__(self, database: SqliteDatabase, *, key_lifetime_ms: int | None = None) -> None:
        self.key_lifetime_ms = key_lifetime_ms
        self._database = database
        self._claims: dict[tuple[str, str], Claim] = {}

    async def begin(self, request: KeyedRequest, *, now_ms: int) -> Claim | Replay | InFlight | Mismatch:
        """Look the request up; if nobody runs it or has run it, claim it."""
        entry = await self._database.read(lambda connection: _find(connection, request))
        place = (request.scope, request.key)
        running = self._claims.get(place)
        if entry is None and running is not None:
            entry = Entry(running.request.fingerprint, stored_at=0, lease_until=running.lease_until)
        decision = decide(entry, request.fingerprint, now_ms=now_ms, key_lifetime_ms=self.key_lifetime_ms)
        if isinstance(decision, Start | Expired):
            self._claims[place] = claim = Claim(request, now_ms + LEASE_MS)
            return claim
        return decision

    async def finish(
        self, claim: Claim, effect: Callable[[sqlite3.Connection], StoredResponse], *, now_ms: int
    ) -> Done | Replay | InFlight | Mismatch:
        """Run the effect and remember its answer, in one transaction."""
        request = claim.request

        def change(connection: sqlite3.Connection) -> Done | Replay | InFlight | Mismatch:
            entry = _find(connection, request)
            decision = decide(entry, request.fingerprint, now_ms=now_ms, key_lifetime_ms=self.key_lifetime_ms)
            if not isinstance(decision, Start | Expired):
                return decision
            response = effect(connection)
            _remember(connection, request, response, now_ms)
            return Done(response)

        try:
            return await self._database.write(change)
        finally:
            await self.release(claim)

    async def release(self, claim: Claim) -> None:
        """Give the claim back."""
        place = (claim.request.scope, claim.request.key)
        if self._claims.get(place) is claim:
            del self._claims[place]


def _find(connection: sqlite3.Connection, request: KeyedRequest) -> Entry | None:
    row = connection.execute(
        "SELECT fingerprint, stored_at, status, headers, body FROM idempotency_keys WHERE scope = ? AND key = ?",
        (request.scope, request.key),
    ).fetchone()
    if row is None:
        return None
    fingerprint, stored_at, status, headers, body = row
    pairs = tuple((name, value) for name, value in json.loads(headers))
    return Entry(fingerprint, stored_at, StoredResponse(status, pairs, body))


def _remember(connection: sqlite3.Connection, request: KeyedRequest, response: StoredResponse, now_ms: int) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO idempotency_keys (scope, key, fingerprint, stored_at, status, headers, body)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            request.scope,
            request.key,
            request.fingerprint,
            now_ms,
            response.status,
            json.dumps(response.headers),
            response.body,
        ),
    )
