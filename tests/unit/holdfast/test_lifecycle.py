"""The life of a job is one table, and nothing passes that is not in it."""

import pytest

from holdfast.errors import IllegalMoveError
from holdfast.lifecycle import LEGAL_MOVES, REASONS, REASONS_OF, REDRIVABLE, STATES, UNSENT, State, check_move

PAIRS = [pytest.param(before, after, id=f"{before} to {after}") for before in STATES for after in STATES]
LEGAL = {
    ("pending", "processing"),
    ("pending", "failed"),
    ("pending", "expired"),
    ("pending", "cancelled"),
    ("processing", "pending"),
    ("processing", "completed"),
    ("processing", "failed"),
    ("processing", "conflict"),
    ("processing", "cancelled"),
    ("failed", "pending"),
    ("failed", "cancelled"),
    ("expired", "pending"),
    ("expired", "cancelled"),
    ("conflict", "pending"),
    ("conflict", "cancelled"),
    ("cancelled", "completed"),
}


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_only_moves_of_the_table_are_made(before: State, after: State) -> None:
    """Each of the 49 pairs of states is either legal, with at least one reason, or raises."""
    moves = [reason for reason in (None, *REASONS) if _passes(before, after, reason)]
    if (before, after) in LEGAL:
        assert set(moves) == REASONS_OF[after]
    else:
        assert moves == []


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_its_moves_and_reasons(state: State) -> None:
    """The tables speak of every state, and only of states and reasons there are."""
    assert LEGAL_MOVES[state] <= set(STATES)
    assert REASONS_OF[state] <= {None, *REASONS}
    assert REASONS_OF[state]


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_belongs_to_a_state(reason: str) -> None:
    """A reason that no state can carry would be a word nobody ever reads."""
    assert any(reason in reasons for reasons in REASONS_OF.values())


def test_what_is_over_for_good_has_no_way_back() -> None:
    """A receipt is final; a cancelled job comes back as completed alone."""
    assert LEGAL_MOVES[State.COMPLETED] == frozenset()
    assert LEGAL_MOVES[State.CANCELLED] == {State.COMPLETED}


def test_a_person_can_send_every_dead_letter_again() -> None:
    """What ended without success can go round again, and counts as unsent until then."""
    assert {state for state in STATES if State.PENDING in LEGAL_MOVES[state]} == REDRIVABLE | {State.PROCESSING}
    assert REDRIVABLE < UNSENT


def test_an_illegal_move_names_the_job_and_both_states() -> None:
    """The error says what happened, to what."""
    with pytest.raises(IllegalMoveError, match=r"'j1'.*'completed'.*'pending'"):
        check_move("j1", State.COMPLETED, State.PENDING, None)


def _passes(before: State, after: State, reason: object) -> bool:
    try:
        check_move("j", before, after, reason)  # type: ignore[arg-type]
    except IllegalMoveError:
        return False
    return True
