"""POST /interpolate on the wire."""

from typing import Literal

from pydantic import ConfigDict, Field

from adavae.model.config import Interpolation
from adavae.model.latent import defaults
from adavae.model.latent.steering import Steering
from adavae.service.schemas.body import Body
from adavae.service.schemas.decoding import DecodeUsage, DecodingBody
from adavae.service.schemas.fields import AdapterName, IncludeZ, Text, ZFormat
from adavae.service.schemas.reply import ListReply
from adavae.service.schemas.steering import Candidates, Depth, LatentRow, Refine


class InterpolateBody(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "source": "the food was terrible and the staff was rude.",
                    "target": "great place, we will be back!",
                    "steps": 7,
                    "adapter": "yelp",
                },
            ]
        }
    )

    source: Text = Field(description="The first sentence's text.")
    target: Text = Field(description="The last sentence's text.")
    steps: int = Field(
        default=defaults.NUM_STEPS,
        ge=2,
        description="Sentences returned, both ends included; at most ADAVAE_MAX_STEPS (64).",
    )
    method: Literal["linear", "spherical"] = Field(default="linear", description="Along the line, or along the arc.")
    refine: Refine = None
    truncation: Depth = None
    candidates: Candidates = None
    adapter: AdapterName | None = None
    decoding: DecodingBody = DecodingBody()
    include: IncludeZ = Field(default=[])
    encoding_format: ZFormat = "float"

    @property
    def interpolation(self) -> Interpolation:
        return Interpolation(self.method)

    @property
    def steering(self) -> Steering:
        return Steering(refine=self.refine, truncation=self.truncation, candidates=self.candidates)


class InterpolateRow(LatentRow):
    tau: float


class InterpolateReply(ListReply):
    data: list[InterpolateRow]
    usage: DecodeUsage
