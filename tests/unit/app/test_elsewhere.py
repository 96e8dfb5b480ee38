"""docs/elsewhere.md holds what it says."""

import json
import re
from pathlib import Path

from holdfast import Outbox
from holdfast.ports import Answer
from tests.support.device import Device, in_turn


async def test_a_route_to_another_server_works_as_its_page_says() -> None:
    """Without a flags document nothing is sent there and nothing fails; with the least one it goes, and a refusal is one."""
    page = Path(__file__).parents[3] / "docs" / "elsewhere.md"
    code, least = re.findall(r"```(?:python|json)\n(.*?)```", page.read_text(), re.DOTALL)
    outbox = Outbox("test", app_version=1)
    exec(code, {"outbox": outbox})
    device = Device()
    await device.context(outbox)
    device.network.answer = in_turn(
        lambda _request: Answer(201, {}, '{"meter": 7}'), lambda _request: Answer(422, {}, "no meter 8")
    )
    device.network.flags = {}
    read, refused = [await outbox.enqueue("reading.add", {"text": text}) for text in ("7", "8")]
    await device.deliver_all(outbox)
    assert device.sent() == []
    assert [(row["waits"], row["attempts"]) for row in await outbox.jobs()] == [("turn", 0), ("network", 0)]
    device.network.flags = json.loads(least)
    await device.deliver_all(outbox)
    assert (device.end(read.id), device.end(refused.id)) == (("completed", None), ("failed", "refused"))
    assert {request.url for request in device.network.sent} == {"https://meters.example/readings"}
