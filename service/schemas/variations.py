"""POST /variations on the wire."""

from pydantic import ConfigDict, Field

from adavae.model.latent import defaults
from adavae.model.latent.steering import Steering
from adavae.service.schemas.decoding import DecodeUsage, DecodingBody
from adavae.service.schemas.fields import AdapterName, IncludeZ, ZFormat
from adavae.service.schemas.reply import ListReply
from adavae.service.schemas.steering import LatentRow, Refine, Truncation
from adavae.service.schemas.texts import ONE_OF_TEXT_AND_TEXTS, TextOrTextsBody


class VariationsBody(TextOrTextsBody):
    model_config = ConfigDict(
        json_schema_extra=ONE_OF_TEXT_AND_TEXTS
        | {"examples": [{"text": "the food was great and the staff was friendly.", "n": 5, "adapter": "yelp"}]}
    )

    n: int = Field(
        default=defaults.NUM_VARIATIONS,
        ge=1,
        description="Different sentences for each text; at most ADAVAE_MAX_SAMPLES (64). Each counts twice for "
        "ADAVAE_MAX_ROWS, for it is looked for at two points.",
    )
    distance: float = Field(
        default=defaults.DISTANCE,
        gt=0.0,
        le=100.0,
        description="How far from the text, in widths of the posterior: 1 is what the model itself cannot tell apart.",
    )
    refine: Refine = None
    truncation: Truncation = None
    adapter: AdapterName | None = None
    decoding: DecodingBody = DecodingBody()
    include: IncludeZ = Field(default=[])
    encoding_format: ZFormat = "float"

    @property
    def steering(self) -> Steering:
        return Steering(refine=self.refine, truncation=self.truncation)


class VariationRow(LatentRow):
    source: int = Field(description="Number of the text that this is a variation of.")


class VariationsReply(ListReply):
    data: list[VariationRow] = Field(
        description="Text by text; fewer than asked for where the decoder writes the same again and again."
    )
    usage: DecodeUsage
