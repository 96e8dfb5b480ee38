"""Gates: what stops sending without touching a job. Breakers per origin, holds per account, the server's kill switch.

Pure: the stored gates come in, an answer comes out. They stop sending, never capture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.limits import MAX_INTEGER
from holdfast.moments import is_over, is_recent

if TYPE_CHECKING:
    from holdfast.backoff import Backoff
    from holdfast.ports import Millis
    from holdfast.storage import Record

PROBE_WAIT_MS = 30_000
"""The least time between two probes during an outage, so that a device asks at most twice a minute."""

FLAGS_MS = 2_000
"""How long a drain that begins believes what a server said of itself: a kill switch holds from the next wake on."""

ONE_BY_ONE_MS = 3_600_000
"""How long a server that refused a request of many is not asked again."""

HERE = "device:"
"""The origin of tasks: they run on this device and wait for no server."""


def breaker_name(origin: str) -> str:
    """The record that says that a server could not be reached."""
    return f"breaker:{origin}"


def hold_name(account: str) -> str:
    """The record that says that an account has to sign in."""
    return f"hold:{account}"


def left_name(account: str) -> str:
    """The record that says that an account has signed out here, and has not signed in since."""
    return f"left:{account}"


def session_name(account: str) -> str:
    """The record that counts how often an account has signed in here."""
    return f"session:{account}"


def one_by_one_name(origin: str) -> str:
    """The record that says since when a server has been taking no requests of many."""
    return f"one by one:{origin}"


def pause_name(queue: str | None, type_: str | None) -> str:
    """A pause of one type, of one queue, or of everything."""
    if type_ is not None:
        return f"pause:type:{type_}"
    return "pause:all" if queue is None else f"pause:queue:{queue}"


def flags_name(origin: str) -> str:
    """The record of what a server said last about itself."""
    return f"flags:{origin}"


@dataclass(frozen=True, slots=True)
class Gates:
    """All stored gates at one moment."""

    by_name: dict[str, Record]

    @classmethod
    def of(cls, records: list[Record]) -> Gates:
        return cls({record["name"]: record for record in records})

    def breaker(self, origin: str) -> Record | None:
        return self.by_name.get(breaker_name(origin))

    def away(self, origin: str) -> bool:
        """Whether the last look at that server found nobody."""
        breaker = self.breaker(origin)
        return breaker is not None and breaker["failures"] > 0

    def held(self, account: str) -> bool:
        return hold_name(account) in self.by_name

    def has_left(self, account: str) -> bool:
        """Whether the account has signed out here, and has not signed in since."""
        return left_name(account) in self.by_name

    def sign_ins(self, account: str) -> int:
        """How often the account has signed in here."""
        record = self.by_name.get(session_name(account))
        return int(record["sign_ins"]) if record else 0

    def paused(self, queue: str, type_: str) -> bool:
        """Whether a person or the app has paused jobs of this kind."""
        names = (pause_name(None, None), pause_name(queue, None), pause_name(None, type_))
        return any(name in self.by_name for name in names)

    def key_lifetime_ms(self, origin: str) -> Millis | None:
        """How long that server keeps a key; None means for ever."""
        lifetime: Millis | None = self._flags(origin).get("key_lifetime_ms")
        return lifetime

    def has_forgotten(self, origin: str, unknown_since: Millis | None, now: Millis) -> bool:
        """Whether a job was sent, never answered, and that server no longer knows its key: a repeat could be done twice."""
        lifetime_ms = self.key_lifetime_ms(origin)
        return lifetime_ms is not None and unknown_since is not None and now - unknown_since > lifetime_ms

    def takes_one(self, origin: str, now: Millis) -> bool:
        """Whether that server has lately refused a request of many as such: each job goes by itself, for a while."""
        record = self.by_name.get(one_by_one_name(origin))
        return record is not None and is_recent(record["since"], now, ONE_BY_ONE_MS)

    def all_off(self, origin: str) -> bool:
        """Whether the server has asked for silence about everything."""
        return bool(self._flags(origin).get("disabled", {}).get("all"))

    def switched_off(self, origin: str, queue: str, type_: str) -> bool:
        """Whether the server has asked for silence."""
        disabled = self._flags(origin).get("disabled", {})
        return self.all_off(origin) or queue in disabled.get("queues", ()) or type_ in disabled.get("types", ())

    def wants_look(self, origin: str, now: Millis, fresh_ms: Millis = PROBE_WAIT_MS) -> bool:
        """Whether to look at that server before sending: its breaker is due, or its flags were read `fresh_ms` ago or earlier.

        So a kill switch works within one wake, and an outage is noticed before a job is handed to the network.
        """
        breaker = self.breaker(origin)
        if breaker is not None:
            return may_probe(breaker, now)
        flags = self.by_name.get(flags_name(origin))
        return flags is None or not is_recent(flags["read_at"], now, fresh_ms)

    def shut_until(self, origin: str, queue: str, type_: str, now: Millis) -> Millis | None:
        """When a server that does not answer, or has asked for silence, is looked at again; None if it may be sent to."""
        breaker = self.breaker(origin)
        if breaker is not None:
            open_until: Millis = breaker["open_until"]
            return open_until
        return now + PROBE_WAIT_MS if self.switched_off(origin, queue, type_) else None

    def _flags(self, origin: str) -> dict[str, Any]:
        # Our own server's kill switch holds for tasks too.
        record = self.by_name.get(flags_name("" if origin == HERE else origin))
        return record["flags"] if record else {}


@dataclass(frozen=True, slots=True)
class Miss:
    """A look at a server that found nobody."""

    origin: str
    backoff: Backoff
    random: float
    offline: bool
    """The device itself says that it has no network."""


def opened(before: Record | None, miss: Miss, now: Millis) -> Record:
    """The breaker after one more miss."""
    failures = (before["failures"] if before else 0) + 1
    wait_ms = max(PROBE_WAIT_MS, miss.backoff.wait_ms(failures, miss.random))
    return {
        "name": breaker_name(miss.origin),
        "failures": failures,
        "offline": miss.offline,
        "opened_at": now,
        "open_until": now + wait_ms,
        "wait_ms": wait_ms,
    }


def looked_at(before: Record | None, origin: str, now: Millis) -> Record:
    """The breaker while one drain looks at the server: no other queue or context does so until that is over."""
    breaker = before or {"name": breaker_name(origin), "failures": 0, "offline": False}
    wait = {"opened_at": now, "open_until": now + PROBE_WAIT_MS, "wait_ms": PROBE_WAIT_MS}
    return breaker | wait | {"looking": True, "awaited": False}


def awaited(breaker: Record) -> Record | None:
    """The breaker after another queue has come to wait for a look; None if nobody looks, or one waits already."""
    waits = breaker.get("looking", False) and not breaker["awaited"]
    return breaker | {"awaited": True} if waits else None


def hurried(breaker: Record, *, offline: bool, now: Millis) -> Record:
    """The breaker after a wake that may mean that the network is back.

    It does if the device had no network when it was opened and has one now; otherwise the last look must be a while ago,
    so that many wakes during an outage do not become many looks.
    """
    returned = breaker["offline"] and not offline
    if returned or not is_recent(breaker["opened_at"], now, PROBE_WAIT_MS):
        return breaker | {"open_until": now, "wait_ms": 0}
    return breaker


def may_probe(breaker: Record, now: Millis) -> bool:
    """Whether it is time to look at the server again; a wait longer than was ever given means the clock was set back."""
    return is_over(breaker["open_until"], now, breaker["wait_ms"])


def valid_flags(document: Any) -> dict[str, Any] | None:
    """The flags document if it is one, reduced to what is known of it; None if somebody else answered."""
    if not isinstance(document, dict) or not isinstance(document.get("disabled"), dict):
        return None
    disabled = document["disabled"]
    return {
        "disabled": {
            "all": disabled.get("all") is True,
            "queues": _texts(disabled.get("queues")),
            "types": _texts(disabled.get("types")),
        },
        "key_lifetime_ms": _span(document.get("key_lifetime_ms")),
    }


def _texts(value: Any) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _span(value: Any) -> Millis | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < MAX_INTEGER:
        return None
    return int(value)
