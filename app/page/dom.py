"""The document, as far as the page needs it: find, show, write text, listen. No words and no decisions."""

from collections.abc import Callable
from typing import Any

import js
from pyodide.ffi import create_proxy, jsnull, to_js

# Listeners that live as long as the page. They are held so that their proxies are not collected.
_kept: list[Any] = []


def maybe(value: Any) -> Any:
    """What JavaScript answered, None for its null."""
    return None if value is jsnull else value


def by_id(name: str) -> Any:
    """The element with this id."""
    return js.document.getElementById(name)


def find(within: Any, selector: str) -> Any:
    """The first element in another that matches, or None."""
    return maybe(within.querySelector(selector))


def around(element: Any, selector: str) -> Any:
    """The nearest element around this one, or itself, that matches; or None."""
    return maybe(element.closest(selector))


def data(element: Any, name: str) -> str | None:
    """A `data-` attribute, or None."""
    value: str | None = maybe(element.getAttribute(f"data-{name}"))
    return value


def child(of: Any, place: int) -> Any:
    """The child element at a place, or None."""
    return maybe(of.children.item(place))


def replace_at(target: Any, place: int, element: Any) -> None:
    """Let this element be the child at that place; what stands there already is not touched."""
    there = child(target, place)
    if there is not None and there.isSameNode(element):
        return
    before = jsnull if there is None else there
    # moveBefore keeps the focus, but only of what is in the document already.
    if element.isConnected and hasattr(target, "moveBefore"):
        target.moveBefore(element, before)
    else:
        target.insertBefore(element, before)


def part(of: Any, name: str) -> Any:
    """The part of an element that takes a text."""
    return of.querySelector(f"[data-part={name}]")


def write(element: Any, words: str) -> None:
    """Set a text, if it is another one: a live region must not speak twice."""
    if element.textContent != words:
        element.textContent = words


def show(element: Any, shown: bool) -> None:  # noqa: FBT001  (shown or not is the whole message)
    """Show or hide an element."""
    if element.hidden == shown:
        element.hidden = not shown


def attribute(element: Any, name: str, value: str | None) -> None:
    """Set an attribute, or remove it."""
    if value is None:
        element.removeAttribute(name)
    elif element.getAttribute(name) != value:
        element.setAttribute(name, value)


def copy(template_id: str) -> Any:
    """A new element from a template of the page."""
    return by_id(template_id).content.cloneNode(True).firstElementChild


def listen(target: Any, event: str, callback: Callable[[Any], Any], *, capture: bool = False) -> None:
    """Call back on every such event for as long as the page lives."""
    proxy = create_proxy(callback)
    _kept.append(proxy)
    target.addEventListener(event, proxy, capture)


def every(ms: int, callback: Callable[[], Any]) -> None:
    """Call back again and again for as long as the page lives."""
    proxy = create_proxy(callback)
    _kept.append(proxy)
    js.setInterval(proxy, ms)


def tell(target: Any, event: str, detail: Any) -> None:
    """Dispatch an event that bubbles; its detail becomes plain JavaScript data."""
    plain = to_js(detail, dict_converter=js.Object.fromEntries)
    options = to_js({"bubbles": True, "detail": plain}, dict_converter=js.Object.fromEntries)
    target.dispatchEvent(js.CustomEvent.new(event, options))


def now_ms() -> int:
    """The wall clock."""
    return int(js.Date.now())
