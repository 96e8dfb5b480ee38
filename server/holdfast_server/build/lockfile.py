"""Our own lock file for Pyodide. The one that comes with it lists hundreds of packages on another origin, and micropip
with another hash than PyPI's; ours lists the wheels of this build, and nothing else can be loaded by name.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping


def make(original: bytes, wheels: Mapping[str, bytes]) -> bytes:
    """Pyodide's lock file with its `info` kept and only `wheels`, given by file name, as packages."""
    packages = {entry["name"]: entry for name, data in sorted(wheels.items()) for entry in [_entry(name, data)]}
    lock = {"info": json.loads(original)["info"], "packages": packages}
    return (json.dumps(lock, indent=1, sort_keys=True) + "\n").encode()


def _entry(file_name: str, data: bytes) -> dict[str, object]:
    name, version, *_ = file_name.split("-")
    return {
        "name": name.replace("_", "-").lower(),
        "version": version,
        "file_name": f"wheels/{file_name}",
        "sha256": hashlib.sha256(data).hexdigest(),
        "install_dir": "site",
        "package_type": "package",
        "imports": _imports(data),
        "depends": [],
        "unvendored_tests": False,
    }


def _imports(data: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as wheel:
        tops = {name.split("/")[0] for name in wheel.namelist() if name.endswith(".py")}
    return sorted(top.removesuffix(".py") for top in tops)
