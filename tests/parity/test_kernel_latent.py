"""The compiled layers around z against the same through PyTorch, and against themselves in other company."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from adavae.model.config import AdapterConfig, BackboneConfig, LatentInfusion
from adavae.model.kernel.latent_kernel import LatentKernel
from adavae.model.kernel.library import Library
from adavae.model.parts.posterior import Posterior
from adavae.model.parts.stacked import AdapterIndex
from tests.parity.compiled import RUNS, best_compiled, compiled_for
from tests.parity.test_kernel_decode import ODD, Model
from tests.tiny import TINY, VARIANTS

SETS = (
    *VARIANTS,
    replace(VARIANTS[0], latent_size=5, latent_positions=2, latent_heads=2),
    replace(VARIANTS[0], latent_size=40, latent_positions=3, latent_infusion=LatentInfusion.ATM),
    replace(VARIANTS[0], latent_size=33, latent_positions=1, latent_heads=3, latent_infusion=LatentInfusion.BOTH),
)


@pytest.fixture(params=RUNS)
def compiled(request: pytest.FixtureRequest) -> Library:
    return compiled_for(request.param)


def model_of(compiled: Library, config: BackboneConfig = TINY, sets: tuple[AdapterConfig, ...] = SETS) -> Model:
    model = Model(compiled, config, sets)
    model.bank.latent_kernel = LatentKernel(compiled)
    return model


def v_z_of(model: Model, slots: list[int]) -> Tensor:
    """(B, K * C); a row depends on its place alone."""
    width = model.bank.shape.latent_heads * model.backbone.config.n_embd
    rows = [torch.randn(width, generator=torch.Generator().manual_seed(row)) for row in range(len(slots))]
    return torch.stack(rows)


def z_of(model: Model, slots: list[int]) -> Tensor:
    """(B, Z); a row depends on its place alone."""
    rows = [
        torch.randn(model.bank.shape.latent_size, generator=torch.Generator().manual_seed(row))
        for row in range(len(slots))
    ]
    return torch.stack(rows)


def posterior(model: Model, slots: list[int]) -> Posterior:
    return model.bank.posterior_of(v_z_of(model, slots), AdapterIndex.of(slots))


def memory(model: Model, slots: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Keys and values, (B, L, H, M, D), and the mask, (B, M)."""
    got = model.bank.decoder_memory(z_of(model, slots), AdapterIndex.of(slots))
    return got.keys.transpose(0, 1), got.values.transpose(0, 1), got.mask


def check_against_plain(model: Model, slots: list[int]) -> None:
    compiled_posterior, compiled_memory = posterior(model, slots), memory(model, slots)
    kernel, model.bank.latent_kernel = model.bank.latent_kernel, None
    plain_posterior, plain_memory = posterior(model, slots), memory(model, slots)
    model.bank.latent_kernel = kernel
    torch.testing.assert_close(compiled_posterior.mu, plain_posterior.mu, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(compiled_posterior.logvar, plain_posterior.logvar, atol=1e-5, rtol=1e-5)
    *ours, mask = compiled_memory
    *theirs, plain_mask = plain_memory
    assert torch.equal(mask, plain_mask)
    is_present = mask[:, None, None, :, None]
    for got, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got * is_present, expected * is_present, atol=1e-5, rtol=1e-5)
        M = model.bank.num_memory_positions - model.bank.shape.prefix_length
        assert not (got * ~is_present)[..., :M, :].any(), "a position that the set does not have is not zero"


@torch.inference_mode()
@pytest.mark.parametrize("config", [TINY, ODD], ids=["tiny", "odd"])
@pytest.mark.parametrize("slot", range(len(SETS)))
def test_every_set_gives_what_pytorch_gives(compiled: Library, config: BackboneConfig, slot: int) -> None:
    check_against_plain(model_of(compiled, config), [slot] * 3)


@torch.inference_mode()
@pytest.mark.parametrize("infusion", list(LatentInfusion))
def test_a_bank_of_one_infusion(compiled: Library, infusion: LatentInfusion) -> None:
    sets = tuple(replace(config, latent_infusion=infusion) for config in SETS)
    check_against_plain(model_of(compiled, sets=sets), [3, 0, 4, 5, 3])


@torch.inference_mode()
@pytest.mark.parametrize("num_rows", [1, 2, 13, 97, 200])
def test_any_number_of_rows_of_mixed_sets(compiled: Library, num_rows: int) -> None:
    check_against_plain(model_of(compiled), [(7 * row) % len(SETS) for row in range(num_rows)])


@torch.inference_mode()
def test_a_row_has_the_same_bits_in_any_company_and_on_any_number_of_threads(compiled: Library) -> None:
    model, slots = model_of(compiled), [0, 4, 5, 0, 2, 3, 1, 4, 0, 0, 5]
    together, keys_values = posterior(model, slots), memory(model, slots)[:2]
    before = torch.get_num_threads()
    try:
        for num_threads in (1, 3):
            torch.set_num_threads(num_threads)
            for row, slot in enumerate(slots):
                index, z = AdapterIndex.of([slot]), z_of(model, slots)[row : row + 1]
                alone = model.bank.posterior_of(v_z_of(model, slots)[row : row + 1], index)
                assert torch.equal(alone.mu[0], together.mu[row]) and torch.equal(alone.logvar[0], together.logvar[row])
                alone = model.bank.decoder_memory(z, index)
                assert torch.equal(alone.keys[:, 0], keys_values[0][row])
                assert torch.equal(alone.values[:, 0], keys_values[1][row])
    finally:
        torch.set_num_threads(before)


@torch.inference_mode()
def test_numbers_that_float16_does_not_hold_are_read_as_float32(compiled: Library) -> None:
    model = model_of(compiled, sets=SETS[:1])
    tensors = {name: tensor * 1.0001 for name, tensor in model.bank.export(0).items()}
    model.bank.load(0, SETS[0], tensors)
    check_against_plain(model, [0, 0])


def test_gradients_flow_through_pytorch(compiled: Library) -> None:
    model = model_of(compiled)
    z = z_of(model, [0, 1]).requires_grad_()
    model.bank.decoder_memory(z, AdapterIndex.of([0, 1])).keys.sum().backward()
    assert z.grad is not None and z.grad.any()


@torch.inference_mode()
def test_rows_that_do_not_lie_in_one_piece(compiled: Library) -> None:
    model, slots = model_of(compiled), [0, 4, 5]
    index, z, v_z = AdapterIndex.of(slots), z_of(model, slots), v_z_of(model, slots)
    scattered_z, scattered_v_z = z.T.contiguous().T, v_z.T.contiguous().T
    assert torch.equal(model.bank.decoder_memory(scattered_z, index).keys, model.bank.decoder_memory(z, index).keys)
    assert torch.equal(model.bank.posterior_of(scattered_v_z, index).mu, model.bank.posterior_of(v_z, index).mu)


@torch.inference_mode()
def test_a_set_that_takes_over_anothers_memory_is_itself(compiled: Library) -> None:
    """Smaller, larger, in float32, and the first again."""
    model, untouched = model_of(compiled), model_of(compiled)
    originals = [model.bank.export(slot) for slot in range(len(SETS))]
    wide = {name: tensor * 1.0001 for name, tensor in originals[4].items()}
    for slot, tensors in ((3, originals[3]), (4, wide), (5, originals[5]), (0, originals[0])):
        model.bank.load(0, SETS[slot], tensors)
    slots = [0, 4, 0]
    for got, expected in zip(memory(model, slots), memory(untouched, slots), strict=True):
        assert torch.equal(got, expected)
    for name in ("mu", "logvar"):
        assert torch.equal(getattr(posterior(model, slots), name), getattr(posterior(untouched, slots), name))
    check_against_plain(model, slots)


def test_it_is_what_a_serving_bank_uses_where_nothing_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    model, slots, calls = Model(best_compiled()), [0, 2], list[str]()
    for name in ("posterior", "memory"):
        original = getattr(model.bank.latent_kernel, name)

        def spied(*args: Any, name: str = name, original: Any = original, **options: Any) -> Any:
            calls.append(name)
            return original(*args, **options)

        monkeypatch.setattr(model.bank.latent_kernel, name, spied)
    with torch.inference_mode():
        posterior(model, slots)
        memory(model, slots)
    assert calls == ["posterior", "memory"]
    posterior(model, slots)
    memory(model, slots)
    assert calls == ["posterior", "memory"]
