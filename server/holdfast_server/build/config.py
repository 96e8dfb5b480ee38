"""The generated config.js: what page and worker know about their build. Also finds out which fields are secret."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping

from holdfast_server.build.errors import BuildError
from holdfast_server.build.project import Project

# Run in a fresh interpreter: the forms of this project, whichever `app` the running process may have imported.
_SECRETS = """
import importlib, json, sys
module, _, name = sys.argv[1].partition(":")
forms = getattr(importlib.import_module(module), name)
print(json.dumps({type: {"secrets": sorted(getattr(form, "secrets", ()))} for type, form in forms.items()}))
"""


def forms(project: Project) -> dict[str, object]:
    """`{job type: {"secrets": [field names]}}` for the forms that `[tool.holdfast]` names."""
    if not project.forms:
        return {}
    path = os.pathsep.join(str(project.root / part) for part in ("pyodide_modules", "."))
    done = subprocess.run(  # noqa: S603 - our own interpreter runs the app's own module
        [sys.executable, "-c", _SECRETS, project.forms],
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=project.root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"[tool.holdfast] forms = {project.forms!r} cannot be read:\n{done.stderr.strip()}")
    found: dict[str, object] = json.loads(done.stdout)
    return found


def make(settings: Mapping[str, object], files: Mapping[str, bytes], own_url: str) -> bytes:
    """The module's text. `files` are to be precached, by URL, this one (`own_url`) left out.

    Each is listed with its size and its SHA-256: two builds' pages differ in the build's name alone, so a size cannot
    tell them apart. The list holds the module itself, whose size depends on the list: it is written again until the
    figures agree. Its own digest cannot be in it; its name, which is the build's, stands in for that.
    """
    listed = [(url, len(data), hashlib.sha256(data).hexdigest()) for url, data in files.items()]
    own = 0
    while True:
        precache = sorted([*listed, (own_url, own, "")])
        total = sum(size for _, size, _ in precache)
        config = {**settings, "precache": precache, "bytes": total}
        text = f"export default {json.dumps(config, indent=1)};\n".encode()
        if len(text) == own:
            return text
        own = len(text)
