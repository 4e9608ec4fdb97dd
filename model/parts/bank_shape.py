"""The parts and sizes that a bank of adapter sets has room for."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from adavae.model.config import AdapterConfig, AdapterPlacement, LatentAggregation

_SIZES = (  # of a bank's shape, each as large as its largest set needs
    "encoder_layers",
    "adapter_size",
    "latent_size",
    "latent_heads",
    "latent_positions",
    "prefix_length",
    "num_labels",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BankShape:
    """What a bank has room for: the parts and the largest sizes of the sets that it may hold."""

    num_slots: int
    placements: tuple[AdapterPlacement, ...]
    aggregations: tuple[LatentAggregation, ...]
    encoder_layers: int
    adapter_size: int
    adapter_scale: float
    latent_size: int
    latent_heads: int
    latent_positions: int
    has_psa: bool
    has_atm: bool
    prefix_length: int
    num_labels: int

    @classmethod
    def covering(cls, configs: Iterable[AdapterConfig], num_slots: int | None = None) -> Self:
        """The smallest shape in which every one of ``configs`` fits."""
        configs = list(configs)
        return cls(
            num_slots=num_slots if num_slots is not None else len(configs),
            placements=tuple(sorted({config.adapter_placement for config in configs})),
            aggregations=tuple(sorted({config.latent_aggregation for config in configs})),
            encoder_layers=max(config.encoder_layers for config in configs),
            adapter_size=max(config.adapter_size for config in configs),
            adapter_scale=configs[0].adapter_scale if len(configs) == 1 else 1.0,
            latent_size=max(config.latent_size for config in configs),
            latent_heads=max(config.latent_heads for config in configs),
            latent_positions=max(config.latent_positions for config in configs),
            has_psa=any(config.latent_infusion.has_psa for config in configs),
            has_atm=any(config.latent_infusion.has_atm for config in configs),
            prefix_length=max(config.prefix_length for config in configs),
            num_labels=max(len(config.labels) for config in configs),
        )

    def union(self, other: Self) -> Self:
        """The smallest shape that covers both; the number of slots stays."""
        return replace(
            self,
            placements=tuple(sorted({*self.placements, *other.placements})),
            aggregations=tuple(sorted({*self.aggregations, *other.aggregations})),
            has_psa=self.has_psa or other.has_psa,
            has_atm=self.has_atm or other.has_atm,
            adapter_scale=self.adapter_scale if self.adapter_scale == other.adapter_scale else 1.0,
            **{size: max(getattr(self, size), getattr(other, size)) for size in _SIZES},
        )

    def covers(self, other: Self) -> bool:
        """Whether everything that fits ``other`` fits this shape, apart from the number of slots."""
        parts = ("has_psa", "has_atm")
        return (
            all(getattr(other, size) <= getattr(self, size) for size in _SIZES)
            and all(getattr(other, part) <= getattr(self, part) for part in parts)
            and set(other.placements) <= set(self.placements)
            and set(other.aggregations) <= set(self.aggregations)
        )
