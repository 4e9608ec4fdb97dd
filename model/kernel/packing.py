"""Frozen weights as the compiled code reads them: matrices in panels, in float16 where that changes nothing.

What is packed here must never change afterwards; the tensors stay alive with the object that names their addresses.
"""

from collections.abc import Mapping
from dataclasses import dataclass

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


class PackedAdapterSet:
    """The adapters of one adapter set, of its own size.

    Attributes:
        encoder: Those of the encoder's blocks.
        decoder: Those of the decoder's.
    """

    def __init__(self, config: AdapterConfig, tensors: Mapping[str, Tensor], n_layer: int) -> None:
        """``tensors`` are those of ``AdapterBank.export``, ``n_layer`` is the backbone's."""
        self._kept = KeptTensors([])
        self.encoder = self._side("encoder", config, tensors, config.encoder_layers)
        self.decoder = self._side("decoder", config, tensors, n_layer)

    def _side(
        self, side: str, config: AdapterConfig, tensors: Mapping[str, Tensor], num_layers: int
    ) -> AdapterSetFields:
        adapters = (AdapterFields * num_layers)()
        for layer in range(num_layers):
            prefix = f"{side}_adapters.{layer}.placed.{config.adapter_placement}"
            for part in ("down", "up"):
                weight, bias = (tensors[f"{prefix}.{part}.{name}"].float() for name in ("weight", "bias"))
                setattr(adapters[layer], part, self._kept.matrix(weight, bias))
        return AdapterSetFields(  # which keeps the array that it points at
            adapters=adapters,
            placement=_PLACEMENTS[config.adapter_placement],
            scale=config.adapter_scale,
            num_layers=num_layers,
        )
