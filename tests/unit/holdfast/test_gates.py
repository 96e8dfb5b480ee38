"""Gates stop sending, never capture; and they open again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.backoff import Backoff
from holdfast.gates import (
    FLAGS_MS,
    PROBE_WAIT_MS,
    Gates,
    Miss,
    flags_name,
    hold_name,
    hurried,
    may_probe,
    opened,
    pause_name,
    valid_flags,
)

NOW = 1_800_000_000_000
MISS = Miss("", Backoff(), 0.5, offline=False)
OFF = {"all": False, "queues": [], "types": []}


def flags(*, read_at: int = NOW, **off: object) -> dict[str, object]:
    return {"name": flags_name(""), "flags": {"disabled": OFF | off, "key_lifetime_ms": None}, "read_at": read_at}


def passes(
    *gates: dict[str, object], account: str = "ann", queue: str = "q", type_: str = "t", origin: str = ""
) -> bool:
    all_gates = Gates.of(list(gates))
    shut = all_gates.held(account) or all_gates.paused(queue, type_)
    return not shut and all_gates.shut_until(origin, queue, type_, NOW) is None


def test_without_a_gate_everything_passes() -> None:
    """Nothing is known, nothing is stopped."""
    assert passes()


def test_a_hold_stops_its_account_alone() -> None:
    """Another person's jobs go on."""
    hold = {"name": hold_name("ann"), "since": NOW}
    assert not passes(hold)
    assert passes(hold, account="bob")
    assert passes(hold, account="")


def test_a_breaker_stops_its_origin_alone() -> None:
    """Other servers are not down."""
    breaker = opened(None, MISS, NOW)
    assert not passes(breaker)
    assert passes(breaker, origin="https://other.example")


@pytest.mark.parametrize("off", [{"all": True}, {"queues": ["q"]}, {"types": ["t"]}])
def test_the_kill_switch_stops_what_it_names(off: dict[str, object]) -> None:
    """Everything, a queue or a type, of the server that said so."""
    assert not passes(flags(**off))
    assert passes(flags(**off), origin="https://other.example")


def test_the_kill_switch_leaves_the_rest_alone() -> None:
    """Other queues and types go on."""
    assert passes(flags(queues=["other"], types=["another"]))


@pytest.mark.parametrize(
    ("pause", "stopped"),
    [((None, None), {"q/t", "q/u", "r/v"}), (("q", None), {"q/t", "q/u"}), ((None, "t"), {"q/t"})],
    ids=["all", "a queue", "a type"],
)
def test_a_pause_stops_what_it_names(pause: tuple[str | None, str | None], stopped: set[str]) -> None:
    """Everything, a queue or a type, until it is ended."""
    gates = Gates.of([{"name": pause_name(*pause)}])
    assert {f"{q}/{t}" for q, t in (("q", "t"), ("q", "u"), ("r", "v")) if gates.paused(q, t)} == stopped


def test_a_server_is_looked_at_before_it_is_sent_to() -> None:
    """Unless its flags were read within half a minute, or two seconds as a drain begins; a clock set back looks at once."""
    assert Gates.of([]).wants_look("", NOW)
    known = Gates.of([flags()])
    assert not known.wants_look("", NOW + PROBE_WAIT_MS - 1)
    assert known.wants_look("", NOW + PROBE_WAIT_MS)
    assert not known.wants_look("", NOW + 1_999, FLAGS_MS)
    assert known.wants_look("", NOW + 2_000, FLAGS_MS)
    assert known.wants_look("", NOW - 60_000)
    assert known.wants_look("https://other.example", NOW)


@given(st.integers(0, 50), st.floats(0, 1, exclude_max=True))
def test_a_device_asks_at_most_twice_a_minute_during_an_outage(failures: int, random: float) -> None:
    """However chance falls, half a minute at least lies between two looks, and five at most."""
    breaker = None
    for _ in range(failures + 1):
        breaker = opened(breaker, Miss("", Backoff(), random, offline=False), NOW)
    assert breaker is not None
    assert breaker["failures"] == failures + 1
    assert PROBE_WAIT_MS <= breaker["open_until"] - NOW <= 300_000
    assert not may_probe(breaker, breaker["open_until"] - 1)
    assert may_probe(breaker, breaker["open_until"])


def test_a_clock_set_back_does_not_keep_a_breaker_open() -> None:
    """A wait longer than was ever given is over."""
    assert may_probe(opened(None, MISS, NOW), NOW - 86_400_000)


@pytest.mark.parametrize(
    ("was_offline", "is_offline", "later_ms", "looks"),
    [
        (True, False, 1, True),
        (True, True, 1, False),
        (False, False, 1, False),
        (False, False, PROBE_WAIT_MS, True),
        (True, True, PROBE_WAIT_MS, True),
        (False, False, -1, False),
        (False, False, -60_000, True),
    ],
)
def test_a_wake_looks_again_if_that_is_likely_to_help(
    was_offline: bool, is_offline: bool, later_ms: int, looks: bool
) -> None:
    """The device has a network again, or the last look was a while ago; many wakes are not many looks."""
    breaker = opened(None, Miss("", Backoff(), 0.5, was_offline), NOW)
    after = hurried(breaker, offline=is_offline, now=NOW + later_ms)
    assert (after["open_until"] == NOW + later_ms) is looks
    assert (after == breaker) is not looks


@pytest.mark.parametrize(
    "document", [None, [], "x", 1, {}, {"disabled": None}, {"disabled": []}, {"disabled": "all"}], ids=repr
)
def test_what_is_no_flags_document_is_no_sign_of_life(document: object) -> None:
    """A portal's page, an empty answer, another JSON API."""
    assert valid_flags(document) is None


@pytest.mark.parametrize(
    ("document", "lifetime"),
    [
        ({"disabled": {}}, None),
        ({"disabled": {}, "key_lifetime_ms": None}, None),
        ({"disabled": {}, "key_lifetime_ms": 1_000}, 1_000),
        ({"disabled": {}, "key_lifetime_ms": 1_000.0}, 1_000),
        ({"disabled": {}, "key_lifetime_ms": True}, None),
        ({"disabled": {}, "key_lifetime_ms": "long"}, None),
    ],
)
def test_a_keys_lifetime_is_a_number_of_milliseconds(document: dict[str, object], lifetime: int | None) -> None:
    """None is for ever."""
    found = valid_flags(document)
    assert found is not None
    assert found["key_lifetime_ms"] == lifetime


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "disabled": st.fixed_dictionaries({}, optional=dict.fromkeys(("all", "queues", "types"), json_values)),
            "key_lifetime_ms": json_values,
        },
    )
)
def test_no_document_breaks_the_gates(document: object) -> None:
    """Whatever the server sends, the question whether a job may go has an answer."""
    found = valid_flags(document)
    if found is not None:
        gates = Gates.of([{"name": flags_name(""), "flags": found, "read_at": NOW}])
        assert gates.shut_until("", "q", "t", NOW) in {None, NOW + PROBE_WAIT_MS}
        assert gates.wants_look("", NOW) in {True, False}
