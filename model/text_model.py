"""From text to text: the latent model with its tokenizer and adapter sets by name.

What the command line (and anything else that wants an answer at once) calls. Batches are whole requests here; mixing
rows of many requests is the engine's business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adavae.model import latent_ops
from adavae.model.adavae import AdaVAE, pad
from adavae.model.config import AdapterConfig, Interpolation
from adavae.model.decoding.decoding import Decoding
from adavae.model.decoding.generation import generate
from adavae.model.errors import ConfigError, LatentShapeError, SequenceTooLong
from adavae.model.latent.fitted_prior import FittedPrior
from adavae.model.parts.adapter_bank import AdapterBank
from adavae.model.parts.bank_shape import BankShape
from adavae.model.parts.stacked import AdapterIndex
from adavae.model.storage.adapter_set import AdapterSet, check_fits
from adavae.model.storage.adapter_store import AdapterStore
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.storage.tokenizer import Tokenizer

_ENCODE_ROWS = 64  # texts in one forward pass; sorted by length, so that little of it is padding


@dataclass(frozen=True, slots=True)
class Encoded:
    """Encodings of a list of texts, in its order.

    Attributes:
        mu: (N, Z), float32.
        logvar: (N, Z), float32.
        num_tokens: Tokens of each text that were read.
        is_truncated: Whether a text was cut to the context.
    """

    mu: Tensor
    logvar: Tensor
    num_tokens: tuple[int, ...]
    is_truncated: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Decoded:
    """One decoded latent vector."""

    text: str
    num_tokens: int
    finish_reason: Literal["stop", "length"]
    z: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class InterpolationStep:
    """One sentence on the way from source (tau 0) to target (tau 1)."""

    tau: float
    decoded: Decoded


@dataclass(frozen=True, slots=True)
class Classified:
    """A text's most probable label, and every label's probability, highest first."""

    label: str
    scores: tuple[tuple[str, float], ...]


class TextModel:
    """An AdaVAE that reads and writes text, and finds adapter sets by ``name`` or ``name@version``."""

    def __init__(
        self,
        vae: AdaVAE,
        tokenizer: Tokenizer,
        slots: dict[str, int],
        references: dict[str, str],
        priors: dict[str, FittedPrior],
    ) -> None:
        self.vae, self.tokenizer = vae, tokenizer
        self._slots, self._references, self._priors = slots, references, priors

    @classmethod
    def load(cls, pretrained: PretrainedBackbone, store: AdapterStore, references: Sequence[str]) -> Self:
        """Reads and verifies the named adapter sets and stacks them over the backbone.

        Raises:
            AdapterSetNotFound: No such set is installed.
            AdapterSetMismatch: A set was trained over another backbone or tokenizer.
            WeightsCorrupted: A file is not what its manifest says.
        """
        sets = [store.read(reference) for reference in references]
        for adapter_set in sets:
            check_fits(adapter_set.manifest, pretrained.digest, pretrained.tokenizer.digest)
        return cls.of_sets(pretrained, dict(zip(references, sets, strict=True)))

    @classmethod
    def of_sets(cls, pretrained: PretrainedBackbone, sets: dict[str, AdapterSet]) -> Self:
        """A model of adapter sets that are in memory already, by the names they shall have."""
        backbone = pretrained.backbone
        shape = BankShape.covering(s.manifest.config for s in sets.values())
        bank = AdapterBank.for_serving(backbone.config, shape, like=backbone.wte.weight)
        for slot, adapter_set in enumerate(sets.values()):
            bank.load(slot, adapter_set.manifest.config, adapter_set.tensors)
        versions = {name: f"{s.manifest.name}@{s.manifest.version}" for name, s in sets.items()}
        slots = {name: slot for slot, name in enumerate(sets)}
        priors = {name: s.manifest.prior for name, s in sets.items()}
        return cls(AdaVAE(backbone, bank), pretrained.tokenizer, slots, versions, priors)

    @classmethod
    def of_tensors(
        cls, pretrained: PretrainedBackbone, name: str, config: AdapterConfig, tensors: dict[str, Tensor]
    ) -> Self:
        """A model of one adapter set that is not published yet."""
        backbone = pretrained.backbone
        bank = AdapterBank.for_serving(backbone.config, BankShape.covering([config]), like=backbone.wte.weight)
        bank.load(0, config, tensors)
        priors = {name: FittedPrior.standard(config.latent_size)}
        return cls(AdaVAE(pretrained.backbone, bank), pretrained.tokenizer, {name: 0}, {name: name}, priors)

    def reference_of(self, name: str) -> str:
        """``name@version`` of a loaded adapter set."""
        return self._references[name]

    def config_of(self, name: str) -> AdapterConfig:
        return self.vae.bank.config_of(self._slots[name])

    @property
    def max_text_tokens(self) -> int:
        """Tokens that a text may have: the context, less the end-of-text the decoder begins with."""
        return self.vae.backbone.config.n_positions - 1

    def token_ids(self, texts: Sequence[str], *, truncate: bool = False) -> tuple[list[list[int]], tuple[bool, ...]]:
        """Token ids of each text, and whether it was cut.

        Raises:
            ConfigError: An empty text.
            SequenceTooLong: A text does not fit the context and ``truncate`` is not set.
        """
        rows = self.tokenizer.encode_many(list(texts))
        limit = self.max_text_tokens
        for number, row in enumerate(rows):
            if not row:
                raise ConfigError(f"text {number}", texts[number], "must not be empty")
            if len(row) > limit and not truncate:
                raise SequenceTooLong(
                    f"text {number} has {len(row)} tokens, the backbone takes {limit}: shorten it, or allow truncation"
                )
        return [row[:limit] for row in rows], tuple(len(row) > limit for row in rows)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], name: str, *, truncate: bool = False) -> Encoded:
        """Posterior of every text under one adapter set; raises as ``token_ids`` does."""
        rows, is_truncated = self.token_ids(texts, truncate=truncate)
        Z = self.config_of(name).latent_size
        mu, logvar = torch.empty(len(rows), Z), torch.empty(len(rows), Z)
        by_length = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        for start in range(0, len(rows), _ENCODE_ROWS):
            chosen = by_length[start : start + _ENCODE_ROWS]
            ids, mask = pad([rows[row] for row in chosen], self.tokenizer.eos_token_id, self.device)
            posterior = self.vae.encode(ids, mask, self.index_of(name, len(chosen)))
            mu[chosen], logvar[chosen] = posterior.mu[:, :Z].cpu(), posterior.logvar[:, :Z].cpu()
        return Encoded(mu, logvar, tuple(map(len, rows)), is_truncated)

    @torch.inference_mode()
    def decode(self, z: Tensor, name: str, decodings: Decoding | Sequence[Decoding]) -> list[Decoded]:
        """One text per row of ``z``, (N, Z), all in one batch.

        Args:
            z: Latent vectors, (N, Z), float32.
            name: The adapter set.
            decodings: How to choose tokens, for all rows or one each.

        Raises:
            LatentShapeError: Wrong size, or a number that is not finite.
        """
        Z = self.config_of(name).latent_size
        if z.ndim != 2 or z.shape[1] != Z:
            raise LatentShapeError(f"z has shape {tuple(z.shape)}; {self.reference_of(name)} takes (rows, {Z})")
        if not bool(torch.isfinite(z).all()):
            raise LatentShapeError("z holds NaN or infinite numbers; every number must be finite")
        if len(z) == 0:
            return []
        each = [decodings] * len(z) if isinstance(decodings, Decoding) else list(decodings)
        for decoding in each:
            if decoding.max_tokens > self.max_text_tokens:
                rule = f"the backbone writes at most {self.max_text_tokens} tokens"
                raise ConfigError("max_tokens", decoding.max_tokens, rule)
        generated = generate(self.vae, self.widened(z), self.index_of(name, len(z)), each)
        return [
            Decoded(self.tokenizer.decode(list(row.token_ids)), len(row.token_ids), row.finish_reason, own.numpy())
            for row, own in zip(generated, z.float().cpu(), strict=True)
        ]

    def interpolate(
        self,
        source: str,
        target: str,
        steps: int,
        name: str,
        decoding: Decoding,
        method: Interpolation = Interpolation.LINEAR,
    ) -> list[InterpolationStep]:
        """``steps`` sentences from ``source`` to ``target``, ends included (paper Section 3.4, Table 5)."""
        ends = self.encode([source, target], name).mu
        z = latent_ops.interpolate(ends[0], ends[1], steps, method)
        decoded = self.decode(z, name, decoding)
        return [InterpolationStep(step / (steps - 1), own) for step, own in enumerate(decoded)]

    def analogy(
        self, a: str, b: str, c: str, name: str, decoding: Decoding | Sequence[Decoding], scale: float = 1.0
    ) -> list[Decoded]:
        """``c`` changed as ``a`` changes into ``b`` (paper Table 4); one answer per decoding, all from the same z."""
        each = [decoding] if isinstance(decoding, Decoding) else list(decoding)
        mu = self.encode([a, b, c], name).mu
        z = latent_ops.analogy(mu[0], mu[1], mu[2], scale)
        return self.decode(z.expand(len(each), -1), name, each)

    def sample_prior(self, num: int, name: str, seed: int) -> Tensor:
        """Draws from the Gaussian that the set's mu lie in, (num, Z)."""
        return self._priors[name].sample(num, seed)

    @torch.inference_mode()
    def classify(self, texts: Sequence[str], name: str, *, truncate: bool = False) -> list[Classified]:
        """The head's verdict on every text.

        Raises:
            AdapterSetMismatch: The adapter set has no head.
        """
        return self.classify_latents(self.encode(texts, name, truncate=truncate).mu, name)

    @torch.inference_mode()
    def classify_latents(self, mu: Tensor, name: str) -> list[Classified]:
        """The head's verdict on encodings, (N, Z); raises as ``classify`` does."""
        labels = self.config_of(name).labels
        if len(mu) == 0:
            return []
        logits = self.vae.classify(self.widened(mu), self.index_of(name, len(mu)))[:, : len(labels)]
        return [_classified(row, labels) for row in logits.softmax(-1).tolist()]

    @property
    def device(self) -> torch.device:
        return self.vae.backbone.wte.weight.device

    def index_of(self, name: str, num_rows: int) -> AdapterIndex:
        """An index that gives every one of ``num_rows`` rows to one loaded set."""
        return AdapterIndex.of([self._slots[name]] * num_rows, self.device)

    def widened(self, z: Tensor) -> Tensor:
        """Latents of one set, (N, Z), as the bank takes them: its own width, the backbone's dtype and device."""
        wide = self.vae.backbone.wte.weight.new_zeros(len(z), self.vae.bank.shape.latent_size)
        wide[:, : z.shape[1]] = z
        return wide


def _classified(probabilities: list[float], labels: tuple[str, ...]) -> Classified:
    scores = sorted(zip(labels, probabilities, strict=True), key=lambda pair: -pair[1])
    return Classified(label=scores[0][0], scores=tuple(scores))
