"""Pyodide's script, so changed that a start does less. What only a package with compiled parts needs is done when the first
one is loaded; functions that JavaScript lends WebAssembly are lent all at once; the whole is compiled once. Every place
is looked for as it was written: another Pyodide stops the build instead of getting half of this. docs/performance.md
says what to do then.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from holdfast_server.build.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Callable

_WORD: Final = re.compile(r"[\w$]+")
_ASSIGN: Final = "function assignWasmExports(wasmExports){"
_ASSIGNMENT: Final = re.compile(r'(_([\w$]+))=Module\["\1"\]=wasmExports\["\2"\](?:\.value>>>0)?')

# What the assignments that are left out did, for `Module`; code of such a package may also call an export by its name alone.
_ASSIGN_OTHERS: Final = """
function assignOtherExports(exports) {
  for (const [name, value] of Object.entries(exports))
    Module[`_${name}`] ??= value instanceof WebAssembly.Global ? value.value >>> 0 : value;
}
var withExports = (code) => {
  const names = new Set(code.match(/\\b_[\\w$]+/g));
  return [...names].filter((name) => Object.hasOwn(Module, name)).map((name) => `var ${name}=Module["${name}"];`).join("") + code;
};
"""

# One module with an import and an export for each: WebAssembly's tables hold nothing else of JavaScript's.
_LEND_TOGETHER: Final = """
var lendTogether = (entries) => {
  const number = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...number(n >>> 7)]);
  const section = (id, items) => {
    const content = [...number(items.length), ...items.flat()];
    return [id, ...number(content.length), ...content];
  };
  const name = (at) => [`${at}`.length, ...Array.from(`${at}`, (digit) => digit.charCodeAt(0))];
  const signatures = [...new Set(entries.map(([, lent]) => lent.sig))];
  const type = (sig) => [96, ...generateTypePack(sig.slice(1)), ...generateTypePack(sig[0] === "v" ? "" : sig[0])];
  const bytes = [
    ...[0, 97, 115, 109, 1, 0, 0, 0],
    ...section(1, signatures.map(type)),
    ...section(2, entries.map(([, lent], at) => [1, 101, ...name(at), 0, ...number(signatures.indexOf(lent.sig))])),
    ...section(7, entries.map((_, at) => [...name(at), 0, ...number(at)])),
  ];
  const module = new WebAssembly.Module(Uint8Array.from(bytes));
  const { exports } = new WebAssembly.Instance(module, { e: entries.map(([, lent]) => lent) });
  let index = wasmTable.grow(entries.length);
  for (const [at, [entry, lent]] of entries.entries()) {
    setWasmTableEntry(index, exports[at]);
    functionsInTableMap.set(lent, index);
    entry.value = index++;
  }
};
"""

_PREPARE: Final = (
    "prepareLinking=()=>{prepareLinking=()=>{};Module.isLinked=true;"
    "assignOtherExports(wasmExports);updateGOT(origExports)};"
)
_EDITS: Final = (
    # In parentheses, which tell a browser that it is called: compiled when loaded, once, instead of passed over first.
    ("async function _createPyodideModule(", "var _createPyodideModule=(async function("),
    ("return moduleRtn}export default", "return moduleRtn});export default"),
    # Nothing is read as Python's source, or a restored machine would have its parser compiled for five words.
    (
        'let[r,n]=API.rawRun("import _pyodide_core");',
        'let[r,n]=t?[0]:API.rawRun("import _pyodide_core");',
    ),
    (
        'API.runPythonInternal_dict=API._pyodide._base.eval_code("{}"),',
        "API.runPythonInternal_dict=API._pyodide._base.builtins.dict(),",
    ),
    (
        'API.importlib=API.runPythonInternal("import importlib; importlib");',
        'API.importlib=API._pyodide._base.import_module("importlib");',
    ),
    (
        'API.runPythonInternal("import __main__; __main__.__dict__")',
        'o("__main__").__dict__',
    ),
    (
        'API.runPythonInternal("import builtins; builtins.__dict__")',
        'o("builtins").__dict__',
    ),
    # Names and addresses of all exports: for modules that are linked to this one.
    (
        "updateGOT(origExports);",
        _PREPARE,
    ),
    (
        "var loadWebAssemblyModule=(binary,flags,libName,localScope,handle)=>{",
        "var prepareLinking;var loadWebAssemblyModule=(binary,flags,libName,localScope,handle)=>{prepareLinking();",
    ),
    # Also for ctypes, which asks for an address by name. python.js keeps no heap that may hold one: the next start gives others.
    (
        "var addr=getFunctionAddress(result);",
        "var addr=getFunctionAddress(result)||(prepareLinking(),getFunctionAddress(result));",
    ),
    (";ASM_CONSTS[start]=eval(func)}", ";ASM_CONSTS[start]=eval(withExports(func))}"),
    (";moduleExports[name]=eval(func)}", ";moduleExports[name]=eval(withExports(func))}"),
    # The whole table is looked through for functions of WebAssembly that are perhaps in it, not for those of JavaScript.
    (
        "var functionsInTableMap;",
        "var functionsInTableMap=new WeakMap;var tableIsMapped=false;",
    ),
    (
        "if(!functionsInTableMap){functionsInTableMap=new WeakMap;updateTableMap(0,wasmTable.length)}",
        "if(!tableIsMapped){tableIsMapped=true;updateTableMap(0,wasmTable.length)}",
    ),
    (
        "var addFunction=(func,sig)=>{var rtn=getFunctionAddress(func);",
        "var addFunction=(func,sig)=>{var rtn=sig?functionsInTableMap.get(func):getFunctionAddress(func);",
    ),
    (
        "return addFunction(trampolineInstance.exports.trampoline_call)}",
        'return addFunction(trampolineInstance.exports.trampoline_call,"iiiii")}',
    ),
    (
        "var reportUndefinedSymbols=()=>{",
        _LEND_TOGETHER + "var reportUndefinedSymbols=()=>{"
        "lendTogether(Object.entries(GOT).filter(([,entry])=>entry.value==-1)"
        ".map(([symName,entry])=>[entry,resolveGlobalSymbol(symName,true).sym])"
        ".filter(([,lent])=>lent?.sig&&!functionsInTableMap.has(lent)));",
    ),
)


def quick(script: bytes, loader: bytes) -> bytes:
    """`pyodide.asm.mjs` with less to do at a start; `loader`, Pyodide's other script, reads some exports as well.

    Raises `BuildError` where the script is not the one that is known.
    """
    text = _without_other_exports(script.decode(), loader.decode())
    for old, new in _EDITS:
        text = _once(text, old).replace(old, new)
    return text.encode()


def _without_other_exports(script: str, loader: str) -> str:
    """The exports that a script reads are assigned as ever; thousands of others, each in the same way, have no variables."""
    before, _, rest = _once(script, _ASSIGN).partition(_ASSIGN)
    body, _, after = rest.partition("}")
    head, _, declared = before.rpartition("var ")
    read = Counter(_WORD.findall(before + after + loader))  # once where it is declared

    def is_other(part: str) -> bool:
        name = _ASSIGNMENT.fullmatch(part)
        return name is not None and read[name[1]] <= 1

    kept, others = _divided(body.split(";"), is_other)
    names = {part.partition("=")[0] for part in others}
    used, unused = _divided(declared.removesuffix(";").split(","), names.__contains__)
    if not others or len(unused) != len(others) or set(unused) != names:
        raise _unknown(_ASSIGN)
    return f"{head}var {','.join(used)};{_ASSIGN}{';'.join(kept)}}}{_ASSIGN_OTHERS}{after}"


def _divided(parts: list[str], is_other: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    return [part for part in parts if not is_other(part)], [part for part in parts if is_other(part)]


def _once(text: str, place: str) -> str:
    if text.count(place) != 1:
        raise _unknown(place)
    return text


def _unknown(place: str) -> BuildError:
    return BuildError(
        f"Pyodide's script does not hold `{place}` once, as the version did for which it is changed at build time:"
        ' see "Another Pyodide" in docs/performance.md.'
    )
