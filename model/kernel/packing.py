"""Frozen weights as the compiled code reads them: matrices in panels, in float16 where that changes nothing.

What is packed here must never change afterwards; the tensors stay alive with the object that names their addresses.
"""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from model.config import AdapterConfig, AdapterPlacement
from model.kernel.library import PANEL, AdapterFields, AdapterSetFields, LatentSetFields, MatrixFields, NormFields

_PLACEMENTS = {
    AdapterPlacement.PARALLEL_FFN: 0,
    AdapterPlacement.PARALLEL_ATTENTION: 1,
    AdapterPlacement.SEQUENTIAL_ATTENTION: 2,
}
_NOWHERE = 3


@dataclass(slots=True)
class KeptTensors:
    """Tensors whose memory a structure points at."""

    tensors: list[Tensor]

    def address(self, tensor: Tensor) -> int:
        """Of ``tensor``, which is kept from now on; it must lie in one piece."""
        assert tensor.is_contiguous()
        self.tensors.append(tensor)
        return tensor.data_ptr()

    def matrix(self, weight: Tensor, bias: Tensor | None) -> MatrixFields:
        """A linear layer: ``weight`` (out, in), ``bias`` (out,)."""
        out_features, in_features = weight.shape
        is_half = torch.equal(weight, weight.half().float())
        return MatrixFields(
            panels=self.address(panels(weight.half() if is_half else weight)),
            bias=None if bias is None else self.address(bias.detach().float().contiguous()),
            in_features=in_features,
            out_features=out_features,
            is_half=is_half,
        )

    def norm(self, weight: Tensor, bias: Tensor) -> NormFields:
        return NormFields(weight=self.address(weight.detach()), bias=self.address(bias.detach()))


def panels(weight: Tensor) -> Tensor:
    """(out, in) to (ceil(out / 32), in, 32), zero beyond ``out``."""
    out_features, in_features = weight.shape
    columns = F.pad(weight.detach().T, (0, -out_features % PANEL))  # (in, 32 P)
    return columns.view(in_features, -1, PANEL).transpose(0, 1).contiguous()


@dataclass(frozen=True, slots=True)
class PackedAdapterSet:
    """One adapter set, of its own size: all that is wide enough to be worth it.

    Attributes:
        encoder: The adapters of the encoder's blocks.
        decoder: Those of the decoder's.
        latent: The linear layers around z.
        kept: What these point at.
    """

    encoder: AdapterSetFields
    decoder: AdapterSetFields
    latent: LatentSetFields
    kept: KeptTensors

    @classmethod
    def of(cls, config: AdapterConfig, tensors: Mapping[str, Tensor], n_layer: int) -> Self:
        """``tensors`` are those of ``AdapterBank.export``, ``n_layer`` is the backbone's."""
        kept = KeptTensors([])
        encoder = _side("encoder", config, tensors, config.encoder_layers, kept)
        decoder = _side("decoder", config, tensors, n_layer, kept)
        return cls(encoder, decoder, _latent(config, tensors, n_layer, kept), kept)

    @classmethod
    def bare(cls, encoder_layers: int, n_layer: int) -> Self:
        """No adapters and no z: the frozen blocks alone."""
        encoder, decoder = (
            AdapterSetFields(placement=_NOWHERE, num_layers=depth) for depth in (encoder_layers, n_layer)
        )
        return cls(encoder, decoder, LatentSetFields(), KeptTensors([]))


def _side(
    side: str, config: AdapterConfig, tensors: Mapping[str, Tensor], num_layers: int, kept: KeptTensors
) -> AdapterSetFields:
    adapters = (AdapterFields * num_layers)()
    for layer in range(num_layers):
        prefix = f"{side}_adapters.{layer}.placed.{config.adapter_placement}"
        for part in ("down", "up"):
            setattr(adapters[layer], part, _linear(f"{prefix}.{part}", tensors, kept))
    return AdapterSetFields(  # which keeps the array that it points at
        adapters=adapters,
        placement=_PLACEMENTS[config.adapter_placement],
        scale=config.adapter_scale,
        num_layers=num_layers,
    )


def _latent(config: AdapterConfig, tensors: Mapping[str, Tensor], n_layer: int, kept: KeptTensors) -> LatentSetFields:
    def layers(way: str) -> ctypes.Array[MatrixFields]:
        return (MatrixFields * n_layer)(
            *(_linear(f"latent_memory.{way}.{layer}", tensors, kept) for layer in range(n_layer))
        )

    return LatentSetFields(  # which keeps the arrays that it points at
        mu=_linear("posterior.mu", tensors, kept),
        logvar=_linear("posterior.logvar", tensors, kept),
        projection=_linear("latent_memory.projection", tensors, kept),
        psa=layers("psa") if config.latent_infusion.has_psa else None,
        atm=layers("atm") if config.latent_infusion.has_atm else None,
        positions=config.latent_positions,
    )


def _linear(name: str, tensors: Mapping[str, Tensor], kept: KeptTensors) -> MatrixFields:
    weight, bias = tensors[f"{name}.weight"].float(), tensors.get(f"{name}.bias")
    return kept.matrix(weight, None if bias is None else bias.float())
