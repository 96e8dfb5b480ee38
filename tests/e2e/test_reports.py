"""The clients' four figures on their way from real browsers to `/metrics`."""

import httpx
import pytest

from tests.support.inspections import Inspection, save, wait_until_sent
from tests.support.waiting import until

pytestmark = pytest.mark.browser

REFUSAL = {"title": "No such site"}


def figures(server):
    """What /metrics says of the clients."""
    lines = httpx.get(f"{server.url}/metrics", timeout=10).text.splitlines()
    samples = dict(line.rsplit(" ", 1) for line in lines if line.startswith("holdfast_client"))
    return {name.removeprefix("holdfast_"): float(value) for name, value in samples.items()}


def wait_for_clients(server, count):
    until(lambda: figures(server)["clients"] == count, f"the reports of {count} clients")
    return figures(server)


def test_what_clients_say_of_their_queues_shows_in_the_metrics(relay, chromium):
    """One device whose work was received at the second attempt, one with an inspection that was refused."""
    relay.refuse_writes(503, times=1)
    page = chromium(visited=True).open(relay.url)
    save(page, Inspection(site="Lock 7"))
    wait_until_sent(page)
    first = wait_for_clients(relay.server, 1)
    assert first["client_retries"] == 1
    assert first["client_permanent_failures"] == 0

    relay.refuse_writes(422, times=1, **REFUSAL)
    other = chromium(visited=True).open(relay.url)
    save(other, Inspection(site="Lock 8"))
    both = wait_for_clients(relay.server, 2)
    assert both["client_permanent_failures"] == 1
    assert both["client_depth"] == first["client_depth"] + 1
    assert relay.server.log.read_text().count("/api/metrics") == 2


def test_nobody_reports_where_a_person_does_not_want_it(relay, chromium):
    """A browser that asks sites to keep what they learn to themselves sends its work and tells nothing of it."""
    device = chromium(visited=True)
    device.context.add_init_script("Object.defineProperty(navigator, 'globalPrivacyControl', { value: true })")
    page = device.open(relay.url)
    save(page, Inspection(site="Lock 7"))
    wait_until_sent(page)
    other = chromium(visited=True).open(relay.url)
    save(other, Inspection(site="Lock 8"))
    wait_for_clients(relay.server, 1)
    assert [seen.path for seen in relay.seen if seen.path == "/api/metrics"] == ["/api/metrics"]
