"""How likely the bare backbone finds a text: fluency without any latent, and without any adapter set.

Perplexity over whole data sets is for ``training.language_model``.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from adavae.model.adavae import pad
from adavae.model.backbone import Backbone

_TOKENS_AT_ONCE = 512  # whose logits are in memory at once


@torch.inference_mode()
def nats_per_token(backbone: Backbone, rows: Sequence[Sequence[int]]) -> Tensor:
    """Mean of -log p(token | tokens before it) over a text's tokens and its end.

    Args:
        backbone: The frozen GPT-2.
        rows: Token ids of each text, shorter than the context; at least one text.

    Returns:
        (N,), float32, on the host.
    """
    eos = backbone.config.eos_token_id
    token_ids, is_real = pad([[eos, *row, eos] for row in rows], eos, backbone.wte.weight.device)
    is_target = is_real[:, 1:]
    hidden = backbone.hidden_states(token_ids[:, :-1])[is_target]  # (M, C)
    targets = token_ids[:, 1:][is_target]
    parts = [slice(start, start + _TOKENS_AT_ONCE) for start in range(0, len(targets), _TOKENS_AT_ONCE)]
    nll = torch.cat(
        [F.cross_entropy(backbone.logits(hidden[part]).float(), targets[part], reduction="none") for part in parts]
    )
    totals = torch.zeros(is_target.shape, device=nll.device).masked_scatter(is_target, nll).sum(1)
    return (totals / is_target.sum(1)).cpu()
