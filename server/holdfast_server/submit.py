"""`/submit`: the form of a page that runs without script and without a worker. Online only; the answer is a page."""

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from holdfast_server.body import MULTIPART, URLENCODED, FormBody, read_body
from holdfast_server.inspections import Inspections
from holdfast_server.problems import Problem, refuse_other_sites

SEVERITIES: Final = ("low", "medium", "high")
FIELDS: Final = ("site", "inspected_on", "severity", "checklist", "notes", "photos")


@dataclass(frozen=True, slots=True)
class Submit:
    """The route. `index` is the app's page, whose look the answer shares."""

    inspections: Inspections
    index: Path

    async def answer(self, request: Request) -> Response:
        """Take the inspection in and show the list, or say what is wrong and give everything typed back."""
        fields: list[tuple[str, str]] = []
        try:
            refuse_other_sites(request)
            account = await self.inspections.account_of(request)
            accept = frozenset({MULTIPART, URLENCODED})
            limits, new_path = self.inspections.limits, self.inspections.attachments.new_path
            async with read_body(request, accept=accept, limits=limits, new_path=new_path) as body:
                assert isinstance(body, FormBody)  # noqa: S101  (no JSON is accepted)
                fields = body.fields
                inspection_id = await self.inspections.create_without_script(body, account)
        except Problem as problem:
            payload = self.inspections.rules.parse(fields)
            page = _page(problem, payload, await asyncio.to_thread(_links, self.index))
            return Response(
                page.encode("utf-8", "replace"),
                problem.status,
                {"Cache-Control": "no-store", **problem.headers},
                media_type="text/html; charset=utf-8",
            )
        return RedirectResponse(f"/?received={inspection_id}#inspections", 303, {"Cache-Control": "no-store"})


def _links(index: Path) -> str:
    """The links to stylesheet and icon of the build that is served now; '' where there is none."""
    try:
        head = index.read_text("utf-8").partition("</head>")[0]
    except OSError:
        return ""
    return "\n".join(match[0] for match in re.finditer(r'<link rel="(icon|stylesheet)" [^>]*>', head))


def _page(problem: Problem, payload: Mapping[str, Any], links: str) -> str:
    advice = "Not saved. Correct these fields, then save again." if problem.errors else f"Not saved. {problem.detail}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Not saved: Holdfast</title>
{links}
</head>
<body>
<main>
<section class="screen stack" id="new">
<h1>New inspection</h1>
<p id="reasons"><strong>{escape(advice)}</strong></p>
{_reasons(problem.errors)}
{_form(payload, problem.errors)}
<p><a href="/">Back to Holdfast</a></p>
</section>
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
    return name if name in FIELDS else "reasons"


def _form(payload: Mapping[str, Any], errors: Iterable[tuple[str, str]]) -> str:
    """The form with what was typed. Browsers do not let a page choose files, so photos are chosen again."""
    faults: dict[str, list[str]] = {}
    for pointer, detail in errors:
        faults.setdefault(_field(pointer), []).append(escape(detail))

    def value(name: str) -> str:
        return escape(str(payload.get(name, "")))

    def marked(name: str) -> str:
        return f' aria-invalid="true" aria-describedby="{name}-error"' if name in faults else ""

    def words(name: str) -> str:
        return f'<p class="error" id="{name}-error">{" ".join(faults[name])}</p>' if name in faults else ""

    severities = "".join(
        f'<label class="choice"><input type="radio" name="severity" value="{name}" required'
        f"{_checked(payload.get('severity') == name)}>{name.capitalize()}</label>"
        for name in SEVERITIES
    )
    return f"""<form class="stack" action="/submit" method="post" enctype="multipart/form-data">
<div class="field"><label for="site">Site</label>
<input id="site" name="site" required value="{value("site")}"{marked("site")}>{words("site")}</div>
<div class="field"><label for="inspected_on">Inspected on</label>
<input id="inspected_on" name="inspected_on" type="date" required value="{value("inspected_on")}"{marked("inspected_on")}>
{words("inspected_on")}</div>
<fieldset class="field" id="severity" role="radiogroup"{marked("severity")} tabindex="-1"><legend>Severity</legend>
{severities}{words("severity")}</fieldset>
{_checklist(payload.get("checklist"), words("checklist"))}
<div class="field"><label for="notes">Notes</label>
<textarea id="notes" name="notes"{marked("notes")}>
{value("notes")}</textarea>{words("notes")}</div>
<div class="field"><label for="photos">Photos (choose them again)</label>
<input id="photos" name="photos" type="file" accept="image/*" multiple{marked("photos")}>{words("photos")}</div>
<div class="save field"><button class="primary">Save inspection</button></div>
</form>"""


def _checklist(items: Any, words: str) -> str:
    if not isinstance(items, list):
        return ""
    rows = []
    for item in items:
        label, ok = (item.get("label", ""), item.get("ok") is True) if isinstance(item, dict) else ("", False)
        text = escape(str(label))
        rows.append(
            f'<li><label>{text}<input type="checkbox" name="checklist" value="{text}"{_checked(ok)}></label>'
            f'<input type="hidden" name="checklist_items" value="{text}"></li>'
        )
    return (
        '<fieldset class="field" id="checklist" tabindex="-1"><legend>Checklist</legend>'
        f'<ul class="checks">{"".join(rows)}</ul>{words}</fieldset>'
    )


def _checked(yes: bool) -> str:  # noqa: FBT001  (the attribute is the boolean)
    return " checked" if yes else ""
