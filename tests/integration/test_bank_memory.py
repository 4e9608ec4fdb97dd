"""The memory of a service while large adapter sets come, are used, and go: resident pages, measured."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from adavae.model.errors import AdapterSetNotFound
from adavae.model.parts.bank_shape import BankShape
from adavae.model.parts.bank_size import numbers_of_slot
from adavae.service.latent_service import LatentService
from adavae.service.metrics import Metrics
from tests.bench.memory import resident_mib
from tests.tiny import PLAIN
from tests.tiny_home import publish_tiny, tiny_settings
from tests.tiny_text import backbone_config

LARGE = replace(PLAIN, latent_size=4096, latent_heads=64, latent_positions=64, adapter_size=4096)
DEADLINE_S = 60.0


def mib_of_large() -> float:
    """In its slot, in float32."""
    return 4 * numbers_of_slot(BankShape.covering([LARGE]), backbone_config()) / 2**20


async def is_gone(service: LatentService) -> None:
    """Until another bank has taken over, and the one before has been let go of."""
    async with asyncio.timeout(DEADLINE_S):
        while service._parts.engine.vae.bank.shape.latent_size == LARGE.latent_size:
            await asyncio.sleep(0.02)
        while service._parts.registry._room.is_being_fitted:
            await asyncio.sleep(0.02)


@pytest.mark.asyncio
async def test_memory_comes_back_when_a_large_set_has_gone(tmp_path: Path) -> None:
    """It grew from 1.0 to 2.8 GB for one set, to 8 GB for the next, and stayed there."""
    settings = tiny_settings(tmp_path)
    service = LatentService(settings, Metrics())
    await service.start()
    after: list[float] = []
    try:
        for seed in range(4):
            path = publish_tiny(settings.own_adapters, settings.weights, "large", LARGE, seed=seed)
            reference = f"large@{path.name}"
            while True:
                with suppress(AdapterSetNotFound):
                    await service.encode(["the food was great"], adapter=reference, truncate=False)
                    break
            in_use = resident_mib()
            await service.delete_adapter("large")
            await is_gone(service)
            after.append(resident_mib())
            assert in_use - after[-1] > 0.5 * mib_of_large()
    finally:
        await service.stop()
    assert mib_of_large() > 100
    assert after[-1] - after[0] < mib_of_large()  # three that stayed would be three times as much; half comes and goes


@pytest.mark.asyncio
async def test_a_set_beyond_the_budget_is_listed_with_its_reason_and_takes_nothing(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path, bank_bytes=2**24)
    service = LatentService(settings, Metrics())
    await service.start()
    try:
        await service.encode(["the food was great"], adapter="plain", truncate=False)
        path = publish_tiny(settings.own_adapters, settings.weights, "large", LARGE, seed=1)
        await service._parts.registry.refresh()
        (state,) = [state for state in service.adapters() if state.name == "large"]
        assert state.problem is not None and "ADAVAE_BANK_BYTES" in state.problem and path.name in state.problem
        assert service._parts.engine.vae.bank.shape.latent_size < LARGE.latent_size
        await service.encode(["the staff was rude"], adapter="plain", truncate=False)
    finally:
        await service.stop()
