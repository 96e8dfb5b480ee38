"""static/shim.js: the submit listener, with and without Python."""

import pytest

FORM = """(type) => {
  document.body.innerHTML = `<form data-holdfast="${type}" action="/submit" method="post" enctype="multipart/form-data">
    <input name="site"><input type="password" name="pin"><input name="note" data-secret><input type="file" name="photos">
    <button>Save</button></form>`;
  globalThis.told = [];
  for (const name of ["saved", "refused", "unsaved"])
    document.forms[0].addEventListener(`holdfast:${name}`, ({detail}) => told.push([name, detail]));
}"""


@pytest.fixture
def page(lone_page):
    page = lone_page(block="**/pyscript.js")
    page.evaluate(FORM, "inspection.create")
    return page


def entries(page):
    page.wait_for_function("() => told.length")
    return page.evaluate("async () => (await holdfastInbox.list()).map(({files, ...entry}) => entry)")


def test_a_submit_before_python_is_kept(page):
    """No Python: the raw fields are in the inbox, and the form is told so."""
    page.fill("[name=site]", "Harbour Street 4")
    page.click("button")
    (entry,) = entries(page)
    assert entry["fields"] == [["site", "Harbour Street 4"]]
    assert entry["source"] == "form"
    ((name, detail),) = page.evaluate("() => told")
    assert name == "saved"
    assert (detail["id"], detail["key"]) == (entry["id"], entry["key"])


def test_secrets_are_never_stored(page):
    """Passwords and fields marked as secret stay out of the inbox."""
    page.fill("[name=pin]", "1234")
    page.fill("[name=note]", "token")
    page.click("button")
    (entry,) = entries(page)
    assert entry["fields"] == [["site", ""]]


def test_a_double_tap_is_one_job(page):
    """Two submits of the same content, at once and after the first is saved, make one entry."""
    page.fill("[name=site]", "Cellar")
    page.evaluate("() => { document.forms[0].requestSubmit(); document.forms[0].requestSubmit(); }")
    assert len(entries(page)) == 1
    page.click("button")
    assert len(entries(page)) == 1
    assert len(page.evaluate("() => told")) == 1


def test_the_same_id_with_other_content_is_a_new_job(page):
    """What was changed since the save is a job of its own."""
    page.fill("[name=site]", "Cellar")
    page.click("button")
    entries(page)
    page.fill("[name=site]", "Roof")
    page.click("button")
    page.wait_for_function("() => told.length === 2")
    assert [entry["fields"][0][1] for entry in entries(page)] == ["Cellar", "Roof"]


def test_a_refused_submit_keeps_its_ids_until_it_is_changed(page):
    """Python says what breaks the rules: nothing is stored, the same once more is the same job, a corrected one another."""
    page.evaluate(
        """() => holdfast.connect(async (message) => {
          const {params: {entry: {id, key, fields}}} = JSON.parse(message);
          const answer = fields[0][1] ? {saved: {id, key}} : {refused: [{pointer: "/site", message: "Enter the site."}]};
          return JSON.stringify({ok: answer});
        })"""
    )
    before = page.evaluate("() => { document.forms[0].requestSubmit(); return document.forms[0].dataset.jobId; }")
    page.wait_for_function("() => told.length === 1")
    page.click("button")
    page.wait_for_function("() => told.length === 2")
    page.fill("[name=site]", "Cellar")
    page.click("button")
    page.wait_for_function("() => told.length === 3")
    (refused, again, saved) = page.evaluate("() => told")
    violations = [{"pointer": "/site", "message": "Enter the site."}]
    assert refused == again == ["refused", {"submission": before, "violations": violations}]
    assert saved[0] == "saved"
    assert saved[1]["id"] not in ("", before)
    assert page.evaluate("() => holdfastInbox.count()") == 0


SILENT = """() => {
  const {append, StorageError} = holdfastInbox;
  holdfastInbox.append = async (entry) => {
    globalThis.late = () => append.call(holdfastInbox, entry);
    holdfastInbox.append = append;
    throw new StorageError("This browser's storage does not answer.");
  };
}"""


def unsaved(page, site):
    """Submit what nobody stores in time; `late()` stores it after all."""
    page.evaluate(SILENT)
    page.fill("[name=site]", site)
    page.click("button")
    page.wait_for_function("() => told.length === 1")
    ((name, detail),) = page.evaluate("() => told")
    assert name == "unsaved"
    return detail["submission"]


def test_what_is_sent_once_more_after_it_was_not_saved_is_one_job(page):
    """The write of the first time may end late: unchanged, the second one has its id and key."""
    submission = unsaved(page, "Cellar")
    page.click("button")
    page.wait_for_function("() => told.length === 2")
    page.evaluate("() => late()")
    (entry,) = entries(page)
    assert entry["id"] == submission


def test_what_was_added_after_it_was_not_saved_is_kept_though_it_was_saved_late(page):
    """Python's write of the first text ends late, under the same key; the longer text is a job of its own."""
    submission = unsaved(page, "Cellar")
    page.evaluate(
        """(id) => holdfastInbox.append({
          id, key: document.forms[0].dataset.jobKey, type: "inspection.create", payload: {site: "Cellar"}, source: "python",
        })""",
        submission,
    )
    page.fill("[name=site]", "Cellar, and water in it")
    page.click("button")
    page.wait_for_function("() => told.length === 2")
    first, second = entries(page)
    assert (first["id"], first["payload"]) == (submission, {"site": "Cellar"})
    assert second["fields"] == [["site", "Cellar, and water in it"]]
    assert second["id"] != submission
    assert second["key"] != first["key"]


def test_a_python_that_fails_loses_nothing(page):
    """Whatever Python throws, the inbox takes the submit."""
    page.evaluate("() => holdfast.connect(async () => { throw new Error('heap is broken'); })")
    page.fill("[name=site]", "Cellar")
    page.click("button")
    (entry,) = entries(page)
    assert entry["fields"][0] == ["site", "Cellar"]


def test_a_failed_save_is_told_and_the_form_keeps_its_content(lone_page):
    """Storage refused: `holdfast:unsaved` with the error, and what was typed is still there."""
    page = lone_page(
        "IDBFactory.prototype.open = () => { throw new DOMException('no', 'SecurityError'); }", block="**/pyscript.js"
    )
    page.evaluate(FORM, "inspection.create")
    page.fill("[name=site]", "Cellar")
    page.click("button")
    page.wait_for_function("() => told.length")
    told = page.evaluate("() => [told[0][0], told[0][1].error.name]")
    assert told == ["unsaved", "StorageError"]
    assert page.input_value("[name=site]") == "Cellar"
