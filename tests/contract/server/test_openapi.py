"""The server keeps to its OpenAPI document, whatever is sent: schemathesis finds nothing."""

import os

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

FORM = "multipart/form-data"
EXAMPLES = 300 if os.environ.get("HOLDFAST_LONG") else 25


@pytest.fixture(scope="session")
def api(shared_server):
    """The document, as the server gives it."""
    return schemathesis.openapi.from_url(f"{shared_server.url}/api/openapi.json")


OPERATIONS = [
    ("GET", "/api/inspections"),
    ("POST", "/api/inspections"),
    ("GET", "/api/inspections/{id}/photos/{place}"),
    ("POST", "/api/batch"),
    ("GET", "/api/flags"),
    ("POST", "/api/metrics"),
    ("GET", "/api/session"),
    ("POST", "/api/session"),
    ("DELETE", "/api/session"),
]


NOTHING_TO_GET_WRONG = [("GET", "/api/flags"), ("GET", "/api/session"), ("DELETE", "/api/session")]
WRONG = [operation for operation in OPERATIONS if operation not in NOTHING_TO_GET_WRONG]


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [(*operation, GenerationMode.POSITIVE) for operation in OPERATIONS]
    + [(*operation, GenerationMode.NEGATIVE) for operation in WRONG],
)
def test_the_server_keeps_to_its_document(api, method, path, mode):
    """Statuses, types, schemas and headers as documented; what breaks the document is refused; never a 5xx.

    Not asked: that all the document allows is taken. A day in the future is refused, and no schema can say so.
    """
    cases = api[path][method].as_strategy(generation_mode=mode)

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(cases)
    def keeps(case):
        unseen = case.media_type == FORM and not is_carried(case.body)
        case.call_and_validate(excluded_checks=[positive_data_acceptance, *[negative_data_rejection] * unseen])

    keeps()


def is_carried(value):
    """Whether a form carries it as it is: only text and files are, and null, say, arrives as the word, which is a good name."""
    if isinstance(value, dict | list):
        return all(map(is_carried, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str | bytes)


def test_the_document_is_complete(shared_server):
    """Every route of the API is in it, and its form is the form's own schema."""
    document = httpx.get(f"{shared_server.url}/api/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    paths = document["paths"]
    assert [(method.upper(), path) for path, methods in paths.items() for method in methods] == OPERATIONS
