"""Ending a browser as a crash or a power cut would: all its processes at once, with no chance to put anything away."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from tests.support.waiting import until

PROC = Path("/proc")


def kill_tree(word: str) -> None:
    """SIGKILL every process that has `word` in its command line, and all their descendants; returns once all are gone."""
    victims = tree(word)
    for pid in victims:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not any(_runs(pid) for pid in victims), f"the end of the processes of {word}")


def tree(word: str) -> list[int]:
    """Every process that has `word` in its command line, and all their descendants."""
    parents: dict[int, int] = {}
    found: list[int] = []
    for folder in PROC.iterdir():
        if not folder.name.isdecimal():
            continue
        with suppress(OSError):
            parents[int(folder.name)] = int(_stat(int(folder.name))[1])
            if word.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    for pid in found:  # grows while it is walked
        found.extend(child for child, parent in parents.items() if parent == pid and child not in found)
    return found


def _runs(pid: int) -> bool:
    try:
        return _stat(pid)[0] not in "ZX"
    except OSError:
        return False


def _stat(pid: int) -> list[str]:
    """State, parent and so on; the name before them is in brackets and may hold anything."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
