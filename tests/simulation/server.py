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
    takes_batches: str = "all"
    """See `Features`."""
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
            reply(self.answer(key, 401))
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
            reply(self.answer(key, 409, {"type": "urn:holdfast:problem:in-progress"}, retry_after="1"))
        elif entry is not None and entry.answer is not None:
            self.note("server", f"replay for {known.id}")
            reply(entry.answer)
        else:
            takes_ms = 25_000 if known.kind == "slow" else 5 + self.arrivals[key] * 7
            self.keys[key] = Entry(json.dumps(request.payload), running=True, ends_at=now + takes_ms)
            self.loop.after(takes_ms, self._finish, known, account, reply)

    def arrive_all(self, request: Request, session: str | None, reply: Callable[[Answer], None]) -> None:
        """A request of many has arrived: each lane in its order, up to the first answer that is not final."""
        account = request.headers.get("Holdfast-Account", session or "")
        refusal = 401 if (session or "") != account else 0
        if self.takes_batches.isdecimal():
            refusal = int(self.takes_batches)
        elif self.overloaded and not refusal:
            refusal = 503
        if refusal:
            self.note("server", f"{refusal} for {len(request.payload['items'])} at once")
            reply(Answer(refusal, {"content-type": "application/problem+json"}, "{}"))
            return
        Batch(self, request, session, reply).start()

    def _finish(self, known: Known, account: str, reply: Callable[[Answer], None]) -> None:
        key = known.key
        status = {"poison": 500, "refuse": 422, "conflict": 412}.get(known.kind, 201)
        extra = {}
        if known.kind == "flaky" and self.arrivals[key] <= 2:
            status = 503
            extra = {"retry_after": "7"} if self.arrivals[key] == 1 else {}
        if self.overloaded:
            status, extra = 503, {"retry_after": "20"}
        answer = self.answer(key, status, **extra)
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

    def answer(self, key: str, status: int, problem: dict[str, Any] | None = None, *, retry_after: str = "") -> Answer:
        headers = {"idempotency-key": key, "content-type": "application/problem+json" if status >= 400 else ""}
        if retry_after:
            headers["retry-after"] = retry_after
        return Answer(status, headers, json.dumps(problem or {}))


class Batch:
    """A request of many under way."""

    def __init__(self, server: Server, request: Request, session: str | None, reply: Callable[[Answer], None]) -> None:
        self._server = server
        self._request = request
        self._session = session
        self._reply = reply
        self._items: list[dict[str, Any]] = request.payload["items"]
        self._answers: dict[int, Answer] = {}

    def start(self) -> None:
        lanes: dict[str, list[int]] = {}
        for number, item in enumerate(self._items):
            lanes.setdefault(item["lane"], []).append(number)
        for lane in lanes.values():
            self._next(lane)

    def _next(self, lane: list[int]) -> None:
        """Run the first of a lane, then the rest of it."""
        item = self._items[lane[0]]
        if self._server.takes_batches == "most" and item["path"] == "/api/memo":
            problem = {"type": "urn:holdfast:problem:not-batched"}
            self._answered(lane, self._server.answer(item["key"], 404, problem))
            return
        headers = {**self._request.headers, "Idempotency-Key": item["key"]}
        alone = Request("", item["method"], item["path"], headers, item["body"], (), 0)
        self._server.arrive(alone, self._session, lambda answer: self._answered(lane, answer))

    def _answered(self, lane: list[int], answer: Answer) -> None:
        number, *rest = lane
        self._answers[number] = answer
        if rest and self._stops(self._items[number], answer):
            self._server.note("server", f"stops a lane before {len(rest)} more")
            problem = {"type": "urn:holdfast:problem:not-run"}
            self._answers |= {n: self._server.answer(self._items[n]["key"], 424, problem) for n in rest}
        elif rest:
            self._next(rest)
        if len(self._answers) == len(self._items):
            results = [self._result(self._answers[number]) for number in range(len(self._items))]
            self._reply(Answer(200, {"content-type": "application/json"}, json.dumps({"results": results})))

    def _stops(self, item: dict[str, Any], answer: Answer) -> bool:
        if 200 <= answer.status < 300:
            return False
        said = json.loads(answer.body).get("type", "")
        open_ = answer.status >= 500 or answer.status in {401, 408, 425, 429}
        return bool(item["halts"] or open_ or said.endswith(("in-progress", "not-batched")))

    def _result(self, answer: Answer) -> dict[str, Any]:
        return {"status": answer.status, "headers": answer.headers, "body": json.loads(answer.body)}
