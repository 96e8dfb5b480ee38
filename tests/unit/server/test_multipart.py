"""Form bodies, part by part."""

import hashlib
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast_server.idempotency import fingerprint_form
from holdfast_server.limits import Limits
from holdfast_server.multipart import MultipartReader
from holdfast_server.problems import Problem


def part(name: str, content: bytes, *, filename: str | None = None, content_type: str = "") -> bytes:
    """One part as a browser writes it."""
    named = f'Content-Disposition: form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
    typed = f"\r\nContent-Type: {content_type}" if content_type else ""
    return f"{named}{typed}\r\n\r\n".encode() + content


def form(parts: list[bytes], boundary: str = "limit") -> bytes:
    """A whole body."""
    return b"".join(f"--{boundary}\r\n".encode() + one + b"\r\n" for one in parts) + f"--{boundary}--\r\n".encode()


PARTS = [
    part("site", "Lock 7, “pump house”".encode()),
    part("checklist", b'[{"label": "a", "ok": true}]', filename="blob", content_type="application/json"),
    part("photos", b"\xff\xd8\r\n--lim\r\n" * 40, filename="sluice.jpg", content_type="image/jpeg"),
    part("photos", b"", filename="", content_type="application/octet-stream"),
    part("notes", b""),
]


@pytest.fixture
def read(tmp_path):
    """Reads a body in pieces of a given size."""

    def read(body: bytes, *, size: int = 1 << 16, boundary: str = "limit", limits: Limits | None = None):
        reader = MultipartReader(boundary.encode(), limits=limits or Limits(), new_path=lambda: tmp_path / uuid4().hex)
        try:
            for start in range(0, len(body), size):
                reader.feed(body[start : start + size])
            reader.finish()
        except Problem:
            reader.abandon()
            raise
        return reader

    return read


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(size=st.integers(1, 400), boundary=st.from_regex(r"[A-Za-z0-9'+_-]{1,60}", fullmatch=True))
def test_pieces_and_boundary_change_nothing(read, size, boundary):
    """However the network cuts the body and whatever boundary an attempt drew: same fields, same bytes, same fingerprint."""
    reader = read(form(PARTS, boundary), size=size, boundary=boundary)
    assert reader.fields == [
        ("site", "Lock 7, “pump house”"),
        ("checklist", '[{"label": "a", "ok": true}]'),
        ("notes", ""),
    ]
    (photo,) = reader.files
    content = b"\xff\xd8\r\n--lim\r\n" * 40
    assert photo.path.read_bytes() == content
    assert (photo.field, photo.name, photo.type, photo.size) == ("photos", "sluice.jpg", "image/jpeg", len(content))
    assert photo.sha256 == hashlib.sha256(content).hexdigest()
    whole = read(form(PARTS))
    assert fingerprint_form("POST", "/", reader.parts) == fingerprint_form("POST", "/", whole.parts)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\a.jpg", "a.jpg"),
        ("a%22b%0D%0A.jpg", 'a"b  .jpg'),
        ("Schleuse Übung.jpg", "Schleuse Übung.jpg"),
        ("x" * 300 + ".jpg", "x" * 251 + ".jpg"),
        ("tab\there.jpg", "tabhere.jpg"),
    ],
)
def test_a_file_name_is_only_a_name(read, sent, shown):
    """No folders, no control characters, never too long; letters of any language stay."""
    (photo,) = read(form([part("photos", b"x", filename=sent, content_type="image/jpeg")])).files
    assert photo.name == shown


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(form(PARTS)[:-8], 400, id="truncated"),
        pytest.param(form(PARTS)[:700], 400, id="truncated inside a file"),
        pytest.param(b"", 400, id="empty"),
        pytest.param(b"no form at all", 400, id="not multipart"),
        pytest.param(form([b"Content-Type: text/plain\r\n\r\nx"]), 400, id="a part without a name"),
        pytest.param(form([b'Content-Disposition: attachment; name="a"\r\n\r\nx']), 400, id="another disposition"),
        pytest.param(form([part("site", b"\xff\xfe")]), 400, id="text that is not UTF-8"),
        pytest.param(
            form([b'Content-Disposition: form-data; name="\xff"\r\n\r\nx']), 400, id="a name that is not UTF-8"
        ),
        pytest.param(form([b"A: 1\r\n" * 200 + PARTS[0]]), 400, id="too many headers"),
        pytest.param(form([b"A: " + b"x" * 100_000 + b"\r\n" + PARTS[0]]), 400, id="a huge header"),
        pytest.param(form([part("notes", b"x" * 2_000)]), 413, id="too much text"),
        pytest.param(form([part("notes", b"x" * 900)] * 2), 413, id="too much text together"),
        pytest.param(
            form([part("photos", b"x" * 5_001, filename="a", content_type="image/png")]), 413, id="a big file"
        ),
        pytest.param(form([part("a", b"")] * 11), 413, id="too many parts"),
    ],
)
def test_a_bad_body_is_refused_and_leaves_no_file(read, tmp_path, body, status):
    """Whatever is wrong: a problem with its status, and nothing stays on disk."""
    with pytest.raises(Problem) as caught:
        read(body, limits=Limits(text=1_000, file=5_000, parts=10))
    assert caught.value.status == status
    assert caught.value.detail
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_exactly_the_cap_is_taken(read):
    """The cap is the largest size that goes, not the smallest that does not."""
    body = form([part("photos", b"x" * 5_000, filename="a", content_type="image/png")])
    assert read(body, limits=Limits(file=5_000)).files[0].size == 5_000
