"""A set sent to a running service: served under its name at once, or refused and nothing left behind."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from adavae.model.storage.adapter_store import AdapterStore
from tests.integration.served import served
from tests.tiny_home import tiny_settings
from tests.tiny_sets import names_under, publish

GZIP = {"content-type": "application/gzip"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[httpx2.Client]:
    with (
        served(home, ADAVAE_MAX_UPLOAD_BYTES=str(10**6)) as server,
        httpx2.Client(base_url=server.url(), timeout=30) as client,
    ):
        yield client


def test_a_set_that_was_fetched_is_sent_and_serves_by_another_name(client: httpx2.Client) -> None:
    archive = client.get("/adapters/prefixed/archive").content
    reply = client.post("/adapters?name=sent", content=archive, headers=GZIP)
    assert reply.status_code == 200, reply.text
    sent = reply.json()
    assert (sent["name"], sent["current"], sent["problem"], sent["bundled"]) == ("sent", True, None, False)
    texts = {"texts": ["the food was great ."]}
    theirs = client.post("/encode", json=texts | {"adapter": "prefixed"}).json()
    ours = client.post("/encode", json=texts | {"adapter": sent["id"]}).json()
    assert ours["data"] == theirs["data"]
    again = client.post("/adapters?name=sent", content=archive, headers=GZIP)
    assert (again.status_code, again.json()["id"]) == (200, sent["id"])
    assert client.delete(f"/adapters/{sent['id']}").status_code == 200


def test_what_cannot_be_served_is_refused_and_leaves_nothing(client: httpx2.Client, home: Path, tmp_path: Path) -> None:
    own = tiny_settings(home).own_adapters
    archive = client.get("/adapters/prefixed/archive").content
    publish(tmp_path / "foreign")
    foreign = AdapterStore(tmp_path / "foreign").archive("demo")
    tar = bytearray(gzip.decompress(archive))
    tar[len(tar) // 2] ^= 1
    before = names_under(own) if own.exists() else []
    for body, status, words in (
        (b"", 422, "the body is empty"),
        (b"no archive", 422, "the archive cannot be read"),
        (archive[: len(archive) // 2], 422, "the archive"),
        (gzip.compress(bytes(tar)), 422, "install the set again"),
        (foreign, 409, "another backbone"),
        (bytes(10**6 + 1), 413, "ADAVAE_MAX_UPLOAD_BYTES"),
    ):
        reply = client.post("/adapters", content=body, headers=GZIP)
        assert reply.status_code == status, reply.text
        error = reply.json()["error"]
        assert words in error["message"]
        assert str(home) not in error["message"]
    assert client.post("/adapters?name=a/b", content=archive, headers=GZIP).status_code == 422
    assert (names_under(own) if own.exists() else []) == before
