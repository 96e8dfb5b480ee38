"""What the bench says of what it measured."""

import json
from xml.etree import ElementTree as ET

import pytest

from tests.bench.plots import Bar, bars, lines
from tests.bench.table import Growth, Line, Side, Table


def line(ours: float, other: float | None = None, **budget: float) -> Line:
    other_side = Side(name="theirs", values=[other]) if other is not None else None
    return Line(what="a thing", unit="ms", ours=Side(name="ours", values=[ours]), other=other_side, **budget)


def test_a_ratio_above_one_means_that_ours_takes_less():
    assert line(10, 30).figure == 3


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        (line(10, 30, at_least=3), "met"),
        (line(10, 29, at_least=3), "missed"),
        (line(200, at_most=200), "met"),
        (line(201, at_most=200), "missed"),
        (line(10, 30), ""),
    ],
)
def test_a_budget_is_met_at_its_very_figure(measured, verdict, tmp_path):
    assert measured.verdict == verdict
    table = Table(rounds=1, path=tmp_path / "bench.json")
    table.add("a_row", [measured])
    assert verdict in str(table)


def test_a_side_tells_its_median_and_where_the_middle_half_lies():
    side = Side(name="ours", values=[1, 2, 3, 4, 100])
    assert (side.median, side.spread) == (3, (2, 4))


def test_a_cost_that_does_not_grow_has_the_slope_one():
    sizes = [100, 1_000, 10_000]
    growth = Growth(what="time", unit="ms", sizes=sizes, costs={"flat": [5, 5, 5], "linear": [1, 10, 100]})
    assert growth.slope("flat") == pytest.approx(1)
    assert growth.slope("linear") == pytest.approx(10)


def test_every_value_of_every_round_is_written(tmp_path):
    table = Table(rounds=2, path=tmp_path / "bench.json")
    growth = Growth(what="time", unit="ms", sizes=[1, 10], costs={"flat": [5, 5]})
    table.add("a_row", [Line(what="a thing", unit="ms", ours=Side(name="ours", values=[1, 2])), growth])
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written["lines"][0]["ours"]["values"] == [1, 2]
    assert written["lines"][0]["row"] == "a_row"
    assert written["growths"][0]["slopes"] == {"flat": pytest.approx(1)}


def test_plots_are_well_formed_and_name_what_they_show():
    bar = Bar(name="<ours>", value=2, low=1, high=3, label="2 ms", ours=True)
    for plot in (bars("Title", {"A & B": [bar]}), lines("Title", "ms", [1, 10], {"flat": [5, 5]})):
        root = ET.fromstring(plot)
        assert root[0].text == "Title"
