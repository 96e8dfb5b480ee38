"""The JavaScript client in a page of somebody else's on the same origin, which has no Python: the worker answers."""

import shutil

import pytest

from tests.support.inspections import received, wait_for_received
from tests.support.server import Server

pytestmark = pytest.mark.browser

PAGE = """<!doctype html>
<html lang="en">
<title>A page without Python</title>
<link rel="icon" href="data:,">
<script type="module" src="/plain.js"></script>
</html>
"""
SCRIPT = """import holdfast from "/holdfast.js";
globalThis.same = holdfast === globalThis.holdfast;
globalThis.changed = [];
holdfast.addEventListener("change", ({ detail }) => changed.push(...detail.ids));
holdfast.ready.then(() => (globalThis.isReady = true));
/** The outcome of a promise, and that it came in time. */
globalThis.settled = async (promise) => {
  const begun = performance.now();
  const outcome = await promise.then((value) => ({ value }), ({ name, code, message }) => ({ error: { name, code, message } }));
  return { ...outcome, inTime: performance.now() - begun <= 10_000 };
};
globalThis.inspection = { site: "Lock 7", inspected_on: "2026-01-02", severity: "low" };
"""

MEASURES = """async () => {
    const { active } = await navigator.serviceWorker.ready;
    return (await holdfast.ask(active, "timings")).ok.measures.map(({ name }) => name);
}"""


@pytest.fixture
def server(tmp_path, build, port):
    """The app's own server, with one page more beside the app."""
    dist = tmp_path / "dist"
    shutil.copytree(build, dist, copy_function=shutil.copy)
    (dist / "plain.html").write_text(PAGE)
    (dist / "plain.js").write_text(SCRIPT)
    with Server(tmp_path / "data", dist, port=port) as running:
        yield running


@pytest.fixture
def page(server, chromium):
    """The plain page, on a device where the app has been opened before."""
    page = chromium(visited=True).open(f"{server.url}/plain.html", ready=False)
    page.wait_for_function("() => globalThis.isReady")
    return page


def call(page, expression, arg=None):
    """What a method of the client came to."""
    outcome = page.evaluate(f"(arg) => settled({expression})", arg)
    assert outcome["inTime"], f"{expression} took more than 10 s"
    assert "error" not in outcome, outcome
    return outcome["value"]


def refusal(page, expression, arg=None):
    """The error a method of the client rejected with."""
    outcome = page.evaluate(f"(arg) => settled({expression})", arg)
    assert outcome["inTime"], f"{expression} took more than 10 s"
    return outcome["error"]


def test_a_page_without_python_enqueues_follows_and_finds_its_job(page, server):
    """From `enqueue` with a file to the server's receipt, with every reading method on the way."""
    assert page.evaluate("() => same")
    facts = call(page, "holdfast.capabilities()")
    assert (facts["python"], facts["serviceWorker"], facts["storage"]) == ("none", True, True)
    attach = "{ attachments: [new File(['abc'], 'a.png', { type: 'image/png' })], priority: 3 }"
    saved = call(page, f"holdfast.enqueue('inspection.create', inspection, {attach})")
    assert set(saved) == {"id", "key"}
    ended = call(page, "holdfast.wait(arg, { timeout_ms: 9000 })", saved["id"])
    assert (ended["state"], ended["key"], ended["priority"]) == ("completed", saved["key"], 3)
    assert saved["id"] in page.evaluate("() => changed")

    (row,) = call(page, "holdfast.jobs()")
    named = "id key type queue lane priority account state reason attempts run_at created_at updated_at expires_at"
    assert set(named.split()) <= set(row)
    assert call(page, "holdfast.jobs({ state: 'failed' })") == []
    job = call(page, "holdfast.job(arg)", saved["id"])
    assert job["payload"]["site"] == "Lock 7"
    assert [(file["name"], file["type"], file["size"]) for file in job["attachments"]] == [("a.png", "image/png", 3)]
    assert call(page, "holdfast.job('nobody')") is None
    assert call(page, "holdfast.stats()")["states"]["completed"] == 1
    (item,) = wait_for_received(server, 1)
    assert item["idempotency_key"] == saved["key"]
    assert [photo["size"] for photo in item["photos"]] == [3]


def test_a_page_without_python_retries_cancels_drains_and_exports(page, server):
    """With the server gone work waits, can be exported and cancelled; when it is back a drain sends the rest."""
    server.stop()
    kept = call(page, "holdfast.enqueue('inspection.create', inspection)")
    dropped = call(page, "holdfast.enqueue('inspection.create', { ...inspection, site: 'Lock 8' })")
    assert call(page, "holdfast.drain({ timeout_ms: 9000 })")["remaining"] is True
    exported = call(page, "holdfast.export()")
    assert {job["id"] for job in exported["jobs"]} == {kept["id"], dropped["id"]}
    call(page, "holdfast.cancel(arg)", dropped["id"])
    assert call(page, "holdfast.job(arg)", dropped["id"])["state"] == "cancelled"
    call(page, "holdfast.retry(arg)", kept["id"])
    server.start()
    call(page, "holdfast.drain({ timeout_ms: 9000 })")
    assert call(page, "holdfast.wait(arg)", kept["id"])["state"] == "completed"
    assert [item["idempotency_key"] for item in received(server)] == [kept["key"]]


def test_what_cannot_be_done_is_refused_with_a_name_and_a_reason(page, server):
    """Unknown jobs, unknown filters, a wait that is over: an error with a name and words, within the time."""
    for expression in ("holdfast.retry('nobody')", "holdfast.cancel('nobody')", "holdfast.wait('nobody')"):
        error = refusal(page, expression)
        assert (error["name"], error["code"]) == ("JobNotFoundError", "job_not_found"), expression
        assert error["message"]
    assert refusal(page, "holdfast.jobs({ colour: 'red' })")["name"] == "InvalidOptionError"
    server.stop()
    saved = call(page, "holdfast.enqueue('inspection.create', inspection)")
    assert refusal(page, "holdfast.wait(arg, { timeout_ms: 500 })", saved["id"])["name"] == "WaitTimeoutError"


def test_what_the_worker_would_refuse_is_kept_and_shown_not_lost(page, server):
    """Without Python in the page nobody can check at once: a broken rule or an unknown type becomes a failed job."""
    broken = call(page, "holdfast.enqueue('inspection.create', { site: '' })")
    strange = call(page, "holdfast.enqueue('no.such.type', {})")
    rows = {row["id"]: (row["state"], row["reason"]) for row in call(page, "holdfast.jobs()")}
    assert rows == {broken["id"]: ("failed", "invalid"), strange["id"]: ("failed", "unknown_type")}
    assert received(server) == []


def test_every_method_settles_although_the_worker_has_to_start_python_anew(page):
    """The worker is stopped before each call: it restores its Python, and whoever asks gets an answer in time."""
    session = page.context.new_cdp_session(page)
    session.send("ServiceWorker.enable")
    for expression in (
        "holdfast.jobs()",
        "holdfast.stats()",
        "holdfast.export()",
        "holdfast.drain({ timeout_ms: 9000 })",
    ):
        session.send("ServiceWorker.stopAllWorkers")
        call(page, expression)
        assert "holdfast:python:restored" in page.evaluate(MEASURES)


def test_a_page_with_python_refuses_at_once_what_breaks_a_rule(server, chromium):
    """In the app itself: unknown type, broken rule, a field far too long, each by its name, and nothing is stored."""
    page = chromium(visited=True).open(server.url)
    tries = (
        ("UnknownTypeError", "holdfast.enqueue('no.such.type', {})"),
        ("InvalidPayloadError", "holdfast.enqueue('inspection.create', { site: '' })"),
        (
            "InvalidPayloadError",
            "holdfast.enqueue('inspection.create', { site: 'x'.repeat(1_100_000), inspected_on: '2026-01-02', severity: 'low' })",
        ),
        (
            "InvalidOptionError",
            "holdfast.enqueue('inspection.create', { site: 'x', inspected_on: '2026-01-02', severity: 'low' }, { priority: 12 })",
        ),
    )
    for name, expression in tries:
        told = page.evaluate(f"() => {expression}.then(() => null, ({{ name, message }}) => [name, message])")
        assert told[0] == name, (expression, told)
        assert len(told[1]) > 20
    assert page.evaluate("() => holdfast.jobs()") == []
    assert page.evaluate("() => holdfastInbox.count()") == 0
