"""Everything comes from this origin: the recorder of each device fails a test on a request that leaves it."""

import pytest

from tests.support.inspections import Inspection, save, wait_until_sent

pytestmark = pytest.mark.browser

PARTS = ("pyodide.asm.wasm", "python_stdlib.zip", "pyscript/core.js", "micropip-", "holdfast-", "fastjsonschema-")


@pytest.mark.parametrize("engine", ["chromium", "firefox"])
def test_no_request_leaves_the_origin_on_first_and_later_visits(server, engine, camera, watch, browsers):
    """Python, PyScript, micropip and the wheels come from here, at the first visit and later; so does all that follows
    a submit.
    """
    device = browsers[engine]()
    page = device.open(server.url)
    save(page, Inspection(site="Lock 7", photos=(camera(1),)))
    wait_until_sent(page)
    page.reload()
    page = device.open(server.url)
    save(page, Inspection(site="Lock 8", photos=(camera(2),)))
    wait_until_sent(page)
    assert {url.split("/")[2] for url in watch.requests} == {f"localhost:{server.port}"}
    if engine == "chromium":  # Firefox does not show what a service worker asks for
        missing = [part for part in PARTS if not any(part in url for url in watch.requests)]
        assert missing == []


def test_the_recorder_sees_a_request_that_leaves_the_origin(server, chromium, watch):
    """A recorder that sees nothing would pass everything: a request elsewhere is told, from a page and from a worker."""
    page = chromium(visited=True).open(server.url)
    page.evaluate("() => fetch('http://localhost:1/elsewhere').catch(() => {})")
    page.evaluate("() => console.error('a complaint of ours')")
    faults = list(watch.faults)
    watch.faults.clear()
    assert any("http://localhost:1/elsewhere" in fault for fault in faults)
    assert any("a complaint of ours" in fault for fault in faults)
