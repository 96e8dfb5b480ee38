/**
 * What the page does before Python is there, or without it: screens, banners the browser alone can tell, the line after
 * a save, and the inbox as rows. As soon as Python is ready, rows, counts and the other banners are its own. No decision
 * about a job is made here.
 */
import { arrival } from "./arrival.js";
import { settle } from "./draft.js";
import { form } from "./form.js";
import holdfast, { activeOf } from "./holdfast.js";
import * as stored from "./stored.js";

const inbox = globalThis.holdfastInbox;
const SCREENS = ["new", "inspections", "outbox", "account"];

const byId = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const part = (/** @type {HTMLElement} */ of, /** @type {string} */ name) => /** @type {HTMLElement} */ (of.querySelector(`[data-part=${name}]`));
const show = (/** @type {string} */ id, shown = true) => (byId(id).hidden = !shown);
const say = (/** @type {string} */ words) => (byId("status").textContent = words);

// ── screens ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const screenOf = () => {
  const name = location.hash.slice(1);
  return SCREENS.includes(name) ? name : "new";
};

const turnTo = () => {
  const screen = screenOf();
  document.body.dataset.screen = screen;
  for (const link of document.querySelectorAll(".nav a")) {
    if (link.getAttribute("href") === `#${screen}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
};

addEventListener("hashchange", () => {
  turnTo();
  scrollTo(0, 0);
  byId(`${screenOf()}-title`).focus({ preventScroll: true });
});
document.querySelector(".skip")?.addEventListener("click", (event) => {
  event.preventDefault(); // the address names the screen, which skipping does not change
  byId("main").focus();
});
turnTo();

// ── after a save ─────────────────────────────────────────────────────────────────────────────────────────────────────

const saved = byId("saved");

const showSaved = (/** @type {string} */ title, more = "") => {
  const sent = byId("signed-out").hidden ? "It is sent by itself." : "It is sent after sign-in.";
  const next = holdfast.python === "failed" ? "It is kept until the part that sends can start." : sent;
  tell("waiting", "Saved on this device:", title, `${next} ${more}`.trim());
};

const showReceived = (/** @type {string} */ title) => tell("received", "Received by the server:", title, "Others can see it.");

const tell = (/** @type {"waiting" | "received"} */ tone, /** @type {string} */ what, /** @type {string} */ title, /** @type {string} */ next) => {
  saved.dataset.tone = tone;
  saved.querySelector("use")?.setAttribute("href", tone === "received" ? "#i-received" : "#i-device");
  part(saved, "what").textContent = what;
  part(saved, "title").textContent = title || "your inspection";
  part(saved, "next").textContent = next;
  saved.hidden = false;
};

const notSaved = (/** @type {string} */ words) => {
  const line = byId("not-saved");
  /** @type {HTMLElement} */ (line.querySelector("span")).textContent = words;
  line.hidden = !words;
};

/** What the form holds after a save, if it is not a fresh one. */
const IN_THE_FORM = { since: "What you typed since is still in the form.", before: "What you were typing before is in the form again.", "": "" };

form.addEventListener("holdfast:saved", async (event) => {
  const { detail } = /** @type {CustomEvent} */ (event);
  notSaved("");
  const held = await settle(detail);
  byId("new-title").after(saved);
  /** @type {HTMLElement} */ (saved.querySelector(".actions")).hidden = false;
  showSaved(detail.title ?? titleOf(detail), IN_THE_FORM[/** @type {keyof typeof IN_THE_FORM} */ (held)]);
  if (held !== "since") {
    byId("new").scrollTop = 0; // on a wide screen the form scrolls by itself
    byId("new").scrollIntoView();
    saved.focus({ preventScroll: true });
  }
  refresh();
});
form.addEventListener("holdfast:unsaved", (event) => {
  const { error } = /** @type {CustomEvent} */ (event).detail;
  notSaved(
    error?.code === "storage_full"
      ? "Not saved: this device is out of space. Remove a photo or free some space, then save again."
      : `Not saved: ${error?.message ?? "the browser did not say why."} Everything you typed is still here.`,
  );
});
for (const name of ["input", "app:fill", "app:wipe"]) form.addEventListener(name, () => (saved.hidden = true));

/** @type {Record<string, string>} */
const NOT_YET = {
  starting: "Not saved yet: Holdfast is still starting. Your edit is saved as soon as it has. Everything you typed is still here.",
  failed: "Not saved: an edit needs the part of Holdfast that could not start in this browser. Everything you typed is still here.",
};
let heldBack = false;

// Only Python can put a version in another's place; saved before, it would be a second inspection.
addEventListener("submit", (event) => {
  if (event.target !== form || !form.dataset.edits || holdfast.python === "ready") return;
  event.preventDefault();
  event.stopImmediatePropagation();
  heldBack = true;
  notSaved(NOT_YET[holdfast.python]);
}, { capture: true });
// It should have been taken by Python, which has stopped without a word.
addEventListener("submit", (event) => {
  if (event.target !== form || !form.dataset.edits || event.defaultPrevented) return;
  event.preventDefault();
  notSaved(NOT_YET.failed);
});
holdfast.addEventListener("python", () => {
  if (!heldBack) return;
  if (holdfast.python === "ready") form.requestSubmit();
  else notSaved(NOT_YET[holdfast.python]);
});
form.addEventListener("input", () => {
  if (heldBack) notSaved("Not saved yet: save again when you are done.");
  heldBack = false;
});
form.addEventListener("reset", () => {
  heldBack = false;
  notSaved("");
});

// The form's own POST was taken by the worker or the server, and brought us here.
arrival.then((came) => {
  if (!came) return;
  byId("inspections-title").after(saved);
  /** @type {HTMLElement} */ (saved.querySelector(".actions")).hidden = true; // it is in the list right below
  if (came.where === "device") showSaved(came.title);
  else showReceived(came.title);
  if (document.activeElement === document.body) saved.focus(); // someone may be typing by now
});

// ── the inbox as rows ────────────────────────────────────────────────────────────────────────────────────────────────

const rowTemplate = /** @type {HTMLTemplateElement} */ (byId("row-template"));

const titleOf = (/** @type {any} */ entry) =>
  entry.payload?.site ?? entry.fields?.find((/** @type {[string, string]} */ [name]) => name === "site")?.[1] ?? entry.type;

const button = (/** @type {string} */ words, /** @type {string} */ what, /** @type {string} */ titleId) => {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = words;
  made.dataset.do = what;
  made.setAttribute("aria-describedby", titleId);
  return made;
};

/** Why Python did not start. What a browser says of forbidden WebAssembly is for developers. */
const why = () => {
  const reason = holdfast.pythonReason ?? "no reason was given";
  return /WebAssembly/.test(reason) ? "WebAssembly is blocked" : reason.replace(/\.$/, "");
};

/** A row of the inbox: it may already have been made, and then stays the element it is. */
const placeRow = (/** @type {HTMLElement} */ list, /** @type {any} */ entry, /** @type {string} */ where) => {
  let row = /** @type {HTMLElement | null} */ (list.querySelector(`[data-job-id="${CSS.escape(entry.id)}"]`));
  if (!row) {
    row = /** @type {HTMLElement} */ (/** @type {DocumentFragment} */ (rowTemplate.content.cloneNode(true)).firstElementChild);
    row.dataset.jobId = entry.id;
    row.dataset.state = "pending";
    list.append(row);
  }
  const stuck = holdfast.python === "failed";
  row.dataset.tone = "waiting";
  const title = /** @type {HTMLElement} */ (row.querySelector(".entry-title"));
  title.id = `${where}-${entry.id}`;
  title.textContent = titleOf(entry) || "Without a site";
  row.querySelector("use")?.setAttribute("href", stuck ? "#i-inbox" : "#i-device");
  /** @type {HTMLElement} */ (row.querySelector(".pill span")).textContent = stuck ? "Saved, not sent from here" : "Saved on this device";
  if (where !== "outbox") return row;
  const line = /** @type {HTMLElement} */ (row.querySelector(".entry-line"));
  line.hidden = false;
  line.textContent = stuck
    ? `The part that sends could not start in this browser (${why()}). It is sent once that part starts; until then you can export it.`
    : "It is sent by itself.";
  const actions = /** @type {HTMLElement} */ (row.querySelector(".actions"));
  if (stuck && !actions.childElementCount)
    actions.append(button("Start again", "reload", title.id), button("Export", "export", title.id));
  actions.hidden = !stuck;
  /** @type {HTMLElement} */ (row.querySelector(".entry-foot")).hidden = !stuck;
  return row;
};

const refresh = async () => {
  if (holdfast.python === "ready") return;
  const [all, account = ""] = await Promise.all([inbox.list(), inbox.get("account")]).catch(() => [null, form.dataset.account]);
  if (/** @type {string} */ (holdfast.python) === "ready") return; // it became so while the inbox was read
  if (form.dataset.account && form.dataset.account !== account) {
    form.dispatchEvent(new Event("app:wipe", { bubbles: true })); // who typed in it has signed out in another tab
  }
  form.dataset.account = account;
  show("list-failed", !all && holdfast.python === "failed");
  if (!all) return; // what cannot be read is not shown as empty; that nothing can be saved here is said by its own banner
  const entries = all.filter((/** @type {any} */ entry) => entry.account === account).reverse();
  const lists = [["list", byId("list")], ["outbox", byId("group-way").querySelector("ul")]];
  for (const [where, list] of /** @type {[string, HTMLElement][]} */ (lists)) {
    const rows = entries.map((/** @type {any} */ entry) => placeRow(list, entry, where));
    rows.forEach((/** @type {Element} */ row, /** @type {number} */ index) => list.children[index] !== row && list.insertBefore(row, list.children[index] ?? null));
    while (list.children.length > rows.length) list.lastElementChild?.remove();
    list.hidden = rows.length === 0;
  }
  const { words, number } = holdfast.python === "failed" ? await unseen(account) : { words: "", number: 0 };
  if (/** @type {string} */ (holdfast.python) === "ready") return;
  show("list-failed", holdfast.python === "failed");
  part(byId("list-failed"), "why").textContent =
    words || `The part that shows it could not start (${why()}). Your own unsent inspections are still shown.`;
  const more = part(byId("group-way"), "more");
  more.textContent = words;
  more.hidden = !words;
  const unsent = entries.length + number;
  show("group-way", unsent > 0 || words !== "");
  const count = byId("count");
  count.hidden = unsent === 0;
  count.textContent = `${unsent.toLocaleString("en")} unsent`;
  count.dataset.tone = "waiting";
  /** @type {HTMLElement} */ (document.querySelector(".bar")).toggleAttribute("data-unsent", unsent > 0);
};

/** What the queue holds that only Python can show: how much it is, and in words. */
const unseen = async (/** @type {string} */ account) => {
  const counts = await stored.count(account).catch(() => null);
  if (!counts) return { number: 0, words: "Whether more is saved here cannot be told: the queue on this device does not open." };
  const number = Object.values(counts).reduce((sum, one) => sum + one, 0);
  if (!number) return { number, words: "" };
  const many = number === 1 ? "1 saved before cannot be shown" : `${number.toLocaleString("en")} saved before cannot be shown`;
  return { number, words: `${many} without the part that could not start (${why()}). ${number === 1 ? "It is" : "They are"} kept on this device, and “Export all” holds ${number === 1 ? "it" : "them"}.` };
};

holdfast.addEventListener("python", refresh);
holdfast.addEventListener("change", refresh);
refresh();

// ── actions that need no Python ──────────────────────────────────────────────────────────────────────────────────────

/** @type {{prompt(): Promise<any>} | null} */
let installation = null;

const offerInstallation = () => {
  for (const element of document.querySelectorAll('[data-do="install"], [data-part="install"]'))
    /** @type {HTMLElement} */ (element).hidden = installation === null;
};

const note = (/** @type {string} */ words) => {
  byId("outbox-note").textContent = words;
  show("outbox-note", words !== "");
  say(words);
};

/** Thousands of photos take their time; nothing waits for them but the person who asked. */
const EXPORT_MS = 600_000;

const exportAll = async () => {
  note("Writing the export…");
  try {
    const { file, count } = await holdfast.exportFile({ timeout_ms: EXPORT_MS });
    if (count === 0) return note("Nothing is unsent, so there is nothing to export.");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = `holdfast-unsent-${new Date().toISOString().slice(0, 16).replace(":", "")}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    note(`${count} unsent written to ${link.download}. They stay here as well.`);
  } catch (error) {
    note(`Not exported: ${/** @type {Error} */ (error).message}`);
  }
};

const send = async () => {
  if (!navigator.onLine) note("No network: nothing can be sent now. It goes out by itself when the network is back.");
  else note("");
  await holdfast.drain({ timeout_ms: 60_000 }).catch(() => holdfast.wake());
};

const acts = {
  reload: () => location.reload(),
  send,
  export: exportAll,
  later: () => show("update", false),
  update: () => globalThis.holdfastPhotos.settled().then(() => holdfast.applyUpdate()), // then they are in the draft
  "ready-seen": () => show("ready", false),
  install: async () => {
    await installation?.prompt();
    installation = null;
    offerInstallation();
  },
};

document.addEventListener("click", ({ target }) => {
  const pressed = /** @type {HTMLElement | null} */ (/** @type {Element} */ (target).closest("button[data-do]"));
  acts[/** @type {keyof typeof acts} */ (pressed?.dataset.do)]?.();
});
addEventListener("beforeinstallprompt", (event) => {
  event.preventDefault();
  installation = /** @type {any} */ (event);
  offerInstallation();
});
addEventListener("appinstalled", () => {
  installation = null;
  offerInstallation();
});

// ── banners the browser alone can tell ───────────────────────────────────────────────────────────────────────────────

holdfast.ready.catch(() => {
  show("cannot-save");
  /** @type {HTMLFieldSetElement} */ (byId("fields")).disabled = true;
  byId("alarm").textContent = "Nothing can be saved here. This browser refuses storage. Open Holdfast in a normal window before you type.";
});

holdfast.ready.then(() => {
  if (!holdfast.full) return;
  show("full");
  byId("alarm").textContent = "Out of space. Nothing new can be saved here until some space is free on this device.";
}, () => {});
form.addEventListener("holdfast:saved", () => show("full", false));

holdfast.addEventListener("update", () => {
  if (byId("update").hidden) say("Update ready.");
  show("update");
});

const network = () => show("offline", !navigator.onLine);
addEventListener("offline", network);
addEventListener("online", () => {
  network();
  say("Back online.");
});
network();

const firstVisit = async () => {
  await holdfast.ready;
  const registration = await holdfast.registration;
  if (!registration || registration.active) return;
  const banner = byId("first-visit");
  const bar = /** @type {HTMLProgressElement} */ (banner.querySelector("progress"));
  show("first-visit");
  holdfast.addEventListener("progress", (event) => {
    const { kind, done, total } = /** @type {CustomEvent} */ (event).detail;
    if (kind !== "precache") return;
    bar.max = total;
    bar.value = done;
    part(banner, "bytes").textContent = `: ${Math.round(done / 1e6)} of ${Math.round(total / 1e6)} MB`;
  });
  const worker = await activeOf(registration);
  show("first-visit", false);
  if (!worker) return;
  show("ready");
  say("Ready. Holdfast now opens without a network.");
};
firstVisit().catch(() => {}); // nothing can be saved here, which has been said
