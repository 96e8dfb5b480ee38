"""Callbacks share turns of the event loop, and keep their order, their errors and their number."""

import asyncio

import pytest

from holdfast.browser.turns import TURN_S, Turns, share


class Loop:
    """An event loop that only says what it was asked for."""

    def __init__(self) -> None:
        self.asked = []
        self.errors = []

    def call_soon(self, callback):
        self.asked.append(callback)

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context) -> None:
        self.errors.append(context["exception"])

    def turn(self) -> None:
        self.asked.pop(0)()


class Timed:
    """A clock that callbacks set on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def clock():
    return Timed()


@pytest.fixture
def turns(loop, clock):
    return Turns(loop, clock)


@pytest.fixture
def done():
    return []


def test_a_hundred_callbacks_are_one_turn_in_their_order(loop, turns, done) -> None:
    for number in range(100):
        turns.call_soon(done.append, number)
    assert len(loop.asked) == 1
    loop.turn()
    assert done == list(range(100))
    assert loop.asked == []


def test_what_becomes_ready_in_a_turn_waits_for_the_next(loop, turns, done) -> None:
    turns.call_soon(lambda: turns.call_soon(done.append, "later"))
    turns.call_soon(done.append, "now")
    loop.turn()
    assert done == ["now"]
    assert len(loop.asked) == 1
    loop.turn()
    assert done == ["now", "later"]


def test_a_turn_that_has_taken_long_leaves_the_rest_to_the_next_in_order(loop, clock, turns, done) -> None:
    def take_long(name):
        clock.now += TURN_S
        done.append(name)

    for name in "abc":
        turns.call_soon(take_long, name)
    for expected in ("a", "ab", "abc"):
        loop.turn()
        assert done == list(expected)
    assert loop.asked == []


def test_one_that_waits_for_the_loop_itself_does_not_stop_it(loop, turns, done) -> None:
    """As with stack switching: it waits inside of its callback until another turn has brought what it waits for."""

    def wait():
        turns.call_soon(done.append, "what it waits for")
        while not done:
            loop.turn()
        done.append("it")

    turns.call_soon(wait)
    loop.turn()
    assert done == ["what it waits for", "it"]


def test_one_that_was_cancelled_or_raises_costs_the_others_nothing(loop, turns, done) -> None:
    error = ValueError("it is broken")

    def broken():
        raise error

    turns.call_soon(done.append, "cancelled").cancel()
    turns.call_soon(broken)
    turns.call_soon(done.append, "the other")
    loop.turn()
    assert (done, loop.errors) == (["the other"], [error])


def test_who_wants_to_end_everything_is_heard_and_the_rest_still_comes(loop, turns, done) -> None:
    def end():
        raise SystemExit

    turns.call_soon(end)
    turns.call_soon(done.append, "the rest")
    with pytest.raises(SystemExit):
        loop.turn()
    loop.turn()
    assert done == ["the rest"]


def test_tasks_of_a_real_loop_go_on_as_ever_and_its_turns_are_shared_once() -> None:
    loop = asyncio.new_event_loop()
    share(loop)
    own = loop.call_soon
    share(loop)

    async def number(given):
        await asyncio.sleep(0)
        return given

    async def numbers():
        return await asyncio.gather(*map(number, range(5)))

    try:
        assert loop.call_soon == own
        assert loop.run_until_complete(numbers()) == [0, 1, 2, 3, 4]
    finally:
        loop.close()
