"""What each route answers to a good request."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from adavae.model.decoding.decoding import Decoding
from adavae.model.latent.steering import Steering
from adavae.model.storage.adapter_store import AdapterStore
from adavae.service.main import create_app
from adavae.service.schemas.decode import DecodeBody
from adavae.service.settings import Settings
from tests.unit.service.http_client import client_of
from tests.unit.service.stub_latent_service import StubLatentService, Z, _mu, state, stub_settings
from tests.unit.service.stub_training_service import StubTrainingService

YELP = {"name": "yelp", "version": "0123456789ab"}


@pytest.fixture
def latent() -> StubLatentService:
    return StubLatentService()


@pytest.fixture
def client(latent: StubLatentService) -> Iterator[TestClient]:
    with client_of(latent, StubTrainingService()) as client:
        yield client


def posted(client: TestClient, path: str, body: dict[str, Any]) -> Any:
    reply = client.post(path, json=body)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/json"
    return reply.json()


def test_encode_gives_mu_of_each_text_exactly(client: TestClient) -> None:
    reply = posted(client, "/encode", {"texts": ["the food was great", "bad"]})
    assert (reply["object"], reply["latent_size"], reply["adapter"]) == ("list", Z, YELP)
    assert reply["usage"] == {"texts": 2, "tokens": 5, "cached": 0}
    first = reply["data"][0]
    assert {name: first[name] for name in ("index", "tokens", "truncated", "cached")} == {
        "index": 0,
        "tokens": 4,
        "truncated": False,
        "cached": False,
    }
    assert "logvar" not in first
    np.testing.assert_array_equal(np.array(first["mu"], np.float32), _mu("the food was great"))


@pytest.mark.parametrize("path", ["/encode", "/classify"])
def test_a_pair_is_read_as_one_text(client: TestClient, path: str) -> None:
    joined = posted(client, path, {"text": "it rains . \u241e it is wet ."})
    assert posted(client, path, {"text": "it rains .", "text_pair": "it is wet ."}) == joined
    both = {"texts": ["it rains .", "bad"], "text_pairs": ["it is wet .", "good"]}
    assert posted(client, path, both)["data"][0] == joined["data"][0]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"text": "a \u241e b", "text_pair": "c"}, "text"),
        ({"text": "a", "text_pair": "b \u241e c"}, "text_pair"),
        ({"texts": ["a", "b \u241e c"], "text_pairs": ["d", "e"]}, "texts[1]"),
        ({"texts": ["a", "b"], "text_pairs": ["c", "d \u241e e"]}, "text_pairs[1]"),
    ],
)
def test_a_pair_that_holds_what_stands_between_pairs_is_told_by_its_place(
    client: TestClient, body: dict[str, Any], param: str
) -> None:
    reply = client.post("/encode", json=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (422, param)


def test_one_text_is_a_list_of_one(client: TestClient) -> None:
    alone, listed = posted(client, "/encode", {"text": "bad"}), posted(client, "/encode", {"texts": ["bad"]})
    assert alone == listed


def test_base64_is_little_endian_float32(client: TestClient) -> None:
    body = {"text": "bad", "encoding_format": "base64", "include": ["logvar"]}
    row = posted(client, "/encode", body)["data"][0]
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(row["mu"]), "<f4"), _mu("bad"))
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(row["logvar"]), "<f4"), -_mu("bad"))


def test_normalized_vectors_have_length_one(client: TestClient) -> None:
    mu = np.array(posted(client, "/encode", {"text": "bad", "normalize": True})["data"][0]["mu"])
    np.testing.assert_allclose(np.linalg.norm(mu), 1.0, atol=1e-6)
    np.testing.assert_allclose(mu * np.linalg.norm(_mu("bad")), _mu("bad"), rtol=1e-5)


def test_texts_may_hold_any_character(client: TestClient) -> None:
    texts = ["a\x00b", "\U0001f600 \u202e", "<|endoftext|>", " ", "\ufffd\r\n"]
    assert posted(client, "/encode", {"texts": texts})["usage"]["texts"] == len(texts)


def test_decode_gives_a_text_for_each_z(client: TestClient, latent: StubLatentService) -> None:
    body = {"z": [[0.5] * Z, [1] * Z], "adapter": "own@3333aaaa4444", "decoding": {"seed": 7, "max_tokens": 5}}
    reply = posted(client, "/decode", body)
    assert reply["adapter"] == {"name": "own", "version": "3333aaaa4444"}
    assert reply["data"] == [
        {"index": 0, "text": "text of 7", "tokens": 3, "finish_reason": "stop"},
        {"index": 1, "text": "text of 8", "tokens": 3, "finish_reason": "stop"},
    ]
    assert reply["usage"] == {"texts": 2, "tokens": 6}
    assert [each.max_tokens for each in latent.asked[-1]["decodings"]] == [5, 5]


def test_z_is_taken_as_base64_and_shown_so(client: TestClient) -> None:
    rows = np.linspace(-3, 3, 2 * Z, dtype="<f4").reshape(2, Z)
    z: list[Any] = [base64.b64encode(rows[0].tobytes()).decode(), rows[1].tolist()]
    numbers = posted(client, "/decode", {"z": z, "include": ["z"]})["data"]
    np.testing.assert_array_equal(np.array([row["z"] for row in numbers], np.float32), rows)
    body = {"z": z, "include": ["z"], "encoding_format": "base64"}
    packed = posted(client, "/decode", body)["data"]
    assert [base64.b64decode(row["z"]) for row in packed] == [row.tobytes() for row in rows]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/decode", {"samples": 2}),
        ("/interpolate", {"source": "good", "target": "bad"}),
        ("/analogy", {"a": "x", "b": "y", "c": ["z", "w"]}),
        ("/variations", {"text": "bad", "n": 3}),
        ("/traverse", {"text": "bad", "direction": {"dimension": 1}}),
    ],
)
def test_every_z_that_is_shown_may_be_base64(client: TestClient, path: str, body: dict[str, Any]) -> None:
    numbers = posted(client, path, body | {"include": ["z"]})["data"]
    packed = posted(client, path, body | {"include": ["z"], "encoding_format": "base64"})["data"]
    assert len(numbers) > 1
    for row, other in zip(numbers, packed, strict=True):
        np.testing.assert_array_equal(np.array(row["z"], "<f4"), np.frombuffer(base64.b64decode(other["z"]), "<f4"))
    reply = client.post(path, json=body | {"encoding_format": "base64"})
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (422, "encoding_format")
    assert 'no effect without z: set include to ["z"]' in error["message"]
    assert posted(client, path, body | {"encoding_format": "float"})["data"] == posted(client, path, body)["data"]


def test_seeds_that_count_up_stay_in_their_range(client: TestClient, latent: StubLatentService) -> None:
    posted(client, "/decode", {"z": [[0.0] * Z] * 2, "decoding": {"seed": 2**63 - 1}})
    assert [each.seed for each in latent.asked[-1]["decodings"]] == [2**63 - 1, 0]


@pytest.mark.parametrize("decoding", [{"temperature": 0}, {"temperature": 0.0, "strategy": "sample", "top_p": 0.5}])
def test_temperature_zero_is_greedy(client: TestClient, latent: StubLatentService, decoding: dict[str, Any]) -> None:
    posted(client, "/decode", {"z": [[0.0] * Z], "decoding": decoding})
    assert latent.asked[-1]["decodings"] == [Decoding()]


def test_decode_draws_from_the_prior(client: TestClient) -> None:
    assert len(posted(client, "/decode", {"samples": 3})["data"]) == 3


def test_the_default_length_keeps_to_a_smaller_limit() -> None:
    latent = StubLatentService()
    with client_of(latent, max_tokens=10) as client:
        posted(client, "/decode", {"samples": 1})
    assert latent.asked[-1]["decodings"][0].max_tokens == 10


def test_interpolate_goes_evenly_from_zero_to_one(client: TestClient, latent: StubLatentService) -> None:
    body = {"source": "good", "target": "bad", "steps": 5, "method": "spherical"}
    data = posted(client, "/interpolate", body)["data"]
    assert [row["tau"] for row in data] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert "z" not in data[0]
    assert latent.asked[0]["method"] == "spherical"
    with_z = posted(client, "/interpolate", body | {"include": ["z"]})["data"]
    np.testing.assert_array_equal(np.array(with_z[0]["z"], np.float32), _mu("good"))


def test_many_pairs_are_walked_in_one_request(client: TestClient, latent: StubLatentService) -> None:
    body = {"source": ["good", "fine"], "target": ["bad", "never"], "steps": 3, "include": ["z"]}
    data = posted(client, "/interpolate", body)["data"]
    assert [(row["index"], row["pair"], row["tau"]) for row in data] == [
        (index, index // 3, index % 3 / 2) for index in range(6)
    ]
    assert latent.asked[0]["texts"] == (["good", "fine"], ["bad", "never"])
    np.testing.assert_array_equal(np.array(data[3]["z"], np.float32), _mu("fine"))
    alone = posted(client, "/interpolate", {"source": ["good"], "target": ["bad"]})["data"]
    assert alone == posted(client, "/interpolate", {"source": "good", "target": "bad"})["data"]
    assert [row["pair"] for row in alone] == [0] * 5


def test_analogy_hands_on_texts_and_scale(client: TestClient, latent: StubLatentService) -> None:
    body = {"a": "x", "b": "y", "c": "z", "scale": 2, "samples": 2, "include": ["z"]}
    data = posted(client, "/analogy", body)["data"]
    assert latent.asked[0] == {"texts": ("x", "y", "z"), "scale": 2.0, "steering": Steering()}
    assert [len(row["z"]) for row in data] == [Z, Z]


def test_classify_gives_the_best_labels(client: TestClient) -> None:
    whole = posted(client, "/classify", {"texts": ["good", "bad"]})
    assert [len(row["scores"]) for row in whole["data"]] == [2, 2]
    row = posted(client, "/classify", {"text": "good", "top_k": 1})["data"][0]
    assert row["label"] == row["scores"][0]["label"]
    assert len(row["scores"]) == 1


def test_adapters_are_listed_page_by_page(client: TestClient) -> None:
    seen, after = [], None
    while True:
        query = {"limit": 3} | ({"after": after} if after else {})
        page = client.get("/adapters", params=query).json()
        seen += [row["id"] for row in page["data"]]
        if not page["has_more"]:
            break
        after = page["data"][-1]["id"]
    assert seen == [
        "broken@0123456789ab",
        "own@1111aaaa2222",
        "own@3333aaaa4444",
        "yelp@0123456789ab",
        "yelp-lm@0123456789ab",
    ]


def test_a_name_alone_means_its_current_version(client: TestClient) -> None:
    assert client.get("/adapters/own").json()["version"] == "1111aaaa2222"
    assert client.get("/adapters/own@3333aaaa4444").json()["current"] is False
    assert client.get("/adapters/broken").json()["problem"] == "manifest: bad digest"


def test_deleting_a_name_deletes_all_its_versions(client: TestClient) -> None:
    deleted = client.delete("/adapters/own").json()
    assert [row["id"] for row in deleted["data"]] == ["own@1111aaaa2222", "own@3333aaaa4444"]
    assert client.get("/adapters/own").status_code == 404


def test_many_adapter_sets_fit_one_default_page() -> None:
    states = [state(f"set-{number}", is_default=not number) for number in range(101)]
    with client_of(StubLatentService(states=states)) as client:
        page = client.get("/adapters").json()
    assert (len(page["data"]), page["has_more"]) == (100, True)


def test_health_version_docs_and_metrics_answer(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    assert client.get("/version").json() == {"adavae": "0.1.0", "device": "stub"}
    assert "swagger" in client.get("/docs").text
    assert "<title>adavae" in client.get("/").text
    client.post("/encode", json={"text": "a"})
    client.get("/adapters/own")
    client.get("/no/such/route")
    families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
    counted = {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"])
        for sample in families["adavae_requests"].samples
    }
    assert {("POST", "/encode", "200"), ("GET", "/adapters/{name}", "200"), ("GET", "unmatched", "404")} <= counted
    assert "adavae_request_seconds" in families
    assert "adavae_queue_rows" in families


def test_every_example_of_the_documentation_works_when_pasted(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    num_examples = 0
    for path, methods in schema["paths"].items():
        kinds = methods.get("post", {}).get("requestBody", {}).get("content", {})
        if "application/json" not in kinds:
            continue
        name = kinds["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for example in schema["components"]["schemas"][name]["examples"]:
            posted(client, path, example)
            num_examples += 1
    assert num_examples >= 6


def test_the_examples_fit_the_bundled_adapter_sets() -> None:
    store = AdapterStore(Path("/nonexistent"), bundled=(Settings().bundled_adapters,))
    latent_size = {entry.name: entry.manifest.config.latent_size for entry in store.list() if entry.manifest}
    examples = DecodeBody.model_json_schema()["examples"]
    assert {example["adapter"] for example in examples} <= set(latent_size)
    rows = [(example["adapter"], row) for example in examples for row in example.get("z", [])]
    assert rows
    sizes = [len(base64.b64decode(row)) // 4 if isinstance(row, str) else len(row) for _, row in rows]
    assert sizes == [latent_size[adapter] for adapter, _ in rows]


def test_every_route_is_described() -> None:
    schema = create_app(stub_settings(), StubLatentService()).openapi()
    operations = [operation for methods in schema["paths"].values() for operation in methods.values()]
    assert len(operations) == 37
    assert all(operation["description"] and operation["tags"] for operation in operations)


def test_the_page_of_the_interface_needs_no_other_host() -> None:
    """It came from a content delivery network and was blank without one."""
    with client_of(api_keys="a-key-of-the-tests:infer") as client:
        page = client.get("/docs").text
        links = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert {link.split("/")[-1] for link in links} == {"swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"}
        for link in links:
            assert "//" not in link
            for accepted in ("gzip", "identity"):
                reply = client.get(f"/{link}", headers={"accept-encoding": accepted})
                assert reply.status_code == 200
                assert len(reply.content) > 500


@pytest.mark.parametrize("path", ["/static/nothing.js", "/static/README.md", "/static/..%2Fmain.py", "/static/"])
def test_nothing_else_is_served_as_a_file(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404
