"""The reference app's tables, for SQLite and PostgreSQL. Each database goes through a part's migrations in order, once: append only."""

from collections.abc import Sequence
from typing import Final

from holdfast_server.stores.port import Migration, Schema
from holdfast_server.stores.sql_keys import POSTGRES_KEYS, SQLITE_KEYS

_SQLITE: Final[Sequence[Migration]] = (
    (
        # The unique key is the last word on "once": it is kept as long as the inspection, whatever becomes of the key store.
        """
        CREATE TABLE inspections (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            idempotency_key TEXT NOT NULL UNIQUE,
            received_at INTEGER NOT NULL,
            site TEXT NOT NULL,
            inspected_on TEXT NOT NULL,
            severity TEXT NOT NULL,
            notes TEXT NOT NULL,
            checklist TEXT NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE photos (
            inspection_id INTEGER NOT NULL REFERENCES inspections (id),
            place INTEGER NOT NULL,
            name TEXT NOT NULL,
            type TEXT NOT NULL,
            size INTEGER NOT NULL,
            sha256 TEXT NOT NULL,
            PRIMARY KEY (inspection_id, place)
        ) STRICT, WITHOUT ROWID
        """,
    ),
    (
        # Accounts: a key is unique for its account. SQLite can only make a table anew to change that.
        """
        CREATE TABLE new_inspections (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            account TEXT NOT NULL,
            idempotency_key TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            received_at INTEGER NOT NULL,
            site TEXT NOT NULL,
            inspected_on TEXT NOT NULL,
            severity TEXT NOT NULL,
            notes TEXT NOT NULL,
            checklist TEXT NOT NULL,
            UNIQUE (account, idempotency_key)
        ) STRICT
        """,
        """
        INSERT INTO new_inspections
        SELECT inspections.id, '', idempotency_key, coalesce(holdfast_keys.fingerprint, ''), received_at,
            site, inspected_on, severity, notes, checklist
        FROM inspections LEFT JOIN holdfast_keys
            ON holdfast_keys.scope = 'POST /api/inspections' AND holdfast_keys.key = idempotency_key
        """,
        """
        CREATE TABLE new_photos (
            inspection_id INTEGER NOT NULL REFERENCES new_inspections (id),
            place INTEGER NOT NULL,
            name TEXT NOT NULL,
            type TEXT NOT NULL,
            size INTEGER NOT NULL,
            sha256 TEXT NOT NULL,
            PRIMARY KEY (inspection_id, place)
        ) STRICT, WITHOUT ROWID
        """,
        "INSERT INTO new_photos SELECT inspection_id, place, name, type, size, sha256 FROM photos",
        "DROP TABLE photos",
        "DROP TABLE inspections",
        "ALTER TABLE new_inspections RENAME TO inspections",
        "ALTER TABLE new_photos RENAME TO photos",
        "CREATE INDEX inspections_of_account ON inspections (account, id)",
        "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
        "CREATE TABLE accounts (name TEXT PRIMARY KEY, password TEXT NOT NULL) STRICT, WITHOUT ROWID",
        """
        CREATE TABLE sessions (
            token_sha256 TEXT PRIMARY KEY,
            account TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE,
            ends_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE TABLE sign_ins (id TEXT PRIMARY KEY, subject TEXT NOT NULL, tried_at INTEGER NOT NULL) STRICT",
        "CREATE INDEX sign_ins_of_subject ON sign_ins (subject, tried_at)",
        """
        CREATE TABLE clients (
            client TEXT PRIMARY KEY,
            reported_at INTEGER NOT NULL,
            depth INTEGER NOT NULL,
            retries INTEGER NOT NULL,
            oldest_pending_age_ms INTEGER NOT NULL,
            permanent_failures INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
    ),
)

_POSTGRES: Final[Sequence[Migration]] = (
    (
        """
        CREATE TABLE inspections (
            id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            account TEXT NOT NULL,
            idempotency_key TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            received_at BIGINT NOT NULL,
            site TEXT NOT NULL,
            inspected_on TEXT NOT NULL,
            severity TEXT NOT NULL,
            notes TEXT NOT NULL,
            checklist TEXT NOT NULL,
            UNIQUE (account, idempotency_key)
        )
        """,
        "CREATE INDEX inspections_of_account ON inspections (account, id)",
        """
        CREATE TABLE photos (
            inspection_id BIGINT NOT NULL REFERENCES inspections (id),
            place INTEGER NOT NULL,
            name TEXT NOT NULL,
            type TEXT NOT NULL,
            size BIGINT NOT NULL,
            sha256 TEXT NOT NULL,
            PRIMARY KEY (inspection_id, place)
        )
        """,
        "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
        "CREATE TABLE accounts (name TEXT PRIMARY KEY, password TEXT NOT NULL)",
        """
        CREATE TABLE sessions (
            token_sha256 TEXT PRIMARY KEY,
            account TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE,
            ends_at BIGINT NOT NULL
        )
        """,
        "CREATE TABLE sign_ins (id TEXT PRIMARY KEY, subject TEXT NOT NULL, tried_at BIGINT NOT NULL)",
        "CREATE INDEX sign_ins_of_subject ON sign_ins (subject, tried_at)",
        """
        CREATE TABLE clients (
            client TEXT PRIMARY KEY,
            reported_at BIGINT NOT NULL,
            depth BIGINT NOT NULL,
            retries BIGINT NOT NULL,
            oldest_pending_age_ms BIGINT NOT NULL,
            permanent_failures BIGINT NOT NULL
        )
        """,
    ),
)

SQLITE_SCHEMA: Final[Schema] = {"keys": SQLITE_KEYS, "reference": _SQLITE}
POSTGRES_SCHEMA: Final[Schema] = {"keys": POSTGRES_KEYS, "reference": _POSTGRES}
