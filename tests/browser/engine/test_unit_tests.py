"""The engine's unit tests pass on CPython, and the same files pass on the Python that runs in the browser."""

from pathlib import Path

import pytest

FILES = sorted(path.name for path in (Path(__file__).parents[2] / "unit" / "holdfast").glob("test_*.py"))


@pytest.mark.browser
@pytest.mark.parametrize("name", FILES)
def test_unit_tests_pass_inside_pyodide(ask_pytest, name) -> None:
    """Every test of the file, by its own words."""
    passed, failed = ask_pytest("run_unit_tests", name)
    assert failed == []
    assert passed > 0
