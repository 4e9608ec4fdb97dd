"""The operations of ``kernels`` as Triton programs: one launch each, every row by itself.

A row's result is the same, bit for bit, whatever rows are in the batch: no program sums over rows. Triton's own
interpreter runs them on a CPU, as the tests do (``TRITON_INTERPRET=1`` before this file is imported).
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from adavae.model.gpu.kernels import LayerCache, PlainKernels
from adavae.model.gpu.layout import TILE_ROWS, PackedTexts, SlotTiles
from adavae.model.parts.stacked import StackedLinear

_FEW_ROWS = 8  # up to this many rows, a launch has too few programs to fill the device, so narrower ones are used


@dataclass(frozen=True, slots=True)
class RowBlocks:
    """How ``linear_of_rows`` cuts a row's outputs into programs.

    Attributes:
        few: Outputs per program if there are few rows.
        many: Outputs per program if there are many.
        num_warps: Warps per program.
    """

    few: int = 16
    many: int = 32
    num_warps: int = 4


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _add_norm(x, delta, weight, bias, total, normed, C, epsilon, HAS_DELTA: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    start = tl.program_id(0).to(tl.int64) * C
    columns = tl.arange(0, BLOCK)
    is_inside = columns < C
    value = tl.load(x + start + columns, mask=is_inside, other=0.0).to(tl.float32)
    if HAS_DELTA:
        value += tl.load(delta + start + columns, mask=is_inside, other=0.0).to(tl.float32)
        rounded = value.to(total.dtype.element_ty)
        tl.store(total + start + columns, rounded, mask=is_inside)
        value = rounded.to(tl.float32)
    mean = tl.sum(value, 0) / C
    centred = tl.where(is_inside, value - mean, 0.0)
    variance = tl.sum(centred * centred, 0) / C
    scale = tl.load(weight + columns, mask=is_inside, other=0.0).to(tl.float32)
    shift = tl.load(bias + columns, mask=is_inside, other=0.0).to(tl.float32)
    result = centred * (1.0 / tl.sqrt(variance + epsilon)) * scale + shift
    tl.store(normed + start + columns, result.to(normed.dtype.element_ty), mask=is_inside)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _cached_attention(  # type: ignore[no-untyped-def]
    qkv, keys, values, memory_mask, lengths, output, M, W, H, scale,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_W: tl.constexpr,
):  # fmt: skip
    row, head = tl.program_id(0), tl.program_id(1)
    d = tl.arange(0, BLOCK_D)
    is_d = d < D
    row_qkv = qkv + row.to(tl.int64) * 3 * H * D + head * D
    query = tl.load(row_qkv + d, mask=is_d, other=0.0).to(tl.float32)
    key = tl.load(row_qkv + H * D + d, mask=is_d, other=0.0)
    value = tl.load(row_qkv + 2 * H * D + d, mask=is_d, other=0.0)
    column = M + tl.load(lengths + row)
    place = (row.to(tl.int64) * H + head) * W * D
    tl.store(keys + place + column * D + d, key, mask=is_d)
    tl.store(values + place + column * D + d, value, mask=is_d)
    # The newest position is read from registers: its store need not be visible yet.
    best = tl.sum(query * key.to(tl.float32), 0) * scale
    total = best * 0.0 + 1.0
    attended = value.to(tl.float32)
    for start in range(0, column, BLOCK_W):
        w = start + tl.arange(0, BLOCK_W)
        has = tl.load(memory_mask + row * M + w, mask=w < M, other=1)
        is_seen = (w < column) & (has != 0)
        where = place + w[:, None] * D + d[None, :]
        is_loaded = is_seen[:, None] & is_d[None, :]
        block = tl.load(keys + where, mask=is_loaded, other=0.0).to(tl.float32)
        scores = tl.where(is_seen, tl.sum(block * query[None, :], 1) * scale, float("-inf"))
        new_best = tl.maximum(best, tl.max(scores, 0))
        shares, shrink = tl.exp(scores - new_best), tl.exp(best - new_best)
        block = tl.load(values + where, mask=is_loaded, other=0.0).to(tl.float32)
        attended = attended * shrink + tl.sum(shares[:, None] * block, 0)
        total = total * shrink + tl.sum(shares, 0)
        best = new_best
    result = attended / total
    tl.store(output + (row.to(tl.int64) * H + head) * D + d, result.to(output.dtype.element_ty), mask=is_d)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _linear_of_rows(  # type: ignore[no-untyped-def]
    x, weight, bias, slots, base, output, scale, slot_stride, in_stride, out_stride,
    IN: tl.constexpr, OUT: tl.constexpr, HAS_BIAS: tl.constexpr, IS_RELU: tl.constexpr, HAS_BASE: tl.constexpr,
    BLOCK_IN: tl.constexpr, BLOCK_OUT: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    slot = tl.load(slots + row).to(tl.int64)
    o = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    is_o = o < OUT
    slot_weight = weight + slot * slot_stride + o[None, :] * out_stride
    products = tl.zeros((BLOCK_IN, BLOCK_OUT), tl.float32)
    for start in tl.static_range(0, IN, BLOCK_IN):
        i = start + tl.arange(0, BLOCK_IN)
        is_i = i < IN
        numbers = tl.load(x + row * IN + i, mask=is_i, other=0.0).to(tl.float32)
        block = tl.load(slot_weight + i[:, None] * in_stride, mask=is_i[:, None] & is_o[None, :], other=0.0)
        products += numbers[:, None] * block.to(tl.float32)
    result = tl.sum(products, 0)
    if HAS_BIAS:
        result += tl.load(bias + slot * OUT + o, mask=is_o, other=0.0).to(tl.float32)
    if IS_RELU:
        result = tl.where(result < 0, 0.0, result)  # NaN stays NaN
    result = result * scale
    if HAS_BASE:
        result += tl.load(base + row * OUT + o, mask=is_o, other=0.0).to(tl.float32)
    tl.store(output + row * OUT + o, result.to(output.dtype.element_ty), mask=is_o)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _linear_of_tiles(  # type: ignore[no-untyped-def]
    x, weight, bias, tiles, tile_stride, base, output, scale, slot_stride, in_stride, out_stride, IN, OUT,
    HAS_BIAS: tl.constexpr, IS_RELU: tl.constexpr, HAS_BASE: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_IN: tl.constexpr, BLOCK_OUT: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    slot = tl.load(tiles + tile).to(tl.int64)
    rows = tl.load(tiles + tile_stride + tile) + tl.arange(0, BLOCK_ROWS)
    is_row = rows < tl.load(tiles + 2 * tile_stride + tile)
    o = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    is_o = o < OUT
    numbers, slot_weight = x + rows[:, None].to(tl.int64) * IN, weight + slot * slot_stride + o[None, :] * out_stride
    result = tl.zeros((BLOCK_ROWS, BLOCK_OUT), tl.float32)
    for start in range(0, IN, BLOCK_IN):
        i = start + tl.arange(0, BLOCK_IN)
        is_i = i < IN
        left = tl.load(numbers + i[None, :], mask=is_row[:, None] & is_i[None, :], other=0.0)
        right = tl.load(slot_weight + i[:, None] * in_stride, mask=is_i[:, None] & is_o[None, :], other=0.0)
        result = tl.dot(left, right, result, input_precision="ieee")
    if HAS_BIAS:
        result += tl.load(bias + slot * OUT + o, mask=is_o, other=0.0).to(tl.float32)[None, :]
    if IS_RELU:
        result = tl.where(result < 0, 0.0, result)
    result = result * scale
    where = rows[:, None].to(tl.int64) * OUT + o[None, :]
    is_inside = is_row[:, None] & is_o[None, :]
    if HAS_BASE:
        result += tl.load(base + where, mask=is_inside, other=0.0).to(tl.float32)
    tl.store(output + where, result.to(output.dtype.element_ty), mask=is_inside)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _draw(probabilities, top_k, top_p, numbers, drawn, V, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    row_p = probabilities + row * V
    most, mass, number = tl.load(top_k + row), tl.load(top_p + row), tl.load(numbers + row)
    most = tl.where(most == 0, V, most)
    # A token is kept if fewer than ``most`` tokens are likelier and together hold less than ``mass``. Non-negative
    # floats are ordered like their bits, so bisection over bits finds the least likely kept one.
    low = (most * 0 - 1).to(tl.int32)
    high = low + 0x3F800001
    for _ in range(31):
        middle = low + (high - low) // 2
        count, held = tl.zeros((BLOCK,), tl.int32), tl.zeros((BLOCK,), tl.float64)
        for start in range(0, V, BLOCK):
            v = start + tl.arange(0, BLOCK)
            p = tl.load(row_p + v, mask=v < V, other=0.0)
            is_above = p.to(tl.int32, bitcast=True) > middle
            count += is_above.to(tl.int32)
            held += tl.where(is_above, p, 0.0).to(tl.float64)
        is_kept = (tl.sum(count, 0) < most) & ((mass >= 1.0) | (tl.sum(held, 0) < mass))
        high = tl.where(is_kept, middle, high)
        low = tl.where(is_kept, low, middle)
    count, held = tl.zeros((BLOCK,), tl.int32), tl.zeros((BLOCK,), tl.float64)
    for start in range(0, V, BLOCK):
        v = start + tl.arange(0, BLOCK)
        p = tl.load(row_p + v, mask=v < V, other=0.0)
        is_above = p.to(tl.int32, bitcast=True) > high
        count += is_above.to(tl.int32)
        held += tl.where(is_above, p, 0.0).to(tl.float64)
    # Of equally likely tokens the first are kept.
    least = high.to(tl.float32, bitcast=True).to(tl.float64)
    above, num_above = tl.sum(held, 0), tl.sum(count, 0)
    num_ties = (most - num_above).to(tl.float64)
    if_by_mass = tl.ceil((mass - above) / tl.where(least > 0.0, least, 1.0))
    num_ties = tl.where((mass < 1.0) & (least > 0.0), tl.minimum(num_ties, if_by_mass), num_ties)
    seen_ties, total = num_above * 0, above * 0.0
    for start in range(0, V, BLOCK):
        v = start + tl.arange(0, BLOCK)
        p = tl.load(row_p + v, mask=v < V, other=0.0)
        bits = p.to(tl.int32, bitcast=True)
        is_tie = ((bits == high) & (v < V)).to(tl.int32)
        rank = seen_ties + tl.cumsum(is_tie, 0) - is_tie
        is_kept = (bits > high) | ((is_tie != 0) & (rank.to(tl.float64) < num_ties))
        total += tl.sum(tl.where(is_kept, p, 0.0).to(tl.float64), 0)
        seen_ties += tl.sum(is_tie, 0)
    threshold, running = number * total, above * 0.0
    seen_ties, place, last = num_above * 0, num_above * 0, num_above * 0
    for start in range(0, V, BLOCK):
        v = start + tl.arange(0, BLOCK)
        p = tl.load(row_p + v, mask=v < V, other=0.0)
        bits = p.to(tl.int32, bitcast=True)
        is_tie = ((bits == high) & (v < V)).to(tl.int32)
        rank = seen_ties + tl.cumsum(is_tie, 0) - is_tie
        is_kept = (bits > high) | ((is_tie != 0) & (rank.to(tl.float64) < num_ties))
        kept = tl.where(is_kept, p, 0.0).to(tl.float64)
        cumulative = running + tl.cumsum(kept, 0)
        place += tl.sum(((cumulative <= threshold) & (v < V)).to(tl.int32), 0)
        last = tl.maximum(last, tl.max(tl.where(kept > 0.0, v, 0), 0))
        running += tl.sum(kept, 0)
        seen_ties += tl.sum(is_tie, 0)
    tl.store(drawn + row, tl.minimum(place, last).to(tl.int64))


class TritonKernels(PlainKernels):
    """``Kernels`` for one GPU."""

    def __init__(self, blocks: RowBlocks | None = None) -> None:
        self.blocks = blocks or RowBlocks()

    def add_norm(self, x: Tensor, delta: Tensor | None, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
        N, C = x.shape
        normed = torch.empty_like(x)
        total = x if delta is None else torch.empty_like(x)
        given = x if delta is None else delta
        _launch(
            _add_norm, (N,), x, given, norm.weight, norm.bias, total, normed, C, norm.eps,
            HAS_DELTA=delta is not None, BLOCK=triton.next_power_of_2(C), num_warps=4 if C <= 1024 else 8,
        )  # fmt: skip
        return total, normed

    def cached_attention(self, qkv: Tensor, cache: LayerCache) -> Tensor:
        _, H, W, D = cache.keys.shape
        output = qkv.new_empty(len(qkv), H * D)
        _launch(
            _cached_attention, (len(qkv), H), qkv, cache.keys, cache.values, cache.memory_mask.view(torch.uint8),
            cache.lengths, output, cache.memory_mask.shape[1], W, H, D**-0.5,
            D=D, BLOCK_D=triton.next_power_of_2(D), BLOCK_W=32, num_warps=4,
        )  # fmt: skip
        return output

    def packed_attention(self, qkv: Tensor, texts: PackedTexts, n_head: int) -> Tensor:
        if not qkv.is_cuda or qkv.dtype not in (torch.bfloat16, torch.float16):
            return super().packed_attention(qkv, texts, n_head)
        from torch.nn.attention.varlen import varlen_attn

        N, width = qkv.shape
        query, key, value = qkv.view(N, 3, n_head, width // 3 // n_head).unbind(1)  # each (N, H, D)
        T, ends = texts.max_length, texts.cumulative
        attended: Any = varlen_attn(query, key, value, ends, ends, T, T)
        output: Tensor = attended.reshape(N, width // 3)
        return output

    def linear_of_rows(
        self, x: Tensor, layer: StackedLinear, slots: Tensor, *, scale: float, is_relu: bool, base: Tensor | None
    ) -> Tensor:
        B, IN = x.shape
        OUT = layer.out_features
        block_out = min(triton.next_power_of_2(OUT), self.blocks.few if B <= _FEW_ROWS else self.blocks.many)
        output = x.new_empty(B, OUT)
        _launch(
            _linear_of_rows, (B, triton.cdiv(OUT, block_out)), x, layer.weight, _or(layer.bias, x), slots,
            _or(base, x), output, scale, *_strides(layer), IN=IN, OUT=OUT, HAS_BIAS=layer.bias is not None,
            IS_RELU=is_relu, HAS_BASE=base is not None, BLOCK_IN=min(128, triton.next_power_of_2(IN)),
            BLOCK_OUT=block_out, num_warps=self.blocks.num_warps,
        )  # fmt: skip
        return output

    def linear_of_tiles(
        self, x: Tensor, layer: StackedLinear, tiles: SlotTiles, *, scale: float, is_relu: bool, base: Tensor | None
    ) -> Tensor:
        N, IN = x.shape
        OUT = layer.out_features
        block_out = max(16, min(triton.next_power_of_2(OUT), 128))
        output = x.new_empty(N, OUT)
        _launch(
            _linear_of_tiles, (tiles.table.shape[1], triton.cdiv(OUT, block_out)), x, layer.weight,
            _or(layer.bias, x), tiles.table, tiles.table.stride(0), _or(base, x), output, scale, *_strides(layer),
            IN=IN, OUT=OUT, HAS_BIAS=layer.bias is not None, IS_RELU=is_relu, HAS_BASE=base is not None,
            BLOCK_ROWS=TILE_ROWS, BLOCK_IN=max(16, min(64 if x.dtype != torch.float32 else 32,
            triton.next_power_of_2(IN))), BLOCK_OUT=block_out, num_warps=4,
        )  # fmt: skip
        return output

    def draw(self, probabilities: Tensor, top_k: Tensor, top_p: Tensor, numbers: Tensor) -> Tensor:
        B, V = probabilities.shape
        drawn = torch.empty(B, dtype=torch.int64, device=probabilities.device)
        block = min(4096, triton.next_power_of_2(V))
        given = (tensor.contiguous() for tensor in (probabilities, top_k, top_p, numbers))
        _launch(_draw, (B,), *given, drawn, V, BLOCK=block, num_warps=8)
        return drawn


def _launch(kernel: Any, grid: tuple[int, ...], *arguments: object, **sizes: object) -> None:
    kernel[grid](*arguments, **sizes)


def _or(given: Tensor | None, other: Tensor) -> Tensor:
    """A pointer that is never read must still point somewhere."""
    return other if given is None else given


def _strides(layer: StackedLinear) -> tuple[int, int, int]:
    """Strides between slots, inputs and outputs."""
    slot, output, given = layer.weight.stride()
    return slot, given, output
