"""Every error Holdfast raises on purpose. Each says what happened, to what, and what to do next.

```
HoldfastError
├── UsageError               the call is wrong: fix the code
│   ├── UnknownTypeError     no route or task has this type
│   ├── InvalidOptionError   an option is of the wrong type or out of range
│   └── SecretError          a secret was about to be stored
├── InvalidPayloadError      the payload breaks its form's rules: show `violations` beside the fields
├── TooLargeError            payload or attachments over the limit
├── QueueFullError           the queue takes no more until some of it is sent
├── JobNotFoundError         no job of this account has this id
├── ActionRefusedError       the job cannot do this now; the message says why
├── IllegalMoveError         a move the life of a job does not know: a bug
├── WaitTimeoutError         the time given ran out first; the job goes on
└── StorageError             the device would not store or read
    ├── StorageFullError     out of space: nothing of this write was stored
    ├── NotUniqueError       another record has what only one may have
    ├── StorageClosedError   another context is upgrading or deleting the database, or it was lost
    └── NewerStorageError    the database belongs to a newer version of the app
```
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.routes import Violation


class HoldfastError(Exception):
    """The root of the tree above."""

    def detail(self) -> dict[str, Any]:
        """What a caller on the other side of a message needs beside the name and the sentence; JSON-safe."""
        return {}


class UsageError(HoldfastError):
    """The call is wrong: fix the code."""


class UnknownTypeError(UsageError):
    """No route or task has this type."""

    def __init__(self, type_: str, known: Sequence[str]) -> None:
        names = ", ".join(sorted(known)) or "none"
        super().__init__(f"No route or task has the type {type_!r}. Register it first; known types: {names}.")


class InvalidOptionError(UsageError):
    """An option is of the wrong type or out of range."""


class SecretError(UsageError):
    """A secret was about to be stored."""


class InvalidPayloadError(HoldfastError):
    """The payload breaks its form's rules; nothing was stored and the form keeps its content."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = list(violations)
        rules = "; ".join(f"{v.pointer or '/'}: {v.message}" for v in self.violations)
        super().__init__(f"{len(self.violations)} rule(s) of the form are broken: {rules}")

    def detail(self) -> dict[str, Any]:
        return {"violations": [{"pointer": v.pointer, "message": v.message} for v in self.violations]}


class TooLargeError(HoldfastError):
    """Payload or attachments are over the limit; nothing was stored."""


class QueueFullError(HoldfastError):
    """The queue takes no more until some of it is sent; nothing was stored and the form keeps its content."""

    def __init__(self, queue: str, depth: int) -> None:
        super().__init__(f"The queue {queue!r} holds {depth:,} unsent jobs, its limit. Send or cancel some first.")


class JobNotFoundError(HoldfastError):
    """No job of this account has this id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"No job {job_id!r} of this account is stored here. It may have been pruned after completion.")


class Obstacle(StrEnum):
    """What stands in the way of an action on a job: for callers with words of their own. A closed list."""

    BEING_SENT = "being_sent"
    OVER = "over"
    NOT_ITS_TURN = "not_its_turn"
    MAY_HAVE_ARRIVED = "may_have_arrived"
    SIGN_IN = "sign_in"
    PAUSED = "paused"
    SWITCHED_OFF = "switched_off"
    DAMAGED = "damaged"
    NO_ROOM = "no_room"


class ActionRefusedError(HoldfastError):
    """The job cannot do this now; the message says why and what can be done instead, `obstacle` names it."""

    def __init__(self, obstacle: Obstacle, message: str) -> None:
        self.obstacle = obstacle
        super().__init__(message)

    def detail(self) -> dict[str, Any]:
        return {"obstacle": self.obstacle.value}


class IllegalMoveError(HoldfastError):
    """A move the life of a job does not know. Nothing was changed; this is a bug in the caller."""

    def __init__(self, job_id: str, before: str, after: str, reason: str | None = None) -> None:
        why = "" if reason is None else f" with the reason {reason!r}"
        super().__init__(f"Job {job_id!r} cannot go from {before!r} to {after!r}{why}.")


class WaitTimeoutError(HoldfastError):
    """The time given ran out first. The job itself goes on."""


class StorageError(HoldfastError):
    """The device would not store or read."""


class StorageFullError(StorageError):
    """The device is out of space. Nothing of this write was stored."""

    def __init__(self) -> None:
        super().__init__("This device is out of space. Nothing was stored; free some space, then try again.")


class NotUniqueError(StorageError):
    """Another record has what only one may have. Nothing of this write was stored."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what!r} could not be done: another record has a key that only one may have.")


class StorageClosedError(StorageError):
    """The database could not be opened or was lost on the way; the write did not happen."""


class NewerStorageError(StorageError):
    """The database was written by a newer version of the app. It was left alone."""

    def __init__(self, database: str) -> None:
        super().__init__(
            f"The database {database!r} belongs to a newer version of this app and was left alone. "
            "Load the new version to go on.",
        )
