"""The inbox database as the `Inbox` port. Its schema belongs to static/inbox.js, which also opens it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import js
from pyodide.ffi import JsException, to_js

from holdfast.browser.files import from_js
from holdfast.errors import StorageClosedError, StorageFullError
from holdfast.ports import InboxEntry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence


class BrowserInbox:
    """Python's side of the inbox, on the one connection that static/inbox.js keeps."""

    async def count(self) -> int:
        return int(await _stored(js.holdfastInbox.count()))

    async def look(self) -> tuple[str, int]:
        account, count = json.loads(await _stored(js.holdfastInbox.look()))
        return account, count

    async def entries(self, limit: int) -> list[InboxEntry]:
        return [_entry(entry) for entry in await _stored(js.holdfastInbox.list(limit))]

    async def remove(self, positions: Sequence[int]) -> None:
        await _stored(js.holdfastInbox.remove(to_js(list(positions))))

    async def append(self, entry: InboxEntry) -> None:
        plain = {
            "id": entry.id,
            "key": entry.key,
            "type": entry.type,
            "account": entry.account,
            "taken_at": entry.taken_at,
            "fields": entry.fields,
            "payload": entry.payload,
            "options": entry.options,
            "source": "python",
        }
        whole = js.JSON.parse(json.dumps(plain))
        whole.files = to_js([[field, handle] for field, _, _, _, handle in entry.files])
        await _stored(js.holdfastInbox.append(whole))

    async def account(self) -> str:
        return str(await _stored(js.holdfastInbox.get("account")) or "")

    async def set_account(self, account: str) -> None:
        await _stored(js.holdfastInbox.set("account", account))

    async def wipe_drafts(self) -> None:
        await _stored(js.holdfastInbox.wipeDrafts())


async def _stored(promise: Awaitable[Any]) -> Any:
    try:
        return await promise
    except JsException as error:
        if error.name == "StorageFullError":
            raise StorageFullError from error
        raise StorageClosedError(f"The inbox could not be read or written: {error.message}") from error


def _entry(entry: Any) -> InboxEntry:
    """As it is, whatever it is: the core says what is wrong with it."""
    files = getattr(entry, "files", None)
    entry.files = None
    plain = json.loads(js.JSON.stringify(entry))
    return InboxEntry(
        position=plain["position"],
        id=plain.get("id"),
        key=plain.get("key"),
        type=plain.get("type"),
        account=plain.get("account") or "",
        taken_at=plain.get("taken_at"),
        fields=plain.get("fields"),
        payload=plain.get("payload"),
        options=plain.get("options") or {},
        files=[(f.field, f.name, f.media_type, f.size, f.handle) for f in from_js(files)],
    )
