"""SQLite, driven from threads: one that writes, a few that read. The event loop never waits for the disk."""

import asyncio
import queue
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from holdfast_server.errors import SchemaTooNewError, StoreUnavailableError
from holdfast_server.stores.port import Schema
from holdfast_server.stores.statements import Result, Rows, Statement, Steps

BUSY_MS: Final = 5_000
READERS: Final = 4
DURABLE: Final = "FULL"
RELAXED: Final = "NORMAL"

# Before parts had versions of their own, the file had one: 1 was the first of `keys`, 2 the first of `reference` as well.
_BEFORE_PARTS: Final = {1: {"keys": 1}, 2: {"keys": 1, "reference": 1}}
_AFTER_PARTS: Final = 1_000


class SqliteDatabase:
    """One SQLite file (see `port.Database`). A durable write is on disk when its call returns (WAL, synchronous=FULL).

    Args:
        path: of the file; made if absent.
        schema: the migrations of each part that lives in it.
    """

    waits_for_writers = True

    def __init__(self, path: Path, schema: Schema) -> None:
        self._path = path
        self._schema = schema
        self._writer_thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-write")
        self._reader_threads = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-read")
        self._readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._writer: sqlite3.Connection | None = None
        self._synchronous = DURABLE
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Open the file, creating or migrating it."""
        await self._in_writer(self._open)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        writer = self._connect()
        try:
            writer.execute("PRAGMA journal_mode = WAL")
            writer.execute(f"PRAGMA synchronous = {DURABLE}")
            migrate(writer, self._schema)
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

    async def read(self, steps: Steps[Result]) -> Result:
        """Run steps on one of the reading threads."""
        return await asyncio.get_running_loop().run_in_executor(self._reader_threads, self._read, steps)

    def _read(self, steps: Steps[Result]) -> Result:
        connection = self._readers.get()
        try:
            with self._faults("read"):
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
            return await self._in_writer(self._write, steps, DURABLE)

    async def write_in_turn(self, steps: Steps[Result]) -> Result:
        """The same: writers take turns anyway."""
        return await self.write(steps)

    async def write_relaxed(self, steps: Steps[Result]) -> Result:
        """The same without waiting for the disk."""
        async with self._turn:
            return await self._in_writer(self._write, steps, RELAXED)

    def _write(self, steps: Steps[Result], synchronous: str) -> Result:
        with self._faults("written"):
            connection = self._begin(synchronous)
            try:
                result = drive(connection, steps)
                connection.execute("COMMIT")
            finally:
                _undo(connection)
        return result

    def _begin(self, synchronous: str) -> sqlite3.Connection:
        connection = self._writer
        if connection is None:
            raise StoreUnavailableError(f"{self._path.name} is not open.")
        if synchronous != self._synchronous:
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            self._synchronous = synchronous
        connection.execute("BEGIN IMMEDIATE")
        return connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["SqliteTransaction"]:
        """A transaction over several awaits. All other writers wait for its end, those of other processes too."""
        async with self._turn:
            connection = await self._in_writer(self._call, self._begin, DURABLE)
            transaction = SqliteTransaction(self, connection)
            try:
                yield transaction
            finally:
                await transaction.rollback()

    async def _in_writer(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run on the writing thread, to its end: a cancelled caller must not let the next transaction begin inside this one."""
        done = asyncio.get_running_loop().run_in_executor(self._writer_thread, function, *arguments)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            await asyncio.wait((done,))
            raise

    def _call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        with self._faults("written"):
            return function(*arguments)

    @contextmanager
    def _faults(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StoreUnavailableError(f"{self._path.name} cannot be {what}: {error}") from error


class SqliteConnection:
    """What a handler writes with inside `SqliteDatabase.transaction`."""

    def __init__(self, transaction: "SqliteTransaction") -> None:
        self._transaction = transaction

    async def execute(self, sql: str, values: tuple[Any, ...] = ()) -> Rows:
        """Run one statement and give its rows."""
        return await self._transaction.run(_rows_of(Statement(sql, values)))


class SqliteTransaction:
    """See `port.Transaction`."""

    def __init__(self, database: SqliteDatabase, connection: sqlite3.Connection) -> None:
        self.connection = SqliteConnection(self)
        self._database = database
        self._raw = connection
        self._open = True

    async def run(self, steps: Steps[Result]) -> Result:
        """Run steps in it."""
        if not self._open:
            raise StoreUnavailableError("The transaction has ended.")
        return await self._database._in_writer(self._database._call, drive, self._raw, steps)  # noqa: SLF001  (its own part)

    async def commit(self) -> None:
        """Make it last."""
        await self._end(self._commit)

    def _commit(self) -> None:
        try:
            self._raw.execute("COMMIT")
        finally:
            _undo(self._raw)

    async def commit_after(self, steps: Steps[None]) -> None:
        """Run steps in it, then make it last, in one go on the writing thread."""
        await self.run(self._then_commit(steps))
        self._open = False

    def _then_commit(self, steps: Steps[None]) -> Steps[None]:
        yield from steps
        yield Statement("COMMIT")

    async def rollback(self) -> None:
        """Undo it."""
        if self._open:
            await self._end(lambda: _undo(self._raw))

    async def _end(self, function: Callable[[], None]) -> None:
        self._open = False
        await self._database._in_writer(self._database._call, function)  # noqa: SLF001  (its own part)


def drive(connection: sqlite3.Connection, steps: Steps[Result]) -> Result:
    """Run steps on a connection."""
    try:
        statement = next(steps)
        while True:
            try:
                rows = connection.execute(statement.sql, statement.values).fetchall()
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
