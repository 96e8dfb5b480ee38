"""The page's start: until a submit is accepted, until its Python answers, and the longest time in which nobody could type."""

from tests.bench.table import Line, Side, row
from tests.bench.workshop import INSPECTION, Workshop

READY = "() => globalThis.holdfast?.python === 'ready' && performance.now()"
LONG_TASKS = """globalThis.longTasks = [0];
new PerformanceObserver((list) => longTasks.push(...list.getEntries().map(({ duration }) => duration)))
    .observe({ type: "longtask", buffered: true });"""
LONGEST = "() => Math.max(...longTasks)"
SUBMIT = """(inspection) => new Promise((resolve) => {
    const form = document.getElementById("inspection");
    form.addEventListener("holdfast:saved", () => resolve(performance.now()));
    for (const [name, value] of Object.entries(inspection)) form.elements[name].value = value;
    form.requestSubmit();
})"""
UNSENT = "() => holdfast.stats().then(({ unsent }) => unsent)"
PLAIN = "/plain.html"
THROTTLE = 4


@row
def page_start(workshop: Workshop) -> list[Line]:
    """Restored against PyScript's plain start of the same page with the same wheels, and the restored one throttled."""
    workshop.device.context.add_init_script(LONG_TASKS)
    restored, plain, longest, throttled, accepted = [], [], [], [], []
    for number in range(workshop.rounds):
        workshop.with_snapshot()
        ready, task = _start(workshop, "/")
        restored.append(ready)
        longest.append(task)
        throttled.append(_start(workshop, "/", throttle=THROTTLE)[1])
        accepted.append(_to_first_submit(workshop))
        if number < workshop.slow_rounds:
            workshop.without_snapshot()
            plain.append(_start(workshop, PLAIN)[0])
    return [
        Line(
            what="page, from navigation until Python answers",
            unit="ms",
            ours=Side(name="restored", values=restored),
            other=Side(name="plain PyScript", values=plain),
            at_least=2,
        ),
        Line(
            what="page, from navigation until a submit is saved",
            unit="ms",
            ours=Side(name="submit", values=accepted),
            other=Side(name="Python answers", values=restored),
        ),
        Line(what="page, longest task at start", unit="ms", ours=Side(name="restored", values=longest), at_most=200),
        Line(
            what=f"page, longest task at start, {THROTTLE} x throttled",
            unit="ms",
            ours=Side(name="restored", values=throttled),
            at_most=400,
        ),
    ]


def _start(workshop: Workshop, path: str, *, throttle: int = 1) -> tuple[float, float]:
    page = workshop.device.context.new_page()
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": throttle})
    page.goto(workshop.gate.url + path, wait_until="commit")
    ready = page.wait_for_function(READY, timeout=60_000).json_value()
    longest = page.evaluate(LONGEST)
    page.close()
    return ready, longest


def _to_first_submit(workshop: Workshop) -> float:
    """A form that is submitted as soon as it is there; Python has not started by then."""
    page = workshop.device.context.new_page()
    page.goto(workshop.gate.url, wait_until="domcontentloaded")
    saved: float = page.evaluate(SUBMIT, INSPECTION)
    page.wait_for_function(READY, timeout=60_000)
    # Nothing of it may run into the next measurement, nor be left to others by a page that dies as it sends.
    workshop.wait_for(lambda: page.evaluate(UNSENT) == 0, "a sent submission")
    page.close()
    return saved
