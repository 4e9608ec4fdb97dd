"""Embeddings and models in OpenAI's shapes: every form of input, every refusal, and what is listed."""

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from adavae.service.errors import Overloaded
from tests.unit.service.http_client import client_of
from tests.unit.service.stub_latent_service import StubLatentService, Z, _mu, default_states


@pytest.fixture
def latent() -> StubLatentService:
    return StubLatentService()


@pytest.fixture
def client(latent: StubLatentService) -> Iterator[TestClient]:
    with client_of(latent, max_embedding_texts=4) as client:
        yield client


def embed(client: TestClient, given: Any, status: int = 200, **fields: Any) -> Any:
    reply = client.post("/v1/embeddings", json={"model": "yelp", "input": given} | fields)
    assert reply.status_code == status, reply.text
    return reply.json()


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("the food", ["the food"]),
        (["the food", "a room"], ["the food", "a room"]),
        ([5, 6, 7], [[5, 6, 7]]),
        ([[5, 6], [7]], [[5, 6], [7]]),
    ],
)
def test_every_form_of_input_is_taken(client: TestClient, latent: StubLatentService, given: Any, inputs: Any) -> None:
    reply = embed(client, given)
    assert latent.asked[-1]["inputs"] == inputs
    assert [row["index"] for row in reply["data"]] == list(range(len(inputs)))
    assert {row["object"] for row in reply["data"]} == {"embedding"}
    assert reply["usage"]["prompt_tokens"] == reply["usage"]["total_tokens"] > 0


def test_a_reply_names_the_version_that_made_it(client: TestClient) -> None:
    assert embed(client, "the food")["model"] == "yelp@0123456789ab"


def test_base64_is_the_same_vector(client: TestClient) -> None:
    (row,) = embed(client, "the food")["data"]
    (packed,) = embed(client, "the food", encoding_format="base64")["data"]
    vector = np.frombuffer(base64.b64decode(packed["embedding"]), "<f4")
    np.testing.assert_allclose(vector, row["embedding"], rtol=1e-6)
    np.testing.assert_allclose(vector, _mu("the food") / np.linalg.norm(_mu("the food")), rtol=1e-5)


def test_fewer_dimensions_are_handed_on(client: TestClient) -> None:
    assert len(embed(client, "the food", dimensions=3)["data"][0]["embedding"]) == 3
    assert f"the set has {Z} dimensions" in embed(client, "a", 422, dimensions=Z + 1)["error"]["message"]


def test_user_is_taken(client: TestClient) -> None:
    embed(client, "the food", user="somebody")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": ["a", 1]}, "input"),
        ({"input": [1, "a"]}, "input"),
        ({"input": [[1], 2]}, "input"),
        ({"input": [True]}, "input"),
        ({"input": [1.5]}, "input"),
        ({"input": [-1]}, "input"),
        ({"input": [2**31]}, "input"),
        ({"input": {"text": "a"}}, "input"),
        ({"input": None}, "input"),
        ({"input": 5}, "input"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": 5000}, "dimensions"),
        ({"dimensions": "3"}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
        ({"user": "x" * 1001}, "user"),
        ({"inputs": ["a"]}, "inputs"),
    ],
)
def test_what_is_wrong_is_refused_by_name(client: TestClient, fields: dict[str, Any], param: str) -> None:
    reply = client.post("/v1/embeddings", json={"model": "yelp", "input": "a"} | fields)
    assert reply.status_code == 422, reply.text
    assert reply.json()["error"]["param"].startswith(param)


def test_a_missing_model_or_input_is_refused(client: TestClient) -> None:
    for body in ({"input": "a"}, {"model": "yelp"}):
        assert client.post("/v1/embeddings", json=body).status_code == 422


def test_more_texts_than_a_request_may_hold_are_refused(client: TestClient) -> None:
    error = embed(client, ["a"] * 5, 422)["error"]
    assert "input has 5 entries, the limit is 4 (ADAVAE_MAX_EMBEDDING_TEXTS)" in error["message"]


def test_a_set_that_is_not_there_is_404(client: TestClient) -> None:
    assert embed(client, "a", 404, model="text-embedding-3-small")["error"]["type"] == "not_found"


def test_overload_is_429(client: TestClient, latent: StubLatentService) -> None:
    latent.error = Overloaded("2 rows wait", retry_after_s=1)
    embed(client, "a", 429)


def test_models_are_the_sets_that_can_be_used(client: TestClient) -> None:
    reply = client.get("/v1/models").json()
    assert [model["id"] for model in reply["data"]] == ["own", "own@3333aaaa4444", "yelp", "yelp-lm"]
    assert {model["owned_by"] for model in reply["data"]} == {"adavae", "user"}
    assert reply["data"][0]["created"] == 1767323045


@pytest.mark.parametrize("name", ["yelp", "own@3333aaaa4444", "broken"])
def test_one_model_is_found_by_what_it_is_called(client: TestClient, name: str) -> None:
    assert client.get(f"/v1/models/{name}").json()["object"] == "model"


@pytest.mark.parametrize("created_at", [None, "zzzz", "", "0001-01-01", "9999-12-31T23:59:59+00:00"])
def test_a_bad_date_harms_nobody(created_at: str | None) -> None:
    states = [replace(state, created_at=created_at) for state in default_states()]
    with client_of(StubLatentService(states=states)) as client:
        assert all(model["created"] >= 0 for model in client.get("/v1/models").json()["data"])


def test_deleting_a_model_deletes_the_set(client: TestClient) -> None:
    assert client.delete("/v1/models/own").json() == {"object": "model", "id": "own", "deleted": True}
    assert client.get("/v1/models/own").status_code == client.delete("/v1/models/own").status_code == 404


def test_a_bundled_model_stays(client: TestClient) -> None:
    assert client.delete("/v1/models/yelp").status_code == 409
