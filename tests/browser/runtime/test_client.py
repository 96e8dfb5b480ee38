"""static/holdfast.js: the client in a page with Python, in one whose Python fails, and in one without any."""

import pytest
from playwright.sync_api import expect

from tests.support.inspections import Inspection, save

PLAIN = """<!doctype html><html lang="en"><title>A page of somebody else's</title><link rel="icon" href="data:,">
<script type="module" src="/holdfast.js"></script></html>"""
ENQUEUE = """() => holdfast.enqueue("inspection.create",
  {site: "Cellar", inspected_on: "2026-01-02", severity: "low"}, {attachments: [new File(["abc"], "a.png", {type: "image/png"})]})"""


def test_page_and_client_speak_with_python(open_page, faults):
    """A job enqueued through the client is listed with a full row; nothing is uncaught and no error logged."""
    page = open_page()
    assert page.evaluate("() => holdfast.python") == "ready"
    saved = page.evaluate(ENQUEUE)
    row = page.evaluate("(id) => holdfast.job(id)", saved["id"])
    assert row["key"] == saved["key"]
    assert row["payload"]["site"] == "Cellar"
    assert faults == []


def test_a_rule_broken_is_an_error_with_name_and_code(open_page):
    """What Python refuses is an Error of that name, not an entry in the inbox."""
    page = open_page()
    told = page.evaluate(
        """() => holdfast.enqueue("no.such.type", {})
          .then(() => null, (error) => [error instanceof Error, error.name, error.code])"""
    )
    assert told == [True, "UnknownTypeError", "unknown_type"]
    assert page.evaluate("() => holdfastInbox.count()") == 0


def test_a_page_whose_python_cannot_start_still_saves_lists_and_exports(lone_page, faults):
    """WebAssembly blocked and no worker: submits are durable, rows and an export come from the inbox."""
    page = lone_page("delete globalThis.WebAssembly", wait=True)
    page.evaluate("() => holdfast.ready")
    saved = page.evaluate(ENQUEUE)
    facts = page.evaluate("() => holdfast.capabilities()")
    assert facts["python"] == "failed"
    assert facts["closes"] == "next-visit"
    (row,) = page.evaluate("() => holdfast.jobs()")
    assert (row["id"], row["state"], row["attempts"]) == (saved["id"], "pending", 0)
    exported = page.evaluate("() => holdfast.export()")
    (entry,) = exported["inbox"]
    assert exported["holdfast"] == 1
    assert entry["payload"]["site"] == "Cellar"
    assert entry["attachments"] == [
        {"field": "attachments", "name": "a.png", "type": "image/png", "size": 3, "data": "YWJj"}
    ]
    assert faults == []


@pytest.mark.parametrize(
    "dead",
    ["Promise.reject(new Error('gone'))", "{ throw new Error('gone'); }", "undefined"],
    ids=["rejects", "throws", "says"],
)
def test_a_page_whose_python_has_stopped_still_saves_lists_and_exports(lone_page, dead):
    """Ready once, dead now: the next call finds out, and from there on the page works as one without Python."""
    page = lone_page(block="**/pyscript.js")
    page.evaluate(f"() => holdfast.connect(() => {dead})")
    saved = page.evaluate(ENQUEUE)
    assert page.evaluate("() => holdfast.python") == "failed"
    (row,) = page.evaluate("() => holdfast.jobs()")
    assert row["id"] == saved["id"]
    assert len(page.evaluate("() => holdfast.export()")["inbox"]) == 1


SLOW_QUEUE = """(() => {
  const {open} = IDBFactory.prototype;
  const later = (told) => (event) => setTimeout(() => told(event), 6000);
  IDBFactory.prototype.open = function (name, ...given) {
    const request = open.call(this, name, ...given);
    if (name === "holdfast:reference" && !globalThis.slow)
      Object.defineProperty(request, "onsuccess", {set: (told) => told && request.addEventListener("success", later(told))});
    globalThis.slow ||= name === "holdfast:reference";
    return request;
  };
})()"""


def test_python_starts_though_the_queue_opens_slowly(lone_page):
    """Six seconds until the database is open, longer than a save would wait for it: they only make the start late."""
    page = lone_page(SLOW_QUEUE, wait=True)
    assert page.evaluate("() => [slow, holdfast.python, holdfast.pythonReason]") == [True, "ready", None]
    saved = page.evaluate(ENQUEUE)
    assert page.evaluate("(id) => holdfast.job(id)", saved["id"])["payload"]["site"] == "Cellar"


FATAL = """() => {
  const script = document.createElement("script");
  script.type = "py";
  script.textContent = `
import asyncio
from _pyodide_core import trigger_fatal_error
asyncio.get_running_loop().call_soon(trigger_fatal_error)
`;
  document.body.append(script);
}"""


def test_a_python_that_meets_a_fatal_error_is_noticed_at_once_and_the_page_goes_on(lone_page):
    """The machine dies in a turn of its event loop, where nobody waits for an answer: the page goes on as one without Python,
    says so, and what is saved is there.
    """
    page = lone_page(wait=True)
    assert page.evaluate("() => holdfast.python") == "ready"
    page.evaluate(FATAL)
    page.wait_for_function("() => holdfast.python === 'failed'")
    page.evaluate("() => addEventListener('holdfast:saved', ({detail}) => (globalThis.saved = detail.id))")
    save(page, Inspection(site="Lock 7"))
    expect(page.locator("#saved")).to_contain_text("It is kept until the part that sends can start.")
    job = page.evaluate("() => holdfast.job(saved)")
    assert job["payload"]["site"] == "Lock 7"


def test_an_enqueue_that_nobody_stores_ends_and_names_its_ids(lone_page):
    """The inbox does not answer: within its time the caller knows, and can ask once more for the same job."""
    page = lone_page(
        """(() => {
          const {setTimeout} = globalThis;
          globalThis.setTimeout = (work, span, ...given) => setTimeout(work, span === 5000 ? 0 : span, ...given);
        })()""",
        block="**/pyscript.js",
    )
    told = page.evaluate(
        """async () => {
          await holdfast.ready;
          const {append} = holdfastInbox;
          holdfastInbox.append = () => new Promise(() => {});
          const told = await holdfast.enqueue("inspection.create", {site: "Cellar"}).then(() => null, ({name, id, key}) => [name, id, key]);
          holdfastInbox.append = append;
          return told;
        }"""
    )
    assert told[0] == "WaitTimeoutError"
    assert len(told[1]) == len(told[2]) == 36


def test_an_edit_that_python_does_not_take_is_no_new_inspection(lone_page):
    """Python has stopped and nobody knows yet: the edit stays in the form, and the person is told that it is not saved."""
    page = lone_page(block="**/pyscript.js")
    page.evaluate("() => holdfast.connect(() => Promise.reject(new Error('Pyodide already fatally failed.')))")
    page.fill("#site", "Lock 7")
    page.check("[name=severity][value=low]", force=True)
    page.evaluate(
        "() => { const form = document.getElementById('inspection'); form.dataset.edits = 'x'; form.requestSubmit(); }"
    )
    expect(page.locator("#not-saved")).to_contain_text("Not saved: an edit needs the part of Holdfast")
    assert page.evaluate("() => holdfastInbox.count()") == 0


def test_a_method_that_nobody_can_answer_rejects_with_a_reason(lone_page):
    """Without any Python `retry` says why it cannot be done."""
    page = lone_page("delete globalThis.WebAssembly", wait=True)
    told = page.evaluate("() => holdfast.retry('x').then(() => null, ({name, message}) => [name, message.length > 0])")
    assert told == ["UnavailableError", True]


def test_a_call_settles_in_the_time_it_was_given(lone_page):
    """A Python that never answers costs `timeout_ms`, no more."""
    page = lone_page(block="**/pyscript.js")
    told = page.evaluate(
        """async () => {
          holdfast.connect(() => new Promise(() => {}));
          const begun = performance.now();
          const name = await holdfast.wait("x", {timeout_ms: 300}).then(() => null, (error) => error.name);
          return [name, performance.now() - begun < 5000];
        }"""
    )
    assert told == ["WaitTimeoutError", True]


def test_a_secret_is_refused_without_python_too(lone_page):
    """Nothing of the write is stored, and the error names the field."""
    page = lone_page(block="**/pyscript.js")
    told = page.evaluate(
        """async () => {
          const payload = {site: "Cellar", inner: [{Authorization: "Bearer 1"}]};
          const error = await holdfast.enqueue("inspection.create", payload).then(() => null, (error) => error);
          return [error?.name, error?.code, error?.message, await holdfastInbox.count()];
        }"""
    )
    assert told[:2] == ["SecretError", "secret"]
    assert "'Authorization'" in told[2]
    assert told[3] == 0


WRONG = {
    "{}, {delay: 5000}": "delay",
    "{}, {ttl_ms: NaN}": "ttl_ms",
    "{a: NaN}": "'a' is NaN",
    "{a: [{b: -Infinity}]}": "'b' is -Infinity",
    "{photo: new File(['abc'], 'a.png')}": "'photo' is [object File]",
    "{a: 1n}": "BigInt",
    "(() => { const a = {}; a.a = a; return a; })()": "payload",
    "undefined": "payload",
    "{}, {attachments: ['a.png']}": "attachments",
    "{}, {attachments: null}": "attachments",
}


@pytest.mark.parametrize("has_python", [True, False])
def test_what_would_be_dropped_or_changed_is_refused_with_and_without_python(open_page, lone_page, has_python):
    """An option that nobody knows, a number that JSON does not have, a file in the payload: refused by name, nothing stored."""
    page = open_page() if has_python else lone_page(block="**/pyscript.js")
    for given, named in WRONG.items():
        told = page.evaluate(
            f"""() => holdfast.enqueue('inspection.create', {given})
              .then(() => null, ({{name, code, message}}) => [name, code, message])"""
        )
        assert told is not None, given
        assert told[:2] == ["InvalidOptionError", "invalid_option"], (given, told)
        assert named in told[2], (given, told)
    assert page.evaluate("() => holdfastInbox.count()") == 0
    if has_python:
        assert page.evaluate("() => holdfast.jobs()") == []


def test_an_edit_asked_for_twice_is_one_new_job(open_page):
    """With an id and a key for the new job the second call finds it done; an option that nobody knows is refused."""
    page = open_page()
    told = page.evaluate(
        """async () => {
          await holdfast.pause();
          const payload = {site: "Cellar", inspected_on: "2026-01-02", severity: "low"};
          const {id} = await holdfast.enqueue("inspection.create", payload);
          const ids = {id: holdfastInbox.uuid(), key: holdfastInbox.uuid()};
          const edit = (options) => holdfast.edit(id, {...payload, site: "Roof"}, options);
          const edited = [await edit(ids), await edit(ids)];
          const refused = await edit({...ids, colour: "red"}).then(() => null, ({name, message}) => [name, message]);
          const rows = await holdfast.jobs();
          return [edited.every(({id, key}) => id === ids.id && key === ids.key), refused, rows.map(({state}) => state).sort()];
        }"""
    )
    assert told == [
        True,
        ["InvalidOptionError", "There is no option 'colour'; there are id, key, attachments."],
        ["cancelled", "pending"],
    ]


def test_a_misspelt_filter_does_not_mean_all(open_page):
    """To send every failed job once more, or to pause everything, was not what was asked for."""
    page = open_page()
    for asked, known in (("retryAll({raeson: 'refused'})", "reason"), ("pause({kind: 'photo'})", "queue, type")):
        told = page.evaluate(f"() => holdfast.{asked}.then(() => null, ({{name, message}}) => [name, message])")
        assert told is not None, asked
        assert (told[0], told[1].endswith(f"it takes {known}.")) == ("InvalidOptionError", True), told


def test_what_json_keeps_is_saved_as_it_is(lone_page):
    """A date becomes its text, what is undefined is not there; a list of files may be that of an input."""
    page = lone_page(block="**/pyscript.js")
    saved = page.evaluate(
        """async () => {
          const files = new DataTransfer();
          files.items.add(new File(["abc"], "a.png", {type: "image/png"}));
          const payload = {site: "Cellar", at: new Date(0), gone: undefined, none: null, list: [1.5, true]};
          const {id} = await holdfast.enqueue("inspection.create", payload, {attachments: files.files, lane: undefined, priority: 7});
          const [entry] = await holdfastInbox.list();
          return [entry.id === id, entry.payload, entry.options, entry.files.length];
        }"""
    )
    payload = {"site": "Cellar", "at": "1970-01-01T00:00:00.000Z", "none": None, "list": [1.5, True]}
    assert saved == [True, payload, {"priority": 7}, 1]


def test_a_time_that_no_timer_can_wait_is_refused(lone_page):
    """It would be over at once."""
    page = lone_page(block="**/pyscript.js")
    for given in ("NaN", "Infinity", "-1", "2 ** 40", "'long'"):
        name = page.evaluate(f"() => holdfast.wait('x', {{timeout_ms: {given}}}).then(() => null, ({{name}}) => name)")
        assert name == "InvalidOptionError", given


def test_a_page_without_python_is_answered_by_the_worker(context, open_page, server):
    """The client in any page of the origin: the worker's Python takes its jobs and lists them."""
    open_page()
    context.route("**/plain", lambda route: route.fulfill(body=PLAIN, content_type="text/html"))
    page = open_page("/plain", wait=False)
    page.wait_for_function("() => globalThis.holdfast")
    assert page.evaluate("() => holdfast.python") == "none"
    saved = page.evaluate(ENQUEUE)
    rows = page.evaluate("() => holdfast.jobs()")
    assert saved["id"] in [row["id"] for row in rows]


def test_every_tab_hears_of_a_change(open_page):
    """A save in one tab is a `change` event in the other, with the job's id."""
    here, there = open_page(), open_page()
    there.evaluate(
        "() => { globalThis.heard = []; holdfast.addEventListener('change', ({detail}) => heard.push(...detail.ids)); }"
    )
    saved = here.evaluate(ENQUEUE)
    there.wait_for_function("(id) => heard.includes(id)", arg=saved["id"])


def test_a_page_hears_that_failures_will_be_deleted(lone_page):
    """Whoever finds it out tells every tab: the event has the ids of the jobs."""
    page = lone_page(block="**/pyscript.js")
    ids = page.evaluate(
        """() => new Promise((resolve) => {
          holdfast.addEventListener("about_to_prune", ({detail}) => resolve(detail.ids));
          new BroadcastChannel(holdfastInbox.channel).postMessage({kind: "about_to_prune", ids: ["a", "b"]});
        })"""
    )
    assert ids == ["a", "b"]
