/** Holdfast: Python in the page, started as the app starts it, and `window.holdfast` connected to it. */
import { holdfast } from "/runtime/{{build}}/holdfast.js";
import { start } from "/runtime/{{build}}/python.js";
import { ask, connected, contentOf, DATABASE, done } from "./database.js";
import { payload } from "./payload.js";

const OTHERS = ["holdfast:bench-lanes", "holdfast:bench-batch"];
/** Everything that jobs leave behind. */
const STORES = ["jobs", "bodies", "attachments", "queues", "gates", "quarantine"];
const FILLED = ["jobs", "bodies", "queues"];
const A_TIME = 1000;
const DELAY_MS = 3_600_000;

/** @type {any} the functions of holdfast.py by name */
let python;

export const open = async () => {
  globalThis.benchPayload = payload;
  const started = await start();
  started.python.runPython(await (await fetch("./holdfast.py")).text());
  python = started.python.globals.get("methods")();
  await python.get("begin")();
  holdfast.connect(python.get("answer"));
};

/** Enqueue in Python, one by one, with the queue shut: nothing is sent meanwhile. */
export const enqueue = (/** @type {number} */ count, durability = "strict") => python.get("one_by_one")(count, durability);

/** The same from JavaScript. */
export const client = async (/** @type {number} */ count) => {
  for (let number = 0; number < count; number++) await holdfast.enqueue("strict", payload(number));
};

export const enqueueAtOnce = (/** @type {number} */ count, durability = "strict") => python.get("at_once")(count, durability);
export const enqueueInLanes = (/** @type {number} */ count) => python.get("in_lanes")(count);
export const enqueueForBatch = (/** @type {number} */ count) => python.get("for_a_batch")(count);

/** Nothing is sent from here on, until a drain is asked for. */
export const shut = () => python.get("shut")();

/** Send what is due until nothing is. */
export const drain = async () => {
  await python.get("open")();
  await python.get("drain")();
};
export const drainLanes = async () => {
  await python.get("open")();
  await python.get("drain_lanes")();
};
export const drainBatch = async () => {
  await python.get("open")();
  await python.get("drain_batch")();
};

/** The queues as they were at first, shut. */
export const empty = async () => {
  for (const name of [DATABASE, ...OTHERS]) {
    const db = await connected(name);
    const tx = db.transaction(STORES, "readwrite");
    for (const store of STORES) tx.objectStore(store).clear();
    await done(tx);
    db.close();
  }
  await python.get("shut")();
};

/** What the database holds of jobs. */
export const stored = () => contentOf(DATABASE, FILLED);

/** The rows of the first page. */
export const list = (/** @type {number} */ limit) => python.get("look")(limit);
export const stats = async () => JSON.parse(await python.get("figures")());

/** The ways in which a stored job is not due, as the engine stores them: what differs from a pending one. */
const NOT_DUE = [
  { state: "completed" },
  { state: "failed", reason: "refused" },
  { state: "pending", future: true },
  { state: "pending", lane: "blocked", lane_key: "=blocked" },
];

/** @type {any[] | null} a pending job with its body and its queue */
let sample = null;

/** The record of a job that no claim may take: finished, failed, delayed (head of a lane of its own), or behind such a head. */
const notDue = (/** @type {any} */ job, /** @type {number} */ number) => {
  const { future = number === NOT_DUE.length - 1, ...own } = NOT_DUE[number % NOT_DUE.length]; // the first blocked one is the head
  const id = crypto.randomUUID();
  const at = job.created_at - number;
  const made = { ...job, lane_key: `!${id}`, ...own, id, key: crypto.randomUUID(), seq: number, created_at: at, updated_at: at };
  delete made.place;
  delete made.ready_at;
  if (own.state === "pending") made.place = number;
  if (future) Object.assign(made, { run_at: job.run_at + DELAY_MS, ready_at: job.run_at + DELAY_MS, wait_ms: DELAY_MS });
  return made;
};

/** Have `count` jobs stored that are not due, where there are `before` of them. */
export const fill = async (/** @type {number} */ before, /** @type {number} */ count) => {
  const db = await connected(DATABASE);
  if (!sample) {
    await enqueue(1);
    const read = db.transaction(FILLED);
    sample = (await Promise.all(FILLED.map((name) => ask(read.objectStore(name).getAll())))).flat();
  }
  const [job, body, queue] = sample;
  for (let first = before; first < count; first += A_TIME) {
    const tx = db.transaction(FILLED, "readwrite", { durability: "relaxed" });
    const [jobs, bodies, queues] = FILLED.map((name) => tx.objectStore(name));
    const counted = (await ask(queues.getAll()))[0] ?? structuredClone({ ...queue, states: {} });
    for (let number = first; number < Math.min(first + A_TIME, count); number++) {
      const made = notDue(job, number);
      jobs.put(made);
      bodies.put({ ...body, id: made.id });
      counted.states[made.state] = (counted.states[made.state] ?? 0) + 1;
    }
    counted.last_place += A_TIME;
    queues.put(counted);
    await done(tx);
  }
  db.close();
};
