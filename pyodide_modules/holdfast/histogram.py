"""Spans of time counted in buckets that grow, so that a median costs a few numbers and not a list. Pure."""

from __future__ import annotations

from math import ceil, log2
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.ports import Millis

PER_DOUBLING = 4
"""Buckets between a span and its double: a quantile is right within 19 %."""

Histogram = dict[str, int]
"""Bucket number (a text, as keys are in JSON) to how many."""


def add(histogram: Histogram, span_ms: Millis) -> None:
    """Count one more span; what a clock set back makes negative counts as none."""
    bucket = str(ceil(PER_DOUBLING * log2(max(1, span_ms))))
    histogram[bucket] = histogram.get(bucket, 0) + 1


def quantile(histograms: list[Histogram], share: float) -> Millis | None:
    """The span that `share` (0 to 1) of all counted ones do not exceed; None if there are none."""
    merged: dict[int, int] = {}
    for histogram in histograms:
        for name, number in histogram.items():
            merged[int(name)] = merged.get(int(name), 0) + number
    left = share * sum(merged.values())
    for bucket in sorted(merged):
        left -= merged[bucket]
        if left <= 0:
            return int(2 ** (bucket / PER_DOUBLING))
    return None
