"""A backbone as a plain language model: its training loss, and its perplexity on texts it has not seen."""

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from adavae.model.adavae import pad
from adavae.model.backbone import Backbone, causal_mask
from adavae.model.errors import DatasetError, SequenceTooLong
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.training.cross_entropy import sliced_cross_entropy

_log = logging.getLogger(__name__)

_ROWS_AT_ONCE = 64
_SLICE = {False: 512, True: 16_384}  # tokens whose logits are in memory at once, on a CPU, on a GPU


@dataclass(frozen=True, slots=True)
class Perplexity:
    """How well a backbone predicts texts it has not seen.

    Attributes:
        per_token: Over the tokenizer's tokens and each text's end; compares backbones with the same tokenizer.
        per_word: Over whitespace-separated words and each text's end; compares any two backbones.
        num_texts: Number of texts measured.
    """

    per_token: float
    per_word: float
    num_texts: int


HiddenStates = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]
"""``Backbone.hidden_states``, or the same compiled."""


def next_token_loss(
    backbone: Backbone,
    windows: Tensor,
    dtype: torch.dtype = torch.float32,
    *,
    is_separate: bool = False,
    hidden_states: HiddenStates | None = None,
) -> Tensor:
    """Mean cross-entropy of every token but the first.

    Args:
        backbone: The model, causal.
        windows: (B, T + 1), int64.
        dtype: Of the product with the output embedding.
        is_separate: End-of-text begins a text of its own, which sees nothing of the one before it.
        hidden_states: Computes the backbone's hidden states; ``backbone.hidden_states`` if left out.

    Returns:
        A scalar, nats per token.
    """
    inputs = windows[:, :-1]
    positions, mask = separate_texts(inputs, backbone.config.eos_token_id) if is_separate else (None, None)
    compute = backbone.hidden_states if hidden_states is None else hidden_states
    hidden = compute(inputs, positions, mask).flatten(0, 1).to(dtype)  # (B * T, C)
    weights = torch.full((hidden.shape[0],), 1.0 / hidden.shape[0], device=hidden.device)
    slice_size = _SLICE[hidden.is_cuda]
    loss, _ = sliced_cross_entropy(hidden, backbone.lm_head.weight, windows[:, 1:].flatten(), weights, slice_size)
    return loss


def compiled_hidden_states(backbone: Backbone) -> HiddenStates:
    """``backbone.hidden_states`` compiled by torch; not compiled where the compiler fails."""
    compiled: HiddenStates = torch.compile(backbone.hidden_states, dynamic=False)
    is_broken = False

    def hidden_states(token_ids: Tensor, positions: Tensor | None, mask: Tensor | None) -> Tensor:
        nonlocal is_broken
        if not is_broken:
            try:
                return compiled(token_ids, positions, mask)
            except (RuntimeError, OSError) as exc:  # the compiler's own errors are RuntimeErrors
                is_broken = True
                _log.warning("the compiler failed (%s): training goes on without it, more slowly", exc)
        return backbone.hidden_states(token_ids, positions, mask)

    return hidden_states


def separate_texts(token_ids: Tensor, eos_token_id: int) -> tuple[Tensor, Tensor]:
    """Positions and mask under which the texts of a window do not see each other.

    Args:
        token_ids: Windows of texts, end-of-text before each, (B, T), int64; the first text may have begun earlier.
        eos_token_id: The token that begins a text.

    Returns:
        Positions counted from each text's end-of-text, (B, T), int64, and True where a query may look, (B, 1, T, T).
    """
    T = token_ids.shape[1]
    places, is_start = torch.arange(T, device=token_ids.device), token_ids == eos_token_id
    starts = torch.where(is_start, places, 0).cummax(1).values
    text = is_start.cumsum(1)
    mask = (text.unsqueeze(2) == text.unsqueeze(1)) & causal_mask(T, device=token_ids.device)
    return places - starts, mask.unsqueeze(1)


@torch.no_grad()
def held_out_perplexity(pretrained: PretrainedBackbone, texts: Sequence[str]) -> Perplexity:
    """Perplexity of texts, each on its own, with end-of-text before and after it.

    Raises:
        DatasetError: There is no text.
        SequenceTooLong: A text does not fit the context.
    """
    if not texts:
        raise DatasetError("there is no text to measure the perplexity of: give at least 1")
    backbone, eos = pretrained.backbone, pretrained.tokenizer.eos_token_id
    rows = sorted(pretrained.tokenizer.encode_many(texts), key=len)
    if len(rows[-1]) >= backbone.config.n_positions:
        raise SequenceTooLong(
            f"a text has {len(rows[-1]):,} tokens, the limit is {backbone.config.n_positions - 1:,}: shorten it"
        )
    with attention_on(backbone.wte.weight.device):
        batches = (rows[start : start + _ROWS_AT_ONCE] for start in range(0, len(rows), _ROWS_AT_ONCE))
        nll = sum(_summed_nll(backbone, batch, eos) for batch in batches)
    num_tokens = sum(len(row) + 1 for row in rows)
    num_words = sum(len(text.split()) + 1 for text in texts)
    return Perplexity(math.exp(nll / num_tokens), math.exp(nll / num_words), len(texts))


def _summed_nll(backbone: Backbone, rows: list[list[int]], eos: int) -> float:
    """-log p of the rows' tokens and ends, nats."""
    token_ids, is_token = pad([[eos, *row, eos] for row in rows], eos, backbone.wte.weight.device)
    hidden = backbone.hidden_states(token_ids[:, :-1]).flatten(0, 1)
    weights = is_token[:, 1:].flatten().float()
    _, nll = sliced_cross_entropy(hidden, backbone.lm_head.weight, token_ids[:, 1:].flatten(), weights)
    return float((nll * weights).double().sum())


def attention_on(device: torch.device) -> AbstractContextManager[Any]:
    """On a CPU, plain attention is several times faster than the fused one's backward pass at these lengths."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
