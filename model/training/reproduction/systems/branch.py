"""The adapter of systems that come from transformers: a branch beside or behind one of their layers."""

import torch
from torch import Tensor, nn


class AdapterBranch(nn.Module):
    """W_up relu(W_down h), which is zero until it is trained (Houlsby et al. 2019)."""

    def __init__(self, width: int, adapter_size: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, adapter_size), nn.Linear(adapter_size, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., width) to (..., width)."""
        output: Tensor = self.up(torch.relu(self.down(hidden)))
        return output
