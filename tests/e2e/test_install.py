"""Installable: what the browser asks of an app before it offers to install it, and what people see when it does."""

import struct

import httpx
import pytest

pytestmark = pytest.mark.browser

PNG = b"\x89PNG\r\n\x1a\n"


def size_of(png: bytes) -> str:
    """The size a PNG says it has, as a manifest writes it."""
    assert png.startswith(PNG)
    return "{}x{}".format(*struct.unpack(">II", png[16:24]))


@pytest.fixture
def manifest(server):
    answer = httpx.get(f"{server.url}/manifest.webmanifest")
    answer.raise_for_status()
    assert answer.headers["Content-Type"].startswith("application/manifest+json")
    return answer.json()


def test_the_browser_finds_nothing_against_installing_the_app(server, chromium):
    """Chromium has no installability error, and none in the manifest it read."""
    page = chromium().open(server.url)
    page.evaluate("() => navigator.serviceWorker.ready.then(() => true)")
    session = page.context.new_cdp_session(page)
    assert session.send("Page.getInstallabilityErrors")["installabilityErrors"] == []
    read = session.send("Page.getAppManifest")
    assert read["errors"] == []
    assert read["url"] == f"{server.url}/manifest.webmanifest"


@pytest.mark.parametrize("what", ["icons", "screenshots"])
def test_every_picture_of_the_manifest_is_there_in_the_size_it_names(server, manifest, what):
    """An icon or screenshot that is missing or of another size is left out by browsers without a word."""
    assert manifest[what]
    for picture in manifest[what]:
        answer = httpx.get(f"{server.url}{picture['src']}")
        assert answer.status_code == 200, picture["src"]
        assert answer.headers["Content-Type"] == picture["type"]
        if picture["sizes"] != "any":
            assert size_of(answer.content) == picture["sizes"], picture["src"]


def test_the_manifest_has_what_home_screens_and_stores_ask_for(manifest):
    """A maskable icon, both usual sizes, a screenshot for narrow and for wide screens, a name, a start, a theme."""
    icons = {(icon["purpose"], icon["sizes"]) for icon in manifest["icons"]}
    assert {("any", "192x192"), ("any", "512x512"), ("maskable", "512x512")} <= icons
    assert {shot["form_factor"] for shot in manifest["screenshots"]} == {"narrow", "wide"}
    assert all(shot["label"] for shot in manifest["screenshots"])
    assert manifest["name"]
    assert manifest["short_name"]
    assert (manifest["display"], manifest["start_url"], manifest["scope"]) == ("standalone", "/", "/")


def test_page_and_manifest_agree_on_the_theme(server, chromium, manifest):
    """The colour around the app is one and the same before and after it is installed."""
    page = chromium().open(server.url, ready=False)
    assert page.locator('meta[name="theme-color"]').get_attribute("content") == manifest["theme_color"]
    assert page.locator('link[rel="apple-touch-icon"]').get_attribute("href") == "/icons/icon-180.png"
    assert size_of(httpx.get(f"{server.url}/icons/icon-180.png").content) == "180x180"
