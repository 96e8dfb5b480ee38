"""What each situation of a job is called, with which sign, and what can be done about it."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.support.inspections import Inspection, expect_saved, fill, save, submit, wait_for_received
from tests.support.screens import advised, entry, expect_actions, fact, icon, line, pill, turn_to
from tests.support.waiting import until

pytestmark = pytest.mark.browser

TIME = re.compile(r"^Received \d\d:\d\d$")
NO_PYTHON_YET = "WebAssembly.compile = WebAssembly.instantiate = () => new Promise(() => {})"
# The browser promises a sync and makes none: else a page that waits too long for the promise wakes the worker itself, which
# takes in what it finds.
NO_SYNC = "globalThis.SyncManager && (SyncManager.prototype.register = async () => {})"
NEARLY_FULL = """if (navigator.storage) {
    navigator.storage.estimate = async () => ({ usage: 9_958_000_000, quota: 10_000_000_000 });
}"""
# The queue's lock is never granted to this page, and its clock can be set forward.
NO_LOCK = """globalThis.LockManager && (() => {
    const request = LockManager.prototype.request;
    LockManager.prototype.request = function (name, ...given) {
        return name.includes(":queue:") ? new Promise(() => {}) : request.call(this, name, ...given);
    };
    const now = Date.now;
    globalThis.later = 0;
    Date.now = () => now() + later;
})();"""
PASS = "(ms) => { later += ms; }"
# What a drain in another tab says when it ends: the leader looks at once.
LOOK = """() => {
    const channel = new BroadcastChannel(holdfastInbox.channel);
    channel.postMessage({ kind: "drained", queue: "other", wake_at: 1 });
    channel.close();
}"""
REFUSAL = {
    "type": "https://holdfast.example/problems/invalid",
    "title": "The inspection breaks a rule",
    "errors": [{"pointer": "/inspected_on", "detail": "“Inspected on” lies in the future. Correct the date."}],
}


@pytest.fixture
def page(relay, chromium):
    """The app, opened by someone who has been here before; between it and the server stands `relay`."""
    return chromium(visited=True).open(relay.url)


def expect_row(row, words, *, tone, sign, seconds=30):
    expect(pill(row)).to_have_text(words, timeout=1_000 * seconds)
    expect(row).to_have_attribute("data-tone", tone)
    expect(icon(row)).to_have_attribute("href", f"#i-{sign}")


def saved_before_python(relay, chromium):
    """A page whose Python is still starting, with one inspection saved."""
    device = chromium(visited=True)
    device.context.add_init_script(f"{NO_PYTHON_YET}; {NO_SYNC}")
    page = device.open(relay.url, ready=False)
    device.offline()
    fill(page, Inspection(site="Lock 7"))
    submit(page)
    expect_saved(page, "Lock 7")
    return page


def test_nothing_to_show_is_said_in_words(page):
    """An empty list invites to the first inspection; an empty Outbox says that nothing is waiting."""
    turn_to(page, "Inspections")
    empty = page.locator("#list-empty")
    expect(empty).to_contain_text("No inspections yet")
    expect(empty).to_contain_text("The first one you save appears here at once, sent or not.")
    expect(empty.get_by_role("link", name="New inspection")).to_be_visible()
    turn_to(page, "Outbox")
    expect(page.locator("#outbox-empty")).to_contain_text("Nothing is waiting")
    expect(page.locator("#count")).to_have_text("All received")


def test_a_job_saved_before_python_is_there_reads_saved_on_this_device(relay, chromium):
    """Python is still starting: the row is there at once, says what is certain, and the header counts it."""
    page = saved_before_python(relay, chromium)
    for screen, title in (("outbox", "Outbox"), ("inspections", "Inspections")):
        turn_to(page, title)
        row = entry(page, "Lock 7", on=screen)
        expect_row(row, "Saved on this device", tone="waiting", sign="device")
        expect(row).to_have_attribute("data-state", "pending")
    expect(page.locator("#count")).to_have_text("1 unsent")


def test_what_was_saved_is_exported_while_python_is_still_starting(relay, chromium):
    """Nobody waits for Python: the export is there at once, with what is in the inbox."""
    page = saved_before_python(relay, chromium)
    turn_to(page, "Outbox")
    with page.expect_download(timeout=30_000) as download:
        page.locator("#outbox").get_by_role("button", name="Export all").click()
    exported = json.loads(download.value.path().read_text())
    assert [dict(entry["fields"])["site"] for entry in exported["inbox"]] == ["Lock 7"]
    assert page.evaluate("() => holdfast.python") == "starting"


def test_what_was_saved_is_exported_where_python_no_longer_answers(page):
    """It is asked, and given up on: what the queue holds is read without it."""
    page.context.set_offline(True)
    save(page, Inspection(site="Lock 7"))
    page.evaluate("() => holdfast.connect(() => new Promise(() => {}))")
    exported = page.evaluate("() => holdfast.export({ timeout_ms: 8000 })")
    assert [job["payload"]["site"] for job in exported["jobs"]] == ["Lock 7"]
    assert exported["inbox"] == []


def test_a_device_that_is_nearly_full_is_said_before_it_is_full(relay, chromium):
    """Also beside the form, with what to do; in every tab, and it goes once there is room."""
    device = chromium(visited=True)
    device.context.add_init_script(NEARLY_FULL)
    page = device.open(relay.url)
    banner = page.locator("#nearly-full")
    expect(banner).to_be_visible(timeout=30_000)
    expect(banner).to_contain_text("Almost out of space. This browser has 42.0 MB left for what is saved here.")
    expect(banner.get_by_role("button")).to_have_text(["Send now", "Export all"])
    expect(page.locator("#alarm")).to_have_text("Almost out of space on this device.")
    save(page, Inspection(site="Lock 7"))
    wait_for_received(relay.server, 1)


def test_a_queue_that_stands_still_is_said_with_what_has_not_moved(relay, chromium):
    """Nobody gets the queue's lock, ten minutes pass: the Outbox names what could have gone, and what to do."""
    device = chromium(visited=True)
    device.context.add_init_script(NO_LOCK)
    page = device.open(relay.url)
    save(page, Inspection(site="Lock 7"))
    turn_to(page, "Outbox")
    page.evaluate(PASS, 11 * 60_000)
    banner = page.locator("#stalled")

    def is_said() -> bool:
        page.evaluate(PASS, 31_000)
        page.evaluate(LOOK)
        return banner.is_visible()

    until(is_said, "the alarm, after two looks of the leader, which it makes in its own time", seconds=60)
    expect(banner).to_contain_text(re.compile(r"Nothing has moved since .*\d\d:\d\d\. “Lock 7” could have been sent"))
    expect(banner.get_by_role("button")).to_have_text(["Send now", "Export all"])


def test_offline_a_job_waits_for_network_and_the_next_for_its_turn(page, relay):
    """The first says what it waits for and that it costs nothing, the second whom it goes after; a banner says why."""
    page.context.set_offline(True)
    for site in ("Harbour Street 4, cellar", "Lock 7"):
        save(page, Inspection(site=site))
    turn_to(page, "Outbox")
    first, second = entry(page, "Harbour Street 4"), entry(page, "Lock 7")
    expect_row(first, "Waiting for network", tone="waiting", sign="offline")
    expect(line(first)).to_have_text("Being offline uses up no attempt.")
    expect_actions(first, "Retry now", "Cancel")
    expect(fact(first, "Attempts used")).to_have_text("0 of 8")
    expect_row(second, "Waiting its turn", tone="waiting", sign="turn")
    expect(line(second)).to_contain_text("Goes after “Harbour Street 4, cellar”")
    expect_actions(second, "Cancel")
    expect(page.locator("#offline")).to_contain_text(
        "No network. Go on working: what you save is kept here and sent when the network is back."
    )
    expect(page.locator("#count")).to_have_text("2 unsent")
    turn_to(page, "Inspections")
    expect(page.locator("#only-here")).to_have_text(
        re.compile(r"2 of these 2 are on this device only\. Others cannot see them yet\.")
    )


def test_a_silent_server_is_told_apart_from_no_network(page, relay):
    """The network is there, the server is not: the banner says so and when the next look is."""
    relay.server.stop()
    save(page, Inspection(site="Lock 7"))
    turn_to(page, "Outbox")
    expect_row(entry(page, "Lock 7"), "Waiting for network", tone="waiting", sign="offline")
    banner = page.locator("#silent")
    expect(banner).to_contain_text("The server does not answer. Nothing is lost; the next look is in ")
    expect(banner.get_by_role("button", name="Send now")).to_be_visible()
    expect(page.locator("#offline")).to_be_hidden()


def test_sending_shows_how_much_has_been_handed_over_and_received_only_the_receipt(page, relay, camera):
    """While photos go out the row says how far; it says "Received" with the time once the server has said so."""
    held = relay.hold_writes()
    save(page, Inspection(site="Lock 7", photos=(camera(1), camera(2))))
    held.wait()
    turn_to(page, "Outbox")
    row = entry(page, "Lock 7")
    expect(pill(row)).to_have_text(re.compile(r"^Sending… \d+ %$"))
    expect(row).to_have_attribute("data-tone", "moving")
    expect(row).to_have_attribute("data-state", "processing")
    expect(line(row)).to_contain_text(re.compile(r"[\d.]+ of [\d.]+ MB handed to the network\."))
    expect(row.get_by_role("progressbar")).to_be_visible()
    expect_actions(row, "Cancel")
    expect(icon(row)).to_have_attribute("href", "#i-sending")

    held.let_go()
    expect_row(row, TIME, tone="received", sign="received")
    expect(row).to_have_attribute("data-state", "completed")
    expect_actions(row)
    expect(page.locator("#count")).to_have_text("All received")
    expect(page.locator("#outbox-empty")).to_contain_text(
        re.compile(r"All that was saved on this device has been received, the last at \d\d:\d\d\.")
    )
    turn_to(page, "Inspections")
    expect_row(entry(page, "Lock 7", on="inspections"), TIME, tone="received", sign="received")


def test_a_refusal_says_which_field_and_what_to_do(page, relay):
    """The server answers 422: the row needs the person, advises to edit, and says the server's reason."""
    relay.refuse_writes(422, **REFUSAL)
    save(page, Inspection(site="Lock 7"))
    turn_to(page, "Outbox")
    row = entry(page, "Lock 7")
    expect_row(row, "Failed", tone="yours", sign="failed")
    expect(line(row)).to_have_text(
        "The server refused it: “Inspected on” lies in the future. Correct the date, then send it again."
    )
    expect_actions(row, "Edit", "Retry now", "Cancel")
    assert advised(row) == ["Edit"]
    expect(page.locator("#group-yours-title")).to_have_text("Needs you (1)")
    expect(page.locator("#count")).to_have_text("1 unsent, 1 needs you")
    expect(page.locator("#alarm")).to_have_text("“Lock 7” needs you: failed.")


def test_after_a_server_fault_a_job_is_sent_again_by_itself(page, relay):
    """The row says when and why; nobody presses anything, and a moment later it is received."""
    relay.refuse_writes(503, times=1)
    save(page, Inspection(site="Lock 7"))
    turn_to(page, "Outbox")
    row = entry(page, "Lock 7")
    expect_row(row, TIME, tone="received", sign="received", seconds=10)
    assert len(relay.keys()) == 2


def test_after_the_last_attempt_a_job_says_so_and_can_be_sent_round_again(page, relay):
    """Eight server faults, some of them asked for: then it is parked, says so, and "Retry now" delivers it."""
    relay.refuse_writes(503)
    save(page, Inspection(site="Lock 7"))
    turn_to(page, "Outbox")
    row = entry(page, "Lock 7")
    waiting = row.filter(has=page.locator(".pill", has_text=re.compile(r"^Waiting to retry in \d+ s$|^Retrying now$")))
    expect(icon(waiting)).to_have_attribute("href", "#i-retry", timeout=30_000)
    expect(line(waiting)).to_have_text("The server answered with a fault of its own (503).")
    used = fact(row, "Attempts used")
    for attempt in range(1, 8):
        until(lambda least=attempt: int(used.inner_text().split()[0]) >= least, f"attempt {attempt}")
        row.locator('[data-do="retry"]').evaluate_all("(buttons) => buttons[0]?.click()")
    expect_row(row, "Failed", tone="yours", sign="failed")
    expect(line(row)).to_contain_text("All 8 attempts are used; the last ended with a server fault (503).")
    expect_actions(row, "Retry now", "Cancel")
    assert len(relay.keys()) == 8

    relay.pass_on()
    row.get_by_role("button", name="Retry now").click()
    expect_row(row, TIME, tone="received", sign="received")
    assert len(wait_for_received(relay.server, 1)) == 1


def test_a_cancelled_job_is_struck_out_and_never_sent(page, relay):
    """Cancelled while it waits: the row says by whom, when, and that nothing of it had been sent."""
    page.context.set_offline(True)
    save(page, Inspection(site="Lock 7"))
    turn_to(page, "Outbox")
    row = entry(page, "Lock 7")
    row.get_by_role("button", name="Cancel").click()
    expect_row(row, "Cancelled", tone="ended", sign="cancelled")
    expect(row).to_have_attribute("data-state", "cancelled")
    expect(line(row)).to_have_text(re.compile(r"^Cancelled by you at \d\d:\d\d, before any of it was sent\.$"))
    expect(page.locator("#count")).to_have_text("All received")
    page.context.set_offline(False)
    save(page, Inspection(site="Lock 8"))
    assert [item["site"] for item in wait_for_received(relay.server, 1)] == ["Lock 8"]


def test_cancelling_what_is_being_sent_asks_first(page, relay):
    """It may have arrived already: the row asks, "No" leaves everything as it was, "Yes" says what is known."""
    held = relay.hold_writes()
    save(page, Inspection(site="Lock 7"))
    held.wait()
    turn_to(page, "Outbox")
    row = entry(page, "Lock 7")
    expect(row).to_have_attribute("data-state", "processing")
    row.get_by_role("button", name="Cancel").click()
    expect(line(row)).to_have_text("It may have arrived. Cancel anyway?")
    row.get_by_role("button", name="No, keep it").click()
    expect(row).to_have_attribute("data-state", "processing")
    expect_actions(row, "Cancel")
    row.get_by_role("button", name="Cancel").click()
    row.get_by_role("button", name="Yes, cancel it").click()
    expect_row(row, "Cancelled", tone="ended", sign="cancelled")
    expect(line(row)).to_contain_text("It may already have reached the server.")


def test_a_job_that_cannot_be_sent_from_here_says_why_and_can_be_exported(relay, chromium):
    """WebAssembly is blocked: what was saved is listed as kept, with the reason, and both ways out."""
    device = chromium(visited=True)
    device.context.add_init_script(f"delete globalThis.WebAssembly; {NO_SYNC}")
    page = device.open(relay.url, ready=False)
    page.wait_for_function("() => globalThis.holdfast?.python === 'failed'")
    device.offline()
    save(page, Inspection(site="Lock 7"))
    expect(page.locator("#saved")).to_contain_text("It is kept until the part that sends can start.")
    turn_to(page, "Outbox")
    row = entry(page, "Lock 7")
    expect_row(row, "Saved, not sent from here", tone="waiting", sign="inbox")
    expect(line(row)).to_contain_text("could not start in this browser (WebAssembly is blocked).")
    expect_actions(row, "Start again", "Export")
    with page.expect_download() as download:
        row.get_by_role("button", name="Export").click()
    assert download.value.suggested_filename.startswith("holdfast-unsent-")
