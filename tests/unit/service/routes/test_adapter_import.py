"""POST /adapters: who may send what, and as what it is answered."""

from adavae.model.errors import AdapterSetMismatch, ConfigError
from adavae.service.errors import InvalidRequest
from tests.unit.service.http_client import client_of
from tests.unit.service.stub_latent_service import StubLatentService

READER, ALL = "reader-of-the-test-keys", "all-of-the-test-keys"
GZIP = {"content-type": "application/gzip"}


def test_the_body_goes_to_the_service_as_it_is_and_the_set_comes_back() -> None:
    latent = StubLatentService()
    with client_of(latent) as client:
        reply = client.post("/adapters?name=mine", content=b"archive", headers=GZIP)
        assert (reply.status_code, reply.json()["object"]) == (200, "adapter")
        assert latent.asked == [{"received": b"archive", "name": "mine"}]
        assert client.post("/adapters", content=b"archive", headers=GZIP).status_code == 200
        assert latent.asked[-1]["name"] is None


def test_only_admins_may() -> None:
    with client_of(api_keys=f"{READER}:infer,train {ALL}:infer,admin") as client:
        assert client.post("/adapters", content=b"x", headers=GZIP).status_code == 401
        assert client.post("/adapters", content=b"x", headers=GZIP | {"x-api-key": READER}).status_code == 403
        assert client.post("/adapters", content=b"x", headers=GZIP | {"x-api-key": ALL}).status_code == 200


def test_what_is_no_archive_or_asks_for_something_unknown_is_refused_unread() -> None:
    latent = StubLatentService()
    with client_of(latent) as client:
        reply = client.post("/adapters", json={"name": "x"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (415, "not_an_archive")
        assert client.post("/adapters?nmae=x", content=b"x", headers=GZIP).status_code == 422
        assert client.post("/adapters?name=", content=b"x", headers=GZIP).status_code == 422
    assert latent.asked == []


def test_a_declared_length_beyond_the_limit_is_refused_unread() -> None:
    latent = StubLatentService()
    with client_of(latent, max_upload_bytes=1024) as client:
        reply = client.post("/adapters", content=bytes(1024 + 65 * 1024), headers=GZIP)
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")
        assert "ADAVAE_MAX_UPLOAD_BYTES" in reply.json()["error"]["message"]
    assert latent.asked == []


def test_a_set_that_may_not_be_installed_is_the_clients_mistake() -> None:
    for error, status in (
        (AdapterSetMismatch("x@1 was trained over another backbone"), 409),
        (ConfigError("name", "..", "must be a name"), 422),
        (InvalidRequest("the archive is damaged", param="body"), 422),
    ):
        with client_of(StubLatentService(error=error)) as client:
            reply = client.post("/adapters", content=b"x", headers=GZIP)
            assert (reply.status_code, reply.json()["error"]["message"]) == (status, str(error))
