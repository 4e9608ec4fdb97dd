"""What adapter sets may take in memory: counted before anything is allocated, refused by name, given back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from adavae.model.config import AdapterConfig, AdapterPlacement, LatentAggregation, LatentInfusion
from adavae.model.errors import AdapterSetMismatch, ConfigError, WeightsCorrupted
from adavae.model.parts.bank_shape import BankShape
from adavae.model.parts.bank_size import numbers_of_slot
from adavae.model.storage.adapter_set import AdapterSet
from adavae.model.storage.latent_space import space_of
from adavae.service.engine.engine import Engine
from adavae.service.engine.scheduler import EngineLimits
from adavae.service.errors import BankFull
from adavae.service.metrics import Metrics
from tests.tiny import PLAIN, PREFIXED
from tests.tiny_prior import tiny_prior
from tests.tiny_text import backbone_config, tiny_pretrained, tiny_set

DEEP = replace(PLAIN, latent_size=512)
WIDE = replace(PLAIN, adapter_size=512)
CLAIMS: dict[str, dict[str, Any]] = {
    "latent_size": {"latent_size": 1024},
    "adapter_size": {"adapter_size": 1024},
    "latent_size and adapter_size": {"latent_size": 1024, "adapter_size": 1024},
    "labels": {"labels": tuple(f"label {number}" for number in range(1000))},
    "latent_heads": {"latent_heads": 64},
    "latent_positions": {"latent_positions": 64},
    "prefix_length": {"prefix_length": 512},
    "encoder_layers": {"encoder_layers": 3},
    "another placement": {"adapter_placement": AdapterPlacement.SEQUENTIAL_ATTENTION},
    "another way to infuse": {"latent_infusion": LatentInfusion.BOTH},
    "another aggregation": {"latent_aggregation": LatentAggregation.POOLED},
    "fewer": {"latent_size": 1},
}


def numbers(*configs: AdapterConfig) -> int:
    return numbers_of_slot(BankShape.covering(configs), backbone_config())


def bytes_of(config: AdapterConfig) -> int:
    """Alone in a bank: its slot in float32, and as the compiled code has it."""
    return (4 + 2) * numbers(config)


@asynccontextmanager
async def running(max_bytes: int, *expected: AdapterConfig) -> AsyncIterator[Engine]:
    engine = Engine(
        tiny_pretrained(), expected, num_slots=4, limits=EngineLimits(), metrics=Metrics(), max_bank_bytes=max_bytes
    )
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop(10.0)


def claiming(adapter_set: AdapterSet, **fields: Any) -> AdapterSet:
    """The same tensors under a configuration that describes others."""
    config = replace(adapter_set.manifest.config, **fields)
    return replace(adapter_set, manifest=replace(adapter_set.manifest, config=config))


@pytest.mark.asyncio
@pytest.mark.parametrize("fields", CLAIMS.values(), ids=CLAIMS.keys())
async def test_a_set_that_claims_other_tensors_than_it_has_changes_nothing(fields: dict[str, Any]) -> None:
    """A file of 5 MB that claimed 100,000 labels made the bank gigabytes large before anybody looked."""
    async with running(2**30, PLAIN) as engine:
        bank = engine.vae.bank
        forged = claiming(tiny_set(PLAIN), **fields)
        for attempt in (lambda: engine.bank.check(forged.manifest), lambda: engine.bank.load(0, forged)):
            with pytest.raises(AdapterSetMismatch, match=r"by its configuration .* has shape .* in its file"):
                outcome = attempt()
                if outcome is not None:
                    await outcome
        assert engine.vae.bank is bank


@pytest.mark.parametrize("number", [1001, 100_000])
def test_a_head_has_a_limit(number: int) -> None:
    with pytest.raises(ConfigError, match=rf"labels is {number}: must be at most 1000"):
        replace(PLAIN, labels=tuple(map(str, range(number))))


@pytest.mark.asyncio
async def test_a_set_that_is_too_large_alone_is_refused_by_name_with_limit_and_remedy() -> None:
    async with running(bytes_of(WIDE) - 1, PLAIN) as engine:
        large = tiny_set(WIDE)
        with pytest.raises(AdapterSetMismatch) as refused:
            await engine.load(0, large)
        assert str(refused.value).startswith(f"{large.manifest.reference} takes {bytes_of(WIDE):,} bytes")
        assert f"may take {bytes_of(WIDE) - 1:,} (ADAVAE_BANK_BYTES): allow more" in str(refused.value)
        await engine.load(0, tiny_set(PLAIN))
    async with running(bytes_of(WIDE), PLAIN) as engine:
        await engine.load(0, tiny_set(WIDE))


@pytest.mark.asyncio
async def test_sets_that_are_large_in_different_directions_do_not_multiply() -> None:
    """Each slot was as large as the product of what different sets asked for."""
    assert numbers(DEEP, WIDE) > 1.2 * max(numbers(DEEP), numbers(WIDE))
    max_bytes = 2 * max(bytes_of(DEEP), bytes_of(WIDE))
    async with running(max_bytes, PLAIN) as engine:
        await engine.load(0, tiny_set(DEEP))
        with pytest.raises(BankFull, match=r"does not fit into memory beside the 1 adapter sets.*ADAVAE_BANK_BYTES"):
            await engine.load(1, tiny_set(WIDE))
        assert engine.vae.bank.configs[:2] == [DEEP, None]
        manifest = tiny_set(WIDE).manifest
        assert [engine.bank.fits_beside(slots, manifest) for slots in ([0], [1], [])] == [False, True, True]
        await engine.bank.unload(0)
        await engine.load(1, tiny_set(WIDE))
        assert engine.vae.bank.configs[:2] == [None, WIDE]
        assert numbers_of_slot(engine.vae.bank.shape, backbone_config()) == numbers(WIDE)


@pytest.mark.asyncio
async def test_what_is_expected_widens_no_slot_beyond_the_bytes_of_the_whole_bank() -> None:
    expected = (PLAIN, WIDE, DEEP)
    async with running(4 * 4 * numbers(PLAIN, WIDE), *expected) as engine:
        assert engine.vae.bank.has_room_for(PLAIN) and engine.vae.bank.has_room_for(WIDE)
        assert not engine.vae.bank.has_room_for(DEEP)


@pytest.mark.asyncio
async def test_the_bank_becomes_narrow_again_when_a_large_set_has_gone() -> None:
    async with running(2**30, PLAIN) as engine:
        await engine.load(0, tiny_set(PLAIN, 1))
        await engine.load(1, tiny_set(PREFIXED, 2))
        await engine.load(2, tiny_set(replace(WIDE, latent_size=512), 3))
        large = numbers_of_slot(engine.vae.bank.shape, backbone_config())
        await engine.bank.expect([PLAIN, PREFIXED])
        assert numbers_of_slot(engine.vae.bank.shape, backbone_config()) == large, "it is still in use"
        await engine.bank.unload(2)
        await engine.bank.expect([PLAIN, PREFIXED])
        assert numbers_of_slot(engine.vae.bank.shape, backbone_config()) == numbers(PLAIN, PREFIXED)
        for slot, (config, seed) in enumerate([(PLAIN, 1), (PREFIXED, 2)]):
            exported, expected = engine.vae.bank.export(slot), tiny_set(config, seed).tensors
            assert all(bool((exported[name] == tensor).all()) for name, tensor in expected.items())


@pytest.mark.asyncio
async def test_a_set_is_tried_in_its_slot_beside_others() -> None:
    """It was tried in a bank made for that alone, which took longer than reading it."""
    async with running(2**30, PLAIN, PREFIXED) as engine:
        await engine.load(0, tiny_set(PLAIN))
        good = replace(tiny_set(PREFIXED), prior_tensors=tiny_prior(PREFIXED).to_tensors())
        await engine.load(1, good)
        await engine.bank.try_loaded(1, good, space_of(good))
        [before] = await engine.encode([[5, 6, 7]], [0], deadline_s=100)
        tensors = {name: tensor * 1e30 if "encoder" in name else tensor for name, tensor in good.tensors.items()}
        bad = replace(good, tensors=tensors)
        await engine.load(2, bad)
        with pytest.raises(WeightsCorrupted, match=r"was tried.*train the set again"):
            await engine.bank.try_loaded(2, bad, space_of(bad))
        await engine.bank.unload(2)
        [after] = await engine.encode([[5, 6, 7]], [0], deadline_s=100)
        assert (before.mu == after.mu).all()


@pytest.mark.asyncio
async def test_a_prior_that_draws_nothing_finite_fails_the_trial() -> None:
    async with running(2**30, PREFIXED) as engine:
        tensors = tiny_prior(PREFIXED).to_tensors()
        tensors["flow.output.bias"] = torch.full_like(tensors["flow.output.bias"], 3e38)
        bad = replace(tiny_set(PREFIXED), prior_tensors=tensors)
        await engine.load(0, bad)
        with pytest.raises(WeightsCorrupted, match="was tried"):
            await engine.bank.try_loaded(0, bad, space_of(bad))
