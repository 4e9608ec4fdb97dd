"""A backbone as a plain language model: its training losses, and its perplexity on texts it has not seen."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from adavae.model.adavae import pad
from adavae.model.backbone import Backbone, Block, causal_mask
from adavae.model.errors import DatasetError, SequenceTooLong
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.training.cross_entropy import sliced_cross_entropy
from adavae.model.training.masked_prediction import HiddenTokens
from adavae.model.training.measures import perplexity
from adavae.model.training.plain_attention import plain_attention

_log = logging.getLogger(__name__)

_ROWS_AT_ONCE = 64
_SLICE = {False: 512, True: 16_384}  # tokens whose logits are in memory at once, on a CPU, on a GPU


@dataclass(frozen=True, slots=True)
class Perplexity:
    """How well a backbone predicts texts it has not seen.

    Attributes:
        per_token: Over the tokenizer's tokens and each text's end; compares backbones with the same tokenizer.
        per_word: Over whitespace-separated words and each text's end; compares any two backbones. Infinite, as
            ``measures.perplexity`` is, for long texts without spaces.
        num_texts: Number of texts measured.
    """

    per_token: float
    per_word: float
    num_texts: int


HiddenStates = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]
"""``Backbone.hidden_states``, the same with dropout, or either of them compiled."""


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


def both_ways_loss(
    backbone: Backbone,
    windows: Tensor,
    hidden_tokens: HiddenTokens,
    dtype: torch.dtype = torch.float32,
    *,
    is_separate: bool = False,
    hidden_states: HiddenStates | None = None,
) -> Tensor:
    """Mean cross-entropy of next tokens in some windows, and of hidden tokens, seen from both sides, in the others.

    Args:
        backbone: The model.
        windows: (B, T + 1), int64.
        hidden_tokens: The same windows, with what is hidden in the first of them.
        dtype: As of ``next_token_loss``, like the rest.
        is_separate: End-of-text begins a text of its own, which sees nothing of those beside it.
        hidden_states: Computes the backbone's hidden states; ``backbone.hidden_states`` if left out.

    Returns:
        A scalar, nats per token.
    """
    first = hidden_tokens.num_windows
    positions, mask = _seen(windows[:, :-1], backbone.config.eos_token_id, first, is_separate=is_separate)
    compute = backbone.hidden_states if hidden_states is None else hidden_states
    hidden = compute(hidden_tokens.inputs, positions, mask).flatten(0, 1).to(dtype)  # (B * T, C)
    predictions = hidden_tokens.predictions(windows)
    chosen = hidden.index_select(0, predictions.places)
    slice_size = _SLICE[hidden.is_cuda]
    loss, _ = sliced_cross_entropy(
        chosen, backbone.lm_head.weight, predictions.targets, predictions.weights, slice_size
    )
    return loss


def hidden_states_with_dropout(backbone: Backbone, share: float) -> HiddenStates:
    """``backbone.hidden_states`` for training, with dropout as GPT-2 has it on embeddings and on what a block adds."""

    def hidden_states(token_ids: Tensor, positions: Tensor | None, mask: Tensor | None) -> Tensor:
        T = token_ids.shape[1]
        places = torch.arange(T, device=token_ids.device) if positions is None else positions
        visible = causal_mask(T, device=token_ids.device) if mask is None else mask
        x = F.dropout(backbone.embed(token_ids, places), share)
        for module in backbone.blocks:
            block = cast(Block, module)
            x = x + F.dropout(block.attn(block.ln_1(x), visible, None), share)
            x = x + F.dropout(block.mlp(block.ln_2(x)), share)
        hidden: Tensor = backbone.ln_f(x)
        return hidden

    return hidden_states


def compiled(hidden_states: HiddenStates) -> HiddenStates:
    """``hidden_states`` compiled by torch; not compiled where the compiler fails."""
    faster: HiddenStates = torch.compile(hidden_states, dynamic=False)
    is_broken = False

    def compiled_hidden_states(token_ids: Tensor, positions: Tensor | None, mask: Tensor | None) -> Tensor:
        nonlocal is_broken
        if not is_broken:
            try:
                return faster(token_ids, positions, mask)
            except (RuntimeError, OSError) as exc:  # the compiler's own errors are RuntimeErrors
                is_broken = True
                _log.warning("the compiler failed (%s): training goes on without it, more slowly", exc)
        return hidden_states(token_ids, positions, mask)

    return compiled_hidden_states


def separate_texts(token_ids: Tensor, eos_token_id: int, num_both_ways: int = 0) -> tuple[Tensor, Tensor]:
    """Positions and mask under which the texts of a window do not see each other.

    Args:
        token_ids: Windows of texts, end-of-text before each, (B, T), int64; the first text may have begun earlier.
        eos_token_id: The token that begins a text.
        num_both_ways: So many windows, the first ones, are read as AdaVAE's encoder reads: a token sees its whole text
            but not the end-of-text before it, and positions begin at the text's first token.

    Returns:
        Positions, counted from each text's end-of-text in the other windows, (B, T), int64, and True where a query may
        look, (B, 1, T, T).
    """
    B, T = token_ids.shape
    places, is_start = torch.arange(T, device=token_ids.device), token_ids == eos_token_id
    starts = torch.where(is_start, places, 0).cummax(1).values
    text = is_start.cumsum(1)
    positions, is_same_text = places - starts, text.unsqueeze(2) == text.unsqueeze(1)
    mask = is_same_text & _directions(B, T, num_both_ways, token_ids.device)
    if num_both_ways:
        rows = slice(num_both_ways)
        begins = text[rows] > 0  # behind an end-of-text
        positions[rows] = (positions[rows] - begins.long()).clamp_min(0)
        mask[rows] &= ~is_start[rows].unsqueeze(1) | is_start[rows].unsqueeze(2)
    return positions, mask.unsqueeze(1)


def _directions(B: int, T: int, num_both_ways: int, device: torch.device) -> Tensor:
    """True where a query may look by its window's direction alone, broadcastable to (B, T, T)."""
    causal = causal_mask(T, device=device)
    if num_both_ways == 0:
        return causal
    is_both_ways = torch.arange(B, device=device) < num_both_ways
    return causal | is_both_ways.view(B, 1, 1)


def _seen(
    token_ids: Tensor, eos_token_id: int, num_both_ways: int, *, is_separate: bool
) -> tuple[Tensor | None, Tensor]:
    """Positions and mask of a step's windows; the whole window is one text unless texts are separate."""
    if is_separate:
        return separate_texts(token_ids, eos_token_id, num_both_ways)
    B, T = token_ids.shape
    mask = _directions(B, T, num_both_ways, token_ids.device)
    return None, mask.unsqueeze(-3).expand(B, 1, T, T)


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
    nats = torch.tensor(nll, dtype=torch.float64)
    per_token, per_word = (perplexity(nats, torch.tensor(num)) for num in (num_tokens, num_words))
    return Perplexity(per_token, per_word, len(texts))


def _summed_nll(backbone: Backbone, rows: list[list[int]], eos: int) -> float:
    """-log p of the rows' tokens and ends, nats."""
    token_ids, is_token = pad([[eos, *row, eos] for row in rows], eos, backbone.wte.weight.device)
    hidden = backbone.hidden_states(token_ids[:, :-1]).flatten(0, 1)
    weights = is_token[:, 1:].flatten().float()
    _, nll = sliced_cross_entropy(hidden, backbone.lm_head.weight, token_ids[:, 1:].flatten(), weights)
    return float((nll * weights).double().sum())


def attention_on(device: torch.device) -> AbstractContextManager[Any]:
    """Plain on a CPU; on a GPU PyTorch chooses."""
    return plain_attention() if device.type == "cpu" else nullcontext()
