"""The SQLite file: its schema, and what it does when it cannot."""

import asyncio
import sqlite3

import pytest

from holdfast_server.errors import SchemaTooNewError, StoreUnavailableError, UnsupportedStoreError
from holdfast_server.records import MIGRATIONS
from holdfast_server.stores import sqlite as store
from holdfast_server.stores.sqlite import SqliteDatabase


@pytest.fixture
async def database(tmp_path):
    """An open database with the full schema."""
    database = SqliteDatabase(tmp_path / "data" / "x.sqlite3", MIGRATIONS)
    await database.open()
    yield database
    await database.close()


def schema(connection) -> list[tuple[str, str]]:
    """All that was created."""
    return connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()


async def test_every_older_schema_becomes_the_newest(tmp_path, database):
    """Whatever version wrote the file, afterwards it is the same as a new one, and keeps its rows."""
    newest = await database.read(schema)
    for version in range(1, len(MIGRATIONS) + 1):
        path = tmp_path / f"from-{version}.sqlite3"
        old = SqliteDatabase(path, MIGRATIONS[:version])
        await old.open()
        await old.write(
            lambda c: c.execute("INSERT INTO idempotency_keys VALUES ('POST /', 'key', 'print', 1, 201, '[]', x'00')")
        )
        await old.close()
        new = SqliteDatabase(path, MIGRATIONS)
        await new.open()
        assert await new.read(schema) == newest
        assert await new.read(lambda c: c.execute("SELECT key FROM idempotency_keys").fetchall()) == [("key",)]
        await new.close()


async def test_a_newer_schema_is_left_alone(tmp_path):
    """An old version says so and changes nothing."""
    path = tmp_path / "newer.sqlite3"
    newer = SqliteDatabase(path, (*MIGRATIONS, ("CREATE TABLE tomorrow (n INTEGER)",)))
    await newer.open()
    await newer.close()
    before = path.read_bytes()
    old = SqliteDatabase(path, MIGRATIONS)
    with pytest.raises(SchemaTooNewError, match="Start the newer version"):
        await old.open()
    await old.close()
    assert path.read_bytes() == before


async def test_a_commit_waits_for_the_disk(database):
    """WAL with synchronous=FULL: what was acknowledged survives a power cut."""

    def pragmas(connection):
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]

    connection = database._writer
    assert await asyncio.get_running_loop().run_in_executor(database._writer_thread, pragmas, connection) == ["wal", 2]


async def test_a_change_that_fails_half_way_changes_nothing(database):
    """A transaction is whole or absent, and the next one goes through."""

    def fails(connection):
        connection.execute("INSERT INTO idempotency_keys VALUES ('POST /', 'key', 'print', 1, 201, '[]', x'00')")
        connection.execute("INSERT INTO inspections (site) VALUES ('half')")

    with pytest.raises(sqlite3.IntegrityError):
        await database.write(fails)
    count = "SELECT count(*) FROM idempotency_keys"
    assert await database.read(lambda c: c.execute(count).fetchone()) == (0,)
    assert await database.write(lambda c: c.execute(count).fetchone()) == (0,)


async def test_readers_cannot_write(database):
    """A query that would write is refused by the database itself."""
    with pytest.raises(StoreUnavailableError):
        await database.read(lambda c: c.execute("DELETE FROM inspections"))


async def test_a_full_disk_is_unavailable_and_harmless(database):
    """The write is refused with an error of its own; reading goes on, and so does writing once there is room."""
    insert = (
        "INSERT INTO idempotency_keys VALUES ('POST /', hex(randomblob(8)), 'print', 1, 201, '[]', randomblob(9000))"
    )

    def limit_pages(connection):
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")

    await database.write(limit_pages)
    with pytest.raises(StoreUnavailableError, match="full"):
        await database.write(lambda c: c.execute(insert))
    assert await database.read(lambda c: c.execute("SELECT count(*) FROM idempotency_keys").fetchone()) == (0,)
    await database.write(lambda c: c.execute("PRAGMA max_page_count = 100000"))
    await database.write(lambda c: c.execute(insert))


async def test_a_database_that_another_holds_is_unavailable(database, monkeypatch, tmp_path):
    """After the busy time the writer is told to try again; nothing hangs for ever."""
    monkeypatch.setattr(store, "BUSY_MS", 10)
    hurried = SqliteDatabase(tmp_path / "data" / "x.sqlite3", MIGRATIONS)
    await hurried.open()
    entered, leave = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(connection):
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(leave.wait(), loop).result()

    holding = asyncio.create_task(database.write(hold))
    await entered.wait()
    with pytest.raises(StoreUnavailableError, match="locked"):
        await hurried.write(lambda c: c.execute("DELETE FROM inspections"))
    leave.set()
    await holding
    await hurried.close()


def test_an_unknown_store_is_named_in_the_error(tmp_path):
    """A URL for a database that this version cannot open says what can be used."""
    from holdfast_server.app import sqlite_path

    assert sqlite_path("", tmp_path) == tmp_path / "holdfast.sqlite3"
    assert str(sqlite_path("sqlite:///here/x.db", tmp_path)) == "here/x.db"
    assert str(sqlite_path("sqlite:////var/x.db", tmp_path)) == "/var/x.db"
    for url in ("postgresql://localhost/x", "redis://localhost", "sqlite:///", "sqlite://x"):
        with pytest.raises(UnsupportedStoreError, match="sqlite:///path/to/file"):
            sqlite_path(url, tmp_path)
