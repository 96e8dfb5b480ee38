"""Pyodide's script, changed for a start that does less."""

import pytest

from holdfast_server.build import BuildError
from holdfast_server.build.inputs import collect
from holdfast_server.build.project import Project
from holdfast_server.build.pyodide import quick

from .conftest import ROOT


@pytest.fixture(scope="module")
def pinned() -> tuple[bytes, bytes]:
    """Pyodide's two scripts as `make setup` fetched them."""
    inputs = collect(Project.load(ROOT))
    return inputs["pyodide/pyodide.asm.mjs"], inputs["pyodide/pyodide.mjs"]


def test_what_a_start_reads_is_still_assigned(pinned):
    """`_Py_Version` is read by the other script, `_malloc` by this one; nothing there reads `_PyDict_GetItemString`."""
    script = quick(*pinned)
    assert b"_Py_Version=" in script
    assert b"_malloc=" in script
    assert b"_PyDict_GetItemString" not in script
    assert pinned[0].count(b"=wasmExports[") - script.count(b"=wasmExports[") > 4_000
    assert len(script) < 0.7 * len(pinned[0])


@pytest.mark.parametrize(
    ("place", "instead"),
    [
        (b"function assignWasmExports(wasmExports){", b"function assignExports(wasmExports){"),
        (b"_PyDict_GetItemString,", b""),
        (b"updateGOT(origExports);", b""),
        (b"updateGOT(origExports);", b"updateGOT(origExports);updateGOT(origExports);"),
        (b"var reportUndefinedSymbols=()=>{", b"var reportUndefinedSymbols=(all)=>{"),
    ],
)
def test_another_pyodide_stops_the_build(pinned, place, instead):
    """Half a change would start, and then link wrongly; what to do then is written down."""
    script, loader = pinned
    with pytest.raises(BuildError, match=r"docs/performance\.md"):
        quick(script.replace(place, instead), loader)
