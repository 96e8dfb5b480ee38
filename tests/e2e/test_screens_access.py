"""For everybody: nothing for axe-core to find, all of it by keyboard, the focus where the person is."""

import re

import pytest
from playwright.sync_api import expect

from tests.support.accessibility import findings
from tests.support.inspections import (
    Inspection,
    expect_saved,
    fill,
    on_device,
    received,
    save,
    submit,
    wait_for_received,
)
from tests.support.screens import entry, focused, pill, turn_to

pytestmark = pytest.mark.browser

SCREENS = ("New", "Inspections", "Outbox")
NARROW = {"width": 360, "height": 720}
WIDE = {"width": 1280, "height": 800}
LOOKS = [(scheme, size) for scheme in ("light", "dark") for size in (NARROW, WIDE)]
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
SMALL_TARGETS = """() => [...document.querySelectorAll("a[href], button, input:not([type=hidden], .tile *), textarea, .tile")]
    .filter((target) => target.checkVisibility({ visibilityProperty: true }) && !target.closest(".out-of-sight, .skip"))
    .map((target) => [target.closest("label")?.offsetHeight > target.offsetHeight ? target.closest("label") : target, target])
    .filter(([target]) => target.offsetHeight < 43.5)
    .map(([target, named]) => `${named.id || named.name || named.innerText} ${target.offsetWidth}x${target.offsetHeight}`)"""


def look_at_everything(page, moment):
    """Every screen, light and dark, narrow and wide: axe-core finds nothing, nothing sticks out, targets are large."""
    found = []
    for scheme, size in LOOKS:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(size)
        for screen in SCREENS:
            turn_to(page, screen)
            where = f"{moment}, {screen}, {scheme}, {size['width']}"
            found += [f"{where}: {finding}" for finding in findings(page)]
            if (beyond := page.evaluate(OVERFLOW)) > 0:
                found.append(f"{where}: {beyond} px stick out to the side")
            found += [f"{where}: a target is small: {target}" for target in page.evaluate(SMALL_TARGETS)]
    assert found == []


def test_axe_finds_nothing_before_anything_is_saved(server, chromium):
    """A first visit: empty states, and the banner that tells what the app can do."""
    page = chromium().open(server.url)
    look_at_everything(page, "first visit")


def test_axe_finds_nothing_while_work_waits_and_when_it_is_received(relay, chromium, camera):
    """Offline with work waiting; one refused, asking for the person; a form with broken rules; one received."""
    page = chromium(visited=True).open(relay.url)
    page.context.set_offline(True)
    for site in ("Harbour Street 4, cellar", "Lock 7"):
        save(page, Inspection(site=site, photos=(camera(1),), severity="high"))
    look_at_everything(page, "offline")

    relay.refuse_writes(422, 1, title="No such site")
    page.context.set_offline(False)
    wait_for_received(relay.server, 1)
    turn_to(page, "Outbox")
    expect(pill(entry(page, "Harbour Street 4"))).to_have_text("Failed")
    expect(pill(entry(page, "Lock 7"))).to_have_text(re.compile("^Received"))
    turn_to(page, "New")
    fill(page, Inspection(site="", photos=(camera(2),)))
    submit(page)
    expect(page.locator("#site-error")).to_be_visible()
    look_at_everything(page, "refused, received, rules broken")


def test_axe_finds_nothing_while_something_is_sent_and_a_cancel_is_asked(relay, chromium, camera):
    """A job on its way with its progress, and the question in its row."""
    page = chromium(visited=True).open(relay.url)
    held = relay.hold_writes()
    save(page, Inspection(site="Lock 7", photos=(camera(1),)))
    held.wait()
    turn_to(page, "Outbox")
    entry(page, "Lock 7").get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="No, keep it")).to_be_focused()
    look_at_everything(page, "sending")


def press_until(page, name, key="Tab", most=40):
    """Walk with one key until the focus is on what has this id, name or text."""
    for _ in range(most):
        page.keyboard.press(key)
        if focused(page) == name:
            return
    raise AssertionError(f"{key} did not lead to {name!r} but to {focused(page)!r}")


def test_an_inspection_is_made_sent_and_looked_up_by_keyboard_alone(server, chromium):
    """From the top of the page through the form in its order, saved with Enter, found in the list, and Back again."""
    page = chromium(visited=True).open(server.url)
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to content"
    page.keyboard.press("Enter")
    assert focused(page) == "main"
    press_until(page, "site")
    page.keyboard.type("Lock 7")
    press_until(page, "inspected_on")
    press_until(page, "severity")
    page.keyboard.press("ArrowDown")
    press_until(page, "checklist")
    page.keyboard.press("Space")
    press_until(page, "notes")
    page.keyboard.type("Dry.")
    press_until(page, "photos")
    press_until(page, "Save inspection")
    page.keyboard.press("Enter")
    expect_saved(page, "Lock 7")
    assert focused(page) == "saved"

    press_until(page, "See it in the list")
    page.keyboard.press("Enter")
    expect(page.locator("#inspections-title")).to_be_focused()
    assert page.url.endswith("#inspections")
    expect(entry(page, "Lock 7", on="inspections")).to_be_visible()
    page.go_back()
    expect(page.locator("#new-title")).to_be_focused()
    assert not page.url.endswith("#inspections")
    page.go_forward()
    expect(page.locator("#inspections-title")).to_be_focused()
    (item,) = wait_for_received(server, 1)
    assert (item["site"], item["severity"], item["notes"]) == ("Lock 7", "medium", "Dry.")
    assert {"label": "Access is safe", "ok": True} in item["checklist"]


def test_a_broken_rule_takes_the_focus_to_its_field_and_says_what_to_enter(server, chromium):
    """Two rules broken: the first faulty field has the focus, each field its sentence, nothing typed is lost."""
    page = chromium(visited=True).open(server.url)
    page.locator("#notes").fill("Water at the sluice.")
    page.locator("#inspected_on").fill("2099-01-01")
    submit(page)
    expect(page.locator("#site")).to_be_focused()
    for field, words in (
        ("site", "Enter the site, for example “Lock 7, pump house”."),
        ("inspected_on", "“Inspected on” lies in the future. Correct the date."),
        ("severity", "Choose a severity: low, medium or high."),
    ):
        expect(page.locator(f"#{field}-error")).to_have_text(words)
        expect(page.locator(f"#{field}")).to_have_attribute("aria-invalid", "true")
        assert f"{field}-error" in page.locator(f"#{field}").get_attribute("aria-describedby")
    expect(page.locator("#not-saved")).to_have_text("Not saved: 3 fields need you. Everything you typed is still here.")
    expect(page.locator("#notes")).to_have_value("Water at the sluice.")

    page.locator("#site").fill("Lock 7")
    expect(page.locator("#site-error")).to_be_hidden()
    submit(page)
    expect(page.locator("#inspected_on")).to_be_focused()
    assert received(server) == []


def test_what_is_over_a_limit_is_refused_beside_its_field_and_never_called_saved(server, chromium, camera):
    """Far over any limit: as told as one over; nothing is stored, everything typed is kept and goes once it is put right."""
    page = chromium(visited=True).open(server.url)
    fill(page, Inspection(site="Lock 7", photos=(camera(1),)))
    page.evaluate("() => { document.getElementById('notes').value = 'x'.repeat(1_200_000); }")
    page.evaluate(
        """() => {
          const control = document.querySelector("[name=photos]");
          const files = new DataTransfer();
          for (let n = 0; n < 60; n += 1) files.items.add(new File(["x"], `${n}.jpg`, {type: "image/jpeg"}));
          control.files = files.files;
        }"""
    )
    submit(page)
    expect(page.locator("#notes-error")).to_contain_text("Shorten the notes")
    expect(page.locator("#photos-error")).to_contain_text("Keep to ")
    expect(page.locator("#not-saved")).to_have_text("Not saved: 2 fields need you. Everything you typed is still here.")
    expect(page.locator("#saved")).to_be_hidden()
    assert on_device(page) == []
    assert page.evaluate("() => document.getElementById('notes').value.length") == 1_200_000


def test_the_focus_stays_with_its_row_when_the_row_changes(relay, chromium):
    """The button under the focus goes because the job is received: the focus moves to the row's title."""
    page = chromium(visited=True).open(relay.url)
    held = relay.hold_writes()
    save(page, Inspection(site="Lock 7"))
    held.wait()
    turn_to(page, "Outbox")
    row = entry(page, "Lock 7")
    row.get_by_role("button", name="Cancel").focus()
    held.let_go()
    expect(pill(row)).to_have_text(re.compile("^Received"))
    expect(row.locator(".entry-title")).to_be_focused()


def test_what_happened_is_told_to_screen_readers_once(relay, chromium):
    """Received is told politely and gathered; being back online as well; what needs the person at once."""
    page = chromium(visited=True).open(relay.url)
    page.evaluate(
        """() => {
            globalThis.told = [];
            for (const id of ["status", "alarm"]) {
                const tell = () => told.push([id, document.getElementById(id).textContent]);
                new MutationObserver(tell).observe(document.getElementById(id), { childList: true, characterData: true, subtree: true });
            }
        }"""
    )
    page.context.set_offline(True)
    for site in ("Lock 7", "Lock 8", "Lock 9"):
        save(page, Inspection(site=site))
    page.context.set_offline(False)
    wait_for_received(relay.server, 3)
    page.wait_for_function("() => told.some(([, words]) => /received/.test(words))")
    told = page.evaluate("() => told")
    assert ["status", "Back online."] in told
    assert sum(int(words.split()[0]) for _, words in told if re.fullmatch(r"\d+ received\.", words)) <= 3
    assert [words for where, words in told if where == "alarm"] == []
