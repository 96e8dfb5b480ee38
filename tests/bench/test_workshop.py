"""What rows rely on before they measure."""

import pytest


def test_a_worker_that_an_event_starts_again_while_it_stops_is_stopped(workshop, monkeypatch):
    """Such as the sync event that the app asks for when its page starts."""
    workshop.with_snapshot()  # through the worker, so that it runs
    send = workshop._session.send
    events = [workshop.sync]

    def stop_and_wake(*asked):
        send(*asked)
        if asked == ("ServiceWorker.stopAllWorkers",) and events:
            events.pop()()

    monkeypatch.setattr(workshop._session, "send", stop_and_wake)
    workshop.stop_workers()
    assert not events
    assert set(workshop._running.values()) == {"stopped"}


def test_what_goes_wrong_among_the_contenders_is_told(workshop):
    """Nobody watches their page: a failure must not pass for a short time."""
    with workshop.contest() as contest, pytest.raises(RuntimeError, match="is not a function"):
        contest.timed("bare", "nothing")
