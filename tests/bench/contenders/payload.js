/** What every contender stores and sends: one inspection without photos, numbered. */
export const payload = (/** @type {number} */ number) => ({
  site: `Lock ${number}`,
  inspected_on: "2026-01-02",
  severity: "low",
  notes: "Paint flakes on the upstream gate; the sill is dry.",
  checklist: [{ label: "Ladder is firm", ok: true }, { label: "Lights work", ok: false }],
});

/** The request that delivers it, made in the same way by all who make requests themselves. */
export const post = (/** @type {number} */ number) => ({
  method: "POST",
  headers: { "Content-Type": "application/json", "Idempotency-Key": `${number}` },
  body: JSON.stringify(payload(number)),
});
