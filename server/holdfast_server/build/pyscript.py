"""The Python that PyScript carries in its JavaScript. It writes it to the memory file system of every page and imports it
from there; taken out here, so that a device can compile it once.
"""

from __future__ import annotations

import json
import re

from holdfast_server.build.errors import BuildError

_MODULE = re.compile(r'"(\w+\.py)":("(?:[^"\\]|\\.)*")')
_FIRST = "pyscript/__init__.py"


def package(core: bytes) -> bytes:
    """`{path: text}` as JSON for the package in PyScript's core script; raises `BuildError` where it is not found."""
    try:
        found = {f"pyscript/{name}": json.loads(text) for name, text in _MODULE.findall(core.decode())}
    except ValueError as error:
        raise BuildError(f"PyScript's own Python cannot be read: {error}") from error
    if _FIRST not in found:
        raise BuildError("PyScript's core script does not hold its own Python as before: see pyscript.py.")
    return json.dumps(found, indent=1, sort_keys=True).encode()
