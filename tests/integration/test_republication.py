"""One adapter set published again and again under load: nothing fails, and no reply comes from another version."""

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from adavae.model.decoding.decoding import Decoding
from adavae.model.storage.adapter_set import AdapterSet
from adavae.model.storage.pretrained import PretrainedBackbone, load_backbone
from adavae.model.text_model import TextModel
from adavae.service.latent_service import LatentService
from adavae.service.metrics import Metrics
from tests.tiny_home import publish_tiny, tiny_settings
from tests.tiny_text import NAMED, tiny_set

NUM_VERSIONS = 50
NUM_CLIENTS = 8
TEXTS = ["the food was great 7 .", "my room was awful", "our waiter was rude and the pizza was bad 3 ."]
GREEDY = Decoding(max_tokens=6)


@dataclass(slots=True)
class Expected:
    """What each version answers."""

    pretrained: PretrainedBackbone
    mu: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)

    def add(self, version: str, seed: int) -> None:
        adapter_set = tiny_set(NAMED["plain"], seed)
        model = TextModel.of_sets(self.pretrained, {"plain": _rounded(adapter_set)})
        mu = model.encode(TEXTS, "plain").mu
        self.mu[version] = mu.numpy()
        self.texts[version] = [row.text for row in model.decode(mu, "plain", GREEDY)]


def _rounded(adapter_set: AdapterSet) -> AdapterSet:
    """As it comes back from disk, in half precision."""
    tensors = {name: tensor.to(torch.float16).float() for name, tensor in adapter_set.tensors.items()}
    return replace(adapter_set, tensors=tensors)


async def ask_until(done: asyncio.Event, service: LatentService, expected: Expected, seen: set[str]) -> int:
    num_replies = 0
    while not done.is_set():
        encoded = await service.encode(TEXTS, adapter="plain", truncate=False)
        seen.add(encoded.adapter.version)
        for row, mu in zip(encoded.rows, expected.mu[encoded.adapter.version], strict=True):
            np.testing.assert_allclose(row.encoding.mu, mu, atol=1e-5, rtol=0)
        reference = f"plain@{encoded.adapter.version}"
        latents = [row.encoding.mu.tolist() for row in encoded.rows]
        decoded = await service.decode(latents, adapter=reference, decodings=[GREEDY] * len(TEXTS))
        assert [row.text for row in decoded.rows] == expected.texts[encoded.adapter.version]
        num_replies += 2
    return num_replies


@pytest.mark.asyncio
@pytest.mark.slow
async def test_fifty_republications_under_load(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path, refresh_s=0.02)
    service = LatentService(settings, Metrics())
    await service.start()
    expected, seen, done = Expected(load_backbone(settings.backbone_source)), set[str](), asyncio.Event()
    first = next(state for state in service.adapters() if state.name == "plain")
    expected.add(first.version, list(NAMED).index("plain") + 1)
    clients = [asyncio.ensure_future(ask_until(done, service, expected, seen)) for _ in range(NUM_CLIENTS)]
    try:
        for number in range(NUM_VERSIONS):
            seed = 100 + number
            version = await asyncio.to_thread(_publish, settings.own_adapters, settings.weights, seed, expected)
            async with asyncio.timeout(20):
                while version not in seen:
                    await asyncio.sleep(0.002)
                    if any(client.done() for client in clients):
                        break
    finally:
        done.set()
        replies = await asyncio.gather(*clients)
        await service.stop()
    assert len(seen) == NUM_VERSIONS + 1
    assert sum(replies) > 2 * NUM_VERSIONS
    assert service.metrics.adapter_failures_total._value.get() == 0


def _publish(root: Path, weights: Path, seed: int, expected: Expected) -> str:
    """Publishes the next version; what it answers is known before anybody can ask it."""
    created_at = f"2026-06-01T00:{seed // 60:02}:{seed % 60:02}+00:00"
    arguments = (weights, "plain", NAMED["plain"], seed)
    rehearsal = publish_tiny(root.parent / "rehearsal", *arguments, created_at=created_at)
    expected.add(rehearsal.name, seed)
    path = publish_tiny(root, *arguments, created_at=created_at)
    assert path.name == rehearsal.name
    return path.name
