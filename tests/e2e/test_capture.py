"""A submit is accepted at any moment after first paint: before Python, without Python, without its listener, without a
worker.
"""

import base64
import hashlib
import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.browsers import (
    ELSEWHERE,
    HELD_PYTHON,
    RESOLVE_ELSEWHERE,
    failed_page,
    forget_script,
    open_without_listener,
    wait_until_ready,
)
from tests.support.inspections import (
    SECRETS,
    Inspection,
    expect_delivered,
    expect_saved,
    fill,
    on_device,
    open_screen,
    received,
    save,
    save_button,
    wait_for_received,
    wait_until_sent,
)
from tests.support.waiting import until_page

pytestmark = pytest.mark.browser

WASM = "pyodide.asm.wasm"
NO_FIREFOX_WASM = {"javascript.options.wasm": False}
WITH_FIREFOX_WASM = {"javascript.options.wasm": True}
NO_FIREFOX_CACHE = {"browser.cache.disk.enable": False, "browser.cache.memory.enable": False}
NO_FIREFOX_WORKER = {"dom.serviceWorkers.enabled": False}
NO_PAGE_WASM = "delete globalThis.WebAssembly"


def expect_no_draft(page: Page) -> None:
    """The form is a fresh one, and no draft is kept."""
    expect(page.locator("#site")).to_have_value("")
    until_page(page, "async () => !(await holdfastInbox.keys()).some((key) => key.startsWith('draft:'))", "no draft")


def double_tap(page: Page, inspection: Inspection) -> None:
    """Fill in the form and press its button twice."""
    fill(page, inspection)
    save_button(page).dblclick()
    expect_saved(page, inspection.site)


# Before Python is ready


def test_submits_before_python_is_ready_are_saved_and_delivered_in_order(relay, chromium, camera):
    """A first visit on a slow network: Python's machine has not come, five forms are saved nevertheless; once it has
    come they go out in the order in which they were saved.
    """
    held = relay.hold("GET", WASM)
    page = chromium().open(relay.url, ready=False)
    for number in range(1, 6):
        save(page, Inspection(site=f"Lock {number}", photos=(camera(number),)))
    queued = on_device(page)
    assert [(job.where, job.site) for job in queued] == [("inbox", f"Lock {number}") for number in range(1, 6)]
    assert page.evaluate("() => holdfast.python") == "starting"
    rows = open_screen(page, "outbox").locator("[data-job-id]")
    expect(rows).to_have_count(5)

    held.let_go()
    wait_until_ready(page)
    expect_delivered(relay.server, queued)
    wait_until_sent(page, [job.id for job in queued])
    assert len(received(relay.server)) == 5


def test_submits_before_python_is_ready_in_firefox_are_saved_and_delivered_in_order(relay, firefox, camera):
    """The same in Firefox."""
    held = relay.hold("GET", WASM)
    page = firefox().open(relay.url, ready=False)
    for number in range(1, 6):
        save(page, Inspection(site=f"Lock {number}", photos=(camera(number),)))
    queued = on_device(page)
    assert [(job.where, job.site) for job in queued] == [("inbox", f"Lock {number}") for number in range(1, 6)]

    held.let_go()
    wait_until_ready(page)
    expect_delivered(relay.server, queued, seconds=60)


# Python unable to start


def test_without_webassembly_the_page_saves_lists_and_exports_and_says_so(relay, chromium, camera):
    """WebAssembly is forbidden in page and worker: a form is saved, listed and exported with its photo, and the page
    says that it cannot be sent from here.
    """
    relay.forbid_wasm()
    page = failed_page(chromium(), relay.url)
    save(page, Inspection(site="Lock 7", photos=(camera(1),)))
    [job] = on_device(page)
    assert job.where == "inbox"

    row = open_screen(page, "inspections").locator(f'[data-job-id="{job.id}"]')
    expect(row).to_contain_text("Saved, not sent from here")
    outbox = open_screen(page, "outbox")
    expect(outbox.locator(f'[data-job-id="{job.id}"]')).to_contain_text("could not start in this browser")
    assert [row["id"] for row in page.evaluate("() => holdfast.jobs()")] == [job.id]
    assert page.evaluate("async () => (await holdfast.capabilities()).python") == "failed"
    with page.expect_download() as download:
        outbox.get_by_role("button", name="Export all").click()
    [entry] = json.loads(Path(download.value.path()).read_text())["inbox"]
    assert (entry["id"], ["site", "Lock 7"] in entry["fields"]) == (job.id, True)
    [photo] = entry["attachments"]
    assert hashlib.sha256(base64.b64decode(photo["data"])).hexdigest() == job.photos[0]
    assert received(relay.server) == []


def test_what_was_saved_without_webassembly_in_firefox_goes_out_once_it_is_there(server, firefox, camera):
    """WebAssembly is switched off in all of Firefox: a form is saved, listed, exported; switched on again it is sent."""
    device = firefox(NO_FIREFOX_WASM)
    page = failed_page(device, server.url)
    save(page, Inspection(site="Lock 7", photos=(camera(1),)))
    [job] = on_device(page)
    outbox = open_screen(page, "outbox")
    expect(outbox.locator(f'[data-job-id="{job.id}"]')).to_contain_text("Saved, not sent from here")
    outbox.get_by_role("button", name="Export all").click()
    expect(page.locator("#outbox-note")).to_contain_text("1 unsent written to")
    assert received(server) == []
    device.kill()

    firefox(WITH_FIREFOX_WASM, profile=device.profile).open(server.url)
    expect_delivered(server, [job], seconds=60)


def test_without_webassembly_in_the_page_the_worker_delivers(server, chromium, camera):
    """Only the page is kept from starting Python: what it saves is sent by the service worker."""
    device = chromium(visited=True)
    device.context.add_init_script(NO_PAGE_WASM)
    page = failed_page(device, server.url)
    save(page, Inspection(site="Lock 7", photos=(camera(1),)))
    [job] = on_device(page)
    expect_delivered(server, [job])


def test_what_was_queued_before_python_failed_is_counted_and_exported(server, chromium, camera):
    """In the queue from an earlier visit, and now neither page nor worker can start Python: what it holds is counted, told
    of and exported beside the inbox, with its photos, and not changed; with Python it is sent.
    """
    device = chromium(*RESOLVE_ELSEWHERE)
    url = f"http://{ELSEWHERE}:{server.port}"
    page = device.open(url)
    server.kill()
    for number in (1, 2):
        save(page, Inspection(site=f"Lock {number}", photos=(camera(number),)))
    page.close()
    server.start()
    page = device.context.new_page()
    page.add_init_script(NO_PAGE_WASM)
    page.goto(url)
    expect(page.locator("#count")).to_have_text("2 unsent", timeout=60_000)
    words = (
        "2 saved before cannot be shown without the part that could not start (WebAssembly is blocked). "
        "They are kept on this device, and “Export all” holds them."
    )
    expect(open_screen(page, "outbox").locator("[data-part=more]:visible")).to_have_text(words)
    expect(open_screen(page, "inspections").locator("#list-failed")).to_contain_text(words)
    open_screen(page, "new")
    save(page, Inspection(site="Lock 3", photos=(camera(3),)))
    expect(page.locator("#count")).to_have_text("3 unsent", timeout=60_000)
    assert page.evaluate("() => holdfast.stats()")["unsent"] == 3
    queued = on_device(page)
    rows = page.evaluate("() => holdfast.jobs()")
    assert [(row["id"], row["state"]) for row in rows] == [(job.id, "pending") for job in reversed(queued)]
    assert page.evaluate("() => holdfast.jobs({ state: 'failed' })") == []
    found = [page.evaluate("(id) => holdfast.job(id)", job.id) for job in queued]
    assert [(job["payload"]["site"], len(job["attachments"])) for job in found] == [(f"Lock {n}", 1) for n in (1, 2, 3)]
    outbox = open_screen(page, "outbox")
    with page.expect_download() as download:
        outbox.get_by_role("button", name="Export all").click()
    expect(page.locator("#outbox-note")).to_contain_text("3 unsent written to")
    exported = json.loads(Path(download.value.path()).read_text())
    assert sorted(job["payload"]["site"] for job in exported["jobs"]) == ["Lock 1", "Lock 2"]
    digests = {
        one["id"]: tuple(hashlib.sha256(base64.b64decode(photo["data"])).hexdigest() for photo in one["attachments"])
        for one in exported["jobs"] + exported["inbox"]
    }
    assert digests == {job.id: job.photos for job in queued}
    assert [(job.state, job.where) for job in queued] == [
        ("pending", "queue"),
        ("pending", "queue"),
        ("pending", "inbox"),
    ]
    page.close()
    device.open(url)
    expect_delivered(server, queued, seconds=90)


def test_what_is_stored_is_listed_while_python_is_still_starting(server, chromium):
    """Received, failed for its rules and waiting ones of before: a client lists, finds and counts them without Python."""
    device = chromium(visited=True)
    page = device.open(server.url)
    save(page, Inspection(site="Lock 1"))
    wait_until_sent(page)
    page.evaluate("() => holdfastInbox.append({ type: 'inspection.create', fields: [['site', 'No day']] })")
    until_page(page, "async () => (await holdfast.jobs({ state: 'failed' })).length === 1", "a failed one")
    page.evaluate("() => holdfast.pause()")
    save(page, Inspection(site="Lock 2"))
    rows = page.evaluate("() => holdfast.jobs()")
    page.context.add_init_script(HELD_PYTHON)
    page.reload()
    page.wait_for_function("() => globalThis.holdfast")
    listed = page.evaluate("() => holdfast.jobs()")
    shown = ("id", "key", "type", "queue", "account", "state", "reason", "attempts", "created_at")
    assert [{name: row[name] for name in shown} for row in listed] == [
        {name: row[name] for name in shown} for row in rows
    ]
    assert [row["state"] for row in page.evaluate("() => holdfast.jobs({ reason: 'invalid' })")] == ["failed"]
    assert len(page.evaluate("() => holdfast.jobs({ limit: 1 })")) == 3
    assert page.evaluate("(id) => holdfast.job(id)", rows[0]["id"])["payload"]["site"] == "Lock 2"
    assert page.evaluate("() => holdfast.job('nobody')") is None
    assert page.evaluate("() => holdfast.stats()")["unsent"] == 2
    assert page.evaluate("() => holdfast.python") == "starting"
    page.evaluate("() => letGo()")
    wait_until_ready(page)
    assert len(page.evaluate("() => holdfast.jobs()")) == 3


def test_without_pythons_machine_the_page_saves_and_says_so(relay, chromium):
    """The file that is Python cannot be fetched: a form is saved all the same, and the page tells that it stays here."""
    relay.missing("GET", WASM)
    page = failed_page(chromium(), relay.url)
    save(page, Inspection(site="Lock 7"))
    [job] = on_device(page)
    row = open_screen(page, "outbox").locator(f'[data-job-id="{job.id}"]')
    expect(row).to_contain_text("Saved, not sent from here")

    relay.pass_on()
    page.reload()
    expect_delivered(relay.server, [job], seconds=60)


# The submit listener missing


@pytest.mark.parametrize("engine", ["chromium", "firefox"])
def test_without_its_listener_the_forms_own_post_is_taken_by_the_worker(relay, engine, browsers, camera):
    """The script with the listener is blocked: the browser posts the form, the worker saves it and redirects to the app,
    which says so; it is delivered with its photo like any other.
    """
    options = {"chromium": (), "firefox": (NO_FIREFOX_CACHE,)}[engine]
    device = browsers[engine](*options, visited=True)
    page = open_without_listener(device, relay)
    fill(page, Inspection(site="Lock 7", severity="high", ticked=("Access is safe",), photos=(camera(1),)))
    save_button(page).click()
    page.wait_for_url("**/#inspections")
    expect_saved(page, "Lock 7")
    expect(page.locator("#inspections #saved")).to_be_visible()
    expect_no_draft(page)
    wait_until_sent(page)

    [job] = on_device(page)
    assert len(job.photos) == 1
    expect_delivered(relay.server, [job])
    [item] = received(relay.server)
    assert [check["label"] for check in item["checklist"] if check["ok"]] == ["Access is safe"]
    assert any(seen.path.endswith("/shim.js") for seen in relay.seen)
    assert all(seen.path != "/submit" for seen in relay.seen)


def test_without_its_listener_the_forms_own_post_has_no_secret(relay, chromium):
    """The worker could not tell a password, or a field that is marked as secret, from the rest."""
    device = chromium(visited=True)
    page = open_without_listener(device, relay)
    page.evaluate(SECRETS)
    page.get_by_label("Pin", exact=True).fill("hunter2")
    page.get_by_label("Token", exact=True).fill("hunter3")
    fill(page, Inspection(site="Lock 7"))
    with page.expect_request("**/submit") as posted:
        save_button(page).click()
    content = posted.value.post_data or ""
    assert "Lock 7" in content
    assert "hunter" not in content
    expect_saved(page, "Lock 7")


def test_what_the_worker_took_of_a_form_does_not_come_back_though_its_tab_died(relay, chromium):
    """The worker has saved the form's own post, and the browser is killed before the page it leads to could look: once is enough."""
    device = chromium(visited=True)
    page = open_without_listener(device, relay)
    fill(page, Inspection(site="Lock 7", notes="Water.\nRust."))
    page.context.add_init_script("if (location.search.includes('saved=')) stop();")
    save_button(page).click()
    wait_for_received(relay.server, 1, seconds=90)
    device.kill()
    page = device.start().open(relay.url)
    expect_no_draft(page)
    assert len(received(relay.server)) == 1


def test_without_its_listener_and_without_a_network_the_worker_still_saves(relay, chromium):
    """The same with the server gone: the worker saves it, and Python takes it in."""
    device = chromium(visited=True)
    page = device.open(relay.url)
    forget_script(page, "shim.js")
    relay.server.kill()
    page = device.open(relay.url)
    fill(page, Inspection(site="Lock 7"))
    save_button(page).click()
    page.wait_for_url("**/#inspections")
    wait_until_ready(page)
    [job] = on_device(page)
    assert (job.site, job.state) == ("Lock 7", "pending")


@pytest.mark.parametrize("address", ["/?saved=0b6e0f0c-3b8e-4b3c-9f43-0b8a8c3f2a11", "/?received=7"])
def test_an_address_that_says_saved_is_not_believed(server, chromium, address):
    """A link says that something was saved, and nothing was: the page says no such thing, and the draft stays."""
    device = chromium(visited=True)
    page = device.open(server.url)
    page.locator("#site").fill("Lock 7")
    expect(page.locator("#draft")).to_contain_text("Draft kept")
    page.close()
    page = device.open(f"{server.url}{address}#inspections")
    expect(page.locator("#site")).to_have_value("Lock 7")
    expect(page.locator("#saved")).to_be_hidden()
    page.wait_for_url("**/#inspections")
    page.close()
    page = device.open(server.url)
    expect(page.locator("#site")).to_have_value("Lock 7")


def test_an_address_of_something_else_that_was_saved_leaves_the_draft_alone(server, chromium):
    """The address names an inspection that is on this device, another one is half-typed: both are told as they are."""
    device = chromium(visited=True)
    page = device.open(server.url)
    save(page, Inspection(site="Lock 7"))
    [job] = on_device(page)
    page.locator("#site").fill("Weir 2")
    expect(page.locator("#draft")).to_contain_text("Draft kept")
    page.close()
    page = device.open(f"{server.url}/?saved={job.id}#inspections")
    expect_saved(page, "Lock 7")
    expect(page.locator("#site")).to_have_value("Weir 2")
    save(page, Inspection(site="Weir 2"))
    expect(page.locator("#new #saved")).to_be_visible()


# Without a service worker


def test_without_its_listener_and_without_a_worker_the_server_has_it_and_the_page_says_so(relay, chromium, camera):
    """The browser posts the form to the server: received there, not saved here, and the draft is done with."""
    relay.missing("GET", "/shim.js")
    device = chromium(*RESOLVE_ELSEWHERE)
    page = device.open(f"http://{ELSEWHERE}:{relay.port}")
    fill(page, Inspection(site="Lock 7", severity="high", ticked=("Access is safe",), photos=(camera(1),)))
    save_button(page).click()
    page.wait_for_url("**/#inspections")
    expect(page.locator("#saved")).to_contain_text("Received by the server: Lock 7. Others can see it.")
    expect_no_draft(page)
    [item] = received(relay.server)
    assert (item["site"], len(item["photos"])) == ("Lock 7", 1)
    wait_until_ready(page)
    assert on_device(page) == []


@pytest.mark.parametrize("engine", ["chromium", "firefox"])
def test_without_a_service_worker_the_page_alone_saves_and_delivers_and_says_so(server, engine, camera, browsers):
    """Plain http to another host name: no worker, no locks, no caches, no randomUUID. The page saves and delivers by
    itself and says that its tab has to stay open.
    """
    options = {"chromium": RESOLVE_ELSEWHERE, "firefox": ({},)}[engine]
    device = browsers[engine](*options)
    page = device.open(f"http://{ELSEWHERE}:{server.port}")
    facts = page.evaluate("() => [isSecureContext, 'serviceWorker' in navigator, 'locks' in navigator]")
    assert facts == [False, False, False]
    expect(open_screen(page, "outbox").locator("#tab-line")).to_contain_text("Keep this tab open to send.")
    open_screen(page, "new")
    server.kill()
    for number in (1, 2):
        save(page, Inspection(site=f"Lock {number}", photos=(camera(number),)))
    queued = on_device(page)
    assert [job.site for job in queued] == ["Lock 1", "Lock 2"]

    server.start()
    open_screen(page, "outbox").get_by_role("button", name="Send now").click()
    expect_delivered(server, queued, seconds=90)
    wait_until_sent(page, [job.id for job in queued])


def test_without_service_workers_in_firefox_the_page_alone_delivers_after_a_killed_browser(server, firefox, camera):
    """Service workers are switched off: what was saved while the server was gone goes out at the next visit."""
    device = firefox(NO_FIREFOX_WORKER)
    page = device.open(server.url)
    server.kill()
    save(page, Inspection(site="Lock 7", photos=(camera(1),)))
    queued = on_device(page)
    device.kill()

    server.start()
    device.start().open(server.url)
    expect_delivered(server, queued, seconds=60)


# Double taps


BLOCKED = """() => new Promise((blocked) => {
    // A tab of an older version is frozen: it keeps its connection, so that a newer version's upgrade waits, and all who open.
    const opening = indexedDB.open("holdfast:reference");
    opening.onsuccess = () => {
        const upgrade = indexedDB.open("holdfast:reference", 99);
        upgrade.onblocked = () => {
            document.getElementById("inspection").requestSubmit();
            blocked();
        };
        upgrade.onupgradeneeded = () => upgrade.transaction.abort();
        upgrade.onerror = (event) => event.preventDefault();
        globalThis.letGo = () => opening.result.close();
    };
})"""


def test_a_tap_while_the_queue_does_not_open_is_one_inspection(server, chromium):
    """Python gives up and turns to the inbox, before the listener does so itself; both would be the same inspection."""
    page = chromium(visited=True).open(server.url)
    fill(page, Inspection(site="Lock 7"))
    page.evaluate(BLOCKED)
    expect_saved(page, "Lock 7")
    page.evaluate("() => letGo()")
    save(page, Inspection(site="Weir 2"))
    wait_for_received(server, 2)
    assert sorted(item["site"] for item in received(server)) == ["Lock 7", "Weir 2"]


def test_a_double_tap_is_one_inspection_with_python_ready(server, chromium, camera):
    """Two quick presses on the button are one job."""
    page = chromium(visited=True).open(server.url)
    double_tap(page, Inspection(site="Lock 7", photos=(camera(1),)))
    wait_until_sent(page)
    expect_delivered(server, on_device(page))
    assert len(received(server)) == 1


def test_a_double_tap_is_one_inspection_before_python_is_ready(relay, chromium):
    """The same while Python is still on its way."""
    held = relay.hold("GET", WASM)
    page = chromium().open(relay.url, ready=False)
    double_tap(page, Inspection(site="Lock 7"))
    queued = on_device(page)
    assert len(queued) == 1
    held.let_go()
    expect_delivered(relay.server, queued, seconds=60)
    assert len(received(relay.server)) == 1


def test_a_double_tap_is_one_inspection_without_webassembly(relay, chromium):
    """The same where Python cannot start."""
    relay.forbid_wasm()
    page = failed_page(chromium(), relay.url)
    double_tap(page, Inspection(site="Lock 7"))
    assert len(on_device(page)) == 1


@pytest.mark.parametrize("engine", ["chromium", "firefox"])
def test_a_double_tap_is_one_inspection_without_a_service_worker(server, engine, browsers):
    """The same where the page is alone."""
    options = {"chromium": RESOLVE_ELSEWHERE, "firefox": ({},)}[engine]
    page = browsers[engine](*options).open(f"http://{ELSEWHERE}:{server.port}", ready=False)
    until_page(page, "async () => Boolean(globalThis.holdfast)", "the client")
    double_tap(page, Inspection(site="Lock 7"))
    queued = on_device(page)
    assert len(queued) == 1
    expect_delivered(server, queued, seconds=60)
    assert len(received(server)) == 1
