"""The PostgreSQL database: its schema, and what it does when it cannot."""

import asyncio

import pytest

from holdfast_server.errors import SchemaTooNewError, StoreUnavailableError
from holdfast_server.schema import POSTGRES_SCHEMA
from holdfast_server.stores import postgres
from holdfast_server.stores.postgres import PostgresDatabase
from holdfast_server.stores.statements import Statement
from tests.support.databases import running_postgres


def sql(text: str, *values):
    """One statement and its rows."""
    return (yield Statement(text, values))


@pytest.fixture
async def database(postgres):
    """An open database with the full schema."""
    database = PostgresDatabase(postgres.new_database(), POSTGRES_SCHEMA)
    await database.open()
    yield database
    await database.close()


async def test_processes_that_start_together_make_one_schema(postgres):
    """Eight at once on an empty database: an advisory lock lets one of them create it."""
    url = postgres.new_database()
    databases = [PostgresDatabase(url, POSTGRES_SCHEMA, pool=2) for _ in range(8)]
    await asyncio.gather(*(database.open() for database in databases))
    rows = await databases[0].read(sql("SELECT part, version FROM holdfast_schema ORDER BY part"))
    assert rows == sorted((part, len(migrations)) for part, migrations in POSTGRES_SCHEMA.items())
    for database in databases:
        await database.close()


async def test_an_older_schema_is_brought_up_to_date(postgres):
    """A part that is new, and one that has grown: each goes through what it lacks."""
    url = postgres.new_database()
    old = PostgresDatabase(url, {"shop": [["CREATE TABLE orders (id INTEGER)"]]})
    await old.open()
    await old.write(sql("INSERT INTO orders VALUES (7)"))
    await old.close()
    grown = [["CREATE TABLE orders (id INTEGER)"], ["ALTER TABLE orders ADD paid BOOLEAN NOT NULL DEFAULT false"]]
    new = PostgresDatabase(url, {**POSTGRES_SCHEMA, "shop": grown})
    await new.open()
    assert await new.read(sql("SELECT id, paid FROM orders")) == [(7, False)]
    assert await new.read(sql("SELECT count(*) FROM inspections")) == [(0,)]
    await new.close()


async def test_a_newer_schema_is_left_alone(postgres):
    """An old version says so and changes nothing."""
    url = postgres.new_database()
    newer = PostgresDatabase(url, {"shop": [["CREATE TABLE orders (id INTEGER)"], ["CREATE TABLE t (n INTEGER)"]]})
    await newer.open()
    old = PostgresDatabase(
        url, {"garden": [["CREATE TABLE g (n INTEGER)"]], "shop": [["CREATE TABLE orders (id INTEGER)"]]}
    )
    with pytest.raises(SchemaTooNewError, match="Start the newer version"):
        await old.open()
    await old.close()
    assert await newer.read(sql("SELECT part, version FROM holdfast_schema")) == [("shop", 2)]
    await newer.close()


async def test_a_durable_write_waits_for_the_disk_and_a_relaxed_one_does_not(database):
    """What must last goes by the server's own setting, whatever the session does otherwise."""
    assert await database.write(sql("SHOW synchronous_commit")) == [("on",)]
    assert await database.write_in_turn(sql("SHOW synchronous_commit")) == [("on",)]
    assert await database.write_relaxed(sql("SHOW synchronous_commit")) == [("off",)]
    async with database.transaction() as transaction:
        assert await transaction.run(sql("SHOW synchronous_commit")) == [("on",)]


async def test_a_change_that_fails_half_way_changes_nothing(database):
    """A transaction is whole or absent, and the next one goes through."""

    def fails():
        yield Statement("INSERT INTO settings VALUES ('a', 'b')")
        raise LookupError

    with pytest.raises(LookupError):
        await database.write(fails())
    async with database.transaction() as transaction:
        await transaction.connection.execute("INSERT INTO settings VALUES ('a', 'b')")
    assert await database.read(sql("SELECT count(*) FROM settings")) == [(0,)]


async def test_who_lists_by_id_misses_none(database):
    """Ids are given and committed in one order, however many write at once."""
    seen: list[int] = []

    async def read_on() -> None:
        while len(seen) < 100:
            rows = await database.read(
                sql("SELECT id FROM inspections WHERE id > ? ORDER BY id", seen[-1] if seen else 0)
            )
            seen.extend(number for (number,) in rows)

    def insert(number: int):
        values = ("", str(number), "", 0, "a", "b", "c", "d", "e")
        yield Statement(
            "INSERT INTO inspections (account, idempotency_key, fingerprint, received_at, site, inspected_on, severity,"
            " notes, checklist) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )

    reading = asyncio.create_task(read_on())
    await asyncio.gather(*(database.write_in_turn(insert(number)) for number in range(100)))
    await asyncio.wait_for(reading, 30)
    assert seen == sorted(seen)
    assert len(seen) == 100


async def test_readers_cannot_write(database):
    """A query that would write is refused by the database itself."""
    with pytest.raises(StoreUnavailableError):
        await database.read(sql("DELETE FROM inspections"))


async def test_a_server_that_went_away_is_unavailable_and_found_again(monkeypatch):
    """While it is gone, for however long: an error that says so. Once it is back: as before, what was committed included."""
    monkeypatch.setattr(postgres, "WAIT_SECONDS", 2)
    with running_postgres() as server:
        database = PostgresDatabase(server.new_database(), POSTGRES_SCHEMA)
        await database.open()
        await database.write(sql("INSERT INTO settings VALUES ('a', 'b')"))
        await asyncio.to_thread(server.stop)
        for _ in range(5):
            with pytest.raises(StoreUnavailableError):
                await database.write(sql("INSERT INTO settings VALUES ('c', 'd')"))
        await asyncio.to_thread(server.start)
        assert await database.read(sql("SELECT name FROM settings")) == [("a",)]
        await database.close()
