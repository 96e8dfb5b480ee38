"""What someone types is never lost: not to an edit, not to a draft that comes late, not to a save that takes its time."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.support.accessibility import findings
from tests.support.browsers import ELSEWHERE, HELD_PYTHON, RESOLVE_ELSEWHERE, forget_script, wait_until_ready
from tests.support.inspections import (
    SECRETS,
    Inspection,
    expect_saved,
    fill,
    on_device,
    save,
    submit,
    wait_for_received,
)
from tests.support.screens import entry, pill, turn_to
from tests.support.waiting import until_page

pytestmark = pytest.mark.browser

KEPT = re.compile(r"Draft kept \d\d:\d\d\.$")
READ_DRAFTS = """async () => {
    const keys = (await holdfastInbox.keys()).filter((key) => key.startsWith("draft:inspection.create:"));
    return Promise.all(keys.map((key) => holdfastInbox.get(key)));
}"""
HELD_DRAFTS = """
const go = new Promise((resolve) => (globalThis.letGo = resolve));
const request = globalThis.LockManager?.prototype.request; // an empty tab has none
if (request) LockManager.prototype.request = function (name, ...rest) {
    const asked = () => request.call(this, name, ...rest);
    return name.startsWith("draft:") ? go.then(asked) : asked();
};
"""
HELD_SAVES = """() => {
    const go = new Promise((resolve) => (globalThis.letGo = resolve));
    const call = holdfast.call;
    holdfast.call = (...message) => (message[0] === "submit" ? go : Promise.resolve()).then(() => call.apply(holdfast, message));
}"""
LATE_ANSWERS = """() => {
    const go = new Promise((resolve) => (globalThis.letGo = resolve));
    const call = holdfast.call;
    holdfast.call = (...message) => message[0] === "submit"
        ? call.apply(holdfast, message).then((answer) => ((globalThis.answered = true), go.then(() => answer)))
        : call.apply(holdfast, message);
}"""
HELD_FILES = """() => {
    const go = new Promise((resolve) => (globalThis.letGo = resolve));
    const read = Blob.prototype.text;
    Blob.prototype.text = function () { return go.then(() => read.call(this)); };
}"""
HELD_QUEUE = """() => new Promise((held, failed) => {
    globalThis.letGo = null;
    const opening = indexedDB.open("holdfast:reference");
    opening.onerror = failed;
    opening.onsuccess = () => {
        const jobs = opening.result.transaction("jobs", "readwrite").objectStore("jobs");
        let over = false;
        globalThis.letGo = () => (over = true);
        const look = () => (over ? opening.result.close() : (jobs.count().onsuccess = look));
        jobs.count().onsuccess = () => (held(), look());
    };
})"""
NAME_OF_THE_DRAFT = """async () =>
    (await holdfastInbox.keys()).find((key) => key.startsWith("draft:inspection.create:"))"""
NEXT_TO_HOLD = """async (name) => {
    const holding = navigator.locks.request(name, () => new Promise((resolve) => (globalThis.letGo = resolve)));
    holding.catch(() => {});
}"""
STORES_NOTHING = """() => {
    const set = holdfastInbox.set;
    holdfastInbox.set = (key, ...rest) =>
        key.startsWith("draft:") ? Promise.reject(new Error("no")) : set(key, ...rest);
}"""
NOTHING_AFTER_THE_TAP = """() => {
    const set = holdfastInbox.set;
    let over = false;
    holdfastInbox.set = async (key, value) => {
        if (over && key.startsWith("draft:")) throw new Error("no");
        await set(key, value);
        over ||= value?.sending?.length > 0;
    };
}"""
WRITTEN_WORDS = "() => { dispatchEvent(new Event('pagehide')); return Object.values(localStorage).join(' '); }"
WRITTEN_DOWN = "() => Object.keys(localStorage).filter((name) => name.startsWith('draft:')).length"
NO_DRAFT = "async () => !(await holdfastInbox.keys()).some((key) => key.startsWith('draft:'))"
UNKNOWN = "0b6e0f0c-3b8e-4b3c-9f43-0b8a8c3f2a11"


def expect_draft(page, site):
    """Wait until a draft with this site is in storage."""
    until_page(
        page,
        f"""async (site) => (await ({READ_DRAFTS})()).some(
            ({{ fields }}) => fields.some(([name, value]) => name === "site" && value === site))""",
        f"a draft of {site}",
        arg=site,
    )


def refused(relay, page, *sites):
    """Inspections that the server refused, as the Outbox lists them."""
    relay.refuse_writes(422, len(sites), title="No such site")
    for site in sites:
        save(page, Inspection(site=site))
    turn_to(page, "Outbox")
    rows = [entry(page, site) for site in sites]
    for row in rows:
        expect(pill(row)).to_have_text("Failed")
    return rows


def edit(page, row):
    """Press a row's "Edit"."""
    turn_to(page, "Outbox")
    row.get_by_role("button", name="Edit").click()
    expect(page.locator("#new-title")).to_be_focused()


def test_what_was_half_typed_waits_for_an_edit_and_comes_back_after_it(relay, chromium, camera):
    """An inspection is half-typed, with a photo; another one is edited and saved. The half-typed one is put aside in
    words, outlives a killed browser, and is in the form again after the save, photo and all.
    """
    device = chromium(visited=True)
    page = device.open(relay.url)
    [row] = refused(relay, page, "Lokc 7")
    turn_to(page, "New")
    half = Inspection(site="Weir 2", severity="high", notes="Wat", ticked=("Access is safe",), photos=(camera(2),))
    fill(page, half)
    edit(page, row)
    expect(page.locator("#site")).to_have_value("Lokc 7")
    expect(page.locator("#previews li")).to_have_count(0)
    aside = page.locator("#aside")
    expect(aside).to_have_text("What you were typing before is kept. It comes back after this one.")
    assert findings(page) == []
    expect_draft(page, "Lokc 7")
    device.kill()

    page = device.start().open(relay.url)
    expect(page.locator("#editing")).to_contain_text("Editing “Lokc 7”.")
    expect(aside := page.locator("#aside")).to_be_visible()
    page.locator("#site").fill("Lock 7")
    submit(page)
    expect_saved(page, "Lock 7")
    expect(page.locator("#saved")).to_contain_text("What you were typing before is in the form again.")
    expect(aside).to_be_hidden()
    expect(page.locator("#editing")).to_be_hidden()
    expect(page.locator("#site")).to_have_value("Weir 2")
    expect(page.locator("#notes")).to_have_value("Wat")
    expect(page.locator('[name=checklist][value="Access is safe"]')).to_be_checked()
    expect(page.locator("#previews li")).to_have_count(1)
    submit(page)
    expect_saved(page, "Weir 2")
    items = wait_for_received(relay.server, 2)
    assert [(item["site"], len(item["photos"])) for item in items] == [("Lock 7", 0), ("Weir 2", 1)]
    expect(page.locator("#site")).to_have_value("")


def test_each_of_two_edits_keeps_what_was_typed_in_it(relay, chromium):
    """One edit is begun, then another, then the first again: it is as it was left. Given up, the other one comes back."""
    page = chromium(visited=True).open(relay.url)
    first, second = refused(relay, page, "Lock 1", "Lock 2")
    for row, notes in ((first, "One"), (second, "Two")):
        edit(page, row)
        page.locator("#notes").fill(notes)
    edit(page, first)
    expect(page.locator("#editing")).to_contain_text("Editing “Lock 1”.")
    expect(page.locator("#notes")).to_have_value("One")
    page.get_by_role("button", name="Stop editing").click()
    expect(page.locator("#editing")).to_contain_text("Editing “Lock 2”.")
    expect(page.locator("#notes")).to_have_value("Two")
    expect(page.locator("#aside")).to_be_hidden()
    page.get_by_role("button", name="Stop editing").click()
    expect(page.locator("#editing")).to_be_hidden()
    expect(page.locator("#site")).to_have_value("")


def test_an_edit_whose_old_one_is_over_is_kept_and_saved_as_a_new_one_if_that_is_wanted(relay, chromium):
    """The old one was cancelled in another tab meanwhile: the page says why it has no place to take, says no longer that
    it takes one, and saves a new one when asked again.
    """
    device = chromium(visited=True)
    page = device.open(relay.url)
    [row] = refused(relay, page, "Lokc 7")
    edit(page, row)
    page.locator("#site").fill("Lock 7")
    [old] = on_device(page)
    device.open(relay.url).evaluate("(id) => holdfast.cancel(id)", old.id)
    submit(page)
    expect(page.locator("#not-saved")).to_contain_text("Not saved in its place:")
    expect(page.locator("#editing")).to_be_hidden()
    submit(page)
    expect_saved(page, "Lock 7")
    (item,) = wait_for_received(relay.server, 1)
    assert item["site"] == "Lock 7"


def test_of_two_items_with_one_label_each_keeps_its_own_tick(server, chromium):
    """One is in order and one is not: after a reload there are not two that are."""
    page = chromium(visited=True).open(server.url)
    page.locator("#site").fill("Lock 7")
    for _ in range(2):
        page.locator('[data-do="add-item"]').click()
        page.locator("#checks li").last.locator('[type="text"]').fill("Rail")
    rails = page.locator("#checks li").filter(has=page.locator('[type="text"]'))
    rails.nth(0).locator('[type="checkbox"]').check()
    page.reload()
    expect(page.locator("#site")).to_have_value("Lock 7")
    expect(rails).to_have_count(2)
    expect(rails.nth(0).locator('[type="checkbox"]')).to_be_checked()
    expect(rails.nth(1).locator('[type="checkbox"]')).not_to_be_checked()


def test_what_is_typed_before_the_draft_is_there_stays_and_the_draft_fills_the_rest(server, chromium):
    """The draft takes its time: what was typed meanwhile is as it was typed, and what was not touched comes back."""
    device = chromium(visited=True)
    page = device.open(server.url)
    fill(page, Inspection(site="Lock 7", severity="high", ticked=("Access is safe",)))
    expect_draft(page, "Lock 7")
    device.kill()
    device.start().context.add_init_script(HELD_DRAFTS)
    page = device.open(server.url)
    page.locator("#notes").fill("Water.")
    page.locator('[name=checklist][value="No standing water"]').check()
    page.evaluate("() => letGo()")
    expect(page.locator("#site")).to_have_value("Lock 7")
    expect(page.locator("#notes")).to_have_value("Water.")
    expect(page.locator("[name=severity][value=high]")).to_be_checked()
    for label in ("Access is safe", "No standing water"):
        expect(page.locator(f'[name=checklist][value="{label}"]')).to_be_checked()
    expect(page.locator("#aside")).to_be_hidden()


def test_a_draft_that_comes_late_for_another_inspection_waits_for_it(server, chromium):
    """Another site was typed before the draft was there: neither is lost, the draft comes back after the save."""
    device = chromium(visited=True)
    page = device.open(server.url)
    fill(page, Inspection(site="Lock 7", notes="Water."))
    expect_draft(page, "Lock 7")
    device.kill()
    device.start().context.add_init_script(HELD_DRAFTS)
    page = device.open(server.url)
    page.locator("#site").fill("Weir 2")
    page.evaluate("() => letGo()")
    expect(page.locator("#aside")).to_be_visible()
    expect(page.locator("#notes")).to_have_value("")
    save(page, Inspection(site="Weir 2"))
    expect(page.locator("#site")).to_have_value("Lock 7")
    expect(page.locator("#notes")).to_have_value("Water.")
    assert [job.site for job in on_device(page)] == ["Weir 2"]


def test_what_was_typed_before_the_scripts_came_is_kept_as_a_draft(relay, chromium):
    """The script that keeps drafts comes after someone has typed: what they typed outlives the tab."""
    device = chromium(visited=True)
    page = device.open(relay.url)
    forget_script(page, "draft.js")
    held = relay.hold("GET", "/draft.js")
    page = device.context.new_page()
    page.goto(relay.url, wait_until="commit")
    held.wait()
    page.locator("#site").fill("Lock 7")
    held.let_go()
    wait_until_ready(page)
    expect_draft(page, "Lock 7")
    device.kill()
    page = device.start().open(relay.url)
    expect(page.locator("#site")).to_have_value("Lock 7")
    expect(page.locator("#draft")).to_have_text(KEPT)


def test_what_is_typed_while_a_save_is_under_way_stays_in_the_form(server, chromium, camera):
    """Between the tap and the commit someone goes on typing: what was saved leaves the form, what came since is kept."""
    page = chromium(visited=True).open(server.url)
    page.evaluate(HELD_SAVES)
    fill(
        page,
        Inspection(site="Lock 7", severity="high", notes="Water.", ticked=("Access is safe",), photos=(camera(1),)),
    )
    submit(page)
    page.locator("#site").fill("Weir 2")
    page.locator('[name=checklist][value="No standing water"]').check()
    page.locator("#photos").set_input_files(camera(2))
    page.evaluate("() => letGo()")
    expect_saved(page, "Lock 7")
    expect(page.locator("#saved")).to_contain_text("What you typed since is still in the form.")
    expect(page.locator("#site")).to_have_value("Weir 2")
    expect(page.locator("#notes")).to_have_value("")
    expect(page.locator("[name=severity]:checked")).to_have_count(0)
    expect(page.locator('[name=checklist][value="No standing water"]')).to_be_checked()
    expect(page.locator('[name=checklist][value="Access is safe"]')).not_to_be_checked()
    expect(page.locator("#previews img")).to_have_attribute("alt", "Photo 1: photo-2.jpg")
    expect_draft(page, "Weir 2")
    (item,) = wait_for_received(server, 1)
    assert (item["site"], item["notes"], len(item["photos"])) == ("Lock 7", "Water.", 1)
    save(page, Inspection(site="Weir 2", severity="low"))
    items = wait_for_received(server, 2)
    assert [each["label"] for each in items[1]["checklist"] if each["ok"]] == ["No standing water"]


def test_an_edit_saved_before_python_is_ready_ends_as_the_edit(relay, chromium):
    """The page is loaded anew in the middle of an edit, which is saved before Python is there: it is held back in words,
    and takes the old one's place as soon as it can. There is no second inspection.
    """
    page = chromium(visited=True).open(relay.url)
    [row] = refused(relay, page, "Lokc 7")
    [old] = on_device(page)
    edit(page, row)
    page.locator("#site").fill("Lock 7")
    expect_draft(page, "Lock 7")
    page.context.add_init_script(HELD_PYTHON)
    page.reload()
    expect(page.locator("#editing")).to_contain_text("Editing “Lokc 7”.")
    submit(page)
    expect(page.locator("#not-saved")).to_contain_text("Not saved yet: Holdfast is still starting.")
    assert [job.id for job in on_device(page)] == [old.id]
    page.evaluate("() => letGo()")
    expect_saved(page, "Lock 7")
    expect(page.locator("#not-saved")).to_be_hidden()
    (item,) = wait_for_received(relay.server, 1)
    assert item["site"] == "Lock 7"
    assert [(job.id == old.id, job.state) for job in on_device(page)] == [(True, "cancelled"), (False, "completed")]


def test_an_edit_where_python_cannot_start_is_not_saved_as_a_second_one(relay, chromium):
    """Python fails in the middle of an edit: the page says that it is not saved and why, and keeps what was typed."""
    device = chromium(visited=True)
    page = device.open(relay.url)
    [row] = refused(relay, page, "Lokc 7")
    edit(page, row)
    page.locator("#site").fill("Lock 7")
    expect_draft(page, "Lock 7")
    page.context.add_init_script("delete globalThis.WebAssembly")
    page.reload()
    page.wait_for_function("() => window.holdfast && holdfast.python === 'failed'")
    expect(page.locator("#site")).to_have_value("Lock 7")
    submit(page)
    expect(page.locator("#not-saved")).to_contain_text(
        "Not saved: an edit needs the part of Holdfast that could not start"
    )
    expect(page.locator("#site")).to_have_value("Lock 7")
    assert [job.site for job in on_device(page)] == ["Lokc 7"]


def test_a_save_that_ends_during_an_edit_leaves_only_what_was_typed_since(relay, chromium):
    """Save is tapped, a word more is typed, another inspection is edited: once the save is through, only that word is left."""
    page = chromium(visited=True).open(relay.url)
    [row] = refused(relay, page, "Lokc 7")
    turn_to(page, "New")
    page.evaluate(HELD_SAVES)
    fill(page, Inspection(site="Weir 2", severity="high", notes="Water."))
    submit(page)
    page.locator("#notes").fill("Water, and rust.")
    edit(page, row)
    expect(page.locator("#editing")).to_contain_text("Editing “Lokc 7”.")
    page.evaluate("() => letGo()")
    expect_saved(page, "Weir 2")
    page.get_by_role("button", name="Stop editing").click()
    expect(page.locator("#notes")).to_have_value("Water, and rust.")
    expect(page.locator("#site")).to_have_value("")
    expect(page.locator("[name=severity]:checked")).to_have_count(0)


def test_what_was_saved_during_an_edit_does_not_come_back_after_a_reload(relay, chromium):
    """The same without a word more: after a reload in the middle of the edit, what was saved is not in the form again."""
    page = chromium(visited=True).open(relay.url)
    [row] = refused(relay, page, "Lokc 7")
    turn_to(page, "New")
    page.evaluate(HELD_SAVES)
    fill(page, Inspection(site="Weir 2"))
    submit(page)
    edit(page, row)
    expect(page.locator("#aside")).to_be_visible()
    expect_draft(page, "Lokc 7")
    page.evaluate("() => letGo()")
    expect_saved(page, "Weir 2")
    expect(page.locator("#aside")).to_be_hidden()
    page.reload()
    wait_until_ready(page)
    expect(page.locator("#editing")).to_contain_text("Editing “Lokc 7”.")
    page.get_by_role("button", name="Stop editing").click()
    expect(page.locator("#editing")).to_be_hidden()
    expect(page.locator("#site")).to_have_value("")


def test_two_saves_of_one_form_are_two_jobs_though_the_tab_dies_before_it_hears_of_them(server, chromium):
    """Saved, changed, saved again, and the browser is killed before the page is told: neither is in the form again."""
    device = chromium(visited=True)
    page = device.open(server.url)
    page.evaluate(LATE_ANSWERS)
    fill(page, Inspection(site="Lock 7"))
    submit(page)
    page.locator("#site").fill("Lock 8")
    submit(page)
    expect_draft(page, "Lock 8")
    assert [item["site"] for item in wait_for_received(server, 2)] == ["Lock 7", "Lock 8"]
    device.kill()
    page = device.start().open(server.url)
    until_page(page, NO_DRAFT, "no draft")
    expect(page.locator("#site")).to_have_value("")
    expect(page.locator("#aside")).to_be_hidden()


def test_an_edit_refused_late_leaves_another_edit_alone(relay, chromium):
    """An edit is saved and given up before it is refused: the one that is in the form by then still takes its old one's place,
    and what was refused comes back after it.
    """
    device = chromium(visited=True)
    page = device.open(relay.url)
    first, second = refused(relay, page, "Lock 1", "Lock 2")
    edit(page, second)
    page.locator("#notes").fill("Two")
    edit(page, first)
    page.locator("#notes").fill("One")
    old = {job.site: job.id for job in on_device(page)}
    other = device.open(relay.url)
    other.evaluate("(id) => holdfast.cancel(id)", old["Lock 1"])
    other.evaluate(HELD_QUEUE)
    submit(page)
    page.get_by_role("button", name="Stop editing").click()
    expect(page.locator("#editing")).to_contain_text("Editing “Lock 2”.")
    other.evaluate("() => letGo()")
    expect(page.locator("#not-saved")).to_contain_text("Not saved: “Lock 1”.")
    expect(page.locator("#aside")).to_be_visible()
    expect(page.locator("#editing")).to_contain_text("Editing “Lock 2”.")
    submit(page)
    expect_saved(page, "Lock 2")
    (item,) = wait_for_received(relay.server, 1)
    assert (item["site"], item["notes"]) == ("Lock 2", "Two")
    assert {job.id: job.state for job in on_device(page)}[old["Lock 2"]] == "cancelled"
    expect(page.locator("#site")).to_have_value("Lock 1")
    expect(page.locator("#notes")).to_have_value("One")


def test_an_edit_that_was_saved_does_not_come_back_though_its_tab_never_heard_of_it(relay, chromium):
    """The edit is stored and received, and the browser is killed before the draft could go: it is no edit any more."""
    device = chromium(visited=True)
    page = device.open(relay.url)
    [row] = refused(relay, page, "Lokc 7")
    edit(page, row)
    page.locator("#site").fill("Lock 7")
    page.evaluate(NOTHING_AFTER_THE_TAP)
    submit(page)
    wait_for_received(relay.server, 1)
    expect_saved(page, "Lock 7")
    device.kill()
    page = device.start().open(relay.url)
    until_page(page, NO_DRAFT, "no draft")
    expect(page.locator("#editing")).to_be_hidden()
    expect(page.locator("#site")).to_have_value("")


def test_an_edit_saved_before_its_photos_are_there_waits_for_them(relay, chromium, camera):
    """The device is slow to read the photos of what is edited, and Save is tapped at once: they are all in the new version."""
    page = chromium(visited=True).open(relay.url)
    relay.refuse_writes(422, 1, title="No such site")
    save(page, Inspection(site="Lokc 7", photos=(camera(1), camera(2))))
    turn_to(page, "Outbox")
    row = entry(page, "Lokc 7")
    expect(pill(row)).to_have_text("Failed")
    page.evaluate(HELD_FILES)
    edit(page, row)
    expect(page.locator("#site")).to_have_value("Lokc 7")
    submit(page)
    expect(page.locator("#photos-hint")).to_contain_text("Preparing 2 photos…")
    page.evaluate("() => letGo()")
    expect_saved(page, "Lokc 7")
    (item,) = wait_for_received(relay.server, 1)
    assert len(item["photos"]) == 2


@pytest.mark.parametrize("address", [f"/?saved={UNKNOWN}", "/?received=7"])
def test_what_is_typed_while_an_address_is_looked_into_is_kept(relay, chromium, address):
    """The address says that something arrived, Python does not start and the server does not answer: typing is kept at once."""
    device = chromium(visited=True)
    page = device.open(relay.url)
    fill(page, Inspection(site="Lock 7"))
    expect_draft(page, "Lock 7")
    page.close()
    relay.hold("GET", "/api/inspections")
    device.context.add_init_script(HELD_PYTHON)
    page = device.open(f"{relay.url}{address}", ready=False)
    expect(page.locator("#site")).to_have_value("Lock 7")
    page.locator("#site").fill("Lock 8")
    expect_draft(page, "Lock 8")
    device.kill()
    page = device.start().open(relay.url, ready=False)
    expect(page.locator("#site")).to_have_value("Lock 8")


def test_the_drafts_of_all_tabs_that_are_gone_come_back_one_after_the_other(server, chromium):
    """The browser dies with three half-typed inspections in three tabs: one new tab has the last, and says that more are kept."""
    device = chromium(visited=True)
    sites = ("Lock 1", "Lock 2", "Lock 3")
    for site in sites:
        page = device.open(server.url)
        fill(page, Inspection(site=site))
        expect_draft(page, site)
    device.kill()
    page = device.start().open(server.url)
    for site in reversed(sites):
        expect(page.locator("#site")).to_have_value(site)
        if site != sites[0]:
            expect(page.locator("#aside")).to_be_visible()
        submit(page)
        expect_saved(page, site)
    expect(page.locator("#site")).to_have_value("")
    expect(page.locator("#aside")).to_be_hidden()
    assert [item["site"] for item in wait_for_received(server, 3)] == list(reversed(sites))


def test_each_of_two_tabs_has_its_draft_where_browsers_have_no_locks(server, chromium):
    """Plain http to another host name: what is saved in one tab is not the other's draft, which outlives a killed browser."""
    device = chromium(*RESOLVE_ELSEWHERE)
    url = f"http://{ELSEWHERE}:{server.port}"
    one = device.open(url, ready=False)
    assert one.evaluate("() => 'locks' in navigator") is False
    one.locator("#site").fill("Lock 7")
    expect_draft(one, "Lock 7")
    other = device.open(url, ready=False)
    other.wait_for_function("() => sessionStorage.getItem('holdfast-draft')")
    fill(other, Inspection(site="Weir 2"))
    expect_draft(other, "Weir 2")
    assert sorted(dict(draft["fields"])["site"] for draft in one.evaluate(READ_DRAFTS)) == ["Lock 7", "Weir 2"]
    submit(other)
    expect_saved(other, "Weir 2")
    until_page(other, f"async () => (await ({READ_DRAFTS})()).length === 1", "no draft of the other tab")
    device.kill()
    page = device.start().open(url, ready=False)
    expect(page.locator("#site")).to_have_value("Lock 7")
    expect(page.locator("#aside")).to_be_hidden()


def test_a_draft_whose_tab_is_loaded_anew_before_it_is_let_go_comes_back_once_it_is(server, chromium):
    """The page of before lets go of the draft after the new one has given up waiting: the draft comes all the same."""
    device = chromium(visited=True)
    page = device.open(server.url)
    fill(page, Inspection(site="Lock 7"))
    expect_draft(page, "Lock 7")
    name = page.evaluate(NAME_OF_THE_DRAFT)
    other = device.open(server.url)
    other.evaluate(NEXT_TO_HOLD, name)
    page.reload()
    wait_until_ready(page)
    page.wait_for_function("(name) => sessionStorage.getItem('holdfast-draft') !== name", arg=name)
    expect(page.locator("#site")).to_have_value("")
    other.evaluate("() => letGo()")
    expect(page.locator("#site")).to_have_value("Lock 7")
    expect_draft(page, "Lock 7")


@pytest.mark.parametrize("name", ["chromium", "firefox"])
def test_what_was_typed_last_is_there_after_a_reload_at_once(server, browsers, camera, name):
    """Someone types and the page is loaded anew before its words can be stored: they are in the form, with the photo that
    was stored before, however often that happens; once they are stored nothing is left beside them.
    """
    page = browsers[name](visited=True).open(server.url)
    fill(page, Inspection(site="Lock 7", severity="high", photos=(camera(1),)))
    until_page(
        page, f"async () => (await ({READ_DRAFTS})()).some(({{ files }}) => files.length)", "a draft with a photo"
    )
    for words in ("Water.", "Water, and rust."):
        wait_until_ready(page)  # a page that goes while its scripts come says so in Firefox
        expect_draft(page, "Lock 7")
        page.evaluate(STORES_NOTHING)
        page.locator("#notes").fill(words)
        page.reload()
        expect(page.locator("#notes")).to_have_value(words)
        expect(page.locator("#previews li")).to_have_count(1)
    expect(page.locator("#site")).to_have_value("Lock 7")
    expect(page.locator("[name=severity][value=high]")).to_be_checked()
    expect(page.locator("#aside")).to_be_hidden()
    page.wait_for_function(f"() => ({WRITTEN_DOWN})() === 0")
    wait_until_ready(page)


def test_what_was_typed_last_in_a_tab_that_was_closed_comes_back_in_the_next(server, chromium):
    """The tab is closed before its words can be stored: a new tab has them."""
    device = chromium(visited=True)
    page = device.open(server.url)
    expect(page.locator("#site")).to_have_value("")
    page.wait_for_function("() => sessionStorage.getItem('holdfast-draft')")
    page.evaluate(STORES_NOTHING)
    page.locator("#site").fill("Lock 7")
    page.close(run_before_unload=True)
    until_page(other := device.open(server.url), WRITTEN_DOWN + " === 0", "nothing beside what is stored")
    expect(other.locator("#site")).to_have_value("Lock 7")


def test_what_was_typed_before_the_draft_is_there_outlives_a_reload_beside_it(server, chromium):
    """The draft takes its time, another inspection is begun and the page is loaded anew: both are kept."""
    device = chromium(visited=True)
    page = device.open(server.url)
    fill(page, Inspection(site="Lock 7"))
    expect_draft(page, "Lock 7")
    device.context.add_init_script(
        f"if (!sessionStorage.getItem('again')) {{ sessionStorage.setItem('again', 1); {HELD_DRAFTS} }}"
    )
    page.reload()
    page.wait_for_function("() => globalThis.holdfast")
    page.locator("#site").fill("Weir 2")
    page.reload()
    expect(page.locator("#site")).to_have_value("Lock 7")
    expect(page.locator("#aside")).to_be_visible()
    save(page, Inspection(site="Lock 7"))
    expect(page.locator("#site")).to_have_value("Weir 2")


def test_what_was_saved_does_not_come_back_though_no_draft_could_be_stored(server, chromium):
    """The page writes its words down, saves, and goes: neither after a reload nor after a kill is it in the form again."""
    device = chromium(visited=True)
    for site, leave in (("Lock 7", lambda page: page.reload()), ("Lock 8", lambda _: (device.kill(), device.start()))):
        page = device.open(server.url)
        expect(page.locator("#site")).to_have_value("")
        page.wait_for_function("() => sessionStorage.getItem('holdfast-draft')")
        page.evaluate(STORES_NOTHING)
        fill(page, Inspection(site=site))
        page.evaluate("() => { dispatchEvent(new Event('pagehide')); }")
        submit(page)
        expect_saved(page, site)
        leave(page)
        page = device.open(server.url)
        until_page(page, NO_DRAFT, "no draft")
        expect(page.locator("#site")).to_have_value("")
        page.wait_for_function(f"() => ({WRITTEN_DOWN})() === 0")
        device.kill()
        device.start()


def test_a_secret_is_in_no_draft(server, chromium):
    """Neither a password nor a field that is marked as secret is stored or written down with the rest, typed or being saved."""
    page = chromium(visited=True).open(server.url)
    page.evaluate(SECRETS)
    page.get_by_label("Pin", exact=True).fill("hunter2")
    page.get_by_label("Token", exact=True).fill("hunter3")
    fill(page, Inspection(site="Lock 7"))
    expect_draft(page, "Lock 7")
    assert "hunter" not in json.dumps(page.evaluate(READ_DRAFTS))
    page.evaluate(STORES_NOTHING)
    page.evaluate(HELD_SAVES)
    page.locator("#notes").fill("Wet")
    submit(page)
    words = page.evaluate(WRITTEN_WORDS)
    assert "Wet" in words
    assert "hunter" not in words
    page.evaluate("() => letGo()")
    expect_saved(page, "Lock 7")


def test_a_secret_is_in_no_draft_of_an_edit_that_is_being_saved(relay, chromium):
    """What the form tells of an edit under way has no secret in it either."""
    device = chromium(visited=True)
    page = device.open(relay.url)
    [row] = refused(relay, page, "Lock 7")
    page.evaluate(SECRETS)
    edit(page, row)
    expect(page.locator("#site")).to_have_value("Lock 7")
    page.get_by_label("Pin", exact=True).fill("hunter2")
    page.get_by_label("Token", exact=True).fill("hunter3")
    page.locator("#notes").fill("Wet")
    other = device.open(relay.url)
    other.evaluate(HELD_QUEUE)
    submit(page)
    until_page(
        page, f"async () => (await ({READ_DRAFTS})()).some(({{ sending }}) => sending.length)", "an edit being saved"
    )
    drafts = json.dumps(page.evaluate(READ_DRAFTS))
    assert "Wet" in drafts
    assert "hunter" not in drafts + page.evaluate(WRITTEN_WORDS)
    other.evaluate("() => letGo()")
    expect_saved(page, "Lock 7")
