"""What the app queues: the outbox and its routes. Rules are in `forms.py`, words in `words.py`."""

from typing import Final

from app import forms
from holdfast import Outbox

outbox: Final = Outbox("reference", app_version=1, reports="/api/metrics")
outbox.route(
    "inspection.create",
    "POST",
    "/api/inspections",
    queue="inspections",
    form=forms.INSPECTION,
    summary=("site", "inspected_on", "severity"),
    files_field="photos",
)
