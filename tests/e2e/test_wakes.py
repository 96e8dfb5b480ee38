"""What makes the queue look again: the network, the person, the platform; and what is done where the platform has nothing."""

import pytest
from playwright.sync_api import expect

from tests.support.browsers import NO_SYNC, failed_page
from tests.support.inspections import Inspection, on_device, save, wait_for_received
from tests.support.screens import entry, pill, turn_to
from tests.support.waiting import until

pytestmark = pytest.mark.browser

PROBE = "/api/flags"
NEVER_SYNCS = "SyncManager.prototype.register = () => { globalThis.asked = true; return new Promise(() => {}); };"
RETURNS = {
    "online": "() => window.dispatchEvent(new Event('online'))",
    "pageshow": "() => window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))",
    "visibilitychange": "() => document.dispatchEvent(new Event('visibilitychange'))",
}


@pytest.mark.parametrize("event", RETURNS)
def test_a_person_or_network_that_returns_is_a_reason_to_send_at_once(relay, chromium, event):
    """Nobody was there a moment ago, so the next look by itself is half a minute away; the event makes one now."""
    page = chromium(*NO_SYNC, visited=True).open(relay.url)
    relay.server.stop()
    looked = len(probes(relay))
    save(page, Inspection(site="Lock 7"))
    turn_to(page, "Outbox")
    until(lambda: len(probes(relay)) > looked, "a look at the server")
    expect(pill(entry(page, "Lock 7"))).to_have_text("Waiting for network")
    relay.server.start()
    looked = len(probes(relay))
    page.evaluate(RETURNS[event])
    wait_for_received(relay.server, 1, seconds=20)
    assert len(probes(relay)) > looked


@pytest.mark.parametrize("sync", ["refuses", "never answers"])
def test_a_page_without_python_wakes_the_worker_by_a_message_where_sync_does_not(relay, chromium, sync):
    """Background Sync says no, or nothing: the worker hears of the save all the same, starts Python and sends."""
    device = chromium(*(NO_SYNC if sync == "refuses" else ()), visited=True)
    device.context.add_init_script("if (globalThis.SyncManager) " + NEVER_SYNCS if sync == "never answers" else "")
    device.context.add_init_script("window.WebAssembly = undefined;")  # of the page; the worker has its own
    page = failed_page(device, relay.url)
    save(page, Inspection(site="Lock 7"))
    wait_for_received(relay.server, 1)
    [job] = on_device(page)
    assert relay.sent(job.key) == 1


def probes(relay):
    """The looks at the server so far."""
    return [seen for seen in relay.seen if seen.path == PROBE]
