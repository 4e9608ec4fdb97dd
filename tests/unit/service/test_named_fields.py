"""Refusals name a field of the request, and come before the work: over HTTP, by a whole tiny service."""

import struct
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from adavae.service.latent_service import LatentService
from adavae.service.main import create_app
from adavae.service.metrics import Metrics
from tests.tiny_home import tiny_settings

BLANK, LONG = "\ufeff", "the food was good " * 30


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[LatentService]:
    service = LatentService(tiny_settings(tmp_path), Metrics())
    await service.start()
    yield service
    await service.stop()


@pytest_asyncio.fixture
async def client(service: LatentService) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(create_app(service.settings, service, service.metrics))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


async def refused(client: httpx2.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    reply = await client.post(path, json=body)
    assert reply.status_code in (409, 422), reply.text
    error: dict[str, Any] = reply.json()["error"]
    return error


@pytest.mark.asyncio
@pytest.mark.parametrize("text", [BLANK, LONG])
@pytest.mark.parametrize(
    ("path", "field"),
    [("/encode", "text"), ("/classify", "text"), ("/variations", "text"), ("/v1/embeddings", "input")],
)
async def test_a_text_is_named_as_it_was_sent(client: httpx2.AsyncClient, path: str, field: str, text: str) -> None:
    """Of the one text that was sent, texts[0] was said to be empty."""
    model = {"model": "prefixed"} if path == "/v1/embeddings" else {}
    assert (await refused(client, path, {field: text, **model}))["param"] == field
    many = field if field == "input" else "texts"
    assert (await refused(client, path, {many: ["good", text], **model}))["param"] == f"{many}[1]"


@pytest.mark.asyncio
@pytest.mark.parametrize("text", [BLANK, LONG])
async def test_a_text_of_a_pair_is_named_with_its_side(client: httpx2.AsyncClient, text: str) -> None:
    for source, target, param in (
        ("good", text, "target"),
        (["good", "bad"], ["bad", text], "target[1]"),
        (["good", text], ["bad", "good"], "source[1]"),
    ):
        assert (await refused(client, "/interpolate", {"source": source, "target": target}))["param"] == param


@pytest.mark.asyncio
async def test_token_ids_are_named_as_they_were_sent(client: httpx2.AsyncClient) -> None:
    for given, param in (([999_999], "input"), ([[1], [999_999]], "input[1]")):
        error = await refused(client, "/v1/embeddings", {"model": "prefixed", "input": given})
        assert error["param"] == param
        assert error["message"].startswith(f"{param} has the token id 999999")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/analogy", {"a": "good", "b": "bad", "c": "fine", "scale": 1e308}, "scale"),
        ("/analogy", {"a": "good", "b": "bad", "c": ["fine"], "scale": -1e308, "samples": 2}, "scale"),
        ("/decode", {"z": [[3e38] * 6]}, "z"),
        ("/decode", {"z": [b64encode(struct.pack("<6f", *[3e38] * 6)).decode()]}, "z"),
    ],
)
async def test_what_leads_z_too_far_is_named(
    client: httpx2.AsyncClient, path: str, body: dict[str, Any], param: str
) -> None:
    """Whoever asked for an analogy was told of a z that was not in the request."""
    error = await refused(client, path, body)
    assert (error["code"], error["param"]) == ("not_finite", param)


@pytest.mark.asyncio
async def test_a_stream_names_its_z_too(client: httpx2.AsyncClient) -> None:
    reply = await client.post("/decode", json={"z": [[3e38] * 6], "stream": True})
    assert '"param":"z"' in reply.text.replace(" ", "")


@pytest.mark.asyncio
async def test_dimensions_are_refused_before_texts_are_encoded(
    client: httpx2.AsyncClient, service: LatentService
) -> None:
    body = {"model": "prefixed", "input": ["good"] * 2000, "dimensions": 4000}
    assert (await refused(client, "/v1/embeddings", body))["param"] == "dimensions"
    assert (await refused(client, "/v1/embeddings", body | {"dimensions": 2}))["code"] == "adapter_mismatch"
    assert service.metrics.encode_batch_rows._sum.get() == 0
