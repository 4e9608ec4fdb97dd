"""What the operations are built on: started part by part, and stopped wherever the start came to."""

import asyncio
from pathlib import Path

import pytest

from adavae.model.errors import BackboneNotFound
from adavae.service import latent_parts
from adavae.service.encodings.cache import NoCache
from adavae.service.latent_parts import LatentParts
from adavae.service.metrics import Metrics
from tests.tiny_home import tiny_settings
from tests.unit.service.stub_latent_service import stub_settings


class WatchedCache(NoCache):
    """Counts how often it is closed."""

    num_closed = 0

    async def close(self) -> None:
        self.num_closed += 1


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> WatchedCache:
    watched = WatchedCache()
    monkeypatch.setattr(latent_parts, "open_cache", lambda _: watched)
    return watched


@pytest.mark.asyncio
async def test_a_start_that_fails_leaves_nothing_open(cache: WatchedCache) -> None:
    parts = LatentParts(stub_settings(), Metrics())
    with pytest.raises(BackboneNotFound):
        await parts.start()
    assert cache.num_closed == 0
    await parts.stop()
    await parts.stop()
    assert cache.num_closed == 1


@pytest.mark.asyncio
async def test_what_was_started_is_stopped_once(tmp_path: Path, cache: WatchedCache) -> None:
    parts = LatentParts(tiny_settings(tmp_path), Metrics())
    await parts.start()
    assert parts.engine.not_ready_reason is None
    async with asyncio.timeout(20):
        await parts.stop()
        await parts.stop()
    assert parts.engine.not_ready_reason == "the engine is stopped"
    assert cache.num_closed == 1
