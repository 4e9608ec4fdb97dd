"""Sets with a prior and without, asked over HTTP for what only the ones can do."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest

from adavae.service.latent_service import LatentService
from adavae.service.main import create_app
from adavae.service.metrics import Metrics
from tests.tiny import PREFIXED
from tests.tiny_home import publish_tiny, tiny_settings
from tests.tiny_prior import tiny_prior

A, B = "the food was awful", "the food was great"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("home")
    settings = tiny_settings(path)
    publish_tiny(settings.bundled_adapters, settings.weights, "spaced", PREFIXED, 2, prior=tiny_prior(PREFIXED))
    return path


def answers(home: Path, *asked: tuple[str, dict[str, Any]], **fields: Any) -> list[httpx2.Response]:
    async def ask() -> list[httpx2.Response]:
        settings, metrics = tiny_settings(home, **fields), Metrics()
        service = LatentService(settings, metrics)
        await service.start()
        transport = httpx2.ASGITransport(create_app(settings, service, metrics))
        try:
            async with httpx2.AsyncClient(base_url="http://127.0.0.1", transport=transport) as client:
                return [await client.post(path, json=body) for path, body in asked]
        finally:
            await service.stop()

    return asyncio.run(ask())


def test_what_a_set_cannot_do_is_said(home: Path) -> None:
    walk = {"source": A, "target": B}
    labels = {"text": A, "direction": {"from": "no", "to": "yes"}}
    replies = answers(
        home,
        ("/decode", {"samples": 1, "label": "maybe", "adapter": "spaced"}),
        ("/decode", {"samples": 1, "label": "yes", "adapter": "prefixed"}),
        ("/decode", {"samples": 1, "label": "yes", "adapter": "plain"}),
        ("/interpolate", walk | {"refine": 0.5, "adapter": "plain"}),
        ("/traverse", labels | {"adapter": "prefixed"}),
        ("/traverse", labels | {"adapter": "spaced", "direction": {"from": "no", "to": "maybe"}}),
        ("/traverse", {"text": A, "direction": {"dimension": 6}, "adapter": "spaced"}),
    )
    said = [(reply.status_code, reply.json()["error"]["param"], reply.json()["error"]["message"]) for reply in replies]
    assert [status for status, _, _ in said] == [422, 409, 409, 409, 409, 422, 422]
    assert "the labels of spaced@" in said[0][2] and "no, yes" in said[0][2]
    assert "no prior that knows its labels" in said[1][2]
    assert "has no labels" in said[2][2]
    assert "has no prior: leave refine out" in said[3][2]
    assert said[5][1] == "direction.to"
    assert said[6][1] == "direction.dimension"


def test_typicality_comes_with_z_and_is_null_without_a_prior(home: Path) -> None:
    body = {"source": A, "target": B, "include": ["z"]}
    with_prior, without, bare = answers(
        home,
        ("/interpolate", body | {"adapter": "spaced"}),
        ("/interpolate", body | {"adapter": "plain"}),
        ("/decode", {"samples": 2, "adapter": "spaced"}),
    )
    assert all(0.0 <= row["typicality"] <= 1.0 for row in with_prior.json()["data"])
    assert all(row["typicality"] is None for row in without.json()["data"])
    assert not {"z", "typicality"} & bare.json()["data"][0].keys()


def test_two_hundred_tone_changes_are_one_request(home: Path) -> None:
    body = {
        "a": [A, "my room was bad"],
        "b": [B, "my room was good"],
        "c": [f"the staff was rude {n}" for n in range(200)],
    }
    (reply,) = answers(home, ("/analogy", body | {"adapter": "spaced", "decoding": {"max_tokens": 4}}))
    assert reply.status_code == 200, reply.text
    assert [row["c"] for row in reply.json()["data"]] == list(range(200))


def test_a_stream_ends_with_the_z_that_was_asked_for(home: Path) -> None:
    body = {"samples": 2, "stream": True, "label": "yes", "include": ["z"], "adapter": "spaced"}
    (reply,) = answers(home, ("/decode", body))
    whole = reply.text.split("\n\n")[-3]
    assert '"typicality":' in whole
    assert '"z":[' in whole
