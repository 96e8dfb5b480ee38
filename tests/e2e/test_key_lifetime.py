"""A server that forgets its keys: who may be hurt by that is told before, and nothing is sent that could be done twice."""

import pytest
from playwright.sync_api import expect

from tests.support.inspections import Inspection, received, save, send_now, wait_for_received
from tests.support.screens import entry, expect_actions, line, pill

pytestmark = pytest.mark.browser

ENQUEUE = """(ttl_ms) => {
    globalThis.warned = [];
    holdfast.addEventListener("warning", ({ detail }) => warned.push(detail));
    const payload = { site: "Lock 7", inspected_on: "2026-01-02", severity: "low" };
    return holdfast.enqueue("inspection.create", payload, { ttl_ms });
}"""


def test_a_job_that_outlives_its_key_is_warned_of(relay, chromium):
    """Its time limit is two days and the server keeps keys for one: the page's script and its console hear of it."""
    relay.keep_keys_for(86_400_000)
    page = chromium(visited=True).open(relay.url)
    said = []
    page.on("console", lambda message: said.append(message.text))
    job = page.evaluate(ENQUEUE, 2 * 86_400_000)
    page.wait_for_function("() => warned.length")
    assert page.evaluate("() => warned") == [{"id": job["id"], "key_lifetime_ms": 86_400_000}]
    wait_for_received(relay.server, 1)
    assert [job["id"] in text and "longer than the server keeps its key" in text for text in said] == [True]


def test_what_was_sent_without_an_answer_is_not_sent_again_once_its_key_is_forgotten(relay, chromium):
    """The answer was lost and the network with it; when it is back the server keeps keys too short: a person decides."""
    page = chromium(visited=True).open(relay.url)
    save(page, Inspection(site="Lock 6"))
    wait_for_received(relay.server, 1)
    relay.lose_answers()
    relay.captive_portal()
    save(page, Inspection(site="Lock 7"))
    wait_for_received(relay.server, 2)
    send_now(page)
    row = entry(page, "Lock 7")
    expect(pill(row)).to_have_text("Waiting for network")

    relay.pass_on()
    relay.keep_keys_for(1)
    send_now(page)
    expect(pill(row)).to_have_text("Outcome unknown")
    expect(line(row)).to_contain_text("The server can no longer tell a repeat from a new one")
    expect_actions(row, "Look in the list", "Send again", "Cancel")
    assert len(relay.keys()) == 2
    assert len(received(relay.server)) == 2
