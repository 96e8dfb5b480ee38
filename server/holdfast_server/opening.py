"""Store URLs: which database keeps the inspections, and what keeps the keys."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from holdfast_server.errors import UnsupportedStoreError
from holdfast_server.schema import POSTGRES_SCHEMA, SQLITE_SCHEMA
from holdfast_server.stores.port import Database, EffectStore
from holdfast_server.stores.sql_keys import SqlKeyStore
from holdfast_server.stores.sqlite import SqliteDatabase
from holdfast_server.stores.two_phase import TwoPhaseStore

SQLITE: Final = "sqlite:///"
POSTGRES: Final = ("postgresql://", "postgres://")
REDIS: Final = ("redis://", "rediss://", "unix://")


@dataclass(frozen=True, slots=True)
class Stores:
    """What a server stands on. Opening `keys` opens the database as well."""

    database: Database
    keys: EffectStore
    in_one_folder: SqlKeyStore | None
    """The key store if only processes on this machine can reach it."""


def open_stores(
    store_url: str,
    database_url: str,
    data_dir: Path,
    *,
    key_lifetime_ms: int | None = None,
    lease_ms: int | None = None,
) -> Stores:
    """The stores that URLs name; nothing is opened yet.

    Args:
        store_url: keeps the keys. `sqlite:///path` or `postgresql://…` keeps the inspections too, in one transaction
            with them; '' is a file in `data_dir`.
        database_url: where the store is Redis: what keeps the inspections; '' is a file in `data_dir`.
        data_dir: the data folder.
        key_lifetime_ms: how long keys are kept; None leaves it to the store.
        lease_ms: how long a claim holds; None leaves it to the store.

    Raises:
        UnsupportedStoreError: a URL names something else.
    """
    options: dict[str, Any] = {
        name: value
        for name, value in (("key_lifetime_ms", key_lifetime_ms), ("lease_ms", lease_ms))
        if value is not None
    }
    if store_url.startswith(REDIS):
        from holdfast_server.stores.redis import RedisKeyStore  # noqa: PLC0415  (who does not use it need not have it)

        database = open_database(database_url, data_dir)
        return Stores(database, TwoPhaseStore(RedisKeyStore(store_url, **options), database), None)
    if database_url:
        raise UnsupportedStoreError(
            "--database is for --store redis://…; every other store keeps the inspections itself."
        )
    database = open_database(store_url, data_dir)
    keys = SqlKeyStore(database, **options)
    return Stores(database, keys, keys if isinstance(database, SqliteDatabase) else None)


def open_database(url: str, data_dir: Path) -> Database:
    """The database that a URL names.

    Raises:
        UnsupportedStoreError: it names something else.
    """
    if url.startswith(POSTGRES):
        from holdfast_server.stores.postgres import PostgresDatabase  # noqa: PLC0415  (who does not use it need not have it)

        return PostgresDatabase(url, POSTGRES_SCHEMA)
    return SqliteDatabase(sqlite_path(url, data_dir), SQLITE_SCHEMA)


def sqlite_path(url: str, data_dir: Path) -> Path:
    """The database file a URL names: `sqlite:///relative` or `sqlite:////absolute`; '' is a file in `data_dir`.

    Raises:
        UnsupportedStoreError: it names another kind of store, or no file.
    """
    if not url:
        return data_dir / "holdfast.sqlite3"
    path = url.removeprefix(SQLITE)
    if path in (url, ""):
        kind = url.partition("://")[0] if "://" in url else url
        raise UnsupportedStoreError(
            f"The store {kind!r} is none this program can open. "
            "Use sqlite:///path/to/file, postgresql://user@host/database or redis://host:port/number."
        )
    return Path(path)
