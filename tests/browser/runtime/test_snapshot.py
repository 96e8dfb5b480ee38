"""The memory snapshot in page and worker: used when it is whole and of this build, made anew in any other case."""

import base64
import io
import zipfile

from tests.support.server import ROOT

TEST_WHEELS = ROOT / ".cache" / "test-wheels"
RESTORED = "holdfast:python:restored"
STARTED_PLAINLY = "holdfast:python:plain"
MEASURES = "() => performance.getEntriesByType('measure').map(({name}) => name)"
HAS_SNAPSHOT = """async () => Boolean(await (await caches.open(`holdfast-${holdfast.build}`))
  .match(`/runtime/${holdfast.build}/snapshot`))"""
CHANGE = """async (how) => {
  const path = `/runtime/${holdfast.build}/snapshot`;
  const cache = await caches.open(`holdfast-${holdfast.build}`);
  const stored = await cache.match(path);
  const bytes = new Uint8Array(await stored.arrayBuffer());
  const headers = new Headers(stored.headers);
  const sha256 = (of) => crypto.subtle.digest("SHA-256", of);
  const digest = async (piece) => Array.from(new Uint8Array(await sha256(await sha256(piece))),
    (byte) => byte.toString(16).padStart(2, "0")).join("");
  const ways = {
    "of another build": async () => {
      headers.set("X-Build", "0123456789abcdef");
      await cache.put(path, new Response(bytes, {headers}));
    },
    "in another's place": async () => {
      const other = await caches.open("holdfast-0123456789abcdef");
      await other.put("/runtime/0123456789abcdef/snapshot", new Response(bytes, {headers}));
      await other.put(path, new Response(bytes, {headers}));
      await cache.delete(path);
    },
    "cut short": async () => cache.put(path, new Response(bytes.slice(0, bytes.length >> 1), {headers})),
    "one bit flipped": async () => {
      bytes[bytes.length >> 1] ^= 1;
      await cache.put(path, new Response(bytes, {headers}));
    },
    "no heap of Python's": async () => {
      const noise = new Uint8Array(4100 * 8 + 48).fill(7);
      new Uint32Array(noise.buffer, 0, 8).set([0, 1, 2, 3, 4, 5, 6, 7]);
      headers.set("X-SHA-256", await digest(noise));
      headers.set("X-Length", `${noise.length}`);
      headers.set("X-Head-Length", "48");
      headers.set("X-Memory-Length", `${4096 * 8}`);
      await cache.put(path, new Response(noise, {headers}));
    },
  };
  await ways[how]();
}"""
WAYS = ("of another build", "in another's place", "cut short", "one bit flipped", "no heap of Python's")
READY = "() => holdfast.python === 'ready'"
HOLDS_PYSCRIPT = """() => {
  const script = document.createElement("script");
  script.type = "py";
  script.textContent = `
import js, sys
loaders = {name: module.__loader__ for name, module in sys.modules.items() if name.partition(".")[0] == "pyscript"
           and getattr(module, "__file__", None)}
js.globalThis.anew = js.JSON.parse(__import__("json").dumps(
    [name for name, loader in loaders.items() if loader.get_code(name) is not loader.get_code(name)] if loaders else None))
`;
  document.body.append(script);
}"""
MORE = [
    "asyncio.subprocess",
    "concurrent.futures.process",
    "configparser",
    "decimal",
    "difflib",
    "email.mime.text",
    "encodings.big5",
    "ftplib",
    "html.entities",
    "http.server",
    "imaplib",
    "ipaddress",
    "logging.config",
    "logging.handlers",
    "mailbox",
    "multiprocessing.pool",
    "optparse",
    "pickletools",
    "plistlib",
    "smtplib",
    "sqlite3",
    "statistics",
    "tarfile",
    "unittest.mock",
    "wsgiref.simple_server",
    "xml.dom.minidom",
    "xml.etree.ElementTree",
    "xmlrpc.client",
    "zoneinfo",
]
COMPILED = """async (wheel) => {
  const runtime = `/runtime/${holdfast.build}`;
  const {makeSnapshot, start} = await import(`${runtime}/python.js`);
  const bytes = Uint8Array.from(atob(wheel), (character) => character.charCodeAt(0));
  const loaded = async () => {
    const {python, how} = await start();
    python.unpackArchive(bytes, "wheel", {extractDir: "/compiled"});
    return [how, python.runPython(`
import importlib.util, pathlib
[path] = pathlib.Path("/compiled").rglob("*.so")
spec = importlib.util.spec_from_file_location("_native", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.__version__
`)];
  };
  const plain = await loaded();
  await makeSnapshot();
  return [plain, await loaded()];
}"""
LOOKED_UP = """async (wheel) => {
  const runtime = `/runtime/${holdfast.build}`;
  const {default: config} = await import(`${runtime}/config.js`);
  const {makeSnapshot, start} = await import(`${runtime}/python.js`);
  const {fetch} = globalThis;
  const bytes = Uint8Array.from(atob(wheel), (character) => character.charCodeAt(0));
  globalThis.fetch = async (url, ...rest) => url === "/looks_up.whl" ? new Response(bytes) : fetch(url, ...rest);
  config.wheels.push("/looks_up.whl");
  config.preload.push("looks_up");
  const made = await makeSnapshot();
  const {python, how} = await start();
  return [made, how, python.runPython("import ctypes, looks_up; looks_up.size(ctypes.py_object([7, 7, 7]))")];
}"""
WITH_MORE = """async (modules) => {
  const runtime = `/runtime/${holdfast.build}`;
  const {default: config} = await import(`${runtime}/config.js`);
  const {makeSnapshot, start} = await import(`${runtime}/python.js`);
  const begins_with = 30 * 2 ** 20;
  config.preload.push(...modules);
  const made = await makeSnapshot();
  const {python, how} = await start();
  return [made, how, python._module.HEAPU8.length > begins_with, python.runPython("import mailbox; mailbox.Mailbox.__name__")];
}"""
REFUSED = "() => holdfast.enqueue('inspection.create', {}).then(() => 'saved', ({name}) => name)"


def test_a_start_without_a_good_snapshot_is_plain_and_makes_a_new_one(open_first, server, faults):
    """It is another build's, or in its place, or cut short, or damaged, or no heap at all: Python starts, whole, with what
    the app declares installed, and next time restores. All that without a network.
    """
    page = open_first()
    server.stop()
    for how in WAYS:
        page.evaluate(CHANGE, how)
        page.reload()
        page.wait_for_function(READY, timeout=90_000)
        # Where there was none the page waits a while for the worker to make one, to start from that.
        assert STARTED_PLAINLY in page.evaluate(MEASURES) or how == "in another's place", how
        assert page.evaluate(REFUSED) == "InvalidPayloadError", how
        page.wait_for_function(HAS_SNAPSHOT, timeout=90_000)
        page.reload()
        page.wait_for_function(READY, timeout=90_000)
        names = page.evaluate(MEASURES)
        assert (RESTORED in names, STARTED_PLAINLY in names) == (True, False), how
    assert [fault for fault in faults if "uncaught" in fault] == []


def test_what_pyscript_writes_into_the_page_is_in_the_snapshot(open_first, faults):
    """A restored page compiles none of PyScript's own modules: the code it kept is of this very PyScript."""
    open_first().close()
    page = open_first()
    assert RESTORED in page.evaluate(MEASURES)
    page.evaluate(HOLDS_PYSCRIPT)
    page.wait_for_function("() => 'anew' in globalThis", timeout=30_000)
    assert page.evaluate("() => anew") == []
    assert faults == []


def test_a_heap_that_has_grown_is_restored_too(lone_page):
    """An app that imports more than the memory a machine begins with can hold."""
    page = lone_page(block="**/pyscript.js")
    assert page.evaluate(WITH_MORE, MORE) == [True, "restored", True, "Mailbox"]


def test_python_never_switches_stacks(open_first):
    """Browsers that could let Python wait for a promise in mid-call crash in it: no start, of either kind, uses that."""
    page = open_first()
    able = page.evaluate(
        """async () => {
          const {start} = await import(`/runtime/${holdfast.build}/python.js`);
          const once = async () => {
            const {python, how} = await start();
            return [how, await python.runPythonAsync("from pyodide.ffi import can_run_sync; can_run_sync()")];
          };
          const restored = await once();
          await (await caches.open(`holdfast-${holdfast.build}`)).delete(`/runtime/${holdfast.build}/snapshot`);
          return [restored, await once()];
        }"""
    )
    assert able == [["restored", False], ["plain", False]]


def test_a_package_with_compiled_parts_can_be_loaded(lone_page):
    """It is linked to a machine that was put together without a thought of it, started plainly or restored."""
    page = lone_page(block="**/pyscript.js")
    [wheel] = TEST_WHEELS.glob("hypothesis-*.whl")
    version = wheel.name.split("-")[1]
    loaded = page.evaluate(COMPILED, base64.b64encode(wheel.read_bytes()).decode())
    assert loaded == [["plain", version], ["restored", version]]


def test_a_heap_that_holds_an_address_of_this_machine_is_not_kept(lone_page):
    """Where a package asks for a function of Python's by its name the machine gives it an address of its own."""
    page = lone_page(block="**/pyscript.js")
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("looks_up.py", "import ctypes\nsize = ctypes.pythonapi.PyList_Size\n")
    found = page.evaluate(LOOKED_UP, base64.b64encode(wheel.getvalue()).decode())
    assert found == [False, "plain", 3]
