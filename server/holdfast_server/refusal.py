"""Refusing a body: seen early, by the length that its sender declares; and in such a way that the sender reads the answer."""

from typing import Final

from starlette.requests import Request
from starlette.types import Receive

from holdfast_server.limits import MIB

LET_PASS: Final = 256 * MIB


def declares_more_than(limit: int, request: Request) -> bool:
    """Whether the sender says that the body is over a cap."""
    declared = request.headers.get("content-length", "")
    return declared.isdecimal() and int(declared) > limit


async def let_pass(request: Request, receive: Receive) -> None:
    """Take what is left of the body and forget it, before an answer that refuses it.

    A browser that is still sending when the connection closes reports a network error, and its person never learns
    what was wrong. Who asks first (Expect: 100-continue) has sent nothing; and nobody may go on for ever.
    """
    more = request.headers.get("expect", "").lower() != "100-continue"
    left = LET_PASS
    while more and left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)
