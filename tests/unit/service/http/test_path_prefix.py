"""Behind a proxy that serves everything under a path."""

import pytest
from starlette.testclient import TestClient

from adavae.service.http.path_prefix import checked_prefix
from adavae.service.main import create_app
from adavae.service.settings import SettingsError
from tests.unit.service.http_client import client_of
from tests.unit.service.stub_latent_service import StubLatentService, stub_settings

PROXY = "10.0.0.7"


def behind_proxy(peer: str = PROXY, **fields: str) -> TestClient:
    app = create_app(stub_settings(trusted_proxies=PROXY, **fields), StubLatentService())
    return TestClient(app, base_url="http://localhost", client=(peer, 5))


@pytest.mark.parametrize("before", ["/texts/deep", ""])
def test_a_proxy_may_cut_the_configured_prefix_off_or_leave_it(before: str) -> None:
    with client_of(root_path="/texts/deep/") as client:
        assert client.post(f"{before}/encode", json={"text": "a"}).status_code == 200
        assert client.get(f"{before}/page/app.js").status_code == 200
        assert client.get(f"{before}/openapi.json").json()["servers"] == [{"url": "/texts/deep"}]
        assert client.get(f"{before}/nothing").status_code == 404


def test_what_has_rules_of_its_own_has_them_under_a_prefix_too() -> None:
    """Open paths, the limit of uploads and the log's routes go by the path without the prefix."""
    with client_of(root_path="/texts", api_keys="key-of-the-tests-1", max_body_bytes=1024) as client:
        assert client.get("/texts/healthz").status_code == 200
        assert client.get("/texts/page/app.js").status_code == 200
        assert client.get("/texts/adapters").status_code == 401
        key = {"x-api-key": "key-of-the-tests-1"}
        assert client.post("/texts/encode", content=b" " * 2048, headers=key).status_code == 413
        assert client.post("/texts/v1/files", content=b" " * 2048, headers=key).status_code != 413
        metrics = client.get("/texts/metrics", headers=key).text
    assert 'route="/healthz"' in metrics
    assert 'route="/texts' not in metrics


def test_a_trusted_proxy_tells_which_prefix_it_cut_off() -> None:
    with behind_proxy() as client:
        document = client.get("/openapi.json", headers={"x-forwarded-prefix": "/a/b"}).json()
        assert document["servers"] == [{"url": "/a/b"}]
        assert client.post("/encode", json={"text": "a"}, headers={"x-forwarded-prefix": "/encode"}).status_code == 200
        assert "servers" not in client.get("/openapi.json").json()


@pytest.mark.parametrize(
    "told", ["//evil.example", "https://evil.example", "/a/../b", "/..", "a", "/a b", "/a, /b", "/"]
)
def test_a_prefix_that_is_no_path_is_passed_over(told: str) -> None:
    with behind_proxy() as client:
        assert "servers" not in client.get("/openapi.json", headers={"x-forwarded-prefix": told}).json()


def test_nobody_else_is_believed() -> None:
    with behind_proxy("192.0.2.1") as client:
        assert "servers" not in client.get("/openapi.json", headers={"x-forwarded-prefix": "/a"}).json()


def test_the_prefix_without_its_slash_leads_to_the_page() -> None:
    """The page's own links are relative: without the slash they would lead out of the prefix."""
    with client_of(root_path="/texts") as client:
        moved = client.get("/texts", follow_redirects=False)
        assert (moved.status_code, moved.headers["location"]) == (308, "/texts/")
        assert client.get("/texts/").headers["content-type"].startswith("text/html")


def test_pages_name_nothing_by_an_absolute_path() -> None:
    with client_of() as client:
        for path in ("/", "/docs"):
            text = client.get(path).text
            assert 'href="/' not in text
            assert 'src="/' not in text
            assert "url: '/" not in text


@pytest.mark.parametrize("text", ["texts", "//evil.example", "/a/../b", "/a b", "https://x/a", "/" + "a" * 300])
def test_a_prefix_that_is_no_path_stops_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match="ADAVAE_ROOT_PATH is"):
        checked_prefix(text)
