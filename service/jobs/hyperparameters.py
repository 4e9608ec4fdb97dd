"""What a training job may ask for beside its data, each with limits that protect the server.

Names are OpenAI's where it has one. What is left out, or is ``"auto"``, is the preset's.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NoReturn, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from adavae.model.config import AdapterConfig, BackboneConfig
from adavae.model.errors import ConfigError
from adavae.model.spelling import unknown_field
from adavae.model.training.config import Preset, TrainingConfig, preset_config
from adavae.service.errors import InvalidRequest

PresetName = Literal["generation", "language-modelling", "classification"]

_AUTO = "auto"
_EPOCHS_OF_STEPS = 10_000.0  # the most that a run may have: the steps end it
_WIRE_NAMES = {"max_steps": "steps"}
_NOT_BOTH = (("epochs", "n_epochs"), ("learning_rate", "learning_rate_multiplier"))


def _rule(low: float, high: float, *, is_whole: bool = False, has_auto: bool = False) -> Iterator[object]:
    """What an ``Annotated`` number is checked and documented with; true, "3" and 3.0 are not whole numbers."""
    kinds = (int,) if is_whole else (int, float)
    kind = "whole number" if is_whole else "number"
    message = f"must be a {kind} from {low:,} to {high:,}" + (f' or "{_AUTO}"' if has_auto else "")

    def check(value: object) -> object:
        if value is None or (has_auto and value == _AUTO):
            return None
        if isinstance(value, int | float) and type(value) in kinds and low <= value <= high:
            return value
        raise PydanticCustomError("out_of_range", "{message}", {"message": message})

    number = {"type": "integer" if is_whole else "number", "minimum": low, "maximum": high}
    others: list[dict[str, str]] = [{"type": "string", "const": _AUTO}] if has_auto else []
    yield BeforeValidator(check)
    yield WithJsonSchema({"anyOf": [number, *others, {"type": "null"}]})


Epochs = Annotated[float | None, *_rule(0.01, 100)]
EpochsOrAuto = Annotated[float | None, *_rule(0.01, 100, has_auto=True)]
Steps = Annotated[int | None, *_rule(1, 1_000_000, is_whole=True)]
BatchSize = Annotated[int | None, *_rule(1, 1024, is_whole=True, has_auto=True)]
LearningRate = Annotated[float | None, *_rule(1e-7, 1.0)]
Multiplier = Annotated[float | None, *_rule(0.001, 100, has_auto=True)]
Size = Annotated[int | None, *_rule(1, 1024, is_whole=True)]
UpTo100 = Annotated[float | None, *_rule(0, 100)]
HeadWeight = Annotated[float | None, *_rule(0, 1000)]
Share = Annotated[float | None, *_rule(0, 0.9)]
Validations = Annotated[int | None, *_rule(1, 100, is_whole=True)]
Cycles = Annotated[int | None, *_rule(1, 100, is_whole=True)]
WholeShare = Annotated[float | None, *_rule(0, 1)]
ShareOfCycle = Annotated[float | None, *_rule(0, 1)]
Texts = Annotated[int | None, *_rule(0, 1_000_000, is_whole=True)]
UpTo64 = Annotated[int | None, *_rule(1, 64, is_whole=True)]
Positions = Annotated[int | None, *_rule(0, 64, is_whole=True)]
PrefixLength = Annotated[int | None, *_rule(0, 256, is_whole=True)]
Scale = Annotated[float | None, *_rule(0.001, 100)]

_OF_ADAPTER = (
    *("latent_size", "encoder_layers", "encoder_attention", "adapter_placement", "adapter_size", "adapter_scale"),
    "latent_aggregation",
    *("latent_heads", "latent_infusion", "latent_positions", "prefix_length", "prefix_hidden"),
)
_OF_RUN = (
    *("batch_size", "free_bits", "free_bits_form", "beta", "beta_schedule", "beta_cycles", "beta_zero_share"),
    *(
        "beta_rise_share",
        "word_dropout",
        "input_dropout",
        "form_share",
        "label_smoothing",
        "head_weight",
        "stage_one_share",
        "start",
        "encoder_texts",
        "validations",
    ),
)


class Hyperparameters(BaseModel):
    """As they come over the wire."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    preset: PresetName = Field(default="generation", description="What the set is for: the values to start from.")
    n_epochs: EpochsOrAuto = Field(default=None, description="Passes over the texts; fractions allowed.")
    epochs: Epochs = Field(default=None, description="The same as `n_epochs`; give one of the two.")
    steps: Steps = Field(default=None, description="Steps; beside `n_epochs`, whatever ends first.")
    batch_size: BatchSize = Field(default=None, description="Texts a step.")
    learning_rate_multiplier: Multiplier = Field(default=None, description="Times the preset's learning rate.")
    learning_rate: LearningRate = Field(default=None, description="The peak itself, in place of a multiplier.")
    latent_size: Size = Field(default=None, description="Size of z.")
    adapter_size: Size = Field(default=None, description="The adapters' bottleneck.")
    encoder_layers: UpTo64 = Field(default=None, description="Blocks of the backbone that the encoder uses.")
    encoder_attention: Literal["unmasked", "causal"] | None = Field(
        default=None, description="Whether the encoder's tokens see later ones."
    )
    adapter_placement: Literal["parallel_ffn", "parallel_attention", "sequential_attention"] | None = Field(
        default=None, description="Where the adapters stand."
    )
    adapter_scale: Scale = Field(default=None, description="The adapters' weight s.")
    latent_aggregation: Literal["latent_attention", "pooled"] | None = Field(
        default=None, description="How hidden states become one vector."
    )
    latent_heads: UpTo64 = Field(default=None, description="Weighted sums of latent attention; 1 where pooled.")
    latent_infusion: Literal["psa", "atm", "psa+atm"] | None = Field(
        default=None, description="How z enters the decoder."
    )
    latent_positions: Positions = Field(default=None, description="Key/value positions made of z.")
    prefix_length: PrefixLength = Field(default=None, description="Learned key/value pairs a layer; 0 for none.")
    prefix_hidden: Size = Field(default=None, description="Width of the MLP behind the prefix.")
    free_bits: UpTo100 = Field(default=None, description="lambda, in nats: KL that costs nothing.")
    free_bits_form: Literal["per_dimension", "whole"] | None = Field(
        default=None, description="On each dimension's KL, or on the whole KL."
    )
    beta: UpTo100 = Field(default=None, description="Largest weight of the KL.")
    beta_schedule: Literal["cyclical", "constant"] | None = Field(default=None, description="How beta moves.")
    beta_cycles: Cycles = Field(default=None, description="Cycles of a cyclical beta.")
    beta_zero_share: ShareOfCycle = Field(default=None, description="Share of a cycle with beta at zero.")
    beta_rise_share: ShareOfCycle = Field(default=None, description="Share of a cycle in which beta rises.")
    stage_one_share: Share = Field(default=None, description="Share of the run before the decoder's parts join.")
    word_dropout: Share = Field(default=None, description="Share of the decoder's input hidden from it.")
    input_dropout: Share = Field(default=None, description="Largest share of a text that the encoder has to guess.")
    form_share: WholeShare = Field(
        default=None, description="Share of the texts that the encoder reads in other case or spacing."
    )
    label_smoothing: Share = Field(default=None, description="Share of the head's target spread over all labels.")
    head_weight: HeadWeight = Field(default=None, description="Weight of the head; only for data with labels.")
    start: Literal["random", "fitted"] | None = Field(
        default=None, description="Begin at random, or at a regression on the texts."
    )
    encoder_texts: Texts = Field(
        default=None, description="With fewer texts, the encoder stays where a fitted start put it."
    )
    validations: Validations = Field(default=None, description="How often to validate in a run.")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, fields: Any) -> Any:
        """One error, with the field that was meant."""
        unknown = unknown_field(fields, list(cls.model_fields)) if isinstance(fields, Mapping) else None
        if unknown is not None:
            name, remedy = unknown
            _refuse(name, "unknown_field", remedy)
        return fields

    @model_validator(mode="after")
    def _refuse_both(self) -> Self:
        for name, other in _NOT_BOTH:
            if getattr(self, name) is not None and getattr(self, other) is not None:
                _refuse(name, "one_of_both", f"give either {name} or {other}, not both")
        return self

    def training_config(self, backbone: BackboneConfig, *, seed: int, num_labels: int) -> TrainingConfig:
        """The whole run.

        Args:
            backbone: What is trained over; presets depend on its size.
            seed: Of every random choice.
            num_labels: Different labels of the training texts; a head needs 2.

        Raises:
            InvalidRequest: The values do not go together, or some would have no effect.
        """
        self._refuse_head_without_labels(num_labels)
        try:
            preset = preset_config(Preset(self.preset), backbone)
            adapter = AdapterConfig.from_dict({**preset.adapter.to_dict(), **self._given(*_OF_ADAPTER)})
            adapter.check_fits(backbone)
            chosen = self._given(*_OF_RUN) | self._exactly() | self._length() | self._rate(preset)
            return TrainingConfig.from_dict({**preset.to_dict(), **chosen, "adapter": adapter.to_dict(), "seed": seed})
        except ConfigError as exc:
            param = f"hyperparameters.{_WIRE_NAMES.get(exc.field, exc.field)}"
            raise InvalidRequest(str(exc), param=param) from exc

    def _given(self, *names: str) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def _exactly(self) -> dict[str, Any]:
        """Keeps what was asked for from being stretched where texts are few."""
        has_epochs = self.n_epochs is not None or self.epochs is not None
        return ({"min_steps": 0} if has_epochs else {}) | ({"min_batches": 1} if self.batch_size is not None else {})

    def _length(self) -> dict[str, Any]:
        epochs = self.n_epochs if self.n_epochs is not None else self.epochs
        if epochs is None and self.steps is not None:
            epochs = _EPOCHS_OF_STEPS
        chosen = {"epochs": epochs, "max_steps": self.steps}
        return {name: value for name, value in chosen.items() if value is not None}

    def _rate(self, preset: TrainingConfig) -> dict[str, Any]:
        if self.learning_rate_multiplier is not None:
            return {"learning_rate": preset.learning_rate * self.learning_rate_multiplier}
        return self._given("learning_rate")

    def _refuse_head_without_labels(self, num_labels: int) -> None:
        found = "one label only" if num_labels else "no labels"
        if self.preset == "classification" and num_labels < 2:
            raise InvalidRequest(
                f"preset is classification, and the training file has {found}: add others, or choose generation",
                param="hyperparameters.preset",
            )
        has_head = Preset(self.preset).trains_head(num_labels)
        why = "the preset language-modelling trains no head" if num_labels > 1 else f"the training file has {found}"
        for name, value in self._given("head_weight", "label_smoothing").items():
            if not has_head:
                raise InvalidRequest(f"{name} is {value:g}, and {why}: leave it out", param=f"hyperparameters.{name}")


def effective_hyperparameters(asked: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """What a job trains with, under the names of the wire.

    Args:
        asked: What the request gave.
        config: The run's ``TrainingConfig`` as JSON.
    """
    whole = TrainingConfig.from_dict(config).to_dict()  # a record of an older version lacks what it did not know
    is_bounded_by_steps = config["max_steps"] is not None and config["epochs"] == _EPOCHS_OF_STEPS
    return {
        "preset": config["preset"],
        "n_epochs": _AUTO if is_bounded_by_steps else _plain(config["epochs"]),
        "steps": config["max_steps"],
        "learning_rate_multiplier": asked.get("learning_rate_multiplier") or _AUTO,
        "learning_rate": config["learning_rate"],
        **{name: config["adapter"][name] for name in _OF_ADAPTER},
        **{name: whole[name] for name in _OF_RUN},
    }


def _plain(number: float) -> float:
    """2 in place of 2.0: OpenAI's epochs are whole."""
    return int(number) if number == int(number) else number


def _refuse(field: str, kind: Literal["unknown_field", "one_of_both"], message: str) -> NoReturn:
    """Raises the error of one field out of a check of them all."""
    error = PydanticCustomError(kind, "{message}", {"message": message})
    details = InitErrorDetails(type=error, loc=(field,), input=None)
    raise ValidationError.from_exception_data("Hyperparameters", [details])
