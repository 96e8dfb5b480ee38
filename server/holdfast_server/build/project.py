"""Where the parts of a Holdfast project lie and what its pyproject.toml declares. Reads no other file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from holdfast_server.build.errors import BuildError


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project's folder and its `[tool.holdfast]` table.

    `packages` are the wheels the app installs with micropip, `preload` the modules that belong in the memory snapshot,
    `forms` names a dict of forms by job type as `module:NAME`, or is empty.
    """

    root: Path
    version: str
    packages: tuple[str, ...]
    preload: tuple[str, ...]
    forms: str

    @classmethod
    def load(cls, root: Path) -> Self:
        """The project in `root`; raises `BuildError` where its pyproject.toml does not declare one."""
        try:
            table = tomllib.loads((root / "pyproject.toml").read_text())
            declared = table["tool"]["holdfast"]
            return cls(
                root=root,
                version=table["project"]["version"],
                packages=_names(declared, "packages"),
                preload=_names(declared, "preload"),
                forms=declared.get("forms", ""),
            )
        except FileNotFoundError:
            raise BuildError(f"{root} has no pyproject.toml: run the build in the folder of a Holdfast app.") from None
        except KeyError as missing:
            raise BuildError(
                f"{root / 'pyproject.toml'} has no {missing}; a Holdfast app declares [tool.holdfast]."
            ) from None

    @classmethod
    def find(cls, start: Path) -> Self:
        """The project that `start` lies in: the nearest folder upwards with a pyproject.toml."""
        folder = start.resolve()
        return cls.load(next((up for up in (folder, *folder.parents) if (up / "pyproject.toml").is_file()), folder))

    @property
    def settings(self) -> dict[str, Any]:
        """What is declared, as plain data: one of the build's inputs."""
        return {"version": self.version, "packages": self.packages, "preload": self.preload, "forms": self.forms}


def _names(declared: dict[str, Any], key: str) -> tuple[str, ...]:
    names = declared.get(key, [])
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise BuildError(f"[tool.holdfast] {key} in pyproject.toml must be a list of names, not {names!r}.")
    return tuple(names)
