"""What a run has in it. Each has a part of the dangers only, so that rare mixtures come up."""

import random
from dataclasses import dataclass
from typing import Any

QUEUES = {"note": "notes", "memo": "notes", "stop": "halts", "ping": "side", "photo": "side", "tidy": "chores"}
"""The queue of each type."""


@dataclass
class Features:
    """What this run has in it: each run a part only, so that rare mixtures come up."""

    devices: int
    leases: bool
    two_accounts: bool
    keys_expire: bool
    crash: float
    storage: float
    loss: float
    slow_ms: int
    clocks: bool
    freezing: bool
    outages: bool
    gates: bool
    people: bool
    inbox: bool
    robbers: bool
    prunes: bool
    damage: bool
    kinds: tuple[str, ...]
    types: tuple[str, ...]
    batches: dict[str, int]
    """The types of which many may share a request, and how many."""
    takes_batches: str
    """What the server does with such a request: takes it, takes all but memos, or refuses it as a whole with this status."""

    @classmethod
    def draw(cls, chance: random.Random) -> "Features":
        def maybe(share: float) -> bool:
            return chance.random() < share

        keys_expire = maybe(0.2)
        kinds = ["good"] * 6 + [kind for kind in ("slow", "flaky", "refuse", "conflict", "poison") if maybe(0.5)]
        types = [type_ for type_ in QUEUES if maybe(0.6)] or ["note"]
        return cls(
            devices=2 if maybe(0.1) else 1,
            leases=maybe(0.2),
            two_accounts=maybe(0.35),
            keys_expire=keys_expire,
            crash=chance.choice((0.0, 0.0, 0.002, 0.02)),
            storage=chance.choice((0.0, 0.0, 0.02, 0.2)),
            loss=chance.choice((0.0, 0.05, 0.3)),
            slow_ms=chance.choice((20, 500, 20_000)),
            clocks=maybe(0.3) and not keys_expire,
            freezing=maybe(0.5),
            outages=maybe(0.5),
            gates=maybe(0.4),
            people=maybe(0.6),
            inbox=maybe(0.5),
            robbers=maybe(0.3),
            prunes=maybe(0.2),
            kinds=tuple(kinds),
            types=tuple(types),
            damage=maybe(0.15),
            **_batches(chance),
        )


def _batches(chance: random.Random) -> dict[str, Any]:
    routes = [type_ for type_ in QUEUES if type_ != "tidy"] if chance.random() < 0.6 else []
    return {
        "batches": {type_: chance.choice((2, 3, 50)) for type_ in routes if chance.random() < 0.7},
        "takes_batches": chance.choice(("all", "all", "all", "all", "most", "404", "413", "500")),
    }
