"""Who is signed in: what follows from the server's word, and what people read."""

import pytest

from app.signing import (
    Session,
    Step,
    Who,
    after_signing_out,
    before_signing_in,
    before_signing_out,
    label,
    nobodys,
    others,
    refusal,
    signed_out,
    step,
)

NO_ACCOUNTS = Session(sign_in=False, account="")
MARA = Who(sign_in=True, account="mara", session=True)
NOBODY = Who(sign_in=True)


def there(account=""):
    return Session(sign_in=True, account=account)


@pytest.mark.parametrize(
    ("session", "who", "leaving", "follows"),
    [
        (NO_ACCOUNTS, Who(), False, Step.NOTHING),
        (NO_ACCOUNTS, Who(held=True), False, Step.NOTHING),
        (there(), NOBODY, False, Step.NOTHING),
        (there(), MARA, False, Step.NOTHING),
        (there("mara"), MARA, False, Step.NOTHING),
        (there("mara"), NOBODY, False, Step.ENTER),
        (there("jon"), MARA, False, Step.ENTER),
        (there("mara"), NOBODY, True, Step.END),
        (there(), NOBODY, True, Step.NOTHING),
        (there("mara"), Who(sign_in=True, account="mara", held=True), False, Step.GO_ON),
        (there("mara"), Who(sign_in=True, account="mara", session=False, held=True), False, Step.GO_ON),
        (there("mara"), Who(sign_in=True, account="mara", session=True, held=True), False, Step.NOTHING),
    ],
)
def test_what_follows_from_the_servers_word(session, who, leaving, follows):
    """A session that this device knows nothing of is entered, one that was left is ended, held jobs go on once."""
    assert step(session, who, leaving=leaving) == follows


def test_without_accounts_nothing_is_said():
    """The app looks as if there were no such thing."""
    assert [words(Who(unsent={"": 3})) for words in (signed_out, nobodys, others)] == ["", "", ""]
    assert signed_out(Who(held=True)) == "Unsent inspections wait until you sign in. They stay on this device."


def test_without_a_network_the_last_known_account_counts():
    """Nobody has said otherwise; a 401 or the server's word has."""
    assert label(Who(sign_in=True, account="mara")) == "mara"
    assert label(Who(sign_in=True, account="mara", session=False)) == "Sign in"
    assert label(Who(sign_in=True, account="mara", held=True)) == "Sign in"
    assert label(NOBODY) == "Sign in"


@pytest.mark.parametrize(
    ("who", "words"),
    [
        (MARA, ""),
        (NOBODY, "What you save stays on this device until you sign in."),
        (
            Who(sign_in=True, unsent={"mara": 2, "": 1}),
            "Unsent inspections of mara wait until mara signs in. They stay on this device.",
        ),
        (
            Who(sign_in=True, unsent={"mara": 2, "jon": 1}),
            "Unsent inspections of jon and mara wait until they sign in. They stay on this device.",
        ),
        (
            Who(sign_in=True, account="mara", session=False, unsent={"mara": 1, "jon": 1}),
            "Unsent inspections of mara wait until mara signs in. They stay on this device.",
        ),
        (
            Who(sign_in=True, account="mara", session=False),
            "What you save waits until mara signs in. It stays on this device.",
        ),
    ],
)
def test_the_banner_says_whose_work_waits(who, words):
    """Nobody's name is told to another who is signed in."""
    assert signed_out(who) == words


def test_what_nobody_saved_is_offered_to_who_is_signed_in():
    """Not while nobody is, and not where there is none."""
    some = {"": 2}
    assert nobodys(Who(sign_in=True, account="mara", unsent=some)).startswith(
        "2 inspections were saved here while nobody"
    )
    assert nobodys(Who(sign_in=True, account="mara", unsent={"": 1})).startswith("1 inspection was saved")
    assert nobodys(Who(sign_in=True, unsent=some)) == ""
    assert nobodys(MARA) == ""


def test_signing_out_says_what_goes_and_what_stays():
    """What is unsent is never removed, and why it is not is said before and after."""
    assert before_signing_out(MARA).endswith("from this device. Nothing is unsent.")
    assert before_signing_out(Who(sign_in=True, account="mara", unsent={"mara": 2})).endswith(
        "2 unsent inspections are not removed: they stay here until mara signs in again."
    )
    assert before_signing_out(Who(sign_in=True, account="mara", unsent={"mara": 1})).endswith(
        "1 unsent inspection is not removed: it stays here until mara signs in again."
    )
    assert after_signing_out("mara", 0) == "Signed out."
    assert after_signing_out("mara", 1) == (
        "Signed out. 1 inspection of mara could not be sent yet. It stays on this device until mara signs in."
    )


def test_the_screen_says_what_else_waits_here():
    """Numbers and names of the others, nothing of what is in it."""
    who = Who(sign_in=True, account="mara", unsent={"mara": 1, "jon": 2, "": 1})
    assert others(who) == "2 unsent inspections of jon wait on this device until jon signs in."
    assert "draft of mara is removed" in before_signing_in(Who(sign_in=True, account="mara", session=False))
    assert "needs the network" in before_signing_in(NOBODY)


@pytest.mark.parametrize(
    ("status", "wait_s", "part"),
    [
        (401, 0, "do not belong together"),
        (422, 0, "enter your name"),
        (429, 61, "Try again in 2 min."),
        (0, 0, "does not answer"),
        (503, 0, "answered with 503"),
    ],
)
def test_a_refused_sign_in_says_why(status, wait_s, part):
    """And that nobody is signed in."""
    assert refusal(status, wait_s).startswith("Not signed in: ")
    assert part in refusal(status, wait_s)
