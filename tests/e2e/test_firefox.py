"""The main journey in Firefox, where no Background Sync exists: what is left goes out at the next visit."""

import pytest

from tests.support.inspections import (
    Inspection,
    expect_delivered,
    on_device,
    received,
    save,
    wait_until_sent,
)

pytestmark = pytest.mark.browser


def test_five_inspections_made_offline_in_firefox_survive_a_killed_browser_and_arrive_once_in_order(
    server, firefox, camera
):
    """First visit, then the server is gone; five inspections with photos are saved; SIGKILL; the server is back and the
    app is opened: it has the five in order, each photo byte for byte as it was queued, and nothing twice.
    """
    device = firefox()
    page = device.open(server.url)
    server.kill()
    for number in range(1, 6):
        photos = (camera(10 * number), camera(10 * number + 1))
        save(page, Inspection(site=f"Lock {number}", severity="high", photos=photos))
    queued = on_device(page)
    assert [job.site for job in queued] == [f"Lock {number}" for number in range(1, 6)]
    assert all(len(job.photos) == 2 for job in queued)
    device.kill()

    server.start()
    page = device.start().open(server.url)
    expect_delivered(server, queued, seconds=60)
    wait_until_sent(page, [job.id for job in queued])
    assert len(received(server)) == 5


def test_firefox_opens_and_saves_with_the_server_gone_and_sends_when_it_is_back(server, firefox, camera):
    """After one visit, with the server dead and the browser restarted, the app opens, Python runs and a form is saved;
    with the tab left open it goes out by itself once the server is back.
    """
    device = firefox(visited=True)
    server.kill()
    page = device.open(server.url)
    save(page, Inspection(site="Cellar 12", photos=(camera(1),)))
    queued = on_device(page)
    assert [(job.site, job.state) for job in queued] == [("Cellar 12", "pending")]

    server.start()
    expect_delivered(server, queued, seconds=90)
