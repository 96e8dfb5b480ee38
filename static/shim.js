/**
 * The submit listener, and nothing else: a small blocking classic script, so that no submit after first paint is missed.
 * It hands a submission to Python when Python is ready and appends it to the inbox otherwise; whether it is right is for
 * Python to say. It tells the form what is under way, `holdfast:sending` {submission, key, fields, files}, and the result:
 * `holdfast:saved` {id, key, submission, fields, files}, `holdfast:refused` {submission, violations} or `holdfast:unsaved`
 * {submission, error}; `submission` is the form's job id at the tap. Needs inbox.js before it.
 */
(() => {
  "use strict";

  /** How long Python may take over a save before the inbox takes it. */
  const SAVE_MS = 5000;

  /** What Python says no to: the form keeps its content, and the person is told why. */
  const REFUSALS = ["TooLargeError", "QueueFullError", "UnknownTypeError", "InvalidOptionError", "SecretError"];

  /**
   * Submissions by job id: what was sent under it, and whether the same may be sent once more, since it was not saved. It may
   * be stored late after all, so an id stays with its content. @type {Map<string, {print: string, mayRepeat: boolean}>}
   */
  const sent = new Map();

  const renew = (/** @type {HTMLFormElement} */ form) => {
    form.dataset.jobId = holdfastInbox.uuid();
    form.dataset.jobKey = holdfastInbox.uuid();
  };

  const isOurs = (/** @type {EventTarget | null} */ target) =>
    target instanceof HTMLFormElement && target.dataset.holdfast !== undefined;

  const collect = (/** @type {HTMLFormElement} */ form, /** @type {HTMLElement | null} */ submitter) => {
    const secrets = holdfastInbox.secretsOf(form);
    const fields = [];
    const files = [];
    for (const [name, value] of new FormData(form, submitter)) {
      if (secrets.has(name)) continue;
      if (typeof value === "string") fields.push([name, value]);
      else if (value.size || value.name) files.push([name, value]); // an empty file control gives a nameless empty file
    }
    return { fields, files };
  };

  const fingerprint = (/** @type {any} */ { fields, files }) =>
    JSON.stringify([fields, files.map(([name, file]) => [name, file.name, file.type, file.size, file.lastModified])]);

  const keep = async (/** @type {any} */ entry) => {
    const client = globalThis.holdfast;
    if (client?.python === "ready") {
      try {
        const { files, ...rest } = entry;
        const answer = await client.call("submit", { entry: rest }, files, SAVE_MS);
        if (answer.saved || answer.refused) return answer;
      } catch (error) {
        if (REFUSALS.includes(error.name)) throw error;
        // Python could not keep it, whatever else the cause: the inbox takes it, under the same id.
      }
    }
    const saved = await holdfastInbox.append(entry);
    client?.wake();
    return { saved };
  };

  const tell = (/** @type {HTMLFormElement} */ form, /** @type {string} */ name, /** @type {object} */ detail) =>
    form.dispatchEvent(new CustomEvent(`holdfast:${name}`, { bubbles: true, detail }));

  const submit = async (/** @type {HTMLFormElement} */ form, /** @type {HTMLElement | null} */ submitter) => {
    const content = collect(form, submitter);
    const print = fingerprint(content);
    if (!form.dataset.jobId) renew(form);
    const before = sent.get(form.dataset.jobId);
    if (before && before.print !== print) renew(form); // the same id with other content is a new job
    else if (before && !before.mayRepeat) return; // a double tap: its result is told once
    const { jobId: id, jobKey: key, holdfast: type } = form.dataset;
    const result = keep({ id, key, type, ...content, payload: null, options: {}, source: "form", taken_at: Date.now() });
    const submission = { print, mayRepeat: false };
    sent.set(id, submission);
    tell(form, "sending", { submission: id, key, ...content });
    try {
      const { saved, refused } = await result;
      if (saved) return tell(form, "saved", { ...saved, submission: id, ...content });
      submission.mayRepeat = true;
      tell(form, "refused", { submission: id, violations: refused });
    } catch (error) {
      submission.mayRepeat = true;
      tell(form, "unsaved", { submission: id, error });
    }
  };

  addEventListener("submit", (event) => {
    if (event.defaultPrevented || !isOurs(event.target)) return;
    if (/** @type {HTMLFormElement} */ (event.target).dataset.edits) return; // not a new one, so not the inbox's
    event.preventDefault();
    submit(/** @type {HTMLFormElement} */ (event.target), event.submitter);
  });
  for (const name of ["reset", "holdfast:new-ids"])
    addEventListener(name, (event) => isOurs(event.target) && renew(/** @type {HTMLFormElement} */ (event.target)));
  addEventListener("DOMContentLoaded", () => {
    for (const form of document.querySelectorAll("form[data-holdfast]")) if (!form.dataset.jobId) renew(form);
  });
})();
