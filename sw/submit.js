/**
 * A form's own POST to /submit, for a page whose submit listener did not load: its content goes into the inbox and the
 * browser back to the app. Whether it is right is for Python to say.
 */
import config from "./config.js";

const inbox = globalThis.holdfastInbox;
const RESERVED = "holdfast-";

const NOT_SAVED = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Not saved</title>
<h1>Not saved</h1>
<p>{reason}</p>
<p>Everything you typed is still in the form: go back with your browser's Back button.</p>
</html>`;

const HEADERS = {
  "Content-Type": "text/html; charset=utf-8",
  "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:; " +
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
};

/**
 * Whether a page of ours sent it. A page elsewhere could make a visitor's browser post this form; what does not come from
 * here goes to the server, which is told by the browser where a request comes from.
 */
export const isOurs = (/** @type {Request} */ { referrer }) =>
  URL.canParse(referrer) && new URL(referrer).origin === self.location.origin;

/** The form's type: its field `holdfast-type`, or the only form there is. */
const typeOf = (/** @type {FormData} */ form) => String(form.get(`${RESERVED}type`) ?? Object.keys(config.forms)[0]);

/** Save the form of `request` and answer it. @returns {Promise<{response: Response, saved: boolean}>} */
export const submit = async (/** @type {Request} */ request) => {
  try {
    const form = await request.formData();
    const fields = [];
    const files = [];
    for (const [name, value] of form) {
      if (name.startsWith(RESERVED)) continue;
      if (typeof value === "string") fields.push([name, value]);
      else if (value.size || value.name) files.push([name, value]);
    }
    const ids = { id: String(form.get(`${RESERVED}id`) ?? ""), key: String(form.get(`${RESERVED}key`) ?? "") };
    const { id } = await inbox.append({ ...ids, type: typeOf(form), fields, files, source: "worker" });
    return { response: new Response(null, { status: 303, headers: { Location: `/?saved=${id}#inspections` } }), saved: true };
  } catch (error) {
    const reason = error.name === "StorageFullError" ? "This device is out of space." : "This browser could not store it.";
    return { response: new Response(NOT_SAVED.replace("{reason}", reason), { status: 507, headers: HEADERS }), saved: false };
  }
};
