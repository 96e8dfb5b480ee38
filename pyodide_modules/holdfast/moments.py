"""Moments that one context wrote down and another reads, on a wall clock that people set either way. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.ports import Millis

SLACK_MS = 10_000
"""How much later than the reader's `now` a moment may have been written with no clock set back: each context takes its
`now` before its transaction waits for the others' turn."""

LATEST = 250_000_000_000_000
"""In the year 9892: Python's calendar ends not long after it."""


def is_moment(value: Any) -> bool:
    """Whether what was stored as a moment can be one."""
    return type(value) is int and 0 <= value <= LATEST


def is_over(until: Millis, now: Millis, span_ms: Millis) -> bool:
    """Whether a span of this length has ended. One that has longer to go than it was given means a clock set back."""
    return not 0 < until - now <= span_ms + SLACK_MS


def is_recent(at: Millis, now: Millis, span_ms: Millis) -> bool:
    """Whether a moment lies no longer back than this. One that is still to come means a clock set back: it is not."""
    return -SLACK_MS <= now - at < span_ms
