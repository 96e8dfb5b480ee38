"""The form of a page without script and without a worker."""

import re
from html import unescape

FIELDS = {"site": 'Weir <house> & "race"', "inspected_on": "2026-11-20", "severity": "high", "notes": "\nTwo\nlines"}


def test_a_form_without_script_makes_an_inspection(client):
    """Multipart as a browser sends it, an unused file control included; the answer leads to the list."""
    files = [
        *((name, (None, value)) for name, value in FIELDS.items()),
        ("photos", ("", b"", "application/octet-stream")),
    ]
    answer = client.post("/submit", files=[*files, ("photos", ("a.jpg", b"xyz", "image/jpeg"))])
    assert answer.status_code == 303
    received = re.fullmatch(r"/\?received=(\d+)#inspections", answer.headers["location"])
    assert received
    (item,) = client.get("/api/inspections", params={"after": int(received[1]) - 1, "limit": 1}).json()["items"]
    assert item["site"] == FIELDS["site"]
    assert [photo["name"] for photo in item["photos"]] == ["a.jpg"]
    assert client.get(item["photos"][0]["url"]).content == b"xyz"


def test_a_plain_form_is_taken_as_well(client):
    """Urlencoded: the same."""
    assert client.post("/submit", data=FIELDS).status_code == 303


def test_a_broken_rule_gives_everything_typed_back(client):
    """A page that says what is wrong, links to each field, and has the form filled in; nothing typed becomes markup."""
    data = {**FIELDS, "severity": "", "checklist_items": ["<b>Dry</b>", "Lit"], "checklist": ["Lit"]}
    answer = client.post("/submit", data=data)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = answer.text
    assert '<a href="#severity">Choose a severity: low, medium or high.</a>' in page
    assert (
        '<fieldset class="field" id="severity" role="radiogroup" aria-invalid="true" aria-describedby="severity-error"'
        in page
    )
    assert '<link rel="stylesheet" href="/runtime/0123456789abcdef/app.css">' in page
    assert "<house>" not in page
    assert "<b>" not in page
    assert unescape(re.search(r'name="site" required value="([^"]*)"', page)[1]) == FIELDS["site"]
    assert unescape(re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.DOTALL)[1]) == FIELDS["notes"].strip()
    assert len(re.findall(r'name="checklist"', page)) == 2
    assert len(re.findall(r" checked>", page)) == 1
    assert not re.search(r"<(script|style)|style=|\bon\w+=", page)


def test_a_form_that_cannot_be_read_is_answered_by_a_page(client):
    """Too large, another type, not UTF-8: the person gets words, not a document for programs."""
    too_large = client.post("/submit", files={"photos": ("a.jpg", b"x" * 1_000_001, "image/jpeg")})
    another_type = client.post("/submit", json=FIELDS)
    not_text = client.post(
        "/submit", content=b"site=%FF", headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    for answer, status in ((too_large, 413), (another_type, 415), (not_text, 400)):
        assert answer.status_code == status
        assert "<title>Not saved: Holdfast</title>" in answer.text


def test_another_site_cannot_submit(client):
    """A page elsewhere that posts the form in a visitor's browser is refused."""
    answer = client.post("/submit", data=FIELDS, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert client.post("/submit", data=FIELDS, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 303
