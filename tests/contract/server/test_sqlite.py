"""The SQLite file: its schema, and what it does when it cannot."""

import asyncio
import sqlite3

import pytest

from holdfast_server.errors import SchemaTooNewError, StoreUnavailableError, UnsupportedStoreError
from holdfast_server.opening import sqlite_path
from holdfast_server.schema import SQLITE_SCHEMA
from holdfast_server.stores import sqlite as store
from holdfast_server.stores.sqlite import SqliteDatabase
from holdfast_server.stores.statements import Statement


@pytest.fixture
async def database(tmp_path):
    """An open database with the full schema."""
    database = SqliteDatabase(tmp_path / "data" / "x.sqlite3", SQLITE_SCHEMA)
    await database.open()
    yield database
    await database.close()


def sql(text: str, *values):
    """One statement and its rows."""
    return (yield Statement(text, values))


ALL = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
KEY = "INSERT INTO holdfast_keys VALUES ('POST /', 'key', 'print', '', 0, 1, 201, '[]', x'00')"

BEFORE_PARTS = (
    """
    CREATE TABLE idempotency_keys (scope TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL,
        stored_at INTEGER NOT NULL, status INTEGER NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (scope, key)) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE inspections (id INTEGER PRIMARY KEY AUTOINCREMENT, idempotency_key TEXT NOT NULL UNIQUE,
        received_at INTEGER NOT NULL, site TEXT NOT NULL, inspected_on TEXT NOT NULL, severity TEXT NOT NULL,
        notes TEXT NOT NULL, checklist TEXT NOT NULL) STRICT
    """,
    """
    CREATE TABLE photos (inspection_id INTEGER NOT NULL REFERENCES inspections (id), place INTEGER NOT NULL,
        name TEXT NOT NULL, type TEXT NOT NULL, size INTEGER NOT NULL, sha256 TEXT NOT NULL,
        PRIMARY KEY (inspection_id, place)) STRICT, WITHOUT ROWID
    """,
    "INSERT INTO idempotency_keys VALUES ('POST /api/inspections', 'key', 'print', 1, 201, '[]', x'00')",
    "INSERT INTO inspections VALUES (7, 'key', 1, 'Lock 7', '2026-11-20', 'low', '', '[]')",
    "INSERT INTO inspections VALUES (8, 'other', 1, 'Lock 8', '2026-11-20', 'low', '', '[]')",
    "INSERT INTO photos VALUES (7, 1, 'a.jpg', 'image/jpeg', 1, 'ab')",
    "PRAGMA user_version = 2",
)
"""A file of the first version, with rows."""


async def test_every_older_schema_becomes_the_newest(tmp_path, database):
    """Whatever version wrote the file, afterwards it is the same as a new one, and keeps its rows."""
    newest = await database.read(sql(ALL))
    for keys in range(1, len(SQLITE_SCHEMA["keys"]) + 1):
        path = tmp_path / f"from-{keys}.sqlite3"
        old = SqliteDatabase(path, {"keys": SQLITE_SCHEMA["keys"][:keys]})
        await old.open()
        await old.close()
        new = SqliteDatabase(path, SQLITE_SCHEMA)
        await new.open()
        assert await new.read(sql(ALL)) == newest
        await new.close()


async def test_a_file_of_the_first_version_keeps_its_rows(tmp_path, database):
    """Inspections, photos and keys are there afterwards; an inspection knows the fingerprint its key had."""
    path = tmp_path / "first.sqlite3"
    with sqlite3.connect(path) as connection:
        for statement in BEFORE_PARTS:
            connection.execute(statement)
    connection.close()
    new = SqliteDatabase(path, SQLITE_SCHEMA)
    await new.open()

    def normal(rows):
        return [(name, " ".join(text.replace('"', "").split())) for name, text in rows]

    assert normal(await new.read(sql(ALL))) == normal(await database.read(sql(ALL)))
    assert await new.read(sql("SELECT id, account, idempotency_key, fingerprint, site FROM inspections")) == [
        (7, "", "key", "print", "Lock 7"),
        (8, "", "other", "", "Lock 8"),
    ]
    assert await new.read(sql("SELECT inspection_id, name FROM photos")) == [(7, "a.jpg")]
    assert await new.read(sql("SELECT key, begun_at, body FROM holdfast_keys")) == [("key", 1, b"\x00")]
    assert await new.read(sql("PRAGMA foreign_key_check")) == []
    await new.close()


@pytest.mark.parametrize("newer", [{**SQLITE_SCHEMA, "keys": (*SQLITE_SCHEMA["keys"], ["CREATE TABLE t (n INTEGER)"])}])
async def test_a_newer_schema_is_left_alone(tmp_path, newer):
    """An old version says so and changes nothing."""
    path = tmp_path / "newer.sqlite3"
    database = SqliteDatabase(path, newer)
    await database.open()
    await database.close()
    before = path.read_bytes()
    old = SqliteDatabase(path, SQLITE_SCHEMA)
    with pytest.raises(SchemaTooNewError, match="Start the newer version"):
        await old.open()
    await old.close()
    assert path.read_bytes() == before


async def test_a_commit_waits_for_the_disk(database):
    """WAL with synchronous=FULL: what was acknowledged survives a power cut."""

    def pragmas(connection):
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]

    assert await database._in_writer(pragmas, database._durable) == ["wal", 2]


async def test_a_change_that_fails_half_way_changes_nothing(database):
    """A transaction is whole or absent, and the next one goes through."""

    def fails():
        yield Statement(KEY)
        yield Statement("INSERT INTO inspections (site) VALUES ('half')")

    with pytest.raises(sqlite3.IntegrityError):
        await database.write(fails())
    count = "SELECT count(*) FROM holdfast_keys"
    assert await database.read(sql(count)) == [(0,)]
    assert await database.write(sql(count)) == [(0,)]


async def test_a_transaction_over_several_awaits_is_whole_or_absent(database):
    """What a handler wrote is gone unless it was committed, and other writers wait for its end."""
    count = "SELECT count(*) FROM holdfast_keys"
    async with database.transaction() as transaction:
        await transaction.connection.execute(KEY)
    async with database.transaction() as transaction:
        await transaction.connection.execute(KEY)
        waiting = asyncio.create_task(database.write(sql(count)))
        assert await database.read(sql(count)) == [(0,)]
        assert not waiting.done()
        await transaction.commit()
    assert await waiting == [(1,)]
    with pytest.raises(StoreUnavailableError, match="has ended"):
        await transaction.connection.execute(KEY)


async def test_relaxed_writes_that_wait_together_fail_apart(database):
    """They take one turn: what fails, or whose caller went away, harms none of the others."""
    count = "SELECT count(*) FROM holdfast_keys"
    async with database.transaction():
        texts = [KEY, KEY.replace("'key'", "'other'"), KEY, "DELETE FROM nothing", count]
        waiting = [asyncio.create_task(database.write_relaxed(sql(text))) for text in texts]
        await asyncio.sleep(0)
        waiting[1].cancel()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends[:4]] == [
        list,
        asyncio.CancelledError,
        sqlite3.IntegrityError,
        StoreUnavailableError,
    ]
    assert ends[4] == await database.read(sql(count))


async def test_who_waits_for_others_is_answered_by_what_is_known(database, tmp_path):
    """A transaction of this process or another takes its time: a look goes past it; the write is not made any more."""
    other = SqliteDatabase(tmp_path / "data" / "x.sqlite3", SQLITE_SCHEMA)
    await other.open()
    count = "SELECT count(*) FROM holdfast_keys"
    async with database.transaction() as transaction:
        await transaction.connection.execute(KEY)
        for waits in (database, other):
            assert await waits.write_relaxed(sql(KEY), meanwhile=lambda: sql(count)) == [(0,)]
    assert await database.read(sql(count)) == [(0,)]
    await other.close()


async def test_opening_it_again_is_harmless(tmp_path):
    """An app and the middleware may both open the database; closing leaves one file."""
    path = tmp_path / "twice.sqlite3"
    database = SqliteDatabase(path, SQLITE_SCHEMA)
    await database.open()
    await database.open()
    await database.close()
    await database.close()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


async def test_readers_cannot_write(database):
    """A query that would write is refused by the database itself."""
    with pytest.raises(StoreUnavailableError):
        await database.read(sql("DELETE FROM inspections"))


async def test_a_full_disk_is_unavailable_and_harmless(database):
    """The write is refused with an error of its own; reading goes on, and so does writing once there is room."""
    insert = (
        "INSERT INTO holdfast_keys"
        " VALUES ('POST /', hex(randomblob(8)), 'print', '', 0, 1, 201, '[]', randomblob(9000))"
    )
    ((pages,),) = await database.read(sql("PRAGMA page_count"))
    await database.write(sql(f"PRAGMA max_page_count = {pages}"))
    with pytest.raises(StoreUnavailableError, match="full"):
        await database.write(sql(insert))
    assert await database.read(sql("SELECT count(*) FROM holdfast_keys")) == [(0,)]
    await database.write(sql("PRAGMA max_page_count = 100000"))
    await database.write(sql(insert))


async def test_a_database_that_another_holds_is_unavailable(database, monkeypatch, tmp_path):
    """After the busy time the writer is told to try again; nothing hangs for ever."""
    monkeypatch.setattr(store, "BUSY_MS", 10)
    hurried = SqliteDatabase(tmp_path / "data" / "x.sqlite3", SQLITE_SCHEMA)
    await hurried.open()
    async with database.transaction() as transaction:
        await transaction.connection.execute(KEY)
        with pytest.raises(StoreUnavailableError, match="locked"):
            await hurried.write(sql("DELETE FROM inspections"))
        with pytest.raises(StoreUnavailableError, match="Another process"):
            await hurried.write_relaxed(sql("DELETE FROM inspections"))
    await hurried.write(sql("DELETE FROM inspections"))
    await hurried.close()


def test_an_unknown_store_is_named_in_the_error(tmp_path):
    """A URL for a database that this program cannot open says what can be used, and repeats no password."""
    assert sqlite_path("", tmp_path) == tmp_path / "holdfast.sqlite3"
    assert str(sqlite_path("sqlite:///here/x.db", tmp_path)) == "here/x.db"
    assert str(sqlite_path("sqlite:////var/x.db", tmp_path)) == "/var/x.db"
    for url in ("mysql://mara:secret@localhost/x", "sqlite:///", "sqlite://x", "nothing"):
        with pytest.raises(UnsupportedStoreError, match="sqlite:///path/to/file") as refused:
            sqlite_path(url, tmp_path)
        assert "secret" not in str(refused.value)
