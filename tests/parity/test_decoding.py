"""The cached decoder against the whole text at once, and mixed adapter sets against each alone."""

import pytest
import torch

from adavae.model.adavae import AdaVAE, pad
from adavae.model.config import AdapterConfig
from adavae.model.kv_cache import KVCache
from adavae.model.parts.stacked import AdapterIndex
from tests.tiny import TINY, VARIANTS, mixed_bank, tiny_backbone, tiny_vae

ROWS = [[5, 6, 7], [8, 9, 10, 11, 12], [1, 2], [3, 3, 3, 3]]
SLOTS = [1, 0, 2, 1]


@pytest.mark.parametrize("config", VARIANTS)
@torch.no_grad()
def test_cached_decoding_equals_uncached(config: AdapterConfig) -> None:
    vae, index = tiny_vae(config), AdapterIndex.uniform(2)
    z = torch.randn(2, config.latent_size, generator=torch.Generator().manual_seed(3))
    tokens = torch.tensor([[7, 11, 13, 17], [5, 3, 2, 9]])
    logits, kv_cache = vae.prefill(z, index, max_tokens=5)
    steps = [logits] + [vae.decode_step(tokens[:, t], kv_cache, index) for t in range(4)]
    inputs = torch.cat([torch.full((2, 1), TINY.eos_token_id), tokens], 1)
    whole = vae.backbone.lm_head(vae.hidden_states(inputs, z, index))
    torch.testing.assert_close(torch.stack(steps, 1), whole, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_rows_selected_from_a_cache_go_on_as_before() -> None:
    vae, index = tiny_vae(), AdapterIndex.uniform(3)
    z = torch.randn(3, 4, generator=torch.Generator().manual_seed(4))
    _, kv_cache = vae.prefill(z, index, max_tokens=4)
    rows = torch.tensor([2, 0, 2])
    chosen: KVCache = kv_cache.select(rows)
    expected = vae.decode_step(torch.tensor([4, 5, 6]), kv_cache, index)
    got = vae.decode_step(torch.tensor([6, 4, 6]), chosen, index.select(rows))
    torch.testing.assert_close(got, expected[rows], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_mixed_adapter_sets_equal_each_alone() -> None:
    backbone = tiny_backbone()
    bank, alone = mixed_bank()
    mixed, index = AdaVAE(backbone, bank), AdapterIndex.of(SLOTS)
    posterior = mixed.encode(*pad(ROWS, 0), index)
    logits, kv_cache = mixed.prefill(posterior.mu, index, max_tokens=4)
    tokens = logits.argmax(-1)
    following = mixed.decode_step(tokens, kv_cache, index)
    for row, slot in enumerate(SLOTS):
        vae, one = AdaVAE(backbone, alone[slot]), AdapterIndex.uniform(1)
        expected = vae.encode(*pad([ROWS[row]], 0), one)
        Z = expected.mu.shape[1]
        torch.testing.assert_close(posterior.mu[row, :Z], expected.mu[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(posterior.logvar[row, :Z], expected.logvar[0], atol=1e-5, rtol=1e-5)
        expected_logits, cache_alone = vae.prefill(expected.mu, one, max_tokens=4)
        torch.testing.assert_close(logits[row], expected_logits[0], atol=1e-5, rtol=1e-4)
        expected_following = vae.decode_step(tokens[row : row + 1], cache_alone, one)
        torch.testing.assert_close(following[row], expected_following[0], atol=1e-5, rtol=1e-4)
