"""The settings of a training run, and the presets that users start from."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Self

from adavae.model.config import AdapterConfig, BackboneConfig, EncoderAttention, rule_of
from adavae.model.errors import ConfigError
from adavae.model.given_numbers import number, whole


class Preset(StrEnum):
    """What a set is for: generation and language modelling want different latents (paper Section 3.1)."""

    GENERATION = "generation"
    LANGUAGE_MODELLING = "language-modelling"
    CLASSIFICATION = "classification"

    def trains_head(self, num_labels: int) -> bool:
        """Whether a head is trained on texts with so many different labels; without one, labels count nothing."""
        return num_labels > 1 and self is not Preset.LANGUAGE_MODELLING


class FreeBits(StrEnum):
    """What the free-bits threshold lambda applies to: each dimension's KL, or the whole KL."""

    PER_DIMENSION = "per_dimension"
    WHOLE = "whole"


class BetaSchedule(StrEnum):
    CYCLICAL = "cyclical"
    CONSTANT = "constant"


class LearningRateSchedule(StrEnum):
    COSINE = "cosine"
    LINEAR = "linear"
    CONSTANT = "constant"


class Start(StrEnum):
    """Where a run begins that goes on from no set: at random, or where ``fitted_start`` says."""

    RANDOM = "random"
    FITTED = "fitted"


class Precision(StrEnum):
    """``auto`` is bfloat16 where the processor multiplies it in hardware, else float32."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


_SMALLEST_BATCH = 8
_MICRO_BATCH_LIMITS = (64, 100_000_000)
_LIMITS: dict[str, tuple[float, float]] = {
    "epochs": (0.01, 10_000),
    "min_steps": (0, 1_000_000),
    "min_batches": (1, 1_000_000),
    "batch_size": (1, 4096),
    "learning_rate": (1e-7, 1.0),
    "warmup_steps": (0, 1_000_000),
    "weight_decay": (0.0, 10.0),
    "max_gradient_norm": (1e-3, 1e3),
    "beta": (0.0, 100.0),
    "beta_cycles": (1, 1000),
    "beta_zero_share": (0.0, 1.0),
    "beta_rise_share": (0.0, 1.0),
    "free_bits": (0.0, 100.0),
    "head_weight": (0.0, 1000.0),
    "label_smoothing": (0.0, 0.9),
    "word_dropout": (0.0, 0.9),
    "input_dropout": (0.0, 0.9),
    "form_share": (0.0, 1.0),
    "stage_one_share": (0.0, 0.9),
    "validations": (1, 10_000),
    "patience": (1, 10_000),
    "encoder_texts": (0, 1_000_000_000),
    "checkpoint_every": (1, 1_000_000),
    "seed": (0, 2**63 - 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """Every setting of one run; what is written into the adapter set's manifest.

    Attributes:
        adapter: What is trained; its labels are filled in from the data.
        epochs: Passes over the training texts; fractions allowed.
        max_steps: Stops earlier than ``epochs`` would; None for no such bound.
        min_steps: With few texts, the run makes more passes than ``epochs`` to reach this many steps, and does not stop
            early before them.
        batch_size: Texts per step.
        min_batches: With few texts, a step has fewer than ``batch_size`` (but at least 8), so that a pass has this many
            steps.
        micro_batch_tokens: Tokens that go through the model at once, padding included, with gradients added up over
            a step; memory grows with it. None is 2,048 on a CPU, 32,768 on a GPU.
        learning_rate: Peak learning rate, for Muon and AdamW alike.
        warmup_steps: Steps until the peak; at most a tenth of the run.
        max_gradient_norm: Gradients are clipped to this norm.
        beta: Largest weight of the KL.
        beta_zero_share: Share of a cycle that beta stays at zero.
        beta_rise_share: Share of a cycle in which it rises; for the rest it stays at ``beta``.
        free_bits: lambda, in nats (paper Eq. 4).
        head_weight: Weight of the head's cross-entropy relative to a text's reconstruction.
        label_smoothing: Share of the head's target that is spread evenly over all labels in training.
        word_dropout: Share of the decoder's input tokens hidden from it in training.
        input_dropout: Largest share of a text's tokens that are deleted from the encoder's input in training; the share
            of each text is uniform from 0 to this, and the decoder rebuilds the whole text.
        form_share: Share of the texts that the encoder reads in another form in training (``text_forms``).
        stage_one_share: Share of the run that trains the encoder and the latent parts only (paper: 2.5k iterations).
        validations: How many times the run is validated; ``validation`` has the criteria.
        patience: Validations without improvement after which the run stops early.
        checkpoint_every: Steps between checkpoints.
        init_from: ``name@version`` of the adapter set whose tensors the run starts with; None starts afresh.
        start: Where the run begins; without effect where it goes on from a set.
        encoder_texts: With fewer training texts than this, encoder, mu and head stay where a fitted start put them, and
            steps train the decoder's side alone.
        is_full_fine_tuning: Steps train every weight of two backbones instead, as the baseline that a step is timed
            against. The result is no adapter set, so ``loop.train`` refuses it.
    """

    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    preset: Preset = Preset.GENERATION
    epochs: float = 5.0
    max_steps: int | None = None
    min_steps: int = 0
    batch_size: int = 128
    min_batches: int = 1
    micro_batch_tokens: int | None = None
    learning_rate: float = 6e-3
    learning_rate_schedule: LearningRateSchedule = LearningRateSchedule.LINEAR
    warmup_steps: int = 50
    weight_decay: float = 0.0
    max_gradient_norm: float = 1.0
    beta: float = 1.0
    beta_schedule: BetaSchedule = BetaSchedule.CYCLICAL
    beta_cycles: int = 4
    beta_zero_share: float = 0.25
    beta_rise_share: float = 0.25
    free_bits: float = 0.0
    free_bits_form: FreeBits = FreeBits.PER_DIMENSION
    head_weight: float = 1.0
    label_smoothing: float = 0.0
    word_dropout: float = 0.0
    input_dropout: float = 0.0
    form_share: float = 0.0
    stage_one_share: float = 1.0 / 6.0
    validations: int = 8
    patience: int = 4
    checkpoint_every: int = 200
    precision: Precision = Precision.AUTO
    init_from: str | None = None
    start: Start = Start.RANDOM
    encoder_texts: int = 0
    is_full_fine_tuning: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        self._take_numbers()
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(name, value, f"must be in [{low:g}, {high:g}]")
        if self.beta_zero_share + self.beta_rise_share > 1:
            rule = f"must be at most 1 together with beta_zero_share ({self.beta_zero_share:g})"
            raise ConfigError("beta_rise_share", self.beta_rise_share, rule)
        if self.max_steps is not None and self.max_steps < 1:
            raise ConfigError("max_steps", self.max_steps, "must be at least 1")
        low, high = _MICRO_BATCH_LIMITS
        if self.micro_batch_tokens is not None and not low <= self.micro_batch_tokens <= high:
            raise ConfigError("micro_batch_tokens", self.micro_batch_tokens, f"must be in [{low}, {high:,}]")

    def _take_numbers(self) -> None:
        """Each number as Python's own; raises ConfigError where it is none, or not a whole one."""
        for each in fields(self):
            value = getattr(self, each.name)
            if each.type is float:
                object.__setattr__(self, each.name, number(each.name, value))
            elif each.type is int or (each.type == int | None and value is not None):
                object.__setattr__(self, each.name, whole(each.name, value))

    def batch_size_for(self, num_texts: int) -> int:
        """Texts per step, given the number of training texts."""
        return min(self.batch_size, max(_SMALLEST_BATCH, num_texts // self.min_batches))

    def total_steps(self, batches_per_epoch: int) -> int:
        """Steps of the whole run."""
        steps = max(1, self.min_steps, round(self.epochs * batches_per_epoch))
        return steps if self.max_steps is None else min(steps, self.max_steps)

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {**asdict(self), "adapter": self.adapter.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of ``to_dict``.

        Raises:
            ConfigError: An unknown field, or a value outside its rule.
        """
        kinds: dict[str, Callable[[Any], Any]] = {
            "preset": Preset,
            "learning_rate_schedule": LearningRateSchedule,
            "beta_schedule": BetaSchedule,
            "free_bits_form": FreeBits,
            "start": Start,
            "precision": Precision,
            "adapter": AdapterConfig.from_dict,
        }
        known = [each.name for each in fields(cls)]
        typed: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                raise ConfigError(name, value, f"is not a field; known: {known}")
            try:
                typed[name] = kinds[name](value) if name in kinds else value
            except ValueError as exc:
                raise ConfigError(name, value, rule_of(kinds[name])) from exc
        return cls(**typed)

    def with_options(self, given: Mapping[str, Any]) -> Self:
        """This with other values, named as here or as in ``AdapterConfig``.

        Where passes or texts a step are given, they hold for few texts too.

        Raises:
            ConfigError: An option that does not exist, or a value outside its rule.
        """
        values: dict[str, Any] = self.to_dict()
        if "epochs" in given:
            values["min_steps"] = 0
        if "batch_size" in given:
            values["min_batches"] = 1
        of_adapter = {each.name for each in fields(AdapterConfig)}
        for name, value in given.items():
            (values["adapter"] if name in of_adapter else values)[name] = value
        return type(self).from_dict(values)

    def going_on_from(self, reference: str, adapter: AdapterConfig) -> Self:
        """The same run begun with the tensors of a set, and so of its sizes; labels are taken from the data."""
        return replace(self, adapter=replace(adapter, labels=()), init_from=reference)

    def with_labels(self, labels: tuple[str, ...]) -> Self:
        """The same run with a head for ``labels``."""
        return replace(self, adapter=replace(self.adapter, labels=labels))


_OF_FEW_TEXTS: dict[str, Any] = {"min_steps": 150, "min_batches": 8}


def preset_config(preset: Preset, backbone: BackboneConfig) -> TrainingConfig:
    """The settings of a preset over one backbone.

    The encoder takes two thirds of the blocks, as 8 of GPT-2 124M's 12 in the paper; sizes that the paper gives for a
    width of 768 shrink with the backbone's width, to a power of two.
    """
    two_thirds = max(1, round(backbone.n_layer * 2 / 3))

    def narrow(size: int) -> int:
        return 1 << max(0, (size * backbone.n_embd // 768).bit_length() - 1)

    if preset is Preset.LANGUAGE_MODELLING:
        adapter = AdapterConfig(latent_size=32, encoder_layers=two_thirds, adapter_size=narrow(64), latent_heads=4)
        return TrainingConfig(preset=preset, adapter=adapter, beta=1.0, free_bits=0.3, epochs=1.5, **_OF_FEW_TEXTS)
    if preset is Preset.CLASSIFICATION:
        adapter = AdapterConfig(
            latent_size=64,
            encoder_layers=max(1, round(backbone.n_layer * 3 / 4)),
            encoder_attention=EncoderAttention.CAUSAL,
            adapter_size=narrow(128),
            latent_heads=4,
            latent_positions=2,
        )
        return TrainingConfig(
            preset=preset,
            adapter=adapter,
            beta=0.05,
            beta_schedule=BetaSchedule.CONSTANT,
            head_weight=20.0,
            label_smoothing=0.1,
            input_dropout=0.2,
            form_share=0.2,
            stage_one_share=0.0,
            start=Start.FITTED,
            encoder_texts=1000,
            patience=8,  # steps at a high learning rate lose against a fitted start before they win
            epochs=4.0,
            **_OF_FEW_TEXTS,
        )
    adapter = AdapterConfig(
        latent_size=256,
        encoder_layers=backbone.n_layer,
        adapter_size=narrow(256),
        latent_heads=8,
        latent_positions=8,
    )
    return TrainingConfig(
        preset=preset,
        adapter=adapter,
        beta=0.06,
        beta_schedule=BetaSchedule.CONSTANT,
        head_weight=5.0,
        input_dropout=0.3,
        form_share=0.2,
        stage_one_share=0.0,
        epochs=3.0,
        **_OF_FEW_TEXTS,
    )
