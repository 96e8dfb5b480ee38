"""What a job costs on real IndexedDB stays what it is: few requests, fewer crossings, and no more where more is stored."""

import json

import pytest

ATMOST = {
    "look": (11, 7),
    "enqueue": (6, 3),
    "claim": (22, 14),
    "settle": (9, 5),
    "stats": (6, 8),
    "enqueue behind a pause": (6, 3),
}
"""Requests to IndexedDB, and crossings between Python and JavaScript for them."""


@pytest.mark.browser
def test_a_job_costs_as_much_beside_thousands_as_beside_four(ask) -> None:
    """Requests and crossings, for each step of its way; test_unit_tests.py counts beside 100,000 in the long run.

    Beside none it is no more, and less by what only is read where there is something: the statistics of its state, and the
    look past a head whose time has not come.
    """
    none, few, many = (json.loads(ask("costs", str(each))) for each in (0, 1, 2_500))
    assert few == many
    assert all(tuple(few[name]) <= most for name, most in ATMOST.items()), few
    assert {name: none[name] for name in ("enqueue", "claim")} == {name: few[name] for name in ("enqueue", "claim")}
    assert all(none[name] <= few[name] for name in few), none


@pytest.mark.browser
def test_jobs_that_go_together_are_read_together(ask) -> None:
    """Each has a body to be read and a record to be written twice; the crossings for it are those of one and some: for every
    request of fifty the bodies are read in 8, 16 and 25, so that few are read in vain where they are large.
    """
    one, many = (json.loads(ask("costs_of_batch", str(jobs))) for jobs in (1, 101))
    assert many[0] - one[0] <= 400
    assert many[1] - one[1] <= 6
