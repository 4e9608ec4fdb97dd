"""The shapes of the model: a leaf that every other file of the package may import.

Each dataclass is checked when it is made and never changes afterwards; it is saved beside the weights it describes.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Self

from adavae.model.errors import ConfigError
from adavae.model.given_numbers import number, whole


def _require(is_met: bool, field: str, value: object, rule: str) -> None:
    if not is_met:
        raise ConfigError(field, value, rule)


def _is_finite(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and -sys.float_info.max <= value <= sys.float_info.max  # type: ignore[operator]  # a number


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_label(value: object) -> bool:
    """Whether it is a short text, without the halves of UTF-16 pairs that JSON can spell and UTF-8 cannot."""
    is_short = isinstance(value, str) and len(value) <= MAX_LABEL_CHARACTERS
    return is_short and not any("\ud800" <= character <= "\udfff" for character in str(value))


def rule_of(kind: Callable[[Any], Any]) -> str:
    """What a value must be for ``kind``, an enumeration or a function, to take it."""
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return f"must be one of {', '.join(kind)}"
    return "is of another form than it must have"


def _sequence(value: object) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError("it is not a list")
    return tuple(value)


MAX_LABELS = 1000
MAX_LABEL_CHARACTERS = 256
_SCALES = (1e-4, 1e4)


class Activation(StrEnum):
    """The MLP's nonlinearity, by its name in a Hugging Face config."""

    GELU_NEW = "gelu_new"
    GELU_TANH = "gelu_pytorch_tanh"
    GELU = "gelu"
    RELU = "relu"


class WeightFormat(StrEnum):
    """What the compiled code keeps frozen weights as: float16 where that is exact, or int8 with a scale an output."""

    FLOAT16 = "float16"
    INT8 = "int8"


class AdapterPlacement(StrEnum):
    """Where the bottleneck adapter is in a block (paper Section 3.2, Table 1)."""

    PARALLEL_FFN = "parallel_ffn"
    PARALLEL_ATTENTION = "parallel_attention"
    SEQUENTIAL_ATTENTION = "sequential_attention"


class EncoderAttention(StrEnum):
    """Which tokens a token of the encoder sees: all of its text (the paper), or itself and earlier ones.

    A backbone that never saw later tokens has to learn to read them; few texts cannot teach it that.
    """

    UNMASKED = "unmasked"
    CAUSAL = "causal"


class LatentAggregation(StrEnum):
    """How hidden states become one vector v_z (paper Section 2.2): latent attention, or pooled ("LG")."""

    LATENT_ATTENTION = "latent_attention"
    POOLED = "pooled"


class Interpolation(StrEnum):
    """The way from one z to another: along the line, or along the arc (paper Section 3.4)."""

    LINEAR = "linear"
    SPHERICAL = "spherical"


class LatentInfusion(StrEnum):
    """How z enters the decoder's attention (paper Section 2.3)."""

    PSA = "psa"
    ATM = "atm"
    BOTH = "psa+atm"

    @property
    def has_psa(self) -> bool:
        return self is not LatentInfusion.ATM

    @property
    def has_atm(self) -> bool:
        return self is not LatentInfusion.PSA


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneConfig:
    """One GPT-2 checkpoint's shape, in GPT-2's own names."""

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int
    n_head: int
    n_inner: int
    activation: Activation = Activation.GELU_NEW
    layer_norm_epsilon: float = 1e-5
    eos_token_id: int = 0
    tie_word_embeddings: bool = True

    def __post_init__(self) -> None:
        for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner"):
            value = getattr(self, name)
            _require(_is_whole(value) and value >= 1, name, value, "must be a whole number of at least 1")
        _require(self.n_embd % self.n_head == 0, "n_embd", self.n_embd, f"must be a multiple of n_head ({self.n_head})")
        epsilon = self.layer_norm_epsilon
        _require(_is_finite(epsilon) and epsilon > 0, "layer_norm_epsilon", epsilon, "must be a number above 0")
        is_tied = self.tie_word_embeddings
        _require(isinstance(is_tied, bool), "tie_word_embeddings", is_tied, "must be true or false")
        _require(
            _is_whole(self.eos_token_id) and 0 <= self.eos_token_id < self.vocab_size,
            "eos_token_id",
            self.eos_token_id,
            f"must be in [0, {self.vocab_size})",
        )

    @property
    def head_size(self) -> int:
        return self.n_embd // self.n_head

    @classmethod
    def from_hugging_face(cls, config: Mapping[str, Any]) -> Self:
        """Reads a Hugging Face ``config.json``.

        Raises:
            ConfigError: The checkpoint is not of the GPT-2 family, or uses a variation of it that is not supported.
        """
        _require(config.get("model_type") == "gpt2", "model_type", config.get("model_type"), "must be 'gpt2'")
        for name in ("scale_attn_by_inverse_layer_idx", "add_cross_attention"):
            _require(not config.get(name, False), name, config.get(name), "is not supported, must be false")
        _require(
            config.get("scale_attn_weights", True) is True,
            "scale_attn_weights",
            False,
            "is not supported, must be true",
        )
        activation = config.get("activation_function", "gelu_new")
        _require(
            activation in list(Activation), "activation_function", activation, f"must be one of {list(Activation)}"
        )
        try:
            return cls(
                vocab_size=config["vocab_size"],
                n_positions=config["n_positions"],
                n_embd=config["n_embd"],
                n_layer=config["n_layer"],
                n_head=config["n_head"],
                n_inner=config.get("n_inner") or 4 * config["n_embd"],
                activation=Activation(activation),
                layer_norm_epsilon=config.get("layer_norm_epsilon", 1e-5),
                eos_token_id=config.get("eos_token_id", 50256),
                tie_word_embeddings=config.get("tie_word_embeddings", True),
            )
        except KeyError as exc:
            raise ConfigError(str(exc.args[0]), None, "is missing from config.json") from exc

    def to_hugging_face(self) -> dict[str, Any]:
        """The same shape as a Hugging Face ``config.json``, loadable by GPT2LMHeadModel."""
        return {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "activation_function": str(self.activation),
            "vocab_size": self.vocab_size,
            "n_positions": self.n_positions,
            "n_embd": self.n_embd,
            "n_layer": self.n_layer,
            "n_head": self.n_head,
            "n_inner": self.n_inner,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "bos_token_id": self.eos_token_id,
            "eos_token_id": self.eos_token_id,
            "tie_word_embeddings": self.tie_word_embeddings,
            "attn_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "resid_pdrop": 0.0,
            "dtype": "float16",
        }


GPT2_124M = BackboneConfig(
    vocab_size=50257, n_positions=1024, n_embd=768, n_layer=12, n_head=12, n_inner=3072, eos_token_id=50256
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterConfig:
    """What one adapter set consists of: the rows of the paper's Table 1 are values of this class.

    Attributes:
        latent_size: Z, the size of z.
        encoder_layers: How many of the backbone's blocks the encoder uses.
        encoder_attention: Whether the encoder's tokens see later ones.
        adapter_size: A, the adapters' bottleneck (the paper's sigma).
        adapter_scale: s in ``x + MLP(LN2(x)) + s * Up(ReLU(Down(x)))``.
        latent_heads: Weighted sums that latent attention takes of the hidden states; 1 is the paper.
        latent_positions: Key/value positions that PSA (or add-to-memory) makes of one z; 1 is the paper, 0
            hides z from the decoder (a baseline).
        prefix_length: P learned key/value pairs a layer; 0 for none.
        prefix_hidden: Width of the MLP that makes the prefix while training.
        labels: Names of the classification head's classes, in its order; empty for no head.
    """

    latent_size: int = 32
    encoder_layers: int = 8
    encoder_attention: EncoderAttention = EncoderAttention.UNMASKED
    adapter_placement: AdapterPlacement = AdapterPlacement.PARALLEL_FFN
    adapter_size: int = 128
    adapter_scale: float = 1.0
    latent_aggregation: LatentAggregation = LatentAggregation.LATENT_ATTENTION
    latent_infusion: LatentInfusion = LatentInfusion.PSA
    latent_heads: int = 1
    latent_positions: int = 1
    prefix_length: int = 0
    prefix_hidden: int = 30
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        limits = {
            "latent_size": (1, 4096),
            "encoder_layers": (1, 1024),
            "adapter_size": (1, 4096),
            "latent_heads": (1, 64),
            "latent_positions": (0, 64),
            "prefix_length": (0, 512),
            "prefix_hidden": (1, 4096),
        }
        for name, (low, high) in limits.items():
            value = whole(name, getattr(self, name))
            _require(low <= value <= high, name, value, f"must be in [{low}, {high}]")
            object.__setattr__(self, name, value)
        object.__setattr__(self, "adapter_scale", number("adapter_scale", self.adapter_scale))
        _require(
            _is_finite(self.adapter_scale) and _SCALES[0] <= abs(self.adapter_scale) <= _SCALES[1],
            "adapter_scale",
            self.adapter_scale,
            f"must be a number whose size is in [{_SCALES[0]:g}, {_SCALES[1]:g}]",
        )
        _require(len(self.labels) <= MAX_LABELS, "labels", len(self.labels), f"must be at most {MAX_LABELS}")
        _require(
            all(map(_is_label, self.labels)),
            "labels",
            self.labels,
            f"must be names of at most {MAX_LABEL_CHARACTERS} characters",
        )
        is_pooled = self.latent_aggregation is LatentAggregation.POOLED
        _require(not is_pooled or self.latent_heads == 1, "latent_heads", self.latent_heads, "must be 1 where pooled")
        _require(len(set(self.labels)) == len(self.labels), "labels", self.labels, "must not repeat a name")
        _require(len(self.labels) != 1, "labels", self.labels, "a head needs at least two classes")

    @property
    def num_memory_positions(self) -> int:
        """Key/value positions in front of the decoder's tokens: PSA, add-to-memory, prefix."""
        num_ways = int(self.latent_infusion.has_psa) + int(self.latent_infusion.has_atm)
        return num_ways * self.latent_positions + self.prefix_length

    def check_fits(self, backbone: BackboneConfig) -> None:
        """Raises ConfigError where the set asks for more than ``backbone`` has."""
        _require(
            self.encoder_layers <= backbone.n_layer,
            "encoder_layers",
            self.encoder_layers,
            f"the backbone has only {backbone.n_layer} blocks",
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {**asdict(self), "labels": list(self.labels)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of ``to_dict``.

        Raises:
            ConfigError: An unknown field, or a value outside its rule.
        """
        known = {field.name for field in fields(cls)}
        for name in values:
            _require(name in known, name, values[name], f"is not a field; known: {sorted(known)}")
        kinds: dict[str, Callable[[Any], Any]] = {
            "encoder_attention": EncoderAttention,
            "adapter_placement": AdapterPlacement,
            "latent_aggregation": LatentAggregation,
            "latent_infusion": LatentInfusion,
            "labels": _sequence,
        }
        typed = dict(values)
        for name, kind in kinds.items():
            try:
                typed[name] = kind(values[name]) if name in values else getattr(cls(), name)
            except ValueError as exc:
                raise ConfigError(name, values[name], rule_of(kind)) from exc
        return cls(**typed)
