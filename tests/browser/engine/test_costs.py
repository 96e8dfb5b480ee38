"""What a job costs on real IndexedDB stays what it is: few requests, fewer crossings, and no more where more is stored."""

import json

import pytest

ATMOST = {
    "look": (11, 7),
    "enqueue": (7, 3),
    "claim, send and settle": (31, 19),
    "enqueue behind a pause": (7, 3),
}
"""Requests to IndexedDB, and crossings between Python and JavaScript for them."""


@pytest.mark.browser
def test_a_job_costs_as_much_beside_thousands_as_beside_four(ask) -> None:
    """Requests and crossings, for each step of its way."""
    few, many = (json.loads(ask("costs", str(each))) for each in (1, 2_500))
    assert few == many
    assert all(tuple(few[name]) <= most for name, most in ATMOST.items()), few
