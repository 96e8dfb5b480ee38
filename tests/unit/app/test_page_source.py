"""The page's HTML and style sheet against what the code and the security policy ask of them."""

import json
import re
import struct
from html.parser import HTMLParser
from pathlib import Path

import pytest

from app.forms import SCHEMA
from app.words import ENDS, WAITS

STATIC = Path(__file__).parents[3] / "static"
HTML = (STATIC / "index.html").read_text(encoding="utf-8")
CSS = (STATIC / "app.css").read_text(encoding="utf-8")


class Elements(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


ELEMENTS = Elements(HTML).found
IDS = [attributes["id"] for _, attributes in ELEMENTS if "id" in attributes]


def test_every_id_is_there_once():
    """Labels, errors and scripts find the element they mean."""
    assert len(IDS) == len(set(IDS))


def test_every_reference_inside_the_page_leads_somewhere():
    """Labels, descriptions, icons and lists name elements that exist."""
    names = ("for", "aria-labelledby", "aria-describedby", "list")
    wanted = {part for _, a in ELEMENTS for name in names for part in (a.get(name) or "").split()}
    wanted |= {(a.get("href") or "")[1:] for _, a in ELEMENTS if (a.get("href") or "").startswith("#")}
    assert wanted <= set(IDS)


@pytest.mark.parametrize("look", [*ENDS.values(), *WAITS.values()], ids=lambda look: look.icon)
def test_every_icon_of_the_table_is_drawn_in_the_page(look):
    """No pill is without its sign."""
    assert f"i-{look.icon}" in IDS


@pytest.mark.parametrize("script", ["page.js", "form.js", "photos.js"])
def test_scripts_name_only_elements_of_the_page(script: str):
    """An id that is looked up is an id of the page."""
    source = (STATIC / script).read_text(encoding="utf-8")
    asked = set(re.findall(r'(?:byId|show|getElementById)\("([a-z-]+)"', source))
    assert asked <= set(IDS)


def test_form_controls_are_named_after_the_fields():
    """What the form sends is what the rules and the server know."""
    form = next(a for tag, a in ELEMENTS if tag == "form")
    assert form["data-holdfast"] == "inspection.create"
    assert (form["action"], form["method"], form["enctype"]) == ("/submit", "post", "multipart/form-data")
    names = {a["name"] for tag, a in ELEMENTS if tag in ("input", "textarea") and "name" in a}
    assert names == {*SCHEMA["properties"], "checklist_items", "photos"}


def test_nothing_is_styled_or_scripted_inline():
    """The security policy refuses it, and a page that relies on it would break in front of people."""
    for tag, attributes in ELEMENTS:
        assert tag != "style"
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        assert tag != "script" or "src" in attributes or attributes.get("type") == "py"
    assert "!important" not in CSS
    assert "url(" not in CSS


def test_the_listener_blocks_and_the_rest_waits():
    """Inbox and listener run before the first paint, the photos' script before the button; the rest are modules."""
    scripts = [a for tag, a in ELEMENTS if tag == "script" and "src" in a]
    blocking = [a["src"] for a in scripts if a.get("type") != "module"]
    assert blocking == [f"/runtime/{{{{build}}}}/{name}.js" for name in ("inbox", "shim", "photos")]
    assert HTML.index("/photos.js") < HTML.index('<button class="primary">Save inspection')


def test_the_manifest_describes_its_pictures_truthfully():
    """Each PNG has the size that the manifest gives; both purposes and both form factors are there."""
    manifest = json.loads((STATIC / "manifest.webmanifest").read_text(encoding="utf-8"))
    pictures = manifest["icons"] + manifest["screenshots"]
    for picture in pictures:
        if picture["type"] == "image/png":
            head = (STATIC / picture["src"][1:]).read_bytes()[:24]
            assert "{}x{}".format(*struct.unpack(">II", head[16:24])) == picture["sizes"]
    assert {icon["purpose"] for icon in manifest["icons"]} == {"any", "maskable"}
    assert {shot["form_factor"] for shot in manifest["screenshots"]} == {"narrow", "wide"}


def relative_luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    full = colour if len(colour) == 7 else "#" + "".join(digit * 2 for digit in colour[1:])
    parts = [int(full[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((relative_luminance(one), relative_luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def tokens() -> dict[str, dict[str, str]]:
    light, dark = re.findall(r":root \{(.*?)\n\s*\}", CSS, re.DOTALL)[:2]
    colours = {
        scheme: dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})", text))
        for scheme, text in (("light", light), ("dark", dark))
    }
    return {"light": colours["light"], "dark": colours["light"] | colours["dark"]}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_tones_and_text_can_be_read_in_both_schemes(scheme: str):
    """Text has a contrast of at least 4.5 : 1 on whatever lies under it, the edge of a control 3 : 1."""
    colour = tokens()[scheme]
    for text in ("ink", "ink-soft", "waiting", "yours", "received"):
        for ground in ("page", "surface"):
            assert contrast(colour[text], colour[ground]) >= 4.5, (text, ground)
    pairs = [
        ("yours", "yours-wash"),
        ("ink", "yours-wash"),
        ("on-yours", "yours"),
        ("on-signal", "signal"),
        ("signal", "bar"),
        ("bar-soft", "bar"),
    ]
    for text, ground in pairs:
        assert contrast(colour[text], colour[ground]) >= 4.5, (text, ground)
    assert contrast(colour["edge"], colour["page"]) >= 3
    assert contrast(colour["edge"], colour["surface"]) >= 3
