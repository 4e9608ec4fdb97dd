"""Both clients against a service that says what it is told to say, and against the real one."""

import asyncio
import base64
import inspect
import json
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from adavae.model.latent.projections import Separation
from adavae.model.results import Classified
from adavae.service.client.async_latent import AsyncAdaVAEClient
from adavae.service.client.exchanges import Posterior
from adavae.service.client.latent import AdaVAEClient
from adavae.service.client.retries import AdaVAEServiceError
from adavae.service.client.training import TrainingClient
from adavae.service.latent_service import LatentService
from adavae.service.main import create_app
from adavae.service.metrics import Metrics
from adavae.service.results import AdapterState, TextPiece
from tests.tiny_home import tiny_settings

Handler = Callable[[httpx2.Request], httpx2.Response]
BASE_URL = "http://adavae.test"
ADAPTER = {"name": "yelp", "version": "abc"}


@dataclass
class Client:
    """One of the two clients, asked in the same way; remembers how long it waited between tries."""

    is_async: bool
    pauses: list[float] = field(default_factory=list)

    def ask(self, handler: Handler, method: str, /, *args: Any, max_retries: int = 4, **kwargs: Any) -> Any:
        transport = httpx2.MockTransport(handler)
        options: dict[str, Any] = {"api_key": "secret", "max_retries": max_retries}
        if self.is_async:
            waiting = AsyncAdaVAEClient(BASE_URL, transport=transport, **options)
            return asyncio.run(self._ask(waiting, method, args, kwargs))
        with AdaVAEClient(BASE_URL, transport=transport, **options) as client:
            client._pause = self.pauses.append
            answer = getattr(client, method)(*args, **kwargs)
            return list(answer) if inspect.isgenerator(answer) else answer

    async def _ask(self, client: AsyncAdaVAEClient, method: str, args: Any, kwargs: Any) -> Any:
        async def pause(seconds: float) -> None:
            self.pauses.append(seconds)

        client._pause = pause  # type: ignore[assignment]
        async with client:
            answer = getattr(client, method)(*args, **kwargs)
            return [item async for item in answer] if inspect.isasyncgen(answer) else await answer


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest) -> Client:
    return Client(request.param == "async")


@dataclass
class Service:
    """Encodes a text as its length and its first character, and keeps the requests."""

    bodies: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        self.bodies.append(body)
        rows = getattr(self, request.url.path.strip("/"))(body)
        data = [{"index": index} | row for index, row in enumerate(rows)]
        data.reverse()  # the index counts, not the place
        return httpx2.Response(200, json={"object": "list", "data": data, "adapter": ADAPTER})

    def encode(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for text in body["texts"]:
            mu = np.array([len(text), ord(text[0])], dtype="<f4")
            yield {"mu": packed(mu)} | ({"logvar": packed(-mu)} if "include" in body else {})

    def decode(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        seed = body["decoding"].get("seed", 0)
        for index, row in enumerate(body.get("z") or [packed(np.zeros(1))] * body["samples"]):
            yield {"text": f"{unpacked(row)[0]:g} with {seed + index}"}

    def interpolate(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if isinstance(body["source"], list):
            yield from self.walks(body)
            return
        yield from ({"text": f"{body['source']} {body['method']} {step}"} for step in range(body["steps"]))

    def walks(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for source, target in zip(body["source"], body["target"], strict=True):
            yield from ({"text": f"{source} {target} {step}"} for step in range(body["steps"]))

    def analogy(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield from ({"text": f"{body['scale']:g} {number}"} for number in range(body["samples"]))

    def classify(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        scores = [{"label": "good", "score": 0.75}, {"label": "bad", "score": 0.25}]
        for text in body["texts"]:
            yield {"label": f"good {text}", "scores": scores[: body.get("top_k")]}


def packed(vector: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def unpacked(vector: str) -> list[float]:
    numbers: list[float] = np.frombuffer(base64.b64decode(vector), "<f4").tolist()
    return numbers


def refusal(status: int, code: str = "overloaded", **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()} | {"x-request-id": "r-1"}
    error = {"message": "too much", "type": "overloaded", "param": "texts", "code": code}
    return httpx2.Response(status, json={"error": error}, headers=named)


def failing(*failures: httpx2.Response | Exception) -> tuple[Handler, list[httpx2.Request]]:
    """Answers with the failures in turn, then as the service does."""
    seen: list[httpx2.Request] = []
    service = Service()

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        if len(seen) > len(failures):
            return service(request)
        failure = failures[len(seen) - 1]
        if isinstance(failure, Exception):
            raise failure
        return failure

    return answer, seen


def events(*data: str, error: str | None = None) -> httpx2.Response:
    content = ": keepalive\n\n" + "".join(f"data: {each}\n\n" for each in data)
    content += f"event: error\ndata: {error}\n\n" if error else ""
    return httpx2.Response(200, content=content.encode(), headers={"content-type": "text/event-stream"})


def test_encodings_are_float32_in_the_order_of_the_texts(client: Client) -> None:
    service = Service()
    mu = client.ask(service, "encode", ["ab", "c"], "yelp", normalize=True, truncate=True)
    assert mu.dtype == np.float32
    np.testing.assert_array_equal(mu, [[2, ord("a")], [1, ord("c")]])
    assert mu.flags.writeable
    assert service.bodies == [
        {
            "texts": ["ab", "c"],
            "adapter": "yelp",
            "encoding_format": "base64",
            "normalize": True,
            "truncate": True,
        }
    ]
    assert client.ask(service, "encode", "one text").shape == (1, 2)
    assert "adapter" not in service.bodies[-1]


def test_a_posterior_has_its_variance_too(client: Client) -> None:
    posterior = client.ask(Service(), "posterior", ["ab", "c"])
    assert isinstance(posterior, Posterior)
    np.testing.assert_array_equal(posterior.logvar, -posterior.mu)


def test_many_texts_go_in_several_requests_to_one_version(client: Client) -> None:
    service = Service()
    texts = [chr(ord("a") + number % 26) * (number % 7 + 1) for number in range(600)]
    mu = client.ask(service, "encode", texts, "yelp")
    assert [len(body["texts"]) for body in service.bodies] == [256, 256, 88]
    assert [body["adapter"] for body in service.bodies] == ["yelp", "yelp@abc", "yelp@abc"]
    np.testing.assert_array_equal(mu, [[len(text), ord(text[0])] for text in texts])
    long = Service()
    client.ask(long, "encode", ["\u2603" * 400_000] * 3)
    assert [len(body["texts"]) for body in long.bodies] == [1, 1, 1]


def test_rows_are_decoded_in_several_requests_as_in_one(client: Client) -> None:
    service = Service()
    z = np.arange(150, dtype=np.float64).reshape(150, 1)
    texts = client.ask(service, "decode", z, "yelp", strategy="sample", seed=7)
    assert texts == [f"{row} with {7 + row}" for row in range(150)]
    assert [len(body["z"]) for body in service.bodies] == [64, 64, 22]
    assert service.bodies[0]["decoding"] == {"strategy": "sample", "seed": 7}
    assert client.ask(service, "decode", [1.5]) == ["1.5 with 0"]
    assert service.bodies[-1]["decoding"] == {}


@pytest.mark.parametrize(
    ("method", "options", "sizes"),
    [
        ("variations", {}, [204, 96]),
        ("variations", {"num": 10}, [102, 102, 96]),
        ("variations", {"num": 64}, [16] * 18 + [12]),
        ("variations", {"num": 5000}, [1] * 300),
        ("variations", {"num": 0}, [256, 44]),
        ("analogy", {"samples": 10}, [204, 96]),
        ("analogy", {"steering": {"candidates": 16}}, [128, 128, 44]),
        ("analogy", {"samples": 4, "steering": {"candidates": 16}}, [32] * 9 + [12]),
        ("analogy", {"steering": {"candidates": None}}, [256, 44]),
        ("decode", {"steering": {"candidates": 32}}, [64] * 4 + [44]),
        ("decode", {"steering": {"candidates": 100}}, [20] * 15),
    ],
)
def test_a_request_asks_for_no_more_rows_than_the_service_takes(
    client: Client, method: str, options: dict[str, Any], sizes: list[int]
) -> None:
    """300 texts with ten answers each were sent in requests of 256, which the service refuses: too_many_rows."""
    whole = np.arange(300.0).reshape(300, 1) if method == "decode" else [f"text {number}" for number in range(300)]
    field = {"variations": "texts", "analogy": "c", "decode": "z"}[method]
    sent: list[int] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(len(json.loads(request.content)[field]))
        rows = [{"index": index, "text": "a", "source": index} for index in range(sent[-1])]
        return httpx2.Response(200, json={"data": rows, "adapter": ADAPTER})

    found = client.ask(answer, method, *(("a", "b") if method == "analogy" else ()), whole, **options)
    assert (len(found), sent) == (300, sizes)


def test_many_pairs_are_walked_in_as_many_requests_as_it_takes(client: Client) -> None:
    service = Service()
    sources, targets = ([f"{side}{number}" for number in range(300)] for side in "ab")
    texts = client.ask(service, "interpolate", sources, targets, 16, "linear", "yelp")
    assert texts == [f"a{number} b{number} {step}" for number in range(300) for step in range(16)]
    assert [len(body["source"]) for body in service.bodies] == [128, 128, 44]
    assert [body["adapter"] for body in service.bodies] == ["yelp", "yelp@abc", "yelp@abc"]


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_refusal_names_the_text_of_a_pair_by_its_place_in_the_whole(client: Client, side: str) -> None:
    sources, targets = ([f"{name}{number}" for number in range(600)] for name in "ab")
    with pytest.raises(AdaVAEServiceError) as caught:
        client.ask(refusing(side, 500, sources if side == "source" else targets), "interpolate", sources, targets)
    assert caught.value.param == f"{side}[500]"


def test_pairs_of_which_one_side_is_longer_are_not_sent(client: Client) -> None:
    with pytest.raises(ValueError, match="target has 1 texts and source 2: give one target for each source"):
        client.ask(unasked, "interpolate", ["a", "b"], ["c"])
    for sides, name in ((("a", ["b"]), "target"), ((["a"], "b"), "source")):
        with pytest.raises(TypeError, match=f"{name} is of type list, must be a string"):
            client.ask(unasked, "interpolate", *sides)


@pytest.mark.parametrize(("z", "message"), [([[np.nan]], "finite"), (np.zeros((1, 1, 1)), r"\(1, 1, 1\)")])
def test_what_is_no_latent_vector_is_not_sent(client: Client, z: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        client.ask(Service(), "decode", z)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_a_map_is_read_with_its_way_back(client: Client, method: str) -> None:
    bodies: list[dict[str, Any]] = []
    is_pca = method == "pca"

    def answer(request: httpx2.Request) -> httpx2.Response:
        bodies.append(json.loads(request.content))
        rows = [{"index": at, "x": at, "y": -at, "nearest": (at + 1) % 3, "distance": 0.5} for at in (2, 0, 1)]
        mean, *basis = (packed(np.array(row)) for row in ([1, 2, 3], [1, 0, 0], [0, 0, 1]))
        way = {"mean": mean, "basis": basis, "explained": [0.5, 0.25]}
        reply = {"object": "list", "data": rows, "adapter": ADAPTER, **(way if is_pca else dict.fromkeys(way))}
        reply["separation"] = {"accuracy": 0.75, "majority": 0.5, "rows": 3} if is_pca else None
        return httpx2.Response(200, json=reply)

    texts, labels = ["a", "b", "c"], ["x", "x", "y"] if is_pca else None
    found = client.ask(answer, "map", texts, "yelp", labels=labels, method=method)
    expected = {"texts": texts, "method": method, "truncate": False, "adapter": "yelp"}
    assert bodies == [expected | ({"labels": labels, "encoding_format": "base64"} if is_pca else {})]
    np.testing.assert_array_equal(found.points, [[0, 0], [1, -1], [2, -2]])
    assert found.neighbours.nearest.tolist() == [1, 2, 0]
    if is_pca:
        np.testing.assert_array_equal(found.plane.lift([2, 4]), [[3, 2, 7]])
        assert found.separation == Separation(0.75, 0.5, 3)
    else:
        assert found.plane is found.separation is None


def test_every_operation_says_what_was_asked(client: Client) -> None:
    service = Service()
    assert client.ask(service, "sample", 2, seed=3) == ["0 with 3", "0 with 4"]
    assert client.ask(service, "interpolate", "a", "b", 3, "spherical", max_tokens=9) == [
        "a spherical 0",
        "a spherical 1",
        "a spherical 2",
    ]
    assert service.bodies[-1]["decoding"] == {"max_tokens": 9}
    assert client.ask(service, "analogy", "a", "b", "c", 1.5, 2, "yelp") == ["1.5 0", "1.5 1"]
    assert client.ask(service, "classify", ["x"]) == [Classified("good x", {"good": 0.75, "bad": 0.25})]
    assert client.ask(service, "classify", "x", top_k=1)[0].scores == {"good": 0.75}


def test_the_adapter_sets_come_page_by_page(client: Client) -> None:
    names = ["a", "b", "c"]

    def answer(request: httpx2.Request) -> httpx2.Response:
        after = request.url.params.get("after")
        place = names.index(after.partition("@")[0]) + 1 if after else 0
        entry = {"name": names[place], "version": "1", "latent_size": 4, "labels": ["x"], "metrics": {"au": 4.0}}
        entry |= {"kind": "generation", "backbone_digest": "b", "created_at": None, "bundled": False, "loaded": True}
        entry |= {"default": place == 0, "current": True, "problem": None, "something": "new"}
        return httpx2.Response(200, json={"data": [entry], "has_more": place < 2})

    found = client.ask(answer, "adapters")
    assert [each.reference for each in found] == ["a@1", "b@1", "c@1"]
    assert found[0] == AdapterState(
        name="a",
        version="1",
        latent_size=4,
        labels=("x",),
        kind="generation",
        metrics={"au": 4.0},
        backbone_digest="b",
        created_at=None,
        is_bundled=False,
        is_default=True,
        is_current=True,
        is_loaded=True,
        problem=None,
    )


ENCODED = {"mu": base64.b64encode(np.zeros(2, "<f4")).decode()}


def refusing(field: str, place: int, whole: list[Any]) -> Handler:
    """Refuses the ``place``-th of ``whole`` wherever it comes, by its place in the request; the others are fine."""

    def handler(request: httpx2.Request) -> httpx2.Response:
        sent = json.loads(request.content)[field]
        if whole[place] in sent:
            param = f"{field}[{sent.index(whole[place])}]"
            error = {"code": "text_too_long", "message": f"{param} is too long: shorten {param}", "param": param}
            return httpx2.Response(422, json={"error": error | {"type": "invalid_request_error"}})
        rows = [
            ENCODED | {"index": index, "text": "a", "source": index, "label": "a", "scores": []}
            for index in range(len(sent))
        ]
        return httpx2.Response(200, json={"data": rows, "adapter": ADAPTER})

    return handler


@pytest.mark.parametrize("place", [0, 255, 256, 500, 599])
@pytest.mark.parametrize(
    ("method", "field"),
    [("encode", "texts"), ("posterior", "texts"), ("classify", "texts"), ("variations", "texts"), ("analogy", "c")],
)
def test_a_refusal_names_the_text_by_its_place_in_the_whole(
    client: Client, method: str, field: str, place: int
) -> None:
    """Of 600 texts the 500th was said to be the 244th, which it is in the second request."""
    texts = [f"text {number}" for number in range(600)]
    args = ("a", "b", texts) if method == "analogy" else (texts,)
    with pytest.raises(AdaVAEServiceError) as caught:
        client.ask(refusing(field, place, texts), method, *args)
    assert caught.value.param == f"{field}[{place}]"
    assert caught.value.message == f"{field}[{place}] is too long: shorten {field}[{place}]"


def test_a_refusal_names_the_latent_by_its_place_in_the_whole(client: Client) -> None:
    z = np.arange(200, dtype=np.float32)[:, None] @ np.ones((1, 2), np.float32)
    with pytest.raises(AdaVAEServiceError, match=r"z\[130\] is too long") as caught:
        client.ask(refusing("z", 130, [packed(row) for row in z]), "decode", z)
    assert caught.value.param == "z[130]"


def unasked(_request: httpx2.Request) -> httpx2.Response:
    raise AssertionError("nothing is to be sent")


NO_TEXTS: list[tuple[Any, type[Exception], str]] = [
    (None, TypeError, "is None, must be a string: leave it out, as dropna"),
    (float("nan"), TypeError, "is NaN, must be a string: leave it out"),
    (np.float64("nan"), TypeError, "is NaN, must be a string: leave it out"),
    (7, TypeError, "is of type int, must be a string: convert it with str"),
    (b"bytes", TypeError, r"is of type bytes, must be a string: decode it first: value\.decode"),
    (["nested"], TypeError, "is of type list, must be a string"),
    ("half \ud83d", ValueError, "has half of a surrogate pair at character 5: read the text as UTF-8, or replace"),
    ("\udfff", ValueError, "has half of a surrogate pair at character 0"),
]


@pytest.mark.parametrize(("bad", "kind", "told"), NO_TEXTS, ids=repr)
def test_what_is_no_text_is_named_by_its_place_before_anything_is_sent(
    client: Client, bad: Any, kind: type[Exception], told: str
) -> None:
    """NaN, None, bytes and lone surrogates in a list were bare AttributeErrors, or errors of the encoder's."""
    for method, args, name in (
        ("encode", (["a", "b", bad],), r"texts\[2\]"),
        ("posterior", (["a", bad],), r"texts\[1\]"),
        ("classify", ([bad],), r"texts\[0\]"),
        ("variations", (["a", bad],), r"texts\[1\]"),
        ("map", (["a", "b", bad],), r"texts\[2\]"),
        ("analogy", ("a", "b", ["c", bad]), r"c\[1\]"),
        ("analogy", (["a", bad], "b", "c"), r"a\[1\]"),
        ("traverse", ("a", {"from": ["a", bad], "to": ["b"]}), r"direction\.from\[1\]"),
        ("interpolate", ("a", bad), "target"),
        ("traverse", (bad, {"dimension": 0}), "text"),
    ):
        with pytest.raises(kind, match=rf"^{name} {told}"):
            client.ask(unasked, method, *args)
    with pytest.raises(kind, match=rf"^labels\[1\] {told}"):
        client.ask(unasked, "map", ["a", "b", "c"], labels=["a", bad, "c"])


def test_a_table_a_mapping_or_a_set_is_refused_where_its_names_would_be_sent(client: Client) -> None:
    for bad, told in (
        ({"review": ["a", "b"]}, r"of type dict, a mapping with the keys 'review'.*as mapping\['review'\]"),
        ({"a", "b"}, "of type set, a set, which has no order: give a list"),
    ):
        for method in ("encode", "classify", "variations", "map"):
            with pytest.raises(TypeError, match=f"^texts is {told}"):
                client.ask(unasked, method, bad)
        with pytest.raises(TypeError, match=f"^c is {told}"):
            client.ask(unasked, "analogy", "a", "b", bad)


@pytest.mark.parametrize("bad", [None, b"bytes", 7, float("nan")], ids=repr)
def test_what_is_no_list_of_texts_is_refused(client: Client, bad: Any) -> None:
    for method in ("encode", "classify", "variations", "map"):
        with pytest.raises(TypeError, match=r"^texts is .*, must be a string or strings: "):
            client.ask(unasked, method, bad)


def test_texts_of_any_kind_of_list_are_texts(client: Client) -> None:
    for texts in (("a", "b"), np.array(["a", "b"]), iter(["a", "b"]), {"a": 1, "b": 2}.keys()):
        sent: list[Any] = []

        def handler(request: httpx2.Request, sent: list[Any] = sent) -> httpx2.Response:
            sent.append(json.loads(request.content)["texts"])
            rows = [ENCODED | {"index": index} for index in range(2)]
            return httpx2.Response(200, json={"data": rows, "adapter": ADAPTER})

        client.ask(handler, "encode", texts)
        assert sent == [["a", "b"]]


BAD_KEYS = ["s3cret\n", "s3cret key", "s3cret\x00", "s3cr\u00e9t", "\ts3cret", "s3cret\r\nx-admin: yes"]


@pytest.mark.parametrize("make", [AdaVAEClient, AsyncAdaVAEClient, TrainingClient])
@pytest.mark.parametrize("key", BAD_KEYS, ids=ascii)
def test_a_key_that_cannot_be_sent_is_refused_and_in_no_exception(make: Any, key: str) -> None:
    """``Illegal header value b'Bearer secret\\n'`` stood in logs of programs that had read the key from a file."""
    with pytest.raises(ValueError, match=r"strip\(\) what was read from a file") as caught:
        make(BASE_URL, api_key=key)
    told = "".join(traceback.format_exception(caught.value))
    error: BaseException | None = caught.value
    while error is not None:
        told += str(error)
        error = error.__cause__ or error.__context__
    assert "s3cr" not in told
    with pytest.raises(TypeError, match="api_key is of type bytes, must be a string"):
        make(BASE_URL, api_key=b"s3cret")


def test_a_password_in_the_address_is_in_no_exception() -> None:
    def broken(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    transport = httpx2.MockTransport(broken)
    url = "http://user:s3cret@adavae.test"
    with AdaVAEClient(url, transport=transport, max_retries=0) as each, pytest.raises(AdaVAEServiceError) as caught:
        each.encode("a")
    assert "adavae.test" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "reply",
    [
        {},
        [],
        "fine",
        {"data": 5},
        {"data": [{"index": 0}]},
        {"data": [{"index": "first", "mu": "", "text": "", "label": "x", "scores": []}]},
        {"data": [{"index": 0, "mu": "no base64", "label": "x", "scores": 7}], "adapter": None},
    ],
)
@pytest.mark.parametrize(
    ("method", "arguments"),
    [("encode", ("a",)), ("decode", ([[1.0]],)), ("classify", ("a",)), ("interpolate", ("a", "b")), ("adapters", ())],
)
def test_a_reply_of_something_else_is_called_unreadable(
    client: Client, reply: Any, method: str, arguments: tuple[Any, ...]
) -> None:
    with pytest.raises(AdaVAEServiceError, match="is it adavae's service") as caught:
        client.ask(lambda _: httpx2.Response(200, json=reply), method, *arguments)
    assert caught.value.code == "unreadable_reply"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.9.9.9"])
@pytest.mark.parametrize("make", [AdaVAEClient, TrainingClient, AsyncAdaVAEClient])
def test_requests_to_this_machine_go_through_no_proxy(monkeypatch: pytest.MonkeyPatch, make: Any, host: str) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://proxy.test:3128")
    assert not any(mount is not None for mount in make(f"http://{host}:8000")._http._mounts.values())
    assert any(mount is not None for mount in make("http://adavae.test")._http._mounts.values())


def test_the_key_is_sent_as_a_bearer_token(client: Client) -> None:
    answer, seen = failing()
    client.ask(answer, "encode", "x")
    assert seen[0].headers["authorization"] == "Bearer secret"


def test_what_fails_for_the_moment_is_tried_again(client: Client) -> None:
    answer, seen = failing(
        httpx2.ConnectError("refused"),
        refusal(429, retry_after="2"),
        httpx2.ReadTimeout("silence"),
        refusal(503, retry_after="60"),
    )
    assert client.ask(answer, "encode", "x").shape == (1, 2)
    assert len(seen) == 5
    first, second, third, fourth = client.pauses
    assert 0 <= first <= 0.25
    assert 2 <= second <= 2.5
    assert 0 <= third <= 1
    assert 60 <= fourth <= 62


def test_a_wait_that_nobody_waits_for_is_told_at_once(client: Client) -> None:
    """It was cut to half a minute, and asked four times in vain before anybody was told."""
    answer, seen = failing(refusal(429, retry_after="61"))
    with pytest.raises(AdaVAEServiceError, match="too much") as failed:
        client.ask(answer, "encode", "x")
    assert (failed.value.retry_after_s, len(seen), client.pauses) == (61.0, 1, [])


def test_pauses_grow_and_stay_bounded(client: Client) -> None:
    answer, seen = failing(*[refusal(503)] * 200)
    with pytest.raises(AdaVAEServiceError):
        client.ask(answer, "encode", "x", max_retries=100)
    assert len(seen) == 101
    assert max(client.pauses) <= 30
    assert max(client.pauses[20:]) > max(client.pauses[:3])
    assert len(set(client.pauses)) > 90


def test_what_keeps_failing_is_reported_with_everything_the_service_said(client: Client) -> None:
    answer, seen = failing(*[refusal(429, retry_after="1")] * 9)
    with pytest.raises(AdaVAEServiceError, match="too much") as failed:
        client.ask(answer, "encode", "x", max_retries=2)
    error = failed.value
    assert (error.status, error.code, error.message) == (429, "overloaded", "too much")
    assert (error.param, error.request_id, error.retry_after_s) == ("texts", "r-1", 1.0)
    assert len(seen) == 3


def test_a_service_that_is_not_there_is_named(client: Client) -> None:
    answer, _ = failing(*[httpx2.ConnectError("refused")] * 9)
    with pytest.raises(AdaVAEServiceError, match=r"adavae\.test.*refused") as failed:
        client.ask(answer, "encode", "x", max_retries=1)
    assert (failed.value.status, failed.value.code) == (0, "no_answer")
    assert isinstance(failed.value.__cause__, httpx2.ConnectError)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 415, 422, 500, 504])
def test_other_refusals_are_final(client: Client, status: int) -> None:
    answer, seen = failing(refusal(status, "reason", retry_after="1"))
    with pytest.raises(AdaVAEServiceError) as failed:
        client.ask(answer, "encode", "x")
    assert failed.value.status == status
    assert len(seen) == 1


@pytest.mark.parametrize("status", [500, 502, 504])
def test_what_a_proxy_says_of_a_server_that_died_is_tried_again(client: Client, status: int) -> None:
    """Ray Serve's proxy answers 500 in plain text where a replica died with the request."""
    answer, seen = failing(httpx2.Response(status, content=b"Internal Server Error"))
    assert client.ask(answer, "encode", "x").shape == (1, 2)
    assert len(seen) == 2


@pytest.mark.parametrize("content", [b"<html>Bad gateway</html>", b"[]", b'{"error": "no"}', b'{"error": {}}'])
def test_replies_that_are_not_the_services_are_errors_all_the_same(client: Client, content: bytes) -> None:
    with pytest.raises(AdaVAEServiceError, match="Bad Gateway") as failed:
        client.ask(failing(*[httpx2.Response(502, content=content)] * 9)[0], "encode", "x", max_retries=1)
    assert failed.value.code == "http_error"
    with pytest.raises(AdaVAEServiceError, match="is it the service"):
        client.ask(failing(httpx2.Response(200, content=b"<html>"))[0], "encode", "x")
    odd = refusal(429, retry_after="Wed, 21 Oct 2026 07:28:00 GMT")
    assert client.ask(failing(odd)[0], "encode", "x").shape == (1, 2)


def test_a_stream_gives_pieces_and_ends_with_the_whole(client: Client) -> None:
    bodies: list[dict[str, Any]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        bodies.append(json.loads(request.content))
        if len(bodies) == 1:
            return refusal(429)
        pieces = ['{"index":0,"text":"na\u00efve"}', '{"index":1,"text":" \\n "}']
        return events(*pieces, '{"object":"list","data":[]}', "[DONE]")

    assert client.ask(answer, "decode_stream", [[1.0], [2.0]], seed=5) == [
        TextPiece(0, "na\u00efve"),
        TextPiece(1, " \n "),
    ]
    assert (
        bodies[0]
        == bodies[1]
        == {
            "z": [packed(np.array([1.0])), packed(np.array([2.0]))],
            "decoding": {"seed": 5},
            "stream": True,
        }
    )
    assert len(client.pauses) == 1


def test_a_stream_that_fails_or_breaks_off_says_so_and_is_not_begun_again(client: Client) -> None:
    detail = json.dumps({"error": {"message": "too late", "type": "timeout", "param": None, "code": "deadline"}})
    num_requests = 0

    def answer(request: httpx2.Request) -> httpx2.Response:
        nonlocal num_requests
        num_requests += 1
        text = unpacked(json.loads(request.content)["z"][0])[0]
        return events('{"index":0,"text":"a"}', error=detail if text else None)

    with pytest.raises(AdaVAEServiceError, match="too late") as failed:
        client.ask(answer, "decode_stream", [1.0])
    assert failed.value.code == "deadline"
    with pytest.raises(AdaVAEServiceError, match="ended before"):
        client.ask(answer, "decode_stream", [0.0])
    with pytest.raises(AdaVAEServiceError) as failed:
        client.ask(lambda _: refusal(422, "invalid_z"), "decode_stream", [0.0])
    assert failed.value.code == "invalid_z"
    assert num_requests == 2
    assert client.pauses == []


def test_the_two_clients_take_the_same(client: Client) -> None:
    if client.is_async:
        return
    for name, method in inspect.getmembers(AdaVAEClient, inspect.isfunction):
        if not name.startswith("_"):
            each, other = inspect.signature(method), inspect.signature(getattr(AsyncAdaVAEClient, name))
            assert each.parameters == other.parameters


def test_the_client_needs_neither_torch_nor_the_service() -> None:
    code = (
        "import sys, adavae.service.client.latent; print({'torch', 'fastapi', 'pydantic', 'redis'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


@pytest.mark.asyncio
async def test_the_real_service_understands_and_is_understood(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path)
    metrics = Metrics()
    service = LatentService(settings, metrics)
    await service.start()
    transport = httpx2.ASGITransport(create_app(settings, service, metrics))
    try:
        async with AsyncAdaVAEClient("http://127.0.0.1", transport=transport, max_retries=0) as client:
            texts = ["the food was great 7 .", "my room was awful"] * 130
            mu = await client.encode(texts, "plain")
            expected = (await service.encode(texts[:2], adapter="plain", truncate=False)).rows
            np.testing.assert_array_equal(mu, np.stack([row.encoding.mu for row in expected] * 130))
            lengths = np.linalg.norm(await client.encode(texts[:2], "plain", normalize=True), axis=1)
            np.testing.assert_allclose(lengths, 1, atol=1e-6)
            posterior = await client.posterior(texts[:2], "plain")
            np.testing.assert_array_equal(posterior.logvar, np.stack([row.encoding.logvar for row in expected]))
            chosen: dict[str, Any] = {"strategy": "sample", "seed": 3, "max_tokens": 6}
            written = await client.decode(mu[:70], "plain", **chosen)
            streamed = [""] * 3
            async for piece in client.decode_stream(mu[:3], "plain", **chosen):
                streamed[piece.index] += piece.text
            assert streamed == written[:3]
            assert await client.decode(mu[64:70], "plain", **(chosen | {"seed": 3 + 64})) == written[64:]
            assert len(await client.sample(2, max_tokens=4)) == 2
            assert len(await client.interpolate(texts[0], texts[1], 4, "spherical", max_tokens=4)) == 4
            assert len(await client.analogy(texts[0], texts[1], "fine", 0.5, 2, max_tokens=4)) == 2
            classified = await client.classify(texts[:2], "prefixed")
            assert next(iter(classified[0].scores)) == classified[0].label
            found = await client.adapters()
            assert {each.name for each in found} == {state.name for state in service.adapters()}
            assert [each.name for each in found if each.is_default] == ["prefixed"]
            with pytest.raises(AdaVAEServiceError) as failed:
                await client.encode("x", "plian")
            assert (failed.value.status, failed.value.code) == (404, "adapter_not_found")
            assert failed.value.request_id
            with pytest.raises(AdaVAEServiceError) as failed:
                await client.encode([])
            assert failed.value.status == 422
    finally:
        await service.stop()
