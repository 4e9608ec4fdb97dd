"""A backbone as a plain language model: its training loss, and its perplexity on texts it has not seen."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from adavae.model.adavae import pad
from adavae.model.backbone import Backbone
from adavae.model.errors import DatasetError, SequenceTooLong
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.training.cross_entropy import sliced_cross_entropy

_ROWS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Perplexity:
    """How well a backbone foretells texts it has not seen.

    Attributes:
        per_token: Over the tokenizer's tokens and each text's end; compares backbones of one tokenizer.
        per_word: Over whitespace-separated words and each text's end; compares any two.
        num_texts: Measured.
    """

    per_token: float
    per_word: float
    num_texts: int


def next_token_loss(backbone: Backbone, windows: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Mean cross-entropy of every token but the first.

    Args:
        backbone: The model, causal.
        windows: (B, T + 1), int64.
        dtype: In which hidden states meet the output embedding.

    Returns:
        A scalar, nats per token.
    """
    hidden = backbone.hidden_states(windows[:, :-1]).flatten(0, 1).to(dtype)  # (B * T, C)
    weights = torch.full((hidden.shape[0],), 1.0 / hidden.shape[0], device=hidden.device)
    loss, _ = sliced_cross_entropy(hidden, backbone.lm_head.weight, windows[:, 1:].flatten(), weights)
    return loss


@torch.no_grad()
def held_out_perplexity(pretrained: PretrainedBackbone, texts: Sequence[str]) -> Perplexity:
    """Perplexity of texts, each alone: read after end-of-text, and ended by one.

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
    """On a CPU the plain form is several times faster than the fused one's backward pass at these lengths."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
