"""Inspections and their photos in the database, as steps. Nothing of HTTP here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from holdfast_server.attachments import IncomingFile
from holdfast_server.stores.statements import Statement, Steps

_COLUMNS: Final = "id, idempotency_key, received_at, site, inspected_on, severity, notes, checklist"


@dataclass(frozen=True, slots=True)
class Photo:
    """One stored photo."""

    name: str
    type: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Known:
    """The key has an inspection already, made from the request with this fingerprint ('' if that was not kept)."""

    item: dict[str, Any]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class NewInspection:
    """What is to be stored. The key is unique for its account, for ever."""

    account: str
    key: str
    fingerprint: str
    received_at: int
    payload: Mapping[str, Any]
    photos: Sequence[IncomingFile] = ()


def insert(new: NewInspection) -> Steps[dict[str, Any] | Known]:
    """Store an inspection and give it as `page` would; nothing is stored if its key has one."""
    checklist = new.payload.get("checklist", [])
    texts = [new.payload["site"], new.payload["inspected_on"], new.payload["severity"], new.payload.get("notes", "")]
    rows = yield Statement(
        "INSERT INTO inspections"
        " (account, idempotency_key, fingerprint, received_at, site, inspected_on, severity, notes, checklist)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account, idempotency_key) DO NOTHING RETURNING id",
        (new.account, new.key, new.fingerprint, new.received_at, *texts, json.dumps(checklist)),
    )
    if not rows:
        return (yield from _known(new))
    ((inspection_id,),) = rows
    photos = [
        (inspection_id, place, photo.name, photo.type, photo.size, photo.sha256)
        for place, photo in enumerate(new.photos, 1)
    ]
    if photos:
        yield Statement(
            "INSERT INTO photos (inspection_id, place, name, type, size, sha256) VALUES "  # noqa: S608  (places only)
            + ", ".join(["(?, ?, ?, ?, ?, ?)"] * len(photos)),
            tuple(value for photo in photos for value in photo),
        )
    row = (inspection_id, new.key, new.received_at, *texts, json.dumps(checklist))
    return _item(row, [(inspection_id, place, name, size, digest) for _, place, name, _, size, digest in photos])


def _known(new: NewInspection) -> Steps[Known]:
    where = "account = ? AND idempotency_key = ?"
    values = (new.account, new.key)
    ((fingerprint,),) = yield Statement(f"SELECT fingerprint FROM inspections WHERE {where}", values)  # noqa: S608  (fixed texts)
    (item,) = yield from _items(where, values)
    return Known(item, fingerprint)


def page(account: str, *, limit: int, after: int) -> Steps[dict[str, Any]]:
    """Up to `limit` inspections received after the one with the id `after`, oldest first, and how many there are in all."""
    ((total,),) = yield Statement("SELECT count(*) FROM inspections WHERE account = ?", (account,))
    items = yield from _items("account = ? AND id > ? ORDER BY id LIMIT ?", (account, after, limit))
    return {"total": total, "items": items}


def photo(account: str, inspection_id: int, place: int) -> Steps[Photo | None]:
    """One photo of an inspection; they are numbered from 1."""
    rows = yield Statement(
        "SELECT name, type, size, sha256 FROM photos JOIN inspections ON inspections.id = inspection_id"
        " WHERE account = ? AND inspection_id = ? AND place = ?",
        (account, inspection_id, place),
    )
    return Photo(*rows[0]) if rows else None


def referenced() -> Steps[set[str]]:
    """The digests of all stored photos."""
    rows = yield Statement("SELECT DISTINCT sha256 FROM photos")
    return {sha256 for (sha256,) in rows}


def _items(where: str, values: tuple[Any, ...]) -> Steps[list[dict[str, Any]]]:
    rows = yield Statement(f"SELECT {_COLUMNS} FROM inspections WHERE {where}", values)  # noqa: S608  (fixed texts)
    if not rows:
        return []
    places = ", ".join("?" * len(rows))
    photos = yield Statement(
        f"SELECT inspection_id, place, name, size, sha256 FROM photos WHERE inspection_id IN ({places})"  # noqa: S608  (places only)
        " ORDER BY inspection_id, place",
        tuple(row[0] for row in rows),
    )
    by_inspection: dict[int, list[tuple[Any, ...]]] = {}
    for row in photos:
        by_inspection.setdefault(row[0], []).append(row)
    return [_item(row, by_inspection.get(row[0], [])) for row in rows]


def _item(row: tuple[Any, ...], photos: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    inspection_id, key, received_at, site, inspected_on, severity, notes, checklist = row
    return {
        "id": inspection_id,
        "idempotency_key": key,
        "received_at": rfc3339(received_at),
        "site": site,
        "inspected_on": inspected_on,
        "severity": severity,
        "notes": notes,
        "checklist": json.loads(checklist),
        "photos": [
            {"name": name, "size": size, "sha256": sha256, "url": f"/api/inspections/{inspection_id}/photos/{place}"}
            for _, place, name, size, sha256 in photos
        ],
    }


def rfc3339(instant_ms: int) -> str:
    """An instant as RFC 3339 writes it, in UTC with milliseconds."""
    instant = datetime.fromtimestamp(instant_ms // 1_000, UTC)
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{instant_ms % 1_000:03}Z"
