/**
 * How Python starts, in page and worker alike: restored from this build's snapshot, else plainly from the wheels of this
 * build. Also makes the snapshot. Who may start it, and when, stands in interpreter.js (page) and boot.js (worker).
 */
import config from "./config.js";
import "./sending.js";
import "./transactions.js";
import createPyodideModule from "./pyodide.asm.mjs";
import { loadPyodide, version } from "./pyodide.mjs";
import * as snapshot from "./snapshot.js";

export { version };

const indexURL = new URL("./", import.meta.url).href;
const PYSCRIPT = new URL("./pyscript.json", import.meta.url).href;
const MACHINE = new URL("./pyodide.asm.wasm", import.meta.url).href;
const WHEELS = "/wheels";

const mark = (/** @type {string} */ name, /** @type {number} */ start) =>
  performance.measure(`holdfast:python:${name}`, { start, end: performance.now() });

const nameOf = (/** @type {string} */ url) => `${WHEELS}/${url.slice(url.lastIndexOf("/") + 1)}`;

const fetchWheels = () =>
  Promise.all(
    [...config.wheels, ...config.packages].map(async (url) => {
      const answer = await fetch(url);
      if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
      return [nameOf(url), new Uint8Array(await answer.arrayBuffer())];
    }),
  );

/**
 * Wheels lie in memory as they are and are imported from as zip files: nothing to unpack, and a restored heap, which
 * knows its modules but has lost its files, finds them again by writing a few bytes. This goes for what micropip has
 * installed as well, so that a plain and a restored start import from the same place.
 */
const laid = async (/** @type {any} */ python, /** @type {Promise<[string, Uint8Array][]>} */ wheels) => {
  python.FS.mkdirTree(WHEELS);
  for (const [path, bytes] of await wheels) python.FS.writeFile(path, bytes);
};

/**
 * The machine, kept from switching stacks. Pyodide would run every turn of Python's event loop on a stack of its own, so
 * that Python may wait for promises without `await`. WebKit cannot do that, we have no need of it, and Chromium's garbage
 * collector, should it run meanwhile, reads past the end of that stack: about one page in thirty crashed. Whether the
 * browser can do it is looked up at once, before the first `await` of the machine's making.
 */
const unswitched = (/** @type {object} */ settings) => {
  const ability = Object.getOwnPropertyDescriptor(WebAssembly, "Suspending");
  if (!ability) return createPyodideModule(settings);
  Reflect.deleteProperty(WebAssembly, "Suspending");
  try {
    return createPyodideModule(settings);
  } finally {
    Object.defineProperty(WebAssembly, "Suspending", ability);
  }
};

/**
 * The machine's WebAssembly, and when the thread may be kept busy by a script without holding up its compiling. A page's
 * browser keeps what it has compiled as a stream; a stream needs the thread, and is done at once if it was kept. In a
 * worker nothing is kept: there the bytes are read first, and what compiles them needs the thread no more.
 */
const compiling = () => {
  if (globalThis.document) {
    const module = WebAssembly.compileStreaming(fetch(MACHINE));
    return { module, underway: module };
  }
  const bytes = fetch(MACHINE).then((answer) => answer.arrayBuffer());
  return { module: bytes.then((read) => WebAssembly.compile(read)), underway: bytes };
};

/**
 * Room for what somebody waits for between two long pieces of work: what a person types, what a page asks of its worker. Where
 * a browser cannot come back before everything else that is due, there is none.
 */
const breath = () => /** @type {any} */ (globalThis).scheduler?.yield?.();

const instantiated = async (/** @type {Promise<WebAssembly.Module>} */ compiled, /** @type {[any]} */ [unread, imports]) => {
  (await unread).body?.cancel();
  const module = await compiled;
  await breath();
  const instance = await WebAssembly.instantiate(module, imports);
  await breath();
  return { module, instance };
};

/**
 * The machine. Where its file cannot be had, Pyodide would only write a warning and wait for ever: this rejects.
 * @param {object} settings
 * @param {Promise<WebAssembly.Module>} [compiled] its WebAssembly, to be used instead of what Pyodide would compile
 */
const createMachine = async (settings, compiled) => {
  const failed = Promise.withResolvers();
  const { instantiateStreaming } = WebAssembly;
  WebAssembly.instantiateStreaming = (/** @type {[any]} */ ...given) => {
    const made = compiled ? instantiated(compiled, given) : instantiateStreaming.apply(WebAssembly, given);
    made.catch(failed.reject);
    return made;
  };
  try {
    return await Promise.race([unswitched(settings), failed.promise]);
  } finally {
    WebAssembly.instantiateStreaming = instantiateStreaming;
  }
};

/** @typedef {NonNullable<Awaited<ReturnType<typeof snapshot.read>>>} Stored */

const restored = async (/** @type {object} */ options, /** @type {Stored} */ stored, /** @type {number} */ begun) => {
  const { module, underway } = compiling();
  module.catch(() => {});
  const wheels = fetchWheels();
  wheels.catch(() => {});
  const python = await loadPyodide({
    ...options, indexURL, _loadSnapshot: stored.head,
    // While Pyodide's script keeps the thread busy nothing comes in: what is large is read first, then compiled and checked
    // meanwhile. Then the memory is written in its place; Pyodide, which would have it in one piece and copy it, finds a
    // snapshot that ends with its head.
    createPyodideModule: async (/** @type {object} */ settings) => {
      await Promise.all([underway, stored.read]);
      await breath();
      const machine = await createMachine(settings, module);
      mark("machine", begun);
      if (machine.HEAPU8.length < stored.length) machine.growMemory(stored.length);
      await stored.fill(machine.HEAPU8);
      mark("intact", begun);
      return machine;
    },
  });
  await laid(python, wheels);
  // Or every start on every device would draw the same jitter.
  python.pyimport("random").seed();
  mark("restored", begun);
  return python;
};

// micropip goes once it has done its work: a restored heap has lost its files, and who wants it later loads it as ever.
const PREPARE = `
import gc, importlib, sys
sys.path.extend(wheels)
if packages:
    import micropip
    await micropip.install([f"emfs:{path}" for path in packages], deps=False)
    place = next(at for at, path in enumerate(sys.path) if path.endswith("site-packages"))
    sys.path[place:place] = packages
    del micropip
    for name in [name for name in sys.modules if name.partition(".")[0] == "micropip"]:
        del sys.modules[name]
for name in preload:
    importlib.import_module(name)
if texts:
    from holdfast.browser.compiled import Compiled
    Compiled(texts).install()
gc.collect()
`;

const plain = async (/** @type {object} */ options, /** @type {Record<string, string>} */ texts = {}) => {
  const begun = performance.now();
  const wheels = fetchWheels();
  wheels.catch(() => {});
  const python = await loadPyodide({ createPyodideModule: createMachine, ...options, indexURL });
  await laid(python, wheels);
  if (config.packages.length) await python.loadPackage("micropip", { messageCallback: () => {} });
  const globals = python.toPy({
    wheels: config.wheels.map(nameOf),
    packages: config.packages.map(nameOf),
    preload: config.preload,
    texts,
  });
  await python.runPythonAsync(PREPARE, { globals });
  globals.destroy();
  mark("plain", begun);
  return python;
};

/**
 * Python with everything imported; `how` says by which way. A snapshot that fails in any way is forgotten.
 * @param {object} options for Pyodide
 * @returns {Promise<{python: any, how: "restored" | "plain"}>}
 */
export const start = async (options = {}) => {
  const begun = performance.now();
  const stored = await snapshot.read().catch(() => null);
  try {
    if (stored) return { python: await restored(options, stored, begun), how: "restored" };
  } catch {
    await stored?.drop();
  }
  return { python: await plain(options), how: "plain" };
};

/**
 * Start Python once more, plainly, and keep its heap for later starts; whether that worked. The instance is of no other
 * use: Pyodide puts a proxy around JavaScript's globals while it records, and the getters of a worker refuse that.
 */
export const makeSnapshot = async () => {
  const begun = performance.now();
  try {
    // What PyScript writes into every page and imports there: compiled now, once.
    const texts = await (await fetch(PYSCRIPT)).json();
    let beginning = new Uint8Array();
    const createPyodideModule = (/** @type {any} */ settings) => {
      // What a machine that is to be restored holds as well when its memory is filled.
      settings.onRuntimeInitialized = () => {
        beginning = settings.HEAPU8.slice(0, settings.HEAPU32[settings._emscripten_get_sbrk_ptr() >>> 2]);
      };
      return createMachine(settings);
    };
    const python = await plain({ _makeSnapshot: true, createPyodideModule }, texts);
    // Compiled parts were linked to it, at addresses that another machine does not have.
    if (python._module.isLinked) return false;
    // A restored heap has no files of packages; Pyodide refuses to write one down that says it has.
    for (const name of Object.keys(python.loadedPackages)) delete python.loadedPackages[name];
    return await snapshot.write(python.makeMemorySnapshot(), beginning);
  } catch {
    return false; // no memory for it, or something in it cannot be written down: nothing else is lost
  } finally {
    mark("made", begun);
  }
};
