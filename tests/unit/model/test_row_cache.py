"""Rows that join and leave a preallocated cache: each goes on exactly as it would alone."""

import torch

from adavae.model.adavae import AdaVAE
from adavae.model.parts.stacked import AdapterIndex
from adavae.model.row_cache import RowCache
from tests.tiny import TINY, mixed_bank, tiny_backbone


def vae() -> AdaVAE:
    bank, _ = mixed_bank()
    return AdaVAE(tiny_backbone(), bank)


def row_cache(tiny_vae: AdaVAE, max_rows: int = 4, max_tokens: int = 12) -> RowCache:
    weight = tiny_vae.backbone.wte.weight
    num_memory = tiny_vae.bank.num_memory_positions
    return RowCache(TINY, num_memory=num_memory, max_rows=max_rows, max_tokens=max_tokens, like=weight)


def latents(num: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(num, 6, generator=torch.Generator().manual_seed(seed))


def logits_alone(tiny_vae: AdaVAE, z: torch.Tensor, slot: int, tokens: list[int]) -> torch.Tensor:
    """(T, V): logits after end-of-text and each of ``tokens``, one row by itself."""
    index = AdapterIndex.of([slot])
    first, kv_cache = tiny_vae.prefill(z.unsqueeze(0), index, 12)
    steps = [first] + [tiny_vae.decode_step(torch.tensor([token]), kv_cache, index) for token in tokens]
    return torch.cat(steps)


@torch.inference_mode()
def test_num_memory_positions_is_what_the_decoder_memory_has() -> None:
    tiny_vae = vae()
    memory = tiny_vae.bank.decoder_memory(latents(3), AdapterIndex.of([0, 1, 2]))
    assert memory.num_positions == tiny_vae.bank.num_memory_positions


@torch.inference_mode()
def test_a_row_goes_on_unchanged_while_others_join_and_leave() -> None:
    tiny_vae = vae()
    cache = row_cache(tiny_vae)
    z = latents(3)
    cache.join(tiny_vae.bank.decoder_memory(z[:2], AdapterIndex.of([0, 1])))
    eos = TINY.eos_token_id
    first = tiny_vae.decode_step(torch.tensor([eos, eos]), cache.view(0, 2), AdapterIndex.of([0, 1]))
    assert cache.join(tiny_vae.bank.decoder_memory(z[2:], AdapterIndex.of([2]))) == range(2, 3)
    second = tiny_vae.decode_step(torch.tensor([5, 6, eos]), cache.view(0, 3), AdapterIndex.of([0, 1, 2]))
    assert cache.leave([0]) == [(2, 0)]  # the third row now stands at place 0
    third = tiny_vae.decode_step(torch.tensor([7, 8]), cache.view(0, 2), AdapterIndex.of([2, 1]))
    alone = [logits_alone(tiny_vae, z[row], row, tokens) for row, tokens in enumerate(([5], [6, 8], [7]))]
    torch.testing.assert_close(torch.stack([first[0], second[0]]), alone[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.stack([first[1], second[1], third[1]]), alone[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.stack([second[2], third[0]]), alone[2], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_a_place_taken_again_shows_nothing_of_the_row_before() -> None:
    tiny_vae = vae()
    cache = row_cache(tiny_vae, max_rows=1)
    z = latents(2)
    index = AdapterIndex.of([1])
    cache.join(tiny_vae.bank.decoder_memory(z[:1], index))
    for token in (0, 9, 9, 9):
        tiny_vae.decode_step(torch.tensor([token]), cache.view(0, 1), index)
    assert cache.leave([0]) == []
    assert cache.num_free == 1
    plain = AdapterIndex.of([0])
    cache.join(tiny_vae.bank.decoder_memory(z[1:], plain))
    logits = tiny_vae.decode_step(torch.tensor([TINY.eos_token_id]), cache.view(0, 1), plain)
    torch.testing.assert_close(logits, logits_alone(tiny_vae, z[1], 0, []), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_a_step_taken_back_can_be_taken_again() -> None:
    tiny_vae = vae()
    cache = row_cache(tiny_vae)
    index = AdapterIndex.of([0, 1])
    z = latents(2)
    cache.join(tiny_vae.bank.decoder_memory(z, index))
    tiny_vae.decode_step(torch.tensor([TINY.eos_token_id] * 2), cache.view(0, 2), index)
    before = cache.view(0, 2).lengths.clone()
    wrong = tiny_vae.decode_step(torch.tensor([11, 11]), cache.view(0, 2), index)
    cache.undo_step(0, 2, before)
    right = tiny_vae.decode_step(torch.tensor([5, 6]), cache.view(0, 2), index)
    assert not torch.allclose(wrong, right, atol=1e-3)
    for row, token in enumerate((5, 6)):
        torch.testing.assert_close(right[row], logits_alone(tiny_vae, z[row], row, [token])[-1], atol=1e-5, rtol=0)


def test_leaving_moves_the_last_rows_into_the_gaps() -> None:
    tiny_vae = vae()
    cache = row_cache(tiny_vae, max_rows=4)
    cache.join(tiny_vae.bank.decoder_memory(latents(4), AdapterIndex.of([0, 0, 0, 0])))
    assert cache.leave([0, 2, 3]) == [(1, 0)]
    assert cache.num_rows == 1


@torch.inference_mode()
def test_nothing_that_a_row_wrote_is_left_behind_it() -> None:
    """A row that overflowed left numbers that are none: masked for the next row there, and still its end."""
    tiny_vae = vae()
    cache = row_cache(tiny_vae, max_rows=3)
    slots = AdapterIndex.of([1, 1, 1])
    cache.join(tiny_vae.bank.decoder_memory(latents(3), slots))
    for token in (0, 9, 9):
        tiny_vae.decode_step(torch.tensor([token] * 3), cache.view(0, 3), slots)
    cache.undo_step(0, 3, cache.view(0, 3).lengths - 1)
    whole = cache.view(0, 3)
    M = whole.num_memory
    for written in (whole.keys, whole.values):
        written[:, 0, :, M : M + 3] = torch.nan
    kept = whole.keys[:, 2, :, M : M + 2].clone()
    assert cache.leave([0, 1]) == [(2, 1), (1, 0)]
    for written in (whole.keys, whole.values):
        assert not written[:, 1:, :, M:].any()
        assert not written[:, 0, :, M + 2 :].any()
    assert torch.equal(whole.keys[:, 0, :, M : M + 2], kept)
