"""The rows of the bench, their budgets, and how they are told: one table on the screen, one JSON file beside it.

A module in `rows/` measures both sides of a budget in one run, interleaved, and registers itself with `@row`. Nothing
here knows what is measured.
"""

import json
import math
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import linear_regression, median, quantiles
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a comparison: a name and what was measured, in the row's unit."""

    name: str
    values: Sequence[float]

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The quartiles: half of the values lie between them."""
        if len(self.values) == 1:
            return self.values[0], self.values[0]
        low, _, high = quantiles(self.values, n=4, method="inclusive")
        return low, high


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the table. With `other` the figure is the ratio `other / ours`, else `ours` itself.

    Args:
        at_least: the budget is met from here on.
        at_most: the budget is met up to here. With neither there is no budget: the figure is told for itself.
    """

    what: str
    unit: str
    ours: Side
    other: Side | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def figure(self) -> float:
        return self.other.median / self.ours.median if self.other else self.ours.median

    @property
    def met(self) -> bool | None:
        """Whether the budget is met; None where there is none."""
        if self.at_least is None and self.at_most is None:
            return None
        return (self.at_least is None or self.figure >= self.at_least) and (
            self.at_most is None or self.figure <= self.at_most
        )

    @property
    def verdict(self) -> str:
        return {True: "met", False: "missed", None: ""}[self.met]

    @property
    def told_figure(self) -> str:
        return f"{self.figure:.2f} x" if self.other else told(self.figure, self.unit)

    @property
    def budget(self) -> str:
        sign = "x" if self.other else self.unit
        if self.at_least is not None:
            return f"≥ {self.at_least:g} {sign}"
        return f"≤ {self.at_most:g} {sign}" if self.at_most is not None else ""

    def as_data(self) -> dict[str, Any]:
        sides = {"ours": self.ours, "other": self.other}
        medians = {name: side.median for name, side in sides.items() if side}
        return {**asdict(self), "medians": medians, "figure": self.figure, "met": self.met}


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How a cost grows with what is stored: medians of `unit` for each operation at each size."""

    what: str
    unit: str
    sizes: Sequence[int]
    costs: dict[str, Sequence[float]]

    def slope(self, operation: str) -> float:
        """By how much the cost is multiplied when what is stored is multiplied by ten: 1 is flat."""
        places = [math.log10(size) for size in self.sizes]
        return 10 ** linear_regression(places, [math.log10(cost) for cost in self.costs[operation]]).slope

    def __str__(self) -> str:
        body = [
            (name, *(f"{cost:.3g}" for cost in costs), f"{self.slope(name):.2f} x")
            for name, costs in self.costs.items()
        ]
        head = (f"{self.what}, {self.unit}", *(f"{size:,}" for size in self.sizes), "times ten")
        return aligned([head, *body])


Measured = Line | Growth
Measure = Callable[..., Sequence[Measured]]


@dataclass
class Row:
    """A measurement: called with the bench, it returns its lines."""

    name: str
    measure: Measure


ROWS: list[Row] = []


def row(measure: Measure) -> Measure:
    """Register a measurement under its function's name."""
    ROWS.append(Row(measure.__name__, measure))
    return measure


def told(value: float, unit: str) -> str:
    """A figure with three digits that count, and its unit."""
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) for cells in rows]
    return "\n".join(line.rstrip() for line in lines)


@dataclass
class Table:
    """What was measured so far, in a file as well: a run that is broken off has not been for nothing."""

    rounds: int
    path: Path
    rows: dict[str, Sequence[Measured]] = field(default_factory=dict)

    def add(self, row: str, measured: Sequence[Measured]) -> None:
        """Take in what a row measured, and write down all there is."""
        self.rows[row] = measured
        self._write()

    @property
    def lines(self) -> list[tuple[str, Line]]:
        """Every line with its row's name."""
        return [(row, one) for row, measured in self.rows.items() for one in measured if isinstance(one, Line)]

    @property
    def growths(self) -> list[Growth]:
        return [one for measured in self.rows.values() for one in measured if isinstance(one, Growth)]

    def __str__(self) -> str:
        head = ("what", "ours", "other side", "figure", "budget", "")
        body = [
            (
                line.what,
                f"{line.ours.name}: {spread(line.ours, line.unit)}",
                f"{line.other.name}: {spread(line.other, line.unit)}" if line.other else "",
                line.told_figure,
                line.budget,
                line.verdict,
            )
            for _, line in self.lines
        ]
        parts = [aligned([head, *body]), *map(str, self.growths)]
        note = f"Medians of {self.rounds} rounds; in brackets, where the middle half of them lies."
        return "\n\n".join(["", *parts, note, ""])

    def _write(self) -> None:
        """Everything measured, every round of it, as JSON."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        facts = {
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": platform.platform(),
            "load_average": os.getloadavg()[1],
            "rounds": self.rounds,
            "lines": [{"row": row, **line.as_data()} for row, line in self.lines],
            "growths": [
                {**asdict(growth), "slopes": {name: growth.slope(name) for name in growth.costs}}
                for growth in self.growths
            ],
        }
        self.path.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


def spread(side: Side, unit: str) -> str:
    """A side's median, and its quartiles where they differ."""
    low, high = side.spread
    if low == high:
        return told(side.median, unit)
    return f"{told(side.median, unit)} ({told(low, '').strip()}-{told(high, '').strip()})"
