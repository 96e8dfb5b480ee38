"""Waiting for a thing that cannot call back: a process, a server's rows. Nothing here waits for time to pass."""

import time
from collections.abc import Callable
from typing import TypeVar

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
