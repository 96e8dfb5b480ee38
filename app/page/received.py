"""The inspections the server has: the newest of them, and older ones when asked for."""

import json
from typing import Any

import js
from pyodide.ffi import JsException

PAGE = 50
PATIENCE_MS = 8_000


class Received:
    """What of the server's list is known here. `failed` holds a reason in words while it could not be loaded."""

    def __init__(self) -> None:
        self.items: dict[int, dict[str, Any]] = {}
        self.total = 0
        self.as_of: int | None = None
        self.failed = ""
        self._first: int | None = None

    @property
    def has_older(self) -> bool:
        """Whether the server has items from before those known here."""
        return bool(self._first)

    async def look(self) -> None:
        """Load what is new since the last look."""
        try:
            if self._first is None:
                head = await _page(after=0, limit=1)
                self._first = max(0, head["total"] - PAGE)
            await self._load(max(self.items, default=self._first))
        except (JsException, OSError, ValueError, KeyError) as error:
            self.failed = _reason(error)
            return
        self.failed = ""
        self.as_of = int(js.Date.now())

    async def look_further_back(self) -> None:
        """Load one more page of older items."""
        if not self._first:
            return
        end, start = self._first, max(0, self._first - PAGE)
        try:
            page = await _page(after=start, limit=end - start)
        except (JsException, OSError, ValueError, KeyError) as error:
            self.failed = _reason(error)
            return
        self._first = start
        self._keep(page)

    async def _load(self, after: int) -> None:
        # Ids may have gaps, so that the last page is known only by not being full.
        while True:
            page = await _page(after=after, limit=PAGE)
            self._keep(page)
            if len(page["items"]) < PAGE:
                return
            after = page["items"][-1]["id"]

    def _keep(self, page: dict[str, Any]) -> None:
        self.total = page["total"]
        for item in page["items"]:
            self.items[item["id"]] = item


def _reason(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "The server shows it after sign-in."
    why = "The server does not answer" if js.navigator.onLine else "No network"
    return f"{why}; the rest comes when that is over."


async def _page(*, after: int, limit: int) -> dict[str, Any]:
    answer = await js.fetch(f"/api/inspections?limit={limit}&after={after}", signal=js.AbortSignal.timeout(PATIENCE_MS))
    if answer.status == 401:
        raise PermissionError("The server wants a sign-in.")
    if not answer.ok:
        raise OSError(f"The server answered the list with {answer.status}.")
    page: dict[str, Any] = json.loads(await answer.text())
    return page
