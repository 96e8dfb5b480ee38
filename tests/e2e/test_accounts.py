"""Signing in and out of the app: nothing of one account reaches another, and nothing that was saved is lost by it."""

import json
import shutil

import pytest
from playwright.sync_api import expect

from tests.support.accessibility import findings
from tests.support.accounts import (
    PASSWORD,
    PATIENCE_MS,
    account_link,
    add_account,
    expect_account,
    fill_in,
    received_by,
    sign_in,
    sign_out,
)
from tests.support.inspections import Inspection, fill, on_device, save
from tests.support.screens import banners, entry, expect_actions, focused, icon, pill, turn_to
from tests.support.server import Server
from tests.support.waiting import until

pytestmark = pytest.mark.browser

WIDE = {"width": 1280, "height": 800}
NARROW = {"width": 360, "height": 720}
GO = "() => { dispatchEvent(new Event('pagehide')); }"
WRITTEN_DOWN = "() => Object.entries(localStorage).filter(([name]) => name.startsWith('draft:'))"
DRAFTS = """async () => {
    const keys = (await holdfastInbox.keys()).filter((key) => key.startsWith("draft:"));
    return Promise.all(keys.map(async (key) => [key, await holdfastInbox.get(key)]));
}"""
STORES_NO_DRAFT = """() => {
    const set = holdfastInbox.set;
    holdfastInbox.set = (key, ...rest) =>
        key.startsWith("draft:") && rest[0] ? Promise.reject(new Error("no")) : set(key, ...rest);
}"""
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """The data folder of a server on which mara and jon have accounts, and nothing has happened yet."""
    data = tmp_path_factory.mktemp("people") / "data"
    for name in ("mara", "jon"):
        add_account(data, name)
    return data


@pytest.fixture
def server(tmp_path, build, port, people):
    """A server on which mara and jon have accounts."""
    data = shutil.copytree(people, tmp_path / "data")
    with Server(data, build, port=port, options=("--sign-in",)) as server:
        yield server


@pytest.fixture
def page(server, chromium):
    """The app on a device where nobody is signed in."""
    page = chromium(visited=True).open(server.url)
    expect(page.locator("#signed-out")).to_be_visible(timeout=PATIENCE_MS)
    return page


def sites(items):
    return [item["site"] for item in items]


def wait_for_received_by(server, name, count):
    until(lambda: len(received_by(server, name)) >= count, f"{count} received inspections of {name}")
    return sites(received_by(server, name))


def exported(page):
    """The sites in the file that "Export all" writes."""
    turn_to(page, "Outbox")
    with page.expect_download() as download:
        page.locator("#outbox").get_by_role("button", name="Export all").click()
    data = json.loads(download.value.path().read_text())
    return [job["payload"]["site"] for job in data["jobs"]]


def shown(page):
    """The titles of all rows, of list and Outbox."""
    return set(page.locator(".entry .entry-title").all_text_contents())


def test_the_jobs_of_one_account_wait_while_another_is_signed_in(server, page):
    """Mara's session ends with work unsent; Jon signs in on the same device, sees, exports and sends his alone; when Mara
    is back hers go out by themselves, under her name and in their order.
    """
    sign_in(page, "mara")
    save(page, Inspection(site="Mara 1"))
    assert wait_for_received_by(server, "mara", 1) == ["Mara 1"]
    add_account(server.data, "mara")  # ends her session
    for site in ("Mara 2", "Mara 3"):
        save(page, Inspection(site=site))
    turn_to(page, "Outbox")
    row = entry(page, "Mara 2")
    expect(pill(row)).to_have_text("Waiting for sign-in", timeout=PATIENCE_MS)
    expect(icon(row)).to_have_attribute("href", "#i-sign-in")
    expect_actions(row, "Sign in", "Cancel")
    expect(page.locator("#signed-out")).to_contain_text(
        "Signed out. Unsent inspections of mara wait until mara signs in. They stay on this device."
    )

    row.get_by_role("button", name="Sign in").click()
    expect(page.locator("#name")).to_have_value("mara")
    expect(page.locator("#sign-in")).to_contain_text("If somebody else signs in, the draft of mara is removed")
    fill_in(page, "jon")
    expect_account(page, "Account: jon")
    expect(page.locator("#outbox-title")).to_be_focused()
    save_in_form = Inspection(site="Jon 1")
    turn_to(page, "New")
    save(page, save_in_form)
    assert wait_for_received_by(server, "jon", 1) == ["Jon 1"]
    page.context.set_offline(True)
    save(page, Inspection(site="Jon 2"))
    assert exported(page) == ["Jon 2"]
    expect(page.locator("#count")).to_have_text("1 unsent")
    assert {"Jon 1", "Jon 2"} <= shown(page) <= {"Jon 1", "Jon 2"}
    account_link(page).click()
    expect(page.locator("#others")).to_have_text(
        "2 unsent inspections of mara wait on this device until mara signs in."
    )
    page.context.set_offline(False)
    assert wait_for_received_by(server, "jon", 2) == ["Jon 1", "Jon 2"]
    assert sites(received_by(server, "mara")) == ["Mara 1"]

    sign_out(page)
    sign_in(page, "mara")
    assert wait_for_received_by(server, "mara", 3) == ["Mara 1", "Mara 2", "Mara 3"]
    assert sites(received_by(server, "jon")) == ["Jon 1", "Jon 2"]
    until(lambda: {"Mara 2", "Mara 3"} <= shown(page), "Mara's rows")
    assert not {"Jon 1", "Jon 2"} & shown(page)


def test_a_tab_whose_python_failed_lets_go_of_the_draft_of_who_signs_out_in_another(server, page):
    """What mara typed is neither shown nor kept there any longer."""
    sign_in(page, "mara")
    other = page.context.new_page()
    other.add_init_script("delete globalThis.WebAssembly")
    other.goto(server.url)
    other.wait_for_function("() => globalThis.holdfast?.python === 'failed'")
    other.locator("#site").fill("Half of it")
    expect(other.locator("#draft")).to_contain_text("Draft kept", timeout=PATIENCE_MS)
    sign_out(page)
    expect(other.locator("#site")).to_have_value("", timeout=PATIENCE_MS)
    drafts = "async () => !(await holdfastInbox.keys()).some((key) => key.startsWith('draft:'))"
    until(lambda: other.evaluate(drafts), "no draft")


def test_signing_out_wipes_drafts_and_what_was_received_and_refuses_to_wipe_what_is_unsent(server, page, camera):
    """Without a network, in two tabs: the screen says what goes and what stays; the server is told when it is back."""
    sign_in(page, "mara")
    save(page, Inspection(site="Lock 7", photos=(camera(1),)))
    wait_for_received_by(server, "mara", 1)
    other = page.context.new_page()
    other.goto(server.url)
    expect_account(other, "Account: mara")
    fill(other, Inspection(site="Half of it"))
    page.context.set_offline(True)
    save(page, Inspection(site="Lock 8", photos=(camera(2),)))
    fill(page, Inspection(site="A draft"))
    expect(page.locator("#draft")).to_contain_text("Draft kept", timeout=PATIENCE_MS)
    page.evaluate(STORES_NO_DRAFT)
    page.locator("#notes").fill("Water.")
    page.evaluate(GO)
    [[name, words]] = page.evaluate(WRITTEN_DOWN)
    assert "Water." in words
    account_link(page).click()
    expect(page.locator("#signed-in")).to_contain_text(
        "1 unsent inspection is not removed: it stays here until mara signs in again."
    )
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("#account-title")).to_be_focused()
    expect(page.locator("#status")).to_have_text(
        "Signed out. 1 inspection of mara could not be sent yet. It stays on this device until mara signs in."
    )
    for tab in (page, other):
        expect(tab.locator("#site")).to_have_value("")
        said = "Unsent inspections of mara wait until mara signs in."
        expect(tab.locator("#signed-out")).to_contain_text(said, timeout=PATIENCE_MS)
        assert not {"Lock 7", "Lock 8"} & shown(tab)
    kept = on_device(page)
    assert [(job.site, job.state, len(job.photos)) for job in kept] == [
        (None, "completed", 0),
        ("Lock 8", "pending", 1),
    ]
    assert [key for key in page.evaluate("() => holdfastInbox.keys()") if key.startswith("draft:")] == []
    assert page.evaluate(WRITTEN_DOWN) == []

    # A tab that slept through it may write down hers after that: nobody else gets it.
    page.evaluate("([name, words]) => localStorage.setItem(name, words)", [name, words])
    page.context.set_offline(False)
    until(lambda: page.evaluate("async () => (await (await fetch('/api/session')).json()).account") == "", "no session")
    page.reload()
    expect_account(page, "Sign in")
    until(lambda: page.evaluate(WRITTEN_DOWN) == [], "nothing of hers")
    expect(page.locator("#site")).to_have_value("")
    assert sites(received_by(server, "mara")) == ["Lock 7"]
    turn_to(page, "Inspections")
    sign_in(page, "mara")
    assert wait_for_received_by(server, "mara", 2) == ["Lock 7", "Lock 8"]


def test_drafts_that_were_stored_too_late_are_nobody_elses(server, page):
    """Tabs of mara's store hers after they were wiped, and are gone: whoever opens the app next neither gets nor keeps them."""
    sign_in(page, "mara")
    turn_to(page, "New")
    fill(page, Inspection(site="Half of it"))
    expect(page.locator("#draft")).to_contain_text("Draft kept", timeout=PATIENCE_MS)
    drafts = page.evaluate(DRAFTS)
    assert [draft["account"] for _, draft in drafts] == ["mara"]
    sign_out(page)
    until(lambda: page.evaluate(DRAFTS) == [], "no draft")
    [[name, draft]] = drafts
    for number in (1, 2):
        page.evaluate("([name, draft]) => holdfastInbox.set(name, draft)", [f"{name}{number}", draft])
    other = page.context.new_page()
    other.goto(server.url)
    expect_account(other, "Sign in")
    until(lambda: page.evaluate(DRAFTS) == [], "nothing of hers")
    expect(other.locator("#site")).to_have_value("")
    expect(other.locator("#aside")).to_be_hidden()


def test_a_session_that_ends_without_a_network_costs_nothing(server, page):
    """Saving goes on, nothing is sent under nobody's name, the draft stays, and after sign-in all arrives in order."""
    sign_in(page, "mara")
    page.context.set_offline(True)
    add_account(server.data, "mara")  # ends her session
    for site in ("Lock 7", "Lock 8"):
        save(page, Inspection(site=site))
    page.reload()
    expect_account(page, "Account: mara")
    save(page, Inspection(site="Lock 9"))
    fill(page, Inspection(site="A draft"))
    page.context.set_offline(False)
    expect(page.locator("#signed-out")).to_be_visible(timeout=PATIENCE_MS)
    expect_account(page, "Sign in")
    turn_to(page, "Outbox")
    expect(pill(entry(page, "Lock 7"))).to_have_text("Waiting for sign-in", timeout=PATIENCE_MS)
    expect(page.locator("#outbox .facts dd").nth(1)).to_have_text("0 of 8")
    sign_in(page, "mara")
    assert wait_for_received_by(server, "mara", 3) == ["Lock 7", "Lock 8", "Lock 9"]
    turn_to(page, "New")
    expect(page.locator("#site")).to_have_value("A draft")


def test_what_is_saved_while_nobody_is_signed_in_is_sent_only_by_whom_it_belongs_to(server, page):
    """It waits, also over a reload; who signs in is asked, and says so or not; then it arrives under that name."""
    save(page, Inspection(site="Lock 7"))
    turn_to(page, "Outbox")
    expect(pill(entry(page, "Lock 7"))).to_have_text("Waiting for sign-in", timeout=PATIENCE_MS)
    page.reload()
    sign_in(page, "jon")
    question = page.locator("#nobodys")
    expect(question).to_contain_text("1 inspection was saved here while nobody was signed in.", timeout=PATIENCE_MS)
    question.get_by_role("button", name="Not mine").click()
    expect(question).to_be_hidden()
    assert "Lock 7" not in shown(page)
    sign_out(page)
    expect(entry(page, "Lock 7")).to_have_count(1)
    sign_in(page, "mara")
    turn_to(page, "Inspections")
    question.get_by_role("button", name="Send as mine").click()
    assert wait_for_received_by(server, "mara", 1) == ["Lock 7"]
    expect(question).to_be_hidden()
    expect(entry(page, "Lock 7", on="inspections")).to_be_visible()
    assert received_by(server, "jon") == []


def test_a_refused_sign_in_says_why_and_by_keyboard_alone_the_next_one_succeeds(server, page):
    """Wrong password: the reason beside the field that has the focus, and the password gone; then Enter signs in."""
    page.locator("#signed-out").get_by_role("button", name="Sign in").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#account-title")).to_be_focused()
    assert page.url.endswith("#account")
    page.keyboard.press("Tab")
    assert focused(page) == "name"
    page.keyboard.type("mara")
    page.keyboard.press("Tab")
    page.keyboard.type("a wrong password")
    page.keyboard.press("Enter")
    expect(page.locator("#not-signed-in")).to_have_text(
        "Not signed in: name and password do not belong together. Check both.", timeout=PATIENCE_MS
    )
    expect(page.locator("#password")).to_be_focused()
    expect(page.locator("#password")).to_have_value("")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect_account(page, "Account: mara")
    expect(page.locator("#new-title")).to_be_focused()
    expect(page.locator("#status")).to_have_text("Signed in as mara.")
    assert "signed-out" not in banners(page)
    assert PASSWORD not in page.content()


def test_axe_finds_nothing_signed_out_refused_and_signed_in(server, page):
    """Light and dark, narrow and wide, nothing sticks out."""
    save(page, Inspection(site="Lock 7"))
    found = look_at(page, "signed out")
    page.locator("#who").click()
    fill_in(page, "mara", "wrong")
    expect(page.locator("#not-signed-in")).to_be_visible(timeout=PATIENCE_MS)
    found += look_at(page, "refused")
    fill_in(page, "mara")
    expect_account(page, "Account: mara")
    turn_to(page, "Inspections")
    expect(page.locator("#nobodys")).to_be_visible(timeout=PATIENCE_MS)
    found += look_at(page, "signed in, something is nobody's")
    page.locator("#who").click()
    found += look_at(page, "account")
    assert found == []


def look_at(page, moment):
    found = []
    for scheme in ("light", "dark"):
        for size in (NARROW, WIDE):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size(size)
            where = f"{moment}, {scheme}, {size['width']}"
            found += [f"{where}: {finding}" for finding in findings(page)]
            if (beyond := page.evaluate(OVERFLOW)) > 0:
                found.append(f"{where}: {beyond} px stick out to the side")
    return found


def test_without_accounts_there_is_nothing_of_them(relay, chromium):
    """No entry in the navigation, no banner, one question to the server a page."""
    page = chromium(visited=True).open(relay.url)
    save(page, Inspection(site="Lock 7"))
    until(lambda: any(seen.path == "/api/session" for seen in relay.seen), "the question")
    expect(page.locator(".nav a:visible")).to_have_count(3)
    assert [name for name in banners(page) if name in ("signed-out", "nobodys")] == []
    assert [seen.path for seen in relay.seen].count("/api/session") == 1
