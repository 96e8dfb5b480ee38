/**
 * What restoring Python costs, and what nobody could go below: in a worker of this build, started anew for each, either the
 * runtime's own start, or plain JavaScript that compiles the same WebAssembly and reads the same snapshot into a memory.
 */
import "/runtime/{{build}}/inbox.js";
import "/runtime/{{build}}/boot.js"; // makes the worker's own requests look into the cache first
import { start } from "/runtime/{{build}}/python.js";

const BUILD = "{{build}}";
const PAGE = 65_536;

const floor = async () => {
  const cache = await caches.open(`holdfast-${BUILD}`);
  const compiled = WebAssembly.compileStreaming(fetch(`/runtime/${BUILD}/pyodide.asm.wasm`));
  const stored = await cache.match(`/runtime/${BUILD}/snapshot`);
  const bytes = new Uint8Array(await stored.arrayBuffer());
  const memory = new WebAssembly.Memory({ initial: Math.ceil(Number(stored.headers.get("X-Memory-Length")) / PAGE) });
  new Uint8Array(memory.buffer).set(bytes);
  await compiled;
};

const restored = async () => {
  const { how } = await start();
  if (how !== "restored") throw new Error(`Python started: ${how}`);
};

addEventListener("message", (event) => {
  const work = { floor, restored }[event.data];
  const begun = performance.now();
  const told = work().then(() => performance.now() - begun, (error) => `${error}`);
  event.waitUntil(told.then((answer) => event.ports[0].postMessage(answer)));
});
