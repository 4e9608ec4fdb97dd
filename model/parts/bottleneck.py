"""Bottleneck adapters: beside one branch of a block, beside a whole block, and bound to the rows of a batch."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adavae.model.config import AdapterPlacement
from adavae.model.parts.stacked import AdapterIndex, StackedLinear


class BottleneckAdapter(nn.Module):
    """Up(ReLU(Down(x))), C to A to C; Up starts at zero, so that an untrained adapter changes nothing."""

    def __init__(self, num_slots: int, n_embd: int, adapter_size: int) -> None:
        super().__init__()
        self.down = StackedLinear(num_slots, n_embd, adapter_size)
        self.up = StackedLinear(num_slots, adapter_size, n_embd)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor, index: AdapterIndex) -> Tensor:
        """(B, T, C) to (B, T, C); rows are sorted by set once for both layers."""
        narrow = torch.relu(self.down.of_sorted(index.sorted(x), index))
        return index.unsorted(self.up.of_sorted(narrow, index))


class LayerAdapters(nn.Module):
    """The adapters beside one block, one for each placement that any set of the bank uses."""

    def __init__(self, num_slots: int, n_embd: int, adapter_size: int, placements: Iterable[AdapterPlacement]) -> None:
        super().__init__()
        self.placed = nn.ModuleDict(
            {str(placement): BottleneckAdapter(num_slots, n_embd, adapter_size) for placement in placements}
        )

    def add(self, placement: AdapterPlacement, x: Tensor, output: Tensor, scale: float, index: AdapterIndex) -> Tensor:
        """``output + scale * adapter(x)``, or ``output`` if there is no adapter at ``placement``."""
        if placement not in self.placed:
            return output
        added: Tensor = self.placed[placement](x, index)
        return output + (added if scale == 1.0 else scale * added)


@dataclass(frozen=True, slots=True)
class RowAdapters:
    """One block's adapters bound to the rows of one batch; what ``Block.forward`` takes."""

    layer: LayerAdapters
    index: AdapterIndex
    scale: float

    def on_attention(self, x: Tensor, attended: Tensor) -> Tensor:
        """The sequential adapter reads the attention's output, the parallel one the residual stream."""
        attended = self.layer.add(AdapterPlacement.SEQUENTIAL_ATTENTION, attended, attended, self.scale, self.index)
        return self.layer.add(AdapterPlacement.PARALLEL_ATTENTION, x, attended, self.scale, self.index)

    def on_ffn(self, x: Tensor, transformed: Tensor) -> Tensor:
        return self.layer.add(AdapterPlacement.PARALLEL_FFN, x, transformed, self.scale, self.index)
