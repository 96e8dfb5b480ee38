"""A network between browser and server that misbehaves on purpose: it loses answers, holds uploads, answers for others.

It speaks HTTP on one side and HTTP on the other, so that faults are told in the words of a request: "the answer to the
next POST is lost after the server has committed".
"""

import http.client
import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.support.server import Server

WAIT_SECONDS = 60
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})
INSPECTIONS = "/api/inspections"

PORTAL = b"<!doctype html><title>Hotel Seeblick</title><h1>Welcome</h1><p>Accept the terms to go on.</p>"


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that came to the relay."""

    method: str
    path: str
    key: str | None


@dataclass
class Held:
    """A request that is on its way and stays there until it is let go."""

    reached: threading.Event = field(default_factory=threading.Event)
    _go: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> None:
        """Wait until a request is held."""
        assert self.reached.wait(WAIT_SECONDS), "no request came that could be held"

    def let_go(self) -> None:
        """Let it go on, and all that follow it."""
        self._go.set()

    def stay(self) -> None:
        """Called by the relay: hold the request."""
        self.reached.set()
        self._go.wait(WAIT_SECONDS)


Fault = Callable[["_Exchange"], None]


@dataclass
class _Rule:
    method: str
    path: str
    fault: Fault
    left: int | None


class Relay:
    """Passes everything on to `server` until told otherwise. Faults are looked up in the order in which they were set."""

    def __init__(self, port: int, server: Server) -> None:
        self.port = port
        self.server = server
        self.seen: list[Seen] = []
        self.replayed: list[str] = []
        """Keys of writes that the server answered with a stored response."""
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._held: list[Held] = []
        self._listener: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """The origin as a browser sees it."""
        return f"http://localhost:{self.port}"

    def sent(self, key: str) -> int:
        """How many times a write with this idempotency key was sent."""
        return sum(seen.method == "POST" and seen.key == key for seen in self.seen)

    def keys(self) -> list[str]:
        """The idempotency keys of all writes, in the order in which they were sent."""
        return [seen.key for seen in self.seen if seen.method == "POST" and seen.path == INSPECTIONS and seen.key]

    def pass_on(self) -> None:
        """Everything is well again."""
        with self._lock:
            self._rules.clear()
        for held in self._held:
            held.let_go()

    def lose_answers(self, times: int | None = 1, *, path: str = INSPECTIONS) -> None:
        """The next writes reach the server, which commits them; their answers never come back."""
        self._add("POST", path, _lose_answer, times)

    def hold_writes(self) -> Held:
        """The next write stops half-way: the server has the first half of its body."""
        held = self._hold()
        self._add("POST", INSPECTIONS, lambda exchange: exchange.forward_in_halves(held), 1)
        return held

    def hold(self, method: str, path: str) -> Held:
        """Requests whose path ends so wait before they reach the server."""
        held = self._hold()

        def wait(exchange: "_Exchange") -> None:
            held.stay()
            exchange.forward()

        self._add(method, path, wait, None)
        return held

    def refuse_writes(self, status: int, times: int | None = None, **problem: Any) -> None:
        """Something before the server answers writes with this status, with the companion's echo of the key."""
        body = json.dumps({"status": status, **problem}).encode()

        def refuse(exchange: "_Exchange") -> None:
            echo = {"Idempotency-Key": exchange.headers.get("Idempotency-Key", "")}
            exchange.answer(status, body, {"Content-Type": "application/problem+json", **echo})

        self._add("POST", INSPECTIONS, refuse, times)

    def keep_keys_for(self, span_ms: int) -> None:
        """The server's flags document says that it keeps keys no longer than this."""

        def say(exchange: "_Exchange") -> None:
            answer = exchange.ask()
            if answer is None:
                exchange.cut()
                return
            status, headers, body = answer
            exchange.answer(status, json.dumps({**json.loads(body), "key_lifetime_ms": span_ms}).encode(), headers)

        self._add("GET", "/api/flags", say, None)

    def missing(self, method: str, path: str) -> None:
        """Requests whose path ends so are answered 404."""
        self._add(method, path, lambda exchange: exchange.answer(404, b"", {"Content-Type": "text/plain"}), None)

    def forbid_wasm(self) -> None:
        """All answers come with a policy that forbids WebAssembly, in pages and in workers."""

        def forbid(exchange: "_Exchange") -> None:
            answer = exchange.ask()
            if answer is None:
                exchange.cut()
                return
            status, headers, body = answer
            stricter = {name: value.replace(" 'wasm-unsafe-eval'", "") for name, value in headers.items()}
            exchange.answer(status, body, stricter)

        self._add("*", "", forbid, None)

    def captive_portal(self) -> None:
        """Somebody else answers everything, with 200 and a page of their own."""
        self._add("*", "", lambda exchange: exchange.answer(200, PORTAL, {"Content-Type": "text/html"}), None)

    def captive_portal_at_the_next_write(self) -> None:
        """As `captive_portal`, from the moment the next write is on its way."""

        def close(exchange: "_Exchange") -> None:
            self.captive_portal()
            exchange.answer(200, PORTAL, {"Content-Type": "text/html"})

        self._add("POST", INSPECTIONS, close, 1)

    def _hold(self) -> Held:
        held = Held()
        self._held.append(held)
        return held

    def _add(self, method: str, path: str, fault: Fault, times: int | None) -> None:
        with self._lock:
            self._rules.append(_Rule(method, path, fault, times))

    def fault_for(self, method: str, path: str, key: str | None) -> Fault | None:
        """Called by the relay's threads: note a request and take the fault that is meant for it."""
        with self._lock:
            self.seen.append(Seen(method, path, key))
            for rule in self._rules:
                if rule.left == 0 or rule.method not in ("*", method) or not path.endswith(rule.path):
                    continue
                if rule.left is not None:
                    rule.left -= 1
                return rule.fault
        return None

    def __enter__(self) -> Self:
        relay = self

        class Exchange(_Exchange):
            pass

        Exchange.relay = relay
        self._listener = _Listener(("127.0.0.1", self.port), Exchange)
        threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pass_on()
        assert self._listener is not None
        self._listener.shutdown()
        self._listener.server_close()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # browsers keep idle connections open for minutes

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that was killed, or a connection cut on purpose, is no error of the relay."""


class _Exchange(BaseHTTPRequestHandler):
    """One connection of a browser."""

    protocol_version = "HTTP/1.1"
    relay: Relay

    def _relay(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        fault = self.relay.fault_for(self.command, path, self.headers.get("Idempotency-Key"))
        if fault is None:
            self.forward()
        else:
            fault(self)

    do_GET = do_POST = do_HEAD = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _relay  # noqa: N815  (the base class's names)

    def forward(self) -> None:
        """As if nothing stood between."""
        answer = self.ask()
        if answer is None:
            self.cut()
        else:
            status, headers, body = answer
            self.answer(status, body, headers)

    def ask(self, held: Held | None = None) -> tuple[int, dict[str, str], bytes] | None:
        """The server's answer; None if it does not live to give one. With `held` the body comes in two halves."""
        upstream = http.client.HTTPConnection("127.0.0.1", self.relay.server.port, timeout=WAIT_SECONDS)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "connection":
                    upstream.putheader(name, value)
            upstream.endheaders()
            half = len(self.body) // 2 if held else 0
            upstream.send(self.body[:half])
            if held:
                held.stay()
            upstream.send(self.body[half:])
            answer = upstream.getresponse()
            if answer.headers.get("Idempotency-Replayed") == "true":
                self.relay.replayed.append(answer.headers["Idempotency-Key"])
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP}
            return answer.status, headers, answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            upstream.close()

    def forward_in_halves(self, held: Held) -> None:
        """Send half of the body, wait, send the rest."""
        answer = self.ask(held)
        if answer is None:
            self.cut()
        else:
            self.answer(answer[0], answer[2], answer[1])

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        """Answer the browser."""
        # A browser sends a request again by itself if a kept connection ends under it; faults here are meant to be seen.
        self.close_connection = True
        self.send_response_only(status)
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 304:
            self.wfile.write(body)

    def cut(self) -> None:
        """End the connection without an answer."""
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        """A test's output is for its result."""


def _lose_answer(exchange: _Exchange) -> None:
    exchange.ask()
    exchange.cut()
