"""Choosing the next token of every row: greedy, or sampled with temperature, top-k, top-p and a repetition penalty.

A row's token depends on its logits, text, parameters, seed and step alone, never on the batch it is in.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.model.decoding.drawing import draw


def next_tokens(
    logits: Tensor, decodings: Sequence[Decoding], has_token: Tensor | None, step: int | Sequence[int]
) -> Tensor:
    """The next token of every row, greedy or sampled as its decoding says.

    Args:
        logits: (B, V).
        decodings: One per row.
        has_token: True where a row's text already has a token, (B, V), bool; None if no row has a penalty.
        step: Tokens each row has chosen so far, which is part of its draw's seed; one number if it is the same for all.

    Returns:
        (B,), int64.
    """
    logits = penalised(logits.float(), decodings, has_token)
    chosen = _likeliest(logits)
    sampled = [row for row, decoding in enumerate(decodings) if decoding.strategy is Strategy.SAMPLE]
    if not sampled:
        return chosen
    rows = torch.tensor(sampled, device=logits.device)
    steps = [step if isinstance(step, int) else step[row] for row in sampled]
    chosen_decodings = [decodings[row] for row in sampled]
    temperature = logits.new_tensor([decoding.temperature for decoding in chosen_decodings]).unsqueeze(1)
    chosen[rows] = draw((logits[rows] / temperature).softmax(-1), chosen_decodings, steps)
    return chosen


def end_held_off(logits: Tensor, decodings: Sequence[Decoding], steps: Sequence[int], eos_token_id: int) -> Tensor:
    """Logits, (B, V), under which no row ends before its ``min_tokens``; ``steps`` are tokens chosen so far."""
    rows = [row for row, decoding in enumerate(decodings) if steps[row] < decoding.min_tokens]
    if not rows:
        return logits
    held = logits.clone()
    held[rows, eos_token_id] = float("-inf")
    return held


def _likeliest(logits: Tensor) -> Tensor:
    """The first of the largest logits of each row, (B,), int64."""
    if logits.device.type == "cpu":  # numpy's argmax is vectorised, torch's is twenty times slower here
        return torch.from_numpy(logits.detach().numpy().argmax(-1))
    return logits.argmax(-1)


def penalised(logits: Tensor, decodings: Sequence[Decoding], has_token: Tensor | None) -> Tensor:
    """Logits with each row's repetition penalty applied (Keskar et al. 2019), (B, V)."""
    if has_token is None:
        return logits
    penalty = logits.new_tensor([decoding.repetition_penalty for decoding in decodings]).unsqueeze(1)
    return torch.where(has_token, torch.where(logits > 0, logits / penalty, logits * penalty), logits)
