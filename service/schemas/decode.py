"""POST /decode on the wire."""

import struct
from base64 import b64encode
from typing import Annotated, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from adavae.model.latent.steering import Draw, Steering
from adavae.service.schemas.body import Body
from adavae.service.schemas.decoding import DecodeUsage, DecodingBody
from adavae.service.schemas.entries import at_most
from adavae.service.schemas.fields import AdapterName, IncludeZ, Label, LatentVector, ZFormat
from adavae.service.schemas.reply import ListReply
from adavae.service.schemas.steering import Candidates, LatentRow, Refine, Truncation
from adavae.service.settings import MOST_ENTRIES

_NUMBERS = [round(0.8 - 0.05 * place, 2) for place in range(32)]
_EXAMPLE_Z: list[JsonValue] = [*_NUMBERS]
_PACKED_Z = b64encode(struct.pack("<32f", *_NUMBERS)).decode()


class DecodeBody(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["z"], "properties": {"z": {"type": "array"}, "samples": {"type": "null"}}},
                {"required": ["samples"], "properties": {"samples": {"type": "integer"}, "z": {"type": "null"}}},
            ],
            "examples": [
                {"samples": 3, "adapter": "yelp", "decoding": {"strategy": "sample", "top_p": 0.9, "seed": 7}},
                {"samples": 5, "label": "positive", "truncation": 0.8, "candidates": 4, "adapter": "yelp"},
                {"z": [_EXAMPLE_Z], "adapter": "yelp-lm"},
                {"z": [_PACKED_Z], "adapter": "yelp-lm", "include": ["z"], "encoding_format": "base64"},
            ],
        }
    )

    z: Annotated[list[LatentVector], Field(min_length=1, fail_fast=True), *at_most(MOST_ENTRIES)] | None = Field(
        default=None,
        description="Latent vectors, each as long as the adapter set's `latent_size`, as numbers or as base64 of "
        "little-endian float32; at most ADAVAE_MAX_SAMPLES (64).",
    )
    samples: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Draw this many new texts instead; at most ADAVAE_MAX_SAMPLES (64)."
    )
    label: Label | None = Field(
        default=None, description="Draw texts of this label, one of the adapter set's `labels`; only with `samples`."
    )
    truncation: Truncation = None
    guidance: Annotated[float, Field(ge=0.0, le=10.0)] | None = Field(
        default=None, description="Above 1 leads further towards the label than its texts lie; only with `label`."
    )
    refine: Refine = None
    candidates: Candidates = None
    adapter: AdapterName | None = None
    decoding: DecodingBody = DecodingBody()
    include: IncludeZ = Field(default=[])
    encoding_format: ZFormat = "float"
    stream: bool = Field(default=False, description="Answer with server-sent events, piece by piece.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.z is None) == (self.samples is None):
            raise PydanticCustomError("z_or_samples", "give exactly one of z and samples", {"field": "z"})
        return self

    @model_validator(mode="after")
    def _refuse_options_without_effect(self) -> Self:
        needs = {"label": self.samples, "guidance": self.label}
        for name, needed in needs.items():
            if getattr(self, name) is not None and needed is None:
                other = "samples" if name == "label" else "label"
                raise _no_effect(name, f"has no effect without {other}: give {other}, or leave it out")
        if self.stream and (self.candidates or 1) > 1:
            raise _no_effect("candidates", "has no effect with stream: a stream is written once; leave one of them out")
        return self

    @property
    def draw(self) -> Draw:
        return Draw(label=self.label, guidance=self.guidance)

    @property
    def steering(self) -> Steering:
        candidates = 1 if self.stream else self.candidates
        return Steering(refine=self.refine, truncation=self.truncation, candidates=candidates)


def _no_effect(field: str, message: str) -> PydanticCustomError:
    return PydanticCustomError("no_effect", "{message}", {"field": field, "message": message})


class DecodeReply(ListReply):
    data: list[LatentRow]
    usage: DecodeUsage
