"""GET and DELETE of one adapter set, as /adapters and as /v1/models have it."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from tests.unit.service.http_client import client_of
from tests.unit.service.stub_latent_service import StubLatentService, state


@pytest.fixture
def latent() -> StubLatentService:
    return StubLatentService(unlisted=state("new"))


@pytest.fixture
def client(latent: StubLatentService) -> Iterator[TestClient]:
    with client_of(latent) as client:
        yield client


@pytest.mark.parametrize("name", ["new", "new@0123456789ab"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("path", ["/adapters", "/v1/models"])
def test_a_set_is_found_by_its_name_before_the_next_look(
    client: TestClient, latent: StubLatentService, path: str, method: str, name: str
) -> None:
    """A set that a job had just made was 404 until the next look at the disk, though requests that used it found it."""
    assert client.request(method, f"{path}/{name}").status_code == 200
    assert ("new" in {each.name for each in latent.states}) == (method == "GET")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(("path", "code"), [("/adapters", "adapter_not_found"), ("/v1/models", "model_not_found")])
def test_what_is_not_there_after_another_look_is_not_found(
    client: TestClient, path: str, method: str, code: str
) -> None:
    reply = client.request(method, f"{path}/newer")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, code)


def test_a_name_means_the_version_that_serves() -> None:
    states = [state("own", "1111", is_current=False, problem="damaged"), state("own", "2222")]
    with client_of(StubLatentService(states=states)) as client:
        assert client.get("/adapters/own").json()["version"] == "2222"
        assert client.get("/v1/models/own").json()["id"] == "own"
        assert client.get("/adapters/own@1111").json()["problem"] == "damaged"
