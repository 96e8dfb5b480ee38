"""`python -m tests.bench.report`: docs/benchmarks.md and its plots, from what the last whole run of the bench measured."""

import json
import os
import re
import subprocess
from typing import Any

from tests.bench.plots import Bar, bars, lines
from tests.bench.table import Growth, Line, Side, spread, told
from tests.support.browsers import installed
from tests.support.server import ROOT

FIGURES = ROOT / "test-results" / "bench.json"
PAGE = ROOT / "docs" / "benchmarks.md"
PLOTS = ROOT / "docs" / "benchmarks"
TITLES = {
    "worker_start": "Cold start of the service worker",
    "restore": "Restoring Python",
    "page_start": "Start of the page",
    "enqueue": "Taking jobs in",
    "drain": "Sending",
    "capture": "From tap to saved",
    "growth": "Growth",
    "footprint": "Bytes and memory",
    "companion": "What keys cost on the server",
}
INTRODUCTION = """# Benchmarks

Written by `make bench`; do not edit. All sides of a comparison run in the same browser in the same run, one after the other, round by
round, on a profile on disk. A figure is the median of {rounds} rounds, with the middle half of them in brackets; a ratio above 1 means that
Holdfast is the faster side. The contenders are in [tests/bench/contenders](../tests/bench/contenders), each with a note on what it does and
what favours it; they run in a browser that nobody watches, since a driver that hears of every request makes all of them dearer. Other
machines give other times; ratios are what lasts.

Measured {date} on {machine}. Load average in its last five minutes: {load:.1f}; the bench alone makes about 2.
"""


def main() -> None:
    """Write the page and its plots."""
    facts = json.loads(FIGURES.read_text())
    PLOTS.mkdir(exist_ok=True)
    parts = [
        INTRODUCTION.format(
            rounds=facts["rounds"], date=facts["measured_at"][:10], machine=machine(), load=facts["load_average"]
        )
    ]
    budgets = [(row, line) for row, line in _lines(facts) if line.met is not None]
    parts.append("## Budgets\n\n" + _budgets([line for _, line in budgets]))
    growths = [Growth(**{name: one[name] for name in ("what", "unit", "sizes", "costs")}) for one in facts["growths"]]
    for row, title in TITLES.items():
        own = [line for name, line in _lines(facts) if name == row]
        if not own:
            continue
        parts.append(f"## {title}\n\n![{title}](benchmarks/{row}.svg)\n\n{_figures(own)}")
        (PLOTS / f"{row}.svg").write_text(bars(title, _groups(own)))
        if row == "growth":
            parts += [_growth(growth, number) for number, growth in enumerate(growths)]
    PAGE.write_text("\n".join(parts))


def machine() -> str:
    """The machine in words that name no one's."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    chromium = installed("chromium")
    version = (
        subprocess.run([chromium, "--version"], capture_output=True, text=True, check=True).stdout if chromium else ""
    )
    found = re.search(r"\d+", version)
    browser = f"Chromium {found[0]}" if found else "Playwright's Chromium"
    return f"a machine with {os.cpu_count()} cores and {memory:.0f} GB, Linux, {browser}"


def _lines(facts: dict[str, Any]) -> list[tuple[str, Line]]:
    found = []
    for one in facts["lines"]:
        fields = {name: one[name] for name in ("what", "unit", "at_least", "at_most")}
        other = Side(**one["other"]) if one["other"] else None
        found.append((one["row"], Line(**fields, ours=Side(**one["ours"]), other=other)))
    return found


def _budgets(budgets: list[Line]) -> str:
    rows = [
        f"| {line.what} | {line.other.name if line.other else ''} | {line.told_figure} | {line.budget} | {line.verdict} |"
        for line in budgets
    ]
    return "\n".join(["| what | against | measured | budget | |", "|---|---|---|---|---|", *rows, ""])


def _figures(own: list[Line]) -> str:
    rows = []
    for line in own:
        other = f"{line.other.name}: {spread(line.other, line.unit)}" if line.other else ""
        ratio = line.told_figure if line.other else ""
        rows.append(f"| {line.what} | {line.ours.name}: {spread(line.ours, line.unit)} | {other} | {ratio} |")
    return "\n".join(["| what | ours | other side | ratio |", "|---|---|---|---|", *rows, ""])


def _groups(own: list[Line]) -> dict[str, list[Bar]]:
    groups: dict[str, list[Bar]] = {}
    for line in own:
        group = groups.setdefault(line.what, [_bar(line.ours, line.unit, ours=True)])
        if line.other:
            group.append(_bar(line.other, line.unit, ours=False))
    return groups


def _bar(side: Side, unit: str, *, ours: bool) -> Bar:
    low, high = side.spread
    return Bar(name=side.name, value=side.median, low=low, high=high, label=told(side.median, unit), ours=ours)


def _growth(growth: Growth, number: int) -> str:
    name = f"growth-{number + 1}"
    (PLOTS / f"{name}.svg").write_text(lines(growth.what, growth.unit, growth.sizes, growth.costs))
    slopes = "; ".join(f"{operation} {growth.slope(operation):.2f}" for operation in growth.costs)
    what = growth.what.capitalize()
    return f"{what}, in {growth.unit}. By how much a cost is multiplied when ten times as much is stored: {slopes}.\n\n![{what}](benchmarks/{name}.svg)\n"


if __name__ == "__main__":
    main()
