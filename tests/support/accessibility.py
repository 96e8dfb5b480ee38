"""axe-core on a page of the app, in Chromium: what it finds, as one line each."""

from playwright.sync_api import Page

from tests.support.server import ROOT

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
RUN = """async () => {
    const { violations } = await axe.run(document, { resultTypes: ["violations"] });
    return violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target} ${failureSummary}`));
}"""


def findings(page: Page) -> list[str]:
    """Everything axe-core has against the page as it is now."""
    if not page.evaluate("() => Boolean(globalThis.axe)"):
        session = page.context.new_cdp_session(page)  # the policy allows no script that is not the app's own
        session.send("Runtime.evaluate", {"expression": AXE.read_text()})
        session.detach()
    found: list[str] = page.evaluate(RUN)
    return found
