"""The backbone's matrices: linear layers that, frozen on a CPU, keep their weight a second time in float16.

A few rows are multiplied as fast as the weight can be read, and half the bytes are read in half the time. Sums stay in
float32, and only a weight that float16 holds exactly is kept so, which every backbone is that this project stores:
results differ by the order of summation alone.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_MAX_ROWS = 64  # with more of them arithmetic is the bound, not reading


class Projection(nn.Linear):
    """``nn.Linear`` with its own way for few rows, without gradients."""

    _packed: Any = None

    def pack(self) -> None:
        """Prepares the way for few rows, where this processor has it and it changes nothing."""
        weight = self.weight.detach()
        if weight.dtype != torch.float32 or weight.device.type != "cpu" or not _has_fbgemm():
            return
        if torch.equal(weight, weight.half().float()):
            bias = dict(self.named_parameters()).get("bias")
            self._packed = torch.ops.quantized.linear_prepack_fp16(
                weight.contiguous(), None if bias is None else bias.detach()
            )

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        is_few = x.numel() <= _MAX_ROWS * self.in_features
        if is_few and self._packed is not None and not torch.is_grad_enabled() and x.dtype is torch.float32:
            output: Tensor = torch.ops.quantized.linear_dynamic_fp16.default(x, self._packed)
            return output
        return F.linear(x, self.weight, self.bias)

    def __getstate__(self) -> dict[str, Any]:
        """A copy may be cast or trained: it begins without the second weight."""
        return {name: value for name, value in self.__dict__.items() if name != "_packed"}


def _has_fbgemm() -> bool:
    engines: list[str] = torch.backends.quantized.supported_engines
    return "fbgemm" in engines
