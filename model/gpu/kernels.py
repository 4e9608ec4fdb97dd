"""The operations of ``packed_encoder`` and ``device_rows`` in plain PyTorch, the slow twin of ``triton_kernels``.

A residual stream here has one token per row, (N, C): rows being decoded, or texts laid end to end.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adavae.model.backbone import MLP
from adavae.model.config import Activation
from adavae.model.decoding.drawing import draw_from
from adavae.model.gpu.layout import PackedTexts, SlotTiles
from adavae.model.parts.stacked import StackedLinear
from adavae.model.projection import Projection

_TANH_GELU = (Activation.GELU_NEW, Activation.GELU_TANH)


@dataclass(frozen=True, slots=True)
class LayerCache:
    """One layer of the decoder's cache, and how far each row has come.

    Attributes:
        keys: (R, H, M + T_max, D); R is at least the number of rows in a step.
        values: As ``keys``.
        memory_mask: True where a row has that memory position, (R, M), bool.
        lengths: Tokens before this one, (R,), int32.
    """

    keys: Tensor
    values: Tensor
    memory_mask: Tensor
    lengths: Tensor


class Kernels(Protocol):
    """Operations that a GPU computes in one launch where possible."""

    def add_norm(self, x: Tensor, delta: Tensor | None, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
        """``x + delta`` and its layer norm, both (N, C)."""
        ...

    def cached_attention(self, qkv: Tensor, cache: LayerCache) -> Tensor:
        """Attention of one token per row, (B, 3 C) to (B, C); its key and value are added to the cache."""
        ...

    def packed_attention(self, qkv: Tensor, texts: PackedTexts, n_head: int) -> Tensor:
        """Attention of every token to its text, (N, 3 C) to (N, C)."""
        ...

    def linear_of_rows(
        self, x: Tensor, layer: StackedLinear, slots: Tensor, *, scale: float, is_relu: bool, base: Tensor | None
    ) -> Tensor:
        """``base + scale * (x W[slot] + b[slot])``, or its ReLU, with the slot of each row, (B,), int32."""
        ...

    def linear_of_tiles(
        self, x: Tensor, layer: StackedLinear, tiles: SlotTiles, *, scale: float, is_relu: bool, base: Tensor | None
    ) -> Tensor:
        """The same for rows sorted by slot."""
        ...

    def draw(self, probabilities: Tensor, top_k: Tensor, top_p: Tensor, numbers: Tensor) -> Tensor:
        """``drawing.draw_from`` of (B, V) float32, with (B,) int64, float64 and float64 in [0, 1); (B,), int64."""
        ...


class PlainKernels:
    """Every operation in plain PyTorch."""

    def add_norm(self, x: Tensor, delta: Tensor | None, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
        total = x if delta is None else x + delta
        return total, norm(total)

    def cached_attention(self, qkv: Tensor, cache: LayerCache) -> Tensor:
        _, H, W, D = cache.keys.shape
        B, M = len(qkv), cache.memory_mask.shape[1]
        query, key, value = qkv.view(B, 3, H, D).unbind(1)  # each (B, H, D)
        columns = M + cache.lengths[:B].long()
        rows = torch.arange(B, device=qkv.device)
        cache.keys[rows, :, columns], cache.values[rows, :, columns] = key, value
        is_seen = torch.arange(W, device=qkv.device) <= columns.unsqueeze(1)  # (B, W)
        is_seen[:, :M] &= cache.memory_mask[:B]
        scores = torch.einsum("bhd,bhwd->bhw", query, cache.keys[:B]).float() * D**-0.5
        shares = scores.masked_fill(~is_seen.unsqueeze(1), -torch.inf).softmax(-1).to(qkv.dtype)
        # What is not seen is not read: where an earlier row has overflowed, zero times it is no number.
        values = cache.values[:B].masked_fill(~is_seen[:, None, :, None], 0.0)
        return torch.einsum("bhw,bhwd->bhd", shares, values).reshape(B, H * D)

    def packed_attention(self, qkv: Tensor, texts: PackedTexts, n_head: int) -> Tensor:
        D = qkv.shape[1] // 3 // n_head
        padded = texts.padded(qkv).view(len(texts), texts.max_length, 3, n_head, D)
        query, key, value = padded.permute(2, 0, 3, 1, 4)  # each (B, H, T, D)
        mask = texts.attention_mask[:, None, None, :]
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return texts.packed(attended.transpose(1, 2).flatten(2))

    def linear_of_rows(
        self, x: Tensor, layer: StackedLinear, slots: Tensor, *, scale: float, is_relu: bool, base: Tensor | None
    ) -> Tensor:
        chosen = slots.long()
        output = torch.einsum("bi,boi->bo", x, layer.weight[chosen])
        if layer.bias is not None:
            output = output + layer.bias[chosen]
        return _finished(output, scale=scale, is_relu=is_relu, base=base)

    def linear_of_tiles(
        self, x: Tensor, layer: StackedLinear, tiles: SlotTiles, *, scale: float, is_relu: bool, base: Tensor | None
    ) -> Tensor:
        parts = [
            F.linear(x[start:stop], layer.weight[slot], None if layer.bias is None else layer.bias[slot])
            for slot, start, stop in tiles.spans
        ]
        return _finished(torch.cat(parts), scale=scale, is_relu=is_relu, base=base)

    def draw(self, probabilities: Tensor, top_k: Tensor, top_p: Tensor, numbers: Tensor) -> Tensor:
        return draw_from(probabilities, top_k.unsqueeze(1), top_p.unsqueeze(1), numbers)


def _finished(output: Tensor, *, scale: float, is_relu: bool, base: Tensor | None) -> Tensor:
    if is_relu:
        output = torch.relu(output)
    if scale != 1.0:
        output = scale * output
    return output if base is None else base + output


def feed_forward(x: Tensor, mlp: MLP, activation: Activation, shift: Tensor | None = None) -> Tensor:
    """``MLP.forward`` of (N, C), with the activation fused into the first product if cuBLAS supports it.

    ``shift``, (C,), is added to the result.
    """
    fc = mlp.c_fc
    if x.is_cuda and activation in _TANH_GELU and fc.bias is not None:
        wide = torch._addmm_activation(fc.bias, x, fc.weight.mT, use_gelu=True)
    else:
        wide = mlp.activation(fc(x))
    bias = mlp.c_proj.bias if shift is None else mlp.c_proj.bias + shift
    return F.linear(wide, mlp.c_proj.weight, bias)


def product(x: Tensor, layer: Projection) -> Tensor:
    """``layer`` applied to (N, in), without the paths that only a CPU has."""
    return F.linear(x, layer.weight, layer.bias)
