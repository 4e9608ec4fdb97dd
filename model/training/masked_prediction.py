"""Hidden tokens predicted from all sides, beside next tokens: a backbone that can also read without its causal mask.

AdaVAE's encoder is the frozen backbone without its causal mask, and a causal model has never read like that. So in some
windows of a step tokens are hidden and everything else of their text is in sight; each is predicted at the place before
it, where next tokens are predicted too, by the same output embedding (masked next-token prediction, Charpentier and
Samuel 2024).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class HiddenTokens:
    """The windows of one step, tokens hidden in the first of them.

    Attributes:
        inputs: What the model reads, (B, T), int64; end-of-text stands where a token is hidden.
        num_windows: M, how many of the windows, the first ones, have hidden tokens.
        places: Where hidden tokens are predicted, as indices into the flattened (B * T), int64, (M * K,).
        targets: The hidden tokens, (M * K,), int64.
        is_counted: False for those that begin a text and are left out, (M * K,), bool.
    """

    inputs: Tensor
    num_windows: int
    places: Tensor
    targets: Tensor
    is_counted: Tensor

    @classmethod
    def draw(cls, windows: Tensor, num_windows: int, rate: float, eos_token_id: int, seed: tuple[int, int]) -> Self:
        """Hides tokens at random.

        Args:
            windows: (B, T + 1), int64, on the CPU.
            num_windows: M, how many of them get hidden tokens.
            rate: Share of a window's tokens that are hidden.
            eos_token_id: The token that begins a text; it is never hidden, and stands for what is.
            seed: The run's seed, and the step.
        """
        T = windows.shape[1] - 1
        inputs = windows[:, :-1].clone()
        per_window = max(1, round(rate * (T - 1))) if T > 1 else 0
        order = np.random.default_rng(seed).random((num_windows, T - 1)).argsort(axis=1)
        hidden = torch.from_numpy(order[:, :per_window]) + 1  # (M, K); what stands first is predicted nowhere
        rows = torch.arange(num_windows).unsqueeze(1)
        targets = inputs[rows, hidden]
        inputs[rows, hidden] = eos_token_id
        places = rows * T + hidden - 1
        return cls(inputs, num_windows, places.flatten(), targets.flatten(), (targets != eos_token_id).flatten())

    def to(self, device: torch.device) -> "HiddenTokens":
        """The same on a device, copied without waiting for it."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)

        return HiddenTokens(
            moved(self.inputs), self.num_windows, moved(self.places), moved(self.targets), moved(self.is_counted)
        )

    def predictions(self, windows: Tensor) -> "Predictions":
        """What is to be predicted in this step, and how much each counts.

        Next tokens, in the windows without hidden ones, and hidden tokens each count as much as their share of the
        windows.
        """
        T, first = windows.shape[1] - 1, self.num_windows
        num_next = (len(windows) - first) * T
        share = first / len(windows)
        counted = self.is_counted.float()
        next_places = torch.arange(first * T, len(windows) * T, device=windows.device)
        next_weights = torch.full((num_next,), (1 - share) / max(1, num_next), device=windows.device)
        return Predictions(
            places=torch.cat([self.places, next_places]),
            targets=torch.cat([self.targets, windows[first:, 1:].flatten()]),
            weights=torch.cat([counted * (share / counted.sum().clamp(min=1)), next_weights]),
        )


@dataclass(frozen=True, slots=True)
class Predictions:
    """Tokens that a step predicts, N of them.

    Attributes:
        places: Indices of the hidden states that predict them, into the flattened (B * T), (N,), int64.
        targets: The tokens, (N,), int64.
        weights: Of each in the loss, (N,), float32; they sum to 1.
    """

    places: Tensor
    targets: Tensor
    weights: Tensor
