"""Drawing one token of every row from its probabilities, filtered by top-k and top-p (Holtzman et al. 2020).

Uses the inverse of the cumulative distribution in the order of token ids, so tokens need not be sorted, which for a
whole vocabulary takes longer than a decoding step. A row's randomness comes from its seed and step alone.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adavae.model.decoding.decoding import Decoding

_MASK_64 = (1 << 64) - 1
_HEAD = 256  # the nucleus is first looked for among this many of the likeliest tokens


def uniform(seed: int, step: int) -> float:
    """A number in [0, 1) from (seed, step): two rounds of SplitMix64 (Steele et al. 2014)."""
    return (_mixed(_mixed(seed) ^ step) >> 11) / (1 << 53)


def _mixed(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & _MASK_64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK_64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK_64
    return value ^ (value >> 31)


def draw(probabilities: Tensor, decodings: Sequence[Decoding], steps: Sequence[int]) -> Tensor:
    """A token for every row.

    Args:
        probabilities: (B, V), float32.
        decodings: One per row; the ``top_k`` likeliest tokens are kept, and of them as many as together hold ``top_p``.
        steps: Tokens each row has drawn so far.

    Returns:
        (B,), int64.
    """
    numbers = [uniform(decoding.seed, step) for decoding, step in zip(decodings, steps, strict=True)]
    if probabilities.device.type != "cpu":
        return draw_side_by_side(probabilities, decodings, numbers)
    rows = zip(probabilities.numpy(), decodings, numbers, strict=True)
    return torch.tensor([_draw_row(*row) for row in rows])


def _draw_row(probabilities: NDArray[np.float32], decoding: Decoding, number: float) -> int:
    tokens = _kept_tokens(probabilities, decoding)
    kept = probabilities if tokens is None else probabilities[tokens]
    cumulative = kept.cumsum(dtype=np.float64)
    place = int(cumulative.searchsorted(number * cumulative[-1], side="right"))
    if place == len(kept):  # the product was rounded up to the sum of all
        place = int(np.flatnonzero(kept)[-1])
    return place if tokens is None else int(tokens[place])


def _kept_tokens(probabilities: NDArray[np.float32], decoding: Decoding) -> NDArray[np.int64] | None:
    """The tokens that may be drawn, in the order of their ids; None for all of them."""
    V = len(probabilities)
    most = min(decoding.top_k or V, V)
    if decoding.top_p < 1.0:
        num_kept, least = _nucleus(probabilities, decoding.top_p, most)
    elif most < V:
        num_kept, least = most, np.partition(probabilities, V - most)[V - most]
    else:
        return None
    tokens = np.flatnonzero(probabilities >= least)
    if len(tokens) == num_kept:
        return tokens
    ties = np.flatnonzero(probabilities[tokens] == least)  # of equally likely tokens, the first are kept
    return np.delete(tokens, ties[num_kept - len(tokens) :])


def _nucleus(probabilities: NDArray[np.float32], top_p: float, most: int) -> tuple[int, np.float32]:
    """How many of the likeliest tokens together hold ``top_p``, at most ``most``, and the last one's probability."""
    V, size = len(probabilities), min(_HEAD, most)
    while True:
        head = np.sort(np.partition(probabilities, V - size)[V - size :])[::-1]
        cumulative = head.cumsum(dtype=np.float64)
        if size == most or cumulative[-1] >= top_p:
            num_kept = max(1, int(np.count_nonzero(cumulative - head < top_p)))
            return num_kept, head[num_kept - 1]
        size = min(8 * size, most)


def draw_side_by_side(probabilities: Tensor, decodings: Sequence[Decoding], numbers: Sequence[float]) -> Tensor:
    """``draw`` for all rows at once, without leaving the device, from ``numbers`` in [0, 1)."""
    device = probabilities.device
    top_k = torch.tensor([decoding.top_k for decoding in decodings], device=device).unsqueeze(1)
    top_p = torch.tensor([decoding.top_p for decoding in decodings], device=device, dtype=torch.float64).unsqueeze(1)
    return draw_from(probabilities, top_k, top_p, torch.tensor(numbers, device=device, dtype=torch.float64))


def draw_from(probabilities: Tensor, top_k: Tensor, top_p: Tensor, numbers: Tensor) -> Tensor:
    """A token for every row, with the parameters in tensors.

    Args:
        probabilities: (B, V), float32.
        top_k: (B, 1), int64; 0 is off.
        top_p: (B, 1), float64.
        numbers: In [0, 1), (B,), float64.

    Returns:
        (B,), int64.
    """
    kept = probabilities.double() * _may_be_drawn(probabilities, top_k, top_p)
    cumulative = kept.cumsum(-1)
    place = (cumulative <= numbers.unsqueeze(1) * cumulative[:, -1:]).sum(-1)
    last = kept.shape[1] - 1 - (kept > 0).int().flip(-1).argmax(-1)
    return torch.minimum(place, last)


def _may_be_drawn(probabilities: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """Which tokens may be drawn, (B, V), bool."""
    likeliest, tokens = probabilities.sort(dim=-1, descending=True, stable=True)
    in_nucleus = (likeliest.double().cumsum(-1) - likeliest < top_p) | (top_p >= 1.0)
    rank = torch.arange(probabilities.shape[1], device=probabilities.device)
    kept = ((rank < top_k) | (top_k == 0)) & (in_nucleus | (rank == 0))
    return torch.zeros_like(kept).scatter_(1, tokens, kept)
