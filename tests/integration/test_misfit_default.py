"""A service whose default adapter set was trained over another backbone says so, and goes on with what fits."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from adavae.model.storage.adapter_set import NewAdapterSet, write_adapter_set
from adavae.service.latent_service import LatentService
from adavae.service.main import create_app
from adavae.service.metrics import Metrics
from adavae.service.settings import Settings
from tests.tiny import PREFIXED
from tests.tiny_home import tiny_settings
from tests.tiny_text import tiny_pretrained, tiny_set

SAID = "the default adapter set cannot serve: yelp@"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sets over the tiny backbone, and one called as the built-in default is, over another one."""
    path = tmp_path_factory.mktemp("home")
    settings = tiny_settings(path)
    stranger = NewAdapterSet(
        name="yelp",
        config=PREFIXED,
        tensors=tiny_set(PREFIXED, 1).tensors,
        backbone_digest="0" * 64,
        tokenizer_digest=tiny_pretrained().tokenizer.digest,
        metrics={},
        training={"preset": "generation"},
        created_at="2026-01-02T03:04:05+00:00",
        model_card="# yelp\n",
    )
    write_adapter_set(settings.bundled_adapters, stranger)
    return path


def asked(settings: Settings, *requests: tuple[str, str, dict[str, Any] | None]) -> list[httpx2.Response]:
    async def ask() -> list[httpx2.Response]:
        service = LatentService(settings, metrics := Metrics())
        await service.start()
        transport = httpx2.ASGITransport(create_app(settings, service, metrics))
        try:
            async with httpx2.AsyncClient(base_url="http://127.0.0.1", transport=transport) as client:
                return [await client.request(method, path, json=body) for method, path, body in requests]
        finally:
            await service.stop()

    return asyncio.run(ask())


def test_where_nobody_chose_the_default_the_service_is_ready_and_says_what_to_name(home: Path) -> None:
    chosen = tiny_settings(home)
    unset = Settings(**{name: getattr(chosen, name) for name in chosen.model_fields_set - {"default_adapter"}})
    with capture_logs() as logs:
        ready, named, unnamed = asked(
            unset,
            ("GET", "/readyz", None),
            ("POST", "/encode", {"text": "a", "adapter": "plain"}),
            ("POST", "/encode", {"text": "a"}),
        )
    assert (ready.status_code, ready.json()["status"], named.status_code) == (200, "ready", 200)
    assert ready.json()["warning"].startswith(SAID)
    assert ready.json()["warning"].endswith("ADAVAE_DEFAULT_ADAPTER: plain, pooled, prefixed")
    assert (unnamed.status_code, unnamed.json()["error"]["code"]) == (409, "adapter_mismatch")
    assert [log["reason"] for log in logs if "will be refused" in log["event"]] == [ready.json()["warning"]]


def test_where_somebody_chose_it_the_service_is_not_ready(home: Path) -> None:
    (ready,) = asked(tiny_settings(home, default_adapter="yelp"), ("GET", "/readyz", None))
    assert (ready.status_code, ready.json()["error"]["code"]) == (503, "not_ready")
    assert SAID in ready.json()["error"]["message"]


def test_a_default_that_serves_is_no_matter_for_a_warning(home: Path) -> None:
    (ready,) = asked(tiny_settings(home), ("GET", "/readyz", None))
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
