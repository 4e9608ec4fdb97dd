"""Frozen weights as the compiled code reads them: matrices in panels, in float16 where that is exact, or in int8.

Packed weights must never change; the tensors stay alive as long as the object that holds their addresses.
"""

import ctypes
import math
import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from adavae.model.config import AdapterConfig, AdapterPlacement, EncoderAttention, WeightFormat
from adavae.model.kernel.library import (
    DEPTH_STEP,
    PANEL,
    AdapterFields,
    AdapterSetFields,
    LatentSetFields,
    MatrixFields,
    NormFields,
    Numbers,
)

_PLACEMENTS = {
    AdapterPlacement.PARALLEL_FFN: 0,
    AdapterPlacement.PARALLEL_ATTENTION: 1,
    AdapterPlacement.SEQUENTIAL_ATTENTION: 2,
}
_NOWHERE = 3
_BLOCK_BYTES = 1 << 20
_HUGE_BLOCK_BYTES = 32 << 20  # what of it stays unused is never touched, and so takes no memory
_LINE_BYTES = 64


class KeptTensors:
    """Tensors whose memory a structure points at.

    Panels lie one after the other in blocks, which the next set of a slot reuses: writing to memory that is fresh from
    the system takes ten times as long. A backbone's lie in huge pages (``is_large``).
    """

    def __init__(self, *, is_large: bool = False) -> None:
        self._is_large = is_large
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
            numbers=Numbers.FLOAT16 if is_half else Numbers.FLOAT32,
        )

    def int8_matrix(self, weight: Tensor, bias: Tensor | None) -> MatrixFields:
        """The same in int8, to be multiplied with float32."""
        rounded = Int8Weight.of(weight)
        out_features, in_features = weight.shape
        num_panels = -(-out_features // PANEL)
        panels = self._room((num_panels, in_features, PANEL), torch.int8)
        write_panels(rounded.numbers, panels)
        return MatrixFields(
            panels=panels.data_ptr(),
            bias=None if bias is None else self.address(bias.detach().float().contiguous()),
            scales=self._of_panels(rounded.scales),
            in_features=in_features,
            out_features=out_features,
            numbers=Numbers.INT8,
        )

    def int8_four_matrix(self, weight: Tensor, bias: Tensor | None) -> MatrixFields:
        """The same in int8, to be multiplied with bytes: (ceil(out / 32), ceil(in / 64) * 16, 32, 4)."""
        rounded = Int8Weight.of(weight)
        out_features, in_features = weight.shape
        num_panels, depth = -(-out_features // PANEL), -(-in_features // DEPTH_STEP) * DEPTH_STEP
        padded = torch.zeros(num_panels * PANEL, depth, dtype=torch.int8)
        padded[:out_features, :in_features] = rounded.numbers
        panels = self._room((num_panels, depth // 4, PANEL, 4), torch.int8)
        panels.copy_(padded.view(num_panels, PANEL, depth // 4, 4).transpose(1, 2))
        return MatrixFields(
            panels=panels.data_ptr(),
            bias=self._of_panels(torch.zeros(out_features) if bias is None else bias.detach().float()),
            scales=self._of_panels(rounded.scales),
            totals=self._of_panels(rounded.numbers.sum(1, dtype=torch.int32)),
            in_features=in_features,
            out_features=out_features,
            numbers=Numbers.INT8_FOUR,
        )

    def norm(self, weight: Tensor, bias: Tensor) -> NormFields:
        return NormFields(weight=self.address(weight.detach()), bias=self.address(bias.detach()))

    def _of_panels(self, of_outputs: Tensor) -> int:
        """The address of one number for each output of every panel, zero beyond ``of_outputs``, (out,)."""
        whole = torch.zeros(-(-len(of_outputs) // PANEL) * PANEL, dtype=of_outputs.dtype)
        whole[: len(of_outputs)] = of_outputs
        return self.address(whole)

    def _room(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """An uninitialised part of a block that shares no cache line with others."""
        number, begin = self._place
        end = begin + math.prod(shape) * dtype.itemsize
        while number < len(self._blocks) and end > len(self._blocks[number]):
            number, begin, end = number + 1, 0, end - begin
        if number == len(self._blocks):
            self._blocks.append(_large_block(end) if self._is_large else _block(max(end, _BLOCK_BYTES)))
        self._place = number, -(-end // _LINE_BYTES) * _LINE_BYTES
        return self._blocks[number][begin:end].view(dtype).view(shape)


def _block(num_bytes: int) -> Tensor:
    return torch.empty(num_bytes, dtype=torch.uint8)


def _large_block(num_bytes: int) -> Tensor:
    """A block in pages of 2 MiB where the system grants them. What is read from front to back in every step crosses a
    small page every 4 KiB, and a virtual machine looks up each of them twice.
    """
    num_bytes = max(num_bytes, _HUGE_BLOCK_BYTES)
    try:
        memory = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(mmap.MADV_HUGEPAGE)
    except OSError:
        return _block(num_bytes)
    return torch.frombuffer(memory, dtype=torch.uint8)


def write_panels(weight: Tensor, panels: Tensor) -> None:
    """(out, in) to (ceil(out / 32), in, 32), zero beyond ``out``."""
    num_whole, rest = divmod(len(weight), PANEL)
    panels[:num_whole] = weight[: num_whole * PANEL].view(num_whole, PANEL, weight.shape[1]).transpose(1, 2)
    if rest:
        panels[num_whole] = 0.0
        panels[num_whole, :, :rest] = weight[-rest:].T


@dataclass(frozen=True, slots=True)
class Int8Weight:
    """A weight in int8, symmetric, each output with a scale of its own: weight = scales * numbers.

    Attributes:
        numbers: (out, in), int8, of at most 127.
        scales: (out,), float32.
    """

    numbers: Tensor
    scales: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> Self:
        weight = weight.detach().float()
        scales = weight.abs().amax(1) / 127.0
        steps = torch.where(scales > 0.0, 1.0 / scales, 0.0)
        return cls((weight * steps.unsqueeze(1)).round().clamp(-127, 127).to(torch.int8), scales)


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
        cls,
        config: AdapterConfig,
        tensors: Mapping[str, Tensor],
        n_layer: int,
        weights: WeightFormat = WeightFormat.FLOAT16,
        replaced: Self | None = None,
    ) -> Self:
        """``tensors`` come from ``AdapterBank.export``, ``n_layer`` from the backbone.

        ``replaced`` is a set that is never used again: its memory is overwritten.
        """
        kept = KeptTensors() if replaced is None else replaced.kept.emptied()
        is_int8 = weights is WeightFormat.INT8
        of_blocks = _Linear(tensors, kept.int8_four_matrix if is_int8 else kept.matrix)
        encoder = _side("encoder", config, of_blocks, config.encoder_layers)
        encoder.is_causal = config.encoder_attention is EncoderAttention.CAUSAL
        decoder = _side("decoder", config, of_blocks, n_layer)
        latent = _latent(config, _Linear(tensors, kept.int8_matrix if is_int8 else kept.matrix), of_blocks, n_layer)
        kept.without_the_rest()
        return cls(encoder, decoder, latent, kept)

    @classmethod
    def bare(cls, encoder_layers: int, n_layer: int) -> Self:
        """The frozen blocks alone, without adapters and z."""
        encoder, decoder = (
            AdapterSetFields(placement=_NOWHERE, num_layers=depth) for depth in (encoder_layers, n_layer)
        )
        return cls(encoder, decoder, LatentSetFields(), KeptTensors())


@dataclass(frozen=True, slots=True)
class _Linear:
    """Packs a set's linear layers by name."""

    tensors: Mapping[str, Tensor]
    pack: Callable[[Tensor, Tensor | None], MatrixFields]

    def __call__(self, name: str) -> MatrixFields:
        return self.pack(self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias"))


def _side(side: str, config: AdapterConfig, linear: _Linear, num_layers: int) -> AdapterSetFields:
    adapters = (AdapterFields * num_layers)()
    for layer in range(num_layers):
        prefix = f"{side}_adapters.{layer}.placed.{config.adapter_placement}"
        for part in ("down", "up"):
            setattr(adapters[layer], part, linear(f"{prefix}.{part}"))
    return AdapterSetFields(  # which keeps alive the array that it points at
        adapters=adapters,
        placement=_PLACEMENTS[config.adapter_placement],
        scale=config.adapter_scale,
        num_layers=num_layers,
    )


def _latent(config: AdapterConfig, linear: _Linear, of_blocks: _Linear, n_layer: int) -> LatentSetFields:
    """z itself, a few numbers with a meaning each, is not rounded to bytes; the vectors made from it are."""

    def layers(way: str) -> ctypes.Array[MatrixFields]:
        return (MatrixFields * n_layer)(*(of_blocks(f"latent_memory.{way}.{layer}") for layer in range(n_layer)))

    return LatentSetFields(  # which keeps alive the arrays that it points at
        mu=linear("posterior.mu"),
        logvar=linear("posterior.logvar"),
        projection=linear("latent_memory.projection"),
        psa=layers("psa") if config.latent_infusion.has_psa else None,
        atm=layers("atm") if config.latent_infusion.has_atm else None,
        positions=config.latent_positions,
    )
