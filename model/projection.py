"""The backbone's matrices: linear layers which, when frozen on a CPU, keep a second copy of the weight in float16.

With few rows, a product is as fast as the weight can be read, and half the bytes take half the time. Sums stay in
float32, and only weights that float16 represents exactly are copied (true of every backbone this project stores), so
results differ only in the order of summation.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_MAX_ROWS = 64  # with more rows, arithmetic is the bound, not reading


class Projection(nn.Linear):
    """``nn.Linear`` with a faster path for few rows, without gradients."""

    _packed: Any = None

    def pack(self) -> None:
        """Prepares the path for few rows, if this processor supports it and it changes no result."""
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
        """A copy may be cast or trained, so it starts without the second weight."""
        return {name: value for name, value in self.__dict__.items() if name != "_packed"}


def _has_fbgemm() -> bool:
    engines: list[str] = torch.backends.quantized.supported_engines
    return "fbgemm" in engines
