"""Fits an adapter set's prior to the encodings of its training texts: moments, labels' means, and the flow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from adavae.model.latent.flow import FlowConfig, VelocityNetwork
from adavae.model.latent.prior import LatentPrior, mahalanobis_quantiles
from adavae.model.training.flow_fitting import fit_flow

_WIDEST_POSTERIOR = 3.0  # times the deviation of mu: otherwise a dimension that carries nothing would drown the others
_FEWEST_TEXTS, _SMALLEST_LATENT = 200, 8
_FOLDS = 10
_MANY_TEXTS = 100_000  # training on this many texts takes long enough for a wide flow to be a small part of it


@dataclass(frozen=True, slots=True)
class FlowSize:
    """How large a flow is fitted, and for how long: a small part of the training before it.

    Attributes:
        steps: Number of updates; 0 for no flow.
        width: Width of the residual stream.
        batch_size: Texts per step.
    """

    steps: int
    width: int = 512
    batch_size: int = 1024

    @classmethod
    def for_texts(cls, num_texts: int, latent_size: int) -> Self:
        """The size for a set trained on ``num_texts``; with few texts or dimensions, only the Gaussian is fitted."""
        if num_texts < _FEWEST_TEXTS or latent_size < _SMALLEST_LATENT:
            return cls(0)
        if num_texts >= _MANY_TEXTS:
            return cls(1500)
        return cls(min(1500, max(100, num_texts // 10)), width=256, batch_size=256)


def fit_prior(
    mu: Tensor,
    logvar: Tensor,
    label_ids: Sequence[int] | None,
    num_labels: int,
    *,
    flow_steps: int,
    flow_width: int = 512,
    batch_size: int = 1024,
    device: torch.device | None = None,
    seed: int = 0,
    on_step: Callable[[int, int, float], None] | None = None,
) -> LatentPrior:
    """The prior of one adapter set.

    Args:
        mu: Means of the texts' posteriors, (N, Z), float32, N of at least 1.
        logvar: (N, Z).
        label_ids: One per text, or None.
        num_labels: Number of the set's labels; 0 for none.
        flow_steps: Updates of the flow; 0 fits only the Gaussian.
        flow_width: Width of its residual stream.
        batch_size: Texts per step.
        device: Device of the fit; the CPU if left out.
        seed: Seed of the flow's initialisation and draws.
        on_step: Called with the flow's progress.

    Returns:
        The prior, on the CPU; without a flow if its weights became non-finite or mu is constant.
    """
    labels = None if label_ids is None or num_labels == 0 else torch.tensor(list(label_ids))
    gaussian = _gaussian(mu.float(), logvar.float(), labels, num_labels)
    if flow_steps == 0 or not bool((mu != mu[0]).any()):
        return gaussian
    device = mu.device if device is None else device
    network = fit_flow(
        FlowConfig(latent_size=mu.shape[1], num_labels=num_labels, width=flow_width),
        ((mu.float() - gaussian.mean) / gaussian.std).to(device),
        ((0.5 * logvar.float()).exp() / gaussian.std).clamp_max(_WIDEST_POSTERIOR).to(device),
        None if labels is None else labels.to(device),
        steps=flow_steps,
        batch_size=batch_size,
        seed=seed,
        on_step=on_step,
    ).cpu()
    is_finite = all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters())
    return with_network(gaussian, network.requires_grad_(False)) if is_finite else gaussian


def with_network(prior: LatentPrior, network: VelocityNetwork) -> LatentPrior:
    """The same prior with another flow."""
    tensors = {name: tensor for name, tensor in prior.to_tensors().items() if not name.startswith("flow.")}
    tensors |= {f"flow.{name}": tensor for name, tensor in network.state_dict().items()}
    return LatentPrior.from_tensors(tensors, prior.latent_size, len(prior.label_means))


def _gaussian(mu: Tensor, logvar: Tensor, labels: Tensor | None, num_labels: int) -> LatentPrior:
    prior = _moments(mu, logvar, labels, num_labels)
    return replace(prior, distance_quantiles=mahalanobis_quantiles(_held_out_distances(mu, logvar, labels, num_labels)))


def _held_out_distances(mu: Tensor, logvar: Tensor, labels: Tensor | None, num_labels: int) -> Tensor:
    """Each text's distance by the moments of others, (N,), as a new text's is; in some order.

    By moments that it is part of, a text is too near: with as many dimensions as texts all new ones are farther off.
    """
    num_folds = min(_FOLDS, len(mu))
    if num_folds < 2:
        return _moments(mu, logvar, labels, num_labels).distance(mu)
    distances, fold = [], torch.arange(len(mu)) % num_folds
    for number in range(num_folds):
        others = fold != number
        prior = _moments(mu[others], logvar[others], None if labels is None else labels[others], num_labels)
        distances.append(prior.distance(mu[~others]))
    return torch.cat(distances)


def _moments(mu: Tensor, logvar: Tensor, labels: Tensor | None, num_labels: int) -> LatentPrior:
    """Without quantiles yet."""
    mean = mu.mean(0)
    counts = torch.zeros(num_labels)
    label_means = mean.repeat(num_labels, 1)
    centred = mu - mean
    if labels is not None:
        counts = torch.bincount(labels, minlength=num_labels).float()
        sums = torch.zeros(num_labels, mu.shape[1]).index_add_(0, labels, mu)
        has_texts = counts > 0
        label_means[has_texts] = sums[has_texts] / counts[has_texts].unsqueeze(1)
        centred = mu - label_means[labels]
    return LatentPrior(
        mean=mean,
        covariance=centred.T @ centred / len(mu),
        posterior_variance=logvar.exp().mean(0),
        label_means=label_means,
        label_shares=counts / max(1.0, float(counts.sum())),
        distance_quantiles=torch.zeros(0),
    )
