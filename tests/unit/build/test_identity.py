"""A build's name and bytes follow from its inputs and from nothing else."""

import os

import pytest

from holdfast_server.build import build
from holdfast_server.build.inputs import build_id, collect
from holdfast_server.build.project import Project

from .conftest import CACHE, ROOT


def files(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_same_sources_elsewhere_and_at_another_time_give_the_same_bytes(copy_project, tmp_path):
    """Neither the folder, nor the files' times, nor the order of a directory shows in a build."""
    outs = []
    for name, second in (("one", 1_000_000_000), ("two", 2_000_000_000)):
        root = copy_project(name)
        for path in (root / "static", root / "app"):
            for file in path.rglob("*"):
                os.utime(file, (second, second))
        build(tmp_path / f"{name}-dist", root=root, cache=CACHE)
        outs.append(files(tmp_path / f"{name}-dist"))
    assert outs[0] == outs[1]


def test_every_single_input_changes_the_name():
    """Whatever goes into a build, a page never takes one build's file for another's."""
    inputs = collect(Project.load(ROOT))
    names = {build_id({**inputs, name: data + b"\n"}) for name, data in inputs.items()}
    assert len(names) == len(inputs)
    assert build_id(inputs) not in names


def test_a_renamed_input_changes_the_name():
    """A file's name is part of what a page asks for."""
    assert build_id({"static/a.js": b"1", "static/b.js": b"2"}) != build_id({"static/a.js": b"2", "static/b.js": b"1"})


@pytest.mark.parametrize(
    "path",
    [
        "app/forms.py",
        "sw/sw.js",
        "sw/worker.py",
        "static/index.html",
        "static/shim.js",
        "pyodide_modules/holdfast/lifecycle.py",
        "static/a-new-file.js",
        "pyodide_modules/holdfast/a_new_module.py",
    ],
)
def test_an_edit_or_a_new_file_changes_the_name(copy_project, path):
    """All folders of an app are looked at, deep ones included."""
    root = copy_project("app")
    before = build_id(collect(Project.load(root)))
    with (root / path).open("a") as file:
        file.write("\n")
    assert build_id(collect(Project.load(root))) != before


def test_what_is_declared_changes_the_name_and_other_settings_do_not(copy_project):
    """A linter's option is no reason to have every device fetch everything again."""
    root = copy_project("app")
    pyproject = root / "pyproject.toml"
    before = build_id(collect(Project.load(root)))
    pyproject.write_text(pyproject.read_text().replace("line-length = 120", "line-length = 100"))
    assert build_id(collect(Project.load(root))) == before
    pyproject.write_text(pyproject.read_text().replace('preload = ["', 'preload = ["json", "'))
    assert build_id(collect(Project.load(root))) != before


def test_hidden_files_and_bytecode_stay_out():
    """An editor's backup or a compiled module of this machine is no part of the app."""
    names = collect(Project.load(ROOT))
    assert not [name for name in names if "__pycache__" in name or "/." in name]
