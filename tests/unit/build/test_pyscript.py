"""PyScript's own Python, taken out of its JavaScript."""

import ast
import json

import pytest

from holdfast_server.build import BuildError
from holdfast_server.build.inputs import collect
from holdfast_server.build.project import Project
from holdfast_server.build.pyscript import package

from .conftest import ROOT


def test_the_package_of_the_pinned_pyscript_is_found_whole():
    """Every module that it imports from itself is there, and is Python."""
    (core,) = (data for name, data in collect(Project.load(ROOT)).items() if name.startswith("pyscript/core-"))
    texts = json.loads(package(core))
    imported = {
        node.module
        for text in texts.values()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pyscript.")
    }
    assert "pyscript/__init__.py" in texts
    assert {f"{name.replace('.', '/')}.py" for name in imported} <= texts.keys()


def test_a_pyscript_that_keeps_it_in_another_way_stops_the_build():
    """Nobody would notice otherwise that every page compiles it again."""
    with pytest.raises(BuildError):
        package(b"export const stdlib = fetched;")
