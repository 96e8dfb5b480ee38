"""Waits grow, stay bounded and spread."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.backoff import Backoff
from holdfast.errors import InvalidOptionError

attempts = st.integers(1, 10**9)
randoms = st.floats(0, 1, exclude_max=True)
backoffs = st.builds(
    Backoff,
    base_ms=st.integers(0, 2**53 - 1),
    factor=st.one_of(st.floats(1, 1_000), st.integers(1, 1_000)),
    cap_ms=st.integers(0, 2**53 - 1),
    jitter=st.sampled_from(["full", "equal", "none", "decorrelated"]),
)


@given(backoffs, attempts, randoms, st.integers(0, 10**9))
def test_a_wait_is_a_whole_number_within_zero_and_the_cap(
    backoff: Backoff, attempt: int, random: float, previous_ms: int
) -> None:
    """However often it failed and whatever chance says; huge attempts do not overflow."""
    wait_ms = backoff.wait_ms(attempt, random, previous_ms)
    assert isinstance(wait_ms, int)
    assert 0 <= wait_ms <= backoff.cap_ms


@given(backoffs, attempts, randoms)
def test_the_ceiling_never_sinks(backoff: Backoff, attempt: int, random: float) -> None:
    """For the same chance, a later attempt never waits less."""
    assert backoff.wait_ms(attempt, random) <= backoff.wait_ms(attempt + 1, random)


def test_by_default_ceilings_double_from_one_second_to_five_minutes() -> None:
    """Base 1 s, factor 2, cap 5 min."""
    ceilings = [Backoff(jitter="none").wait_ms(attempt, 0.0) for attempt in range(1, 12)]
    assert ceilings == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000, 300_000]


@pytest.mark.parametrize(
    ("jitter", "least", "middle"), [("full", 0, 4_000), ("equal", 4_000, 6_000), ("none", 8_000, 8_000)]
)
def test_jitter_spreads_over_its_part_of_the_wait(jitter: str, least: int, middle: int) -> None:
    """Full jitter spreads over the whole wait, equal jitter over its second half, none not at all."""
    backoff = Backoff(jitter=jitter)  # type: ignore[arg-type]
    assert (backoff.wait_ms(4, 0.0), backoff.wait_ms(4, 0.5)) == (least, middle)


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_ms": -1},
        {"base_ms": 0.5},
        {"cap_ms": "5"},
        {"factor": 0.5},
        {"factor": float("nan")},
        {"factor": 1_001},
        {"factor": 1e200},
        {"factor": True},
        {"jitter": "some"},
    ],
    ids=repr,
)
def test_every_option_of_a_backoff_is_checked(wrong: dict[str, Any]) -> None:
    """By name."""
    with pytest.raises(InvalidOptionError, match=next(iter(wrong))):
        Backoff(**wrong)


def test_decorrelated_jitter_builds_on_the_wait_before() -> None:
    """Between the base and three times the last wait, within the cap."""
    backoff = Backoff(jitter="decorrelated")
    assert backoff.wait_ms(1, 0.9, 0) == 1_000
    assert [backoff.wait_ms(2, random, 1_000) for random in (0.0, 0.5)] == [1_000, 2_000]
    assert backoff.wait_ms(9, 0.9, 200_000) == 300_000
