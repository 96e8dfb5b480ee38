"""sw/ and the snapshot: the service worker of a real build, in real browsers."""

import pytest

from tests.support.waiting import until_page

MEASURES = "() => performance.getEntriesByType('measure').map(({name}) => name)"
ASK = """async (method) => {
  const {active} = await navigator.serviceWorker.ready;
  return (await holdfast.ask(active, method)).ok;
}"""
RESTORED = "holdfast:python:restored"
UNUSED = """async (build) =>
  (await navigator.locks.query()).held.every(({ name }) => name !== `holdfast:build:${build}`)"""
ONE_BUILD = "async (build) => (await caches.keys()).join() === `holdfast-${build}`"


def test_a_second_visit_restores_python(open_first, faults):
    """The first visit leaves a snapshot behind; the next one starts from it, with its modules imported."""
    open_first().close()
    page = open_first()
    assert RESTORED in page.evaluate(MEASURES)
    assert faults == []


def test_everything_opens_without_a_network(open_page, server, faults):
    """After one visit, with the server stopped: the app opens, Python runs, a job is saved."""
    page = open_page()
    server.stop()
    page.reload()
    page.wait_for_function("() => holdfast.python === 'ready'", timeout=60_000)
    saved = page.evaluate(
        "() => holdfast.enqueue('inspection.create', {site: 'Cellar', inspected_on: '2026-01-02', severity: 'low'})"
    )
    assert page.evaluate("(id) => holdfast.job(id)", saved["id"])["state"] in ("pending", "processing")
    assert [fault for fault in faults if "uncaught" in fault] == []


def test_a_restored_python_is_whole_and_its_own(open_page):
    """Two starts from one snapshot draw different numbers; modules not imported before can be imported all the same."""
    page = open_page()
    starts = page.evaluate(
        """async () => {
          const {start} = await import(`/runtime/${holdfast.build}/python.js`);
          const once = async () => {
            const {python, how} = await start();
            return [how, ...python.runPython(`
import importlib.metadata, random, sys
sys.modules.pop("fastjsonschema.draft06", None)
import colorsys, fastjsonschema.draft06
from pyodide.ffi import to_js
to_js([importlib.metadata.version("fastjsonschema"), random.random()])`)];
          };
          return [await once(), await once()];
        }"""
    )
    (first_how, first_version, first), (second_how, second_version, second) = starts
    assert (first_how, second_how) == ("restored", "restored")
    assert first_version == second_version != ""
    assert first != second


def test_a_drain_is_handed_to_a_page_with_python(open_first):
    """The worker wakes, a page is there: the page drains, and no second Python is started. On a first visit, since a worker that
    has a snapshot may rightly have begun to drain while its page was still starting.
    """
    page = open_first()
    drained = page.evaluate(ASK, "drain")
    assert "remaining" in drained
    timings = page.evaluate(ASK, "timings")
    assert RESTORED not in [measure["name"] for measure in timings["measures"]]


def test_a_form_without_the_listener_is_taken_by_the_worker(open_page, server):
    """The form's own multipart POST: into the inbox and back to the app, which takes it in."""
    page = open_page()
    server.stop()
    page.evaluate(
        """() => {
          const form = document.querySelector("form[data-holdfast]");
          form.elements.site.value = "Cellar";
          form.elements.inspected_on.value = "2026-01-02";
          form.elements.severity.value = "low";
          HTMLFormElement.prototype.submit.call(form); // tells no listener
        }"""
    )
    page.wait_for_function(
        "() => location.hash === '#inspections' && globalThis.holdfast?.python === 'ready'", timeout=90_000
    )
    (row,) = page.evaluate("() => holdfast.jobs()")
    assert page.evaluate("(id) => holdfast.job(id)", row["id"])["payload"]["site"] == "Cellar"


def test_what_is_not_of_the_build_passes_untouched(open_page, server):
    """The API is never answered from a cache."""
    page = open_page()
    assert page.evaluate("async () => (await fetch('/api/flags')).status") == 200
    server.stop()
    assert page.evaluate("() => fetch('/api/flags').then(() => 'answered', () => 'no network')") == "no network"


@pytest.fixture
def updated(open_page, server, next_build, faults):
    """Two tabs of one build, and the next one waiting; what they asked for while the server was exchanged is no fault."""
    tabs = [open_page(), open_page()]
    old = tabs[0].evaluate("() => holdfast.build")
    tabs[0].evaluate(
        "() => { globalThis.offered = false; holdfast.addEventListener('update', () => (offered = true)); }"
    )
    server.stop()
    server.dist = next_build
    server.start()
    tabs[0].evaluate("async () => { await (await holdfast.registration).update(); }")
    tabs[0].wait_for_function("() => offered", timeout=60_000)
    faults.clear()
    return old, *tabs


def test_an_update_waits_to_be_asked_for(updated):
    """A new version is offered, and until it is asked for a reload still opens the old one."""
    old, tab, _other = updated
    tab.reload()
    tab.wait_for_function("() => holdfast.updateReady", timeout=60_000)
    assert tab.evaluate("() => holdfast.build") == old


def test_an_update_reloads_only_the_tab_that_asked(updated, faults):
    """The tab that asked gets the new version; the other goes on with files of its own build until it is closed."""
    old, tab, other = updated
    other.evaluate("() => { globalThis.untouched = true; }")
    tab.evaluate("() => { holdfast.applyUpdate(); }")
    tab.wait_for_function("(old) => globalThis.holdfast && holdfast.build !== old", arg=old, timeout=60_000)
    tab.wait_for_function("() => holdfast.python === 'ready'", timeout=90_000)
    new = tab.evaluate("() => holdfast.build")
    assert other.evaluate("() => globalThis.untouched")
    assert other.evaluate("(build) => fetch(`/runtime/${build}/python.js`).then(({status}) => status)", old) == 200
    assert set(tab.evaluate("() => caches.keys()")) == {f"holdfast-{old}", f"holdfast-{new}"}
    own = tab.evaluate("() => performance.getEntriesByType('resource').map(({name}) => name)")
    assert [url for url in own if f"/runtime/{old}/" in url] == []
    other.close()
    until_page(tab, UNUSED, "no use of the old build", arg=old)
    tab.reload()  # any start of a page has the worker let go of what no other uses
    until_page(tab, ONE_BUILD, "no other build", arg=new)
    assert faults == []
