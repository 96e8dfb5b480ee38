"""How much of a request is taken. Over a limit the answer is 413."""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps in bytes, and one count."""

    body: int = 50 * MIB
    """The whole body of a request."""
    file: int = 25 * MIB
    """One file in it."""
    text: int = MIB
    """All text of it: a JSON body, or the text fields of a form together. It is held in memory; files are not."""
    parts: int = 500
    """The parts of a form, files and text fields."""
    batch: int = 8 * MIB
    """The body of a batch."""
