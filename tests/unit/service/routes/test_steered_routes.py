"""Labels, candidates, directions and lists of texts on the wire: what reaches the service, and what is refused."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from adavae.model.latent.direction import BetweenLabels, BetweenTexts, Dimension
from adavae.model.latent.steering import Draw, Steering
from tests.unit.service.http_client import client_of
from tests.unit.service.stub_latent_service import StubLatentService, Z


@pytest.fixture
def latent() -> StubLatentService:
    return StubLatentService()


@pytest.fixture
def client(latent: StubLatentService) -> Iterator[TestClient]:
    with client_of(latent, max_texts=4, max_samples=8, max_candidates=5, max_rows=20) as client:
        yield client


def test_what_steers_reaches_the_service(client: TestClient, latent: StubLatentService) -> None:
    options = {"refine": 0.5, "truncation": 0.25, "candidates": 3}
    bodies: dict[str, dict[str, Any]] = {
        "/decode": {"samples": 2},
        "/interpolate": {"source": "a", "target": "b"},
        "/analogy": {"a": "a", "b": ["b", "c"], "c": ["d", "e"]},
        "/traverse": {"text": "a", "direction": {"dimension": 1}},
    }
    for path, body in bodies.items():
        latent.asked.clear()
        assert client.post(path, json=body | options).status_code == 200
        assert latent.asked[0]["steering"] == Steering(refine=0.5, truncation=0.25, candidates=3)


def test_a_label_and_its_guidance_reach_the_service(client: TestClient, latent: StubLatentService) -> None:
    client.post("/decode", json={"samples": 2, "label": "positive", "guidance": 2})
    assert latent.asked[0]["draw"] == Draw(label="positive", guidance=2.0)


def test_every_c_has_its_answers(client: TestClient) -> None:
    body = {"a": "a", "b": "b", "c": ["d", "e"], "samples": 2, "include": ["z"]}
    rows = client.post("/analogy", json=body).json()["data"]
    assert [(row["index"], row["c"]) for row in rows] == [(0, 0), (1, 0), (2, 1), (3, 1)]
    assert all(len(row["z"]) == Z and row["typicality"] is None for row in rows)


def test_variations_name_the_text_they_are_of(client: TestClient, latent: StubLatentService) -> None:
    rows = client.post("/variations", json={"texts": ["a", "b"], "n": 3}).json()["data"]
    assert [row["source"] for row in rows] == [0, 0, 0, 1, 1, 1]
    assert [row["index"] for row in rows] == list(range(6))
    assert latent.asked[0]["params"] == ["texts[0]", "texts[1]"]


@pytest.mark.parametrize(
    ("given", "direction"),
    [
        ({"dimension": 3}, Dimension(3)),
        ({"from": "negative", "to": "positive"}, BetweenLabels("negative", "positive")),
        ({"from": ["a", "b"], "to": ["c"]}, BetweenTexts(("a", "b"), ("c",))),
    ],
)
def test_a_direction_is_one_of_three(
    given: dict[str, Any], direction: object, client: TestClient, latent: StubLatentService
) -> None:
    reply = client.post("/traverse", json={"text": "a", "direction": given, "range": [0, 1.5]})
    assert reply.status_code == 200, reply.text
    assert latent.asked[0]["direction"] == direction
    assert latent.asked[0]["between"] == (0.0, 1.5)
    assert [row["at"] for row in reply.json()["data"]] == [0.0, 1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("path", "body", "param", "said"),
    [
        ("/decode", {"z": [[0.0] * Z], "label": "x"}, "label", "no effect without samples"),
        ("/decode", {"samples": 1, "guidance": 2}, "guidance", "no effect without label"),
        ("/decode", {"samples": 1, "stream": True, "candidates": 2}, "candidates", "no effect with stream"),
        ("/decode", {"samples": 8, "candidates": 6}, "candidates", "limit is 5 (ADAVAE_MAX_CANDIDATES)"),
        ("/decode", {"samples": 8, "candidates": 3}, "candidates", "24 rows, the limit is 20 (ADAVAE_MAX_ROWS)"),
        ("/interpolate", {"source": "a", "target": "b", "refine": 1.5}, "refine", "less than or equal to 1"),
        ("/interpolate", {"source": "a", "target": "b", "truncation": -1}, "truncation", "greater than or equal to 0"),
        ("/interpolate", {"source": ["a"] * 5, "target": ["b"] * 5}, "source", "limit is 4 (ADAVAE_MAX_TEXTS)"),
        ("/interpolate", {"source": ["a"] * 4, "target": ["b"] * 4, "steps": 6}, None, "24 texts of 1 candidates"),
        ("/interpolate", {"source": ["a", "b"], "target": ["c"]}, "target", "has 1 entries and source 2: give one"),
        ("/interpolate", {"source": "ab", "target": ["c"]}, "target", "both as one text, or both as lists"),
        ("/interpolate", {"source": ["c"], "target": "c"}, "target", "both as one text, or both as lists"),
        ("/interpolate", {"source": [], "target": []}, "source", "at least 1"),
        ("/interpolate", {"source": ["a", ""], "target": ["c", "d"]}, "source[1]", "at least 1"),
        ("/analogy", {"a": ["x"] * 5, "b": "b", "c": "c"}, "a", "limit is 4 (ADAVAE_MAX_TEXTS)"),
        ("/analogy", {"a": "a", "b": "b", "c": []}, "c", "at least 1"),
        ("/analogy", {"a": "a", "b": ["b", ""], "c": "c"}, "b[1]", "at least 1"),
        ("/analogy", {"a": 3, "b": "b", "c": "c"}, "a", "valid string"),
        ("/variations", {"text": "a", "n": 9}, "n", "limit is 8"),
        ("/variations", {"texts": ["a"] * 4, "n": 3}, None, "12 texts of 2 tries are 24 rows, the limit is 20"),
        ("/variations", {"text": "a", "distance": 0}, "distance", "greater than 0"),
        ("/traverse", {"text": "a", "direction": {}}, "direction.from", "required"),
        ("/traverse", {"text": "a", "direction": {"from": "x"}}, "direction.to", "required"),
        ("/traverse", {"text": "a", "direction": {"from": "x", "to": ["y"]}}, "direction.to", "valid string"),
        ("/traverse", {"text": "a", "direction": {"dimension": -1}}, "direction.dimension", "greater than or equal"),
        ("/traverse", {"text": "a", "direction": {"dimension": 1, "form": "x"}}, "direction.form", "unknown field"),
        ("/traverse", {"text": "a", "direction": {"from": ["x"] * 5, "to": ["y"]}}, "direction.from", "limit is 4"),
        ("/traverse", {"text": "a", "direction": {"dimension": 1}, "range": [1, 1]}, "range", "below the second"),
    ],
)
def test_what_is_wrong_is_refused_before_the_work(
    path: str, body: dict[str, Any], param: str | None, said: str, client: TestClient, latent: StubLatentService
) -> None:
    reply = client.post(path, json=body)
    assert reply.status_code == 422, reply.text
    error = reply.json()["error"]
    assert error["param"] == param
    assert said in error["message"]
    assert not latent.asked


def test_more_rows_than_may_ever_be_queued_are_refused_for_good() -> None:
    """They were told to try again in a second, for ever."""
    with client_of(max_rows=20, max_queued_rows=10) as client:
        reply = client.post("/decode", json={"samples": 8, "candidates": 2})
    assert reply.status_code == 422, reply.text
    assert "16 rows, the limit is 10 (ADAVAE_MAX_QUEUED_ROWS)" in reply.json()["error"]["message"]
