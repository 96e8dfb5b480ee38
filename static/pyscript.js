/**
 * Starts PyScript where it can run. PyScript itself throws where WebAssembly is blocked or storage refused, so both are
 * tried first: a page that cannot have Python goes on without it, and says so.
 */
import { holdfast } from "./holdfast.js";

const EMPTY_MODULE = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);

try {
  await WebAssembly.compile(EMPTY_MODULE);
  await holdfast.ready;
  await import("./pyscript_core.js");
} catch (reason) {
  holdfast.pythonFailed(reason);
}
