"""Delivery in trouble, with the real server: whatever dies, is lost or lies, each inspection arrives exactly once."""

import pytest
from playwright.sync_api import Error, Page, expect

from tests.support.browsers import ELSEWHERE, RESOLVE_ELSEWHERE
from tests.support.inspections import (
    Inspection,
    expect_delivered,
    on_device,
    open_screen,
    received,
    save,
    send_now,
    wait_for_job,
    wait_for_received,
    wait_until_sent,
)

pytestmark = pytest.mark.browser

CLOCK_AHEAD = """(() => {
    // A device whose clock is ten days fast.
    const now = Date.now;
    Date.now = () => now() + 864_000_000;
})();"""


def only(page: Page):
    """The one job of this device."""
    [job] = on_device(page)
    return job


def test_a_server_killed_in_the_middle_of_an_upload_has_the_inspection_once_afterwards(relay, chromium, camera):
    """SIGKILL of the server with half a request read; it starts again; one row, whole."""
    device = chromium(visited=True)
    page = device.open(relay.url)
    held = relay.hold_writes()
    save(page, Inspection(site="Lock 7", photos=(camera(1), camera(2))))
    held.wait()
    job = only(page)
    relay.server.kill()
    relay.pass_on()
    wait_for_job(page, job.id, state="pending", waits="network")
    relay.server.start()
    send_now(page)

    expect_delivered(relay.server, [job], seconds=60)
    wait_until_sent(page, [job.id])
    assert len(received(relay.server)) == 1


def test_an_answer_lost_after_the_commit_is_replayed_and_nothing_happens_twice(relay, chromium, camera):
    """The server has committed, its answer never comes: the same request goes again, is answered from the stored
    response, and the job is received after one counted attempt.
    """
    page = chromium(visited=True).open(relay.url)
    relay.lose_answers(1)
    save(page, Inspection(site="Lock 7", photos=(camera(1),)))
    wait_until_sent(page)
    job = only(page)
    assert (relay.sent(job.key), relay.replayed, job.attempts) == (2, [job.key], 1)
    expect_delivered(relay.server, [job])
    assert len(received(relay.server)) == 1


def test_a_captive_portal_completes_nothing(relay, chromium, camera):
    """Somebody else's 200 to everything is no receipt, and costs no attempt; behind the portal it is delivered."""
    page = chromium(visited=True).open(relay.url)
    relay.captive_portal_at_the_next_write()
    save(page, Inspection(site="Lock 7", photos=(camera(1),)))
    job = only(page)
    row = wait_for_job(page, job.id, state="pending", waits="network")
    assert (relay.sent(job.key), row["attempts"]) == (1, 0)
    assert received(relay.server) == []

    relay.pass_on()
    send_now(page)
    expect_delivered(relay.server, [job])
    wait_until_sent(page, [job.id])
    assert only(page).attempts == 0


def test_a_server_that_is_unwell_for_a_while_is_tried_again_until_it_is_well(relay, chromium, camera):
    """503 for a while: attempts are counted, the wait grows, the job stays, and then it is delivered by itself."""
    page = chromium(visited=True).open(relay.url)
    relay.refuse_writes(503, times=2)
    save(page, Inspection(site="Lock 7", photos=(camera(1),)))
    wait_until_sent(page)
    job = only(page)
    assert relay.sent(job.key) == 3
    assert job.attempts == 2
    expect_delivered(relay.server, [job])


def test_what_the_server_refuses_fails_with_the_servers_words(server, chromium):
    """A device whose clock is wrong lets a date pass that the server refuses: the job fails, kept, with its words."""
    device = chromium(visited=True)
    device.context.add_init_script(CLOCK_AHEAD)
    page = device.open(server.url)
    day = page.evaluate("() => new Date(Date.now()).toISOString().slice(0, 10)")
    save(page, Inspection(site="Lock 7", inspected_on=day))
    job = only(page)
    wait_for_job(page, job.id, state="failed", reason="refused")
    assert received(server) == []
    row = open_screen(page, "outbox").locator(f'[data-job-id="{job.id}"]')
    expect(row).to_have_attribute("data-state", "failed")
    expect(row).to_contain_text("lies in the future")


@pytest.mark.parametrize("locks", [True, False])
def test_two_tabs_send_each_inspection_once(relay, chromium, camera, locks):
    """Two tabs of one device save at once: every key is sent once, and all arrive. On plain http there are neither
    locks nor a worker, and a lease in the database decides who sends.
    """
    device = chromium(visited=True) if locks else chromium(*RESOLVE_ELSEWHERE)
    url = relay.url if locks else f"http://{ELSEWHERE}:{relay.port}"
    tabs = [device.open(url), device.open(url)]
    assert tabs[0].evaluate("() => 'locks' in navigator") == locks
    for number in range(1, 4):
        for name, page in zip("AB", tabs, strict=True):
            save(page, Inspection(site=f"{name} {number}", photos=(camera(number),)))
    for page in tabs:
        wait_until_sent(page)
    jobs = on_device(tabs[0])
    assert len(jobs) == 6
    assert sorted(relay.keys()) == sorted(job.key for job in jobs)
    expect_delivered(relay.server, jobs)


@pytest.mark.parametrize("locks", [True, False])
def test_a_tab_that_crashes_while_it_sends_leaves_its_work_to_the_other(relay, chromium, camera, locks):
    """The sending tab dies with its request on the way; the other tab sends it again, and it arrives once."""
    device = chromium(visited=True) if locks else chromium(*RESOLVE_ELSEWHERE)
    url = relay.url if locks else f"http://{ELSEWHERE}:{relay.port}"
    sender = device.open(url)
    held = relay.hold_writes()
    save(sender, Inspection(site="Lock 7", photos=(camera(1),)))
    held.wait()
    job = only(sender)
    other = device.open(url)
    with pytest.raises(Error):
        sender.goto("chrome://crash")
    relay.pass_on()

    wait_until_sent(other, [job.id], seconds=90)
    expect_delivered(relay.server, [job])
    assert len(wait_for_received(relay.server, 1)) == 1
