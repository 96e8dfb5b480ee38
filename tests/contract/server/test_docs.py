"""What the how-tos show works as they show it."""

import re
import sys
from pathlib import Path

import httpx
import psycopg
import pytest

DOCS = Path(__file__).parents[3] / "docs" / "server"


def code_of(name: str) -> str:
    """The Python in a page."""
    return "\n".join(re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(), re.DOTALL))


def marks_of(code: str) -> list[int]:
    """The numbers of the lines that an existing app gains."""
    return [int(number) for number in re.findall(r"# (\d+)$", code, re.MULTILINE)]


async def test_a_fastapi_app_is_safe_in_ten_lines(postgres):
    """The page's own code on a real PostgreSQL: once, replayed, refused without a key, undone when it fails."""
    code = code_of("fastapi.md")
    assert marks_of(code) == list(range(1, 11))
    url = postgres.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE orders (id INTEGER GENERATED ALWAYS AS IDENTITY, item TEXT, count INTEGER CHECK (count > 0))"
        )
    given = {"DATABASE_URL": url, "user_of": lambda request: request.headers["X-User"]}
    exec(compile(code, "fastapi.md", "exec"), given)
    app = given["app"]
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop", headers={"X-User": "mara"}) as client:

        async def order(key: str, count: int = 1, **headers: str) -> httpx.Response:
            json = {"item": "rope", "count": count}
            return await client.post("/orders", json=json, headers={"Idempotency-Key": key, **headers})

        first, again = await order("a"), await order("a")
        assert (first.status_code, first.json()) == (201, {"id": 1, "item": "rope"})
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotency-replayed"] == "true"
        assert again.headers["idempotency-key"] == "a"
        other = await order("a", 2)
        assert (other.status_code, other.json()["type"]) == (422, "urn:holdfast:problem:key-reused")
        assert (await order("a", **{"X-User": "jon"})).json()["id"] == 2
        assert (await order("b", count=0)).status_code == 500
        assert (await client.post("/orders", json={"item": "rope", "count": 1})).status_code == 400
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM orders").fetchone() == (2,)
    await given["keys"].close()


DJANGO = """
from django.conf import settings
from django.http import JsonResponse
from django.urls import path

ORDERS = []

def place(request):
    ORDERS.append(request.body)
    return JsonResponse({"id": len(ORDERS)}, status=201)

urlpatterns = [path("orders", place), path("others", place)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], MIDDLEWARE=[], SECRET_KEY="x")
import django
django.setup()
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning:django")
async def test_a_django_app_is_safe_behind_the_middleware(redis_server, tmp_path, monkeypatch):
    """The page's own code around a real Django app, with keys in a real Redis."""
    (tmp_path / "a_shop.py").write_text(DJANGO)
    monkeypatch.syspath_prepend(tmp_path)
    import a_shop

    given = {"REDIS_URL": redis_server.new_database(), "account_of_session": lambda _: "mara"}
    exec(compile(code_of("django.md"), "django.md", "exec"), given)
    transport = httpx.ASGITransport(given["application"])
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        answers = [
            await client.post("/orders", content=b"rope", headers={"Idempotency-Key": key}) for key in ("a", "a", "b")
        ]
        assert [answer.json()["id"] for answer in answers] == [1, 1, 2]
        assert [answer.headers.get("idempotency-replayed") for answer in answers] == [None, "true", None]
        assert (await client.post("/orders", content=b"rope")).status_code == 400
        assert (await client.post("/others", content=b"rope")).json() == {"id": 3}
        assert a_shop.ORDERS == [b"rope"] * 3
    await given["application"]._store.close()
    sys.modules.pop("a_shop")
