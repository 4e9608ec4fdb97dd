"""Operations on a latent space, many requests at once: the seam between the measures and what they measure.

Measures use these five operations alone, so they measure what a user gets by default (``AsServed``) and equally any
other implementation: other priors, other walks, other sets.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from torch import Tensor

from adavae.model.config import Interpolation
from adavae.model.decoding.decoding import Decoding
from adavae.model.latent.steering import ANY, USUAL, Steering
from adavae.model.operations import moves
from adavae.model.text_model import Encoded, TextModel

_LONGEST = 48  # tokens; the default of every request


class Operations(Protocol):
    """From text to latent and back, one answer per row; a row never depends on its neighbours."""

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Posteriors, mu and logvar (N, Z)."""
        ...

    def decode(self, z: Tensor) -> list[str]:
        """One text per row of ``z``, (N, Z)."""
        ...

    def interpolate(self, pairs: Sequence[tuple[str, str]], steps: int) -> list[list[str]]:
        """For every pair, ``steps`` texts from the first to the second, with decoded ends."""
        ...

    def analogy(self, a: str, b: str, c: Sequence[str]) -> list[str]:
        """Every ``c`` changed as ``a`` changes into ``b``."""
        ...

    def draw(self, num: int, seed: int) -> list[str]:
        """New texts."""
        ...


class AsServed:
    """One adapter set's operations with the defaults of a request: greedy decoding and the set's prior.

    ``steering`` takes the place of the defaults of walks, analogies and draws. Its options mean something else to each,
    so one of it is for measuring one of them.
    """

    def __init__(self, text_model: TextModel, name: str, steering: Steering = USUAL) -> None:
        self._text_model, self._name, self._space = text_model, name, text_model.space_of(name)
        self._steering = steering
        self._decoding = Decoding(max_tokens=min(_LONGEST, text_model.max_text_tokens))

    def encode(self, texts: Sequence[str]) -> Encoded:
        return self._text_model.encode(texts, self._name, truncate=True)

    def decode(self, z: Tensor) -> list[str]:
        return [row.text for row in self._text_model.decode(z, self._name, self._decoding)]

    def interpolate(self, pairs: Sequence[tuple[str, str]], steps: int) -> list[list[str]]:
        params = [f"text {number}" for number in range(2 * len(pairs))]
        plan = moves.walks(
            self._space,
            pairs,
            steps=steps,
            method=Interpolation.LINEAR,
            decoding=self._decoding,
            steering=self._steering,
            params=params,
        )
        ways = self._text_model.carry_out(plan, self._name, truncate=True)
        return [[step.decoded.text for step in way] for way in ways]

    def analogy(self, a: str, b: str, c: Sequence[str]) -> list[str]:
        plan = moves.analogy(self._space, a, b, c, scale=None, decodings=[self._decoding], steering=self._steering)
        return [row.text for row in self._text_model.carry_out(plan, self._name, truncate=True)]

    def draw(self, num: int, seed: int) -> list[str]:
        decoding = replace(self._decoding, seed=seed)
        return [row.text for row in self._text_model.sample(num, self._name, decoding, ANY, self._steering)]
