"""Keys, scopes, host names, rate limits."""

from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from starlette.testclient import TestClient

from adavae.service.caller import SINCE
from adavae.service.http.access import is_loopback
from adavae.service.http.api_keys import load_api_keys
from adavae.service.http.secret_files import exposed_secrets
from adavae.service.main import create_app
from adavae.service.settings import SettingsError
from tests.unit.service.http_client import client_of
from tests.unit.service.stub_latent_service import StubLatentService, stub_settings
from tests.unit.service.stub_training_service import FILE, JOB, StubTrainingService

PLAIN, BOTH, ADMIN, TRAINER = (f"{name}-key-of-the-tests" for name in ("plain", "both", "admin", "trainer"))
KEYS = f"{PLAIN}; {BOTH}:infer,admin\n{ADMIN}:admin {TRAINER}:train"
SECRET = "s3cret-of-the-tests"
ENCODE = {"text": "a"}


OTHER_HOSTS = (
    *("evil.example", "localhost.evil.example:8000", "0.0.0.0:8000", "192.168.1.2", "[::2]", "", "[", "[]", "[]:80"),
    *("[::1].evil.example", "[::1]evil.example:80", "[::1", "::1", "[::1]:", "[::1]:80:80", "[::1]:evil", "x[::1]"),
    *("localhost:", "localhost:80.evil.example", "localhost:80@evil.example", "evil.example@localhost", "localhost:-1"),
    *(
        "localhost/evil.example",
        "localhost#.evil.example",
        "localhost\\.evil.example",
        "localhost ",
        "127.0.0.1\t.evil",
    ),
    *("localhost:123456", "[localhost]", "[127.0.0.1%1]", "localhost,evil.example", "127.0.0.1.nip.io", "127.1"),
)


def test_what_a_request_asks_for_knows_since_when(monkeypatch: pytest.MonkeyPatch) -> None:
    latent, seen = StubLatentService(), list[float | None]()
    encode = latent.encode

    async def noting(*args: Any, **kwargs: Any) -> Any:
        seen.append(SINCE.get())
        return await encode(*args, **kwargs)

    monkeypatch.setattr(latent, "encode", noting)
    began = monotonic()
    with client_of(latent) as client:
        for _ in range(2):
            assert client.post("/encode", json=ENCODE).status_code == 200
    first, second = seen
    assert first is not None and second is not None
    assert began < first < second < monotonic()
    assert SINCE.get() is None


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
    [bearer(PLAIN), {"authorization": f"bearer  {PLAIN} "}, {"x-api-key": PLAIN}, {"X-API-Key": f" {PLAIN} "}],
)
def test_a_key_is_taken_from_either_header(headers: dict[str, str]) -> None:
    with client_of(api_keys=KEYS) as client:
        assert client.post("/encode", json=ENCODE, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        bearer(PLAIN[:-1]),
        bearer(f"{PLAIN}n"),
        bearer(f"{PLAIN}:infer"),
        {"x-api-key": PLAIN.upper()},
        {"authorization": f"Basic {PLAIN}"},
    ],
)
def test_a_wrong_key_is_refused_and_not_shown(headers: dict[str, str]) -> None:
    with client_of(api_keys=KEYS) as client:
        reply = client.post("/encode", json=ENCODE, headers=headers)
        assert reply.status_code == 401
        assert "plai" not in reply.text


def test_a_key_does_what_its_scopes_allow() -> None:
    with client_of(api_keys=KEYS) as client:
        lacking = client.delete("/adapters/own", headers=bearer(PLAIN))
        assert lacking.status_code == 403
        error = lacking.json()["error"]
        assert (error["type"], error["code"]) == ("permission_error", "missing_scope")
        assert "scope admin" in error["message"]
        assert client.post("/encode", json=ENCODE, headers=bearer(ADMIN)).status_code == 403
        assert client.get("/adapters", headers=bearer(TRAINER)).status_code == 403
        assert client.get("/metrics", headers=bearer(TRAINER)).status_code == 200
        assert client.delete("/adapters/own@1111aaaa2222", headers=bearer(ADMIN)).status_code == 200
        assert client.delete("/adapters/own", headers=bearer(BOTH)).status_code == 200


def test_keys_come_from_the_file_too(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("# ours\na-key-from-a-file:infer,admin\nn\u00e4me:with:three:colons:infer\n", encoding="utf-8")
    with client_of(api_keys="key-given-inline", api_keys_file=path) as client:
        for key in ("key-given-inline", "a-key-from-a-file"):
            assert client.get("/adapters", headers=bearer(key)).status_code == 200
        named = {"x-api-key": "n\u00e4me:with:three:colons".encode()}
        assert client.get("/adapters", headers=named).status_code == 200
        assert client.get("/adapters", headers=bearer("ours")).status_code == 401


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{SECRET}:infer,root", r"key 1 of ADAVAE_API_KEYS has scopes that do not exist: .*infer, train, admin"),
        (f"{PLAIN} {SECRET}:", "key 2 of ADAVAE_API_KEYS has scopes"),
        (":infer", "key 1 of ADAVAE_API_KEYS is empty"),
        ("k", "key 1 of ADAVAE_API_KEYS has 1 characters, 1 of them different, the least is 16 and 6"),
        (f"{PLAIN} s3cret:train", "key 2 of ADAVAE_API_KEYS has 6 characters"),
        ("changeme1234567:admin", "has 15 characters"),
        ("0" * 64, "has 64 characters, 1 of them different"),
        ("abcab" * 8 + ":infer,admin", "40 characters, 3 of them different.* make one with `openssl rand -hex 32`"),
        (" ; ", "ADAVAE_API_KEYS holds no key"),
    ],
)
def test_keys_that_cannot_be_understood_stop_the_start_and_are_not_shown(text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told) as caught:
        load_api_keys(stub_settings(api_keys=text))
    assert SECRET not in str(caught.value)


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
        for host in OTHER_HOSTS:
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
    with client_of(rate_limit="1/minute; 100/hour", api_keys=f"{PLAIN} {BOTH}:infer") as client:
        for key in (PLAIN, BOTH):
            assert client.get("/adapters", headers=bearer(key)).status_code == 200
            assert client.get("/adapters", headers=bearer(key)).status_code == 429


def test_a_client_that_makes_up_whom_it_speaks_for_has_one_rate() -> None:
    with client_of(rate_limit="2/minute") as client:
        statuses = [
            client.post("/encode", json=ENCODE, headers={"x-forwarded-for": f"192.0.2.{number}"}).status_code
            for number in range(3)
        ]
        assert statuses == [200, 200, 429]


def test_clients_behind_a_trusted_proxy_have_their_own_rates() -> None:
    app = create_app(stub_settings(rate_limit="1/minute", trusted_proxies="10.0.0.0/8"), StubLatentService())
    with TestClient(app, base_url="http://localhost", client=("10.1.2.3", 5)) as client:
        for _ in range(2):
            statuses = [
                client.post("/encode", json=ENCODE, headers={"x-forwarded-for": f"1.1.1.1, 192.0.2.{number}"})
                for number in range(3)
            ]
        assert [reply.status_code for reply in statuses] == [429] * 3
    with TestClient(app, base_url="http://localhost", client=("192.0.2.77", 5)) as client:
        replies = [
            client.post("/encode", json=ENCODE, headers={"x-forwarded-for": f"192.0.2.{number}"}) for number in range(2)
        ]
        assert [reply.status_code for reply in replies] == [200, 429]


def test_wrong_keys_are_counted_by_address() -> None:
    with client_of(api_keys=KEYS, failed_key_limit="3/minute") as client:
        assert client.get("/adapters", headers=bearer(PLAIN)).status_code == 200
        wrong = [client.get("/adapters", headers=bearer(f"guess-{number}-of-the-tests")) for number in range(5)]
        assert [reply.status_code for reply in wrong] == [401, 401, 401, 429, 429]
        error = wrong[-1].json()["error"]
        assert error["code"] == "too_many_wrong_keys"
        assert "more wrong API keys than 3 per 60 s (ADAVAE_FAILED_KEY_LIMIT): try again in" in error["message"]
        assert 1 <= int(wrong[-1].headers["retry-after"]) <= 60
        assert client.get("/adapters").status_code == 401
        assert client.get("/healthz").status_code == 200


def test_a_right_key_is_let_in_whatever_others_from_its_address_sent() -> None:
    """Behind an ingress everybody has one address: thirty wrong keys a minute shut everybody out whose key had not been
    seen before.
    """
    with client_of(api_keys=KEYS, failed_key_limit="1/minute") as client:
        wrong = [client.get("/adapters", headers=bearer(f"guess-{number}-of-the-tests")) for number in range(3)]
        assert [reply.status_code for reply in wrong] == [401, 429, 429]
        assert [client.get("/adapters", headers=bearer(key)).status_code for key in (PLAIN, BOTH)] == [200, 200]
        assert client.get("/adapters", headers=bearer("guess-9-of-the-tests")).status_code == 429


@pytest.mark.parametrize("rule", ["lots", "5", "0/minute", "-1/minute", "5/fortnight"])
def test_a_bad_rate_stops_the_start(rule: str) -> None:
    with pytest.raises(SettingsError, match="ADAVAE_RATE_LIMIT is"):
        create_app(stub_settings(rate_limit=rule), StubLatentService())


def test_the_documentation_shows_how_to_send_a_key_where_there_are_keys() -> None:
    with_keys = create_app(stub_settings(api_keys=KEYS), StubLatentService()).openapi()
    without = create_app(stub_settings(), StubLatentService()).openapi()
    assert len(with_keys["components"]["securitySchemes"]) == 2
    assert with_keys["paths"]["/encode"]["post"]["security"]
    assert "securitySchemes" not in without["components"]


OTHER_SITES: list[dict[str, str]] = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site", "origin": "http://localhost:3000"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://localhost.evil.example"},
    {"origin": "http://localhost:81"},
    {"origin": "http://localhost", "sec-fetch-site": "cross-site"},
    {"origin": ""},
]
OWN_SITE: list[dict[str, str]] = [
    {},
    {"sec-fetch-site": "same-origin", "origin": "http://localhost"},
    {"sec-fetch-site": "none"},
    {"origin": "http://localhost"},
    {"origin": "http://LOCALHOST:80"},
]
CHANGES = [
    ("POST", f"/v1/fine_tuning/jobs/{JOB}/cancel"),
    ("POST", f"/v1/fine_tuning/jobs/{JOB}/pause"),
    ("POST", f"/v1/fine_tuning/jobs/{JOB}/resume"),
    ("POST", "/v1/files"),
    ("DELETE", f"/v1/files/{FILE}"),
    ("DELETE", "/adapters/own"),
    ("POST", "/encode"),
    ("PUT", "/nothing"),
]


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_a_page_of_another_site_changes_nothing(method: str, path: str) -> None:
    """A browser asks nobody before it sends a POST without a body: any page could cancel the jobs of its visitor."""
    with client_of(training=StubTrainingService()) as client:
        for headers in OTHER_SITES:
            reply = client.request(method, path, headers=headers)
            assert (reply.status_code, reply.json()["error"]["code"]) == (403, "cross_site"), headers
        for headers in OWN_SITE:
            assert client.request(method, path, headers=headers).status_code != 403, headers
        assert client.get("/adapters", headers=OTHER_SITES[0]).status_code == 200


def test_a_key_is_proof_enough_of_where_a_request_comes_from() -> None:
    with client_of(api_keys=KEYS) as client:
        headers = bearer(PLAIN) | {"origin": "https://tool.example", "sec-fetch-site": "cross-site"}
        assert client.post("/encode", json=ENCODE, headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_no_page_of_ours_is_shown_within_anothers(path: str) -> None:
    with client_of() as client:
        headers = client.get(path).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"


def test_a_key_file_that_others_can_write_to_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"{PLAIN}\n")
    path.chmod(0o646)
    with pytest.raises(SettingsError, match=r"mode 646, so that everybody on this machine can add a key: `chmod 640`"):
        load_api_keys(stub_settings(api_keys_file=path))


def test_secrets_that_others_can_read_are_reported(tmp_path: Path) -> None:
    keys, password = tmp_path / "keys", tmp_path / "password"
    for path in (keys, password):
        path.write_text(f"{PLAIN}\n")
        path.chmod(0o640)
    settings = stub_settings(api_keys_file=keys, redis_password_file=password)
    assert list(exposed_secrets(settings)) == []
    keys.chmod(0o644)
    password.chmod(0o444)
    told = list(exposed_secrets(settings))
    assert len(told) == 2
    assert f"ADAVAE_API_KEYS_FILE ({keys}) has mode 644" in told[0]
    assert f"ADAVAE_REDIS_PASSWORD_FILE ({password}) has mode 444" in told[1]
    assert list(exposed_secrets(stub_settings())) == []
