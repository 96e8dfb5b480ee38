"""Moments that somebody wrote down on a clock that may have been set since, or that are none."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from holdfast.moments import LATEST, is_moment


@pytest.mark.parametrize("value", [None, True, -1, 1.5, "1800000000000", [], {}, LATEST + 1, 10**300])
def test_what_is_no_moment_is_told(value: object) -> None:
    """Whatever was found where one should be."""
    assert not is_moment(value)


def test_every_moment_has_a_day_in_every_zone() -> None:
    """From 1970 to the last that is taken for one."""
    for hours in (-14, 0, 14):
        for value in (0, 1_800_000_000_000, LATEST):
            assert is_moment(value)
            assert datetime.fromtimestamp(value / 1_000, timezone(timedelta(hours=hours))) <= datetime.max.replace(
                tzinfo=UTC
            )
