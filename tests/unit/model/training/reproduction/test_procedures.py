"""What each way of training is named after: who is updated when, what is refined, how beta goes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from adavae.model.errors import TrainingDiverged
from adavae.model.parts.posterior import Posterior
from adavae.model.training.objective import TextBatch
from adavae.model.training.reproduction import procedures, table2
from adavae.model.training.reproduction.elbo import cyclical, monotonic, once
from adavae.model.training.reproduction.procedures import (
    AggressiveProcedure,
    AutoencoderFirst,
    BoundProcedure,
    EncoderFirst,
    LikelihoodProcedure,
    SemiAmortized,
    run,
)
from adavae.model.training.reproduction.systems.gpt2 import GPT2LanguageModel
from adavae.model.training.reproduction.systems.lstm import LSTMVAE
from adavae.model.training.reproduction.systems.optimus import Optimus
from adavae.model.training.reproduction.systems.semi_amortized import SemiAmortizedVAE
from adavae.model.training.reproduction.systems.t5_vae import T5VAE, random_t5
from adavae.model.training.reproduction.updates import PRETRAINED_RATE, RANDOM_RATE, adam
from tests.tiny_text import tiny_pretrained
from tests.unit.model.training.reproduction.tiny_reproduction import CPU, SCALE, tiny_setting


@pytest.fixture
def batches(tmp_path: Path) -> Iterator[TextBatch]:
    return tiny_setting(tmp_path).corpus.batches(SCALE, 0, CPU)


def lstm_vae() -> LSTMVAE:
    torch.manual_seed(0)
    return LSTMVAE(300, 12, 24, 3, 0)


def weights(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten().clone() for parameter in module.parameters()])


def test_beta_rises_once_or_in_cycles() -> None:
    rising, cycles = monotonic(0.5), cyclical(cycles=4, rise_share=0.5)
    assert [rising(done) for done in (0.0, 0.25, 0.5, 0.9)] == [0.0, 0.5, 1.0, 1.0]
    assert [once()(done) for done in (0.0, 0.5, 0.625, 0.75, 0.9)] == [0.0, 0.0, 0.5, 1.0, 1.0]
    for cycle in range(4):
        start = cycle / 4
        assert cycles(start) == 0.0
        assert cycles(start + 1 / 16) == pytest.approx(0.5)
        assert cycles(start + 3 / 16) == 1.0
    assert cycles(1.0) == 1.0


def test_the_encoder_is_trained_before_each_step_of_the_decoder(batches: Iterator[TextBatch]) -> None:
    model = lstm_vae()
    watched = next(batches)
    procedure = AggressiveProcedure(model, 1e-2, monotonic(), torch.Generator().manual_seed(0), watched, 100)
    encoder, decoder = weights(model.encoder), weights(model.decoder)
    procedure._catch_up(batches, 0.0)
    assert procedure.encoder_steps >= 10
    assert not torch.equal(weights(model.encoder), encoder) and torch.equal(weights(model.decoder), decoder)
    caught_up = weights(model.encoder)
    procedure._catch_up = lambda *_: None  # type: ignore[method-assign]
    procedure.step(batches, 0.0)
    assert torch.equal(weights(model.encoder), caught_up) and not torch.equal(weights(model.decoder), decoder)


def test_the_aggressive_phase_ends_when_the_information_falls(batches: Iterator[TextBatch]) -> None:
    model = lstm_vae()
    procedure = AggressiveProcedure(model, 1e-3, monotonic(), torch.Generator().manual_seed(0), next(batches), 100)
    procedure._last_mi = 1e9  # more than any posterior has
    procedure.step(batches, 0.06)
    assert not procedure.is_aggressive
    before, steps = weights(model.encoder), procedure.encoder_steps
    procedure.step(batches, 0.1)
    assert procedure.encoder_steps == steps and not torch.equal(weights(model.encoder), before)


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_the_refined_bound_is_not_worse_by_other_draws_than_it_was_refined_by(
    batches: Iterator[TextBatch], beta: float
) -> None:
    """It was shown by the very draw that the steps had fitted."""
    model = SemiAmortizedVAE(lstm_vae(), num_steps=8)
    procedure = SemiAmortized(model, 1e-2, lambda _: 0.1, torch.Generator().manual_seed(0))
    for _ in range(10):
        procedure.step(batches, 0.0)
    batch = next(batches)
    first = model.inner.posterior(batch)
    refined = model.refine(batch, first, beta)
    draws = torch.randn((100, *first.mu.shape), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before, after = (
            torch.stack([model.nll(batch, each.at(epsilon)) for epsilon in draws]).mean(0)
            + beta * each.kl_to_prior().sum(-1)
            for each in (first, refined)
        )
    assert after.mean() < before.mean()
    assert (after <= before + 1e-3).all()


def test_a_refined_posterior_depends_on_its_text_alone(batches: Iterator[TextBatch]) -> None:
    model, batch = SemiAmortizedVAE(lstm_vae(), num_steps=3), next(batches)
    rows = torch.arange(len(batch) - 1, -1, -1)
    lengths = None if batch.lengths is None else tuple(batch.lengths[row] for row in rows)
    turned = replace(batch, token_ids=batch.token_ids[rows], attention_mask=batch.attention_mask[rows], lengths=lengths)
    torch.testing.assert_close(model.posterior(turned).mu, model.posterior(batch).mu[rows])


def test_the_gradient_goes_through_the_steps_of_the_refinement(batches: Iterator[TextBatch]) -> None:
    """Against finite differences of the refined bound, by where the steps begin and by the decoder's weights."""
    model = SemiAmortizedVAE(lstm_vae().double(), num_steps=3)
    for parameter in model.parameters():
        parameter.data.mul_(20)  # or z would hardly matter, and neither would the steps
    batch = next(batches)
    generator = torch.Generator().manual_seed(1)
    mu, logvar = (torch.randn(len(batch), 3, generator=generator, dtype=torch.float64) for _ in range(2))
    weight = model.inner.decoder.state.weight

    def refined_bound(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
        refined = model.refine(batch, Posterior(mu, logvar), 0.5, is_differentiable=True)
        return model._nll(batch, refined.mu, is_differentiable=True).sum() + 0.5 * refined.kl_to_prior().sum()

    begun = mu.clone().requires_grad_(True), logvar.clone().requires_grad_(True)
    gradients = torch.autograd.grad(refined_bound(*begun), (*begun, weight))
    for place, gradient in enumerate(gradients):
        direction = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
        values = []
        for distance in (1e-6, -1e-6):
            moved = [mu, logvar, weight.detach().clone()]
            moved[place] = moved[place] + distance * direction
            kept = weight.detach().clone()
            weight.data.copy_(moved[2])
            values.append(refined_bound(moved[0].requires_grad_(True), moved[1].requires_grad_(True)).item())
            weight.data.copy_(kept)
        slope = (values[0] - values[1]) / 2e-6
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-4)


def test_the_lstm_written_out_is_torchs(batches: Iterator[TextBatch]) -> None:
    decoder = lstm_vae().decoder
    inputs, _, _ = next(batches).decoder_sides(0)
    z = torch.randn(len(inputs), 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(decoder.written_out(inputs, z), decoder(inputs, z))


def test_the_decoder_begins_anew_after_the_autoencoder(batches: Iterator[TextBatch]) -> None:
    model = lstm_vae()
    procedure = AutoencoderFirst(model, 1e-2, torch.Generator().manual_seed(0), free_bits=0.25, share=0.5)
    for _ in range(15):
        procedure.step(batches, 0.2)
    encoder, decoder = weights(model.encoder), weights(model.decoder)
    assert procedure.is_autoencoder
    procedure.step(batches, 0.5)
    assert not procedure.is_autoencoder
    assert (weights(model.encoder) - encoder).abs().max() < 0.05  # one step further
    assert (weights(model.decoder) - decoder).abs().max() > 0.05


def test_the_autoencoder_samples_z_so_that_its_variances_learn(batches: Iterator[TextBatch]) -> None:
    """z was the mean, so that the bound began with variances that nothing had taught."""
    model = lstm_vae()
    procedure = AutoencoderFirst(model, 1e-2, torch.Generator().manual_seed(0), free_bits=0.25)
    procedure.step(batches, 0.0)
    gradient = model.encoder.posterior.weight.grad
    assert gradient is not None
    of_mu, of_logvar = gradient.chunk(2)
    assert of_mu.any() and of_logvar.any()


def test_a_decaying_rate_falls_to_nothing(batches: Iterator[TextBatch]) -> None:
    model = lstm_vae()
    procedure = BoundProcedure(model, adam(model, 1e-2), once(), torch.Generator().manual_seed(0), is_decaying=True)
    procedure.step(batches, 0.5)
    assert procedure.optimizer.param_groups[0]["lr"] == 5e-3
    before = weights(model)
    procedure.step(batches, 1.0)
    assert torch.equal(weights(model), before)


def test_what_optimus_begins_random_learns_ten_times_as_fast_as_what_was_pretrained() -> None:
    """Everything learned at 1e-4, so that z hardly came to mean anything in a short run."""
    model = Optimus(tiny_pretrained().backbone, 3)
    random, pretrained = adam(model, pretrained=model.pretrained).param_groups
    assert (random["lr"], pretrained["lr"]) == (RANDOM_RATE, PRETRAINED_RATE) == (1e-3, 1e-4)
    added = [model.pooler, model.to_posterior, model.memory, model.embedding]
    assert {id(each) for each in random["params"]} == {id(each) for part in added for each in part.parameters()}
    assert len(random["params"]) + len(pretrained["params"]) == len(list(model.parameters()))


def test_optimus_begins_from_small_weights() -> None:
    torch.manual_seed(0)
    model = Optimus(tiny_pretrained().backbone, 64)
    for layer in (model.pooler, model.to_posterior, model.memory, model.embedding):
        assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert not model.pooler.bias.any()


def t5_vae(adapter_size: int | None = None) -> T5VAE:
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    return T5VAE(random_t5(300, 32, 2, 0), 3, 0, adapter_size)


def test_t5_vae_trains_what_leads_to_z_before_its_decoder(batches: Iterator[TextBatch]) -> None:
    """Everything was trained at once, beta in cycles."""
    model = t5_vae()
    procedure = EncoderFirst(model, 1e-2, torch.Generator().manual_seed(0), free_bits=0.0, deleted=0.4)
    encoder, decoder = weights(model.to_posterior), [weights(part) for part in model.decoder_side]
    procedure.step(batches, 0.3)
    assert not torch.equal(weights(model.to_posterior), encoder)
    assert all(torch.equal(weights(part), before) for part, before in zip(model.decoder_side, decoder, strict=True))
    assert all(each.requires_grad for each in model.parameters())
    procedure.step(batches, 0.4)
    assert not any(torch.equal(weights(part), before) for part, before in zip(model.decoder_side, decoder, strict=True))


def test_t5_vae_reads_shortened_texts_and_writes_whole_ones(
    batches: Iterator[TextBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = t5_vae(), next(batches)
    read, posterior = [], model.posterior
    monkeypatch.setattr(model, "posterior", lambda given: read.append(given) or posterior(given))
    procedure = EncoderFirst(model, 1e-2, torch.Generator().manual_seed(0), free_bits=0.0, deleted=0.9)
    procedure.step(iter([batch]), 0.5)
    (shortened,) = read
    assert shortened.attention_mask.sum() < batch.attention_mask.sum()


def test_the_largest_states_of_a_text_are_pooled_whatever_pads_it(batches: Iterator[TextBatch]) -> None:
    model, batch = t5_vae(), next(batches)
    padded = TextBatch(
        torch.nn.functional.pad(batch.token_ids, (0, 5), value=7), torch.nn.functional.pad(batch.attention_mask, (0, 5))
    )
    pooled = model.pooled(batch)
    torch.testing.assert_close(model.pooled(padded), pooled)
    mask = batch.attention_mask
    hidden = model.t5.encoder(input_ids=batch.token_ids, attention_mask=mask.long()).last_hidden_state
    torch.testing.assert_close(pooled[0], hidden[0, mask[0]].max(0).values)


def test_with_adapters_t5_vae_trains_them_and_the_layers_around_z_alone() -> None:
    """The output layer trained with them, and their own parameters were counted as the T5's."""
    model, whole = t5_vae(4), t5_vae()
    trained = {name for name, each in model.named_parameters() if each.requires_grad}
    assert trained == {
        name
        for name, _ in model.named_parameters()
        if ".up." in name or ".down." in name or name.startswith(("to_posterior.", "from_latent."))
    }
    assert model.original_parameters == whole.original_parameters


class _Diverging:
    """Its loss is finite twice."""

    def __init__(self) -> None:
        self.losses = iter((2.0, 1.0, float("nan"), 1.0))

    def step(self, batches: Iterator[TextBatch], done: float) -> float:
        del batches, done
        return next(self.losses)


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    """It became a finished cell, which no later command ran again."""
    heard: list[int] = []
    with pytest.raises(TrainingDiverged, match="the loss is nan at step 3 of 4"):
        run(_Diverging(), iter(()), 4, lambda step, *_: heard.append(step))
    assert heard == [1, 2]


def test_the_aggressive_phase_goes_on_after_a_tie_and_above_the_look_before(
    batches: Iterator[TextBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended on a tie, and below the best of all looks, where He et al. (2019) compare with the last one."""
    looks = iter((1.0, 1.0, 3.0, 2.0))
    monkeypatch.setattr(procedures, "mutual_information", lambda *_: next(looks))
    procedure = AggressiveProcedure(
        lstm_vae(), 1e-3, monotonic(), torch.Generator().manual_seed(0), next(batches), 10_000
    )
    found = []
    for number in range(1, 5):
        procedure.step(batches, number / AggressiveProcedure._LOOKS)
        found.append(procedure.is_aggressive)
    assert found == [True, True, True, False]


def test_the_rate_of_a_tuned_language_model_falls_and_that_of_a_new_one_does_not(
    batches: Iterator[TextBatch],
) -> None:
    """GPT-2 alone was tuned at one rate to the end, while every other pretrained system came to rest."""
    for is_decaying, rate in ((True, 0.5e-4), (False, 1e-4)):
        model = GPT2LanguageModel(tiny_pretrained().backbone, None)
        procedure = LikelihoodProcedure(model, 1e-4, is_decaying=is_decaying)
        procedure.step(batches, 0.5)
        assert procedure.optimizer.param_groups[0]["lr"] == rate


def test_the_row_of_gpt_2_decays(tmp_path: Path) -> None:
    rates: list[float] = []
    setting = tiny_setting(tmp_path)
    original = procedures.decay

    def heard(optimizer: torch.optim.Optimizer, done: float) -> None:
        original(optimizer, done)
        rates.append(optimizer.param_groups[0]["lr"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(procedures, "decay", heard)
        next(row for row in table2.rows() if row.name == "GPT-2").train(setting)
    assert rates == pytest.approx([1e-4 * (1 - step / SCALE.steps) for step in range(SCALE.steps)])
