"""Sixty-four rows over eight adapter sets in one batch of the engine, against every row alone in a plain text model."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.model.text_model import TextModel
from adavae.service.engine.engine import Engine
from adavae.service.engine.work import EngineLimits
from adavae.service.metrics import Metrics
from tests.parity.compiled import best_compiled
from tests.tiny import VARIANTS
from tests.tiny_text import NAMED, tiny_pretrained, tiny_set

NUM_SETS, ROWS_A_SET = 8, 8
LIMITS = EngineLimits(encode_batch_tokens=4096, decode_rows=64, max_tokens=16, max_queued_rows=300)
SETS = [tiny_set(config, seed) for seed, config in enumerate((list(NAMED.values()) * NUM_SETS)[:NUM_SETS], start=1)]


def text_models() -> list[TextModel]:
    return [TextModel.of_sets(tiny_pretrained(), {"alone": adapter_set}) for adapter_set in SETS]


async def started(*, is_compiled: bool) -> Engine:
    pretrained = tiny_pretrained()
    if is_compiled:
        best_compiled()
        pretrained.backbone.pack()
    engine = Engine(pretrained, VARIANTS, num_slots=NUM_SETS, limits=LIMITS, metrics=Metrics())
    await engine.start()
    for slot, adapter_set in enumerate(SETS):
        await engine.load(slot, adapter_set)
    return engine


@pytest.mark.asyncio
@pytest.mark.parametrize("is_compiled", [False, True], ids=["pytorch", "compiled"])
async def test_mu_is_the_same_alone_and_in_a_batch_of_64_over_8_sets(is_compiled: bool) -> None:
    texts = [" ".join([f"the food was number {number}"] * (1 + number % 3)) for number in range(NUM_SETS * ROWS_A_SET)]
    slots = [number % NUM_SETS for number in range(len(texts))]
    models = text_models()
    token_ids, _ = models[0].token_ids(texts, truncate=True)
    engine = await started(is_compiled=is_compiled)
    try:
        together = await engine.encode(token_ids, slots, deadline_s=60)
    finally:
        await engine.stop(10.0)
    for text, slot, encoding in zip(texts, slots, together, strict=True):
        alone = models[slot].encode([text], "alone", truncate=True)
        np.testing.assert_allclose(encoding.mu, alone.mu[0].numpy(), atol=1e-5, rtol=0)


@pytest.mark.asyncio
@pytest.mark.parametrize("is_compiled", [False, True], ids=["pytorch", "compiled"])
@pytest.mark.parametrize(
    "decoding",
    [Decoding(max_tokens=12), Decoding(strategy=Strategy.SAMPLE, seed=11, max_tokens=12)],
    ids=["greedy", "seeded"],
)
async def test_texts_are_the_same_alone_and_in_a_batch_of_64_over_8_sets(decoding: Decoding, is_compiled: bool) -> None:
    models = text_models()
    decodings = [replace(decoding, seed=decoding.seed + row) for row in range(ROWS_A_SET)]
    z = [models[slot].sample_prior(ROWS_A_SET, "alone", seed=slot) for slot in range(NUM_SETS)]
    engine = await started(is_compiled=is_compiled)
    try:
        together = await asyncio.gather(
            *(engine.decode(z[slot].numpy(), slot, decodings, deadline_s=60) for slot in range(NUM_SETS))
        )
    finally:
        await engine.stop(10.0)
    texts = set()
    for slot, rows in enumerate(together):
        alone = [
            models[slot].decode(latent.unsqueeze(0), "alone", chosen)[0].text
            for latent, chosen in zip(z[slot], decodings, strict=True)
        ]
        assert [models[slot].tokenizer.decode(row.token_ids) for row in rows] == alone
        texts.update(alone)
    assert len(texts) > NUM_SETS  # different sets and latents give different texts, or nothing was compared
