"""The life of a job: its states, the reasons it can carry, and the moves that are legal.

Pure tables and one check. Nothing here reads a store or knows what a move does to a lane; `transactions/` does that.
"""

from __future__ import annotations

from enum import StrEnum

from holdfast.errors import IllegalMoveError


class State(StrEnum):
    """Where a job stands. Only `completed` and `cancelled` are ever pruned by themselves."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    CONFLICT = "conflict"


class Reason(StrEnum):
    """Why a job is where it is. The list is closed: a reason that is not here does not exist."""

    # A pending job: what held its last attempt back.
    UNREACHABLE = "unreachable"
    """The server could not be reached; no attempt was used."""
    NO_ANSWER = "no_answer"
    """The server can be reached, but this request got no answer."""
    SERVER_ERROR = "server_error"
    """The server answered with a fault of its own, or asked for time (408, 425, 5xx)."""
    THROTTLED = "throttled"
    """The server asked for fewer requests (429)."""
    IN_PROGRESS = "in_progress"
    """The server still works on an earlier attempt with the same key."""
    SIGNED_OUT = "signed_out"
    """The server wants the account to sign in."""
    INTERRUPTED = "interrupted"
    """The context that sent it ended before an answer came; no attempt was used."""

    # A failed job (a dead letter), or one on its way there.
    NO_RECEIPT = "no_receipt"
    """Answers came, but none of them named our key: a proxy or portal answered."""
    EXHAUSTED = "exhausted"
    """Every attempt is used."""
    REFUSED = "refused"
    """The server said no for good."""
    INVALID = "invalid"
    """It breaks a rule of its form; found when it was taken in from the inbox."""
    UNKNOWN_TYPE = "unknown_type"
    """No route or task of this app has its type."""
    UNDECODABLE = "undecodable"
    """Its stored record cannot be read."""
    OUTCOME_UNKNOWN = "outcome_unknown"
    """Sent, never answered, and the server no longer keeps its key."""
    CRASHED = "crashed"
    """It took its context down again and again."""
    TASK_ERROR = "task_error"
    """The function on this device raised an error."""

    # The other ends.
    TTL = "ttl"
    """Not delivered by the end set for it."""
    SERVER_CONFLICT = "server_conflict"
    """The server has a different version and kept it."""
    BY_PERSON = "by_person"
    """Cancelled before any of it was sent."""
    IN_FLIGHT = "in_flight"
    """Cancelled after it had been handed to the network: it may have arrived."""
    REPLACED = "replaced"
    """Cancelled because an edited job took its place."""


STATES = tuple(State)
REASONS = tuple(Reason)

REASONS_OF: dict[State, frozenset[Reason | None]] = {
    State.PENDING: frozenset(
        {
            None,
            Reason.UNREACHABLE,
            Reason.NO_ANSWER,
            Reason.SERVER_ERROR,
            Reason.THROTTLED,
            Reason.IN_PROGRESS,
            Reason.SIGNED_OUT,
            Reason.INTERRUPTED,
            Reason.NO_RECEIPT,
            Reason.TASK_ERROR,
        }
    ),
    State.PROCESSING: frozenset({None}),
    State.COMPLETED: frozenset({None}),
    State.FAILED: frozenset(
        {
            Reason.NO_RECEIPT,
            Reason.EXHAUSTED,
            Reason.REFUSED,
            Reason.INVALID,
            Reason.UNKNOWN_TYPE,
            Reason.UNDECODABLE,
            Reason.OUTCOME_UNKNOWN,
            Reason.CRASHED,
            Reason.TASK_ERROR,
        }
    ),
    State.EXPIRED: frozenset({Reason.TTL}),
    State.CONFLICT: frozenset({Reason.SERVER_CONFLICT}),
    State.CANCELLED: frozenset({Reason.BY_PERSON, Reason.IN_FLIGHT, Reason.REPLACED}),
}
"""Which reasons each state can carry."""

LEGAL_MOVES: dict[State, frozenset[State]] = {
    State.PENDING: frozenset({State.PROCESSING, State.FAILED, State.EXPIRED, State.CANCELLED}),
    State.PROCESSING: frozenset({State.PENDING, State.COMPLETED, State.FAILED, State.CONFLICT, State.CANCELLED}),
    State.FAILED: frozenset({State.PENDING, State.CANCELLED}),
    State.EXPIRED: frozenset({State.PENDING, State.CANCELLED}),
    State.CONFLICT: frozenset({State.PENDING, State.CANCELLED}),
    State.CANCELLED: frozenset({State.COMPLETED}),
    State.COMPLETED: frozenset(),
}
"""From each state, the states a job may go to. A receipt that comes after a cancel is the one way out of `cancelled`."""

REDRIVABLE = frozenset({State.FAILED, State.EXPIRED, State.CONFLICT})
"""The states a person can send round again."""

ON_THE_WAY = frozenset({State.PENDING, State.PROCESSING})
"""The states from which a job goes on by itself."""

UNSENT = frozenset(State) - {State.COMPLETED, State.CANCELLED}
"""What the header counts: neither received nor cancelled."""


def check_move(job_id: str, before: State, after: State, reason: Reason | None) -> None:
    """Let a legal move pass.

    Raises:
        IllegalMoveError: the table has no such move, or the state cannot carry the reason. Nothing was changed.
    """
    if after not in LEGAL_MOVES[before]:
        raise IllegalMoveError(job_id, before, after)
    if reason not in REASONS_OF[after]:
        raise IllegalMoveError(job_id, before, after, reason)
