"""POST /decode on the wire."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from adavae.service.schemas.body import Body
from adavae.service.schemas.decoding import DecodeRow, DecodeUsage, DecodingBody
from adavae.service.schemas.fields import AdapterName, Row
from adavae.service.schemas.reply import ListReply

_EXAMPLE_Z: list[JsonValue] = [round(0.8 - 0.05 * place, 2) for place in range(32)]


class DecodeBody(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["z"], "properties": {"z": {"type": "array"}, "samples": {"type": "null"}}},
                {"required": ["samples"], "properties": {"samples": {"type": "integer"}, "z": {"type": "null"}}},
            ],
            "examples": [
                {"samples": 3, "adapter": "yelp", "decoding": {"strategy": "sample", "top_p": 0.9, "seed": 7}},
                {"z": [_EXAMPLE_Z], "adapter": "yelp-lm"},
            ],
        }
    )

    z: Annotated[list[Row], Field(min_length=1, fail_fast=True)] | None = Field(
        default=None,
        description="Latent vectors, each as long as the adapter set's `latent_size`; at most ADAVAE_MAX_SAMPLES (64).",
    )
    samples: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Draw this many new texts instead; at most ADAVAE_MAX_SAMPLES (64)."
    )
    adapter: AdapterName | None = None
    decoding: DecodingBody = DecodingBody()
    stream: bool = Field(default=False, description="Answer with server-sent events, piece by piece.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.z is None) == (self.samples is None):
            raise PydanticCustomError("z_or_samples", "give either z or samples, one of both", {"field": "z"})
        return self


class DecodeReply(ListReply):
    data: list[DecodeRow]
    usage: DecodeUsage
