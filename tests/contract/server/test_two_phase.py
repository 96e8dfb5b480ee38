"""An effect outside the database, and a process that dies on the way: the gap that the docs name, and nothing worse."""

import time
from uuid import uuid4

import httpx
import pytest

from tests.contract.server.conftest import STORES
from tests.support.mailer import Mailer, Moment

LEASE_MS = 1_000


@pytest.mark.parametrize("store", STORES)
async def test_only_death_between_effect_and_memory_repeats_an_effect(request, tmp_path, store):
    """Once more after the lease and never again; dead before the effect or after its answer is kept: one effect.

    Nothing is ever lost, what is answered is what was done last, and no other key is touched.
    """
    if store == "sqlite":
        keys = str(tmp_path / "keys.sqlite3")
    else:
        keys = request.getfixturevalue({"postgres": "postgres", "redis": "redis_server"}[store]).new_database()
    with Mailer(tmp_path, keys, lease_ms=LEASE_MS) as mortal, Mailer(tmp_path, keys, lease_ms=LEASE_MS) as mailer:
        async with httpx.AsyncClient(timeout=120) as client:

            async def send_to(name: str, by: Mailer = mailer) -> httpx.Response:
                return await client.post(f"{by.url}/letters", json={"to": name}, headers={"Idempotency-Key": name})

            other = await send_to("other", mortal)
            for moment, times in (
                (Moment.BEFORE_EFFECT, 1),
                (Moment.BEFORE_REMEMBERED, 2),
                (Moment.BEFORE_ANSWERED, 1),
            ):
                name, asked_at = str(uuid4()), time.time_ns() // 1_000_000
                mortal.die(moment)
                with pytest.raises(httpx.TransportError):
                    await send_to(name, mortal)
                assert len(mailer.letters_to(name)) == (moment != Moment.BEFORE_EFFECT)
                while (answer := await send_to(name)).status_code == 409:
                    assert answer.json()["type"] == "urn:holdfast:problem:in-progress"
                letters = mailer.letters_to(name)
                assert len(letters) == times
                last_id, last_sent_at = letters[-1]
                assert (answer.status_code, answer.json()) == (201, {"id": last_id})
                replayed = "idempotency-replayed" in answer.headers
                assert replayed == (moment == Moment.BEFORE_ANSWERED)
                assert replayed or last_sent_at >= asked_at + LEASE_MS
                mortal.kill()  # it has killed itself: only so that its address is free
                mortal.start()
                assert (await send_to(name, mortal)).content == answer.content
                assert mailer.letters_to(name) == letters
            assert (await send_to("other")).content == other.content
            assert len(mailer.letters_to("other")) == 1
