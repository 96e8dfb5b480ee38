"""Storage that is refused, full, cleared or may be cleared: said in time, and nothing typed is lost."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.support.accessibility import findings
from tests.support.browsers import (
    ELSEWHERE,
    RESOLVE_ELSEWHERE,
    failed_page,
    open_without_listener,
    wait_until_offline_capable,
    wait_until_ready,
)
from tests.support.inspections import (
    Inspection,
    expect_saved,
    fill,
    on_device,
    save,
    save_button,
    submit,
    wait_for_received,
)
from tests.support.screens import banners, entry, expect_actions, pill, turn_to
from tests.support.server import Server, free_port

pytestmark = pytest.mark.browser

REFUSE = (
    """IDBFactory.prototype.open = () => { throw new DOMException("The user denied permission.", "SecurityError"); };"""
)
FULL = """globalThis.caches && (() => {
    // What a browser does when a write no longer fits: the requests succeed, the transaction aborts at its end. Chromium's
    // own `overrideQuotaForOrigin` reaches caches, not IndexedDB.
    globalThis.full = null; // "for good", or "until the snapshot is gone"
    for (const name of ["add", "put"]) {
        const write = IDBObjectStore.prototype[name];
        IDBObjectStore.prototype[name] = function (...given) {
            const request = write.apply(this, given);
            if (full && this.transaction.durability === "strict") {
                Object.defineProperty(this.transaction, "error", { value: new DOMException("full", "QuotaExceededError"), configurable: true });
                request.addEventListener("success", () => this.transaction.abort());
            }
            return request;
        };
    }
    const forget = Cache.prototype.delete;
    Cache.prototype.delete = async function (path, ...given) {
        const gone = await forget.call(this, path, ...given);
        if (gone && String(path).endsWith("/snapshot") && full === "until the snapshot is gone") full = null;
        return gone;
    };
})();"""
NO_ROOM = """(() => {
    // The same for files on their way into the queue, for which a device may have no room beside those in the inbox.
    globalThis.noRoom = true;
    const put = IDBObjectStore.prototype.put;
    IDBObjectStore.prototype.put = function (...given) {
        const request = put.apply(this, given);
        if (noRoom && this.name === "attachments") {
            Object.defineProperty(this.transaction, "error", { value: new DOMException("full", "QuotaExceededError"), configurable: true });
            request.addEventListener("success", () => this.transaction.abort());
        }
        return request;
    };
})();"""
APPEND = """(site) => holdfastInbox.append({
    type: "inspection.create",
    fields: [["site", site], ["inspected_on", "2026-11-20"], ["severity", "low"]],
    files: [["photos", new File([new Uint8Array(300)], "a.jpg", { type: "image/jpeg" })]],
})"""
ENQUEUE = """async (number) => (await Promise.all(Array.from({ length: number }, () => holdfast.enqueue(
    "inspection.create",
    { site: "Many", inspected_on: "2026-11-20", severity: "low", notes: "", checklist: [] },
)))).length"""
MANY_PHOTOS = """async ([number, size]) => {
    const made = Array.from({ length: number }, () => holdfast.enqueue(
        "inspection.create",
        { site: "Many", inspected_on: "2026-11-20", severity: "low", notes: "", checklist: [] },
        { attachments: [new File([new Uint8Array(size)], "a.jpg", { type: "image/jpeg" })] },
    ));
    return (await Promise.all(made)).length;
}"""
WATCHED_EXPORT = """async () => {
    const reads = { now: 0, most: 0, largest: 0, whole: 0 };
    const read = FileReader.prototype.readAsDataURL;
    FileReader.prototype.readAsDataURL = function (bytes) {
        reads.now += 1;
        reads.most = Math.max(reads.most, reads.now);
        reads.largest = Math.max(reads.largest, bytes.size);
        const told = this.onload;
        this.onload = (event) => {
            reads.now -= 1;
            told.call(this, event);
        };
        read.call(this, bytes);
    };
    for (const name of ["arrayBuffer", "text"]) {
        const whole = Blob.prototype[name];
        Blob.prototype[name] = function () {
            reads.whole += 1;
            return whole.call(this);
        };
    }
    const { file, count } = await holdfast.exportFile({ timeout_ms: 60000 });
    const data = await new Response(file).json();
    const photos = data.jobs.map(({ attachments: [photo] }) => photo.data);
    const lengths = photos.map(({ length }) => length);
    return { count, keys: Object.keys(data).sort(), lengths, first: photos[0].slice(0, 4), reads };
}"""
PERSISTENCE = """if (globalThis.isSecureContext && navigator.storage) {{
    globalThis.asked = 0;
    navigator.storage.persist = () => {{ asked += 1; return {answer}; }};
    navigator.storage.persisted = async () => asked > 0 && {kept};
}}"""
REFUSED = PERSISTENCE.format(answer="Promise.resolve(false)", kept="false")
ODD_MARKER = """(odd) => new Promise((resolve, reject) => {
    for (const pair of document.cookie.split("; "))
        if (pair.startsWith("holdfast_seen_")) document.cookie = `${pair.split("=")[0]}=\u00b2; Path=/`;
    const opening = indexedDB.open("holdfast:reference");
    opening.onerror = reject;
    opening.onsuccess = () => {
        const tx = opening.result.transaction("meta", "readwrite");
        tx.objectStore("meta").put({ name: "marker", ...odd });
        tx.oncomplete = () => resolve(opening.result.close());
        tx.onabort = reject;
    };
})"""
GRANTED = PERSISTENCE.format(answer="Promise.resolve(true)", kept="true")
NEVER_ANSWERED = PERSISTENCE.format(answer="new Promise(() => {})", kept="false")
# The time that a page gives the worker to make a snapshot is over at once.
NO_PATIENCE = """(() => {
    const { setTimeout } = globalThis;
    globalThis.setTimeout = (work, span, ...given) => setTimeout(work, span === 20_000 ? 0 : span, ...given);
})();"""
# What the page looks at to know this engine, and its lack of Background Sync.
WEBKIT = """Object.defineProperty(Navigator.prototype, "vendor", { get: () => "Apple Computer, Inc." });
delete globalThis.ServiceWorkerRegistration?.prototype.sync;"""
HAS_SNAPSHOT = """async () => Boolean(await (await caches.open(`holdfast-${holdfast.build}`))
    .match(`/runtime/${holdfast.build}/snapshot`))"""
DAY_MS = 86_400_000


def test_a_browser_that_refuses_storage_says_so_before_anything_is_typed(server, chromium):
    """Private mode or a locked-down device: a banner says what to do and the fields take nothing."""
    device = chromium()
    device.context.add_init_script(REFUSE)
    page = device.open(server.url, ready=False)
    banner = page.locator("#cannot-save")
    expect(banner).to_contain_text(
        "Nothing can be saved here. This browser refuses storage, as some do in a private window. "
        "Open Holdfast in a normal window before you type."
    )
    assert banners(page)[0] == "cannot-save"
    expect(page.locator("#fields")).to_have_attribute("disabled", "")
    expect(page.locator("#site")).to_be_disabled()
    expect(page.locator("#alarm")).to_contain_text("Nothing can be saved here.")
    expect(banner.get_by_role("button", name="Try again")).to_be_visible()


def test_a_full_device_gives_up_its_snapshot_before_it_refuses_a_save(server, chromium, camera):
    """No room for the submission: the memory snapshot, which can be made anew, goes, and the submission is saved."""
    device = chromium(visited=True)
    device.context.add_init_script(FULL)
    page = device.open(server.url)
    assert page.evaluate(HAS_SNAPSHOT)
    fill(page, Inspection(site="Lock 7", photos=(camera(1), camera(2))))
    page.evaluate("() => { full = 'until the snapshot is gone'; }")
    submit(page)
    expect_saved(page, "Lock 7")
    assert page.evaluate("() => full") is None
    (item,) = wait_for_received(server, 1)
    assert len(item["photos"]) == 2


@pytest.mark.parametrize("full", ["until the snapshot is gone", "for good"])
def test_a_page_on_a_full_device_opens_all_the_same(server, chromium, full):
    """Every write is refused from the first moment: the form is open, Python runs, and nothing speaks of a private window.

    Where there is nothing to give up that is said before anybody types, until something is saved after all.
    """
    device = chromium(visited=True)
    every_write = FULL.replace("""this.transaction.durability === "strict\"""", "true")
    device.context.add_init_script(every_write.replace("globalThis.full = null", f"globalThis.full = '{full}'"))
    page = device.open(server.url)
    assert page.evaluate("() => holdfast.python") == "ready"
    expect(page.locator("#cannot-save")).to_be_hidden()
    expect(page.locator("#site")).to_be_enabled()
    if full == "for good":
        expect(banner := page.locator("#full")).to_be_visible()
        expect(banner).to_contain_text(
            "Out of space. Nothing new can be saved here until some space is free on this device."
        )
        expect(banner.get_by_role("button")).to_have_text(["Try again", "Export all"])
        assert findings(page) == []
    fill(page, Inspection(site="Lock 7"))
    submit(page)
    if full == "for good":
        expect(page.locator("#not-saved")).to_contain_text("Not saved: this device is out of space.", timeout=30_000)
        page.evaluate("() => { full = null; }")
        submit(page)
    expect_saved(page, "Lock 7")
    expect(page.locator("#full")).to_be_hidden()
    wait_for_received(server, 1)


def test_a_device_without_any_room_says_so_and_keeps_the_form(server, chromium, camera):
    """Nothing left to give up: not saved, what to do about it, everything typed still there; with room it is saved."""
    device = chromium(visited=True)
    device.context.add_init_script(FULL)
    page = device.open(server.url)
    fill(page, Inspection(site="Lock 7", notes="Water.", photos=(camera(1), camera(2))))
    expect(page.locator("#draft")).to_have_text(re.compile("^Draft kept"))
    page.evaluate("() => { full = 'for good'; }")
    submit(page)
    expect(page.locator("#not-saved")).to_have_text(
        "Not saved: this device is out of space. Remove a photo or free some space, then save again.", timeout=30_000
    )
    expect(page.locator("#saved")).to_be_hidden()
    expect(page.locator("#site")).to_have_value("Lock 7")
    expect(page.locator("#notes")).to_have_value("Water.")
    expect(page.locator("#previews li")).to_have_count(2)
    assert on_device(page) == []
    page.evaluate("() => { full = null; }")
    submit(page)
    expect_saved(page, "Lock 7")
    (item,) = wait_for_received(server, 1)
    assert len(item["photos"]) == 2


def test_what_finds_no_room_in_the_queue_is_shown_and_the_rest_goes_on(server, chromium):
    """Saved before Python was ready, and the device has no room to copy the photos: the page opens, shows, counts, exports
    and cancels it, sends the others, and takes it in when there is room. The page alone: no worker could take it in.
    """
    device = chromium(*RESOLVE_ELSEWHERE)
    device.context.add_init_script(NO_ROOM)
    page = device.open(f"http://{ELSEWHERE}:{server.port}")
    server.kill()
    save(page, Inspection(site="Lock 1"))
    for site in ("Lock 2", "Lock 3"):
        page.evaluate(APPEND, site)
    server.start()
    page.reload()
    wait_until_ready(page)
    assert [item["site"] for item in wait_for_received(server, 1)] == ["Lock 1"]
    turn_to(page, "Outbox")
    expect(page.locator("#count")).to_have_text("2 unsent, 2 need you", timeout=30_000)
    for site in ("Lock 2", "Lock 3"):
        expect(pill(entry(page, site))).to_have_text("Saved, waiting for room")
        expect_actions(entry(page, site), "Export", "Cancel")
    with page.expect_download() as download:
        page.locator("#outbox").get_by_role("button", name="Export all").click()
    exported = json.loads(Path(download.value.path()).read_text())["jobs"]
    assert [(job["payload"]["site"], len(job["attachments"][0]["data"])) for job in exported] == [
        ("Lock 3", 400),
        ("Lock 2", 400),
    ]
    entry(page, "Lock 2").get_by_role("button", name="Cancel").click()
    expect(pill(entry(page, "Lock 2"))).to_have_text("Cancelled")
    page.evaluate("() => { noRoom = false; }")
    page.locator("#outbox").get_by_role("button", name="Send now").click()
    items = wait_for_received(server, 2)
    assert [(item["site"], len(item["photos"])) for item in items] == [("Lock 1", 0), ("Lock 3", 1)]
    expect(page.locator("#count")).to_have_text("All received", timeout=30_000)


def test_a_full_device_refuses_the_forms_own_post_in_words(relay, chromium):
    """Only the worker is there to take the form, and finds no room: a page says so, and the form still has everything."""
    device = chromium(visited=True)
    page = open_without_listener(device, relay)
    fill(page, Inspection(site="Lock 7", notes="Water."))
    expect(page.locator("#draft")).to_contain_text("Draft kept")
    [worker] = device.context.service_workers
    worker.evaluate(FULL)
    worker.evaluate("() => { full = 'for good'; }")
    with page.expect_response(lambda response: response.url.endswith("/submit")) as posted:
        save_button(page).click()
    assert (posted.value.status, posted.value.from_service_worker) == (507, True)
    expect(page.get_by_role("heading", name="Not saved")).to_be_visible()
    expect(page.locator("body")).to_contain_text("This device is out of space.")
    page.go_back()
    expect(page.locator("#site")).to_have_value("Lock 7")
    expect(page.locator("#notes")).to_have_value("Water.")
    assert on_device(page) == []


def test_what_has_waited_for_three_days_is_warned_about(server, chromium):
    """On the third day a banner counts what waits and since when, and offers to send and to export it."""
    device = chromium(visited=True)
    page = device.open(server.url)
    device.offline()
    for site in ("Lock 7", "Lock 8"):
        save(page, Inspection(site=site))
    since = page.evaluate("() => `${new Date().getDate()} ${new Date().toLocaleString('en', { month: 'short' })}`")
    page.clock.set_system_time(page.evaluate("() => Date.now()") / 1_000 + 3 * DAY_MS / 1_000 + 60)
    page.reload()
    wait_until_ready(page)
    turn_to(page, "Outbox")
    banner = page.locator("#three-days")
    expect(banner).to_contain_text(f"2 inspections have waited since {since}")
    assert banner.get_by_role("button").all_inner_texts() == ["Send now", "Export all"]
    assert banners(page)[0] == "three-days"


def test_of_many_jobs_none_is_forgotten(server, chromium):
    """More than a screen shows: all are counted, the head and what needs the person are shown however old they are, the
    rest is told of, and the warning after three days counts every one.
    """
    device = chromium(visited=True)
    page = device.open(server.url)
    page.evaluate(APPEND, "")  # breaks a rule
    expect(page.locator("#count")).to_have_text("1 unsent, 1 needs you", timeout=30_000)
    device.offline()
    for site in ("First", "Second"):
        save(page, Inspection(site=site))
    assert page.evaluate(ENQUEUE, 250) == 250
    save(page, Inspection(site="Last"))
    turn_to(page, "Outbox")
    expect(page.locator("#count")).to_have_text("254 unsent, 1 needs you", timeout=30_000)
    expect(page.locator("#outbox-summary")).to_contain_text("254 unsent: 1 needs you, 253 on the way.")
    expect(page.locator("#group-yours li.entry")).to_have_count(1)
    expect(page.locator("#group-way-title")).to_have_text("On the way (253)")
    shown = page.locator("#group-way li.entry")
    expect(shown.first).to_contain_text("First")
    expect(shown.filter(has_text="Last")).to_have_count(1)
    more = 253 - shown.count()
    assert more > 0
    expect(page.locator("#group-way [data-part=more]")).to_have_text(
        f"and {more} more, counted and exported, not shown one by one."
    )
    turn_to(page, "Inspections")
    expect(page.locator("#only-here")).to_contain_text(f"So are {more} more, not listed here.")
    page.clock.set_system_time(page.evaluate("() => Date.now()") / 1_000 + 3 * DAY_MS / 1_000 + 60)
    page.reload()
    wait_until_ready(page)
    expect(page.locator("#three-days")).to_contain_text("254 inspections have waited since", timeout=30_000)


def test_an_export_of_many_photos_holds_a_piece_of_one_at_a_time(server, chromium):
    """The file has all bytes of all photos; no two pieces of them are in memory at once, nor are they large."""
    device = chromium(visited=True)
    page = device.open(server.url)
    device.offline()
    assert page.evaluate(MANY_PHOTOS, [12, 2_500_001]) == 12
    assert page.evaluate(WATCHED_EXPORT) == {
        "count": 12, "keys": ["exported_at", "holdfast", "jobs"], "lengths": [3_333_336] * 12,
        "first": "AAAA", "reads": {"now": 0, "most": 1, "largest": 786_432, "whole": 0},
    }  # fmt: skip


def test_a_store_that_was_cleared_is_noticed_at_the_next_visit(server, chromium):
    """The browser dropped the databases and left the cookies: a banner says since when, until it is understood."""
    device = chromium(visited=True)
    page = device.open(server.url)
    device.offline()
    save(page, Inspection(site="Lock 7"))
    page.goto("about:blank")
    session = page.context.new_cdp_session(page)
    session.send("Storage.clearDataForOrigin", {"origin": server.url, "storageTypes": "indexeddb"})
    device.online()
    page.goto(server.url)
    wait_until_ready(page)
    banner = page.locator("#wiped")
    expect(banner).to_contain_text(
        re.compile(
            r"This browser.s storage was cleared some time after (\d+ \w+ )?\d\d:\d\d\. Whatever was still unsent"
        )
    )
    page.reload()
    wait_until_ready(page)
    expect(banner).to_be_visible()
    banner.get_by_role("button", name="Understood").click()
    expect(banner).to_be_hidden()
    page.reload()
    wait_until_ready(page)
    expect(page.locator("#count")).to_have_text("All received")
    expect(banner).to_be_hidden()


@pytest.mark.parametrize(
    "odd",
    [{}, {"wiped_after": "yesterday"}, {"wiped_after": -1}, {"wiped_after": 10**18}, {"since": [], "wiped_after": {}}],
)
def test_a_marker_that_cannot_be_read_stops_nothing(server, chromium, odd):
    """Whatever stands in the record or the cookie that tell of a cleared store: the page starts, sends, and says nothing of it."""
    page = chromium(visited=True).open(server.url)
    page.evaluate(ODD_MARKER, odd)
    page.reload()
    save(page, Inspection(site="Lock 7"))
    wait_for_received(server, 1)
    turn_to(page, "Outbox")
    expect(page.locator("#tab-line")).to_have_text(re.compile("."))  # drawn after what is worse
    expect(page.locator("#wiped")).to_be_hidden()


def test_a_server_on_another_port_of_the_host_is_no_store_that_was_cleared(server, chromium, tmp_path, build):
    """Cookies are a host's, databases an origin's: a first visit to one is none to the other."""
    device = chromium(visited=True)
    device.open(server.url)
    with Server(tmp_path / "other", build, port=free_port()) as other:
        page = device.open(other.url)
        turn_to(page, "Outbox")
        expect(page.locator("#tab-line")).to_have_text(re.compile("."))  # drawn after what is worse
        expect(page.locator("#wiped")).to_be_hidden()


@pytest.mark.parametrize("persistent", [False, True])
def test_storage_that_may_be_cleared_is_told_while_work_is_unsent(server, chromium, persistent):
    """The warning stands only where the browser did not promise to keep, and only while something could be lost."""
    device = chromium(visited=True)
    device.context.add_init_script(GRANTED if persistent else REFUSED)
    page = device.open(server.url)
    device.offline()
    expect(page.locator("#not-persistent")).to_be_hidden()
    save(page, Inspection(site="Lock 7"))
    turn_to(page, "Outbox")
    expect(page.locator("#count")).to_have_text("1 unsent")
    expect(page.locator("#not-persistent")).to_be_visible(visible=not persistent)
    device.online()
    wait_for_received(server, 1)
    expect(page.locator("#count")).to_have_text("All received")
    expect(page.locator("#not-persistent")).to_be_hidden()


def test_persistence_is_asked_for_with_the_first_save_and_never_waited_for(server, chromium):
    """A browser that never answers the request holds up nothing."""
    device = chromium(visited=True)
    device.context.add_init_script(NEVER_ANSWERED)
    page = device.open(server.url)
    assert page.evaluate("() => asked") == 0
    save(page, Inspection(site="Lock 7"))
    assert page.evaluate("() => asked") == 1
    wait_for_received(server, 1)


def test_persistence_is_asked_for_without_python_too(relay, chromium):
    """Where WebAssembly is forbidden the inbox holds what was saved, and it is to be kept as well."""
    relay.forbid_wasm()
    device = chromium()
    device.context.add_init_script(GRANTED)
    page = failed_page(device, relay.url)
    assert page.evaluate("() => asked") == 0
    save(page, Inspection(site="Lock 7"))
    page.wait_for_function("() => asked === 1")


def test_the_tab_line_tells_what_a_closed_tab_means_in_chromium(server, chromium):
    """With Background Sync the tab may be closed."""
    page = chromium(visited=True).open(server.url)
    turn_to(page, "Outbox")
    expect(page.locator("#tab-line")).to_have_text(
        "You may close this tab. This browser tries to send the rest in the background; "
        "if it cannot, they go out when Holdfast is next opened."
    )


def test_the_tab_line_tells_when_the_browser_deletes_by_itself(server, chromium):
    """WebKit's rule is told where it holds: not in an installed app, and nowhere else."""
    device = chromium(visited=True)
    device.context.add_init_script(WEBKIT)
    page = device.open(server.url)
    turn_to(page, "Outbox")
    expect(page.locator("#tab-line")).to_have_text(
        "Keep this tab open to send. If you close it, the rest goes out when Holdfast is next opened. "
        "It may delete unsent work after seven days without a visit."
    )


def test_the_tab_line_tells_what_a_closed_tab_means_in_firefox(server, firefox):
    """Without Background Sync the tab is what sends."""
    page = firefox().open(server.url)
    turn_to(page, "Outbox")
    expect(page.locator("#tab-line")).to_have_text(
        "Keep this tab open to send. If you close it, the rest goes out when Holdfast is next opened."
    )


def test_an_installation_that_stalls_holds_python_back_only_so_long(relay, chromium):
    """The worker's script never comes: after its time the page starts Python by itself, and sends."""
    held = relay.hold("GET", "/sw.js")
    device = chromium()
    device.context.add_init_script(NO_PATIENCE)
    page = device.open(relay.url)
    held.wait()
    save(page, Inspection(site="Lock 7"))
    wait_for_received(relay.server, 1)
    turn_to(page, "Outbox")
    expect(page.locator("#tab-line")).to_have_text(re.compile("^Keep this tab open to send."))


def test_the_first_visit_says_what_is_known_and_when_the_app_is_ready(server, chromium):
    """From the start one can type; once all is there the page says that it opens without a network, and it does."""
    device = chromium()
    page = device.open(server.url)
    ready = page.locator("#ready")
    expect(ready).to_contain_text("Ready. Holdfast now opens without a network.", timeout=60_000)
    expect(page.locator("#first-visit")).to_be_hidden()
    ready.get_by_role("button", name="Not now").click()
    expect(ready).to_be_hidden()
    wait_until_offline_capable(page)
    server.stop()
    page.reload()
    wait_until_ready(page)
