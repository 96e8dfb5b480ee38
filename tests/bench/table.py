"""The rows of the bench, their budgets, and how they are told: one table on the screen, one JSON file beside it.

A module in `rows/` measures both sides of a budget in one run, interleaved, and registers itself with `@row`. Nothing
here knows what is measured.
"""

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a comparison: a name and what was measured, in the row's unit."""

    name: str
    values: Sequence[float]

    @property
    def median(self) -> float:
        return median(self.values)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the table. With `other` the budget is on the ratio `other / ours`, else on `ours` itself.

    Args:
        at_least: the budget is met from here on.
        at_most: the budget is met up to here.
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
    def met(self) -> bool:
        return (self.at_least is None or self.figure >= self.at_least) and (
            self.at_most is None or self.figure <= self.at_most
        )

    @property
    def budget(self) -> str:
        sign = "x" if self.other else self.unit
        return f"≥ {self.at_least:g} {sign}" if self.at_least is not None else f"≤ {self.at_most:g} {sign}"

    def told(self) -> dict[str, Any]:
        """The line as data."""
        sides = {"ours": self.ours, "other": self.other}
        medians = {name: side.median for name, side in sides.items() if side}
        return {**asdict(self), "medians": medians, "figure": self.figure, "met": self.met}


Measure = Callable[..., Sequence[Line]]


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


@dataclass
class Table:
    """What was measured so far."""

    rounds: int
    lines: list[Line] = field(default_factory=list)

    def __str__(self) -> str:
        head = ("what", "ours", "other side", "figure", "budget", "")
        body = [
            (
                line.what,
                f"{line.ours.name}: {line.ours.median:.0f} {line.unit}",
                f"{line.other.name}: {line.other.median:.0f} {line.unit}" if line.other else "",
                f"{line.figure:.2f} x" if line.other else f"{line.figure:.0f} {line.unit}",
                line.budget,
                "met" if line.met else "missed",
            )
            for line in self.lines
        ]
        widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
        rows = [
            "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) for cells in (head, *body)
        ]
        return "\n".join(["", *(text.rstrip() for text in rows), f"Medians of {self.rounds} rounds.", ""])

    def write(self, path: Path) -> None:
        """Write everything measured, every round of it, as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = {
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": platform.platform(),
            "rounds": self.rounds,
            "lines": [line.told() for line in self.lines],
        }
        path.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
