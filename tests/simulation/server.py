"""The server: idempotency keys, sessions, answers good and bad, and the list of effects that really happened."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from holdfast.ports import Answer, Request
from tests.simulation.loop import SimLoop

GRACE_MS = 300_000
"""How much longer than promised a key is kept: a request may be under way for a while."""


@dataclass
class Known:
    """A job as it was made, for comparison with what becomes of it."""

    id: str
    key: str
    type: str
    queue: str
    account: str
    payload: dict[str, Any]
    kind: str
    """How the server takes it: good, slow, flaky, poison, refuse, conflict."""
    device: int
    accepted: bool = False
    stored: bool = False
    """Whose it is is settled: it is in the store, or JavaScript has written it down."""


@dataclass
class Entry:
    """What the server knows of a key."""

    content: str
    running: bool
    ends_at: int
    answer: Answer | None = None


@dataclass
class Effect:
    """One job done."""

    at: int
    key: str
    account: str


@dataclass
class Server:
    """One server for all devices."""

    loop: SimLoop
    known: dict[str, Known]
    """Jobs by key."""
    note: Callable[[str, str], None]
    fault: Callable[[str], None]
    key_lifetime_ms: int | None = None
    disabled: dict[str, Any] = field(default_factory=lambda: {"all": False, "queues": [], "types": []})
    overloaded: bool = False
    """Alive, but it answers 503 by itself."""
    effects: list[Effect] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)
    """How often each key has had its effect."""
    arrivals: dict[str, int] = field(default_factory=dict)
    keys: dict[str, Entry] = field(default_factory=dict)

    def flags(self) -> dict[str, Any]:
        document = {"disabled": self.disabled, "key_lifetime_ms": self.key_lifetime_ms}
        copy: dict[str, Any] = json.loads(json.dumps(document))
        return copy

    def arrive(self, request: Request, session: str | None, reply: Callable[[Answer], None]) -> None:
        """A request has arrived; `session` is whose cookie came with it, None for nobody's."""
        key = request.headers["Idempotency-Key"]
        self.arrivals[key] = self.arrivals.get(key, 0) + 1
        known = self.known.get(key)
        if known is None:
            self.fault(f"the server got a key that nobody made: {key}")
            return
        if request.payload != known.payload:
            self.fault(f"the server got other content under the key of {known.id}")
        account = request.headers.get("Holdfast-Account", session or "")
        if (session or "") != account:
            self.note("server", f"401 for {known.id}: signed in is {session!r}")
            reply(self._answer(key, 401))
            return
        entry = self.keys.get(key)
        now = self.loop.now
        lifetime_ms = self.key_lifetime_ms
        if entry and not entry.running and lifetime_ms and now >= entry.ends_at + lifetime_ms + GRACE_MS:
            entry = None
        if entry is not None and entry.content != json.dumps(request.payload):
            self.fault(f"the key of {known.id} names two requests")
        if entry is not None and entry.running:
            self.note("server", f"409 for {known.id}: still running")
            reply(self._answer(key, 409, {"type": "urn:holdfast:problem:in-progress"}, retry_after="1"))
        elif entry is not None and entry.answer is not None:
            self.note("server", f"replay for {known.id}")
            reply(entry.answer)
        else:
            takes_ms = 25_000 if known.kind == "slow" else 5 + self.arrivals[key] * 7
            self.keys[key] = Entry(json.dumps(request.payload), running=True, ends_at=now + takes_ms)
            self.loop.after(takes_ms, self._finish, known, account, reply)

    def _finish(self, known: Known, account: str, reply: Callable[[Answer], None]) -> None:
        key = known.key
        status = {"poison": 500, "refuse": 422, "conflict": 412}.get(known.kind, 201)
        extra = {}
        if known.kind == "flaky" and self.arrivals[key] <= 2:
            status = 503
            extra = {"retry_after": "7"} if self.arrivals[key] == 1 else {}
        if self.overloaded:
            status, extra = 503, {"retry_after": "20"}
        answer = self._answer(key, status, **extra)
        if status == 201:
            if known.account != account:
                self.fault(f"{known.id} of {known.account!r} took effect for {account!r}")
            self.done[key] = self.done.get(key, 0) + 1
            if self.done[key] > 1:
                self.fault(f"{known.id} took effect {self.done[key]} times")
            self.effects.append(Effect(self.loop.now, key, account))
            self.keys[key] = Entry(self.keys[key].content, running=False, ends_at=self.loop.now, answer=answer)
        else:
            del self.keys[key]
        self.note("server", f"{status} for {known.id}" + (" (done)" if status == 201 else ""))
        reply(answer)

    def runs(self, key: str) -> bool:
        """Whether a request with this key is being worked on, or has been."""
        return key in self.keys

    def _answer(self, key: str, status: int, problem: dict[str, Any] | None = None, *, retry_after: str = "") -> Answer:
        headers = {"idempotency-key": key, "content-type": "application/problem+json" if status >= 400 else ""}
        if retry_after:
            headers["retry-after"] = retry_after
        return Answer(status, headers, json.dumps(problem or {}))
