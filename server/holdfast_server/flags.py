"""The flags document: what is switched off. It is kept in the database, so that every process tells the same."""

import json
from collections.abc import Callable
from typing import Any, Final

from holdfast_server.stores.statements import Statement, Steps

_NAME: Final = "flags"
_READ: Final = "SELECT value FROM settings WHERE name = ?"


def nothing_off() -> dict[str, Any]:
    """The document of a server that takes everything."""
    return {"all": False, "queues": [], "types": []}


def read() -> Steps[dict[str, Any]]:
    """What is switched off: `all`, and names of `queues` and `types`."""
    rows = yield Statement(_READ, (_NAME,))
    return json.loads(rows[0][0]) if rows else nothing_off()


def change(how: Callable[[dict[str, Any]], None]) -> Steps[dict[str, Any]]:
    """Change it as one step, and give what it is then."""
    document = yield from read()
    how(document)
    document["queues"] = sorted(set(document["queues"]))
    document["types"] = sorted(set(document["types"]))
    yield Statement(
        "INSERT INTO settings VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (_NAME, json.dumps(document)),
    )
    return document
