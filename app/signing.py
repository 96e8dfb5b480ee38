"""Who is signed in, in decisions and words: what to do about what the server says, and what the person reads of it.

Pure. The requests and the elements are in `page/account.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.sentences import count

NOBODY: Final = ""


@dataclass(frozen=True, slots=True)
class Session:
    """What `/api/session` said."""

    sign_in: bool
    """Whether this server lets only accounts in."""
    account: str
    """Whose session came with the request; '' for nobody's."""


class Step(StrEnum):
    """What is to be done on this device about a session."""

    NOTHING = "nothing"
    END = "end"
    """The person signed out while the server could not be told."""
    ENTER = "enter"
    """Somebody signed in, and this device has not noticed."""
    GO_ON = "go-on"
    """Jobs were held, and their account is signed in."""


@dataclass(frozen=True, slots=True)
class Who:
    """What is known on this device."""

    sign_in: bool = False
    """The server wants a sign-in, as far as is known."""
    account: str = NOBODY
    """Whose jobs are made, listed and sent here."""
    session: bool | None = None
    """Whether the server said that this account is signed in; None while it has not been asked."""
    held: bool = False
    """The account's jobs wait for its sign-in."""
    unsent: Mapping[str, int] | None = None
    """Unsent jobs by account."""

    @property
    def signed_in(self) -> bool:
        """Whether nothing speaks against it. Without a network the last known account counts."""
        return self.account != NOBODY and self.session is not False and not self.held

    def waiting(self, account: str) -> int:
        """How many jobs of this account are unsent."""
        return (self.unsent or {}).get(account, 0)


def step(session: Session, who: Who, *, leaving: bool) -> Step:
    """What follows from the server's word for a device; `leaving`: somebody signed out while the server was away.

    Jobs held although the server has said before that their account is signed in go no further by asking again.
    """
    if not session.sign_in or session.account == NOBODY:
        return Step.NOTHING
    if leaving:
        return Step.END
    if session.account != who.account:
        return Step.ENTER
    return Step.GO_ON if who.held and not who.session else Step.NOTHING


def label(who: Who) -> str:
    """The entry of the navigation."""
    return who.account if who.signed_in else "Sign in"


def signed_out(who: Who) -> str:
    """The banner "Signed out."; empty if it has nothing to say."""
    if not who.sign_in:
        return "Unsent inspections wait until you sign in. They stay on this device." if who.held else ""
    if who.signed_in:
        return ""
    names = sorted(name for name in (who.unsent or {}) if name and who.account in (NOBODY, name))
    if names:
        return f"Unsent inspections of {_listed(names)} wait until {_they(names)}. They stay on this device."
    if who.account:
        return f"What you save waits until {who.account} signs in. It stays on this device."
    return "What you save stays on this device until you sign in."


def nobodys(who: Who) -> str:
    """The banner about what was saved while nobody was signed in; empty if there is none, or nobody to ask."""
    number = who.waiting(NOBODY)
    if not who.sign_in or not who.signed_in or not number:
        return ""
    return f"{count(number, 'inspection was', 'inspections were')} saved here while nobody was signed in."


def before_signing_out(who: Who) -> str:
    """What will be removed, and what is not."""
    removed = "Signing out removes your draft and the content of what was received or cancelled from this device."
    number = who.waiting(who.account)
    if not number:
        return f"{removed} Nothing is unsent."
    it = "it" if number == 1 else "they"
    stay = "stays" if number == 1 else "stay"
    return (
        f"{removed} {count(number, 'unsent inspection is', 'unsent inspections are')} not removed: "
        f"{it} {stay} here until {who.account} signs in again."
    )


def before_signing_in(who: Who) -> str:
    """Beside the fields for name and password."""
    if who.account:
        return (
            f"The session of {who.account} is over. If somebody else signs in, the draft of {who.account} is removed; "
            f"what {who.account} has saved stays on this device."
        )
    return "Signing in needs the network. What you save until then stays on this device."


def others(who: Who) -> str:
    """What else waits on this device, for other accounts."""
    waiting = {name: number for name, number in sorted((who.unsent or {}).items()) if name not in (NOBODY, who.account)}
    return " ".join(
        f"{count(number, 'unsent inspection', 'unsent inspections')} of {name} {'waits' if number == 1 else 'wait'} "
        f"on this device until {name} signs in."
        for name, number in waiting.items()
    )


def after_signing_out(account: str, unsent: int) -> str:
    """Said once it is done."""
    if not unsent:
        return "Signed out."
    it = "It stays" if unsent == 1 else "They stay"
    number = count(unsent, "inspection", "inspections")
    return f"Signed out. {number} of {account} could not be sent yet. {it} on this device until {account} signs in."


def refusal(status: int, wait_s: int) -> str:
    """Why nobody was signed in; `status` 0 for no answer."""
    if status == 401:
        return "Not signed in: name and password do not belong together. Check both."
    if status == 422:
        return "Not signed in: enter your name and your password."
    if status == 429:
        minutes = max(1, -(-wait_s // 60))
        return f"Not signed in: there were too many attempts. Try again in {minutes} min."
    if status == 0:
        return "Not signed in: the server does not answer. What you save is kept on this device meanwhile."
    return f"Not signed in: the server answered with {status}. Try again later."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _they(names: list[str]) -> str:
    return f"{names[0]} signs in" if len(names) == 1 else "they sign in"
