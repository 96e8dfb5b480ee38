"""Keys as IndexedDB has them: how they sort, and where they are found in a record. Pure."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.storage import Key, ObjectStore, Record

Encoded = tuple[Any, ...]

PARTS = (str, int, float)
"""Types of the values that may be part of a key; a boolean, though Python takes it for a number, may not."""


def encode(key: Key) -> Encoded:
    """A key as a tuple that sorts the way IndexedDB sorts: numbers, strings (by UTF-16 unit), lists."""
    if type(key) is int:
        return (1, key)
    if isinstance(key, str):
        return (2, key.encode("utf-16-be", "surrogatepass"))
    if isinstance(key, list):
        return (3, tuple([encode(part) for part in key]))
    if isinstance(key, bool):
        raise TypeError("A boolean is no IndexedDB key.")
    if not isnan(key):
        return (1, key)
    raise TypeError(f"{key!r} is no IndexedDB key.")


def key_of(record: Record, schema: ObjectStore) -> Key:
    """The key of a record in its object store. Raises KeyError, TypeError: it has none."""
    if isinstance(schema.key, tuple):
        return [record[field] for field in schema.key]
    if schema.key is None:
        raise TypeError("This object store takes its key with each put.")
    key: Key = record[schema.key]
    return key


def index_key(record: Record, fields: tuple[str, ...]) -> Key | None:
    """The key of a record in an index; IndexedDB leaves it out unless every part is a valid key."""
    parts: list[Any] = []
    for field in fields:
        part = record.get(field)
        if not isinstance(part, PARTS) or isinstance(part, bool):
            return None
        parts.append(part)
    return parts
