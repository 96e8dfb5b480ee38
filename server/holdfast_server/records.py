"""Inspections and their photos in the database: the schema's migrations and the SQL. Nothing of HTTP here."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from holdfast_server.attachments import IncomingFile
from holdfast_server.stores.sqlite import KEYS_SCHEMA, Migration

MIGRATIONS: Final[Sequence[Migration]] = (
    KEYS_SCHEMA,
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
)
"""Each database goes through these in order, once. Append only."""

_SELECT: Final = (
    "SELECT id, idempotency_key, received_at, site, inspected_on, severity, notes, checklist FROM inspections"
)


@dataclass(frozen=True, slots=True)
class Photo:
    """One stored photo."""

    name: str
    type: str
    size: int
    sha256: str


def insert(
    connection: sqlite3.Connection,
    payload: Mapping[str, Any],
    photos: Sequence[IncomingFile],
    *,
    key: str,
    received_at: int,
) -> dict[str, Any]:
    """Store an inspection and return it as `page` would."""
    cursor = connection.execute(
        "INSERT INTO inspections (idempotency_key, received_at, site, inspected_on, severity, notes, checklist)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            key,
            received_at,
            payload["site"],
            payload["inspected_on"],
            payload["severity"],
            payload.get("notes", ""),
            json.dumps(payload.get("checklist", [])),
        ),
    )
    inspection_id = cursor.lastrowid
    connection.executemany(
        "INSERT INTO photos (inspection_id, place, name, type, size, sha256) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (inspection_id, place, photo.name, photo.type, photo.size, photo.sha256)
            for place, photo in enumerate(photos, 1)
        ],
    )
    (item,) = _items(connection, "WHERE id = ?", (inspection_id,))
    return item


def page(connection: sqlite3.Connection, *, limit: int, after: int) -> dict[str, Any]:
    """Up to `limit` inspections received after the one with the id `after`, oldest first, and how many there are in all."""
    (total,) = connection.execute("SELECT count(*) FROM inspections").fetchone()
    return {"total": total, "items": _items(connection, "WHERE id > ? ORDER BY id LIMIT ?", (after, limit))}


def photo(connection: sqlite3.Connection, inspection_id: int, place: int) -> Photo | None:
    """One photo of an inspection; they are numbered from 1."""
    row = connection.execute(
        "SELECT name, type, size, sha256 FROM photos WHERE inspection_id = ? AND place = ?", (inspection_id, place)
    ).fetchone()
    return None if row is None else Photo(*row)


def referenced(connection: sqlite3.Connection) -> set[str]:
    """The digests of all stored photos."""
    return {sha256 for (sha256,) in connection.execute("SELECT DISTINCT sha256 FROM photos")}


def _items(connection: sqlite3.Connection, where: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
    rows = connection.execute(
        f"{_SELECT} {where}",
        values,
    ).fetchall()
    return [
        {
            "id": inspection_id,
            "idempotency_key": key,
            "received_at": rfc3339(received_at),
            "site": site,
            "inspected_on": inspected_on,
            "severity": severity,
            "notes": notes,
            "checklist": json.loads(checklist),
            "photos": _photos(connection, inspection_id),
        }
        for inspection_id, key, received_at, site, inspected_on, severity, notes, checklist in rows
    ]


def _photos(connection: sqlite3.Connection, inspection_id: int) -> list[dict[str, Any]]:
    rows = connection.execute(
        "SELECT place, name, size, sha256 FROM photos WHERE inspection_id = ? ORDER BY place", (inspection_id,)
    )
    return [
        {"name": name, "size": size, "sha256": sha256, "url": f"/api/inspections/{inspection_id}/photos/{place}"}
        for place, name, size, sha256 in rows
    ]


def rfc3339(instant_ms: int) -> str:
    """An instant as RFC 3339 writes it, in UTC with milliseconds."""
    instant = datetime.fromtimestamp(instant_ms // 1_000, UTC)
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{instant_ms % 1_000:03}Z"
