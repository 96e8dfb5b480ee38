"""Whatever is stored where a queue's or a gate's record should be: something that can be read is made of it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from holdfast.backoff import Backoff
from holdfast.gates import (
    PROBE_WAIT_MS,
    Gates,
    Miss,
    awaited,
    flags_name,
    hold_name,
    hurried,
    looked_at,
    one_by_one_name,
    opened,
    pause_name,
)
from holdfast.lifecycle import STATES
from holdfast.upkeep import COUNTERS, gate_anew, is_gate, is_lease, is_queue, queue_anew
from tests.support.device import Device

NOW = 1_800_000_000_000
FIELDS = ("last_place", "retries", "last_received_at", *COUNTERS)
values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.just([]), st.just({}),
    st.dictionaries(st.sampled_from([*STATES, "x", "7"]), st.one_of(st.integers(), st.none())),
)  # fmt: skip
MISS = Miss("", Backoff(), 0.5, offline=False)


@given(st.dictionaries(st.sampled_from(FIELDS), values), st.sets(st.sampled_from(FIELDS)))
def test_what_is_made_of_any_queue_is_sound(changed: dict[str, Any], absent: set[str]) -> None:
    """So that it is counted anew once; no place is given twice."""
    record = {"account": "", "queue": "notes"} | {name: {} for name in COUNTERS} | {"last_place": 3, "retries": 1}
    record = {name: value for name, value in (record | changed).items() if name not in absent}
    anew = queue_anew(record, {"pending": 2}, 40)
    assert is_queue(anew)
    assert anew["last_place"] >= 40
    assert anew["states"] == {"pending": 2}


@given(
    st.sampled_from(
        [
            "breaker:",
            "breaker:https://a.example",
            "flags:",
            "session:ann",
            "hold:ann",
            "left:ann",
            "pause:all",
            "one by one:",
            "x",
        ]
    ),
    st.dictionaries(
        st.sampled_from(
            ["failures", "offline", "opened_at", "open_until", "wait_ms", "looking", "flags", "sign_ins", "since"]
        ),
        values,
    ),
)
def test_what_is_made_of_any_gate_is_sound(name: str, fields: dict[str, Any]) -> None:
    """And every question about gates has an answer."""
    gate: dict[str, Any] | None = {"name": name} | fields
    assert gate is not None
    if not is_gate(gate):
        gate = gate_anew(gate, NOW)
        assert gate is None or is_gate(gate)
    gates = Gates.of([gate] if gate else [])
    for origin in ("", "https://a.example"):
        gates.shut_until(origin, "notes", "note", NOW)
        gates.wants_look(origin, NOW)
        gates.key_lifetime_ms(origin)
        gates.takes_one(origin, NOW)
    gates.sign_ins("ann")
    assert gates.held("ann") == (name == "hold:ann")
    assert gates.has_left("ann") == (name == "left:ann")
    assert gates.paused("notes", "note") == (name == "pause:all")
    if gate and name.startswith("breaker:"):
        hurried(gate, offline=False, now=NOW)
        awaited(gate)
        opened(gate, MISS, NOW)


def test_what_the_engine_stores_is_sound() -> None:
    """Else it would be taken away again."""
    breaker = opened(None, MISS, NOW)
    looking = looked_at(breaker, "", NOW)
    flags = {"disabled": {"all": True, "queues": ["a"], "types": []}, "key_lifetime_ms": PROBE_WAIT_MS}
    waiting = awaited(looking)
    assert waiting is not None
    assert all(
        map(is_gate, [breaker, looking, looked_at(None, "", NOW), waiting, hurried(breaker, offline=False, now=NOW)])
    )
    assert is_gate({"name": flags_name(""), "flags": flags, "read_at": NOW})
    assert is_gate({"name": hold_name(""), "since": NOW})
    assert is_gate({"name": pause_name(None, None), "since": NOW})
    assert is_gate({"name": one_by_one_name(""), "since": NOW})


async def test_what_a_drain_leaves_is_sound() -> None:
    """Queues and leases as they are stored."""
    device = Device()
    outbox = await device.context()
    await outbox.enqueue("note", {"text": "a"})
    await device.rest()
    assert [is_queue(record) for record in device.store.records("queues")] == [True]
    assert all(is_lease(record) for record in device.store.records("holders"))
    assert all(is_gate(record) for record in device.store.records("gates"))
