"""What a job's state means to the person: one table from (state, reason) to tone, words, icon, line and actions.

Pure. List, Outbox and announcements read it; the tone says who has to act. Times, counts and sentences with facts in
them are in `sentences.py`.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, Literal

from holdfast.errors import Obstacle
from holdfast.lifecycle import Reason, State

Tone = Literal["waiting", "moving", "yours", "received", "ended"]


class Action(StrEnum):
    """What can be done about a row. The value is the button's `data-do`."""

    CANCEL = "cancel"
    RETRY = "retry"
    EDIT = "edit"
    SIGN_IN = "sign-in"
    UPDATE = "update"
    LOOK = "look"
    SEND_AGAIN = "send-again"
    SEND_ANYWAY = "send-anyway"
    EXPORT = "export"


LABELS: Final[dict[Action, str]] = {
    Action.CANCEL: "Cancel",
    Action.RETRY: "Retry now",
    Action.EDIT: "Edit",
    Action.SIGN_IN: "Sign in",
    Action.UPDATE: "Update now",
    Action.LOOK: "Look in the list",
    Action.SEND_AGAIN: "Send again",
    Action.SEND_ANYWAY: "Send anyway",
    Action.EXPORT: "Export",
}


IN_THE_WAY: Final[dict[Obstacle, str]] = {
    Obstacle.BEING_SENT: "It is being sent right now.",
    Obstacle.OVER: "It has come to its end in the meantime.",
    Obstacle.NOT_ITS_TURN: "Another one goes before it; retry that one.",
    Obstacle.MAY_HAVE_ARRIVED: (
        "It may have arrived, and an edited version would be a second one. Retry it until the answer is known, or cancel it."
    ),
    Obstacle.SIGN_IN: "It goes out by itself after sign-in.",
    Obstacle.PAUSED: "Sending is paused; it goes out when the pause ends.",
    Obstacle.SWITCHED_OFF: "The server takes none for now; it goes out when that ends.",
    Obstacle.NO_ROOM: (
        "This device has no room to prepare it. Free some space; then it goes out by itself. "
        "To change it, cancel it and enter it anew."
    ),
    Obstacle.DAMAGED: "Too much of it was damaged on this device. Export it, and enter it anew if the server has not got it.",
}
"""Why a button did nothing."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a job is shown. `{…}` in `pill` and `line` are filled by `sentences.py`; the first action is the advised one."""

    tone: Tone
    pill: str
    icon: str
    line: str = ""
    actions: tuple[Action, ...] = ()


_AGAIN: Final = (Action.RETRY, Action.CANCEL)
_CORRECT: Final = (Action.EDIT, Action.RETRY, Action.CANCEL)

SAVED: Final = Look("waiting", "Saved on this device", "device", "It is sent by itself.", (Action.CANCEL,))
ACCEPTED: Final = replace(SAVED, pill="Waiting to be sent", icon="turn")
"""Of a type that does not wait for the disk: it is never called saved."""
_RETRYING: Final = Look("waiting", "Waiting to retry in {wait}", "retry", "", _AGAIN)
_SIGNED_OUT: Final = Look(
    "yours",
    "Waiting for sign-in",
    "sign-in",
    "Goes out after sign-in. No attempt was used.",
    (Action.SIGN_IN, Action.CANCEL),
)
_NO_NETWORK: Final = Look("waiting", "Waiting for network", "offline", "Being offline uses up no attempt.", _AGAIN)


def _failed(line: str, *actions: Action) -> Look:
    return Look("yours", "Failed", "failed", line, actions)


ENDS: Final[dict[tuple[State, Reason | None], Look]] = {
    (State.PROCESSING, None): Look("moving", "Sending…{percent}", "sending", "{progress}", (Action.CANCEL,)),
    (State.COMPLETED, None): Look("received", "Received {received}", "received"),
    (State.FAILED, Reason.REFUSED): _failed("The server refused it: {refusal}", *_CORRECT),
    (State.FAILED, Reason.EXHAUSTED): _failed(
        "All {max} attempts are used; {last}. Retry later: it starts again at 0 of {max}.",
        *_AGAIN,
    ),
    (State.FAILED, Reason.INVALID): _failed(
        "Saved before its rules could be checked: {violation}",
        Action.EDIT,
        Action.CANCEL,
    ),
    (State.FAILED, Reason.NO_RECEIPT): _failed(
        "Answers came, but none from the server of Holdfast, as where a network wants a sign-in of its own. "
        "Open the page of that network, then retry.",
        *_AGAIN,
    ),
    (State.FAILED, Reason.UNKNOWN_TYPE): _failed(
        "This version of Holdfast cannot read it. Update, then retry.",
        Action.UPDATE,
        Action.RETRY,
    ),
    (State.FAILED, Reason.UNDECODABLE): _failed(
        "Its record on this device is damaged and cannot be read. What is left of it is in the export.",
        Action.EXPORT,
    ),
    (State.FAILED, Reason.OUTCOME_UNKNOWN): Look(
        "yours",
        "Outcome unknown",
        "unknown",
        "Sent {sent}, no answer came. The server can no longer tell a repeat from a new one, so it is not sent again by "
        "itself. Look in the list first.",
        (Action.LOOK, Action.SEND_AGAIN, Action.CANCEL),
    ),
    (State.FAILED, Reason.CRASHED): _failed(
        "Holdfast stopped each time it was being sent. Edit it, for example with fewer photos, or retry.",
        *_CORRECT,
    ),
    (State.FAILED, Reason.TASK_ERROR): _failed("The work on this device ended with an error.", *_AGAIN),
    (State.CONFLICT, Reason.SERVER_CONFLICT): Look(
        "yours",
        "Conflict",
        "conflict",
        "The server already has a different version and kept it. Yours is still here: edit it, or cancel it.",
        _CORRECT,
    ),
    (State.EXPIRED, Reason.TTL): Look(
        "yours",
        "Expired",
        "expired",
        "Not received by {expired}, the end set for it. It is kept and no longer sent by itself.",
        (Action.SEND_ANYWAY, Action.EDIT, Action.CANCEL),
    ),
    (State.CANCELLED, Reason.BY_PERSON): Look(
        "ended",
        "Cancelled",
        "cancelled",
        "Cancelled by you {cancelled}, before any of it was sent.",
    ),
    (State.CANCELLED, Reason.IN_FLIGHT): Look(
        "ended",
        "Cancelled",
        "cancelled",
        "Cancelled by you {cancelled}. It may already have reached the server.",
    ),
    (State.CANCELLED, Reason.REPLACED): Look(
        "ended",
        "Cancelled",
        "cancelled",
        "Your edited version took its place {cancelled}.",
    ),
}
"""Every state but `pending`, which is shown by what it waits for."""

WAITS: Final[dict[str | None, Look]] = {
    None: SAVED,
    "turn": Look("waiting", "Waiting its turn", "turn", "{before}", (Action.CANCEL,)),
    "network": _NO_NETWORK,
    "retry": _RETRYING,
    "sign-in": _SIGNED_OUT,
    "pause": Look(
        "waiting",
        "Paused",
        "pause",
        "Sending is paused. It is kept here and goes out when the pause ends.",
        (Action.CANCEL,),
    ),
    "time": Look("waiting", "Waiting until {due}", "retry", "It is not to be sent before.", _AGAIN),
    "space": Look(
        "yours",
        "Saved, waiting for room",
        "storage",
        "Saved on this device, which has no room to prepare it for sending. It goes out by itself once there is room: "
        "free some space, or export it and cancel it.",
        (Action.EXPORT, Action.CANCEL),
    ),
}

BECAUSE: Final[dict[Reason | None, str]] = {
    None: "It is tried again by itself.",
    Reason.UNREACHABLE: "The server could not be reached. No attempt was used.",
    Reason.NO_ANSWER: "The server is there, but this request got no answer.",
    Reason.SERVER_ERROR: "The server answered with a fault of its own{status}.",
    Reason.THROTTLED: "The server asked for fewer requests{status}.",
    Reason.IN_PROGRESS: "The server is still working on the request before this one. No attempt was used.",
    Reason.SIGNED_OUT: "Signed in again; it goes out next. No attempt was used.",
    Reason.INTERRUPTED: "The last send was cut off on this device. No attempt was used.",
    Reason.NO_RECEIPT: "An answer came, but not from the server of Holdfast, as where a network wants a sign-in of its own.",
    Reason.TASK_ERROR: "The work on this device ended with an error.",
}
"""Why a pending job waits for its retry."""


def look(row: dict[str, Any]) -> Look:
    """The look of a job row: total over every state, reason and wait, and over those of a newer version."""
    state, reason, waits = row["state"], row.get("reason"), row.get("waits")
    if state == State.PENDING:
        shown = WAITS.get(waits, SAVED)
        if shown is SAVED and row.get("durability") == "relaxed":
            return ACCEPTED
        return replace(shown, line=BECAUSE.get(reason, BECAUSE[None])) if shown is _RETRYING else shown
    known = ENDS.get((state, reason))
    return (
        known
        if known is not None
        else _failed("This version of Holdfast cannot read it. Update, then retry.", Action.UPDATE)
    )
