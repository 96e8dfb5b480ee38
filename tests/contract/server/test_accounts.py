"""Two accounts on one server: signing in and out, and nothing of the one reaches the other."""

import concurrent.futures

import httpx
import pytest

from tests.contract.server.conftest import INSPECTION, STORES
from tests.contract.server.test_api import form, problem
from tests.contract.server.test_operations import holdfast

PASSWORD = "a good password"


@pytest.fixture(params=STORES)
def server(request, launch):
    """A server where mara and jon have accounts, on each store."""
    store = []
    if request.param != "sqlite":
        databases = request.getfixturevalue({"postgres": "postgres", "redis": "redis_server"}[request.param])
        store = ["--store", databases.new_database()]
    server = launch("--sign-in", *store)
    for name in ("mara", "Jon Doe"):
        done = holdfast("accounts", "add", name, "--data", str(server.data), *store, words=f"{PASSWORD}\n")
        assert done.returncode == 0, done.stderr
    server.where = ["--data", str(server.data), *store]
    return server


@pytest.fixture
def visit(server):
    """Makes browsers, signed in if a name is given."""
    clients = []

    def visit(name: str = "") -> httpx.Client:
        client = httpx.Client(base_url=server.url, timeout=30)
        clients.append(client)
        if name:
            assert sign_in(client, name).status_code == 200
        return client

    yield visit
    for client in clients:
        client.close()


def sign_in(client, name, password=PASSWORD):
    """An attempt."""
    return client.post("/api/session", json={"name": name, "password": password})


def post(client, key: str, **headers: str):
    """An inspection."""
    return client.post("/api/inspections", json=INSPECTION, headers={"Idempotency-Key": key, **headers})


def test_two_accounts_never_meet(server, visit):
    """The same key is two keys; lists, totals and photos are each one's own."""
    mara, jon = visit("mara"), visit("Jon Doe")
    files = [*form().items(), ("photos", ("a.jpg", b"xyz", "image/jpeg"))]
    photo = mara.post("/api/inspections", files=files, headers={"Idempotency-Key": "photo"}).json()["photos"][0]["url"]
    assert [post(client, "k").status_code for client in (mara, jon, jon)] == [201, 201, 201]
    assert mara.get("/api/inspections").json()["total"] == 2
    (own,) = jon.get("/api/inspections").json()["items"]
    assert own["idempotency_key"] == "k"
    assert mara.get(photo).content == b"xyz"
    problem(jon.get(photo), 404)
    results = jon.post(
        "/api/batch",
        json={"items": [{"key": "photo", "method": "POST", "path": "/api/inspections", "body": INSPECTION}]},
    ).json()["results"]
    assert results[0]["status"] == 201
    assert jon.get("/api/inspections").json()["total"] == 2


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
def test_a_photo_that_a_browser_has_kept_is_shown_to_its_account_alone(server, visit):
    """Whoever signs in on that device next: the server is asked each time, and sends it again to nobody who has it."""
    mara, jon, nobody = visit("mara"), visit("Jon Doe"), visit()
    files = [*form().items(), ("photos", ("a.jpg", b"xyz", "image/jpeg"))]
    photo = mara.post("/api/inspections", files=files, headers={"Idempotency-Key": "k"}).json()["photos"][0]["url"]
    first = mara.get(photo)
    assert first.headers["cache-control"] == "private, no-cache"
    kept = {"If-None-Match": first.headers["etag"]}
    again = mara.get(photo, headers=kept)
    assert (again.status_code, again.headers["cache-control"]) == (304, "private, no-cache")
    problem(jon.get(photo, headers=kept), 404)
    problem(nobody.get(photo, headers=kept), 401, "signed-out")


def test_who_is_not_signed_in_gets_no_further(server, visit):
    """401 of its own type on everything of the API but probe, session and clients' metrics; after sign-in the same key goes."""
    client = visit()
    for answer in (
        post(client, "k"),
        client.get("/api/inspections"),
        client.get("/api/inspections/1/photos/1"),
        client.post("/api/batch", json={"items": []}),
    ):
        problem(answer, 401, "signed-out")
        assert answer.headers["www-authenticate"] == "HoldfastSession"
    assert post(client, "k").headers["idempotency-key"] == "k"
    assert client.post("/submit", data={"site": "a"}).status_code == 401
    for path in ("/", "/api/flags", "/api/session", "/healthz"):
        assert client.get(path).status_code == 200
    sign_in(client, "mara")
    assert post(client, "k").status_code == 201
    assert client.post("/submit", data={**INSPECTION, "checklist": "[]"}).status_code == 303


def test_a_request_for_another_account_is_not_done(server, visit):
    """Sign-in changed between claim and send: 401 of its own type, nothing stored; once its account is back it goes."""
    client = visit("Jon Doe")
    problem(post(client, "k", **{"Holdfast-Account": "mara"}), 401, "other-account")
    assert client.get("/api/inspections").json()["total"] == 0
    sign_in(client, "mara")
    assert post(client, "k", **{"Holdfast-Account": "mara"}).status_code == 201


def test_a_session_begins_ends_and_is_told(server, visit):
    """A cookie for this origin that scripts cannot read; sign-out and a new password end it on the server as well."""
    client = visit()
    assert client.get("/api/session").json() == {"account": "", "sign_in": True}
    answer = sign_in(client, "mara")
    assert answer.json() == {"account": "mara", "sign_in": True}
    cookie = answer.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("holdfast_session=", "httponly", "samesite=strict", "path=/", "max-age="))
    assert "secure" not in cookie.replace("samesite", "")
    assert client.get("/api/session").json() == {"account": "mara", "sign_in": True}
    stolen = dict(client.cookies)
    assert client.delete("/api/session").status_code == 204
    assert client.get("/api/session").json()["account"] == ""
    assert httpx.get(f"{server.url}/api/session", cookies=stolen).json()["account"] == ""
    sign_in(client, "mara")
    holdfast("accounts", "add", "mara", *server.where, words="another password\n")
    assert client.get("/api/session").json()["account"] == ""
    problem(sign_in(client, "mara"), 401, "sign-in-refused")
    assert sign_in(client, "mara", "another password").status_code == 200
    assert holdfast("accounts", "remove", "mara", *server.where).returncode == 0
    assert client.get("/api/session").json()["account"] == ""
    assert holdfast("accounts", "list", *server.where).stdout == "Jon Doe\n"


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
def test_guessing_is_slowed_down(server, visit):
    """After ten failures a name is closed to that address for a while, right password or not; other names are not."""
    client = visit()
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda n: sign_in(client, "mara", f"guess {n}").status_code, range(14)))
    assert sorted(answers) == [401] * 10 + [429] * 4
    refused = sign_in(client, "mara")
    problem(refused, 429, "too-many-sign-ins")
    assert 0 < int(refused.headers["retry-after"]) <= 300
    assert sign_in(client, "Jon Doe").status_code == 200
    problem(sign_in(client, "nobody"), 401, "sign-in-refused")


@pytest.mark.parametrize("trusted", [True, False])
def test_who_comes_through_a_proxy_has_an_address_where_the_proxy_is_trusted(launch, monkeypatch, trusted):
    """Then one visitor's failures close the name to that visitor alone, and a cookie that came by https is Secure."""
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "127.0.0.0/8" if trusted else "192.0.2.1,198.51.100.0/24")
    server = launch("--sign-in")
    holdfast("accounts", "add", "mara", "--data", str(server.data), words=f"{PASSWORD}\n")

    def through_proxy(address: str, password: str) -> httpx.Response:
        headers = {"X-Forwarded-For": address, "X-Forwarded-Proto": "https"}
        with httpx.Client(base_url=server.url, timeout=30, headers=headers) as client:
            return sign_in(client, "mara", password)

    assert ("; secure" in through_proxy("203.0.113.1", PASSWORD).headers["set-cookie"].lower()) == trusted
    guesses = [through_proxy("203.0.113.1", "a guess").status_code for _ in range(11)]
    assert guesses == [401] * 10 + [429]
    assert through_proxy("203.0.113.2", PASSWORD).status_code == (200 if trusted else 429)


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
def test_a_sign_in_that_is_none_is_refused(server, visit):
    """Another site, another document, another type."""
    client = visit()
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    problem(
        client.post("/api/session", json={"name": "mara", "password": PASSWORD}, headers=elsewhere), 403, "other-site"
    )
    problem(client.delete("/api/session", headers=elsewhere), 403, "other-site")
    for document in ([], {}, {"name": "mara"}, {"name": 1, "password": 2}, {"name": " ", "password": "x" * 2_000}):
        problem(client.post("/api/session", json=document), 422, "invalid")
    problem(client.post("/api/session", data={"name": "mara"}), 415)
    assert PASSWORD not in server.log.read_text()


def test_without_sign_in_there_are_no_accounts(client):
    """Whoever reaches the server may use it, and the page can tell."""
    assert client.get("/api/session").json() == {"account": "", "sign_in": False}
    problem(client.post("/api/session", json={"name": "mara", "password": PASSWORD}), 404)


def test_an_account_needs_a_name_and_a_password_of_some_length(tmp_path):
    """Said in a sentence."""
    for name, words in (("mara", "short\n"), ("m\u00e4ra", f"{PASSWORD}\n"), (" mara", f"{PASSWORD}\n")):
        done = holdfast("accounts", "add", name, "--data", str(tmp_path), words=words)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
    assert holdfast("accounts", "remove", "mara", "--data", str(tmp_path)).returncode == 1
