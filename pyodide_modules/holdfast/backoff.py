"""How long to wait before the next attempt. Pure: the random number comes in, a span comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from holdfast.errors import InvalidOptionError
from holdfast.limits import check_one_of, check_whole_number

if TYPE_CHECKING:
    from holdfast.ports import Millis

LARGEST_FACTOR = 1_000
"""Beyond it powers would overflow instead of reaching the cap."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off with jitter, after "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).

    Full jitter spreads the devices that come back from one outage over the whole wait, so that they do not return as
    a wave.
    """

    base_ms: Millis = 1_000
    factor: float = 2.0
    cap_ms: Millis = 300_000
    jitter: Literal["full", "equal", "decorrelated", "none"] = "full"

    def __post_init__(self) -> None:
        """Raises InvalidOptionError."""
        check_whole_number("base_ms", self.base_ms, least=0)
        check_whole_number("cap_ms", self.cap_ms, least=0)
        check_one_of("jitter", self.jitter, ("full", "equal", "decorrelated", "none"))
        factor: object = self.factor
        if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1 <= factor <= LARGEST_FACTOR:
            raise InvalidOptionError(f"factor takes a number from 1 to {LARGEST_FACTOR:,}; not {factor!r}.")

    def wait_ms(self, attempt: int, random: float, previous_ms: Millis = 0) -> Millis:
        """The wait after the `attempt`-th attempt (1, 2, …) failed.

        Args:
            attempt: how many have failed.
            random: uniform in [0, 1).
            previous_ms: the wait before this attempt; only decorrelated jitter builds on it.
        """
        # The exponent is bounded before it is used: 2.0 ** 5000 raises instead of reaching the cap.
        ceiling = min(self.cap_ms, self.base_ms * self.factor ** min(attempt - 1, 64))
        match self.jitter:
            case "full":
                return int(ceiling * random)
            case "equal":
                return int(ceiling / 2 + ceiling / 2 * random)
            case "decorrelated":
                return int(min(self.cap_ms, self.base_ms + random * max(0, previous_ms * 3 - self.base_ms)))
            case "none":
                return int(ceiling)
