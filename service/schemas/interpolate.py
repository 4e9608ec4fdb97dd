"""POST /interpolate on the wire."""

from typing import Literal

from pydantic import ConfigDict, Field

from adavae.model.config import Interpolation
from adavae.service.schemas.body import Body
from adavae.service.schemas.decoding import DecodeRow, DecodeUsage, DecodingBody
from adavae.service.schemas.fields import AdapterName, IncludeZ, Text
from adavae.service.schemas.reply import ListReply


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
        default=5, ge=2, description="Sentences returned, both ends included; at most ADAVAE_MAX_STEPS (64)."
    )
    method: Literal["linear", "spherical"] = Field(default="linear", description="Along the line, or along the arc.")
    adapter: AdapterName | None = None
    decoding: DecodingBody = DecodingBody()
    include: IncludeZ = Field(default=[])

    @property
    def interpolation(self) -> Interpolation:
        return Interpolation(self.method)


class InterpolateRow(DecodeRow):
    tau: float
    z: list[float] | None = Field(default=None, description="(Z,); only where asked for.")


class InterpolateReply(ListReply):
    data: list[InterpolateRow]
    usage: DecodeUsage
