"""Python that somebody else writes down and imports anew at every start, compiled once: the memory snapshot keeps the code.

PyScript writes a package of its own to the memory file system of each page. Made before the snapshot is: nothing
JavaScript is touched here.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder, SourceFileLoader
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType


class Compiled:
    """A finder for modules of which the text is known, by paths as in `pyscript/web.py`.

    They are looked for on the path as ever, and what is found there is what counts: code that was compiled from another
    text is not used.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._known = {
            _name(path): (text.encode(), compile(text, path, "exec", dont_inherit=True)) for path, text in texts.items()
        }

    def install(self) -> None:
        """Ask this finder first, from now on."""
        sys.meta_path.insert(0, self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The path's own answer, with the code beside it."""
        known = self._known.get(name)
        spec = PathFinder.find_spec(name, path, target) if known else None
        if known and spec and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(name, spec.loader.path, *known)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, text: bytes, code: CodeType) -> None:
        super().__init__(name, path)
        self._text = text
        self._code = code

    def get_code(self, fullname: str) -> CodeType | None:
        if self.get_data(self.path) == self._text:
            return self._code
        return super().get_code(fullname)


def _name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
