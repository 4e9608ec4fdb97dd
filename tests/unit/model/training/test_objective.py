"""The objective's parts against cases that can be worked out by hand."""

import math

import pytest
import torch
from torch.nn import functional as F

from adavae.model.adavae import AdaVAE, pad
from adavae.model.parts.posterior import Posterior
from adavae.model.parts.stacked import AdapterIndex
from adavae.model.training.config import FreeBits
from adavae.model.training.objective import Loss, Objective, TextBatch, free_bits_kl, reconstruction_nll
from tests.tiny import POOLED, TINY, tiny_vae

ROWS = [[5, 6, 7], [8, 9, 10, 11, 12]]


def _loss(objective: Objective, vae: AdaVAE, batch: TextBatch, beta: float, seed: int) -> Loss:
    noise = objective.draw(batch, vae.bank.shape.latent_size, torch.Generator().manual_seed(seed))
    return objective.loss(vae, batch, beta, noise)


def test_free_bits_per_dimension_and_whole() -> None:
    kl = torch.tensor([[0.1, 2.0, 0.6], [0.0, 0.1, 0.2]])
    torch.testing.assert_close(free_bits_kl(kl, 0.5), torch.tensor([0.5 + 2.0 + 0.6, 1.5]))
    torch.testing.assert_close(free_bits_kl(kl, 0.5, FreeBits.WHOLE), torch.tensor([2.7, 0.5]))
    torch.testing.assert_close(free_bits_kl(kl, 0.0), kl.sum(-1))


def test_kl_of_two_gaussians_in_closed_form() -> None:
    posterior = Posterior(mu=torch.tensor([[1.0, 0.0]]), logvar=torch.tensor([[0.0, math.log(4.0)]]))
    expected = torch.tensor([[0.5, 0.5 * (4.0 - 1.0 - math.log(4.0))]])
    torch.testing.assert_close(posterior.kl_to_prior(), expected)


def test_reconstruction_is_the_sum_over_tokens_with_end_of_text() -> None:
    vae, index = tiny_vae(), AdapterIndex.uniform(2)
    ids, mask = pad(ROWS, 90)
    z = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        nll = reconstruction_nll(vae, TextBatch(ids, mask), z, index)
        for row, text in enumerate(ROWS):
            inputs = torch.tensor([[TINY.eos_token_id, *text]])
            logits = vae.backbone.lm_head(vae.hidden_states(inputs, z[row : row + 1], AdapterIndex.uniform(1)))
            expected = F.cross_entropy(logits[0], torch.tensor([*text, TINY.eos_token_id]), reduction="sum")
            torch.testing.assert_close(nll[row], expected, atol=1e-4, rtol=1e-5)


def test_loss_is_the_elbo_per_token_plus_the_head() -> None:
    vae = tiny_vae(POOLED)
    ids, mask = pad(ROWS, 0)
    batch = TextBatch(ids, mask, torch.tensor([0, 2]))
    objective = Objective(free_bits=0.3, head_weight=2.0)
    loss = _loss(objective, vae, batch, 0.7, 5)
    index = AdapterIndex.uniform(2)
    posterior = vae.encode(ids, mask, index)
    z = posterior.sample(torch.Generator().manual_seed(5))
    nll = reconstruction_nll(vae, batch, z, index)
    kl = free_bits_kl(posterior.kl_to_prior(), 0.3)
    head = F.cross_entropy(vae.classify(posterior.mu, index), torch.tensor([0, 2]))
    expected = (nll.sum() + 0.7 * kl.sum() + 2.0 * 2 * head) / loss.num_tokens
    torch.testing.assert_close(loss.total, expected)
    assert loss.num_tokens == 3 + 5 + 2
    assert loss.reconstruction_nats == pytest.approx(float(nll.mean()), rel=1e-5)


def test_word_dropout_hides_the_decoders_input_and_not_its_target() -> None:
    vae = tiny_vae()
    ids, mask = pad(ROWS, 0)
    seen = _loss(Objective(word_dropout=0.9), vae, TextBatch(ids, mask), 0.0, 1)
    plain = _loss(Objective(), vae, TextBatch(ids, mask), 0.0, 1)
    assert seen.num_tokens == plain.num_tokens
    assert not torch.equal(seen.total, plain.total)


def test_the_encoder_reads_less_and_the_decoder_rebuilds_the_whole() -> None:
    vae = tiny_vae()
    batch = TextBatch(*pad(ROWS, 0))
    with_less = _loss(Objective(input_dropout=0.9), vae, batch, 1.0, 2)
    plain = _loss(Objective(), vae, batch, 1.0, 2)
    assert with_less.num_tokens == plain.num_tokens
    assert with_less.kl_nats != plain.kl_nats


def test_the_encoder_reads_forms_in_the_place_of_texts() -> None:
    vae = tiny_vae()
    forms = TextBatch(*pad([[15, 16], [17, 18, 19, 20, 21, 22]], 0))
    batch = TextBatch(*pad(ROWS, 0), forms=forms)
    read = _loss(Objective(form_share=1.0), vae, batch, 1.0, 2)
    posterior = vae.encode(forms.token_ids, forms.attention_mask, AdapterIndex.uniform(2))
    assert read.kl_nats == pytest.approx(float(posterior.kl_to_prior().sum(-1).mean().detach()), rel=1e-5)
    assert read.num_tokens == 3 + 5 + 2


def test_smoothing_is_of_the_heads_target_alone() -> None:
    vae = tiny_vae(POOLED)
    batch = TextBatch(*pad(ROWS, 0), torch.tensor([0, 2]))
    smoothed = _loss(Objective(label_smoothing=0.2), vae, batch, 0.0, 5)
    logits = vae.classify(
        vae.encode(batch.token_ids, batch.attention_mask, AdapterIndex.uniform(2)).mu, AdapterIndex.uniform(2)
    )
    log_p = logits.detach().log_softmax(-1)
    hard, even = -log_p[[0, 1], [0, 2]].mean(), -log_p.mean()
    assert smoothed.head_nats == pytest.approx(float(0.8 * hard + 0.2 * even), rel=1e-5)


def test_what_is_undisturbed_shows_everything() -> None:
    disturbed = Objective(free_bits=0.3, input_dropout=0.3, form_share=0.2, word_dropout=0.1, label_smoothing=0.1)
    assert disturbed.undisturbed() == Objective(free_bits=0.3)
