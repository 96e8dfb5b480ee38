"""Code that was compiled beforehand: used for the very text it was made from, and for no other."""

import importlib
import sys

import pytest

from holdfast.browser.compiled import Compiled

TEXTS = {"written/__init__.py": "from written.inner import WORD\n", "written/inner.py": "WORD = 'known'\n"}


@pytest.fixture
def finder(tmp_path, monkeypatch):
    """Knows a package that is not written yet; its place is on the path."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    finder = Compiled(TEXTS)
    finder.install()
    yield finder
    for name in ("written", "written.inner"):
        sys.modules.pop(name, None)


def write(folder, texts):
    (folder / "written").mkdir()
    for path, text in texts.items():
        (folder / path).write_text(text)
    importlib.invalidate_caches()


def compiled_here(monkeypatch) -> list[str]:
    paths: list[str] = []
    compile_ = importlib.machinery.SourceFileLoader.source_to_code
    monkeypatch.setattr(
        importlib.machinery.SourceFileLoader,
        "source_to_code",
        lambda self, data, path, **given: paths.append(path) or compile_(self, data, path, **given),
    )
    return paths


def test_a_known_text_is_imported_without_being_compiled_again(finder, tmp_path, monkeypatch):
    """Where it was written, with its file and its package as ever."""
    compiled = compiled_here(monkeypatch)
    write(tmp_path, TEXTS)
    written = importlib.import_module("written")
    assert written.WORD == "known"
    assert written.__file__ == str(tmp_path / "written" / "__init__.py")
    assert compiled == []


def test_another_text_is_compiled_as_ever(finder, tmp_path, monkeypatch):
    """A newer PyScript, or a module of the person's own of that name: what is written counts."""
    compiled = compiled_here(monkeypatch)
    write(tmp_path, {**TEXTS, "written/inner.py": "WORD = 'other'\n"})
    assert importlib.import_module("written").WORD == "other"
    assert compiled == [str(tmp_path / "written" / "inner.py")]


def test_what_is_not_written_cannot_be_imported(finder):
    """Knowing a text is no reason to find it."""
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("written")
