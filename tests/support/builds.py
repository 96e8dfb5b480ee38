"""Builds of the app as it might be: a later version, one with another option."""

import shutil
from pathlib import Path

from holdfast_server.build import build
from tests.support.server import ROOT

SOURCES = ("app", "sw", "static", "pyodide_modules")
FETCHED = ("node_modules", ".cache")

NEXT = {
    "static/page.js": ("});\nturnTo();\n", '});\nturnTo();\ndocument.body.dataset.version = "next";\n'),
    "app/words.py": ('"Paused"', '"Paused for now"'),
    "pyodide_modules/holdfast/outgoing.py": (
        "    payload = claimed.payload\n",
        "    payload = claimed.payload | {'notes': 'Sent by the next version.'}\n",
    ),
    "sw/worker.py": ("    await _ready()\n", """    if '"method":"version"' in message:
        return '{"ok": "next"}'
    await _ready()
"""),
}  # fmt: skip
"""A later version, part by part, so that each can be told by what it does: the page's script says so, its words are others, and
what it sends and what its worker answers.
"""

NEXT_SCHEMA = NEXT | {
    "pyodide_modules/holdfast/schema.py": ("""            "quarantine": ObjectStore(key="id", indexes={}),
        },
    ),
)
""", """            "quarantine": ObjectStore(key="id", indexes={}),
        },
    ),
)


def _note_sites():
    from holdfast.storage import Get, GetAll, Put

    for job in (yield GetAll("jobs")):
        body = yield Get("bodies", job["id"])
        yield Put("sites", {"id": job["id"], "site": body["payload"]["site"]})
        yield Put("jobs", job | {"schema": 2})


MIGRATIONS += (
    Migration(
        adds={
            "jobs": ObjectStore(key="id", indexes={"converted": ("schema", "created_at")}),
            "sites": ObjectStore(key="id", indexes={}),
        },
        convert=_note_sites,
    ),
)
"""),
}  # fmt: skip
"""The same with a database of one version more: another object store, another index, and every job converted."""


def changed_app(root: Path, changes: dict[str, tuple[str, str]]) -> Path:
    """Build a copy of the app, made in `root`, in which the first of each pair is replaced by the second, once a file."""
    for folder in SOURCES:
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in FETCHED:
        (root / folder).symlink_to(ROOT / folder)
    shutil.copy(ROOT / "pyproject.toml", root)
    for name, (before, after) in changes.items():
        text = (root / name).read_text()
        assert before in text, f"{name} does not hold {before!r} any more"
        (root / name).write_text(text.replace(before, after, 1))
    build(root / "dist", root=root)
    return root / "dist"
