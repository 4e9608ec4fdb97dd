"""What a latent space is asked to do, many requests at once: the seam between the measures and what they measure.

Measures know these five operations alone, so that they measure what a user gets who sets nothing (``AsServed``), and
whatever else implements them: other priors, other ways to walk, other sets.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from adavae.model import latent_ops
from adavae.model.decoding.decoding import Decoding
from adavae.model.text_model import Encoded, TextModel

_ROWS = 128  # latents decoded in one batch
_LONGEST = 48  # tokens; the default of every request


class Operations(Protocol):
    """Text to latent and back, one answer a row; a row never depends on its neighbours."""

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Posteriors, mu and logvar (N, Z)."""
        ...

    def decode(self, z: Tensor) -> list[str]:
        """One text per row of ``z``, (N, Z)."""
        ...

    def interpolate(self, pairs: Sequence[tuple[str, str]], steps: int) -> list[list[str]]:
        """For every pair ``steps`` texts from the first to the second, both ends decoded too."""
        ...

    def analogy(self, a: str, b: str, c: Sequence[str]) -> list[str]:
        """Every ``c`` changed as ``a`` changes into ``b``."""
        ...

    def draw(self, num: int, seed: int) -> list[str]:
        """New texts."""
        ...


class AsServed:
    """One adapter set's operations at the defaults of every request: greedy, whole steps, the set's own prior."""

    def __init__(self, text_model: TextModel, name: str) -> None:
        self._text_model, self._name = text_model, name
        self._decoding = Decoding(max_tokens=min(_LONGEST, text_model.max_text_tokens))

    def encode(self, texts: Sequence[str]) -> Encoded:
        return self._text_model.encode(texts, self._name, truncate=True)

    def decode(self, z: Tensor) -> list[str]:
        return [
            decoded.text
            for start in range(0, len(z), _ROWS)
            for decoded in self._text_model.decode(z[start : start + _ROWS], self._name, self._decoding)
        ]

    def interpolate(self, pairs: Sequence[tuple[str, str]], steps: int) -> list[list[str]]:
        sources, targets = (self.encode(texts).mu for texts in zip(*pairs, strict=True))
        ways = [latent_ops.interpolate(*ends, steps) for ends in zip(sources, targets, strict=True)]
        texts = self.decode(torch.cat(ways))
        return [texts[start : start + steps] for start in range(0, len(texts), steps)]

    def analogy(self, a: str, b: str, c: Sequence[str]) -> list[str]:
        mu_a, mu_b = self.encode([a, b]).mu
        return self.decode(torch.stack([latent_ops.analogy(mu_a, mu_b, mu_c) for mu_c in self.encode(c).mu]))

    def draw(self, num: int, seed: int) -> list[str]:
        return self.decode(self._text_model.sample_prior(num, self._name, seed))
