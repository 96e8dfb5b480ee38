"""Signing in: `/api/session`, and whose request it is. A session is a cookie that no script can read, for this origin alone.

    GET    /api/session   200 {"account": "mara", "sign_in": true}   account '' if signed out; sign_in false: none is needed
    POST   /api/session   {"name": "mara", "password": "…"} → 200 as GET, with the cookie
                          401 sign-in-refused · 422 no such document · 429 too-many-sign-ins with Retry-After
    DELETE /api/session   204, signed out

Where sign-in is on, every other request of the API but the flags and metrics needs a session: 401 signed-out. One that says
in `Holdfast-Account` for whom it is, and comes with another's session, is 401 other-account: nothing was done, and its
sender keeps it until that account has signed in. (The types are `urn:holdfast:problem:…`.)
"""

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from holdfast_server import accounts, passwords
from holdfast_server.body import JSON, JsonBody, read_body
from holdfast_server.limits import Limits
from holdfast_server.problems import (
    INVALID,
    OTHER_ACCOUNT,
    SIGN_IN_REFUSED,
    SIGNED_OUT,
    TOO_MANY_SIGN_INS,
    Problem,
    refuse_other_sites,
)
from holdfast_server.stores.port import Database

COOKIE: Final = "holdfast_session"
ACCOUNT: Final = "Holdfast-Account"
SESSION_LIVES_MS: Final = 30 * 86_400_000
WINDOW_MS: Final = 300_000
TRIES_FOR_NAME_AND_ADDRESS: Final = 10
TRIES: Final = 100
_HASHING_AT_ONCE: Final = 2
_CHALLENGE: Final = {"WWW-Authenticate": "HoldfastSession"}


@dataclass(frozen=True, slots=True)
class Sessions:
    """The route. `needed` says whether sign-in is on."""

    database: Database
    now_ms: Callable[[], int]
    needed: bool
    _hashing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_HASHING_AT_ONCE))

    async def account_of(self, request: Request) -> str:
        """Whose request it is; '' where sign-in is off.

        Raises:
            Problem: 401.
        """
        if not self.needed:
            return ""
        account = await self._signed_in(request)
        if not account:
            detail = "Nobody is signed in. Sign in, then send it again."
            raise Problem(401, SIGNED_OUT, title="Signed out", detail=detail, headers=_CHALLENGE)
        if request.headers.get(ACCOUNT, account) != account:
            detail = "This is for an account that is not the one signed in. Sign in to that one, then send it again."
            raise Problem(401, OTHER_ACCOUNT, title="Another account is signed in", detail=detail, headers=_CHALLENGE)
        return account

    async def answer(self, request: Request) -> Response:
        """`/api/session`."""
        if request.method in ("GET", "HEAD"):
            return self._told(await self._signed_in(request) if self.needed else "")
        refuse_other_sites(request)
        if not self.needed:
            raise Problem(404, detail="This server has no sign-in: whoever reaches it may use it.")
        return await (self._sign_out(request) if request.method == "DELETE" else self._sign_in(request))

    def _told(self, account: str) -> JSONResponse:
        return JSONResponse({"account": account, "sign_in": self.needed}, headers={"Cache-Control": "no-store"})

    async def _signed_in(self, request: Request) -> str:
        token = request.cookies.get(COOKIE, "")
        return await self.database.read(accounts.signed_in(_digest(token), self.now_ms())) if token else ""

    async def _sign_in(self, request: Request) -> Response:
        limits = Limits(body=10_000, text=10_000)
        async with read_body(request, accept=frozenset({JSON}), limits=limits, new_path=_no_files) as body:
            name, password = _credentials(body.value if isinstance(body, JsonBody) else None)
        address = request.client.host if request.client else ""
        attempt = accounts.Attempt(
            secrets.token_hex(16),
            (
                (f"{address} {name}", TRIES_FOR_NAME_AND_ADDRESS),
                (f"address {address}", TRIES),
                (f"name {name}", TRIES),
            ),
            self.now_ms(),
            WINDOW_MS,
        )
        wait_ms = await self.database.write_in_turn(accounts.attempt(attempt))
        if wait_ms:
            detail = "There were too many attempts to sign in. Try again later."
            headers = {"Retry-After": str(max(1, -(-wait_ms // 1_000)))}
            raise Problem(429, TOO_MANY_SIGN_INS, title="Too many attempts", detail=detail, headers=headers)
        kept = await self.database.read(accounts.password_of(name))
        async with self._hashing:
            right = await asyncio.to_thread(passwords.fits, password, kept or passwords.NOBODYS)
        if not right or kept is None:
            detail = "Name and password do not belong together. Check both."
            raise Problem(401, SIGN_IN_REFUSED, title="Not signed in", detail=detail, headers=_CHALLENGE)
        token = secrets.token_urlsafe(32)
        ends_at = self.now_ms() + SESSION_LIVES_MS
        await self.database.write(accounts.sign_in(attempt, name, _digest(token), ends_at))
        answer = self._told(name)
        _set_cookie(answer, request, token)
        return answer

    async def _sign_out(self, request: Request) -> Response:
        token = request.cookies.get(COOKIE, "")
        if token:
            await self.database.write(accounts.sign_out(_digest(token)))
        answer = Response(status_code=204, headers={"Cache-Control": "no-store"})
        _set_cookie(answer, request, "")
        return answer

    async def clean(self, *, now_ms: int) -> int:
        """Forget what is over; says how many."""
        return await self.database.write(accounts.clean(now_ms, WINDOW_MS))


def _credentials(document: Any) -> tuple[str, str]:
    name, password = (document.get(key) for key in ("name", "password")) if isinstance(document, dict) else (None, None)
    broken = []
    if not (isinstance(name, str) and accounts.NAME.fullmatch(name)):
        broken.append(("/name", "Enter your name."))
    if not (isinstance(password, str) and 0 < len(password) <= passwords.LONGEST):
        broken.append(("/password", "Enter your password."))
    if broken:
        raise Problem(422, INVALID, title="Not signed in", detail="Enter name and password.", errors=broken)
    return str(name), str(password)


def _set_cookie(answer: Response, request: Request, token: str) -> None:
    """The cookie; an empty token removes it. `Secure` where the origin is: on plain http a browser would refuse it."""
    answer.set_cookie(
        COOKIE,
        token,
        max_age=SESSION_LIVES_MS // 1_000 if token else 0,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _no_files() -> Any:
    raise AssertionError("A sign-in has no files.")
