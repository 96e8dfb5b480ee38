"""Telling a store that was cleared from one that never was: a cookie outlives what browsers clear under pressure.

Browsers that run short of space drop a site's databases and caches together, but not its cookies. A cookie that
remembers a visit beside a database that remembers none means that unsent work is gone, and the page must say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import js

from holdfast.moments import is_moment
from holdfast.storage import Get, Put, reading, transaction

if TYPE_CHECKING:
    from holdfast.ports import Millis, Store
    from holdfast.storage import Steps

COOKIE_S = 34_560_000
"""400 days, the longest that browsers keep a cookie."""
NAME = "marker"


async def look(outbox: str, store: Store, now: Millis) -> None:
    """Compare the cookie of this outbox with its database, and mark both."""
    # A host's cookies are shared by all its ports, its databases are not.
    cookie = f"holdfast_seen_{js.location.port}_{js.encodeURIComponent(outbox)}"
    await store.run(_mark(_seen_at(cookie), now))
    js.document.cookie = f"{cookie}={now}; Path=/; Max-Age={COOKIE_S}; SameSite=Lax"


async def wiped_after(store: Store) -> Millis | None:
    """The last visit before the store was cleared, until `forget`; None if it was not."""
    return await store.run(_read())


async def forget(store: Store, now: Millis) -> None:
    """The person has understood."""
    await store.run(_forget(now))


def _seen_at(cookie: str) -> Millis | None:
    for pair in js.document.cookie.split("; "):
        name, _, value = pair.partition("=")
        if name == cookie and value.isascii() and value.isdecimal() and is_moment(int(value)):
            return int(value)
    return None


@transaction("meta", durability="strict")
def _mark(seen_at: Millis | None, now: Millis) -> Steps[None]:
    known: dict[str, Any] | None = yield Get("meta", NAME)
    if known is None:
        yield Put("meta", {"name": NAME, "since": now, "wiped_after": seen_at})


@reading("meta")
def _read() -> Steps[Millis | None]:
    known: dict[str, Any] | None = yield Get("meta", NAME)
    wiped_after = known.get("wiped_after") if known else None
    return wiped_after if is_moment(wiped_after) else None  # whatever else stands there must not stop the page


@transaction("meta", durability="relaxed")
def _forget(now: Millis) -> Steps[None]:
    yield Put("meta", {"name": NAME, "since": now, "wiped_after": None})
