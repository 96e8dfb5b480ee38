"""When requests come in: the server behind a relay that notes the time."""

import time

from tests.support.relay import Fault, Relay


class Arrivals(Relay):
    """Notes the instant at which each write has come in."""

    def __init__(self, port, server):
        super().__init__(port, server)
        self.at: list[float] = []

    def fault_for(self, method: str, path: str, key: str | None) -> Fault | None:
        if method == "POST":
            self.at.append(time.perf_counter())
        return super().fault_for(method, path, key)
