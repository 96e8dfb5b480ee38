"""Whether the stored record of a queue, a gate or a lease can be read, and what stands in for one that cannot. Pure.

What stands in is what is safe to believe: a server that nobody knows about is asked before anything is sent to it; a pause and a
hold say all they have to say by their name, so whatever else is damaged of them, they go on until they are ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.gates import looked_at
from holdfast.lifecycle import STATES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.ports import Millis
    from holdfast.storage import Record

COUNTERS = ("states", "failures", "latency")


def is_queue(record: Record) -> bool:
    """Whether a queue's record has its last place and its counters."""
    return damage_of_queue(record) == []


def damage_of_queue(record: Record) -> list[str]:
    """The fields of a queue's record that cannot be what was counted."""
    sound = {
        "account": isinstance(record.get("account"), str),
        "queue": isinstance(record.get("queue"), str),
        "last_place": _is_number(record.get("last_place")),
        "retries": _is_number(record.get("retries")),
        "last_received_at": record.get("last_received_at", "") is None or _is_number(record.get("last_received_at")),
        "states": _are_counts(record.get("states"), STATES),
        "failures": _are_counts(record.get("failures")),
        "latency": _are_counts(record.get("latency")) and all(name.isdecimal() for name in record["latency"]),
    }
    return [name for name, is_sound in sound.items() if not is_sound]


def queue_anew(record: Record, states: dict[str, int], last_place: int) -> Record:
    """A queue's record that can be read: what is sound of it, jobs counted anew, the other counters from none."""
    damaged = damage_of_queue(record)
    counted: Record = {"retries": 0, "last_received_at": None, "failures": {}, "latency": {}, "last_place": 0}
    kept = {name: record[name] for name in counted if name not in damaged}
    anew = {"account": record["account"], "queue": record["queue"], **counted, **kept, "states": states}
    return anew | {"last_place": max(anew["last_place"], last_place)}


def is_gate(record: Record) -> bool:
    """Whether a gate's record can be asked what gates are asked."""
    name = record.get("name")
    if not isinstance(name, str):
        return False
    match name.partition(":")[0]:
        case "breaker":
            instants = all(
                _is_number(record.get(field)) for field in ("failures", "opened_at", "open_until", "wait_ms")
            )
            looking = [record.get("looking", False), record.get("awaited", not record.get("looking", False))]
            return instants and all(isinstance(value, bool) for value in (record.get("offline"), *looking))
        case "flags":
            return _is_number(record.get("read_at")) and _are_flags(record.get("flags"))
        case "session":
            return _is_number(record.get("sign_ins"))
        case "one by one":
            return _is_number(record.get("since"))
    return True


def gate_anew(record: Record, now: Millis) -> Record | None:
    """What stands in for a gate that cannot be read; None: nothing is known, which is asked for before anything is sent.

    A breaker was open, so it stays open until somebody has looked, which is due at once.
    """
    name = record.get("name")
    if not isinstance(name, str) or not name.startswith("breaker:"):
        return None
    breaker = looked_at(None, name.removeprefix("breaker:"), now)
    return breaker | {"open_until": now, "wait_ms": 0, "looking": False}


def is_lease(record: Record) -> bool:
    """Whether it says who holds a lock, and until when; if not, nobody is known to."""
    return isinstance(record.get("holder"), str) and _is_number(record.get("until"))


def _are_flags(flags: Any) -> bool:
    if not isinstance(flags, dict):
        return False
    disabled, lifetime = flags.get("disabled", {}), flags.get("key_lifetime_ms")
    if not isinstance(disabled, dict) or not (lifetime is None or _is_number(lifetime)):
        return False
    return all(isinstance(disabled.get(name, []), list) for name in ("queues", "types"))


def _are_counts(counts: Any, names: Mapping[str, Any] | Any = None) -> bool:
    return isinstance(counts, dict) and all(
        (names is None or name in names) and _is_number(number) for name, number in counts.items()
    )


def _is_number(value: Any) -> bool:
    # By `type`: a truth value is no number. None of these is ever below zero.
    return type(value) is int and value >= 0
