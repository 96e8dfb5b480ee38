"""The API as an OpenAPI document, `/api/openapi.json`. A test holds the server to it; it is written by hand, as a contract is."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from holdfast_server.batch import ITEMS_LIMIT
from holdfast_server.clients import CLIENT, LARGEST, NUMBERS
from holdfast_server.inspections import PAGE_DEFAULT, PAGE_LIMIT

Document = dict[str, Any]

_JSON: Final = "application/json"
_LARGEST_ID: Final = 2**63 - 1
_TEXT: Final[Document] = {"type": "string"}
_KEY: Final[Document] = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[!-+\--~]+$"}
_COUNT: Final[Document] = {"type": "integer", "minimum": 0}
_INSTANT: Final[Document] = {"type": "string", "format": "date-time"}

_REFUSALS: Final = {
    400: "The request, or its key, is malformed.",
    401: "Nobody is signed in, or another account (only where sign-in is on).",
    403: "It comes from another site.",
    404: "There is none.",
    409: "An earlier attempt with this key is still running: see Retry-After.",
    413: "It is too large.",
    415: "The body is of another type.",
    422: "The content breaks rules, or the key belongs to another content.",
    429: "Too many attempts: see Retry-After.",
    503: "The server cannot store this right now: see Retry-After.",
}


def document(inspection: Mapping[str, Any]) -> Document:
    """The document. `inspection` is the JSON schema of an inspection as it is sent."""
    sent = _sent(inspection)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Holdfast reference API",
            "version": version("holdfast"),
            "description": "Inspections, received once for each Idempotency-Key. Errors are problem details (RFC 9457).",
        },
        "paths": {
            "/api/inspections": {"get": _list(), "post": _create(sent)},
            "/api/inspections/{id}/photos/{place}": {"get": _photo()},
            "/api/batch": {"post": _batch()},
            "/api/flags": {"get": _flags()},
            "/api/metrics": {"post": _metrics()},
            "/api/session": {"get": _session(), "post": _sign_in(), "delete": _sign_out()},
        },
        "components": {
            "schemas": {"Inspection": _inspection(sent), "BatchItem": _batch_item(sent), "Problem": _problem()}
        },
    }


def _sent(inspection: Mapping[str, Any]) -> Document:
    """The form's schema, in OpenAPI's words; that the day may not lie in the future cannot be said there."""
    properties = {**inspection["properties"], "inspected_on": {"type": "string", "format": "date"}}
    return {**{name: value for name, value in inspection.items() if name != "$schema"}, "properties": properties}


def _operation(summary: str, answers: Mapping[int, Document], refusals: tuple[int, ...], **more: Any) -> Document:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    refused = {str(status): {"description": _REFUSALS[status], "content": problem} for status in refusals}
    return {"summary": summary, **more, "responses": {**{str(status): a for status, a in answers.items()}, **refused}}


def _answer(description: str, schema: Document, **more: Any) -> Document:
    return {"description": description, "content": {_JSON: {"schema": schema}}, **more}


def _body(schema: Document) -> Document:
    return {"required": True, "content": {_JSON: {"schema": schema}}}


def _object(properties: Mapping[str, Any], *, optional: tuple[str, ...] = ()) -> Document:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "additionalProperties": False, "properties": dict(properties)}


def _parameter(name: str, where: str, schema: Document, *, required: bool = False) -> Document:
    return {"name": name, "in": where, "required": required, "schema": schema}


def _list() -> Document:
    items = {"type": "array", "items": {"$ref": "#/components/schemas/Inspection"}}
    parameters = [
        _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": PAGE_LIMIT, "default": PAGE_DEFAULT}),
        _parameter("after", "query", {"type": "integer", "minimum": 0, "maximum": _LARGEST_ID, "default": 0}),
    ]
    answer = _answer("In order of receipt.", _object({"total": _COUNT, "items": items}))
    return _operation("List inspections", {200: answer}, (400, 401, 503), parameters=parameters)


def _create(sent: Document) -> Document:
    echo = {"Idempotency-Key": {"schema": _KEY}, "Idempotency-Replayed": {"schema": {"const": "true"}}}
    receipt = _answer("Received: the receipt.", {"$ref": "#/components/schemas/Inspection"}, headers=echo)
    photos = {"type": "array", "items": {"type": "string", "contentMediaType": "image/*"}}
    form = {**sent, "properties": {**sent["properties"], "photos": photos}}
    encoding = {"checklist": {"contentType": _JSON}, "photos": {"contentType": "image/jpeg, image/png, image/*"}}
    content = {_JSON: {"schema": sent}, "multipart/form-data": {"schema": form, "encoding": encoding}}
    return _operation(
        "Send an inspection; sent again under its key it is received once",
        {201: receipt},
        (400, 401, 409, 413, 415, 422, 503),
        parameters=[
            _parameter("Idempotency-Key", "header", _KEY, required=True),
            _parameter("Holdfast-Account", "header", _TEXT),
        ],
        requestBody={"required": True, "content": content},
    )


def _photo() -> Document:
    picture = {"description": "The photo.", "content": {"*/*": {"schema": {}}}}
    number = {"type": "integer", "minimum": 1, "maximum": _LARGEST_ID}
    parameters = [_parameter(name, "path", number, required=True) for name in ("id", "place")]
    unchanged = {"description": "Not changed."}
    return _operation("A photo", {200: picture, 304: unchanged}, (401, 404, 503), parameters=parameters)


def _batch() -> Document:
    texts = {"type": "object", "additionalProperties": _TEXT}
    result = _object({"status": {"type": "integer"}, "headers": texts, "body": {}})
    item = {"description": "A BatchItem. What is none gets a result that says so, and harms no other item."}
    request: Document = {"type": "object", "required": ["items"]}
    request["properties"] = {"items": {"type": "array", "maxItems": ITEMS_LIMIT, "items": item}}
    answer = _answer("One result for each item, in order.", _object({"results": {"type": "array", "items": result}}))
    return _operation(
        "Send many, with a key each", {200: answer}, (400, 401, 413, 415, 422, 503), requestBody=_body(request)
    )


def _batch_item(sent: Document) -> Document:
    members = {
        "key": _KEY,
        "method": {"const": "POST"},
        "path": {"const": "/api/inspections"},
        "lane": {"type": ["string", "null"]},
        "halts": {"type": "boolean"},
        "body": sent,
    }
    return {**_object(members, optional=("lane", "halts")), "additionalProperties": True}


def _flags() -> Document:
    names = {"type": "array", "items": _TEXT}
    disabled = _object({"all": {"type": "boolean"}, "queues": names, "types": names})
    lifetime = {"type": ["integer", "null"], "description": "How long keys are kept; null is for ever."}
    answer = _answer("What is switched off.", _object({"disabled": disabled, "key_lifetime_ms": lifetime}))
    return _operation("The probe", {200: answer}, (503,))


def _metrics() -> Document:
    client = {"type": "string", "pattern": f"^{CLIENT.pattern}$"}
    numbers = {name: {"type": "integer", "minimum": 0, "maximum": LARGEST} for name in NUMBERS}
    report = _object({"client": client, **numbers})
    taken = {"description": "Taken in."}
    return _operation("A client's four numbers", {204: taken}, (400, 413, 415, 422, 503), requestBody=_body(report))


def _session() -> Document:
    answer = _answer("Who is signed in.", _object({"account": _TEXT, "sign_in": {"type": "boolean"}}))
    return _operation("Who is signed in", {200: answer}, (503,))


def _sign_in() -> Document:
    name = {"type": "string", "pattern": "^[!-~]([ -~]{0,98}[!-~])?$"}
    credentials: Document = {"type": "object", "required": ["name", "password"]}
    credentials["properties"] = {"name": name, "password": {"type": "string", "minLength": 1, "maxLength": 1_000}}
    answer = _answer("Signed in.", _object({"account": _TEXT, "sign_in": {"type": "boolean"}}))
    refusals = (400, 401, 403, 404, 413, 415, 422, 429, 503)
    return _operation("Sign in", {200: answer}, refusals, requestBody=_body(credentials))


def _sign_out() -> Document:
    return _operation("Sign out", {204: {"description": "Signed out."}}, (403, 404, 503))


def _inspection(sent: Document) -> Document:
    photo = _object(
        {"name": _TEXT, "size": _COUNT, "sha256": _TEXT, "url": {"type": "string", "format": "uri-reference"}}
    )
    made = {
        "id": {"type": "integer", "minimum": 1},
        "idempotency_key": _KEY,
        "received_at": _INSTANT,
        "photos": {"type": "array", "items": photo},
    }
    return _object({**made, **sent["properties"]})


def _problem() -> Document:
    error = _object({"pointer": _TEXT, "detail": _TEXT})
    members = {
        "type": {"type": "string", "format": "uri-reference"},
        "title": _TEXT,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": _TEXT,
        "errors": {"type": "array", "items": error},
    }
    return _object(members, optional=("detail", "errors"))
