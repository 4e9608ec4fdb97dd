"""Frozen weights as the compiled code reads them: matrices in panels, in float16 where that changes nothing.

What is packed here must never change afterwards; the tensors stay alive with the object that names their addresses.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from model.config import AdapterConfig, AdapterPlacement
from model.kernel.library import PANEL, AdapterFields, AdapterSetFields, MatrixFields, NormFields

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
    """The adapters of one adapter set, of its own size.

    Attributes:
        encoder: Those of the encoder's blocks.
        decoder: Those of the decoder's.
        kept: What both point at.
    """

    encoder: AdapterSetFields
    decoder: AdapterSetFields
    kept: KeptTensors

    @classmethod
    def of(cls, config: AdapterConfig, tensors: Mapping[str, Tensor], n_layer: int) -> Self:
        """``tensors`` are those of ``AdapterBank.export``, ``n_layer`` is the backbone's."""
        kept = KeptTensors([])
        encoder = _side("encoder", config, tensors, config.encoder_layers, kept)
        return cls(encoder, _side("decoder", config, tensors, n_layer, kept), kept)

    @classmethod
    def bare(cls, encoder_layers: int, n_layer: int) -> Self:
        """No adapters: the frozen blocks alone."""
        encoder, decoder = (
            AdapterSetFields(placement=_NOWHERE, num_layers=depth) for depth in (encoder_layers, n_layer)
        )
        return cls(encoder, decoder, KeptTensors([]))


def _side(
    side: str, config: AdapterConfig, tensors: Mapping[str, Tensor], num_layers: int, kept: KeptTensors
) -> AdapterSetFields:
    adapters = (AdapterFields * num_layers)()
    for layer in range(num_layers):
        prefix = f"{side}_adapters.{layer}.placed.{config.adapter_placement}"
        for part in ("down", "up"):
            weight, bias = (tensors[f"{prefix}.{part}.{name}"].float() for name in ("weight", "bias"))
            setattr(adapters[layer], part, kept.matrix(weight, bias))
    return AdapterSetFields(  # which keeps the array that it points at
        adapters=adapters,
        placement=_PLACEMENTS[config.adapter_placement],
        scale=config.adapter_scale,
        num_layers=num_layers,
    )
