"""What the encoder reads of a text in training: sometimes another form of it, and some of its tokens deleted.

The decoder still rebuilds the whole text, so that texts with the same meaning lie close together in z (denoising: Shen
et al., "Educating Text Autoencoders", ICML 2020). ``text_forms`` makes the other forms. Shapes depend on the batch
alone, so the host never waits for the device.
"""

import torch
from torch import Tensor


def with_forms(
    token_ids: Tensor,
    attention_mask: Tensor,
    form_ids: Tensor,
    form_mask: Tensor,
    share: float,
    drawn: Tensor,
) -> tuple[Tensor, Tensor]:
    """Replaces some rows by another form of their text.

    Args:
        token_ids: The texts, (B, T), int64, right-padded.
        attention_mask: True on real tokens, (B, T).
        form_ids: Another form of each, (B, T'), int64, right-padded.
        form_mask: True on real tokens, (B, T').
        share: Share of rows to replace, on average.
        drawn: Uniform in [0, 1), (B, 1).

    Returns:
        Token ids and mask, both (B, max(T, T')).
    """
    T = max(token_ids.shape[1], form_ids.shape[1])
    is_chosen = drawn < share
    ids = torch.where(is_chosen, _widened(form_ids, T), _widened(token_ids, T))
    return ids, torch.where(is_chosen, _widened(form_mask, T), _widened(attention_mask, T))


def with_deletions(
    token_ids: Tensor, attention_mask: Tensor, largest_rate: float, rates: Tensor, drawn: Tensor
) -> tuple[Tensor, Tensor]:
    """Deletes tokens, each row at its own rate, and closes the gaps.

    Args:
        token_ids: The texts, (B, T), int64, right-padded.
        attention_mask: True on real tokens, (B, T), at least one a row.
        largest_rate: A row's rate is ``rates`` times this.
        rates: Uniform in [0, 1), (B, 1).
        drawn: Of each token, uniform in [0, 1), (B, T).

    Returns:
        Token ids and mask, both (B, T); a row that would have lost every token keeps them all.
    """
    T = token_ids.shape[1]
    is_kept = attention_mask & (drawn >= largest_rate * rates)
    is_kept = torch.where(is_kept.any(1, keepdim=True), is_kept, attention_mask)
    order = (~is_kept).to(torch.int8).argsort(dim=1, stable=True)  # kept tokens first, in their order
    mask = torch.arange(T, device=token_ids.device) < is_kept.sum(1, keepdim=True)
    return token_ids.gather(1, order), mask


def _widened(rows: Tensor, num_columns: int) -> Tensor:
    """(B, T) to (B, num_columns), zeros on the right."""
    return torch.nn.functional.pad(rows, (0, num_columns - rows.shape[1]))
