"""The scripted transport keeps the promises of every transport; tests/browser/engine holds the browser's to the same ones."""

import asyncio

import pytest

from holdfast.ports import Answer, Request
from holdfast.testing import ManualClock, ScriptedTransport
from tests.contract.transport_promises import PROMISES


class Script:
    """A server that is a function."""

    def __init__(self) -> None:
        self._clock = ManualClock()
        self.transport = ScriptedTransport(self._clock)
        self.transport.answer = self._answer
        self._held: dict[str, asyncio.Event] = {}

    def now(self) -> int:
        return self._clock.now()

    def request(self, name: str, *, status: int = 201, echo: str | None = None, held: bool = False) -> Request:
        if held:
            self._held[name] = asyncio.Event()
        asked = {"status": status, "echo": f"key-{name}" if echo is None else echo, "held": held}
        return Request(name, "POST", "/answer", {"Idempotency-Key": f"key-{name}"}, asked, (), 1_000)

    async def let_go(self, name: str) -> None:
        self._held[name].set()

    async def arrived(self) -> list[str]:
        return [request.job_id for request in self.transport.sent]

    async def until_arrived(self, *names: str) -> None:
        await self._clock.settle()
        assert await self.arrived() == list(names)

    async def forget(self) -> None:
        self.transport.sent.clear()

    async def _answer(self, request: Request) -> Answer:
        if request.payload["held"]:
            await self._held[request.job_id].wait()
        return Answer(request.payload["status"], {"idempotency-key": request.payload["echo"]}, "{}")


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_a_scripted_transport_promises_that(promise) -> None:
    """Each promise in its own words."""
    await asyncio.wait_for(promise(Script()), 10)
