"""Storing what is known of servers and accounts: flags, breakers, holds, lock leases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.gates import breaker_name, flags_name, hold_name, hurried, left_name, may_probe, opened, session_name
from holdfast.moments import is_over
from holdfast.storage import Delete, Get, GetAll, Put, reading, transaction

if TYPE_CHECKING:
    from holdfast.gates import Miss
    from holdfast.ports import Millis
from holdfast.storage import Record, Steps


@transaction("gates", durability="relaxed")
def reached(origin: str, flags: dict[str, Any], now: Millis) -> Steps[bool]:
    """The server answered: its breaker closes, and what it said is kept for when it does not.

    Returns whether somebody waited for that.
    """
    breaker = yield Get("gates", breaker_name(origin))
    yield Delete("gates", breaker_name(origin))
    yield Put("gates", {"name": flags_name(origin), "flags": flags, "read_at": now})
    return breaker is not None and breaker.get("awaited", False)


@reading("gates")
def read_away(origin: str, now: Millis) -> Steps[bool]:
    """Whether a look at that server has found nobody so lately that another one is not due."""
    breaker: Record | None = yield Get("gates", breaker_name(origin))
    return breaker is not None and breaker["failures"] > 0 and not may_probe(breaker, now)


@transaction("gates", durability="relaxed")
def not_reached(miss: Miss, now: Millis) -> Steps[None]:
    """The server did not answer a look either: its breaker stays open, longer."""
    breaker = yield Get("gates", breaker_name(miss.origin))
    yield Put("gates", opened(breaker, miss, now))


@transaction("gates", durability="strict")
def signed_in(account: str) -> Steps[None]:
    """Let the account's jobs go again; what is refused from before this sign-in holds them no more."""
    yield Delete("gates", hold_name(account))
    yield Delete("gates", left_name(account))
    known: Record | None = yield Get("gates", session_name(account))
    yield Put("gates", {"name": session_name(account), "sign_ins": (known["sign_ins"] if known else 0) + 1})


@transaction("gates", durability="relaxed")
def look_soon(now: Millis, *, offline: bool) -> Steps[None]:
    """A wake that may mean that the network is back: breakers look again if that is likely."""
    for gate in (yield GetAll("gates")):
        if gate["name"].startswith(breaker_name("")):
            yield Put("gates", hurried(gate, offline=offline, now=now))


@transaction("gates", durability="relaxed")
def look_now(now: Millis) -> Steps[None]:
    """The network is back, or a person asks: every open breaker looks again at once."""
    for gate in (yield GetAll("gates")):
        if gate["name"].startswith(breaker_name("")):
            yield Put("gates", gate | {"open_until": now, "wait_ms": 0})


@transaction("gates", durability="strict")
def pause(name: str, now: Millis) -> Steps[None]:
    """Stop sending jobs of a kind, in every context, until `resume`."""
    yield Put("gates", {"name": name, "since": now})


@transaction("gates", durability="strict")
def resume(name: str) -> Steps[None]:
    """Let them go again."""
    yield Delete("gates", name)


@reading("holders")
def read_holder(lock: str) -> Steps[Record | None]:
    """Who holds a lock, and until when its lease runs."""
    record: Record | None = yield Get("holders", lock)
    return record


@transaction("holders", durability="relaxed")
def beat(lock: str, holder: str, lease_ms: Millis, now: Millis) -> Steps[None]:
    """Say that we hold a lock and are alive, whatever the holder before has said: the lock itself is the proof."""
    yield Put("holders", {"name": lock, "holder": holder, "until": now + lease_ms})


@transaction("holders", durability="relaxed")
def take_lease(lock: str, holder: str, lease_ms: Millis, now: Millis) -> Steps[bool]:
    """Take the lease of a lock if it is ours, free or over."""
    known: Record | None = yield Get("holders", lock)
    if known is not None and known["holder"] != holder and not is_over(known["until"], now, lease_ms):
        return False
    yield Put("holders", {"name": lock, "holder": holder, "until": now + lease_ms})
    return True


@transaction("holders", durability="relaxed")
def prolong_lease(lock: str, holder: str, lease_ms: Millis, now: Millis) -> Steps[bool]:
    """Prolong the lease of a lock if it is still ours. Never takes a free one: its holder may just have given it back."""
    known: Record | None = yield Get("holders", lock)
    if known is None or known["holder"] != holder:
        return False
    yield Put("holders", known | {"until": now + lease_ms})
    return True


@transaction("holders", durability="relaxed")
def drop_lease(lock: str, holder: str) -> Steps[None]:
    """Give the lease back if it is ours."""
    known: Record | None = yield Get("holders", lock)
    if known is not None and known["holder"] == holder:
        yield Delete("holders", lock)
