"""What clients send in place of texts, checked against the adapter set and the backbone it is for."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.service.adapters.registry import PinnedAdapter
from adavae.service.errors import InvalidRequest


def latents_of(z: Sequence[Sequence[float]], pinned: PinnedAdapter) -> Tensor:
    """(N, Z), float32; raises InvalidRequest for another size or numbers that float32 does not hold."""
    Z = pinned.config.latent_size
    for number, row in enumerate(z):
        if len(row) != Z:
            raise InvalidRequest(
                f"z[{number}] has {len(row)} numbers, {pinned.reference} takes {Z}",
                param=f"z[{number}]",
                code="invalid_z",
            )
    with np.errstate(over="ignore"):
        latents = np.asarray(z, dtype=np.float32)
    if not np.isfinite(latents).all():
        raise InvalidRequest("z holds numbers that are not finite in float32", param="z", code="invalid_z")
    return torch.from_numpy(latents)


def text_of(given: str | Sequence[int], param: str, pretrained: PretrainedBackbone, most_ids: int) -> str:
    """A text, or what token ids say; ``param`` is what it is called in errors.

    Raises:
        InvalidRequest: The backbone's tokenizer does not have these ids, or there are more than ``most_ids``.
    """
    if isinstance(given, str):
        return given
    if len(given) > most_ids:  # before they are looked at
        raise InvalidRequest(
            f"{param} has {len(given)} token ids, the limit is {most_ids} (ADAVAE_MAX_TEXT_TOKENS, and the "
            "backbone's context): send a shorter text",
            param=param,
            code="text_too_long",
        )
    num_ids = pretrained.backbone.config.vocab_size
    if (unknown := next((token for token in given if not 0 <= token < num_ids), None)) is not None:
        raise InvalidRequest(
            f"{param} has the token id {unknown}, the backbone's tokenizer has {num_ids}: send the text "
            "itself (LangChain: check_embedding_ctx_length=False)",
            param=param,
        )
    if not (text := pretrained.tokenizer.decode(list(given))):
        raise InvalidRequest(f"{param} is the token ids of no text: send at least one", param=param)
    return text
