"""A route that lets what waits share requests: fewer of them, each job once and in order, whatever becomes of an answer."""

import pytest

from tests.conftest import visited_profile
from tests.support.browsers import launch_chromium
from tests.support.inspections import expect_delivered, on_device, wait_until_sent
from tests.support.relay import INSPECTIONS

pytestmark = pytest.mark.browser

BATCH = "/api/batch"
PAUSE = "() => holdfast.call('pause', { type: 'inspection.create' })"
RESUME = "() => holdfast.call('resume', { type: 'inspection.create' })"
ENQUEUE = """async (sites) => {
    for (const site of sites) {
        await holdfast.enqueue("inspection.create", { site, inspected_on: "2026-01-02", severity: "low", notes: "Tür, 5 €" });
    }
}"""
SITES = [f"Lock {number}" for number in range(30)]


@pytest.fixture(scope="module")
def build(batching_build):
    """The app whose inspections go together, in place of the usual one."""
    return batching_build


@pytest.fixture(scope="module")
def _visited_chromium(tmp_path_factory, build, port, playwright):
    folder = tmp_path_factory.mktemp("chromium")
    return visited_profile(folder, build, port, lambda profile: launch_chromium(playwright, profile, ()))


@pytest.fixture
def page(relay, chromium):
    """A tab in which thirty inspections wait."""
    page = chromium(visited=True).open(relay.url)
    page.evaluate(PAUSE)
    page.evaluate(ENQUEUE, SITES)
    return page


def writes(relay) -> list[str]:
    """Where each write went."""
    return [seen.path for seen in relay.seen if seen.method == "POST" and seen.path in {BATCH, INSPECTIONS}]


def test_thirty_inspections_are_one_request(relay, page):
    """Received once each, in order, under their own keys."""
    queued = on_device(page)
    page.evaluate(RESUME)
    expect_delivered(relay.server, queued)
    wait_until_sent(page)
    assert writes(relay) == [BATCH]
    assert {(job.state, job.attempts, job.fence) for job in on_device(page)} == {("completed", 0, 1)}


def test_a_lost_answer_to_many_is_made_good_one_by_one(relay, page):
    """The server has done all thirty; each is sent again by itself under the same key, and is known to it."""
    queued = on_device(page)
    relay.lose_answers(path=BATCH)
    page.evaluate(RESUME)
    wait_until_sent(page, seconds=60)
    assert writes(relay) == [BATCH, *[INSPECTIONS] * 30]
    assert relay.replayed == [job.key for job in queued]
    expect_delivered(relay.server, queued)
    assert {(job.state, job.attempts, job.fence) for job in on_device(page)} == {("completed", 0, 2)}


def test_a_server_without_batches_gets_one_by_one(relay, page):
    """What is refused as a whole costs one request, and nothing else."""
    queued = on_device(page)
    relay.missing("POST", BATCH)
    page.evaluate(RESUME)
    expect_delivered(relay.server, queued)
    wait_until_sent(page)
    assert writes(relay) == [BATCH, *[INSPECTIONS] * 30]
