"""`make bench`: every row of `rows/`, measured. A missed budget is told in the table; only a row that cannot be measured fails."""

import importlib
from pathlib import Path

import pytest

from tests.bench.table import ROWS

for module in sorted((Path(__file__).parent / "rows").glob("*.py")):
    importlib.import_module(f"tests.bench.rows.{module.stem}")


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_row_is_measured(row, workshop, table):
    """Both sides of the budget in one run."""
    table.add(row.name, row.measure(workshop))
