"""What is refused, and that every refusal has the one shape."""

import asyncio
import gzip
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

from adavae.model.errors import AdapterSetExists, AdaVAEError, BackboneNotFound, LogitsNotFinite
from adavae.service.errors import DeadlineExceeded, EngineStopped, Overloaded, service_error
from adavae.service.http.body_limit import _Room
from tests.unit.service.http_client import client_of
from tests.unit.service.stub_latent_service import StubLatentService, Z

JSON = {"content-type": "application/json"}
GOOD_Z = [0.0] * Z
AB = {"source": "a", "target": "b"}


@pytest.fixture
def client() -> Iterator[TestClient]:
    fields = {"max_texts": 3, "max_samples": 2, "max_steps": 4, "max_tokens": 20, "max_body_bytes": 50_000}
    with client_of(**fields) as client:
        yield client


def error_of(reply: Any, status: int) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    body = reply.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert reply.headers["x-request-id"]
    error: dict[str, Any] = body["error"]
    return error


@pytest.mark.parametrize(
    ("path", "body", "param", "told"),
    [
        ("/encode", {"texts": ["a"] * 4}, "texts", "4 entries, the limit is 3 (ADAVAE_MAX_TEXTS)"),
        ("/encode", {"texts": []}, "texts", "at least 1 item"),
        ("/encode", {"texts": ["a", ""]}, "texts[1]", "at least 1 character"),
        ("/encode", {"text": ""}, "text", "at least 1 character"),
        ("/encode", {"text": "a", "texts": ["b"]}, "texts", "exactly one of text and texts"),
        ("/encode", {}, "texts", "exactly one of text and texts"),
        ("/encode", {"texts": ["a"], "text_pair": "b"}, "text_pair", "text_pair goes with text"),
        ("/encode", {"text": "a", "text_pairs": ["b"]}, "text_pairs", "text_pairs goes with texts"),
        ("/encode", {"texts": ["a"], "text_pairs": ["b", "c"]}, "text_pairs", "has 2 entries and texts 1"),
        ("/classify", {"text": "a", "text_pair": "b \u241e"}, "text_pair", "stands between the texts of a pair"),
        ("/classify", {"text": "a \u241e", "text_pair": "b"}, "text", "stands between the texts of a pair"),
        ("/classify", {"text": "a", "text_pair": ""}, "text_pair", "at least 1 character"),
        ("/encode", {"text": "a" * 1001}, "text", "the limit is 1000"),
        ("/encode", {"text": 5}, "text", "valid string"),
        ("/encode", {"text": "a", "nromalize": True}, "nromalize", "did you mean normalize?"),
        ("/encode", {"text": "a", "xyzzy": 1}, "xyzzy", "the fields are texts, text, adapter"),
        ("/encode", {"text": "a", "normalize": "yes"}, "normalize", "valid boolean"),
        ("/encode", {"text": "a", "include": ["mu"]}, "include[0]", "'logvar'"),
        ("/encode", {"text": "a", "encoding_format": "hex"}, "encoding_format", "'float' or 'base64'"),
        ("/encode", {"text": "a", "adapter": ""}, "adapter", "at least 1 character"),
        ("/encode", ["a"], None, "must be a JSON object"),
        ("/decode", {"samples": 1, "decoding": []}, "decoding", "must be a JSON object"),
        ("/decode", {}, "z", "exactly one of z and samples"),
        ("/decode", {"z": [GOOD_Z], "samples": 1}, "z", "exactly one of z and samples"),
        ("/decode", {"z": [[0.0]]}, "z[0]", "has 1 numbers, yelp takes 32"),
        ("/decode", {"z": [[]]}, "z[0]", "at least 1 item"),
        ("/decode", {"z": [GOOD_Z] * 3}, "z", "the limit is 2 (ADAVAE_MAX_SAMPLES)"),
        ("/decode", {"z": [["1"]]}, "z[0][0]", "valid number"),
        ("/decode", {"z": [[True]]}, "z[0][0]", "valid number"),
        ("/decode", {"samples": 3}, "samples", "asks for 3 texts, the limit is 2"),
        ("/decode", {"samples": 10**3000}, "samples", "the limit is 2"),
        ("/decode", {"samples": 0}, "samples", "greater than or equal to 1, not 0"),
        ("/decode", {"samples": 1, "decoding": {"max_tokens": 21}}, "decoding.max_tokens", "the limit is 20"),
        ("/decode", {"samples": 1, "decoding": {"max_token": 2}}, "decoding.max_token", "did you mean max_tokens?"),
        ("/decode", {"samples": 1, "decoding": {"top_p": 1.5}}, "decoding.top_p", "equal to 1, not 1.5"),
        ("/decode", {"samples": 1, "decoding": {"seed": -1}}, "decoding.seed", "equal to 0, not -1"),
        ("/decode", {"samples": 1, "decoding": {"seed": 10**4000}}, "decoding.seed", "not a huge number"),
        ("/decode", {"samples": 1, "decoding": {"temperature": 10**400}}, "decoding.temperature", "valid number"),
        ("/decode", {"samples": 1, "decoding": {"strategy": "best"}}, "decoding.strategy", "'greedy', 'sample'"),
        ("/decode", {"samples": 1, "decoding": {"temperature": 0.5}}, "decoding.temperature", "strategy to sample"),
        ("/decode", {"samples": 1, "decoding": {"temperature": 0.001}}, "decoding.temperature", "or at least 0.01"),
        (
            "/decode",
            {"samples": 1, "decoding": {"temperature": 0, "strategy": "beam"}},
            "decoding.temperature",
            "strategy to sample",
        ),
        ("/decode", {"samples": 1, "decoding": {"num_beams": 2}}, "decoding.num_beams", "strategy to beam"),
        ("/interpolate", AB | {"steps": 5}, "steps", "steps is 5, the limit is 4 (ADAVAE_MAX_STEPS)"),
        ("/interpolate", AB | {"steps": 1}, "steps", "greater than or equal to 2, not 1"),
        ("/interpolate", AB | {"steps": 2.5}, "steps", "integer"),
        ("/interpolate", {"source": "a"}, "target", "required"),
        ("/interpolate", AB | {"method": "cubic"}, "method", "'linear' or 'spherical'"),
        ("/analogy", {"a": "a", "b": "b", "c": "c", "samples": 3}, "samples", "the limit is 2"),
        ("/classify", {"text": "a", "top_k": 0}, "top_k", "greater than or equal to 1"),
    ],
)
def test_a_field_out_of_range_is_refused_by_name(
    client: TestClient, path: str, body: Any, param: str | None, told: str
) -> None:
    error = error_of(client.post(path, json=body), 422)
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert told in error["message"]


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        ('{"samples": 1, "decoding": {"strategy": "sample", "temperature": NaN}}', "decoding.temperature"),
        ('{"samples": 1, "decoding": {"strategy": "sample", "temperature": -Infinity}}', "decoding.temperature"),
        ('{"z": [[NaN]]}', "z[0][0]"),
        ('{"z": [[1e999]]}', "z[0][0]"),
        ('{"samples": 1, "adapter": "\\ud800"}', "adapter"),
    ],
)
def test_numbers_that_are_none_and_half_characters_are_refused(client: TestClient, raw: str, param: str) -> None:
    assert error_of(client.post("/decode", content=raw, headers=JSON), 422)["param"] == param


def test_a_body_of_null_is_no_object(client: TestClient) -> None:
    assert "JSON object" in error_of(client.post("/encode", content=b"null", headers=JSON), 422)["message"]


def test_a_text_with_half_a_surrogate_pair_is_refused(client: TestClient) -> None:
    for text in ("\\ud800", "\\udc00 and more", "good \\ud83d"):
        raw = f'{{"texts": ["fine", "{text}"]}}'
        assert error_of(client.post("/encode", content=raw, headers=JSON), 422)["param"] == "texts[1]"
    assert error_of(client.post("/encode", content='{"\\ud800": 1}', headers=JSON), 422)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b'{"text": "a"} x',
        b"\xff\xfe\xfa",
        b'{"text": "\xff"}',
        b"[" * 20_000,
        b'{"text":' * 6_000,
        b'{"text": ' + b"9" * 20_000 + b"}",
        b"\xef\xbb\xbf{}x",
    ],
)
def test_what_is_not_json_is_malformed(client: TestClient, raw: bytes) -> None:
    error = error_of(client.post("/encode", content=raw, headers=JSON), 400)
    assert error["code"] == "malformed_json"


def test_a_million_wrong_things_are_one_short_error() -> None:
    """Pydantic makes an error of each, unless told not to: seconds and gigabytes for 4 MB of body."""
    with client_of() as client:
        many = "[" + "1," * 1_000_000 + "1]"
        for raw in (f'{{"texts": {many}}}', f'{{"z": {many}}}', f'{{"text": "a", "include": {many}}}'):
            path = "/decode" if '"z"' in raw else "/encode"
            reply = client.post(path, content=raw, headers=JSON)
            assert error_of(reply, 422)["param"] in ("texts", "z", "include")
            assert len(reply.content) < 1000
        fields = ",".join(f'"f{number}":1' for number in range(200_000))
        assert error_of(client.post("/encode", content=f"{{{fields}}}", headers=JSON), 422)["param"] == "f0"


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_bodies_that_do_not_say_json_are_refused(client: TestClient, content_type: str | None) -> None:
    headers = {"content-type": content_type} if content_type else {}
    error = error_of(client.post("/encode", content=b'{"text": "a"}', headers=headers), 415)
    assert "application/json" in error["message"]


def test_compressed_bodies_are_refused_and_charsets_taken(client: TestClient) -> None:
    gzipped = JSON | {"content-encoding": "gzip"}
    error = error_of(client.post("/encode", content=gzip.compress(b'{"text": "a"}'), headers=gzipped), 400)
    assert "not compressed" in error["message"]
    named = {"content-type": "application/json; charset=utf-8"}
    assert client.post("/encode", content=b'{"text": "a"}', headers=named).status_code == 200


def test_a_body_over_the_limit_is_refused_declared_or_not(client: TestClient) -> None:
    large = b'{"text": "' + b"a" * 50_000 + b'"}'
    error = error_of(client.post("/encode", content=large, headers=JSON), 413)
    assert f"{len(large)} bytes, the limit is 50000 (ADAVAE_MAX_BODY_BYTES)" in error["message"]
    chunks = (large[start : start + 1000] for start in range(0, len(large), 1000))
    assert error_of(client.post("/encode", content=chunks, headers=JSON), 413)["code"] == "body_too_large"


@pytest.mark.parametrize(("path", "said"), [("/v1/batches", "/v1/embeddings"), ("/v1/batcheskeeper", "GET /docs")])
def test_what_is_not_offered_of_openais_interface_names_what_is(client: TestClient, path: str, said: str) -> None:
    for reply in (client.post(path, json={}), client.get(path)):
        error = error_of(reply, 404)
        assert (error["code"], error["type"]) == ("route_not_found", "not_found")
        assert said in error["message"]


def test_unknown_routes_methods_and_adapter_sets_have_the_one_shape(client: TestClient) -> None:
    assert error_of(client.get("/nothing"), 404)["code"] == "route_not_found"
    assert error_of(client.post("/encode/", json={"text": "a"}), 404)["code"] == "route_not_found"
    reply = client.get("/encode")
    assert (error_of(reply, 405)["code"], reply.headers["allow"]) == ("method_not_allowed", "POST")
    both = client.patch("/adapters/yelp")
    assert (error_of(both, 405)["code"], both.headers["allow"]) == ("method_not_allowed", "GET, DELETE, HEAD")
    error = error_of(client.post("/encode", json={"text": "a", "adapter": "nope"}), 404)
    assert (error["code"], error["param"]) == ("adapter_not_found", "adapter")
    for name in ("nope", "yelp@", "..%2f..%2fetc%2fpasswd", "%00", "yelp@0123456789ab%2f.."):
        assert error_of(client.get(f"/adapters/{name}"), 404)
        assert error_of(client.delete(f"/adapters/{name}"), 404)


def test_conflicts_are_reported(client: TestClient) -> None:
    taken = service_error(AdapterSetExists("yelp is there"))
    assert (taken.status, taken.code, taken.type) == (409, "adapter_exists", "conflict")
    assert "yelp" in error_of(client.post("/classify", json={"text": "a", "adapter": "own"}), 409)["message"]
    assert error_of(client.delete("/adapters/yelp"), 409)["type"] == "conflict"


def test_lists_refuse_what_they_do_not_know(client: TestClient) -> None:
    assert error_of(client.get("/adapters", params={"limit": 0}), 422)["param"] == "limit"
    assert error_of(client.get("/adapters", params={"lmit": 1}), 422)["param"] == "lmit"
    assert error_of(client.get("/adapters", params={"after": "nope"}), 422)["param"] == "after"


@pytest.mark.parametrize(
    ("error", "status", "kind", "retry_after"),
    [
        (Overloaded("2048 rows wait, the limit is 2048: try again"), 429, "overloaded", "1"),
        (EngineStopped("the engine is being started again"), 503, "not_ready", "2"),
        (DeadlineExceeded(60), 504, "timeout", None),
        (LogitsNotFinite((0,)), 422, "invalid_request_error", None),
    ],
)
def test_errors_of_the_service_keep_their_status(
    error: Exception, status: int, kind: str, retry_after: str | None
) -> None:
    with client_of(StubLatentService(error=error)) as client:
        for body in ({"samples": 1}, {"samples": 1, "stream": True}):
            reply = client.post("/decode", json=body)
            assert error_of(reply, status)["type"] == kind
            assert reply.headers.get("retry-after") == retry_after


def test_a_failure_of_ours_tells_the_client_nothing_and_the_log_everything() -> None:
    with client_of(StubLatentService(error=ZeroDivisionError("secret"))) as client:
        with structlog.testing.capture_logs() as logged:
            reply = client.post("/encode", json={"text": "a"}, headers={"x-request-id": "mine-1"})
        error = error_of(reply, 500)
        assert (error["code"], error["type"]) == ("internal_error", "internal_error")
        assert "mine-1" in error["message"]
        assert "secret" not in reply.text
    failures = [line for line in logged if line["event"] == "request_failed"]
    assert len(failures) == 1
    assert failures[0]["exc_info"] is True


def test_an_error_of_the_model_without_an_answer_of_its_own_is_in_the_log_as_the_reply_says() -> None:
    """The reply named an entry that nobody had written."""

    class Unforeseen(AdaVAEError):
        """In no table."""

    with client_of(StubLatentService(error=Unforeseen("secret"))) as client:
        with structlog.testing.capture_logs() as logged:
            reply = client.post("/encode", json={"text": "a"})
        error_of(reply, 500)
        assert "secret" not in reply.text
    (failure,) = [line for line in logged if line["event"] == "request_failed"]
    assert isinstance(failure["exc_info"], Unforeseen)


def test_the_log_has_a_line_for_each_request_and_no_texts() -> None:
    with client_of() as client, structlog.testing.capture_logs() as logged:
        client.post("/encode", json={"text": "my secret", "adapter": "secret"})
        client.get("/adapters/secret")
        client.get("/secret?secret=secret", headers={"x-api-key": "secret"})
    assert [(line["route"], line["status"]) for line in logged if line["event"] == "request"] == [
        ("/encode", 404),
        ("/adapters/{name}", 404),
        ("unmatched", 404),
    ]
    assert "secret" not in str(logged)


def test_request_ids_are_the_clients_where_they_are_sane(client: TestClient) -> None:
    for sent in ("a", "A.b_c-9", "x" * 64):
        assert client.get("/healthz", headers={"x-request-id": sent}).headers["x-request-id"] == sent
    for refused in (b"", b"x" * 65, b"a b", b"a\tb", "\u00e9".encode(), b"a;b"):
        made = client.get("/healthz", headers={b"x-request-id": refused}).headers["x-request-id"]
        assert len(made) == 32


def test_while_loading_the_server_lives_but_is_not_ready() -> None:
    latent = StubLatentService(start_hold=asyncio.Event())
    with client_of(latent) as client:
        assert client.get("/healthz").status_code == 200
        reply = client.get("/readyz")
        error = error_of(reply, 503)
        assert (error["type"], reply.headers["retry-after"]) == ("not_ready", "2")
        assert "loading" in error["message"]
        assert error_of(client.post("/encode", json={"text": "a"}), 503)["type"] == "not_ready"
        assert client.get("/version").status_code == 200
    assert latent.is_stopped


def test_a_start_that_failed_is_logged_and_reported() -> None:
    latent = StubLatentService(start_error=BackboneNotFound("no checkpoint at x"))
    with structlog.testing.capture_logs() as logged, client_of(latent) as client:
        assert "no checkpoint at x" in error_of(client.get("/readyz"), 503)["message"]
    assert [line["event"] for line in logged if line["log_level"] == "error"] == ["start_failed"]


def test_all_bodies_together_have_a_limit_and_one_client_a_quarter_of_it() -> None:
    room = _Room(1000)
    for client in ("a", "b", "c"):
        room.take(client, 250)
    with pytest.raises(HTTPException, match=r"your requests under way have 251 bytes, the limit is 250") as caught:
        room.take("c", 1)
    assert (caught.value.status_code, caught.value.headers) == (429, {"connection": "close", "retry-after": "1"})
    room.give_back("c", 1)
    room.take("d", 250)
    with pytest.raises(HTTPException, match=r"all requests under way have 1001 bytes, .*ADAVAE_MAX_BODIES_BYTES"):
        room.take("e", 1)
    room.give_back("e", 1)
    room.give_back("a", 250)
    room.take("e", 250)


def test_a_body_gives_its_room_back_however_its_request_ends() -> None:
    with client_of(max_bodies_bytes=4 * 4096, max_body_bytes=4096) as client:
        for number in range(30):
            body = b'{"text": "%s"}' % (b"a" * 900) if number % 2 else b"{" * 3000
            assert client.post("/encode", content=body, headers=JSON).status_code in (200, 400)
        large = client.post("/encode", content=b"a" * 5000, headers=JSON)
        assert large.status_code == 413
