"""How a request asks for texts to be written, and how a written text is shown."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from adavae.model.decoding.decoding import NUM_SEEDS, ONLY_WITH, Decoding, Strategy
from adavae.service.schemas.body import Body
from adavae.service.schemas.reply import Reply

_DEFAULT_MAX_TOKENS = 48
_LEAST_TEMPERATURE = 0.01


class DecodingBody(Body):
    """How tokens are chosen. Same seed, same request, same adapter version: same text."""

    strategy: Literal["greedy", "sample", "beam"] = Field(
        default="greedy", description="Take the likeliest token, draw one, or search for the likeliest text."
    )
    temperature: float = Field(
        default=1.0,
        ge=0.0,
        le=10.0,
        description="Sampling: below 1 is safer, above wilder. At least 0.01, or 0, which is greedy.",
    )
    top_k: int = Field(default=0, ge=0, le=1_000_000, description="Sampling: among the k likeliest tokens; 0 is off.")
    top_p: float = Field(
        default=1.0, ge=0.01, le=1.0, description="Sampling: among the tokens that hold this probability; 1 is off."
    )
    repetition_penalty: float = Field(
        default=1.0, ge=1.0, le=10.0, description="Above 1 makes tokens already written less likely."
    )
    max_tokens: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None, description="Longest text, in tokens; at most ADAVAE_MAX_TOKENS (128). 48 if left out."
    )
    num_beams: int = Field(default=4, ge=1, le=16, description="Beam search: texts kept at every step.")
    seed: int = Field(default=0, ge=0, le=NUM_SEEDS - 1, description="Of every random choice; row i uses seed + i.")

    @field_validator("temperature")
    @classmethod
    def _refuse_next_to_nothing(cls, value: float) -> float:
        if 0 < value < _LEAST_TEMPERATURE:
            raise PydanticCustomError(
                "out_of_range", "must be 0, which is greedy, or at least {least}", {"least": _LEAST_TEMPERATURE}
            )
        return value

    @model_validator(mode="after")
    def _refuse_options_without_effect(self) -> Self:
        draws = self.strategy == "sample" or (self.temperature == 0 and self.strategy == "greedy")
        for name, needed in ONLY_WITH.items():
            if needed == Strategy.SAMPLE and draws:
                continue
            if needed != self.strategy and getattr(self, name) != type(self).model_fields[name].default:
                raise PydanticCustomError(
                    "no_effect",
                    "has no effect with strategy {strategy}: set strategy to {needed}, or leave it out",
                    {"field": name, "strategy": self.strategy, "needed": str(needed)},
                )
        return self

    def to_decoding(self, longest: int) -> Decoding:
        """The model's own form; ``longest`` bounds what is taken where max_tokens was left out."""
        return Decoding(
            strategy=Strategy(self.strategy),
            temperature=float(self.temperature),
            top_k=self.top_k,
            top_p=float(self.top_p),
            repetition_penalty=float(self.repetition_penalty),
            max_tokens=min(_DEFAULT_MAX_TOKENS, longest) if self.max_tokens is None else self.max_tokens,
            num_beams=self.num_beams,
            seed=self.seed,
        )


class DecodeRow(Reply):
    index: int
    text: str
    tokens: int
    finish_reason: Literal["stop", "length"]


class DecodeUsage(Reply):
    texts: int
    tokens: int
