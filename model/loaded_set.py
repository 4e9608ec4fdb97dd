"""One adapter set as Python programs use it: every operation, with the names and options of the service's client.

    yelp = adavae.load("yelp")
    yelp.encode(["the food was great."]).mu  # (1, Z), float32
    [step.decoded.text for step in yelp.interpolate("never again.", "the food was great.", steps=5)]

Texts are one string or several. ``TextModel`` does the work, for any number of adapter sets over one backbone.
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Literal, Unpack

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional as F

from adavae.model.cleaning import clean
from adavae.model.config import Interpolation
from adavae.model.decoding.decoding import Decoding, DecodingOptions, Strategy
from adavae.model.errors import ConfigError, LatentShapeError
from adavae.model.given_numbers import whole
from adavae.model.given_texts import check_text, several_texts, text_or_texts
from adavae.model.latent import defaults
from adavae.model.latent.direction import DirectionOptions, direction_of
from adavae.model.latent.steering import Draw, Steering
from adavae.model.results import Classified, DecodedText, InterpolationStep, TraverseStep
from adavae.model.text_model import Encoded, TextModel


class LoadedSet:
    """One adapter set over its backbone, in this process.

    ``refine``, ``truncation``, ``candidates`` and ``focus`` adjust z before it is decoded, as in ``Steering``;
    ``decoding`` says how tokens are chosen, greedily if left out: ``strategy="sample", temperature=0.8, seed=7``.

    Attributes:
        text_model: The model, which holds this set.
        name: The set's name in it.
    """

    def __init__(self, text_model: TextModel, name: str) -> None:
        self.text_model, self.name = text_model, name

    def __repr__(self) -> str:
        return f"LoadedSet({self.reference!r}, latent_size={self.latent_size}, labels={self.labels!r})"

    @property
    def reference(self) -> str:
        """``name@version``."""
        return self.text_model.reference_of(self.name)

    @property
    def latent_size(self) -> int:
        """Z."""
        return self.text_model.config_of(self.name).latent_size

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that ``classify`` tells apart; empty for a set without a head."""
        return tuple(self.text_model.config_of(self.name).labels)

    def encode(self, texts: str | Iterable[str], *, normalize: bool = False, truncate: bool = False) -> Encoded:
        """Posterior of each text: ``mu`` and ``logvar``, (N, Z), float32.

        Args:
            texts: None of them empty; a table's column, an array or an iterator will do, a table will not.
            normalize: Scale each mu to length 1.
            truncate: Cut texts that are longer than the context instead of refusing them.

        Raises:
            ConfigError: A text is empty, or no string; or the texts are a table, a mapping or a set.
            SequenceTooLong: A text is longer than the context.
        """
        encoded = self.text_model.encode(several_texts("texts", texts), self.name, truncate=truncate)
        return replace(encoded, mu=F.normalize(encoded.mu, dim=1)) if normalize else encoded

    def decode(
        self,
        z: Tensor | ArrayLike,
        *,
        refine: float | None = None,
        truncation: float | None = None,
        candidates: int | None = None,
        **decoding: Unpack[DecodingOptions],
    ) -> list[DecodedText]:
        """A text for each row of ``z``, (N, Z) or (Z,); row i draws with ``seed + i``.

        Raises:
            ConfigError: An option is out of range, or has no effect.
            LatentShapeError: z has the wrong size, or is not finite.
        """
        rows = _as_rows(z)
        steering = Steering(refine=refine, truncation=truncation, candidates=candidates)
        return self.text_model.decode(rows, self.name, Decoding.of(**decoding).for_rows(len(rows)), steering)

    def sample(
        self,
        num: int,
        *,
        label: str | None = None,
        guidance: float | None = None,
        refine: float | None = None,
        truncation: float | None = None,
        candidates: int | None = None,
        **decoding: Unpack[DecodingOptions],
    ) -> list[DecodedText]:
        """``num`` new texts from the set's prior.

        Args:
            num: How many.
            label: Label that the texts should have; None for any.
            guidance: How strongly the label is followed; 1 follows it, more goes further.
            refine: As for ``decode``, like the options after it.
            truncation: Share of z's distance from the mean that is kept.
            candidates: Texts decoded for each z, of which the best is returned.
            decoding: ``seed`` also draws z.

        Raises:
            ConfigError: An option is out of range or has no effect, or the set has no such label.
            AdapterSetMismatch: The set has no labels or no prior that knows them, or lacks what an option needs.
        """
        steering = Steering(refine=refine, truncation=truncation, candidates=candidates)
        draw = Draw(label=label, guidance=guidance)
        return self.text_model.sample(whole("num", num), self.name, Decoding.of(**decoding), draw, steering)

    def interpolate(
        self,
        source: str | Iterable[str],
        target: str | Iterable[str],
        steps: int = defaults.NUM_STEPS,
        method: Literal["linear", "spherical"] = "linear",
        *,
        refine: float | None = None,
        truncation: float | None = None,
        candidates: int | None = None,
        **decoding: Unpack[DecodingOptions],
    ) -> list[InterpolationStep]:
        """``steps`` sentences from ``source`` to ``target``, both ends included (paper Section 3.4).

        Of lists each source goes to its own target: one walk after the other.
        """
        way, num_steps = _interpolation_of(method), whole("steps", steps)
        steering = Steering(refine=refine, truncation=truncation, candidates=candidates)
        chosen, ends = Decoding.of(**decoding), (text_or_texts("source", source), text_or_texts("target", target))
        return self.text_model.interpolate(*ends, num_steps, self.name, chosen, way, steering)

    def analogy(
        self,
        a: str | Iterable[str],
        b: str | Iterable[str],
        c: str | Iterable[str],
        scale: float = defaults.SCALE,
        samples: int = 1,
        *,
        refine: float | None = None,
        truncation: float | None = None,
        candidates: int | None = None,
        focus: float | None = None,
        **decoding: Unpack[DecodingOptions],
    ) -> list[DecodedText]:
        """Every ``c`` changed as ``a`` changes into ``b``, ``samples`` times (paper Table 4).

        Several texts for a or b count as their mean.

        Raises:
            ConfigError: An option is out of range or has no effect; several samples need ``strategy="sample"``.
            AdapterSetMismatch: The set lacks what an option needs: a flow to refine, labels for the focus.
        """
        chosen = Decoding.of(**decoding)
        num = whole("samples", samples)
        if num < 1 or (num > 1 and chosen.strategy is not Strategy.SAMPLE):
            raise ConfigError("samples", samples, 'must be 1, or more with strategy="sample"')
        steering = Steering(refine=refine, truncation=truncation, candidates=candidates, focus=focus)
        first, second, changed = text_or_texts("a", a), text_or_texts("b", b), text_or_texts("c", c)
        decodings = chosen.for_rows(num)
        return self.text_model.analogy(first, second, changed, self.name, decodings, scale, steering)

    def variations(
        self,
        texts: str | Iterable[str],
        num: int = defaults.NUM_VARIATIONS,
        distance: float = defaults.DISTANCE,
        *,
        refine: float | None = None,
        truncation: float | None = None,
        **decoding: Unpack[DecodingOptions],
    ) -> list[list[DecodedText]]:
        """Up to ``num`` different sentences near each text, none equal to it; ``distance`` in posterior widths."""
        steering = Steering(refine=refine, truncation=truncation)
        chosen = Decoding.of(**decoding)
        whole_texts = several_texts("texts", texts)
        return self.text_model.variations(whole_texts, self.name, chosen, whole("num", num), distance, steering)

    def traverse(
        self,
        text: str,
        direction: DirectionOptions,
        steps: int = defaults.NUM_STEPS,
        between: tuple[float, float] | None = None,
        *,
        refine: float | None = None,
        truncation: float | None = None,
        candidates: int | None = None,
        **decoding: Unpack[DecodingOptions],
    ) -> list[TraverseStep]:
        """``steps`` sentences along a direction through ``text``.

        Args:
            text: The place 0 of the walk.
            direction: ``{"dimension": 3}``, or ``{"from": ..., "to": ...}`` with two labels or two lists of texts.
            steps: Number of sentences.
            between: Start and end, in lengths of the direction.
            refine: As for ``decode``, like the options after it.
            truncation: Share of z's distance from the mean that is kept.
            candidates: Texts decoded for each z, of which the best is returned.
            decoding: How tokens are chosen.

        Raises:
            ConfigError: The direction is none of these forms, or an option is out of range or has no effect.
        """
        check_text("text", text)
        along, chosen = direction_of(direction), Decoding.of(**decoding)
        steering = Steering(refine=refine, truncation=truncation, candidates=candidates)
        return self.text_model.traverse(text, along, self.name, chosen, whole("steps", steps), between, steering)

    def classify(
        self, texts: str | Iterable[str], *, top_k: int | None = None, truncate: bool = False
    ) -> list[Classified]:
        """Each text's label, with the probabilities of the ``top_k`` likeliest labels, or of all.

        Raises:
            ConfigError: A text is empty, or no string; ``top_k`` is below 1.
            AdapterSetMismatch: The set has no head.
        """
        if top_k is not None and whole("top_k", top_k) < 1:
            raise ConfigError("top_k", top_k, "must be at least 1, or left out for all labels")
        classified = self.text_model.classify(several_texts("texts", texts), self.name, truncate=truncate)
        return [replace(row, scores=dict(islice(row.scores.items(), top_k))) for row in classified]

    def score(self, texts: str | Iterable[str]) -> Tensor:
        """Nats per token of each text, cleaned, (N,), float32, under the bare backbone: lower is more fluent.

        Raises:
            ConfigError: A text is empty, or no string.
        """
        return self.text_model.score([clean(text) for text in several_texts("texts", texts)])


def _as_rows(z: Tensor | ArrayLike) -> Tensor:
    """z as (N, Z), float32, on the CPU."""
    try:
        given = torch.as_tensor(z, device="cpu").detach()
    except (TypeError, ValueError) as exc:
        raise LatentShapeError(f"z is no array of numbers: {exc}") from exc
    if given.ndim == 0 or given.is_complex():
        what = "complex numbers" if given.is_complex() else "one number"
        raise LatentShapeError(f"z is {what}, must be an array of real ones: (Z,), or (N, Z) for several")
    rows = given.to(torch.float32)
    return rows[None] if rows.ndim == 1 else rows


def _interpolation_of(method: str) -> Interpolation:
    try:
        return Interpolation(method)
    except ValueError:
        raise ConfigError("method", method, f"must be one of {list(map(str, Interpolation))}") from None
