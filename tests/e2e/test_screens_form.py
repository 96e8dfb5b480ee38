"""The form: what is typed is kept, photos are made small and clean, edits take the place of what was refused."""

import re

import httpx
import pytest
from playwright.sync_api import expect

from tests.support.browsers import forget_script, wait_until_ready
from tests.support.inspections import (
    Inspection,
    expect_saved,
    fill,
    on_device,
    photos_of,
    received,
    save,
    submit,
    wait_for_received,
)
from tests.support.photos import CAMERA, photo, size_of
from tests.support.screens import entry, line, pill, turn_to
from tests.support.waiting import until_page

pytestmark = pytest.mark.browser

HELD_PICTURES = """() => {
    const go = new Promise((resolve) => (globalThis.letGo = resolve));
    const decode = createImageBitmap;
    globalThis.createImageBitmap = (...picture) => go.then(() => decode(...picture));
}"""
SECOND_NEVER_READY = """() => {
    const make = createImageBitmap;
    let made = 0;
    globalThis.createImageBitmap = (...given) => (++made > 1 ? new Promise(() => {}) : make(...given));
}"""
DRAFTED_PHOTOS = """async (count) => {
    const drafts = (await holdfastInbox.keys()).filter((key) => key.startsWith("draft:"));
    return (await Promise.all(drafts.map((key) => holdfastInbox.get(key)))).some(({ files }) => files.length === count);
}"""
KEPT = re.compile(r"^Draft kept \d\d:\d\d\.$")
RECEIVED = re.compile(r"^Received \d\d:\d\d$")


def expect_typed(page, inspection):
    expect(page.locator("#site")).to_have_value(inspection.site)
    expect(page.locator("#notes")).to_have_value(inspection.notes)
    expect(page.locator(f"[name=severity][value={inspection.severity}]")).to_be_checked()
    for label in inspection.ticked:
        expect(page.locator(f'[name=checklist][value="{label}"]')).to_be_checked()
    expect(page.locator("#previews li")).to_have_count(len(inspection.photos))


@pytest.mark.parametrize("engine", ["chromium", "firefox"])
def test_a_draft_outlives_reload_and_crash_with_its_photos(server, browsers, engine, camera):
    """Half-typed, with two photos and an item of one's own: it is there after a reload and after a killed browser, and
    what is saved from it is what was typed. The next form has nothing of it, however the browser fills in forms itself.
    """
    device = browsers[engine](visited=True)
    page = device.open(server.url)
    typed = Inspection(
        site="Lock 7", severity="high", notes="Water.", ticked=("Access is safe",), photos=(camera(1), camera(2))
    )
    fill(page, typed)
    page.get_by_role("button", name="Add an item").click()
    page.keyboard.type("Handrail is firm")
    page.locator('#checks li:last-child input[type="checkbox"]').check()
    expect(page.locator("#draft")).to_have_text(KEPT)
    until_page(page, DRAFTED_PHOTOS, "a draft with two photos", arg=2)
    page.reload()
    wait_until_ready(page)
    expect_typed(page, typed)
    device.kill()
    page = device.start().open(server.url)
    expect_typed(page, typed)
    submit(page)
    expect_saved(page, "Lock 7")
    (item,) = wait_for_received(server, 1)
    assert len(photos_of(server, item)) == 2
    assert {"label": "Handrail is firm", "ok": True} in item["checklist"]
    page.reload()
    wait_until_ready(page)
    expect(page.locator("#site")).to_have_value("")
    expect(page.locator("#notes")).to_have_value("")
    expect(page.locator("[name=checklist]:checked, [name=severity]:checked")).to_have_count(0)


def test_a_photo_that_is_ready_is_kept_while_the_next_one_is_prepared(server, chromium, camera):
    """Two photos are taken, the second never gets ready, and the browser is killed: the first is in the draft."""
    device = chromium(visited=True)
    page = device.open(server.url)
    page.evaluate(SECOND_NEVER_READY)
    page.locator("#photos").set_input_files([camera(1), camera(2)])
    until_page(page, DRAFTED_PHOTOS, "a draft with one photo", arg=1)
    device.kill()
    page = device.start().open(server.url)
    expect(page.locator("#previews img")).to_have_attribute("alt", re.compile(r"^Photo 1: photo-1\."))


def test_each_tab_keeps_a_draft_of_its_own(server, chromium):
    """Two tabs, two half-typed inspections: a reload of either brings back its own, and neither takes the other's."""
    device = chromium(visited=True)
    one, other = device.open(server.url), device.open(server.url)
    for page, site in ((one, "Lock 7"), (other, "Lock 8")):
        page.locator("#site").fill(site)
        expect(page.locator("#draft")).to_have_text(KEPT)
    for page, site in ((one, "Lock 7"), (other, "Lock 8")):
        page.reload()
        wait_until_ready(page)
        expect(page.locator("#site")).to_have_value(site)
    expect(one.locator("#site")).to_have_value("Lock 7")
    third = device.open(server.url)
    expect(third.locator("#site")).to_have_value("")


def test_a_large_photo_is_scaled_and_carries_no_metadata(server, chromium, tmp_path):
    """3,000 px and EXIF go in; 2,000 px at most, upright, and nothing but pixels come out on the server."""
    page = chromium(visited=True).open(server.url)
    taken = photo(page, tmp_path / "IMG_1.jpg", width=3000, height=1500)
    assert CAMERA in taken.read_bytes()
    save(page, Inspection(site="Lock 7", photos=(taken,)))
    (item,) = wait_for_received(server, 1)
    (held,) = item["photos"]
    sent = httpx.get(server.url + held["url"]).content
    assert size_of(sent) == (1000, 2000)
    assert CAMERA not in sent
    assert b"Exif" not in sent


def test_a_photo_is_sent_as_it_was_taken_if_the_person_wants_that(server, chromium, tmp_path):
    """With "Keep new photos as they are" the server has the camera's own bytes, and the preview says so."""
    page = chromium(visited=True).open(server.url)
    taken = photo(page, tmp_path / "IMG_1.jpg", width=3000, height=1500)
    fill(page, Inspection(site="Lock 7", photos=(taken,)), originals=True)
    expect(page.locator("#previews li")).to_contain_text("Kept as it is.")
    submit(page)
    expect_saved(page, "Lock 7")
    (item,) = wait_for_received(server, 1)
    assert httpx.get(server.url + item["photos"][0]["url"]).content == taken.read_bytes()


def test_a_photo_chosen_before_its_script_is_there_is_scaled_all_the_same(relay, chromium, tmp_path):
    """The script comes late: a photo chosen meanwhile is made small and clean when it is there, before anything can be sent."""
    device = chromium(visited=True)
    page = device.open(relay.url)
    taken = photo(page, tmp_path / "IMG_1.jpg", width=3000, height=1500)
    forget_script(page, "photos.js")
    held = relay.hold("GET", "/photos.js")
    page.goto(relay.url, wait_until="commit")
    held.wait()
    page.locator("#photos").set_input_files(taken)
    expect(page.locator("#photos-hint")).to_have_text("Sent as they are, with place and camera data.")
    held.let_go()
    expect(page.locator("#previews li")).to_have_count(1)
    expect(page.locator("#photos-hint")).to_contain_text("Scaled to 2,000 px; place and camera data removed.")
    save(page, Inspection(site="Lock 7"))
    (item,) = wait_for_received(relay.server, 1)
    (photos,) = item["photos"]
    sent = httpx.get(relay.server.url + photos["url"]).content
    assert size_of(sent) == (1000, 2000)
    assert b"Exif" not in sent


def test_a_photo_that_is_late_for_its_form_is_not_in_the_next_one(server, chromium, camera):
    """The form was cleared while photos were being scaled: they come to nothing, and the next form has its own photo alone."""
    page = chromium(visited=True).open(server.url)
    page.evaluate(HELD_PICTURES)
    page.locator("#photos").set_input_files((camera(1), camera(3)))
    expect(page.locator("#photos-hint")).to_contain_text("Preparing 2 photos…")
    page.locator("#inspection").evaluate("(form) => form.reset()")
    page.locator("#photos").set_input_files(camera(2))
    page.evaluate("() => letGo()")
    previews = page.locator("#previews img")
    expect(previews).to_have_count(1)
    expect(previews).to_have_attribute("alt", "Photo 1: photo-2.jpg")
    save(page, Inspection(site="Lock 7"))
    (item,) = wait_for_received(server, 1)
    assert [each["name"] for each in item["photos"]] == ["photo-2.jpg"]


def test_a_photo_whose_preparation_never_ends_is_kept_as_it_is(server, chromium, camera):
    """The browser neither opens the picture nor gives up: after a while the photo is sent as it was taken, as the page says."""
    page = chromium(visited=True).open(server.url)
    page.evaluate(HELD_PICTURES)
    page.locator("#photos").set_input_files(camera(1))
    expect(page.locator("#previews li")).to_contain_text("Kept as it is: preparing it took too long", timeout=60_000)
    save(page, Inspection(site="Lock 7"))
    (item,) = wait_for_received(server, 1)
    assert httpx.get(server.url + item["photos"][0]["url"]).content == camera(1).read_bytes()


def test_after_a_refusal_the_edited_version_takes_the_place_of_the_old_one(relay, chromium, camera):
    """Edit fills the form with all there was; saving makes a new job under a new key and cancels the refused one."""
    page = chromium(visited=True).open(relay.url)
    relay.refuse_writes(422, 1, title="No such site")
    first = Inspection(site="Lokc 7", severity="high", notes="Water.", ticked=("Access is safe",), photos=(camera(1),))
    save(page, first)
    turn_to(page, "Outbox")
    row = entry(page, "Lokc 7")
    expect(pill(row)).to_have_text("Failed")
    (refused,) = on_device(page)
    row.get_by_role("button", name="Edit").click()
    expect(page.locator("#new-title")).to_be_focused()
    expect(page.locator("#editing")).to_contain_text("Editing “Lokc 7”. Saving puts this version in its place.")
    expect_typed(page, first)
    page.locator("#site").fill("Lock 7")
    submit(page)
    expect_saved(page, "Lock 7")
    turn_to(page, "Outbox")
    expect(pill(entry(page, "Lock 7"))).to_have_text(RECEIVED)
    expect(pill(row)).to_have_text("Cancelled")
    expect(line(row)).to_contain_text("Your edited version took its place")
    (item,) = wait_for_received(relay.server, 1)
    assert (item["site"], item["notes"]) == ("Lock 7", "Water.")
    assert photos_of(relay.server, item) == refused.photos
    assert item["idempotency_key"] != refused.key
    assert relay.sent(refused.key) == 1


def test_every_open_tab_shows_the_same_at_the_same_time(relay, chromium):
    """Saved in one tab, listed and counted in the other at once; received and counted down in both."""
    device = chromium(visited=True)
    here, there = device.open(relay.url), device.open(relay.url)
    turn_to(there, "Inspections")
    held = relay.hold_writes()
    save(here, Inspection(site="Lock 7"))
    row = entry(there, "Lock 7", on="inspections")
    expect(row).to_be_visible()
    for tab in (here, there):
        expect(tab.locator("#count")).to_have_text("1 unsent")
        expect(tab.locator("header.bar")).to_have_attribute("data-unsent", "")
    held.wait()
    held.let_go()
    expect(pill(row)).to_have_text(RECEIVED)
    for tab in (here, there):
        expect(tab.locator("#count")).to_have_text("All received")
        expect(tab.locator("header.bar")).not_to_have_attribute("data-unsent", "")


def test_what_another_device_sent_is_in_the_list_once_looked_at(server, chromium):
    """The list shows what the server has from others among one's own."""
    page = chromium(visited=True).open(server.url)
    answer = httpx.post(
        f"{server.url}/api/inspections",
        json={"site": "Weir 2", "inspected_on": "2026-01-02", "severity": "low"},
        headers={"Idempotency-Key": "0b6e0f0c-3b8e-4b3c-9f43-0b8a8c3f2a11"},
    )
    assert answer.status_code == 201
    turn_to(page, "Inspections")
    row = entry(page, "Weir 2", on="inspections")
    expect(pill(row)).to_have_text(RECEIVED)
    assert len(received(server)) == 1
