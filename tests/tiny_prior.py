"""Priors of tiny adapter sets: moments of made-up encodings, and a flow of random weights that moves z."""

from dataclasses import replace

import torch

from adavae.model.config import AdapterConfig
from adavae.model.latent.flow import FlowConfig, VelocityNetwork
from adavae.model.latent.prior import LatentPrior
from adavae.model.text_model import TextModel
from adavae.model.training.prior_fitting import fit_prior
from tests.tiny_text import NAMED, tiny_pretrained, tiny_set


def tiny_prior(config: AdapterConfig, seed: int = 0) -> LatentPrior:
    """As fitted to texts whose labels lie apart, where the set has labels."""
    generator = torch.Generator().manual_seed(seed)
    num_labels, Z = len(config.labels), config.latent_size
    label_ids = torch.arange(200) % max(1, num_labels)
    mu = torch.randn(200, Z, generator=generator) + label_ids.unsqueeze(1)
    known = label_ids.tolist() if num_labels else None
    gaussian = fit_prior(mu, torch.full((200, Z), -3.0), known, num_labels, flow_steps=0)
    network = VelocityNetwork(FlowConfig(latent_size=Z, num_labels=num_labels, width=16, depth=1))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return replace(gaussian, network=network.requires_grad_(False).eval())


def tiny_text_model_with_priors() -> TextModel:
    """Every tiny set, each with a prior of its own."""
    sets = {
        name: replace(tiny_set(config, seed), prior_tensors=tiny_prior(config).to_tensors())
        for seed, (name, config) in enumerate(NAMED.items(), start=1)
    }
    return TextModel.of_sets(tiny_pretrained(), sets)
