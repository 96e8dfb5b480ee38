"""Waiting for a thing that cannot call back: a process, a server's rows. Nothing here waits for time to pass."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from playwright.sync_api import Page

T = TypeVar("T")

PATIENCE_SECONDS = 30
LOOK_SECONDS = 0.05


def until(look: Callable[[], T], what: str, *, seconds: float = PATIENCE_SECONDS) -> T:
    """Look again and again until there is something true to see, and return it.

    Args:
        look: called until what it returns is true.
        what: for the failure: what was waited for.
        seconds: how long.
    """
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"Within {seconds} s there was not: {what}. Last seen: {seen!r}")
        time.sleep(LOOK_SECONDS)  # between two looks at something that has nothing to tell us by itself
    return seen


def until_page(page: Page, look: str, what: str, *, arg: Any = None, seconds: float = PATIENCE_SECONDS) -> Any:
    """Ask a page again and again until `look`, an async function, resolves to something true; return it.

    `page.wait_for_function` does not await what it is given: a promise is true at once.
    """
    return until(lambda: page.evaluate(look, arg), what, seconds=seconds)
