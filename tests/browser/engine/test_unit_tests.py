"""Unit tests of what is pure pass on CPython, and the same files pass on the Python that runs in the browser."""

import os
from pathlib import Path

import pytest

ON_INDEXEDDB = [
    "test_actions.py",
    "test_adopting.py",
    "test_alarms.py",
    "test_batch.py",
    "test_delivery.py",
    "test_events.py",
    "test_inbox.py",
    "test_lanes.py",
    "test_limits.py",
    "test_model.py",
    "test_recovery.py",
    "test_reports.py",
    "test_statistics.py",
    "test_tidy.py",
    "test_upkeep.py",
]
if os.environ.get("HOLDFAST_LONG"):
    ON_INDEXEDDB += ["test_costs.py", "test_found_by_simulation.py", "test_histories.py", "test_soundness.py"]
UNIT_TESTS = Path(__file__).parents[2] / "unit"
FILES = sorted(f"holdfast/{path.name}" for path in (UNIT_TESTS / "holdfast").glob("test_*.py"))
FILES += ["app/test_forms.py", "app/test_signing.py", "app/test_words.py"]


@pytest.mark.browser
@pytest.mark.parametrize("path", FILES)
def test_unit_tests_pass_inside_pyodide(ask_pytest, path) -> None:
    """Every test of the file, by its own words."""
    passed, failed = ask_pytest("run_unit_tests", path)
    assert failed == []
    assert passed > 0


@pytest.mark.browser
@pytest.mark.parametrize("name", ON_INDEXEDDB)
def test_unit_tests_pass_on_indexeddb(ask_pytest, name) -> None:
    """The same tests of the same file, with real IndexedDB instead of memory."""
    passed, failed = ask_pytest("run_unit_tests_on_indexeddb", f"holdfast/{name}")
    assert failed == []
    assert passed > 0
