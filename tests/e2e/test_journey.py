"""The main journey in Chromium: offline, five inspections, a crash, and everything arrives once and in order."""

import pytest
from playwright.sync_api import expect

from tests.support.browsers import FAST_SYNC
from tests.support.inspections import (
    Inspection,
    expect_delivered,
    expect_saved,
    fill,
    on_device,
    received,
    save,
    send_now,
    submit,
    wait_until_sent,
)

pytestmark = pytest.mark.browser

HOLD_COMMITS = """(() => {
    // Whatever saves a submission commits only after `commitNow()`: until then reads keep its transaction alive.
    let open = false;
    globalThis.commitNow = () => { open = true; };
    globalThis.readsWhileHeld = 0;
    const begin = IDBDatabase.prototype.transaction;
    IDBDatabase.prototype.transaction = function (stores, mode, options) {
        const transaction = begin.call(this, stores, mode, options);
        const saves = mode === "readwrite" && options?.durability === "strict";
        const store = ["jobs", "entries"].find((name) => transaction.objectStoreNames.contains(name));
        if (!saves || !store) return transaction;
        const busy = () => {
            if (open) return;
            globalThis.readsWhileHeld += 1;
            transaction.objectStore(store).count().onsuccess = busy;
        };
        busy();
        return transaction;
    };
})();"""


def five(camera):
    """Five inspections of one round, with two photos each."""
    return [
        Inspection(
            site=f"Lock {number}",
            severity=("low", "medium", "high")[number % 3],
            notes=f"Round {number}: water at the sluice.",
            ticked=("Access is safe",) if number % 2 else (),
            photos=(camera(10 * number), camera(10 * number + 1)),
        )
        for number in range(1, 6)
    ]


def test_five_inspections_made_offline_survive_a_killed_browser_and_arrive_once_in_order(server, chromium, camera):
    """First visit, then no network and no server; five inspections with photos are saved; SIGKILL; back online, the
    server has the five in order, each photo byte for byte as it was queued, and nothing twice.
    """
    device = chromium()
    page = device.open(server.url)
    device.offline()
    server.stop()
    for inspection in five(camera):
        save(page, inspection)
    queued = on_device(page)
    assert [job.site for job in queued] == [f"Lock {number}" for number in range(1, 6)]
    assert all(len(job.photos) == 2 for job in queued)
    device.kill()

    server.start()
    page = device.start().open(server.url)
    expect_delivered(server, queued)
    wait_until_sent(page, [job.id for job in queued])
    assert len(received(server)) == 5


def test_inspections_made_offline_arrive_by_the_worker_alone_after_a_killed_browser(server, chromium, camera):
    """The same, but after the crash nobody opens the app: the browser's own sync event wakes the service worker."""
    device = chromium(*FAST_SYNC, visited=True)
    page = device.open(server.url)
    device.offline()
    for inspection in five(camera):
        save(page, inspection)
    queued = on_device(page)
    device.kill()

    device.start()
    expect_delivered(server, queued, seconds=60)
    assert len(received(server)) == 5


def test_inspections_made_offline_arrive_by_the_worker_alone_when_the_network_returns(server, chromium, camera):
    """The tab is closed offline; when the network returns the worker delivers with no page open."""
    device = chromium(*FAST_SYNC, visited=True)
    page = device.open(server.url)
    device.offline()
    for inspection in five(camera):
        save(page, inspection)
    queued = on_device(page)
    page.close()
    assert received(server) == []

    device.online()
    expect_delivered(server, queued, seconds=60)
    assert len(received(server)) == 5


@pytest.mark.parametrize("python", ["ready", "starting"])
def test_saved_is_said_only_after_the_commit(server, chromium, python):
    """As long as the write is not committed the page does not say that it is saved, whoever writes it."""
    device = chromium(visited=True)
    device.context.add_init_script(HOLD_COMMITS)
    if python == "starting":
        device.context.add_init_script("WebAssembly.compile = () => new Promise(() => {})")
    page = device.open(server.url, ready=python == "ready")
    fill(page, Inspection(site="Lock 7"))
    assert page.evaluate("() => readsWhileHeld") == 0
    submit(page)
    page.wait_for_function("() => readsWhileHeld > 500")
    expect(page.locator("#saved")).to_be_hidden()

    page.evaluate("() => commitNow()")
    expect_saved(page, "Lock 7")
    assert [job.site for job in on_device(page)] == ["Lock 7"]


def test_the_app_opens_and_saves_with_server_and_network_gone(server, chromium, camera):
    """After one visit, with the server dead and the browser restarted, the app opens, Python runs and a form is saved;
    when the server is back it goes out by itself.
    """
    device = chromium(visited=True)
    server.kill()
    page = device.open(server.url)
    save(page, Inspection(site="Cellar 12", photos=(camera(1),)))
    queued = on_device(page)
    assert [(job.site, job.state) for job in queued] == [("Cellar 12", "pending")]
    device.kill()
    page = device.start().open(server.url)
    assert [job.photos for job in on_device(page)] == [job.photos for job in queued]

    server.start()
    send_now(page)
    expect_delivered(server, queued)
