"""A fitted start: the head is the regression, mu its directions and the leading components of the rest."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from adavae.model.adavae import AdaVAE
from adavae.model.config import AdapterConfig, EncoderAttention
from adavae.model.parts.adapter_bank import AdapterBank
from adavae.model.parts.stacked import AdapterIndex
from adavae.model.training.fitted_start import fit_start
from adavae.model.training.tokenized_texts import TokenizedTexts
from tests.tiny import PLAIN, TINY, tiny_backbone

LABELS = ("a", "b", "c")
CONFIG = replace(PLAIN, labels=LABELS, encoder_attention=EncoderAttention.CAUSAL)


def made_texts(num: int, num_labels: int) -> TokenizedTexts:
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randint(1, 12, (2 + row % 6,), generator=generator).tolist() for row in range(num)]
    return TokenizedTexts(rows, [(row[0] + row[-1]) % num_labels for row in rows], "digest")


def started(config: AdapterConfig, texts: TokenizedTexts) -> AdaVAE:
    torch.manual_seed(0)
    vae = AdaVAE(tiny_backbone(), AdapterBank.for_training(TINY, config))
    fit_start(vae, texts, torch.Generator().manual_seed(0), nullcontext())
    return vae


@torch.no_grad()
def read(vae: AdaVAE, texts: TokenizedTexts) -> tuple[Tensor, Tensor, Tensor]:
    """v_z, mu and the head's logits of all texts."""
    batch = texts.batch(range(len(texts.token_ids)), TINY.eos_token_id, torch.device("cpu"))
    index = AdapterIndex.uniform(len(batch))
    v_z = vae.bank.aggregate(
        vae.encode_hidden(batch.token_ids, batch.attention_mask, index), batch.attention_mask, index
    )
    mu = vae.bank.posterior_of(v_z, index).mu
    return v_z, mu, vae.classify(mu, index)


@pytest.mark.parametrize("num_labels", [2, 3])
def test_the_head_is_logistic_regression_on_the_whole_of_v_z(num_labels: int) -> None:
    texts = made_texts(60, num_labels)
    v_z, _, logits = read(started(replace(CONFIG, labels=LABELS[:num_labels]), texts), texts)
    features = ((v_z - v_z.mean(0)) / v_z.std(0, correction=0)).numpy()
    regression = LogisticRegression(C=10.0 / features.shape[1], max_iter=1000).fit(features, texts.label_ids)
    expected = torch.tensor(regression.predict_proba(features)).float()
    assert expected.argmax(1).unique().numel() == num_labels
    torch.testing.assert_close(logits.softmax(1), expected, atol=1e-4, rtol=1e-3)


def test_the_variances_of_mu_add_up_to_its_size_and_its_dimensions_are_uncorrelated_beyond_the_labels() -> None:
    texts = made_texts(60, 3)
    _, mu, _ = read(started(CONFIG, texts), texts)
    covariance = torch.cov(mu.T, correction=0)
    assert float(covariance.diagonal().sum()) == pytest.approx(CONFIG.latent_size, rel=1e-3)
    rest = covariance[2:, 2:]  # behind the two directions that three labels take
    assert (rest - rest.diagonal().diag()).abs().max() < 1e-3 * rest.diagonal().max()
    assert (rest.diagonal().diff() <= 1e-4).all(), "the leading component does not come first"


def test_fewer_texts_than_dimensions_leave_the_rest_of_mu_at_zero() -> None:
    texts = made_texts(4, 2)
    _, mu, logits = read(started(replace(CONFIG, labels=LABELS[:2]), texts), texts)
    assert (mu.abs().amax(0) > 1e-3).sum() == 3  # four points span three directions
    assert torch.isfinite(logits).all()


def test_a_label_that_no_text_has_is_never_the_first_choice() -> None:
    texts = made_texts(60, 2)
    _, _, logits = read(started(CONFIG, texts), texts)
    assert set(logits.argmax(1).tolist()) == {0, 1}
    assert bool((logits[:, 2] <= logits[:, :2].mean(1) + 1e-5).all())
    torch.testing.assert_close(logits[:, 2], logits[:1, 2].expand(60))


def test_texts_of_one_label_leave_the_head_as_it_was() -> None:
    texts = made_texts(20, 1)
    vae = AdaVAE(tiny_backbone(), AdapterBank.for_training(TINY, CONFIG))
    assert vae.bank.head is not None
    before = vae.bank.head.linear.weight.clone()
    fit_start(vae, texts, torch.Generator().manual_seed(0), nullcontext())
    assert torch.equal(vae.bank.head.linear.weight, before)
