"""Signing in and out: what the server says of the session, the screen, the banners. Words and decisions are in `app/signing.py`."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import js
from pyodide.ffi import JsException

from app import signing
from app.page import dom
from app.signing import Session, Step, Who
from holdfast.errors import StorageClosedError
from holdfast.outbox import Outbox

PATIENCE_MS = 8_000
SESSION = "/api/session"
# Facts beside the account, in the session that the inbox keeps.
SIGN_IN = "sign_in"
LEAVING = "leaving"


class AccountScreen:
    """The account of this device, on its screen, in the navigation and in two banners."""

    def __init__(
        self, outbox: Outbox, run: Callable[[Coroutine[Any, Any, Any]], None], changed: Callable[[], None]
    ) -> None:
        """Take the screen over; `changed` is called when it has something new to show."""
        self._outbox = outbox
        self._changed = changed
        self._run = run
        self.who = Who()
        self._asked = False
        self._shown = signing.NOBODY
        self._busy = asyncio.Lock()
        self._signing_in = False
        self._not_mine = False
        self._back_to = "new"
        dom.listen(dom.by_id("sign-in"), "submit", self._submitted)

    async def read(self, *, held: bool) -> bool:
        """Learn from this device who is meant; says whether that is somebody else than at the last time."""
        account = await self._outbox.ports.inbox.account()
        sign_in = bool(await _fact(SIGN_IN))
        session = self.who.session if account == self.who.account else None
        unsent = await self._outbox.waiting_accounts() if sign_in else {}
        self.who = Who(sign_in, account, session, held, unsent)
        form = dom.by_id("inspection")
        typed_by = dom.data(form, "account")
        if typed_by and typed_by != account:
            dom.tell(form, "app:wipe", {})
        dom.attribute(form, "data-account", account)
        before, self._shown = self._shown, account
        return account != before

    async def look(self) -> None:
        """Ask the server whose session this is, and do what follows. One without accounts is asked once a page."""
        if self._asked and not self.who.sign_in and not self.who.held:
            return
        async with self._busy:
            account = await self._outbox.ports.inbox.account()
            status, document, _ = await _ask("GET")
            if account != await self._outbox.ports.inbox.account():
                return  # another tab has changed it meanwhile, which asks for a look of its own
            if status != 200:
                self._now(session=None)
                return
            self._asked = True
            session = Session(bool(document.get("sign_in")), str(document.get("account") or ""))
            if session.sign_in != self.who.sign_in:
                await _note(SIGN_IN, session.sign_in)
            leaving = bool(await _fact(LEAVING))
            match signing.step(session, replace(self.who, account=account), leaving=leaving):
                case Step.END:
                    await self._end_session()
                case Step.ENTER:
                    await self._enter(session.account)
                case Step.GO_ON:
                    await self._outbox.sign_in(account)
                case Step.NOTHING:
                    pass
            account = await self._outbox.ports.inbox.account()
            there = session.account == account and account != ""
            self._now(sign_in=session.sign_in, account=account, session=there and not leaving)

    def draw(self) -> None:
        """Show what is known."""
        who = self.who
        link = dom.by_id("who")
        dom.write(dom.part(link, "name"), signing.label(who))
        dom.write(dom.part(link, "role"), "Account: " if who.signed_in else "")
        dom.show(link, who.sign_in)
        dom.write(dom.part(dom.by_id("signed-out"), "who"), signing.signed_out(who))
        dom.show(dom.by_id("signed-out"), bool(signing.signed_out(who)))
        nobodys = "" if self._not_mine else signing.nobodys(who)
        dom.write(dom.part(dom.by_id("nobodys"), "words"), nobodys)
        dom.show(dom.by_id("nobodys"), bool(nobodys))
        signed_in, form = dom.by_id("signed-in"), dom.by_id("sign-in")
        dom.write(dom.part(signed_in, "name"), who.account)
        dom.write(dom.part(signed_in, "leaving"), signing.before_signing_out(who))
        dom.show(signed_in, who.sign_in and who.signed_in)
        dom.write(dom.part(form, "why"), signing.before_signing_in(who))
        dom.show(form, who.sign_in and not who.signed_in)
        others = signing.others(who) if who.sign_in else ""
        dom.write(dom.by_id("others"), others)
        dom.show(dom.by_id("others"), bool(others))

    def ask_to_sign_in(self) -> None:
        """Somebody pressed "Sign in"; without accounts whoever holds the device tries again as who they are."""
        if not self.who.sign_in:
            self._run(self._outbox.sign_in(self.who.account))
            return
        screen = js.document.body.dataset.screen
        self._back_to = "new" if screen == "account" else screen
        name = dom.by_id("name")
        if not name.value:
            name.value = self.who.account
        js.location.hash = "#account"
        dom.by_id("account-title").focus()

    async def sign_out(self) -> None:
        """End it here at once, and on the server as soon as it can be told."""
        async with self._busy:
            account = self.who.account
            await _note(LEAVING, True)
            unsent = await self._outbox.sign_out()
            dom.by_id("status").textContent = signing.after_signing_out(account, unsent)
            dom.by_id("account-title").focus()
            await self._end_session()

    async def adopt(self) -> None:
        """What was saved while nobody was signed in is this account's."""
        await self._outbox.adopt()
        dom.by_id("main").focus()

    def leave_alone(self) -> None:
        """It is not; this page asks no more."""
        self._not_mine = True
        dom.by_id("main").focus()
        self._changed()

    def _submitted(self, event: Any) -> None:
        event.preventDefault()
        if not self._signing_in:
            self._signing_in = True
            self._run(self._sign_in(dom.by_id("name").value, dom.by_id("password").value))

    async def _sign_in(self, name: str, password: str) -> None:
        self._refuse("")
        try:
            async with self._busy:
                status, document, wait_s = await _ask("POST", {"name": name, "password": password})
                dom.by_id("password").value = ""
                if status != 200:
                    self._refuse(signing.refusal(status, wait_s))
                    return
                account = str(document["account"])
                await self._enter(account)
                self._now(sign_in=True, account=account, session=True)
        finally:
            self._signing_in = False
        dom.by_id("name").value = ""
        dom.by_id("status").textContent = f"Signed in as {account}."
        js.location.hash = f"#{self._back_to}"

    def _refuse(self, words: str) -> None:
        line = dom.by_id("not-signed-in")
        dom.write(dom.find(line, "span"), words)
        dom.show(line, bool(words))
        if words:
            dom.by_id("password").focus()

    async def _enter(self, account: str) -> None:
        """This device works for that account from now on; the one before leaves no more behind than by signing out."""
        await _note(LEAVING, None)
        before = await self._outbox.ports.inbox.account()
        if before not in (signing.NOBODY, account):
            await self._outbox.sign_out()
        self._not_mine = False
        await self._outbox.sign_in(account)

    async def _end_session(self) -> None:
        status, _, _ = await _ask("DELETE")
        if status == 204:
            await _note(LEAVING, None)

    def _now(self, **known: Any) -> None:
        self.who = replace(self.who, **known)
        self._changed()


async def _fact(name: str) -> Any:
    try:
        return await js.holdfastInbox.get(name)
    except JsException as error:
        raise StorageClosedError(f"The inbox could not be read: {error.message}") from error


async def _note(name: str, value: Any) -> None:
    """Keep a fact; None forgets it."""
    try:
        await js.holdfastInbox.set(name, value)
    except JsException as error:
        raise StorageClosedError(f"The inbox could not be written: {error.message}") from error


async def _ask(method: str, document: dict[str, str] | None = None) -> tuple[int, dict[str, Any], int]:
    """Status (0: no answer), document, and the seconds the server asks for."""
    options: dict[str, Any] = {"method": method, "cache": "no-store", "credentials": "same-origin"}
    if document is not None:
        options |= {"headers": {"Content-Type": "application/json"}, "body": json.dumps(document)}
    given = js.JSON.parse(json.dumps(options))
    given.signal = js.AbortSignal.timeout(PATIENCE_MS)
    try:
        answer = await js.fetch(SESSION, given)
        text = await answer.text()
        wait = dom.maybe(answer.headers.get("Retry-After")) or ""
    except JsException:
        return 0, {}, 0
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return 0, {}, 0  # somebody else answered
    return int(answer.status), found if isinstance(found, dict) else {}, int(wait) if wait.isdigit() else 0
