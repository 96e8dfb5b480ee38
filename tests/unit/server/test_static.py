"""The built app as files."""

import gzip
import os
from urllib.parse import unquote

import brotli
import httpx
import pytest

from holdfast_server.problems import Problem
from holdfast_server.static import StaticFiles, accepted_encodings

SCRIPT = b"export default 1;\n" * 100


@pytest.fixture
def dist(tmp_path):
    """A small build, with a secret beside it."""
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "dist"
    runtime = folder / "runtime" / "0123456789abcdef"
    runtime.mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html>")
    (folder / "sw.js").write_text('import "/runtime/0123456789abcdef/sw.js";')
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / ".hidden").write_text("secret")
    (runtime / "a.mjs").write_bytes(SCRIPT)
    (runtime / "a.mjs.gz").write_bytes(gzip.compress(SCRIPT))
    (runtime / "a.mjs.br").write_bytes(brotli.compress(SCRIPT))
    for name in ("b.wasm", "c.whl", "d.zip", "e.webmanifest", "f.strange"):
        (runtime / name).write_bytes(b"x")
    return folder


@pytest.fixture
async def client(dist):
    """Talks to the files; a problem is answered by its status."""
    files = StaticFiles(dist)

    async def app(scope, receive, send):
        try:
            await files(scope, receive, send)
        except Problem as problem:
            await problem.response()(scope, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        yield client


RUNTIME = "/runtime/0123456789abcdef"


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip", "gzip"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("identity", None),
        ("BR", "br"),
        ("br;q=0.000", None),
    ],
)
async def test_the_best_precompressed_file_that_the_client_takes_is_sent(client, accept, encoding):
    """Brotli before gzip before plain; each is a representation with a tag of its own, and caches are told."""
    answer = await client.get(f"{RUNTIME}/a.mjs", headers={"Accept-Encoding": accept})
    assert answer.headers.get("content-encoding") == encoding
    assert answer.content == SCRIPT
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    plain = await client.get(f"{RUNTIME}/a.mjs", headers={"Accept-Encoding": "identity"})
    assert (plain.headers["etag"] == answer.headers["etag"]) == (encoding is None)


async def test_a_build_is_immutable_and_all_else_is_asked_for_again(client):
    """A file under /runtime/<build>/ never changes; index and worker are looked at anew at every visit."""
    assert (await client.get(f"{RUNTIME}/a.mjs")).headers["cache-control"] == "public, max-age=31536000, immutable"
    for path in ("/", "/index.html", "/sw.js"):
        assert (await client.get(path)).headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("b.wasm", "application/wasm"),
        ("c.whl", "application/zip"),
        ("d.zip", "application/zip"),
        ("e.webmanifest", "application/manifest+json"),
        ("f.strange", "application/octet-stream"),
    ],
)
async def test_media_types_are_those_browsers_insist_on(client, name, media_type):
    """With nosniff a wrong type is fatal; the machine's own table of types plays no part."""
    assert (await client.get(f"{RUNTIME}/{name}")).headers["content-type"] == media_type


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/runtime/..%2f..%2fsecret.txt",
        "/..%5csecret.txt",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/link.txt",
        "/.hidden",
        "/runtime",
        "/runtime/",
        "/index.html/",
        "/index.html%00.txt",
        "/%c3%bc",
        "/" + "a" * 5_000,
        "/" + "a/" * 3_000 + "a",
    ],
)
async def test_nothing_outside_the_folder_can_be_read(dist, path):
    """No spelling of a path leads out; what is no file is not found, and never a fault."""
    files = StaticFiles(dist)
    scope = {"type": "http", "method": "GET", "path": unquote(path), "headers": []}
    with pytest.raises(Problem) as caught:
        await files(scope, None, None)
    assert caught.value.status == 404


async def test_what_the_client_has_is_not_sent_again(client):
    """If-None-Match with the tag, weak or in a list: 304 with the headers a cache needs, and no body."""
    first = await client.get("/sw.js")
    tag = first.headers["etag"]
    for header in (tag, f'"x", W/{tag}', "*"):
        again = await client.get("/sw.js", headers={"If-None-Match": header})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
        assert again.headers["cache-control"] == "no-cache"
    assert (await client.get("/sw.js", headers={"If-None-Match": '"x"'})).status_code == 200


async def test_a_new_build_is_seen_though_size_and_time_are_the_same(client, dist):
    """A reproducible build gives its files one time, and sw.js always has one length: the tag goes by content."""
    path = dist / "sw.js"
    before = await client.get("/sw.js")
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    path.write_text('import "/runtime/fedcba9876543210/sw.js";')
    os.utime(path, ns=times)
    after = await client.get("/sw.js", headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert "fedcba9876543210" in after.text


async def test_head_says_what_get_would_and_others_are_refused(client):
    """HEAD has the headers alone; a method that writes gets 405 where there is a file and 404 where there is none."""
    head = await client.head("/sw.js")
    assert head.headers["content-length"] == str(len('import "/runtime/0123456789abcdef/sw.js";'))
    assert head.content == b""
    refused = await client.post("/sw.js")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    assert (await client.post("/nothing")).status_code == 404


async def test_a_range_is_answered_by_the_whole(client):
    """A server may ignore ranges (RFC 9110, 14.2); a malformed one is no error either."""
    for value in ("bytes=0-1", "bytes=9999-", "lines=1", "bytes=x"):
        answer = await client.get(f"{RUNTIME}/a.mjs", headers={"Range": value, "Accept-Encoding": "identity"})
        assert (answer.status_code, answer.content) == (200, SCRIPT)


def test_no_encoding_is_accepted_from_silence():
    """A client that names none gets the plain file."""
    assert not accepted_encodings("") & {"br", "gzip"}
