"""`/submit`: the form of a page that runs without script and without a worker. Online only; the answer is a page."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from holdfast_server.body import MULTIPART, URLENCODED, FormBody, read_body
from holdfast_server.inspections import Inspections
from holdfast_server.problems import Problem

SEVERITIES: Final = ("low", "medium", "high")


@dataclass(frozen=True, slots=True)
class Submit:
    """The route."""

    inspections: Inspections

    async def answer(self, request: Request) -> Response:
        """Take the inspection in and show the list, or say what is wrong and give everything typed back."""
        fields: list[tuple[str, str]] = []
        try:
            _refuse_other_sites(request)
            accept = frozenset({MULTIPART, URLENCODED})
            limits, new_path = self.inspections.limits, self.inspections.attachments.new_path
            async with read_body(request, accept=accept, limits=limits, new_path=new_path) as body:
                assert isinstance(body, FormBody)  # noqa: S101  (no JSON is accepted)
                fields = body.fields
                inspection_id = await self.inspections.create_without_script(body)
        except Problem as problem:
            payload = self.inspections.rules.parse(fields)
            return HTMLResponse(
                _page(problem, payload), problem.status, {"Cache-Control": "no-store", **problem.headers}
            )
        return RedirectResponse(f"/?saved={inspection_id}#inspections", 303, {"Cache-Control": "no-store"})


def _refuse_other_sites(request: Request) -> None:
    """A page elsewhere could make a visitor's browser send this form; browsers say where a request comes from."""
    if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise Problem(403, detail="This form was sent from another site.")


def _page(problem: Problem, payload: Mapping[str, Any]) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Not saved: Holdfast</title>
</head>
<body>
<main>
<h1>Not saved</h1>
<section aria-labelledby="reasons">
<h2 id="reasons">What needs you</h2>
<p>{escape(problem.detail if not problem.errors else "Correct these fields, then save again.")}</p>
{_reasons(problem.errors)}
</section>
{_form(payload, dict(reversed(problem.errors)))}
<p><a href="/">Back to Holdfast</a></p>
</main>
</body>
</html>
"""


def _reasons(errors: Iterable[tuple[str, str]]) -> str:
    items = [f'<li><a href="#{_field(pointer)}">{escape(detail)}</a></li>' for pointer, detail in errors]
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _field(pointer: str) -> str:
    """The id of the control that a pointer leads to."""
    name = pointer.split("/")[1] if pointer else ""
    return name if name in ("site", "inspected_on", "severity", "checklist", "notes", "photos") else "reasons"


def _form(payload: Mapping[str, Any], errors: Mapping[str, str]) -> str:
    """The form with what was typed. Browsers do not let a page choose files, so photos are chosen again."""

    def value(name: str) -> str:
        return escape(str(payload.get(name, "")))

    def fault(name: str) -> str:
        return ' aria-invalid="true"' if any(_field(pointer) == name for pointer in errors) else ""

    severities = "".join(
        f'<label><input type="radio" name="severity" value="{name}"{_checked(payload.get("severity") == name)}> '
        f"{name.capitalize()}</label> "
        for name in SEVERITIES
    )
    return f"""<form action="/submit" method="post" enctype="multipart/form-data">
<p><label for="site">Site</label><br><input id="site" name="site" value="{value("site")}"{fault("site")} required></p>
<p><label for="inspected_on">Inspected on</label><br>
<input id="inspected_on" name="inspected_on" type="date" value="{value("inspected_on")}"{fault("inspected_on")} required></p>
<fieldset id="severity"><legend>Severity</legend>{severities}</fieldset>
{_checklist(payload.get("checklist"))}
<p><label for="notes">Notes</label><br><textarea id="notes" name="notes" rows="6"{fault("notes")}>
{value("notes")}</textarea></p>
<p><label for="photos">Photos (choose them again)</label><br>
<input id="photos" name="photos" type="file" accept="image/*" multiple{fault("photos")}></p>
<p><button>Save inspection</button></p>
</form>"""


def _checklist(items: Any) -> str:
    if not isinstance(items, list):
        return ""
    rows = []
    for item in items:
        label, ok = (item.get("label", ""), item.get("ok") is True) if isinstance(item, dict) else (item, False)
        text = escape(str(label))
        rows.append(
            f'<li><input type="hidden" name="checklist_items" value="{text}">'
            f'<label><input type="checkbox" name="checklist" value="{text}"{_checked(ok)}> {text}</label></li>'
        )
    return f'<fieldset id="checklist"><legend>Checklist</legend><ul>{"".join(rows)}</ul></fieldset>'


def _checked(yes: bool) -> str:  # noqa: FBT001  (the attribute is the boolean)
    return " checked" if yes else ""
