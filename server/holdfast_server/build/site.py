"""The tree of a build as bytes by path, from its inputs: what goes where, and which of it must be there offline. Checks
that the page and its manifest refer only to what is in it. Writes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from holdfast_server.build import config, lockfile, pyodide, pyscript, wheels
from holdfast_server.build.errors import BuildError
from holdfast_server.build.inputs import Files, under, wheel_names
from holdfast_server.build.project import Project

PLACEHOLDER = b"{{build}}"
_SOURCE_MAP = re.compile(rb"\n//# sourceMappingURL=\S+\s*\Z")
_REFERENCE = re.compile(r"""(?:src|href)=["'](/(?!/)[^"'#?]+)""")
_STRING = re.compile(r'"([^"]+)"')


def make(project: Project, inputs: Files, build: str) -> dict[str, bytes]:
    """Every file of the build, by its path below the output folder."""
    own = dict(_own_wheels(project, inputs))
    foreign = under(inputs, "wheels")
    runtime = {
        **_flat(under(inputs, "static"), ".js", ".css"),
        **_flat(under(inputs, "sw"), ".js"),
        **under(inputs, "pyodide"),
        "pyodide.asm.mjs": pyodide.quick(inputs["pyodide/pyodide.asm.mjs"], inputs["pyodide/pyodide.mjs"]),
        **{f"pyscript/{name}": data for name, data in under(inputs, "pyscript").items()},
        "pyscript.json": pyscript.package(_core(inputs)),
        **{f"wheels/{name}": data for name, data in {**own, **foreign}.items()},
        "pyodide-lock.json": lockfile.make(inputs["pyodide/pyodide-lock.json"], {**own, **foreign}),
    }
    base = f"runtime/{build}"
    tree = {f"{base}/{name}": _without_source_map(name, data) for name, data in runtime.items()}
    for name, data in under(inputs, "static").items():
        if not name.endswith((".js", ".css")):
            tree[name] = data.replace(PLACEHOLDER, build.encode()) if name.endswith(".html") else data
    # One line with the build's name in it: new bytes for every build, which is how a browser notices an update.
    tree["sw.js"] = f'import "/{base}/sw.js";\n'.encode()
    # A star leaves the default out.
    tree["holdfast.js"] = (
        f'export * from "/{base}/holdfast.js";\nexport {{ default }} from "/{base}/holdfast.js";\n'.encode()
    )
    settings = {
        "build": build,
        "version": project.version,
        "wheels": [f"/{base}/wheels/{name}" for name in own],
        "packages": [f"/{base}/wheels/{name}" for name in _in_order(project, foreign)],
        "preload": project.preload,
        "forms": config.forms(project),
    }
    precached = {url(path): data for path, data in tree.items() if needed_offline(path)}
    tree[f"{base}/config.js"] = config.make(settings, precached, f"/{base}/config.js")
    _check(tree)
    return tree


def url(path: str) -> str:
    """Where a file of the tree is served."""
    return "/" if path == "index.html" else f"/{path}"


def needed_offline(path: str) -> bool:
    """Whether a file of the tree is precached: all but the worker's script, which the browser keeps itself, and the
    screenshots, which are looked at before an installation only.
    """
    return path != "sw.js" and not path.startswith("screenshots/")


def _own_wheels(project: Project, inputs: Files) -> list[tuple[str, bytes]]:
    library = {f"holdfast/{name}": data for name, data in under(inputs, "holdfast").items()}
    app = {f"app/{name}": data for name, data in under(inputs, "app").items()}
    worker = {f"sw/{name}": data for name, data in under(inputs, "sw").items() if name.endswith(".py")}
    return [
        wheels.make("holdfast", project.version, library),
        wheels.make("holdfast-app", project.version, app | worker),
    ]


def _core(inputs: Files) -> bytes:
    return next(data for name, data in under(inputs, "pyscript").items() if name.startswith("core-"))


def _in_order(project: Project, foreign: Mapping[str, bytes]) -> list[str]:
    # wheel_names starts with micropip, which Pyodide loads by its name in the lock file.
    return [next(file for file in foreign if file.startswith(f"{name}-")) for name in wheel_names(project)[1:]]


def _flat(files: Mapping[str, bytes], *suffixes: str) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if name.endswith(suffixes)}


def _without_source_map(name: str, data: bytes) -> bytes:
    # The maps are not part of a build, and a browser's tools would ask for them.
    return _SOURCE_MAP.sub(b"\n", data) if name.endswith((".js", ".mjs")) else data


def _check(tree: Mapping[str, bytes]) -> None:
    for page in ("index.html", "manifest.webmanifest"):
        if page not in tree:
            raise BuildError(f"static/{page} is missing: a Holdfast app has it.")
    served = {url(path) for path in tree}
    manifest = json.loads(tree["manifest.webmanifest"])
    pictures = [*manifest.get("icons", ()), *manifest.get("screenshots", ())]
    references = {
        "index.html": _REFERENCE.findall(tree["index.html"].decode()),
        "manifest.webmanifest": ["/" + picture["src"].lstrip("/") for picture in pictures],
        **{line: _STRING.findall(tree[line].decode()) for line in ("sw.js", "holdfast.js")},
    }
    for page, urls in references.items():
        # Links to the API are answered by the server, not by a file.
        missing = sorted({target for target in urls if not target.startswith("/api/")} - served)
        if missing:
            raise BuildError(f"{page} refers to what the build does not have: {', '.join(missing)}")
