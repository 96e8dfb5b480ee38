"""What someone types is never lost: not to an edit, not to a draft that comes late, not to a save that takes its time."""

import re

import pytest
from playwright.sync_api import expect

from tests.support.accessibility import findings
from tests.support.browsers import forget_script, wait_until_ready
from tests.support.inspections import (
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
HELD_PYTHON = """
const go = new Promise((resolve) => (globalThis.letGo = resolve));
for (const name of ["compile", "instantiate", "compileStreaming", "instantiateStreaming"]) {
    const make = WebAssembly[name];
    WebAssembly[name] = (...source) => go.then(() => make(...source));
}
"""
HELD_SAVES = """() => {
    const go = new Promise((resolve) => (globalThis.letGo = resolve));
    const call = holdfast.call;
    holdfast.call = (...message) => (message[0] === "submit" ? go : Promise.resolve()).then(() => call.apply(holdfast, message));
}"""


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
