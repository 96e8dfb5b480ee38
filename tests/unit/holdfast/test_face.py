"""What `from holdfast import …` gives."""

import inspect
import re

import holdfast
from holdfast import Outbox


def test_every_error_that_the_face_names_can_be_caught() -> None:
    """Who reads "Raises: QueueFullError" finds it where `Outbox` is, and so what its options take."""
    face = [Outbox.__init__, *(member for name, member in inspect.getmembers(Outbox) if not name.startswith("_"))]
    texts = [inspect.getdoc(member) for member in face]
    named = {name for text in texts for name in re.findall(r"\b\w+Error\b", text or "")}
    assert {"QueueFullError", "SecretError"} <= named
    assert named | {"Retention", "Backoff", "File"} <= set(holdfast.__all__)
    assert all(hasattr(holdfast, name) for name in holdfast.__all__)
