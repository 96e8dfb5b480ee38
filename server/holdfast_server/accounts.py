"""Accounts, their sessions and attempts to sign in, in the database, as steps."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from holdfast_server.stores.statements import Statement, Steps

NAME: Final = re.compile(r"[!-~](?:[ -~]{0,98}[!-~])?")
"""Visible ASCII and inner spaces, up to 100: a name travels in a header."""

_CLEANED_AT_ONCE: Final = 500


def put(name: str, password: str) -> Steps[None]:
    """Add an account, or give it another password, which ends its sessions. `password` is hashed."""
    yield Statement("DELETE FROM sessions WHERE account = ?", (name,))
    yield Statement(
        "INSERT INTO accounts (name, password) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET password = excluded.password",
        (name, password),
    )


def remove(name: str) -> Steps[bool]:
    """Remove an account and end its sessions; what it sent stays. Says whether there was one."""
    return bool((yield Statement("DELETE FROM accounts WHERE name = ? RETURNING name", (name,))))


def names() -> Steps[list[str]]:
    """All accounts."""
    return [name for (name,) in (yield Statement("SELECT name FROM accounts ORDER BY name"))]


def password_of(name: str) -> Steps[str | None]:
    """The hashed password of an account."""
    rows = yield Statement("SELECT password FROM accounts WHERE name = ?", (name,))
    return rows[0][0] if rows else None


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt to sign in. Each subject (a name, an address) may fail so often within the window."""

    id: str
    subjects: Sequence[tuple[str, int]]
    at: int
    window_ms: int


def attempt(attempt: Attempt) -> Steps[int]:
    """Note the attempt and give 0; or give in how many milliseconds there may be another one."""
    since = attempt.at - attempt.window_ms
    for subject, most in attempt.subjects:
        ((tried, first),) = yield Statement(
            "SELECT count(*), coalesce(min(tried_at), 0) FROM sign_ins WHERE subject = ? AND tried_at > ?",
            (subject, since),
        )
        if tried >= most:
            return int(first + attempt.window_ms - attempt.at)
    for number, (subject, _) in enumerate(attempt.subjects):
        values = (f"{attempt.id}-{number}", subject, attempt.at)
        yield Statement("INSERT INTO sign_ins (id, subject, tried_at) VALUES (?, ?, ?)", values)
    return 0


def sign_in(attempt: Attempt, account: str, token_sha256: str, ends_at: int) -> Steps[None]:
    """Begin a session; an attempt that succeeded does not count."""
    for number in range(len(attempt.subjects)):
        yield Statement("DELETE FROM sign_ins WHERE id = ?", (f"{attempt.id}-{number}",))
    values = (token_sha256, account, ends_at)
    yield Statement("INSERT INTO sessions (token_sha256, account, ends_at) VALUES (?, ?, ?)", values)


def signed_in(token_sha256: str, now_ms: int) -> Steps[str]:
    """The account of a session; '' if there is none, or it is over."""
    rows = yield Statement(
        "SELECT account FROM sessions WHERE token_sha256 = ? AND ends_at > ?", (token_sha256, now_ms)
    )
    return rows[0][0] if rows else ""


def sign_out(token_sha256: str) -> Steps[None]:
    """End a session."""
    yield Statement("DELETE FROM sessions WHERE token_sha256 = ?", (token_sha256,))


def clean(now_ms: int, window_ms: int) -> Steps[int]:
    """Forget sessions that are over and attempts that no longer count; says how many."""
    over = yield Statement(
        "DELETE FROM sessions WHERE token_sha256 IN (SELECT token_sha256 FROM sessions WHERE ends_at <= ? LIMIT ?)"
        " RETURNING token_sha256",
        (now_ms, _CLEANED_AT_ONCE),
    )
    tried = yield Statement(
        "DELETE FROM sign_ins WHERE id IN (SELECT id FROM sign_ins WHERE tried_at <= ? LIMIT ?) RETURNING id",
        (now_ms - window_ms, _CLEANED_AT_ONCE),
    )
    return len(over) + len(tried)
