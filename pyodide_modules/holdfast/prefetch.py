"""Prefetch: of a lane that moves fast several jobs are claimed at once, to go one after the other. Pure.

Each goes in a request of its own, once the one before it was delivered (by itself, where the transport knows a receipt), so the
order of the lane is what it was; what they share are the commits that claim and settle them, which cost more than a fast request,
and which are made beside the requests: while the second half is sent, the first is settled and as many more are claimed. What is not sent goes back as if it had
never been claimed: no attempt is used, nothing is unknown about it. That happens where the one before it came to anything
but a receipt, where there is news of the queue (somebody pauses, cancels, signs out, or has something more urgent), and once
the claim is no longer fresh: gates are read with a claim, and what they say is believed for that long.

Only for servers that give their receipts by our keys: what was delivered and not settled when its context died is sent again,
and they know it again. And not behind or with a job that has files, or whose last send came to no good end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from holdfast.moments import is_recent

if TYPE_CHECKING:
    from holdfast.ports import Millis

FRESH_MS: Final = 250
"""How long after its claim a job may wait for those before it. A lane in which one takes longer than half of it gains nothing."""
MOST: Final = 16
"""So many at most: a death in between makes all of them jobs that may have arrived."""


def how_many(took_ms: Millis | None) -> int:
    """How many jobs of a lane to claim at once where the last ones took so long each; None if nobody knows."""
    return 1 if took_ms is None else max(1, min(MOST, FRESH_MS // max(1, took_ms)))


def how_many_behind(took_ms: Millis) -> int:
    """How many more to claim while the rest of a lane's claimed ones is sent; none is left to wait long enough to go stale."""
    return how_many(took_ms) // 2


def is_fresh(claimed_at: Millis, now: Millis) -> bool:
    """Whether a job that was claimed then may still be sent without another look."""
    return is_recent(claimed_at, now, FRESH_MS)
