"""The decisions behind a key, as pure functions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast_server.idempotency import (
    Entry,
    Expired,
    InFlight,
    Mismatch,
    Part,
    Replay,
    Start,
    StoredResponse,
    decide,
    fingerprint_form,
    fingerprint_json,
    key_fault,
)

RESPONSE = StoredResponse(201, (("Content-Type", "application/json"),), b"{}")
FINISHED = Entry("same", since=1_000, response=RESPONSE)
RUNNING = Entry("same", since=0, lease_until=61_000)


@pytest.mark.parametrize(
    ("entry", "fingerprint", "now_ms", "key_lifetime_ms", "decision"),
    [
        pytest.param(None, "same", 0, None, Start(), id="nothing stored"),
        pytest.param(FINISHED, "same", 10**15, None, Replay(RESPONSE), id="finished, kept for ever"),
        pytest.param(FINISHED, "other", 2_000, None, Mismatch(), id="finished, another body"),
        pytest.param(FINISHED, "same", 1_999, 1_000, Replay(RESPONSE), id="the last moment of its life"),
        pytest.param(FINISHED, "same", 2_000, 1_000, Expired(), id="its life is over"),
        pytest.param(FINISHED, "other", 2_000, 1_000, Expired(), id="its life is over, another body"),
        pytest.param(RUNNING, "same", 0, None, InFlight(1_000), id="running"),
        pytest.param(RUNNING, "same", 60_900, None, InFlight(100), id="running, its lease nearly over"),
        pytest.param(RUNNING, "other", 0, None, Mismatch(), id="running, another body"),
        pytest.param(RUNNING, "same", 61_000, None, Start(), id="its holder is gone"),
        pytest.param(RUNNING, "same", 0, 1, InFlight(1_000), id="a key's life starts when it has run"),
    ],
)
def test_every_situation_has_one_decision(entry, fingerprint, now_ms, key_lifetime_ms, decision):
    """The table of the module, row by row."""
    assert decide(entry, fingerprint, now_ms=now_ms, key_lifetime_ms=key_lifetime_ms) == decision


@pytest.mark.parametrize("key", ["a", "x" * 255, "8e03978e-40d5-43dd-bc93-6894a57f9324", '"quoted"', "!~:;/"])
def test_visible_ascii_of_up_to_255_characters_is_a_key(key):
    """Whatever a client may sensibly use as a key is taken."""
    assert key_fault([key]) is None


@pytest.mark.parametrize(
    "values", [[], [""], ["x" * 256], ["a b"], ["a,b"], ["\u00fc"], ["a\x7f"], ["\t"], ["one", "two"]]
)
def test_anything_else_is_no_key(values):
    """Missing, empty, too long, other characters, or several headers: each is refused with a sentence."""
    fault = key_fault(values)
    assert fault is not None
    assert fault.endswith(".")


def test_json_fingerprint_leaves_spacing_and_order_out():
    """Two serialisations of one value are the same request."""
    assert fingerprint_json("POST", "/a", {"x": 1, "y": [2]}) == fingerprint_json("POST", "/a", {"y": [2], "x": 1})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(json_values, json_values)
def test_other_json_has_another_fingerprint(one, other):
    """Equal fingerprints mean equal values: true and 1 are different ones."""
    same = fingerprint_json("POST", "/a", one) == fingerprint_json("POST", "/a", other)
    assert same == (repr(_ordered(one)) == repr(_ordered(other)))


def _ordered(value):
    if isinstance(value, dict):
        return {name: _ordered(value[name]) for name in sorted(value)}
    return [_ordered(item) for item in value] if isinstance(value, list) else value


def test_method_path_and_every_fact_of_a_part_count():
    """Whatever differs makes it another request; names cannot run into each other."""
    part = Part("photos", "a.jpg", "image/jpeg", "00")
    requests = [
        ("POST", "/a", [part]),
        ("PUT", "/a", [part]),
        ("POST", "/b", [part]),
        ("POST", "/a", [part, part]),
        ("POST", "/a", []),
        ("POST", "/a", [Part("photo", "sa.jpg", "image/jpeg", "00")]),
        ("POST", "/a", [Part("photos", None, "image/jpeg", "00")]),
        ("POST", "/a", [Part("photos", "a.jpg", "image/png", "00")]),
        ("POST", "/a", [Part("photos", "a.jpg", "image/jpeg", "01")]),
    ]
    assert len({fingerprint_form(*request) for request in requests}) == len(requests)
    assert fingerprint_form("POST", "/a", []) != fingerprint_json("POST", "/a", [])
