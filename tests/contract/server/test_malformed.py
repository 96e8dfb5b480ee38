"""Requests that are wrong in every way one can think of: never a fault of the server, always the security headers."""

import http.client
import json
import socket
from contextlib import suppress

import pytest

from holdfast_server.security import CONTENT_SECURITY_POLICY

HEAD = b"POST /api/inspections HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: k\r\n"
FORM = HEAD + b"Content-Type: multipart/form-data; boundary=b\r\n"
JSON = HEAD + b"Content-Type: application/json\r\n"


def sized(head: bytes, body: bytes, *, less: int = 0) -> bytes:
    """A request whose length is right, or that ends `less` bytes before it says it does."""
    return head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body[: len(body) - less]


def chunked(head: bytes, body: bytes) -> bytes:
    """A request in chunks."""
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + body


CORPUS = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "a version of the future": b"GET / HTTP/9.9\r\n\r\n",
    "a method of one's own": b"B\xc3\xbcrste / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a strange host": b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "a path that is not UTF-8": b"GET /%ff%fe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a path with a zero byte": b"GET /index.html%00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a query that is not UTF-8": b"GET /api/inspections?limit=%ff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an address for a path": b"GET http://elsewhere/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an asterisk": b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a tunnel": b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere:443\r\n\r\n",
    "an upgrade": b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "a huge header": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    "a header with a zero byte": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: \x00\r\n\r\n",
    "a huge key": b"POST /api/inspections HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: "
    + b"k" * 9_000
    + b"\r\n\r\n",
    "a key that is not ASCII": b"POST /api/inspections HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: \xff\r\n\r\n",
    "two keys": sized(JSON + b"Idempotency-Key: l\r\n", b"{}"),
    "two lengths": JSON + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a negative length": JSON + b"Content-Length: -1\r\n\r\n{}",
    "an endless length": JSON + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n{}",
    "a length that is too long": sized(JSON, b'{"site": "x"}', less=5),
    "broken chunks": chunked(JSON, b"zz\r\n{}\r\n0\r\n\r\n"),
    "chunks without an end": chunked(JSON, b"2\r\n{}\r\n"),
    "empty JSON": sized(JSON, b""),
    "cut JSON": sized(JSON, b'{"site": '),
    "JSON in UTF-16": sized(JSON, '{"site": "x"}'.encode("utf-16")),
    "JSON in Latin-1": sized(JSON, '{"site": "ü"}'.encode("latin-1")),
    "JSON with a byte order mark": sized(JSON, b'\xef\xbb\xbf{"site": "x"}'),
    "JSON with a lone surrogate": sized(JSON, b'{"site": "\\ud800", "inspected_on": "2026-01-01", "severity": "low"}'),
    "JSON with NaN": sized(JSON, b'{"site": NaN}'),
    "JSON with a number beyond measure": sized(JSON, b'{"site": ' + b"9" * 5_000 + b"}"),
    "JSON too deep": sized(JSON, b"[" * 100_000),
    "JSON as deep as can be read": sized(JSON, b'{"checklist": ' + b"[" * 900 + b"]" * 900 + b"}"),
    "JSON too deep, closed": sized(JSON, b"[" * 100_000 + b"]" * 100_000),
    "JSON with other types": sized(JSON, b'{"site": {}, "inspected_on": [], "severity": 1, "checklist": {"0": null}}'),
    "a form without a boundary": sized(HEAD + b"Content-Type: multipart/form-data\r\n", b"--b--"),
    "a form with an endless boundary": sized(
        HEAD + b"Content-Type: multipart/form-data; boundary=" + b"b" * 500 + b"\r\n", b"x"
    ),
    "a boundary that is not ASCII": sized(HEAD + b"Content-Type: multipart/form-data; boundary=\xff\r\n", b"--\xff--"),
    "an empty form": sized(FORM, b""),
    "a form of its last boundary": sized(FORM, b"--b--\r\n"),
    "a form with a text that is not UTF-8": sized(
        FORM, b'--b\r\nContent-Disposition: form-data; name="site"\r\n\r\n\xff\r\n--b--\r\n'
    ),
    "a form with a zero byte": sized(
        FORM, b'--b\r\nContent-Disposition: form-data; name="si\x00te"\r\n\r\nx\r\n--b--\r\n'
    ),
    "a form cut inside a file": sized(
        FORM,
        b'--b\r\nContent-Disposition: form-data; name="photos"; filename="a"\r\nContent-Type: image/png\r\n\r\n'
        + b"x" * 5_000,
    ),
    "a form whose sender hangs up": sized(
        FORM, b'--b\r\nContent-Disposition: form-data; name="photos"; filename="a"\r\n\r\n' + b"x" * 5_000, less=100
    ),
    "a checklist that is no JSON": sized(
        FORM, b'--b\r\nContent-Disposition: form-data; name="checklist"\r\n\r\n[{\r\n--b--\r\n'
    ),
    "a checklist too deep": sized(
        FORM, b'--b\r\nContent-Disposition: form-data; name="checklist"\r\n\r\n' + b"[" * 100_000 + b"\r\n--b--\r\n"
    ),
    "a checklist as deep as can be read": sized(
        FORM,
        b'--b\r\nContent-Disposition: form-data; name="checklist"\r\n\r\n' + b"[" * 900 + b"]" * 900 + b"\r\n--b--\r\n",
    ),
    "a checklist with a lone surrogate": sized(
        FORM,
        b'--b\r\nContent-Disposition: form-data; name="site"\r\n\r\nx\r\n'
        b'--b\r\nContent-Disposition: form-data; name="inspected_on"\r\n\r\n2026-01-01\r\n'
        b'--b\r\nContent-Disposition: form-data; name="severity"\r\n\r\nlow\r\n'
        b'--b\r\nContent-Disposition: form-data; name="checklist"\r\n\r\n[{"label": "\\ud800", "ok": true}]\r\n--b--\r\n',
    ),
    "an accept-encoding of nonsense": b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: ;;q=,,br;q=x\r\n\r\n",
    "an expectation": sized(JSON + b"Expect: 100-continue\r\n", b"{}"),
    "an expectation for too much": JSON + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n",
}


HANGS_UP = {CORPUS[name] for name in CORPUS if name.endswith(("too long", "an end", "hangs up"))}
"""Requests that are not over when their sender stops."""


def exchange(port: int, request: bytes) -> http.client.HTTPResponse | None:
    """Send raw bytes and read the answer. A sender that has nothing more to say hangs up after a while: then there is none."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        with suppress(ConnectionError):
            connection.sendall(request)
            if request in HANGS_UP:
                connection.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(connection)
        with suppress(ConnectionError, http.client.BadStatusLine):
            answer.begin()
            answer.read()
            return answer
    return None


@pytest.mark.parametrize("request_bytes", CORPUS.values(), ids=CORPUS)
def test_no_request_is_a_fault_of_the_server(shared_server, request_bytes):
    """A refusal, an answer, or a closed connection; never 5xx, and never without the security headers."""
    answer = exchange(shared_server.port, request_bytes)
    if answer is None:
        assert request_bytes in HANGS_UP
        return
    assert answer.status < 500
    assert (answer.getheader("Content-Security-Policy") or "").startswith(CONTENT_SECURITY_POLICY)
    assert answer.getheader("X-Content-Type-Options") == "nosniff"


def test_the_log_has_no_fault_and_the_server_goes_on(shared_server, client):
    """After all of the above it answers as before, and nothing was raised that nobody expected."""
    for request in CORPUS.values():
        exchange(shared_server.port, request)
    assert client.get("/healthz").json() == {"status": "ok"}
    lines = [json.loads(line) for line in shared_server.log.read_text().splitlines()]
    assert {line["level"] for line in lines} <= {"info", "warning"}
    assert list((shared_server.data / "attachments" / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/runtime/0123456789abcdef/app.css", 200),
        ("GET", "/api/inspections", 200),
        ("GET", "/api/flags", 200),
        ("GET", "/healthz", 200),
        ("GET", "/metrics", 200),
        ("GET", "/nothing", 404),
        ("POST", "/", 405),
        ("POST", "/api/inspections", 400),
        ("POST", "/submit", 415),
    ],
)
def test_every_kind_of_answer_carries_the_security_headers(client, method, path, status):
    """Pages, files, data and errors alike."""
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in answer.headers


def test_opener_policy_is_for_trustworthy_origins(client):
    """Over plain http from another machine browsers would ignore it and write an error to the console."""
    for host in ("localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "[::1]"):
        assert client.get("/", headers={"Host": host}).headers["cross-origin-opener-policy"] == "same-origin"
    for host in ("192.168.0.5:8000", "inspections.example", "localhost.example:80"):
        assert "cross-origin-opener-policy" not in client.get("/", headers={"Host": host}).headers
