"""What Python does in the service worker: answer messages. Events and their order are sw.js's, the table is the engine's.

Imported before the memory snapshot is made, so nothing JavaScript is touched at import.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from app.jobs import outbox
from holdfast.browser import host

if TYPE_CHECKING:
    from collections.abc import Iterable

_started: asyncio.Future[None] | None = None


async def _ready() -> None:
    global _started  # noqa: PLW0603 - one outbox in one worker, opened by whoever asks first
    if _started is None:
        _started = asyncio.ensure_future(host.start(outbox, role="worker"))
    try:
        await asyncio.shield(_started)
    except Exception:
        _started = None  # the next message tries again
        raise


async def handle(message: str, files: Iterable[Any] = ()) -> str:
    """Answer one message of the table in JSON; `files` are pairs of field and blob, as in the inbox."""
    await _ready()
    return await host.answer(outbox, message, files)
