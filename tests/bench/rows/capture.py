"""How long a person waits: from the tap on the button to "saved", while a drain runs in the same page."""

from tests.bench.table import Line, Side, row
from tests.bench.workshop import INSPECTION, Workshop
from tests.support.browsers import wait_until_ready
from tests.support.waiting import until_page

FILL = """([count, payload]) => Promise.all(Array.from({ length: count }, () =>
    holdfast.enqueue("inspection.create", { ...payload, checklist: [], notes: "" })))"""
SUBMITS = """async ([count, inspection]) => {
    const form = document.getElementById("inspection");
    const taken = [];
    for (let number = 0; number < count; number++) {
        for (const [name, value] of Object.entries(inspection)) form.elements[name].value = value;
        form.elements.site.value = `Lock ${number}`;
        const begun = performance.now();
        const saved = new Promise((resolve) => form.addEventListener("holdfast:saved", resolve, { once: true }));
        form.requestSubmit();
        await saved;
        taken.push(performance.now() - begun);
        await new Promise((resolve) => requestAnimationFrame(resolve));
    }
    const { states } = await holdfast.stats();
    return { taken, waiting: states.pending };
}"""

DRAINED = "async () => (await holdfast.stats()).unsent === 0"


@row
def capture(workshop: Workshop) -> list[Line]:
    """Through the app's own form, listener, rules and screens, strict; the drain sends to the app's own server."""
    stored, submits = (60, 15) if workshop.quick else (300, 100)
    taken: list[float] = []
    workshop.with_snapshot()
    page = workshop.device.context.new_page()
    page.goto(workshop.gate.url)
    wait_until_ready(page)
    for _ in range(workshop.rounds):
        page.evaluate("() => holdfast.pause()")
        page.evaluate(FILL, [stored, INSPECTION])
        page.evaluate("() => holdfast.resume()")
        answer = page.evaluate(SUBMITS, [submits, INSPECTION])
        assert answer["waiting"] > 0, "the drain ended before the last submit"
        taken += answer["taken"]
        until_page(page, DRAINED, "an empty queue", seconds=60)
    page.close()
    ordered = sorted(taken)
    return [
        Line(
            what=f"from tap to saved while a drain runs, {name}",
            unit="ms",
            ours=Side(name="form", values=[ordered[min(len(ordered) - 1, int(share * len(ordered)))]]),
        )
        for name, share in (("p50", 0.5), ("p99", 0.99))
    ]
