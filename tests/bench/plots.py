"""Plots as SVG, no more than the bench needs: bars with their spread, and lines on logarithmic scales. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 760
LABEL, FIGURE = 250, 150
BAR, GAP, GROUP = 18, 6, 30
PLOT_HEIGHT, MARGIN = 300, 60
OURS, OTHERS, INK = "#0f766e", "#94a3b8", "#64748b"
COLOURS = ("#0f766e", "#b45309", "#4f46e5", "#be123c")
HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
    'font-family="system-ui, sans-serif" font-size="13" fill="{ink}"><title>{title}</title>'
)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar: a median and the quartiles around it."""

    name: str
    value: float
    low: float
    high: float
    label: str
    ours: bool


def bars(title: str, groups: Mapping[str, Sequence[Bar]]) -> str:
    """Groups of horizontal bars, each group on its own scale from zero."""
    parts, y = [], 10
    for heading, group in groups.items():
        y += GROUP
        parts.append(_text(0, y - 12, heading, 'font-weight="600"'))
        longest = max(max(bar.high, bar.value) for bar in group)
        scale = (WIDTH - LABEL - FIGURE) / longest
        for bar in group:
            middle = y + BAR / 2
            parts += [
                _text(LABEL - 10, middle + 4, bar.name, 'text-anchor="end"'),
                (
                    f'<rect x="{LABEL}" y="{y}" width="{bar.value * scale:.1f}" height="{BAR}" rx="2" '
                    f'fill="{OURS if bar.ours else OTHERS}"/>'
                ),
                (
                    f'<path d="M{LABEL + bar.low * scale:.1f} {middle}H{LABEL + bar.high * scale:.1f}" stroke="{INK}" '
                    'stroke-width="2"/>'
                ),
                _text(LABEL + max(bar.high, bar.value) * scale + 8, middle + 4, bar.label),
            ]
            y += BAR + GAP
    return _svg(title, y + 10, parts)


def lines(title: str, unit: str, sizes: Sequence[int], costs: Mapping[str, Sequence[float]]) -> str:
    """A line for each name over `sizes`, both scales logarithmic; named at its right end."""
    values = [cost for row in costs.values() for cost in row]
    bottom, top = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    top = max(top, bottom + 1)
    right = WIDTH - FIGURE - 20

    def x(size: float) -> float:
        first, last = math.log10(sizes[0]), math.log10(sizes[-1])
        return MARGIN + (right - MARGIN) * (math.log10(size) - first) / (last - first)

    def y(cost: float) -> float:
        return 20 + PLOT_HEIGHT * (top - math.log10(cost)) / (top - bottom)

    parts = []
    for power in range(bottom, top + 1):
        height = y(10**power)
        parts.append(f'<path d="M{MARGIN} {height:.1f}H{right}" stroke="{OTHERS}" stroke-width="0.5"/>')
        parts.append(_text(MARGIN - 8, height + 4, f"{10**power:g}", 'text-anchor="end"'))
    parts += [_text(x(size), PLOT_HEIGHT + 40, f"{size:,}", 'text-anchor="middle"') for size in sizes]
    parts.append(_text(MARGIN - 50, 12, unit))
    names = _apart([(y(row[-1]), name) for name, row in costs.items()])
    for colour, (name, row) in zip(COLOURS, costs.items(), strict=False):
        points = " ".join(f"{x(size):.1f},{y(cost):.1f}" for size, cost in zip(sizes, row, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(right + 8, names[name] + 4, name, f'style="fill:{colour}"'))
    return _svg(title, PLOT_HEIGHT + 55, parts)


def _apart(wanted: list[tuple[float, str]]) -> dict[str, float]:
    """Heights of labels, near those wanted, no two on each other."""
    places: dict[str, float] = {}
    free = -math.inf
    for height, name in sorted(wanted):
        places[name] = max(height, free)
        free = places[name] + 16
    return places


def _text(x: float, y: float, words: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(words)}</text>'


def _svg(title: str, height: int, parts: Sequence[str]) -> str:
    head = HEAD.format(width=WIDTH, height=height, ink=INK, title=escape(title))
    return "\n".join([head, *parts, "</svg>"]) + "\n"
