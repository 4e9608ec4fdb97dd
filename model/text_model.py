"""From text to text: the latent model with its tokenizer and adapter sets by name.

For the command line, and for any program that wants its answer at once. A batch here is one whole request; mixing
the rows of many requests is left to the engine.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from adavae.model.adavae import AdaVAE, pad
from adavae.model.cleaning import clean
from adavae.model.config import AdapterConfig, Interpolation
from adavae.model.decoding.decoding import Decoding
from adavae.model.decoding.generation import generate
from adavae.model.errors import AdapterSetMismatch, ConfigError, LatentShapeError, LogitsNotFinite, SequenceTooLong
from adavae.model.latent import defaults
from adavae.model.latent.direction import Direction
from adavae.model.latent.fitted_prior import FittedPrior
from adavae.model.latent.prior import LatentPrior
from adavae.model.latent.space import LatentSpace
from adavae.model.latent.steering import ANY, USUAL, Draw, Steering
from adavae.model.likelihood import nats_per_token
from adavae.model.operations import moves, writing
from adavae.model.operations.steps import Compute, Decode, Encode, EncodeWritten, Plan, Result, Score, Step
from adavae.model.parts.adapter_bank import AdapterBank
from adavae.model.parts.bank_shape import BankShape
from adavae.model.parts.stacked import AdapterIndex
from adavae.model.results import Classified, DecodedText, InterpolationStep, TraverseStep
from adavae.model.storage.adapter_set import AdapterSet
from adavae.model.storage.adapter_store import AdapterStore
from adavae.model.storage.latent_space import space_of
from adavae.model.storage.manifest import Manifest, check_fits
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.storage.tensor_shapes import check_shapes
from adavae.model.storage.tokenizer import Tokenizer

_DECODE_ROWS = 256  # decoded together, candidates included
_ENCODE_ROWS = 64  # texts in one forward pass; sorted by length, so little of it is padding


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


class TextModel:
    """An AdaVAE that reads and writes text, and finds adapter sets by ``name`` or ``name@version``."""

    def __init__(
        self,
        vae: AdaVAE,
        tokenizer: Tokenizer,
        slots: dict[str, int],
        references: dict[str, str],
        spaces: dict[str, LatentSpace],
    ) -> None:
        self.vae, self.tokenizer = vae, tokenizer
        self._slots, self._references, self._spaces = slots, references, spaces

    @classmethod
    def load(cls, pretrained: PretrainedBackbone, store: AdapterStore, references: Sequence[str]) -> Self:
        """Reads and verifies the named adapter sets and stacks them over the backbone.

        Raises:
            AdapterSetNotFound: No such set is installed.
            AdapterSetMismatch: A set was trained over another backbone or tokenizer.
            WeightsCorrupted: A file is not what its manifest says.
        """

        def accept(manifest: Manifest) -> None:
            check_fits(manifest, pretrained.digests, pretrained.tokenizer.digest)
            check_shapes(manifest, pretrained.backbone.config)

        sets = [store.read(reference, accept) for reference in references]
        return cls.of_sets(pretrained, dict(zip(references, sets, strict=True)))

    @classmethod
    def of_sets(cls, pretrained: PretrainedBackbone, sets: dict[str, AdapterSet]) -> Self:
        """A model over adapter sets that are already in memory, by the names they are to have."""
        backbone = pretrained.backbone
        shape = BankShape.covering(s.manifest.config for s in sets.values())
        bank = AdapterBank.for_serving(backbone.config, shape, backbone.wte.weight, backbone.weight_format)
        for slot, adapter_set in enumerate(sets.values()):
            bank.load(slot, adapter_set.manifest.config, adapter_set.tensors)
        versions = {name: f"{s.manifest.name}@{s.manifest.version}" for name, s in sets.items()}
        slots = {name: slot for slot, name in enumerate(sets)}
        spaces = {name: space_of(adapter_set) for name, adapter_set in sets.items()}
        return cls(AdaVAE(backbone, bank), pretrained.tokenizer, slots, versions, spaces)

    @classmethod
    def of_tensors(
        cls, pretrained: PretrainedBackbone, name: str, config: AdapterConfig, tensors: dict[str, Tensor]
    ) -> Self:
        """A model over one adapter set that is not yet published."""
        backbone = pretrained.backbone
        bank = AdapterBank.for_serving(
            backbone.config, BankShape.covering([config]), backbone.wte.weight, backbone.weight_format
        )
        bank.load(0, config, tensors)
        space = LatentSpace(name, config.labels, FittedPrior.standard(config.latent_size))
        return cls(AdaVAE(pretrained.backbone, bank), pretrained.tokenizer, {name: 0}, {name: name}, {name: space})

    def with_prior(self, name: str, fitted: FittedPrior, prior: LatentPrior | None = None) -> Self:
        """The same model with another prior for one of its sets."""
        space = replace(self._spaces[name], fitted=fitted, prior=prior)
        return type(self)(self.vae, self.tokenizer, self._slots, self._references, {**self._spaces, name: space})

    def reference_of(self, name: str) -> str:
        """``name@version`` of a loaded adapter set."""
        return self._references[name]

    def config_of(self, name: str) -> AdapterConfig:
        return self.vae.bank.config_of(self._slots[name])

    @property
    def max_text_tokens(self) -> int:
        """The most tokens a text may have: the context, less the end-of-text the decoder starts with."""
        return self.vae.backbone.config.n_positions - 1

    def token_ids(
        self, texts: Sequence[str], *, truncate: bool = False, params: Sequence[str] | None = None
    ) -> tuple[list[list[int]], tuple[bool, ...]]:
        """Token ids of each text, and whether it was cut.

        Args:
            texts: None of them empty.
            truncate: Cut texts that are longer than the context instead of refusing them.
            params: The name of each in an error, for a caller who cannot allow truncation; its number if left out.

        Raises:
            ConfigError: An empty text.
            SequenceTooLong: A text does not fit the context and ``truncate`` is not set.
        """
        rows = self.tokenizer.encode_many(list(texts))
        limit = self.max_text_tokens
        names = [f"text {number}" for number in range(len(rows))] if params is None else params
        remedy = "shorten it, or allow truncation" if params is None else "shorten it"
        for name, text, row in zip(names, texts, rows, strict=True):
            if not row:
                raise ConfigError(name, text, "must not be empty")
            if len(row) > limit and not truncate:
                raise SequenceTooLong(f"{name} has {len(row)} tokens, the backbone takes {limit}: {remedy}")
        return [row[:limit] for row in rows], tuple(len(row) > limit for row in rows)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], name: str, *, truncate: bool = False) -> Encoded:
        """Posterior of every text, cleaned, under one adapter set; raises as ``token_ids`` does."""
        return self._encoded([clean(text) for text in texts], name, truncate=truncate)

    def _encoded(
        self, texts: Sequence[str], name: str, *, truncate: bool, params: Sequence[str] | None = None
    ) -> Encoded:
        rows, is_truncated = self.token_ids(texts, truncate=truncate, params=params)
        Z = self.config_of(name).latent_size
        mu, logvar = torch.empty(len(rows), Z), torch.empty(len(rows), Z)
        by_length = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        for start in range(0, len(rows), _ENCODE_ROWS):
            chosen = by_length[start : start + _ENCODE_ROWS]
            ids, mask = pad([rows[row] for row in chosen], self.tokenizer.eos_token_id, self.device)
            posterior = self.vae.encode(ids, mask, self.index_of(name, len(chosen)))
            mu[chosen], logvar[chosen] = posterior.mu[:, :Z].cpu(), posterior.logvar[:, :Z].cpu()
        return Encoded(mu, logvar, tuple(map(len, rows)), is_truncated)

    def decode(
        self, z: Tensor, name: str, decodings: Decoding | Sequence[Decoding], steering: Steering = USUAL
    ) -> list[DecodedText]:
        """One text per row of ``z``, (N, Z); no row depends on the others.

        Args:
            z: Latent vectors, (N, Z), float32.
            name: The adapter set.
            decodings: How to choose tokens, for all rows or one each.
            steering: How z is adjusted first, and from how many candidates the best text is chosen.

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
        return self.carry_out(writing.decode(self.space_of(name), z.float().cpu(), each, steering), name)

    def sample(
        self,
        num: int,
        name: str,
        decoding: Decoding,
        draw: Draw = ANY,
        steering: Steering = USUAL,
    ) -> list[DecodedText]:
        """``num`` new texts, seeded by ``decoding.seed``; row i is decoded with seed + i.

        Raises:
            ConfigError: A number out of range, or a label that the set does not have.
            AdapterSetMismatch: A label where the set has none, or no prior.
        """
        return [row for part in self.sample_in_parts(num, name, decoding, draw, steering) for row in part]

    def sample_in_parts(
        self,
        num: int,
        name: str,
        decoding: Decoding,
        draw: Draw = ANY,
        steering: Steering = USUAL,
        *,
        start: int = 0,
    ) -> Iterator[list[DecodedText]]:
        """What ``sample`` returns, some texts at a time as they are written; without the first ``start`` of them."""
        space, each = self.space_of(name), decoding.for_draws(num)
        z = self.carry_out(writing.drawn(space, num, decoding.seed, draw, steering), name)
        num_candidates = steering.or_else(defaults.DRAW).candidates
        at_once = max(1, _DECODE_ROWS // num_candidates)
        for place in range(start, num, at_once):
            rows = slice(place, place + at_once)
            yield self.carry_out(writing.written(space, z[rows], each[rows], num_candidates), name)

    def interpolate(
        self,
        source: str | Sequence[str],
        target: str | Sequence[str],
        steps: int,
        name: str,
        decoding: Decoding,
        method: Interpolation = Interpolation.LINEAR,
        steering: Steering = USUAL,
    ) -> list[InterpolationStep]:
        """``steps`` sentences from ``source`` to ``target``, ends included (paper Section 3.4, Table 5).

        Of lists each source goes to its own target: one walk after the other.
        """
        plan = moves.interpolate(
            self.space_of(name), source, target, steps=steps, method=method, decoding=decoding, steering=steering
        )
        return self.carry_out(plan, name)

    def analogy(
        self,
        a: str | Sequence[str],
        b: str | Sequence[str],
        c: str | Sequence[str],
        name: str,
        decoding: Decoding | Sequence[Decoding],
        scale: float = defaults.SCALE,
        steering: Steering = USUAL,
    ) -> list[DecodedText]:
        """Every ``c`` changed as ``a`` changes into ``b`` (paper Table 4); a list of a or b counts as its mean.

        Each c gets one answer per decoding, in order.
        """
        each = [decoding] if isinstance(decoding, Decoding) else list(decoding)
        plan = moves.analogy(self.space_of(name), a, b, c, scale=scale, decodings=each, steering=steering)
        return self.carry_out(plan, name)

    def variations(
        self,
        texts: Sequence[str],
        name: str,
        decoding: Decoding,
        num: int = defaults.NUM_VARIATIONS,
        distance: float = defaults.DISTANCE,
        steering: Steering = USUAL,
    ) -> list[list[DecodedText]]:
        """Up to ``num`` different sentences near each text, none equal to it."""
        plan = moves.variations(
            self.space_of(name),
            texts,
            num=num,
            distance=distance,
            decoding=decoding,
            steering=steering,
            params=[f"text {number}" for number in range(len(texts))],
        )
        return self.carry_out(plan, name)

    def traverse(
        self,
        text: str,
        direction: Direction,
        name: str,
        decoding: Decoding,
        steps: int = defaults.NUM_STEPS,
        between: tuple[float, float] | None = None,
        steering: Steering = USUAL,
    ) -> list[TraverseStep]:
        """``steps`` sentences along a direction through ``text``; ``between`` is in lengths of the direction."""
        plan = moves.traverse(
            self.space_of(name), text, direction, steps=steps, between=between, decoding=decoding, steering=steering
        )
        return self.carry_out(plan, name)

    def space_of(self, name: str) -> LatentSpace:
        """The latent space of a loaded set."""
        return self._spaces[name]

    def sample_prior(self, num: int, name: str, seed: int) -> Tensor:
        """Draws from the set's prior, (num, Z), float32."""
        return self.space_of(name).draw(num, seed)

    def carry_out(self, plan: Plan[Result], name: str, *, truncate: bool = False) -> Result:
        """Runs a plan for one set, step by step, and returns its result; ``truncate`` as for ``encode``."""
        try:
            step = next(plan)
            while True:
                step = plan.send(self._run_step(step, name, truncate=truncate))
        except StopIteration as stop:
            result: Result = stop.value
            return result

    @torch.inference_mode()
    def _run_step(self, step: Step, name: str, *, truncate: bool) -> object:
        match step:
            case Encode(texts, params):
                return self._encoded([clean(text) for text in texts], name, truncate=truncate, params=params).mu
            case EncodeWritten(texts):
                return self._encoded(texts, name, truncate=True).mu
            case Decode(z, decodings):
                return self._decoded(z, name, decodings)
            case Score(texts):
                return self.score(texts)
            case Compute(run):
                return run()

    @torch.inference_mode()
    def _decoded(self, z: Tensor, name: str, decodings: Sequence[Decoding]) -> list[DecodedText]:
        for decoding in decodings:
            if decoding.max_tokens > self.max_text_tokens:
                rule = f"the backbone writes at most {self.max_text_tokens} tokens"
                raise ConfigError("max_tokens", decoding.max_tokens, rule)
        generated = []
        for start in range(0, len(z), _DECODE_ROWS):
            rows = slice(start, start + _DECODE_ROWS)
            wide = self.vae.widened(z[rows])
            try:
                generated += generate(self.vae, wide, self.index_of(name, len(wide)), decodings[rows])
            except LogitsNotFinite as exc:
                raise LogitsNotFinite(tuple(start + row for row in exc.rows)) from exc
        return [
            DecodedText(
                self.tokenizer.decode(list(row.token_ids)), len(row.token_ids), row.finish_reason, latent.numpy()
            )
            for row, latent in zip(generated, z, strict=True)
        ]

    def score(self, texts: Sequence[str]) -> Tensor:
        """Nats per token of each text, (N,), by the bare backbone: no latent, no adapter set."""
        rows, _ = self.token_ids(texts, truncate=True)
        nats = torch.empty(len(rows))
        by_length = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        for start in range(0, len(rows), _ENCODE_ROWS):
            chosen = by_length[start : start + _ENCODE_ROWS]
            nats[chosen] = nats_per_token(self.vae.backbone, [rows[row] for row in chosen])
        return nats

    @torch.inference_mode()
    def classify(self, texts: Sequence[str], name: str, *, truncate: bool = False) -> list[Classified]:
        """The head's labels for every text, with probabilities.

        Raises:
            AdapterSetMismatch: The adapter set has no head.
        """
        self._refuse_without_head(name)
        return self.classify_latents(self.encode(texts, name, truncate=truncate).mu, name)

    def _refuse_without_head(self, name: str) -> None:
        """Before anything is encoded for it."""
        if not self.config_of(name).labels:
            raise AdapterSetMismatch(
                f"{self.reference_of(name)} has no classification head; train one from labelled texts"
            )

    @torch.inference_mode()
    def classify_latents(self, mu: Tensor, name: str) -> list[Classified]:
        """The head's labels for encodings, (N, Z); raises as ``classify`` does."""
        self._refuse_without_head(name)
        labels = self.config_of(name).labels
        if len(mu) == 0:
            return []
        logits = self.vae.classify(self.vae.widened(mu), self.index_of(name, len(mu)))[:, : len(labels)]
        return [Classified.of(labels, row) for row in logits.softmax(-1).tolist()]

    @property
    def device(self) -> torch.device:
        return self.vae.backbone.wte.weight.device

    def index_of(self, name: str, num_rows: int) -> AdapterIndex:
        """An index in which all ``num_rows`` rows use one loaded set."""
        return AdapterIndex.of([self._slots[name]] * num_rows, self.device)
