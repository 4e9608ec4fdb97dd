"""GET /docs, /openapi.json and the files behind them: sent from memory, as each client can read them."""

import gzip
import json
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from adavae.service.main import create_app
from adavae.service.routes import static
from tests.unit.service.http_client import client_of
from tests.unit.service.stub_latent_service import StubLatentService, stub_settings

BUNDLE = "/static/swagger-ui-bundle.js"


@pytest.fixture
def client() -> Iterator[TestClient]:
    with client_of() as client:
        yield client


def test_a_file_is_unpacked_once_however_often_it_is_asked_for(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request of a client without gzip unpacked 1.7 MB on the event loop, and nobody had to have a key for it."""
    unpacked: list[int] = []

    def decompress(content: bytes) -> bytes:
        unpacked.append(len(content))
        return gzip.decompress(content)

    monkeypatch.setattr(static, "decompress", decompress)
    static.load.cache_clear()
    replies = [client.get(BUNDLE, headers={"accept-encoding": "identity"}) for _ in range(3)]
    assert len(unpacked) == 1
    assert {len(reply.content) for reply in replies} == {len(replies[0].content)}
    assert "content-encoding" not in replies[0].headers


@pytest.mark.parametrize("name", ["swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"])
def test_every_file_is_the_same_packed_or_not(client: TestClient, name: str) -> None:
    plain = client.get(f"/static/{name}", headers={"accept-encoding": "identity"})
    packed = client.get(f"/static/{name}", headers={"accept-encoding": "gzip"})
    assert plain.status_code == packed.status_code == 200
    assert plain.content == packed.content
    assert packed.headers.get("content-encoding") == (None if name.endswith(".png") else "gzip")


def test_the_description_is_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was put into JSON anew for everybody who asked, without a key."""
    asked: list[FastAPI] = []
    described = FastAPI.openapi

    def openapi(app: FastAPI) -> dict[str, object]:
        asked.append(app)
        return described(app)

    monkeypatch.setattr(FastAPI, "openapi", openapi)
    app = create_app(stub_settings(root_path="/texts"), StubLatentService())
    with TestClient(app, base_url="http://localhost") as client:
        replies = [client.get(path) for path in ("/openapi.json", "/texts/openapi.json", "/openapi.json")]
    assert len(asked) == 1
    assert [reply.headers["content-type"] for reply in replies] == ["application/json"] * 3
    assert [reply.json() for reply in replies] == [{"servers": [{"url": "/texts"}], **described(app)}] * 3


def test_the_description_without_a_prefix_is_the_applications_own(client: TestClient) -> None:
    app = client.app
    assert isinstance(app, FastAPI)
    assert client.get("/openapi.json").json() == json.loads(json.dumps(app.openapi()))
    assert client.post("/openapi.json").status_code == 405
