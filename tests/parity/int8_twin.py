"""int8 products as slow and obvious as they can be: whole numbers in PyTorch, one linear layer at a time."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from adavae.model.backbone import Backbone
from adavae.model.projection import Projection


@dataclass(frozen=True, slots=True)
class Bytes:
    """Rows of numbers as bytes, x = scale * (byte - zero).

    Attributes:
        bytes: (B, in), int64, of 0 to 255.
        scale: (B, 1), float32.
        zero: (B, 1), int64.
    """

    bytes: Tensor
    scale: Tensor
    zero: Tensor

    @classmethod
    def of(cls, x: Tensor) -> Self:
        lowest, highest = x.amin(1, keepdim=True).clamp(max=0.0), x.amax(1, keepdim=True).clamp(min=0.0)
        width = highest - lowest
        steps = torch.where(
            width > 1e-30, torch.tensor(255.0) / width, 0.0
        )  # 255.0 / width would multiply by 1 / width
        zero = (-lowest * steps).round().long()
        return cls(((x * steps).round().long() + zero).clamp(0, 255), width / 255.0, zero)


class Int8Linear(nn.Module):
    """A linear layer whose weight is in int8 and whose input is rounded to bytes, row by row."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        scales = weight.float().abs().amax(1) / 127.0
        steps = torch.where(scales > 0.0, 1.0 / scales, 0.0)
        self.numbers = (weight.float() * steps.unsqueeze(1)).round().clamp(-127, 127).long()  # (out, in)
        self.scales, self.bias = scales, bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        rows = Bytes.of(x.reshape(-1, x.shape[-1]))
        sums = (rows.bytes - rows.zero) @ self.numbers.T  # exact: whole numbers
        output = sums.float() * (rows.scale * self.scales)
        output = output if self.bias is None else output + self.bias
        return output.view(*x.shape[:-1], -1)


def use_int8(backbone: Backbone) -> None:
    """Puts ``Int8Linear`` in the place of every matrix of the blocks and of the output embedding."""
    for module in list(backbone.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Projection):
                setattr(module, name, Int8Linear(child.weight, child.bias))
