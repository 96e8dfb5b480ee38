"""Rows of list and Outbox: made once per job, then changed in place, so that nobody loses the button they are on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import js

from app.page import dom


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and a value; a name that goes without saying is for screen readers, an icon may stand for it."""

    name: str
    value: str
    name_shown: bool = True
    icon: str = ""


@dataclass(frozen=True, slots=True)
class Button:
    """One action of a row; with `href` it is a link."""

    do: str
    label: str
    href: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """All that a row shows. `key` names it in its list; equal rows are left alone."""

    key: str
    tone: str
    title: str
    pill: str
    icon: str
    job_id: str = ""
    state: str = ""
    line: str = ""
    percent: int | None = None
    facts: tuple[Fact, ...] = ()
    buttons: tuple[Button, ...] = ()
    advised: str = ""


class Rows:
    """The rows of one screen, in one list or several."""

    def __init__(self, name: str, lists: Sequence[Any]) -> None:
        self._name = name
        self._lists = lists
        self._elements: dict[str, Any] = {}
        self._shown: dict[str, Row] = {}
        # Rows made before Python was there stay the elements they are.
        for each in lists:
            for element in each.children:
                self._elements[dom.data(element, "job-id") or ""] = element

    def show(self, columns: Sequence[Sequence[Row]]) -> None:
        """Make the lists hold these rows, in this order; focus inside a row survives."""
        focus = _Focus(self._elements)
        wanted = {row.key for rows in columns for row in rows}
        for key in [key for key in self._elements if key not in wanted]:
            self._elements.pop(key).remove()
            self._shown.pop(key, None)
        for target, rows in zip(self._lists, columns, strict=True):
            for place, row in enumerate(rows):
                element = self._element(row)
                dom.replace_at(target, place, element)
            dom.show(target, bool(rows))
        focus.restore(self._elements)

    def _element(self, row: Row) -> Any:
        element = self._elements.get(row.key)
        if element is None:
            element = self._elements[row.key] = dom.copy("row-template")
        if self._shown.get(row.key) != row:
            self._shown[row.key] = row
            _draw(element, row, f"{self._name}-{row.key}")
        return element


class _Focus:
    """Where the focus is among rows, to find it again after they changed."""

    def __init__(self, elements: dict[str, Any]) -> None:
        self._active = js.document.activeElement
        self._key = next((key for key, element in elements.items() if element.contains(self._active)), None)
        self._do = dom.data(self._active, "do") if self._key is not None else None
        self._screen = dom.around(elements[self._key], ".screen") if self._key is not None else None

    def restore(self, elements: dict[str, Any]) -> None:
        """Back to the same button; if that is gone to the row's title, if the row is gone to the screen's."""
        if self._key is None or js.document.activeElement.isSameNode(self._active):
            return
        element = elements.get(self._key)
        if element is None:
            dom.find(self._screen, "h2").focus()
            return
        same = dom.find(element, f'[data-do="{self._do}"]') if self._do else None
        (same or dom.find(element, ".entry-title")).focus()


def _draw(element: Any, row: Row, element_id: str) -> None:
    dom.attribute(element, "data-job-id", row.job_id or None)
    dom.attribute(element, "data-state", row.state or None)
    dom.attribute(element, "data-tone", row.tone)
    title = dom.find(element, ".entry-title")
    title.id = element_id
    dom.write(title, row.title)
    dom.attribute(dom.find(element, ".pill use"), "href", f"#i-{row.icon}")
    dom.write(dom.find(element, ".pill span"), row.pill)
    bar = dom.find(element, "progress")
    dom.show(bar, row.percent is not None)
    if row.percent is not None:
        bar.value = row.percent
        dom.attribute(bar, "aria-labelledby", element_id)
    line = dom.find(element, ".entry-line")
    dom.write(line, row.line)
    dom.show(line, bool(row.line))
    _draw_facts(dom.find(element, ".facts"), row.facts)
    _draw_buttons(dom.find(element, ".actions"), row, element_id)
    dom.show(dom.find(element, ".entry-foot"), bool(row.facts or row.buttons))


def _draw_facts(target: Any, facts: Sequence[Fact]) -> None:
    while target.children.length > len(facts):
        target.lastElementChild.remove()
    while target.children.length < len(facts):
        target.append(dom.copy("fact-template"))
    for element, fact in zip(target.children, facts, strict=True):
        name = dom.find(element, "dt span")
        dom.write(name, fact.name)
        dom.attribute(name, "class", None if fact.name_shown else "out-of-sight")
        icon = dom.find(element, "svg")
        dom.attribute(icon, "hidden", None if fact.icon else "")
        dom.attribute(dom.find(icon, "use"), "href", f"#i-{fact.icon}")
        dom.write(dom.find(element, "dd"), fact.value)


def _draw_buttons(target: Any, row: Row, title_id: str) -> None:
    old = {dom.data(element, "do"): element for element in target.children}
    for place, button in enumerate(row.buttons):
        element = old.pop(button.do, None)
        if element is None:
            element = js.document.createElement("a" if button.href else "button")
            element.dataset.do = button.do
            if button.href:
                element.href = button.href
            else:
                element.type = "button"
            element.setAttribute("aria-describedby", title_id)
        dom.write(element, button.label)
        names = [name for name, wanted in (("button", button.href), ("advised", row.advised == button.do)) if wanted]
        dom.attribute(element, "class", " ".join(names) or None)
        dom.replace_at(target, place, element)
    for element in old.values():
        element.remove()
    dom.show(target, bool(row.buttons))
