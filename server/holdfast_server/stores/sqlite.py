"""SQLite, driven from threads: one that writes, a few that read. The event loop never waits for the disk."""

import asyncio
import queue
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from holdfast_server.errors import SchemaTooNewError, StoreUnavailableError
from holdfast_server.stores.port import Schema
from holdfast_server.stores.statements import Result, Rows, Statement, Steps
from holdfast_server.stores.threads import Threads
from holdfast_server.stores.together import Together

BUSY_MS: Final = 5_000
BUSY_RELAXED_MS: Final = 50
READERS: Final = 4
CHECKPOINT_PAGES: Final = 4_000
"""16 MB: a key's page is written to the log several times, and to the file once for all of them."""

# Before parts had versions of their own, the file had one: 1 was the first of `keys`, 2 the first of `reference` as well.
_BEFORE_PARTS: Final = {1: {"keys": 1}, 2: {"keys": 1, "reference": 1}}
_AFTER_PARTS: Final = 1_000


class SqliteDatabase:
    """One SQLite file (see `port.Database`). A durable write is on disk when its call returns (WAL, synchronous=FULL).

    Args:
        path: of the file; made if absent.
        schema: the migrations of each part that lives in it.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        self._path = path
        self._schema = schema
        self._writing = Threads("sqlite-write")
        self._reading = Threads("sqlite-read", READERS)
        self._readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._durable: sqlite3.Connection | None = None
        self._relaxed: sqlite3.Connection | None = None
        self._turn = asyncio.Lock()
        self._together = Together(self._turn, self._write_together, self.read, give_up_seconds=BUSY_MS / 1_000)

    async def open(self) -> None:
        """Open the file, creating or migrating it. Does nothing while it is open."""
        await self._in_writer(self._open)

    def _open(self) -> None:
        if self._durable is not None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        durable = self._connect(BUSY_MS)
        try:
            durable.execute("PRAGMA journal_mode = WAL")
            durable.execute("PRAGMA synchronous = FULL")
            migrate(durable, self._schema)
            self._relaxed = self._connect(BUSY_RELAXED_MS)
            self._relaxed.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            durable.close()
            raise
        self._durable = durable
        for _ in range(READERS):
            reader = self._connect(BUSY_MS)
            reader.execute("PRAGMA query_only = ON")
            self._readers.put(reader)

    def _connect(self, busy_ms: int) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=busy_ms / 1_000, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        return connection

    async def close(self) -> None:
        """Finish what runs, then close the file."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writing.close()
        self._reading.close()
        while not self._readers.empty():
            self._readers.get().close()
        for connection in (self._relaxed, self._durable):
            if connection is not None:
                connection.close()
        self._relaxed = self._durable = None

    async def read(self, steps: Steps[Result]) -> Result:
        """Run steps on one of the reading threads."""
        return await self._reading.call(self._read, steps)

    def _read(self, steps: Steps[Result]) -> Result:
        if self._durable is None:
            raise StoreUnavailableError(f"{self._path.name} is not open.")
        connection = self._readers.get()
        try:
            with self.faults("read"):
                connection.execute("BEGIN")
                try:
                    return drive(connection, steps)
                finally:
                    connection.execute("ROLLBACK")
        finally:
            self._readers.put(connection)

    async def write(self, steps: Steps[Result]) -> Result:
        """Run steps as one transaction on the writing thread."""
        async with self._turn:
            return await self._in_writer(self._write, steps)

    async def write_in_turn(self, steps: Steps[Result]) -> Result:
        """The same: writers take turns anyway."""
        return await self.write(steps)

    def _write(self, steps: Steps[Result]) -> Result:
        with self.faults("written"):
            connection = self.begin()
            try:
                result = drive(connection, steps)
                connection.execute("COMMIT")
            finally:
                _undo(connection)
        return result

    def begin(self) -> sqlite3.Connection:
        """A durable transaction, on the writing thread: by who has the turn."""
        connection = self._durable
        if connection is None:
            raise StoreUnavailableError(f"{self._path.name} is not open.")
        connection.execute("BEGIN IMMEDIATE")
        return connection

    async def write_relaxed(
        self, steps: Steps[Result], *, meanwhile: Callable[[], Steps[Result | None]] | None = None
    ) -> Result:
        """Run steps in one transaction with all others that wait for a turn, without waiting for the disk."""
        return await self._together.run(steps, meanwhile)

    async def _write_together(self, many: list[Steps[Any]]) -> list[Any] | None:
        return await self._in_writer(self._write_each, many)

    def _write_each(self, many: list[Steps[Any]]) -> list[Any] | None:
        connection = self._relaxed
        if connection is None:
            raise StoreUnavailableError(f"{self._path.name} is not open.")
        with self.faults("written"):
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                    return None
                raise
            try:
                ends = [self._end_of(connection, steps) for steps in many]
                connection.execute("COMMIT")
            finally:
                _undo(connection)
        return ends

    def _end_of(self, connection: sqlite3.Connection, steps: Steps[Any]) -> Any:
        """What steps give, or what they raise: nobody pays for another's fault."""
        try:
            with self.faults("written"):
                return drive(connection, steps)
        except Exception as error:  # noqa: BLE001  (the same)
            return error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["SqliteTransaction"]:
        """A transaction over several awaits, to whose end all other writers wait: those of this process from the moment it is
        asked for, those of others from its first statement.
        """
        await self._turn.acquire()
        transaction = SqliteTransaction(self, self._in_writer, self._turn.release)
        try:
            yield transaction
        finally:
            await transaction.rollback()

    async def _in_writer(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run on the writing thread, to its end: a cancelled caller must not let the next transaction begin inside this one."""
        try:
            return await self._writing.call(function, *arguments)
        except asyncio.CancelledError:
            await self._writing.call(_nothing)  # its turn comes after that of the call
            raise

    def faults(self, what: str) -> "_Faults":
        """Say that the file is unavailable rather than what SQLite says."""
        return _Faults(self._path, what)


class _Faults:
    """See `SqliteDatabase.faults`. A class: each statement passes here, and a generator costs three times as much."""

    def __init__(self, path: Path, what: str) -> None:
        self._path = path
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, sqlite3.OperationalError):
            raise StoreUnavailableError(f"{self._path.name} cannot be {self._what}: {error}") from error


class SqliteConnection:
    """What a handler writes with inside `SqliteDatabase.transaction`."""

    def __init__(self, transaction: "SqliteTransaction") -> None:
        self._transaction = transaction

    async def execute(self, sql: str, values: tuple[Any, ...] = ()) -> Rows:
        """Run one statement and give its rows."""
        return await self._transaction.run(_rows_of(Statement(sql, values)))


class SqliteTransaction:
    """See `port.Transaction`. It begins with its first statement: a change of threads is what costs most."""

    def __init__(
        self, database: SqliteDatabase, in_writer: Callable[..., Awaitable[Any]], over: Callable[[], None]
    ) -> None:
        self._database = database
        self._in_writer = in_writer
        self._over = over
        self._raw: sqlite3.Connection | None = None
        self._open = True

    @property
    def connection(self) -> SqliteConnection:
        """What a handler writes with."""
        return SqliteConnection(self)

    async def run(self, steps: Steps[Result]) -> Result:
        """Run steps in it."""
        if not self._open:
            raise StoreUnavailableError("The transaction has ended.")
        result: Result = await self._in_writer(self._run, steps)
        return result

    def _run(self, steps: Steps[Result]) -> Result:
        with self._database.faults("written"):
            if self._raw is None:
                self._raw = self._database.begin()
            elif not self._raw.in_transaction:
                raise StoreUnavailableError("An earlier error has undone the transaction.")
            return drive(self._raw, steps)

    async def commit(self) -> None:
        """Make it last."""
        if self._raw is not None:
            await self.run(_commit())
        self._end()

    async def commit_after(self, steps: Steps[None]) -> None:
        """Run steps in it, then make it last, in one go on the writing thread."""
        await self.run(_then_commit(steps))
        self._end()

    async def rollback(self) -> None:
        """Undo it."""
        try:
            if self._open and self._raw is not None:
                await self._in_writer(_undo, self._raw)
        finally:
            self._end()

    def _end(self) -> None:
        """Let others write, whatever the caller does next."""
        if self._open:
            self._open = False
            self._over()


def _commit() -> Steps[None]:
    yield Statement("COMMIT")


def _then_commit(steps: Steps[None]) -> Steps[None]:
    yield from steps
    yield from _commit()


def _nothing() -> None:
    """Only for its turn."""


def drive(connection: sqlite3.Connection, steps: Steps[Result]) -> Result:
    """Run steps on a connection."""
    try:
        statement = next(steps)
        while True:
            try:
                cursor = connection.execute(statement.sql, statement.values)
                rows = [(cursor.rowcount,)] if statement.counts else cursor.fetchall()
            except sqlite3.Error as error:
                statement = steps.throw(error)
            else:
                statement = steps.send(rows)
    except StopIteration as end:
        result: Result = end.value
        return result


def _rows_of(statement: Statement) -> Steps[Rows]:
    return (yield statement)


def _undo(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def migrate(connection: sqlite3.Connection, schema: Schema) -> None:
    """Bring every part up to date. Several processes may do it at once: the write lock orders them.

    Raises:
        SchemaTooNewError: a part has seen more migrations than this version knows; nothing was changed.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        versions = _versions(connection)
        for part, migrations in schema.items():
            version = versions.get(part, 0)
            if version > len(migrations):
                raise SchemaTooNewError(
                    f"The database has version {version} of {part!r}; this program knows {len(migrations)}. "
                    "Start the newer version."
                )
            for migration in migrations[version:]:
                for statement in migration:
                    connection.execute(statement)
            connection.execute("INSERT OR REPLACE INTO holdfast_schema VALUES (?, ?)", (part, len(migrations)))
        connection.execute("COMMIT")
    finally:
        _undo(connection)


def _versions(connection: sqlite3.Connection) -> dict[str, int]:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version not in (*_BEFORE_PARTS, 0, _AFTER_PARTS):
        raise SchemaTooNewError(f"The database has schema {version}, which this program does not know.")
    if version != _AFTER_PARTS:
        connection.execute(
            "CREATE TABLE holdfast_schema (part TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT, WITHOUT ROWID"
        )
        rows = _BEFORE_PARTS.get(version, {}).items()
        connection.executemany("INSERT INTO holdfast_schema VALUES (?, ?)", rows)
        connection.execute(f"PRAGMA user_version = {_AFTER_PARTS}")
    return dict(connection.execute("SELECT part, version FROM holdfast_schema").fetchall())
