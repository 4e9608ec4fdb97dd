"""Keys, scopes, host names, rate limits."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from adavae.service.http.access import is_loopback
from adavae.service.http.api_keys import load_api_keys
from adavae.service.main import create_app
from adavae.service.settings import SettingsError
from tests.unit.service.http_client import client_of
from tests.unit.service.stub_latent_service import StubLatentService, stub_settings

KEYS = "plain; both:infer,admin\nadmin:admin trainer:train"
ENCODE = {"text": "a"}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_without_a_key_only_the_open_routes_answer() -> None:
    with client_of(api_keys=KEYS) as client:
        for path in ("/healthz", "/readyz", "/version", "/docs", "/openapi.json"):
            assert client.get(path).status_code == 200
        for reply in (
            client.post("/encode", json=ENCODE),
            client.get("/adapters"),
            client.get("/metrics"),
            client.get("/nothing"),
            client.post("/encode", content=b"{"),
        ):
            assert reply.status_code == 401
            assert reply.json()["error"]["type"] == "authentication_error"
            assert reply.headers["www-authenticate"] == "Bearer"
            assert reply.headers["x-request-id"]


@pytest.mark.parametrize(
    "headers",
    [bearer("plain"), {"authorization": "bearer  plain "}, {"x-api-key": "plain"}, {"X-API-Key": " plain "}],
)
def test_a_key_is_taken_from_either_header(headers: dict[str, str]) -> None:
    with client_of(api_keys=KEYS) as client:
        assert client.post("/encode", json=ENCODE, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [bearer("plai"), bearer("plainn"), bearer("plain:infer"), {"x-api-key": "PLAIN"}, {"authorization": "Basic plain"}],
)
def test_a_wrong_key_is_refused_and_not_shown(headers: dict[str, str]) -> None:
    with client_of(api_keys=KEYS) as client:
        reply = client.post("/encode", json=ENCODE, headers=headers)
        assert reply.status_code == 401
        assert "plai" not in reply.text


def test_a_key_does_what_its_scopes_allow() -> None:
    with client_of(api_keys=KEYS) as client:
        lacking = client.delete("/adapters/own", headers=bearer("plain"))
        assert lacking.status_code == 403
        error = lacking.json()["error"]
        assert (error["type"], error["code"]) == ("permission_error", "missing_scope")
        assert "scope admin" in error["message"]
        assert client.post("/encode", json=ENCODE, headers=bearer("admin")).status_code == 403
        assert client.get("/adapters", headers=bearer("trainer")).status_code == 403
        assert client.get("/metrics", headers=bearer("trainer")).status_code == 200
        assert client.delete("/adapters/own@1111aaaa2222", headers=bearer("admin")).status_code == 200
        assert client.delete("/adapters/own", headers=bearer("both")).status_code == 200


def test_keys_come_from_the_file_too(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("# ours\nfrom-file:infer,admin\nn\u00e4me:with:colons:infer\n", encoding="utf-8")
    with client_of(api_keys="inline", api_keys_file=path) as client:
        for key in ("inline", "from-file"):
            assert client.get("/adapters", headers=bearer(key)).status_code == 200
        named = {"x-api-key": "n\u00e4me:with:colons".encode()}
        assert client.get("/adapters", headers=named).status_code == 200
        assert client.get("/adapters", headers=bearer("ours")).status_code == 401


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("s3cret:infer,root", r"key 1 of ADAVAE_API_KEYS has scopes that do not exist: .*infer, train, admin"),
        ("good s3cret:", "key 2 of ADAVAE_API_KEYS has scopes"),
        (":infer", "key 1 of ADAVAE_API_KEYS is empty"),
        (" ; ", "ADAVAE_API_KEYS holds no key"),
    ],
)
def test_keys_that_cannot_be_understood_stop_the_start_and_are_not_shown(text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told) as caught:
        load_api_keys(stub_settings(api_keys=text))
    assert "s3cret" not in str(caught.value)


def test_a_key_file_that_is_missing_or_empty_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_api_keys(stub_settings(api_keys_file=tmp_path / "none"))
    (tmp_path / "empty").write_text("# nothing\n")
    with pytest.raises(SettingsError, match="holds no key"):
        load_api_keys(stub_settings(api_keys_file=tmp_path / "empty"))


def test_without_keys_only_this_machine_is_answered() -> None:
    """DNS rebinding: a page's own name points to 127.0.0.1, and the browser lets it talk to this server."""
    app = create_app(stub_settings(), StubLatentService())
    with TestClient(app, base_url="http://localhost") as client:
        for host in ("localhost:8000", "127.0.0.1", "127.0.0.2:1", "[::1]:8000", "LOCALHOST"):
            assert client.get("/healthz", headers={"host": host}).status_code == 200
        for host in ("evil.example", "localhost.evil.example:8000", "0.0.0.0:8000", "192.168.1.2", "[::2]", "", "["):
            reply = client.get("/healthz", headers={"host": host})
            assert reply.status_code == 403
            assert reply.json()["error"]["code"] == "host_not_allowed"


def test_with_keys_every_host_name_is_answered() -> None:
    with client_of(api_keys=KEYS) as client:
        assert client.get("/healthz", headers={"host": "adavae.example"}).status_code == 200


def test_loopback_is_recognised() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.8.9.1", "::1", "LocalHost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "localhost.x", "", "127.0.0.1.nip.io")))


def test_a_client_over_its_rate_is_told_when_to_come_back() -> None:
    with client_of(rate_limit="2/minute") as client:
        statuses = [client.post("/encode", json=ENCODE).status_code for _ in range(2)]
        reply = client.post("/encode", json=ENCODE)
        assert (statuses, reply.status_code) == ([200, 200], 429)
        assert reply.json()["error"]["code"] == "rate_limited"
        assert 1 <= int(reply.headers["retry-after"]) <= 60
        assert client.get("/healthz").status_code == 200


def test_each_key_has_its_own_rate() -> None:
    with client_of(rate_limit="1/minute; 100/hour", api_keys="one two") as client:
        for key in ("one", "two"):
            assert client.get("/adapters", headers=bearer(key)).status_code == 200
            assert client.get("/adapters", headers=bearer(key)).status_code == 429


@pytest.mark.parametrize("rule", ["lots", "5", "0/minute", "-1/minute", "5/fortnight"])
def test_a_rate_that_is_none_stops_the_start(rule: str) -> None:
    with pytest.raises(SettingsError, match="ADAVAE_RATE_LIMIT is"):
        create_app(stub_settings(rate_limit=rule), StubLatentService())


def test_the_documentation_shows_how_to_send_a_key_where_there_are_keys() -> None:
    with_keys = create_app(stub_settings(api_keys=KEYS), StubLatentService()).openapi()
    without = create_app(stub_settings(), StubLatentService()).openapi()
    assert len(with_keys["components"]["securitySchemes"]) == 2
    assert with_keys["paths"]["/encode"]["post"]["security"]
    assert "securitySchemes" not in without["components"]
