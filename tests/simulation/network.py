"""The network as one context sees it: slow, lossy, dead, or answering in the server's place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from holdfast.ports import Answer, Next, Request
from tests.simulation.laws import Claim, Sent

if TYPE_CHECKING:
    from tests.simulation.device import Context, Device


@dataclass
class SimTransport:
    """The network as one context sees it. A request that has left arrives whatever becomes of its sender."""

    device: Device
    context: Context
    behind: dict[str, Next] = field(default_factory=dict)
    """What goes by itself, by the job that it goes behind."""
    gone: dict[str, asyncio.Task[Answer]] = field(default_factory=dict)
    """What has gone by itself, by its own job."""

    async def send(self, request: Request, progress: Callable[[int, int], None], then: Next | None = None) -> Answer:
        if then is not None:
            self.behind[request.job_id] = then
        try:
            gone = self.gone.pop(request.job_id, None)
            return await (gone or self._in_turn(request, progress))
        except asyncio.CancelledError:
            if then is not None:
                self.drop(then.request.job_id)
            raise
        finally:
            self.behind.pop(request.job_id, None)

    def withdraw(self, job_id: str) -> bool:
        self.behind = {before: then for before, then in self.behind.items() if then.request.job_id != job_id}
        return job_id in self.gone

    def drop(self, job_id: str) -> None:
        if self.withdraw(job_id):
            self.gone.pop(job_id).cancel()

    async def _in_turn(self, request: Request, progress: Callable[[int, int], None]) -> Answer:
        """Send it, and by itself what goes behind it, while nobody has been told of the receipt."""
        answer = await self._alone(request, progress)
        then = self.behind.pop(request.job_id, None)
        if then is not None and then.may_go(answer, request, self.device.now()):
            self.gone[then.request.job_id] = asyncio.ensure_future(self._in_turn(then.request, progress))
            if self.device.now() % 2:  # news that comes between the receipt and who waits for it
                for listener in list(self.context.listeners):
                    self.device.loop.after(0, listener, {"kind": "change", "ids": []}, owner=self.context)
        await self.device.pause(self.context)
        return answer

    async def _alone(self, request: Request, progress: Callable[[int, int], None]) -> Answer:
        claims = self._claims(request)
        record = self.device.laws.jobs.get(request.job_id)
        queue = record["queue"] if record else ""
        lanes = len({item["lane"] for item in items_of(request)}) or 1
        self.context.sending[queue] += lanes
        if self.context.sending[queue] > self.device.concurrency.get(queue, 1):
            self.device.fault(f"{self.context.name} serves {self.context.sending[queue]} lanes of {queue} at once")
        if len(claims) > 1:
            self.device.laws.went_together(claims)
        elif claims:
            self.device.laws.went_alone(self.context, claims[0])
        try:
            return await self._send(request, progress, claims)
        finally:
            self.context.sending[queue] -= lanes

    def _claims(self, request: Request) -> list[Claim]:
        """The claims under which its jobs go, in their order."""
        known = self.device.server.known
        jobs = [known[item["key"]].id for item in items_of(request)] or [request.job_id]
        latest = {job: fence for (job, fence), owner in self.device.laws.claims.items() if owner is self.context}
        return [(job, latest[job]) for job in jobs if job in latest]

    async def _send(self, request: Request, progress: Callable[[int, int], None], claims: list[Claim]) -> Answer:
        device, weather, chance = self.device, self.device.weather, self.device.chance
        begun = device.loop.now
        await device.pause(self.context)
        answered: asyncio.Future[Answer] = device.loop.create_future()
        size = sum(part.size for part in request.parts)
        progress(0, size)
        device.note(self.context.name, f"sends {', '.join(job for job, _ in claims)}")
        device.ambush(self.context)
        uplink = chance.randrange(1, weather.slow_ms + 2) + size // 12
        if weather.network == "good":
            if chance.random() < weather.lose_request:
                device.loop.after(uplink, self._answer, answered, Answer(failure="network"))
            else:
                device.loop.after(uplink, self._arrive, request, answered)
        else:
            device.loop.after(chance.choice((1, 100, 60_000)), self._answer, answered, self._nobodys_answer())
        timer = device.loop.sleep(request.timeout_ms, self.context)
        await asyncio.wait((answered, timer), return_when=asyncio.FIRST_COMPLETED)
        await device.pause(self.context)
        answer = answered.result() if answered.done() else Answer(failure="timeout")
        device.ended_in_outage(begun)
        said = _said_of_each(answer, len(claims)) if items_of(request) else [_said(answer)]
        device.laws.sent |= dict(zip(claims, said, strict=True))
        return answer

    async def fetch_json(self, url: str, timeout_ms: int) -> Any:  # noqa: ARG002  (there is one server)
        device = self.device
        device.probed_in_outage()
        await device.pause(self.context)
        await device.loop.sleep(device.chance.randrange(1, device.weather.slow_ms + 2), self.context)
        if device.weather.network == "dead":
            await device.loop.sleep(timeout_ms, self.context)
        lost = device.chance.random() < device.weather.lose_request
        found = device.server.flags() if device.weather.network == "good" and not lost else None
        device.note(self.context.name, f"looks at the server: {'there' if found else 'nobody'}")
        return found

    def _nobodys_answer(self) -> Answer:
        match self.device.weather.network:
            case "portal":
                return Answer(200, {"content-type": "text/html"}, "<h1>Welcome</h1>")
            case "gateway":
                return Answer(503, {"content-type": "text/html", "retry-after": "1"}, "Bad gateway")
            case _:
                return Answer(failure="network")

    def _arrive(self, request: Request, answered: asyncio.Future[Answer]) -> None:
        """In the world outside: the request has come through, unless the network went down meanwhile."""
        if self.device.weather.network != "good":
            self._answer(answered, self._nobodys_answer())
            return

        def reply(answer: Answer) -> None:
            device = self.device
            lost = device.weather.network != "good" or device.chance.random() < device.weather.lose_answer
            if lost and device.chance.random() < 0.5:
                return  # the sender waits until its time is over
            shown = Answer(failure="network") if lost else answer
            device.loop.after(device.chance.randrange(1, device.weather.slow_ms + 2), self._answer, answered, shown)

        server = self.device.server
        (server.arrive_all if items_of(request) else server.arrive)(request, self.device.session, reply)

    def _answer(self, answered: asyncio.Future[Answer], answer: Answer) -> None:
        if not answered.done():
            answered.set_result(answer)


def items_of(request: Request) -> list[dict[str, Any]]:
    """The items of a request of many."""
    return list(request.payload["items"]) if request.url == "/api/batch" else []


def _said_of_each(answer: Answer, number: int) -> list[Sent]:
    try:
        results = json.loads(answer.body)["results"]
    except (ValueError, KeyError, TypeError):
        return [replace(_said(answer), together=True)] * number
    answers = (Answer(result["status"], result["headers"]) for result in results)
    return [replace(_said(one), together=True) for one in answers]


def _said(answer: Answer) -> Sent:
    named = "idempotency-key" in answer.headers
    retry_after_ms = int(answer.headers.get("retry-after", "0")) * 1_000 if named else 0
    receipt = named and 200 <= answer.status < 300
    return Sent(answer.status, receipt=receipt, retry_after_ms=retry_after_ms, named=named)
