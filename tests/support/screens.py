"""What a person reads on the screens: rows of list and Outbox, the header, banners."""

from playwright.sync_api import Locator, Page, expect

PILL_SECONDS = 30


def turn_to(page: Page, screen: str) -> None:
    """Use the app's own navigation: "New", "Inspections" or "Outbox"."""
    page.get_by_role("navigation").get_by_role("link", name=screen, exact=True).click()


def entry(page: Page, site: str, *, on: str = "outbox") -> Locator:
    """The row of this inspection in the Outbox, or with `on="inspections"` in the list."""
    title = page.locator(".entry-title", has_text=site)
    return page.locator(f"#{on} li.entry").filter(has=title)


def pill(row: Locator) -> Locator:
    """A row's state in words."""
    return row.locator(".pill span")


def line(row: Locator) -> Locator:
    """The sentence below it."""
    return row.locator(".entry-line")


def expect_actions(row: Locator, *names: str) -> None:
    """What can be done about it, in order, once it is drawn."""
    expect(row.locator(".actions > *")).to_have_text(list(names), use_inner_text=True)


def advised(row: Locator) -> list[str]:
    """The one action that is advised, if any."""
    return row.locator(".actions > .advised").all_inner_texts()


def icon(row: Locator) -> Locator:
    """The sign beside the state; its `href` names it."""
    return row.locator(".pill use")


def fact(row: Locator, name: str) -> Locator:
    """The value of a fact of the row."""
    return row.locator(".facts > div").filter(has=row.page.locator("dt", has_text=name)).locator("dd")


def banners(page: Page) -> list[str]:
    """The ids of the banners that can be seen, in their order."""
    return page.locator("#banners > .banner:visible").evaluate_all("(all) => all.map(({id}) => id)")


def focused(page: Page) -> str:
    """The id of the element that has the focus, or its name, or its words."""
    name: str = page.evaluate(
        """() => {
            const on = document.activeElement;
            return on.id || on.name || on.innerText.trim();
        }"""
    )
    return name
