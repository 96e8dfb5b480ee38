"""What rows rely on before they measure."""


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
