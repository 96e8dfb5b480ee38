"""One message shape and one table: every method answers, and nothing a caller sends raises."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast import File
from holdfast.messages import METHODS, dispatch
from holdfast.routes import Violation
from tests.support.device import Device, describe


class NeedsText:
    """A form with one required field."""

    def parse(self, fields: list[tuple[str, str]]) -> dict[str, object]:
        return dict(fields)

    def violations(self, payload: dict[str, object], files: object = ()) -> list[Violation]:
        del files
        return [] if payload.get("text") else [Violation("/text", "Enter a text")]


async def ask(device: Device, method: Any, params: Any = None, files: Any = ()) -> dict[str, Any]:
    outbox = describe()
    outbox.route("form", "POST", "/api/form", queue="notes", form=NeedsText())
    await device.context(outbox)
    reply: dict[str, Any] = json.loads(
        await dispatch(outbox, json.dumps({"holdfast": 1, "method": method, "params": params}), files)
    )
    return reply


async def test_a_job_can_be_made_and_followed_by_messages_alone() -> None:
    """What a page without Python needs."""
    device = Device()
    device.offline()
    photo = File("", "a.jpg", "image/jpeg", 3, b"abc")
    params = {"type": "photo", "payload": {"text": "a"}, "options": {"priority": 7, "lane": "site"}}
    made = (await ask(device, "enqueue", params, [photo]))["ok"]
    assert made.keys() == {"id", "key"}
    job = (await ask(device, "job", {"id": made["id"]}))["ok"]
    assert (job["priority"], job["lane"], job["payload"]) == (7, "site", {"text": "a"})
    assert job["attachments"] == [{"field": "files", "name": "a.jpg", "type": "image/jpeg", "size": 3}]
    assert [row["id"] for row in (await ask(device, "jobs"))["ok"]] == [made["id"]]
    assert [row["id"] for row in (await ask(device, "jobs", {"filter": {"state": "failed"}}))["ok"]] == []
    assert (await ask(device, "stats"))["ok"]["unsent"] == 1
    assert (await ask(device, "unsent"))["ok"] == [made["id"]]
    device.online()
    assert (await ask(device, "drain", {"timeout_ms": 1_000}))["ok"] == {"next_wake_at": None, "remaining": False}
    assert (await ask(device, "wait", {"id": made["id"]}))["ok"]["state"] == "completed"
    assert (await ask(device, "unsent"))["ok"] == []


async def test_a_job_can_be_cancelled_retried_and_edited_by_messages() -> None:
    """The refusals arrive as errors with their sentence."""
    device = Device()
    made = (await ask(device, "enqueue", {"type": "note", "payload": {"text": "a"}, "options": {"delay_ms": 9}}))["ok"]
    edited = (await ask(device, "edit", {"id": made["id"], "payload": {"text": "b"}}))["ok"]
    assert (await ask(device, "cancel", {"id": edited["id"]}))["ok"]["state"] == "cancelled"
    refused = (await ask(device, "retry", {"id": edited["id"]}))["error"]
    assert (refused["name"], refused["obstacle"]) == ("ActionRefusedError", "over")
    assert "cancelled" in refused["message"]


async def test_an_edit_with_an_id_and_a_key_for_the_new_job_is_done_once() -> None:
    """Whoever got no answer asks once more, and gets that of the first time."""
    device = Device()
    made = (await ask(device, "enqueue", {"type": "note", "payload": {"text": "a"}, "options": {"delay_ms": 9}}))["ok"]
    ids = {"id": "mine", "key": "key-mine"}
    message = {"id": made["id"], "payload": {"text": "b"}, "options": ids}
    assert (await ask(device, "edit", message))["ok"] == ids
    assert (await ask(device, "edit", message))["ok"] == ids


async def test_a_form_is_saved_or_refused_with_every_broken_rule() -> None:
    """Refusals of a form are an answer, not an error."""
    device = Device()
    entry = {"id": "i1", "key": "k1", "type": "form", "fields": [["text", ""]]}
    assert (await ask(device, "submit", {"entry": entry}))["ok"] == {
        "refused": [{"pointer": "/text", "message": "Enter a text"}]
    }
    entry["fields"] = [["text", "right"]]
    assert (await ask(device, "submit", {"entry": entry}))["ok"] == {"saved": {"id": "i1", "key": "k1"}}


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("enqueue", {"type": "nobody", "payload": 1}, "UnknownTypeError"),
        ("enqueue", {"type": "form", "payload": {}}, "InvalidPayloadError"),
        ("enqueue", {"type": "note", "payload": {}, "options": {"colour": "red"}}, "InvalidOptionError"),
        ("enqueue", {"type": "note", "payload": {}, "options": {"priority": 99}}, "InvalidOptionError"),
        ("enqueue", {"type": "note", "payload": {}, "options": {"id": 5}}, "InvalidOptionError"),
        ("enqueue", {"type": "note", "payload": {}, "options": {"key": "no\nheader"}}, "InvalidOptionError"),
        ("enqueue", {"type": "note", "payload": {}, "options": "x"}, "InvalidOptionError"),
        ("enqueue", {}, "InvalidOptionError"),
        ("job", {}, "InvalidOptionError"),
        ("job", {"id": {}}, "InvalidOptionError"),
        ("jobs", {"filter": {"state": "sideways"}}, "InvalidOptionError"),
        ("jobs", {"filter": {"limit": "all"}}, "InvalidOptionError"),
        ("jobs", {"filter": []}, None),
        ("wait", {"id": "nowhere"}, "JobNotFoundError"),
        ("wait", {"id": "nowhere", "timeout_ms": "long"}, "InvalidOptionError"),
        ("drain", {"timeout_ms": "long"}, "InvalidOptionError"),
        ("retry", {"id": "nowhere"}, "JobNotFoundError"),
        ("submit", {"entry": {"fields": None}}, "InvalidOptionError"),
        ("submit", {"entry": None}, "InvalidOptionError"),
        ("fly", {}, "InvalidOptionError"),
        (None, {}, "InvalidOptionError"),
        (["jobs"], {}, "InvalidOptionError"),
        ("jobs", "x", "InvalidOptionError"),
        ("jobs", [1], "InvalidOptionError"),
        ("pause", {"tpye": "note"}, "InvalidOptionError"),
        ("pause", {"queue": "notes", "type": "note"}, "InvalidOptionError"),
        ("retry", {"id": "nowhere", "accept_duplicate": "true"}, "InvalidOptionError"),
        ("edit", {"id": "nowhere", "payload": {}, "keep_attachments": "yes"}, "InvalidOptionError"),
        ("edit", {"id": "nowhere", "payload": {}, "options": {"lane": "x"}}, "InvalidOptionError"),
        ("drain", {"reason": "sync", "last_chance": True}, None),
    ],
)
async def test_a_wrong_message_is_answered_with_what_is_wrong(method: object, params: object, name: str | None) -> None:
    """By the error's name and a sentence; broken rules come along."""
    reply = await ask(Device(), method, params)
    if name is None:
        assert "ok" in reply
        return
    assert reply["error"]["name"] == name
    assert reply["error"]["message"]
    assert (name == "InvalidPayloadError") == ("violations" in reply["error"])


async def test_a_fault_of_our_own_is_answered_too() -> None:
    """Who hears nothing takes Python for dead; the page turns to what it can do without."""
    outbox = describe()

    async def stats() -> dict[str, Any]:
        raise IndexError("no estimate")

    outbox.stats = stats  # type: ignore[method-assign]
    await Device().context(outbox)
    reply = json.loads(await dispatch(outbox, json.dumps({"holdfast": 1, "method": "stats"})))
    assert reply["error"]["name"] == "UnavailableError"
    assert "no estimate" in reply["error"]["message"]


@pytest.mark.parametrize("text", ["", "x", "[]", "null", "5", '"jobs"', "{}", "[" * 100_000, '{"method": "jobs"}x'])
async def test_what_is_no_message_is_answered_too(text: str) -> None:
    """A reply always comes, or the other side would wait for ever."""
    outbox = await Device().context()
    assert json.loads(await dispatch(outbox, text))["error"]["name"] == "InvalidOptionError"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
names = ["id", "type", "payload", "options", "filter", "entry", "timeout_ms", "reason", "accept_duplicate"]


@given(
    method=st.sampled_from(sorted(set(METHODS) - {"drain", "wait"})),
    params=json_values | st.dictionaries(st.sampled_from(names), json_values | st.just("note"), max_size=5),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_message_raises(method: str, params: object) -> None:
    """Whatever it holds, the reply is `ok` or `error` with a name and a sentence."""
    reply = await ask(Device(), method, params)
    assert reply.keys() in ({"ok"}, {"error"})
    if "error" in reply:
        assert {"name", "message"} <= reply["error"].keys()
