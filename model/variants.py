"""The variants of the paper's Table 1 on GPT-2 124M, and the share of parameters each one trains.

Counted on tensors without storage, so that no weights are needed.
"""

from dataclasses import dataclass

from adavae.model.backbone import Backbone
from adavae.model.config import (
    GPT2_124M,
    AdapterConfig,
    AdapterPlacement,
    BackboneConfig,
    LatentAggregation,
    LatentInfusion,
)
from adavae.model.empty_model import without_memory
from adavae.model.parts.adapter_bank import AdapterBank


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of Table 1.

    Attributes:
        name: The paper's name.
        trained_parameters: Parameters that training changes.
        share_percent: The same, in per cent of the backbone's parameters.
        paper_percent: The paper's #params column.
    """

    name: str
    trained_parameters: int
    share_percent: float
    paper_percent: float


def paper_configs() -> dict[str, tuple[AdapterConfig, float]]:
    """Table 1's variants that use adapters, by the paper's name, with the paper's share in per cent."""
    pooled, psa, atm, both = LatentAggregation.POOLED, LatentInfusion.PSA, LatentInfusion.ATM, LatentInfusion.BOTH
    parallel, sequential = AdapterPlacement.PARALLEL_ATTENTION, AdapterPlacement.SEQUENTIAL_ATTENTION
    return {
        "AdaVAE": (AdapterConfig(), 14.66),
        "w/ LG": (AdapterConfig(latent_aggregation=pooled, latent_infusion=psa), 15.13),
        "w/ LG; -PSA; +AtM": (AdapterConfig(latent_aggregation=pooled, latent_infusion=atm), 9.43),
        "w/ LG; +AtM": (AdapterConfig(latent_aggregation=pooled, latent_infusion=both), 20.82),
        "+Prefix": (AdapterConfig(prefix_length=25, prefix_hidden=30), 15.65),
        "w/ parallel_attn": (AdapterConfig(adapter_placement=parallel), 14.66),
        "w/ sequential_attn": (AdapterConfig(adapter_placement=sequential), 14.66),
    }


def paper_variants() -> list[Variant]:
    """Every variant of Table 1 with its trained share; full fine-tuning is 100 % by definition of the column."""
    backbone_size = num_backbone_parameters(GPT2_124M)
    variants = []
    for name, (config, paper_percent) in paper_configs().items():
        trained = num_trained_parameters(GPT2_124M, config)
        variants.append(Variant(name, trained, 100.0 * trained / backbone_size, paper_percent))
    return [*variants, Variant("w/ Fine-tuning", backbone_size, 100.0, 100.0)]


def num_backbone_parameters(config: BackboneConfig) -> int:
    """Parameters of the frozen backbone, which encoder and decoder share."""
    with without_memory():
        return Backbone(config).num_parameters


def num_trained_parameters(backbone: BackboneConfig, config: AdapterConfig) -> int:
    """Parameters that training an adapter set changes; a prefix counts in its trained form, the MLP included."""
    with without_memory():
        bank = AdapterBank.for_training(backbone, config)
    return sum(parameter.numel() for parameter in bank.parameters())
