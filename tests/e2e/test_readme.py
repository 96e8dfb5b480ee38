"""What the README shows works as it is printed there."""

import json
import re
import shutil

import pytest
from playwright.sync_api import expect

from tests.support.builds import changed_app
from tests.support.inspections import on_device, photos_of, received, wait_for_received
from tests.support.server import ROOT, Server

pytestmark = pytest.mark.browser

USED_FROM = "accepted = await"
RESULT = "row = await"
TELL = """
import json, js
js.globalThis.told = json.dumps({told})
"""
RUN = """(code) => {
    globalThis.told = undefined;
    const script = document.createElement("script");
    script.type = "py";
    script.textContent = code;
    document.body.append(script);
}"""

PAGE = """<!doctype html>
<html lang="en">
<title>A page of its own</title>
<link rel="icon" href="data:,">
<script src="/given.js"></script>
<script type="module" src="/readme.js"></script>
</html>
"""
GIVEN = """
const payload = { site: "Lock 7", inspected_on: "2026-01-02", severity: "low" };
const file = new File(["abc"], "a.png", { type: "image/png" });
const rendered = [];
const render = (jobs) => rendered.push(...jobs);
"""


def block(language):
    """The README's code in this language."""
    [code] = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return code


def run(page, code, *, told):
    """Run it in the page's Python, as a script of its own; returns the value of `told` then."""
    page.evaluate(RUN, code + TELL.format(told=told))
    page.wait_for_function("() => globalThis.told", timeout=60_000)
    return json.loads(page.evaluate("() => told"))


@pytest.fixture
def server(tmp_path, build, port):
    """The app's own server, with one page more beside the app: the README's JavaScript, and what it takes as given."""
    dist = tmp_path / "dist"
    shutil.copytree(build, dist, copy_function=shutil.copy)
    for name, text in {"readme.html": PAGE, "given.js": GIVEN, "readme.js": block("js")}.items():
        (dist / name).write_text(text)
    with Server(tmp_path / "data", dist, port=port) as running:
        yield running


def test_the_ten_lines_of_python_do_what_they_say(server, chromium, tmp_path):
    """The first half is the app's `app/jobs.py`, for page and worker; the second runs in a page. Saved offline, the browser
    killed, the row is asked for after a new start: completed, and there is one effect.
    """
    code = block("python")
    declared, used = code[: code.index(USED_FROM)], code[code.index(USED_FROM) :]
    enqueued, awaited = used[: used.index(RESULT)], used[used.index(RESULT) :]
    server.stop()
    server.dist = changed_app(tmp_path / "app", {"app/jobs.py": ((ROOT / "app/jobs.py").read_text(), declared)})
    server.start()

    device = chromium()
    page = device.open(server.url)
    device.offline()
    enqueue = f"from app.jobs import outbox\n{enqueued}"
    accepted = run(page, enqueue, told='{"id": accepted.id, "key": accepted.key}')
    assert [(job.id, job.key, job.where) for job in on_device(page)] == [(accepted["id"], accepted["key"], "queue")]
    device.kill()

    page = device.start().open(server.url)
    wait = f"from app.jobs import outbox\nfrom types import SimpleNamespace\naccepted = SimpleNamespace(**{accepted})\n"
    assert run(page, wait + awaited, told='row["state"]') == "completed"
    [item] = received(server)
    assert (item["site"], item["idempotency_key"]) == ("Lock 7", accepted["key"])
    expect(page.locator("#count")).to_have_text("All received")


def test_the_lines_of_javascript_do_what_they_say(server, chromium):
    """As a module of a page without Python, with a payload, a file and a `render` given: sent with its file, and shown."""
    page = chromium(visited=True).open(f"{server.url}/readme.html", ready=False)
    [item] = wait_for_received(server, 1)
    assert len(photos_of(server, item)) == 1
    page.wait_for_function("() => rendered.some(({ state }) => state === 'completed')", timeout=60_000)
    [job] = page.evaluate("() => holdfast.jobs()")
    assert job["expires_at"] - job["created_at"] == 86_400_000
