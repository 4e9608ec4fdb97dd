"""Frozen weights as the compiled code reads them: matrices in panels, in float16 where that is exact.

Packed weights must never change; the tensors stay alive as long as the object that holds their addresses.
"""

import ctypes
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from adavae.model.config import AdapterConfig, AdapterPlacement, EncoderAttention
from adavae.model.kernel.library import (
    PANEL,
    AdapterFields,
    AdapterSetFields,
    LatentSetFields,
    MatrixFields,
    NormFields,
)

_PLACEMENTS = {
    AdapterPlacement.PARALLEL_FFN: 0,
    AdapterPlacement.PARALLEL_ATTENTION: 1,
    AdapterPlacement.SEQUENTIAL_ATTENTION: 2,
}
_NOWHERE = 3
_BLOCK_BYTES = 1 << 20
_LINE_BYTES = 64


class KeptTensors:
    """Tensors whose memory a structure points at.

    Panels lie one after the other in blocks, which the next set of a slot reuses: writing to memory that is fresh from
    the system takes ten times as long.
    """

    def __init__(self) -> None:
        self._tensors: list[Tensor] = []
        self._blocks: list[Tensor] = []
        self._place = (0, 0)  # block and byte of the next free place

    def emptied(self) -> Self:
        """The same blocks for other panels; nothing may point into them any more."""
        self._tensors, self._place = [], (0, 0)
        return self

    def without_the_rest(self) -> None:
        """Lets go of blocks that nothing lies in, such as those of a larger set that stood here before."""
        del self._blocks[self._place[0] + 1 :]

    def address(self, tensor: Tensor) -> int:
        """The address of ``tensor``, which is kept alive; it must be contiguous."""
        assert tensor.is_contiguous()
        self._tensors.append(tensor)
        return tensor.data_ptr()

    def matrix(self, weight: Tensor, bias: Tensor | None) -> MatrixFields:
        """A linear layer: ``weight`` (out, in), ``bias`` (out,), in float16 or float32."""
        out_features, in_features = weight.shape
        is_half = weight.dtype == torch.float16 or torch.equal(weight, weight.half().float())
        num_panels = -(-out_features // PANEL)
        panels = self._room((num_panels, in_features, PANEL), torch.float16 if is_half else torch.float32)
        write_panels(weight.detach(), panels)
        return MatrixFields(
            panels=panels.data_ptr(),
            bias=None if bias is None else self.address(bias.detach().float().contiguous()),
            in_features=in_features,
            out_features=out_features,
            is_half=is_half,
        )

    def norm(self, weight: Tensor, bias: Tensor) -> NormFields:
        return NormFields(weight=self.address(weight.detach()), bias=self.address(bias.detach()))

    def _room(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """An uninitialised part of a block that shares no cache line with others."""
        number, begin = self._place
        end = begin + math.prod(shape) * dtype.itemsize
        while number < len(self._blocks) and end > len(self._blocks[number]):
            number, begin, end = number + 1, 0, end - begin
        if number == len(self._blocks):
            self._blocks.append(torch.empty(max(end, _BLOCK_BYTES), dtype=torch.uint8))
        self._place = number, -(-end // _LINE_BYTES) * _LINE_BYTES
        return self._blocks[number][begin:end].view(dtype).view(shape)


def write_panels(weight: Tensor, panels: Tensor) -> None:
    """(out, in) to (ceil(out / 32), in, 32), zero beyond ``out``."""
    num_whole, rest = divmod(len(weight), PANEL)
    panels[:num_whole] = weight[: num_whole * PANEL].view(num_whole, PANEL, weight.shape[1]).transpose(1, 2)
    if rest:
        panels[num_whole] = 0.0
        panels[num_whole, :, :rest] = weight[-rest:].T


@dataclass(frozen=True, slots=True)
class PackedAdapterSet:
    """One adapter set, of its own size: all that is wide enough to be worth it.

    Attributes:
        encoder: The adapters of the encoder's blocks.
        decoder: The adapters of the decoder's blocks.
        latent: The linear layers around z.
        kept: The tensors that these point into.
    """

    encoder: AdapterSetFields
    decoder: AdapterSetFields
    latent: LatentSetFields
    kept: KeptTensors

    @classmethod
    def of(
        cls, config: AdapterConfig, tensors: Mapping[str, Tensor], n_layer: int, replaced: Self | None = None
    ) -> Self:
        """``tensors`` come from ``AdapterBank.export``, ``n_layer`` from the backbone.

        ``replaced`` is a set that is never used again: its memory is overwritten.
        """
        kept = KeptTensors() if replaced is None else replaced.kept.emptied()
        encoder = _side("encoder", config, tensors, config.encoder_layers, kept)
        encoder.is_causal = config.encoder_attention is EncoderAttention.CAUSAL
        decoder = _side("decoder", config, tensors, n_layer, kept)
        latent = _latent(config, tensors, n_layer, kept)
        kept.without_the_rest()
        return cls(encoder, decoder, latent, kept)

    @classmethod
    def bare(cls, encoder_layers: int, n_layer: int) -> Self:
        """The frozen blocks alone, without adapters and z."""
        encoder, decoder = (
            AdapterSetFields(placement=_NOWHERE, num_layers=depth) for depth in (encoder_layers, n_layer)
        )
        return cls(encoder, decoder, LatentSetFields(), KeptTensors())


def _side(
    side: str, config: AdapterConfig, tensors: Mapping[str, Tensor], num_layers: int, kept: KeptTensors
) -> AdapterSetFields:
    adapters = (AdapterFields * num_layers)()
    for layer in range(num_layers):
        prefix = f"{side}_adapters.{layer}.placed.{config.adapter_placement}"
        for part in ("down", "up"):
            setattr(adapters[layer], part, _linear(f"{prefix}.{part}", tensors, kept))
    return AdapterSetFields(  # which keeps alive the array that it points at
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

    return LatentSetFields(  # which keeps alive the arrays that it points at
        mu=_linear("posterior.mu", tensors, kept),
        logvar=_linear("posterior.logvar", tensors, kept),
        projection=_linear("latent_memory.projection", tensors, kept),
        psa=layers("psa") if config.latent_infusion.has_psa else None,
        atm=layers("atm") if config.latent_infusion.has_atm else None,
        positions=config.latent_positions,
    )


def _linear(name: str, tensors: Mapping[str, Tensor], kept: KeptTensors) -> MatrixFields:
    return kept.matrix(tensors[f"{name}.weight"], tensors.get(f"{name}.bias"))
