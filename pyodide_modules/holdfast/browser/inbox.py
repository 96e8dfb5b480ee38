"""The inbox database as the `Inbox` port. Its schema belongs to static/inbox.js, which also opens it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import js
from pyodide.ffi import JsException, create_proxy, to_js

from holdfast.browser.files import from_js
from holdfast.errors import StorageClosedError, StorageError, StorageFullError
from holdfast.ports import InboxEntry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

_Look = asyncio.Future[tuple[str, int]]


class BrowserInbox:
    """Python's side of the inbox, on the one connection that static/inbox.js keeps."""

    def __init__(self) -> None:
        self._looking: list[_Look] = []
        """Who waits for the look that is under way; nobody if none is."""
        self._look_next: list[_Look] = []
        self._told = create_proxy(self._looked)

    async def count(self) -> int:
        return int(await _stored(js.holdfastInbox.count()))

    def look(self) -> _Look:
        """Those who come while one looks share the next look: this one may be too early for what they know to be there."""
        found: _Look = asyncio.Future()
        if self._looking:
            self._look_next.append(found)
        else:
            self._begin_look([found])
        return found

    def _begin_look(self, waiting: list[_Look]) -> None:
        if waiting:
            js.holdfastInbox.look(self._told)
        self._looking, self._look_next = waiting, []

    def _looked(self, text: str) -> None:
        """What JavaScript has found, or why it could not look."""
        waiting, found = self._looking, json.loads(text)
        self._begin_look(self._look_next)
        for one in waiting:
            if one.done():
                continue  # nobody waits for it any more
            if isinstance(found, list):
                account, count = found
                one.set_result((account, count))
            else:
                one.set_exception(_error(found.get("name"), found.get("message")))
                one.exception()  # heard: who looked may have no use for it by now

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
        raise _error(error.name, error.message) from error


def _error(name: str | None, message: str | None) -> StorageError:
    if name == "StorageFullError":
        return StorageFullError()
    return StorageClosedError(f"The inbox could not be read or written: {message}")


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
