"""Two builds: a new version is offered, never forced, uses its own files alone, and loses nothing."""

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.support.browsers import wait_until_offline_capable, wait_until_ready
from tests.support.inspections import (
    Inspection,
    expect_delivered,
    expect_saved,
    fill,
    on_device,
    received,
    save,
    submit,
    wait_until_sent,
)
from tests.support.screens import entry, pill, turn_to
from tests.support.waiting import until_page

pytestmark = pytest.mark.browser

RUNTIME = re.compile(r"^/runtime/([0-9a-f]{16})/")
CACHES = "() => caches.keys()"
VERSION_OF_THE_WORKER = """async () => {
    const { active } = await navigator.serviceWorker.ready;
    return (await holdfast.ask(active, "version")).ok;
}"""
LOOK_FOR_UPDATE = "async () => { await (await holdfast.registration).update(); }"


class Files:
    """The builds whose files a tab asks for, page load by page load."""

    def __init__(self, page):
        self.builds = set()
        page.on("request", self._asked)

    def _asked(self, request):
        if found := RUNTIME.match(urlsplit(request.url).path):
            self.builds.add(found[1])


def serve(server, dist):
    server.stop()
    server.dist = dist
    server.start()


@pytest.fixture
def updating(request, server, chromium):
    """A tab of build A with two unsent inspections and a half-typed third, another tab, and build B ready on the server."""
    device = chromium(visited=True)
    page = device.open(server.url)
    other = device.open(server.url)
    page.evaluate("() => holdfast.call('pause', { type: 'inspection.create' })")
    for site in ("Lock 1", "Lock 2"):
        save(page, Inspection(site=site))
    fill(page, Inspection(site="Half-typed", notes="not yet"))
    expect(page.locator("#draft")).to_have_text(re.compile(r"^Draft kept \d\d:\d\d\.$"))
    page.evaluate("() => { globalThis.untouched = true; }")
    other.evaluate("() => { globalThis.untouched = true; }")
    serve(server, request.getfixturevalue(getattr(request, "param", "next_build")))
    page.evaluate(LOOK_FOR_UPDATE)
    expect(page.locator("#update")).to_be_visible(timeout=60_000)
    return device, page, other


def test_an_update_is_offered_and_nothing_is_reloaded_under_the_person(updating):
    """The banner says what will happen; the page is the one it was, the form as it was typed, and "Later" is later."""
    _device, page, other = updating
    expect(page.locator("#update")).to_contain_text(
        "Update ready. It starts when you say so. Unsent inspections and your draft are kept."
    )
    expect(page.locator("#status")).to_have_text("Update ready.")
    expect(other.locator("#update")).to_be_visible()
    assert page.evaluate("() => untouched")
    assert other.evaluate("() => untouched")
    expect(page.locator("#site")).to_have_value("Half-typed")
    page.locator("#update").get_by_role("button", name="Later").click()
    expect(page.locator("#update")).to_be_hidden()
    assert page.evaluate("() => untouched")


def test_an_update_keeps_queue_and_draft_and_mixes_no_files(updating, server):
    """After "Update now" the page runs B with the draft in its form, the other tab goes on with A's files alone; each
    unsent inspection arrives once; A's files go when its last tab is closed.
    """
    _device, page, other = updating
    old = page.evaluate("() => holdfast.build")
    queued = on_device(page)
    assert [job.site for job in queued] == ["Lock 1", "Lock 2"]
    for tab in (page, other):
        turn_to(tab, "Outbox")
        expect(pill(entry(tab, "Lock 1"))).to_have_text("Paused")
    new_files, old_files = Files(page), Files(other)
    page.locator("#update").get_by_role("button", name="Update now").click()
    page.wait_for_function("(old) => globalThis.holdfast && holdfast.build !== old", arg=old, timeout=60_000)
    wait_until_ready(page)
    new = page.evaluate("() => holdfast.build")
    expect(page.locator("#site")).to_have_value("Half-typed")
    expect(page.locator("#notes")).to_have_value("not yet")
    expect(page.locator("#update")).to_be_hidden()
    assert new_files.builds == {new}
    assert other.evaluate("() => untouched")

    # What runs is the new version's: script, words, worker; in the other tab it is the old one's.
    for tab, version, words in ((page, "next", "Paused for now"), (other, None, "Paused")):
        assert tab.evaluate("() => document.body.dataset.version ?? null") == version
        expect(pill(entry(tab, "Lock 1"))).to_have_text(words)
    assert page.evaluate(VERSION_OF_THE_WORKER) == "next"
    assert other.evaluate("() => holdfast.build") == old

    # The tab of A still works, and what it has not asked for so far it gets from A.
    status = "async (path) => (await fetch(path)).status"
    assert other.evaluate(status, f"/runtime/{old}/snapshot.js") == 200
    assert {f"holdfast-{old}", f"holdfast-{new}"} <= set(page.evaluate(CACHES))
    turn_to(other, "New")
    save(other, Inspection(site="Lock 3"))
    assert old_files.builds == {old}
    other.close()

    # What the old version has saved the new one sends.
    page.evaluate("() => holdfast.call('resume', { type: 'inspection.create' })")
    expect_delivered(server, [*queued, on_device(page)[-1]])
    turn_to(page, "New")
    submit(page)
    expect(page.locator("#saved")).to_contain_text("Half-typed")
    wait_until_sent(page)
    expect(page.locator("#count")).to_have_text("All received")
    items = received(server)
    assert [item["site"] for item in items] == ["Lock 1", "Lock 2", "Lock 3", "Half-typed"]
    assert {item["notes"] for item in items} == {"Sent by the next version."}

    page.reload()
    wait_until_ready(page)
    wait_until_offline_capable(page)
    until_page(page, "async (new_) => (await caches.keys()).join() === `holdfast-${new_}`", "no other build", arg=new)


PREPARE = """async () => {
    const { active } = await navigator.serviceWorker.ready;
    await holdfast.ask(active, "prepare", { build: holdfast.build });
}"""
"""What every start of a page asks its worker for; it lets go of builds by the way."""


def test_an_update_that_waits_keeps_its_files(updating, server):
    """However often the app is opened before the person takes it; after it the app opens without a network."""
    _device, page, other = updating
    old = page.evaluate("() => holdfast.build")
    page.locator("#update").get_by_role("button", name="Later").click()
    waiting = set(page.evaluate(CACHES)) - {f"holdfast-{old}"}
    page.reload()
    wait_until_ready(page)
    wait_until_offline_capable(page)
    page.evaluate(PREPARE)
    assert len(waiting) == 1
    assert waiting <= set(page.evaluate(CACHES))
    other.close()
    page.locator("#update").get_by_role("button", name="Update now").click()
    page.wait_for_function("(old) => globalThis.holdfast && holdfast.build !== old", arg=old, timeout=60_000)
    wait_until_ready(page)
    server.stop()
    page.reload()
    wait_until_ready(page)
    assert page.evaluate("() => holdfast.build") != old


DATABASE = """async () => {
    const done = (request) => new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
    });
    const database = await done(indexedDB.open("holdfast:reference"));
    const stores = database.transaction(["jobs", "sites"]);
    const [converted, sites] = await Promise.all([
        done(stores.objectStore("jobs").index("converted").getAll()), done(stores.objectStore("sites").getAll()),
    ]);
    database.close();
    const names = new Map(sites.map(({ id, site }) => [id, site]));
    return [database.version, converted.map(({ id }) => names.get(id))];
}"""


@pytest.mark.parametrize("updating", ["migrating_build"], indirect=True)
def test_an_update_with_a_newer_database_keeps_all_while_an_old_tab_stays_open(updating, server):
    """The old tab lets go of the database, so that it is converted at once. What is typed there is saved all the same, it
    says what to do, and B sends everything, the old tab's too, while that is still open.
    """
    _device, page, other = updating
    fill(other, Inspection(site="Typed in A"))
    queued = on_device(page)
    old = page.evaluate("() => holdfast.build")
    page.locator("#update").get_by_role("button", name="Update now").click()
    page.wait_for_function("(old) => globalThis.holdfast && holdfast.build !== old", arg=old, timeout=60_000)
    wait_until_ready(page)
    assert page.evaluate(DATABASE) == [2, ["Lock 1", "Lock 2"]]
    assert on_device(page) == queued
    expect(page.locator("#site")).to_have_value("Half-typed")

    # A's tab cannot read the newer database: it says so, offers the update, and saves into the inbox.
    assert other.evaluate("() => untouched")
    expect(other.locator("#update")).to_be_visible()
    submit(other)
    expect_saved(other, "Typed in A")
    turn_to(other, "Outbox")
    entry(other, "Lock 1").get_by_role("button", name="Cancel").click()
    expect(entry(other, "Lock 1")).to_contain_text("Load the new version to go on.")

    expect(page.locator("#count")).to_have_text("3 unsent")
    page.evaluate("() => holdfast.call('resume', { type: 'inspection.create' })")
    expect_delivered(server, on_device(page))
    assert [item["site"] for item in received(server)] == ["Lock 1", "Lock 2", "Typed in A"]

    other.locator("#update").get_by_role("button", name="Update now").click()
    other.wait_for_function("(old) => globalThis.holdfast && holdfast.build !== old", arg=old, timeout=60_000)
    wait_until_ready(other)
    turn_to(other, "New")
    save(other, Inspection(site="Typed in B"))
    submit(page)
    expect(page.locator("#saved")).to_contain_text("Half-typed")
    wait_until_sent(page)
    expect(page.locator("#count")).to_have_text("All received")
    assert {item["site"] for item in received(server)} == {"Lock 1", "Lock 2", "Typed in A", "Typed in B", "Half-typed"}
