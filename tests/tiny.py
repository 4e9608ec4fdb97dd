"""Tiny models for tests: two or three layers, 32 wide, random weights from a fixed seed."""

from typing import TypeVar

import torch
from torch import nn

from adavae.model.adavae import AdaVAE
from adavae.model.backbone import Backbone
from adavae.model.config import (
    AdapterConfig,
    AdapterPlacement,
    BackboneConfig,
    LatentAggregation,
    LatentInfusion,
)
from adavae.model.parts.adapter_bank import AdapterBank
from adavae.model.parts.bank_shape import BankShape

_Module = TypeVar("_Module", bound=nn.Module)

TINY = BackboneConfig(vocab_size=96, n_positions=40, n_embd=32, n_layer=3, n_head=2, n_inner=64)

PLAIN = AdapterConfig(latent_size=4, encoder_layers=2, adapter_size=5)
PREFIXED = AdapterConfig(
    latent_size=6,
    encoder_layers=3,
    adapter_size=8,
    adapter_placement=AdapterPlacement.SEQUENTIAL_ATTENTION,
    latent_infusion=LatentInfusion.BOTH,
    latent_heads=2,
    latent_positions=2,
    prefix_length=3,
    labels=("no", "yes"),
)
POOLED = AdapterConfig(
    latent_size=3,
    encoder_layers=1,
    adapter_size=8,
    adapter_scale=0.5,
    adapter_placement=AdapterPlacement.PARALLEL_ATTENTION,
    latent_aggregation=LatentAggregation.POOLED,
    latent_infusion=LatentInfusion.ATM,
    labels=("a", "b", "c"),
)
VARIANTS = (PLAIN, PREFIXED, POOLED)


def tiny_backbone(seed: int = 0) -> Backbone:
    """A frozen random backbone whose outputs are far from uniform."""
    return _randomised(Backbone(TINY), seed, std=0.15).requires_grad_(False).eval()


def trained_bank(config: AdapterConfig, seed: int = 1) -> AdapterBank:
    """A bank of one slot, as after training: nothing in it is zero."""
    return _randomised(AdapterBank.for_training(TINY, config), seed, std=0.2).eval()


def mixed_bank(configs: tuple[AdapterConfig, ...] = VARIANTS) -> tuple[AdapterBank, list[AdapterBank]]:
    """A serving bank of all ``configs``, and each set alone in a bank of its own size."""
    alone = [trained_bank(config, seed) for seed, config in enumerate(configs, start=1)]
    bank = AdapterBank(TINY, BankShape.covering(configs, num_slots=len(configs) + 1)).requires_grad_(False).eval()
    for slot, (config, bank_alone) in enumerate(zip(configs, alone, strict=True)):
        bank.load(slot, config, bank_alone.export())
    return bank, alone


def tiny_vae(config: AdapterConfig = PLAIN) -> AdaVAE:
    return AdaVAE(tiny_backbone(), trained_bank(config))


def _randomised(module: _Module, seed: int, std: float) -> _Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
    return module
