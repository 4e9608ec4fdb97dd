"""Whether an adapter set can be used at all: it reads and writes one text, as requests will ask it to.

Whole files are not enough: finite weights may be so large that nothing that is computed with them is.
"""

import math

import torch

from adavae.model.decoding.decoding import Decoding
from adavae.model.errors import AdaVAEError, WeightsCorrupted
from adavae.model.storage.adapter_set import AdapterSet
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.text_model import TextModel

_TEXT = "the food was great."
_NUM_TOKENS = 4


def try_out(adapter_set: AdapterSet, pretrained: PretrainedBackbone, text: str = _TEXT) -> None:
    """Encodes a text, decodes its z, classifies it where there is a head, and draws from the prior.

    Raises:
        WeightsCorrupted: Something of it fails, or is not finite.
    """
    reference = adapter_set.manifest.reference
    try:
        problem = _problem_of(TextModel.of_sets(pretrained, {reference: adapter_set}), reference, text)
    except (AdaVAEError, RuntimeError, ArithmeticError) as exc:
        raise WeightsCorrupted(f"{reference} was tried and failed ({exc}): train the set again") from exc
    if problem is not None:
        raise WeightsCorrupted(f"{reference} was tried, and {problem} is not finite: train the set again")


def _problem_of(model: TextModel, name: str, text: str) -> str | None:
    encoded = model.encode([text], name, truncate=True)
    if not bool(torch.isfinite(encoded.mu).all() and torch.isfinite(encoded.logvar).all()):
        return "the z of a text"
    model.decode(encoded.mu, name, Decoding(max_tokens=min(_NUM_TOKENS, model.max_text_tokens)))
    if not bool(torch.isfinite(model.sample_prior(1, name, seed=0)).all()):
        return "what it draws"
    if model.config_of(name).labels:
        (classified,) = model.classify_latents(encoded.mu, name)
        if not all(map(math.isfinite, classified.scores.values())):
            return "a label's score"
    return None
