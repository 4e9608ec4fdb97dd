"""Maps on the wire; what is out of bounds is refused with the limit."""

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.unit.service.http_client import client_of
from tests.unit.service.stub_latent_service import StubLatentService, Z, _mu

TEXTS = ["the food was great", "the food was bad", "never again", "never again"]


@pytest.fixture
def latent() -> StubLatentService:
    return StubLatentService()


@pytest.fixture
def client(latent: StubLatentService) -> Iterator[TestClient]:
    with client_of(latent, max_map_texts=10) as client:
        yield client


def refusal(client: TestClient, **body: Any) -> dict[str, Any]:
    reply = client.post("/map", json=body)
    assert reply.status_code == 422, reply.text
    error: dict[str, Any] = reply.json()["error"]
    return error


def test_a_map_has_points_neighbours_and_the_way_back(client: TestClient) -> None:
    reply = client.post("/map", json={"texts": TEXTS, "labels": ["good", "bad", "bad", "bad"]}).json()
    assert (reply["method"], reply["latent_size"]) == ("pca", Z)
    assert [row["label"] for row in reply["data"]] == ["good", "bad", "bad", "bad"]
    assert (reply["data"][3]["nearest"], reply["data"][3]["distance"]) == (2, 0.0)
    points = np.array([[row["x"], row["y"]] for row in reply["data"]])
    mu = np.stack([_mu(text) for text in TEXTS])
    np.testing.assert_allclose((mu - np.array(reply["mean"])) @ np.array(reply["basis"]).T, points, atol=1e-4)
    assert reply["usage"]["texts"] == 4


def test_without_labels_none_are_shown_and_tsne_has_no_way_back(client: TestClient) -> None:
    reply = client.post("/map", json={"texts": TEXTS, "method": "tsne"}).json()
    assert "label" not in reply["data"][0]
    assert reply["mean"] is reply["basis"] is reply["explained"] is reply["separation"] is None


def test_the_way_back_may_be_base64(client: TestClient) -> None:
    numbers = client.post("/map", json={"texts": TEXTS}).json()
    packed = client.post("/map", json={"texts": TEXTS, "encoding_format": "base64"}).json()
    for row, other in zip([numbers["mean"], *numbers["basis"]], [packed["mean"], *packed["basis"]], strict=True):
        np.testing.assert_array_equal(np.array(row, "<f4"), np.frombuffer(base64.b64decode(other), "<f4"))
    error = refusal(client, texts=TEXTS, method="tsne", encoding_format="base64")
    assert error["param"] == "encoding_format"
    assert "no effect with method tsne" in error["message"]


def test_what_is_out_of_bounds_is_refused_with_the_limit(client: TestClient) -> None:
    assert "the limit is 10 (ADAVAE_MAX_MAP_TEXTS)" in refusal(client, texts=TEXTS * 3)["message"]
    assert refusal(client, texts=TEXTS[:2])["param"] == "texts"
    assert "3 entries for 4 texts" in refusal(client, texts=TEXTS, labels=["a", "b", "c"])["message"]
    assert refusal(client, texts=TEXTS, method="umap")["param"] == "method"
    assert refusal(client, texts=["a", "b", ""])["param"] == "texts[2]"
