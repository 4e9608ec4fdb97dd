"""One transformer block over a residual stream with one token per row, (N, C), and the adapters beside it: shared by
packed encoding and graphed decoding.

Sums are passed on unfinished, as a stream and a term still to be added, so that each is computed in one launch with the
following norm.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from adavae.model.backbone import Block
from adavae.model.config import Activation, AdapterPlacement
from adavae.model.gpu.kernels import Kernels, feed_forward, product
from adavae.model.gpu.layout import SlotTiles
from adavae.model.parts.bottleneck import BottleneckAdapter, LayerAdapters
from adavae.model.parts.stacked import StackedLinear

Attend = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class RowSlots:
    """The adapter set of each row being decoded, (B,), int32."""

    slots: Tensor


@dataclass(frozen=True, slots=True)
class BlockAdapters:
    """A block's adapters bound to rows."""

    layer: LayerAdapters
    rows: RowSlots | SlotTiles
    scale: float


def block_deltas(
    kernels: Kernels,
    block: Block,
    activation: Activation,
    adapters: BlockAdapters,
    attend: Attend,
    x: Tensor,
    delta: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """One block.

    Args:
        kernels: The operations to compute with.
        block: The block's weights.
        activation: Activation of its MLP.
        adapters: The trained parts beside it.
        attend: Attention, from queries, keys and values, (N, 3 C), to (N, C).
        x: Residual stream, (N, C).
        delta: A term still to be added to ``x``, (N, C), or None.

    Returns:
        The stream, and a term still to be added to it, (N, C) each.
    """
    x, normed = kernels.add_norm(x, delta, block.ln_1)
    attended = product(attend(product(normed, block.attn.c_attn)), block.attn.c_proj)
    attended = _added(kernels, adapters, AdapterPlacement.SEQUENTIAL_ATTENTION, attended, attended)
    attended = _added(kernels, adapters, AdapterPlacement.PARALLEL_ATTENTION, x, attended)
    x, normed = kernels.add_norm(x, attended, block.ln_2)
    if (only := _only_slot(adapters, x)) is not None:
        return x, uniform_ffn(block, activation, *only, adapters.scale, x, normed)
    transformed = feed_forward(normed, block.mlp, activation)
    return x, _added(kernels, adapters, AdapterPlacement.PARALLEL_FFN, x, transformed)


def _only_slot(adapters: BlockAdapters, x: Tensor) -> tuple[BottleneckAdapter, int] | None:
    """The adapter beside the MLP and the one slot of all rows, if cuBLAS can fuse their sum."""
    slot = adapters.rows.only_slot if isinstance(adapters.rows, SlotTiles) else None
    if slot is None or not x.is_cuda or AdapterPlacement.PARALLEL_FFN not in adapters.layer.placed:
        return None
    return adapters.layer.placed[AdapterPlacement.PARALLEL_FFN], slot  # type: ignore[return-value]


def uniform_ffn(
    block: Block,
    activation: Activation,
    adapter: BottleneckAdapter,
    slot: int,
    scale: float,
    x: Tensor,
    normed: Tensor,
) -> Tensor:
    """MLP and adapter of one slot, (N, C), without a separate launch for any sum."""
    down, up = adapter.down, adapter.up
    assert down.bias is not None and up.bias is not None  # a bottleneck's have them
    narrow = torch._addmm_activation(down.bias[slot], x, down.weight[slot].mT)  # with ReLU
    transformed = feed_forward(normed, block.mlp, activation, shift=scale * up.bias[slot])
    return transformed.addmm_(narrow, up.weight[slot].mT, alpha=scale)


def _added(kernels: Kernels, adapters: BlockAdapters, placement: AdapterPlacement, x: Tensor, output: Tensor) -> Tensor:
    """``output + scale * adapter(x)``, or ``output`` if there is no adapter at ``placement``."""
    if placement not in adapters.layer.placed:
        return output
    down: StackedLinear = adapters.layer.placed[placement].down  # type: ignore[assignment]
    up: StackedLinear = adapters.layer.placed[placement].up  # type: ignore[assignment]
    rows, scale = adapters.rows, adapters.scale
    if isinstance(rows, RowSlots):
        narrow = kernels.linear_of_rows(x, down, rows.slots, scale=1.0, is_relu=True, base=None)
        return kernels.linear_of_rows(narrow, up, rows.slots, scale=scale, is_relu=False, base=output)
    narrow = kernels.linear_of_tiles(x, down, rows, scale=1.0, is_relu=True, base=None)
    return kernels.linear_of_tiles(narrow, up, rows, scale=scale, is_relu=False, base=output)
