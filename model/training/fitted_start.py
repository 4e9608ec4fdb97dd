"""Where a classification run begins: at a regression on what the frozen backbone knows of the texts already.

The head starts as logistic regression on v_z of the training texts, and mu as the directions that it reads, followed by
the leading principal components of the rest. From few texts that is better than what steps from a random start come to.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from adavae.model.adavae import AdaVAE
from adavae.model.parts.adapter_bank import AdapterBank
from adavae.model.parts.classifier import ClassificationHead
from adavae.model.parts.stacked import AdapterIndex, StackedLinear
from adavae.model.training.tokenized_texts import TokenizedTexts

_MOST_TEXTS = 4096
_ROWS = 64  # texts in one forward pass
_SCORE_SCALE = 0.1  # latent attention begins close to the mean of the hidden states
_PENALTY_FEATURES = 10.0  # the regression's C times the number of its features, which have variance 1
_LEAST_DEVIATION = 1e-6
_LEAST_SHARE = 1e-5  # of the largest singular value: below this a direction is noise of rounding


@torch.no_grad()
def fit_start(
    vae: AdaVAE, texts: TokenizedTexts, generator: torch.Generator, precision: AbstractContextManager[Any]
) -> None:
    """Sets latent attention, mu and head of slot 0, in place.

    Args:
        vae: The model, freshly initialised, with latent attention.
        texts: Training texts; at most 4,096, drawn by ``generator``, are read.
        generator: On the CPU.
        precision: What the encoder runs under, such as autocast.
    """
    bank = vae.bank
    if bank.latent_attention is not None:
        bank.latent_attention.score.weight.mul_(_SCORE_SCALE)
    rows = torch.randperm(len(texts.token_ids), generator=generator)[:_MOST_TEXTS].tolist()
    with precision:
        v_z = _pooled(vae, texts, rows)  # (N, K * C)
    _fit(bank, v_z, None if texts.label_ids is None else torch.as_tensor(texts.label_ids)[rows])


def _pooled(vae: AdaVAE, texts: TokenizedTexts, rows: list[int]) -> Tensor:
    """v_z of some texts, (N, K * C), float32, on the CPU."""
    device = vae.backbone.wte.weight.device
    parts = []
    for start in range(0, len(rows), _ROWS):
        batch = texts.batch(rows[start : start + _ROWS], vae.eos_token_id, device)
        index = AdapterIndex.uniform(len(batch))
        hidden = vae.encode_hidden(batch.token_ids, batch.attention_mask, index)
        parts.append(vae.bank.aggregate(hidden, batch.attention_mask, index).float().cpu())
    return torch.cat(parts)


def _fit(bank: AdapterBank, v_z: Tensor, label_ids: Tensor | None) -> None:
    """Sets mu and the head of slot 0 from v_z, (N, K * C), and the texts' labels, (N,)."""
    mean, deviation = v_z.mean(0), v_z.std(0, correction=0).clamp(min=_LEAST_DEVIATION)
    features = (v_z - mean) / deviation
    regression = None if bank.head is None or label_ids is None else _Regression.of(features, label_ids, bank.head)
    Z = bank.posterior.mu.out_features
    axes = _axes(features, None if regression is None else regression.weight, Z)  # (at most Z, K * C)
    scale = (Z / (features @ axes.T).var(0, correction=0).sum().clamp(min=_LEAST_DEVIATION)).sqrt()
    weight = torch.zeros(Z, v_z.shape[1])
    weight[: len(axes)] = scale * axes / deviation
    _set(bank.posterior.mu, weight, -weight @ mean)
    if bank.head is not None and regression is not None:
        of_mu = torch.zeros(len(regression.weight), Z)
        of_mu[:, : len(axes)] = regression.weight @ axes.T / scale
        _set(bank.head.linear, of_mu, regression.bias)


def _axes(features: Tensor, weight: Tensor | None, Z: int) -> Tensor:
    """Orthonormal rows, (at most Z, K * C): what the regression reads, then the leading components of the rest."""
    parts, rest = [], features
    if weight is not None:
        _, sizes, Vh = torch.linalg.svd(weight, full_matrices=False)
        read = Vh[: min(Z, int((sizes > _LEAST_SHARE * sizes[0]).sum()))]
        parts, rest = [read], features - features @ read.T @ read
    _, sizes, Vh = torch.linalg.svd(rest, full_matrices=False)
    is_there = sizes > _LEAST_SHARE * sizes[0].clamp(min=_LEAST_DEVIATION)
    return torch.cat([*parts, Vh[is_there]])[:Z]


@dataclass(frozen=True, slots=True)
class _Regression:
    """Logistic regression from features to all labels: weight (labels, K * C) and bias (labels,)."""

    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, features: Tensor, label_ids: Tensor, head: ClassificationHead) -> "_Regression | None":
        """None where all texts have one label.

        A label that no text has gets the smallest bias and no weight. The scores of the others average to no less, so
        it is never the first choice, and one too rare to be among the texts read is not far from being learned.
        """
        from sklearn.linear_model import LogisticRegression  # a second to import, for runs with labels alone

        if len(set(label_ids.tolist())) < 2:
            return None
        inverse_penalty = _PENALTY_FEATURES / features.shape[1]
        found = LogisticRegression(C=inverse_penalty, max_iter=1000).fit(features.numpy(), label_ids.numpy())
        weight, bias = torch.tensor(found.coef_).float(), torch.tensor(found.intercept_).float()
        if len(weight) == 1:  # of two classes scikit-learn gives the difference
            weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
        labels = head.linear.out_features
        of_all, biases = torch.zeros(labels, features.shape[1]), torch.full((labels,), float(bias.min()))
        of_all[found.classes_], biases[found.classes_] = weight - weight.mean(0), bias
        return cls(of_all, biases)


def _set(linear: StackedLinear, weight: Tensor, bias: Tensor) -> None:
    assert linear.bias is not None
    linear.weight[0].copy_(weight)
    linear.bias[0].copy_(bias)
