"""POST /encode on the wire."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from adavae.service.schemas.entries import at_most
from adavae.service.schemas.fields import EncodingFormat
from adavae.service.schemas.reply import ListReply, Reply
from adavae.service.schemas.texts import ONE_OF_TEXT_AND_TEXTS, EncodeUsage, TextsBody


class EncodeBody(TextsBody):
    model_config = ConfigDict(
        json_schema_extra=ONE_OF_TEXT_AND_TEXTS
        | {"examples": [{"texts": ["the food was great.", "my room was dirty."], "adapter": "yelp"}]}
    )

    normalize: bool = Field(default=False, description="Scale each mu to length 1.")
    include: Annotated[list[Literal["logvar"]], *at_most(8)] = Field(
        default=[], fail_fast=True, description="`logvar`: add the posterior's log variance."
    )
    encoding_format: EncodingFormat = "float"


class EncodeRow(Reply):
    index: int
    mu: list[float] | str = Field(description="(Z,), or base64 of little-endian float32.")
    logvar: list[float] | str | None = Field(default=None, description="As mu; only where asked for.")
    tokens: int
    truncated: bool
    cached: bool


class EncodeReply(ListReply):
    data: list[EncodeRow]
    latent_size: int
    usage: EncodeUsage
