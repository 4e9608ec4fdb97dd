"""Which pages of other sites may use the service, and what their browsers are told."""

import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from adavae.service.http.cors import Origins
from adavae.service.main import create_app
from adavae.service.settings import SettingsError
from tests.unit.service.http_client import client_of
from tests.unit.service.stub_latent_service import StubLatentService, stub_settings

TOOL, OTHER, KEY = "https://tool.example", "https://other.example", "key-of-the-tests-1"
ASKED = {"access-control-request-method": "POST", "access-control-request-headers": "content-type, x-api-key"}
ENCODE = {"text": "a"}


def allowed(headers: object) -> dict[str, str]:
    return {name: value for name, value in dict(headers).items() if name.startswith("access-control-")}  # type: ignore[call-overload]


def test_nobody_is_allowed_anything_by_default() -> None:
    with client_of() as client:
        preflight = client.options("/encode", headers={"origin": TOOL, **ASKED})
        reply = client.get("/adapters", headers={"origin": TOOL})
    assert (preflight.status_code, allowed(preflight.headers)) == (405, {})
    assert (reply.status_code, allowed(reply.headers)) == (200, {})


def test_a_page_of_a_named_origin_may_send_and_read() -> None:
    with client_of(cors_origins=f"{TOOL} http://localhost:3000") as client:
        preflight = client.options("/encode", headers={"origin": TOOL, **ASKED})
        reply = client.post("/encode", json=ENCODE, headers={"origin": TOOL, "sec-fetch-site": "cross-site"})
    assert preflight.status_code == 204
    assert allowed(preflight.headers) == {
        "access-control-allow-origin": TOOL,
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET, HEAD, POST, DELETE",
        "access-control-allow-headers": "content-type, x-api-key",
        "access-control-expose-headers": "x-request-id, retry-after, x-should-retry, content-disposition",
        "access-control-max-age": "600",
    }
    assert reply.status_code == 200
    assert reply.headers["access-control-allow-origin"] == TOOL
    assert "origin" in reply.headers["vary"].lower()


def test_a_page_of_any_other_origin_is_told_nothing_and_changes_nothing() -> None:
    with client_of(cors_origins=TOOL) as client:
        for origin in (OTHER, "null", "http://tool.example", f"{TOOL}.evil.example", f"{TOOL}:444", TOOL.upper(), ""):
            preflight = client.options("/encode", headers={"origin": origin, **ASKED})
            reply = client.post("/encode", json=ENCODE, headers={"origin": origin})
            assert allowed(preflight.headers) == allowed(reply.headers) == {}
            assert preflight.status_code == 405
            assert (reply.status_code, reply.json()["error"]["code"]) == (403, "cross_site")
            assert "origin" in reply.headers["vary"].lower()


def test_any_origin_may_use_a_service_with_keys_and_never_with_credentials() -> None:
    with client_of(cors_origins="*", api_keys=KEY) as client:
        preflight = client.options("/encode", headers={"origin": OTHER, **ASKED})
        refused = client.post("/encode", json=ENCODE, headers={"origin": OTHER})
        reply = client.post("/encode", json=ENCODE, headers={"origin": OTHER, "x-api-key": KEY})
    assert (preflight.status_code, refused.status_code, reply.status_code) == (204, 401, 200)
    for each in (preflight, refused, reply):
        assert each.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in each.headers


def test_errors_nobody_expected_can_be_read_too() -> None:
    latent = StubLatentService()
    latent.versions = None  # type: ignore[assignment, method-assign]
    app = create_app(stub_settings(cors_origins=TOOL), latent)
    with capture_logs(), TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        reply = client.get("/version", headers={"origin": TOOL})
    assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (500, TOOL)


@pytest.mark.parametrize(
    "text",
    [
        "tool.example",
        f"{TOOL}/",
        f"{TOOL}/page",
        "https://*.example",
        f"{TOOL}:443",
        "http://x:80",
        "HTTPS://x",
        "null",
    ],
)
def test_what_is_no_origin_stops_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match="ADAVAE_CORS_ORIGINS has"):
        Origins(text, has_keys=True)


def test_any_origin_without_keys_stops_the_start() -> None:
    with pytest.raises(SettingsError, match="name the origins, or set ADAVAE_API_KEYS"):
        create_app(stub_settings(cors_origins="*"), StubLatentService())
